//! The remote: its address, its credentials, and what its errors mean.

use acf_core::claim::{ClaimError, RemoteSays};
use acf_core::mask::Mask;
use secrecy::{ExposeSecret, SecretString};

use super::command::{Git, GitCommand, GitError};

/// Answers git's question for credentials from the environment of that one git process. The leading
/// empty helper forgets helpers that the user has configured.
const CREDENTIAL_HELPER: &str = r#"credential.helper=!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$ACF_GIT_USERNAME" "$ACF_GIT_PASSWORD"; }; f"#;

/// A user name and a token for a remote.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user name; hosts that take tokens accept nearly any.
    pub username: String,
    /// The token or password.
    pub password: SecretString,
}

/// A git remote.
#[derive(Clone, Debug)]
pub struct Remote {
    url: String,
    credentials: Option<Credentials>,
    mask: Mask,
}

impl Remote {
    /// Makes a remote; the URL must hold no credentials.
    #[must_use]
    pub fn new(url: impl Into<String>, credentials: Option<Credentials>) -> Self {
        let secret = credentials.as_ref().map(|known| ("password".to_owned(), known.password.clone()));
        Self { url: url.into(), mask: Mask::new(secret), credentials }
    }

    /// Returns the address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Begins a command that may talk to the remote.
    #[must_use]
    pub fn command<'a>(&self, git: &'a Git, name: &str) -> GitCommand<'a> {
        let command = git.command(name);
        let Some(Credentials { username, password }) = &self.credentials else { return command };
        command
            .masked_by(&self.mask)
            .setting("credential.helper=")
            .setting(CREDENTIAL_HELPER)
            .env("ACF_GIT_USERNAME", username)
            .env("ACF_GIT_PASSWORD", password.expose_secret())
    }

    /// Says what a failure to talk to the remote means.
    #[must_use]
    pub fn explain(&self, attempt: &str, error: GitError) -> ClaimError {
        let (unauthorized, unreachable) = match &error {
            GitError::Failed { stderr, .. } => (is_unauthorized(stderr), is_unreachable(stderr)),
            GitError::TimedOut { .. } => (false, true),
            GitError::Spawn(_) | GitError::Senseless { .. } => (false, false),
        };
        let says = || match &error {
            GitError::Failed { stderr, .. } => RemoteSays(gist(stderr)),
            other => RemoteSays(other.to_string()),
        };
        if unauthorized {
            ClaimError::Unauthorized(says())
        } else if unreachable {
            ClaimError::Unreachable(says())
        } else {
            ClaimError::Other { attempt: attempt.to_owned(), cause: error.into() }
        }
    }
}

fn is_unauthorized(stderr: &str) -> bool {
    // git's own words under LC_ALL=C (http.c, credential.c) and ssh's.
    [
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "returned error: 403",
        "returned error: 401",
        "Permission denied (",
        "HTTP Basic: Access denied",
    ]
    .iter()
    .any(|words| stderr.contains(words))
}

fn is_unreachable(stderr: &str) -> bool {
    [
        "unable to access",
        "Could not read from remote repository",
        "does not appear to be a git repository",
        "the remote end hung up",
        "early EOF",
        "unable to connect",
        "Connection refused",
        "Connection reset",
        "Could not resolve host",
        "unexpected disconnect",
        "RPC failed",
    ]
    .iter()
    .any(|words| stderr.contains(words))
        || stderr.lines().any(|line| line.starts_with("fatal: repository '") && line.ends_with("' not found"))
}

/// Returns the lines of git's error output that say what is wrong.
#[must_use]
pub fn gist(stderr: &str) -> String {
    if let Some(reason) = reason_of_ssh(stderr) {
        return reason;
    }
    let telling = |line: &&str| {
        ["fatal:", "error:", "remote:", "ERROR:"].iter().any(|prefix| line.starts_with(prefix))
            && !line.starts_with("error: failed to push some refs")
    };
    let lines: Vec<_> = stderr
        .lines()
        .filter(telling)
        .map(|line| line.trim_start_matches("fatal:").trim_start_matches("error:").trim())
        .filter(|line| *line != "remote:")
        .collect();
    if lines.is_empty() {
        return stderr
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or("no reason given")
            .to_owned();
    }
    lines.into_iter().take(6).collect::<Vec<_>>().join("; ")
}

