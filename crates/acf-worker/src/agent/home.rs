//! The files that an agent wants in its home, and what it makes of them.
//!
//! They are read and written with the agent's own rights, by a shell below the guard: where agents run as another
//! user, a link that one of them left leads nowhere that it could not have gone itself.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Once;

use acf_core::agent::{Agent, AgentFile};
use acf_core::mask::Mask;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::process::{self, End, GuardedCommand, Output, Place};

const READ: &str = "cat -- \"$HOME/$1\"";
/// Replaces the file as a whole: nobody reads half of it, and the mode of a former one does not count.
const WRITE: &str = "umask 077 && file=$HOME/$1 && mkdir -p -- \"$(dirname -- \"$file\")\" && \
    cat > \"$file.acf-new\" && mv -f -- \"$file.acf-new\" \"$file\"";

/// What agents have renewed of their files, tokens above all, kept for the workers to come: where agents have
/// another user, their home goes with its worker, and the tokens that they were given are void by then.
#[derive(Clone, Debug)]
pub struct Renewals {
    dir: PathBuf,
}

impl Renewals {
    /// Keeps them in a directory, for nobody but this process's user.
    #[must_use]
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Each file has a place by what was given, so that nobody gets the tokens of another account.
    fn place(&self, agent: &dyn Agent, given: &AgentFile) -> PathBuf {
        self.dir.join(format!("{}-{}", agent.name(), digest_of(given)))
    }

    fn latest(&self, agent: &dyn Agent, given: AgentFile) -> AgentFile {
        let kept = fs::read_to_string(self.place(agent, &given)).ok();
        kept.and_then(|kept| agent.renewed(&given, &kept, true)).unwrap_or(given)
    }

    fn keep(&self, agent: &dyn Agent, given: &AgentFile, renewed: &AgentFile) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        // Made for its owner only.
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(renewed.contents.expose_secret().as_bytes())?;
        file.persist(self.place(agent, given)).map(drop).map_err(|error| error.error)
    }
}

fn digest_of(given: &AgentFile) -> String {
    let digest = Sha256::digest(given.contents.expose_secret().as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns what is noted beside a login: for which given one acf has put it there.
fn note_of(agent: &dyn Agent, given: &AgentFile) -> Option<AgentFile> {
    let is_login = agent.logins().iter().any(|login| Path::new(login) == given.path);
    let mut path = given.path.clone().into_os_string();
    path.push(".acf-given");
    is_login.then(|| AgentFile { path: path.into(), contents: digest_of(given).into() })
}

/// Puts an agent's files into its home, but where it has a newer one already. What it has renewed is kept.
///
/// Beside a login lies a note of which one acf was given: what is there is known to come from that one then. A
/// newer login without a note may be somebody else's; it is warned of.
///
/// # Errors
/// Where a file cannot be written or kept, or the guard does not work.
pub async fn settle(agent: &dyn Agent, place: Place<'_>, renewals: Option<&Renewals>) -> io::Result<()> {
    for given in agent.files() {
        settle_file(agent, &given, place, renewals).await?;
    }
    Ok(())
}

async fn settle_file(
    agent: &dyn Agent,
    given: &AgentFile,
    place: Place<'_>,
    renewals: Option<&Renewals>,
) -> io::Result<()> {
    let known = match renewals {
        Some(renewals) => renewals.latest(agent, given.clone()),
        None => given.clone(),
    };
    let note = note_of(agent, given);
    let noted = match &note {
        Some(note) => read(&note.path, place).await?,
        None => None,
    };
    let is_known =
        noted.is_some() && noted.as_deref() == note.as_ref().map(|note| note.contents.expose_secret());
    // acf has put there another one that it was given before.
    let is_another = noted.is_some() && !is_known;
    if let Some(found) = read(&given.path, place).await? {
        match agent.renewed(&known, &found, is_known).filter(|_| !is_another) {
            Some(renewed) => {
                if !is_known {
                    warn_of_unknown(agent, given);
                }
                return renewals.map_or(Ok(()), |renewals| renewals.keep(agent, given, &renewed));
            }
            None if !agent.overwrites(&known) => return Ok(()),
            None if found != known.contents.expose_secret() => {
                if renewals.is_none() {
                    set_aside(&known.path, &found, place).await?;
                }
                write(&known, place).await?;
            }
            None => {}
        }
    } else {
        write(&known, place).await?;
    }
    match &note {
        Some(note) if !is_known => write(note, place).await,
        _ => Ok(()),
    }
}

/// Warns once, and not in each round.
fn warn_of_unknown(agent: &dyn Agent, given: &AgentFile) {
    static WARNED: Once = Once::new();
    let (name, path) = (agent.name(), given.path.display());
    WARNED.call_once(|| {
        tracing::warn!(
            "{name} is signed in with ~/{path}, which is newer than the login that acf was given: if that is another \
             account's, run acf with a HOME of its own"
        );
    });
}

/// Makes the mask know the tokens that lie in an agent's home: its own login, and what it has renewed.
///
/// # Errors
/// Where the guard does not work.
pub async fn learn(agent: &dyn Agent, place: Place<'_>, mask: &Mask) -> io::Result<()> {
    for path in agent.logins() {
        let found = read(Path::new(path), place).await?;
        if let Some(login) = found.and_then(|text| serde_json::from_str(&text).ok()) {
            learn_tokens(None, &login, &format!("a token in ~/{path}"), mask);
        }
    }
    Ok(())
}

/// What agents call the tokens and keys in their files.
const TOKENS: [&str; 9] = [
    "accessToken",
    "refreshToken",
    "access_token",
    "refresh_token",
    "id_token",
    "access",
    "refresh",
    "key",
    "OPENAI_API_KEY",
];
/// How tokens of GitHub begin: where copilot keeps them, their name is that of an account.
const TOKENS_BEGIN: [&str; 4] = ["gho_", "ghu_", "ghp_", "github_pat_"];

fn learn_tokens(name: Option<&str>, value: &Value, known_by: &str, mask: &Mask) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| learn_tokens(Some(name), value, known_by, mask));
        }
        Value::Array(values) => values.iter().for_each(|value| learn_tokens(name, value, known_by, mask)),
        Value::String(text)
            if name.is_some_and(|name| TOKENS.contains(&name))
                || TOKENS_BEGIN.iter().any(|begin| text.starts_with(begin)) =>
        {
            mask.learn(known_by, text.as_str().into());
        }
        _ => {}
    }
}

