//! `acf agent`: prepares the configured agent, or runs it once in this directory.

use std::borrow::Cow;
use std::io::{self, Read as _};

use acf_core::agent::AgentOutcome;
use acf_worker::assembly;
use acf_worker::signals;
use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::args::{AgentCommand, STDIN};
use crate::context::{Context, with_hint};
use crate::error::Exit;
use crate::ui::{Out, say};

/// Prepares the agent, or runs it.
///
/// # Errors
/// When the agent cannot be had, the guard does not work, or standard input holds no prompt.
pub async fn run(command: &AgentCommand, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    let settings = context.agent()?;
    let agent = with_hint(assembly::AgentAlone::open(&settings, context.environment()))?;
    match command {
        AgentCommand::Init => {
            with_hint(agent.prepare().await)?;
            say(format!("agent {} is ready", agent.name()));
            Ok(Exit::Done)
        }
        AgentCommand::Run { prompt } => {
            let prompt = match prompt.as_str() {
                STDIN => Cow::Owned(from_stdin()?),
                prompt => Cow::Borrowed(prompt),
            };
            let mut closed = Ok(());
            let mut log = |line: &str| {
                if closed.is_ok() {
                    closed = out.line(line);
                }
            };
            let directory = std::env::current_dir().context("cannot find the current directory")?;
            let stop = CancellationToken::new();
            signals::install(stop.clone(), settings.stop_grace, String::new())
                .context("cannot handle signals")?;
            let outcome = with_hint(agent.run(&prompt, &directory, &stop, &mut log).await)?;
            closed?;
            Ok(if outcome == AgentOutcome::Finished { Exit::Done } else { Exit::Failed })
        }
    }
}

/// Reads a prompt that is too long or too private for an argument.
fn from_stdin() -> anyhow::Result<String> {
    let mut prompt = String::new();
    io::stdin().read_to_string(&mut prompt).context("cannot read the prompt from standard input")?;
    anyhow::ensure!(!prompt.trim().is_empty(), "standard input holds no prompt");
    Ok(prompt)
}