/// Returns what ssh, or the host through it, said before git found that nobody answers.
fn reason_of_ssh(stderr: &str) -> Option<String> {
    let (said, _) = stderr.split_once("fatal: Could not read from remote repository.")?;
    let is_telling = |line: &&str| {
        let is_noise = ["Warning: Permanently added", "@", "remote: ", "fatal: "];
        !line.is_empty() && !is_noise.iter().any(|prefix| line.starts_with(prefix))
    };
    // The last word counts; a host may greet first.
    said.lines().map(str::trim).rfind(is_telling).map(|line| line.trim_start_matches("ERROR: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(stderr: &str) -> ClaimError {
        let error = GitError::Failed {
            command: "ls-remote".into(),
            code: Some(128),
            stdout: String::new(),
            stderr: stderr.into(),
        };
        Remote::new("https://example.com/x.git", None).explain("cannot look at the remote", error)
    }

    #[test]
    fn refused_credentials_and_lost_networks_are_told_apart() {
        let unauthorized = [
            "fatal: Authentication failed for 'https://example.com/x.git/'",
            "fatal: could not read Username for 'https://example.com': terminal prompts disabled",
            "fatal: unable to access 'https://example.com/x.git/': The requested URL returned error: 403",
            "git@example.com: Permission denied (publickey).\nfatal: Could not read from remote repository.",
        ];
        for stderr in unauthorized {
            assert!(matches!(explained(stderr), ClaimError::Unauthorized(_)), "{stderr}");
        }
        let unreachable = [
            "fatal: unable to access 'https://example.com/x.git/': Could not resolve host: example.com",
            "fatal: repository 'https://example.com/x.git/' not found",
            "fatal: '/nowhere' does not appear to be a git repository",
            "fatal: the remote end hung up unexpectedly",
        ];
        for stderr in unreachable {
            assert!(matches!(explained(stderr), ClaimError::Unreachable(_)), "{stderr}");
        }
        assert!(matches!(explained("fatal: something new"), ClaimError::Other { .. }));
    }

    #[test]
    fn the_gist_leaves_out_what_only_fills_lines() {
        let stderr = "remote: \nremote: GH006: Protected branch update failed.\nTo x\nerror: failed to push some refs to 'x'\n";
        assert_eq!(gist(stderr), "remote: GH006: Protected branch update failed.");
        assert_eq!(gist("\n  odd words\n"), "odd words");
        assert_eq!(gist(""), "no reason given");
    }

    #[test]
    fn what_ssh_said_is_the_reason() {
        let after = "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct \
                     access rights\nand the repository exists.\n";
        for (said, reason) in [
            (
                "ssh: connect to host h port 22: Connection refused\n",
                "ssh: connect to host h port 22: Connection refused",
            ),
            (
                "Warning: Permanently added 'h' (ED25519) to the list of known hosts.\r\n\
                 git@h: Permission denied (publickey).\r\n",
                "git@h: Permission denied (publickey).",
            ),
            ("Welcome!\nERROR: Repository not found.\n", "Repository not found."),
            ("Host key verification failed.\n", "Host key verification failed."),
            ("", "Could not read from remote repository."),
            (
                "fatal: '/x' does not appear to be a git repository\n",
                "'/x' does not appear to be a git repository; Could not read from remote repository.",
            ),
        ] {
            assert_eq!(gist(&format!("{said}{after}")), reason);
        }
    }

    #[test]
    fn no_secret_is_shown_by_debug() {
        let credentials = Credentials { username: "u".into(), password: "hunter22".into() };
        assert!(!format!("{:?}", Remote::new("u", Some(credentials))).contains("hunter22"));
    }
}