/// Keeps what was in a file's place before acf came: in a home that is a person's, too, it may be their login.
async fn set_aside(path: &Path, found: &str, place: Place<'_>) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".before-acf");
    let aside = PathBuf::from(aside);
    if read(&aside, place).await?.is_some() {
        return Ok(());
    }
    tracing::info!("replacing `~/{}`; what it was is kept in `~/{}`", path.display(), aside.display());
    write(&AgentFile { path: aside, contents: found.into() }, place).await
}

async fn read(path: &Path, place: Place<'_>) -> io::Result<Option<String>> {
    let mut lines = Vec::new();
    let mut on_line = |output, line: &str| {
        if output == Output::Stdout {
            lines.push(line.to_owned());
        }
    };
    let end = shell(READ, path, None, place, &mut on_line).await?;
    Ok((end == 0).then(|| lines.join("\n")))
}

async fn write(file: &AgentFile, place: Place<'_>) -> io::Result<()> {
    let mut said = String::new();
    let mut on_line = |_, line: &str| said = line.to_owned();
    match shell(WRITE, &file.path, Some(&file.contents), place, &mut on_line).await? {
        0 => Ok(()),
        _ => Err(io::Error::other(format!(
            "cannot write `{}` in the agent's home: {said}",
            file.path.display()
        ))),
    }
}

async fn shell(
    script: &str,
    path: &Path,
    stdin: Option<&SecretString>,
    place: Place<'_>,
    on_line: &mut process::OnLine<'_>,
) -> io::Result<i32> {
    let command = GuardedCommand {
        program: "sh".into(),
        args: ["-c".into(), script.into(), "sh".into(), path.into()].into(),
        env: place.env.to_vec(),
        dir: place.dir.to_owned(),
        stdin: stdin.map(|text| text.expose_secret().to_owned()),
    };
    match process::run(place.guard, command, place.limits, &CancellationToken::new(), on_line).await? {
        End::Exited(code) => Ok(code),
        other => Err(io::Error::other(format!("the agent's home cannot be reached: {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_every_agents_file_and_nothing_else_is_taken_for_one() {
        let mask = Mask::default();
        for login in [
            r#"{"claudeAiOauth":{"accessToken":"sk-ant-oat","refreshToken":"sk-ant-ort","subscriptionType":"subscription"}}"#,
            r#"{"OPENAI_API_KEY":null,"tokens":{"id_token":"id-of-codex","account_id":"account"}}"#,
            r#"{"copilot_tokens":{"https://github.com:ann":"gho_copilot"},"trusted":["/home/ann"]}"#,
            r#"{"access_token":"ya29.gemini","token_type":"Bearer"}"#,
            r#"{"anthropic":{"type":"oauth","refresh":"of-opencode"},"openai":{"type":"api","key":"sk-key"}}"#,
        ] {
            learn_tokens(None, &serde_json::from_str(login).unwrap(), "~/login", &mask);
        }
        let tokens = "sk-ant-oat sk-ant-ort id-of-codex gho_copilot ya29.gemini of-opencode sk-key";
        assert_eq!(mask.apply(tokens), "*** *** *** *** *** *** ***");
        let others = "subscription account /home/ann Bearer anthropic";
        assert_eq!(mask.apply(others), others);
    }
}
