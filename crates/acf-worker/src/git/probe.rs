//! What git and the remote can do, found out once before any issue is taken.

use std::fs;
use std::time::Duration;

use acf_core::claim::{ClaimError, RemoteSays};
use acf_core::run::WorkerId;
use jiff::Timestamp;

use super::command::{Git, GitError};
use super::mirror::Mirror;
use super::push::{PushReport, RefFate};

/// The oldest git that has everything: `merge-tree --write-tree` came with it.
pub const MINIMUM_VERSION: (u32, u32) = (2, 38);

/// How long the result of probing a remote is believed.
const PROBE_HOLDS: Duration = Duration::from_secs(24 * 60 * 60);

/// Why git or the remote will not do.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// There is no git, or it does not work.
    #[error("git cannot be used")]
    NoGit(#[source] GitError),
    /// The git on this machine is too old.
    #[error("git {found} is too old; acf needs {}.{} or newer", MINIMUM_VERSION.0, MINIMUM_VERSION.1)]
    OldGit {
        /// Its version.
        found: String,
    },
    /// The remote has no commit on the trunk.
    #[error("the repository at {url} has no branch {branch}")]
    NoTrunk {
        /// The remote.
        url: String,
        /// The branch that is missing.
        branch: String,
    },
    /// The remote cannot update several refs at once.
    #[error("the remote does not support atomic pushes")]
    NotAtomic(#[source] RemoteSays),
    /// The remote does not let refs below the prefix be created, rewritten or deleted, or does not show them.
    #[error("the remote refuses to {what} refs below {prefix}")]
    RefusesPrefix {
        /// What it refuses.
        what: &'static str,
        /// The prefix.
        prefix: String,
        /// The remote's own words.
        #[source]
        cause: RemoteSays,
    },
    /// The remote cannot be talked to.
    #[error("cannot use the repository at {url}")]
    Remote {
        /// The remote.
        url: String,
        /// Why not.
        #[source]
        cause: ClaimError,
    },
}

/// Checks that there is a git, and that it is new enough.
///
/// # Errors
/// [`ProbeError::NoGit`], [`ProbeError::OldGit`].
pub async fn git_version(git: &Git) -> Result<(), ProbeError> {
    let text = git.command("version").text().await.map_err(ProbeError::NoGit)?;
    match parse_version(&text) {
        Some(version) if version >= MINIMUM_VERSION => Ok(()),
        _ => Err(ProbeError::OldGit { found: text.trim_start_matches("git version ").to_owned() }),
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("git version ")?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Finds the trunk: the branch that is named, or the remote's default branch.
///
/// # Errors
/// [`ProbeError::Remote`], [`ProbeError::NoTrunk`].
pub async fn trunk(mirror: &Mirror, named: Option<&str>) -> Result<String, ProbeError> {
    let url = mirror.remote().url();
    let reference = named.map_or("HEAD".to_owned(), |branch| format!("refs/heads/{branch}"));
    let command = mirror.remote_command("ls-remote").args(["--symref", url, &reference]);
    let answer = command.text().await.map_err(|error| ProbeError::Remote {
        url: url.to_owned(),
        cause: mirror.remote().explain("cannot look at the remote", error),
    })?;
    let no_trunk = |branch: &str| ProbeError::NoTrunk { url: url.to_owned(), branch: branch.to_owned() };
    let points_at =
        answer.lines().find_map(|line| line.strip_prefix("ref: refs/heads/")?.strip_suffix("\tHEAD"));
    let has_commit =
        answer.lines().any(|line| line.ends_with(&format!("\t{reference}")) && !line.starts_with("ref:"));
    match named.or(points_at) {
        Some(branch) if has_commit => Ok(branch.to_owned()),
        branch => Err(no_trunk(branch.unwrap_or("main"))),
    }
}

/// Checks that the remote takes atomic pushes and refs below the prefix, shows them, and lets them be
/// rewritten and deleted, by doing all that to two of them. The result is remembered in the mirror for
/// a day.
///
/// # Errors
/// [`ProbeError::NotAtomic`], [`ProbeError::RefusesPrefix`], [`ProbeError::Remote`].
pub async fn claims(
    mirror: &Mirror,
    prefix: &str,
    worker: &WorkerId,
    now: Timestamp,
) -> Result<(), ProbeError> {
    let memory = mirror.path().join("acf-probed");
    let is_fresh = |text: String| {
        let (known_prefix, at) = text.trim().split_once(' ')?;
        let at: Timestamp = at.parse().ok()?;
        (known_prefix == prefix && now.duration_since(at).unsigned_abs() < PROBE_HOLDS).then_some(())
    };
    // Of the workers that start together on a machine, one probes.
    let _turn = mirror.turn().await;
    if fs::read_to_string(&memory).ok().and_then(is_fresh).is_some() {
        return Ok(());
    }
    let name = name_of_probes(mirror, worker);
    let [one, two] = ["a", "b"].map(|half| format!("{prefix}probe/{name}-{half}"));
    let write = async |text| write_probe(mirror, worker, text).await.map_err(ProbeError::NoGit);
    let (first, second) = (write("begins to probe").await?, write("goes on to probe").await?);
    // By force: the remote may not have let an earlier probe delete its own.
    push(mirror, prefix, "create", &[format!("+{first}:{one}"), format!("+{first}:{two}")]).await?;
    let outcome = async {
        assert_shown(mirror, prefix, &[&one, &two]).await?;
        push(mirror, prefix, "rewrite", &[format!("+{second}:{one}"), format!(":{two}")]).await?;
        push(mirror, prefix, "delete", &[format!(":{one}")]).await
    };
    if let Err(error) = outcome.await {
        // What is left is litter; the error that left it says more than a second one.
        let _ = push(mirror, prefix, "delete", &[format!(":{one}"), format!(":{two}")]).await;
        return Err(error);
    }
    // Not being able to remember costs a second probe, nothing else.
    let _ = fs::write(&memory, format!("{prefix} {now}\n"));
    Ok(())
}

/// Returns what the probes from this mirror are called: always the same, so that they do not pile up where the
/// remote does not let them be deleted, and nothing that another mirror's are called, which may probe as well.
fn name_of_probes(mirror: &Mirror, worker: &WorkerId) -> String {
    let memory = mirror.path().join("acf-probe");
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match fs::read_to_string(&memory) {
        Ok(name) if !name.is_empty() && name.chars().all(is_name_char) => return name,
        _ => {}
    }
    // Not being able to remember costs another name, nothing else.
    let _ = fs::write(&memory, worker.as_str());
    worker.to_string()
}

async fn write_probe(mirror: &Mirror, worker: &WorkerId, what: &str) -> Result<String, GitError> {
    let message = format!("acf {what} this remote, worker {worker}");
    let tree = mirror.local("mktree").input("").object().await?;
    let identity = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"];
    let command = mirror.local("commit-tree").args([&tree, "-m", &message]);
    identity.iter().fold(command, |command, name| command.env(name, "acf@localhost")).object().await
}

/// Checks that what was pushed can be seen: a remote may take refs and hide them.
async fn assert_shown(mirror: &Mirror, prefix: &str, names: &[&str]) -> Result<(), ProbeError> {
    let url = mirror.remote().url();
    let command = mirror.remote_command("ls-remote").args(["--refs", url]).args(names);
    let shown = command.text().await.map_err(|error| ProbeError::Remote {
        url: url.to_owned(),
        cause: mirror.remote().explain("cannot look at the remote's refs", error),
    })?;
    if names.iter().all(|name| shown.lines().any(|line| line.ends_with(&format!("\t{name}")))) {
        return Ok(());
    }
    let cause = RemoteSays("it takes them, but does not show them".into());
    Err(ProbeError::RefusesPrefix { what: "show", prefix: prefix.to_owned(), cause })
}

async fn push(
    mirror: &Mirror,
    prefix: &str,
    what: &'static str,
    refspecs: &[String],
) -> Result<(), ProbeError> {
    let url = mirror.remote().url();
    let command = mirror.remote_command("push").args(["--porcelain", "--no-verify", "--atomic", url]);
    let remote = |cause| ProbeError::Remote { url: url.to_owned(), cause };
    let output = command
        .args(refspecs)
        .output()
        .await
        .map_err(|error| remote(mirror.remote().explain("cannot push", error)))?;
    let report = PushReport::read(output);
    if report.ok {
        return Ok(());
    }
    if let Some(refused) = report.refs.iter().find(|line| line.fate == RefFate::Refused) {
        // git's own words are clearer than which push it was: one may do both, and write over a leftover.
        let what = match &*refused.reason {
            "deletion prohibited" => "delete",
            "non-fast-forward" => "rewrite",
            _ => what,
        };
        let cause = RemoteSays(report.said(refused));
        return Err(ProbeError::RefusesPrefix { what, prefix: prefix.to_owned(), cause });
    }
    match report.error {
        Some(GitError::Failed { stderr, .. }) if stderr.contains("does not support --atomic") => {
            Err(ProbeError::NotAtomic(RemoteSays(super::remote::gist(&stderr))))
        }
        Some(error) => Err(remote(mirror.remote().explain("cannot push", error))),
        None => Err(remote(ClaimError::Lost)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_all_builds_of_git() {
        assert_eq!(parse_version("git version 2.39.5"), Some((2, 39)));
        assert_eq!(parse_version("git version 2.47.3.windows.1"), Some((2, 47)));
        assert_eq!(parse_version("git version 2.39.3 (Apple Git-146)"), Some((2, 39)));
        assert_eq!(parse_version("hg 6"), None);
    }
}
