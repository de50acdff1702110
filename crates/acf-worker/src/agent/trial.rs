//! Trying an agent's program before an issue is claimed for it: whether it can be run as it is to be, and what
//! its version is.

use std::io;

use acf_core::agent::{Agent, AgentError};
use tokio_util::sync::CancellationToken;

use crate::process::{self, End, GuardedCommand, Place};

/// Checks that whoever runs in that place can run the agent, and returns its version where it tells it in no
/// other way; `user` names the user as whom that is, if it is not the worker's own.
///
/// # Errors
/// [`AgentError::NotRunnable`], [`AgentError::RefusesRoot`]; within the other error, where the guard does not work.
pub async fn try_out(
    agent: &dyn Agent,
    user: Option<&str>,
    place: Place<'_>,
) -> io::Result<Result<Option<String>, AgentError>> {
    let is_root = user.is_none() && rustix::process::geteuid().is_root();
    if let (true, Some(variable)) = (is_root, agent.sandbox_variable())
        && !place.env.iter().any(|(name, value)| name == variable && value == "1")
    {
        return Ok(Err(AgentError::RefusesRoot { agent: agent.name().to_owned(), variable }));
    }
    let program = agent.program().to_string_lossy().into_owned();
    if let Some(user) = user {
        let args = ["-c", "command -v -- \"$1\"", "sh", &program];
        if output(place, "sh", &args).await?.is_none() {
            return Ok(Err(AgentError::NotRunnable { program, user: user.to_owned() }));
        }
    }
    if !agent.hides_version() {
        return Ok(Ok(None));
    }
    let said = output(place, &program, &["--version"]).await?;
    Ok(Ok(said.as_deref().and_then(version)))
}

/// Returns what a program writes, if it ends well.
async fn output(place: Place<'_>, program: &str, args: &[&str]) -> io::Result<Option<String>> {
    let mut said = String::new();
    let mut on_line = |_, line: &str| {
        said.push_str(line);
        said.push('\n');
    };
    let command = GuardedCommand {
        program: program.into(),
        args: args.iter().map(Into::into).collect(),
        env: place.env.to_vec(),
        dir: place.dir.to_owned(),
        stdin: None,
    };
    let end =
        process::run(place.guard, command, place.limits, &CancellationToken::new(), &mut on_line).await?;
    Ok(matches!(end, End::Exited(0)).then_some(said))
}

/// Finds the version in what a program says: `codex-cli 0.169.0`, `GitHub Copilot CLI 1.0.102.`
fn version(said: &str) -> Option<String> {
    let is_version =
        |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.') && word.len() < 40;
    let words = said.split_whitespace().map(|word| word.trim_start_matches('v').trim_end_matches(['.', ',']));
    words.filter(is_version).map(str::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_whatever_else_is_said() {
        for (said, expected) in [
            ("codex-cli 0.169.0\n", Some("0.169.0")),
            ("GitHub Copilot CLI 1.0.102.\nRun 'copilot update'\n", Some("1.0.102")),
            ("v0.61.0-nightly.1\n", Some("0.61.0-nightly.1")),
            ("no such option\n", None),
            ("3 files\n", None),
            ("", None),
        ] {
            assert_eq!(version(said).as_deref(), expected, "{said:?}");
        }
    }
}
