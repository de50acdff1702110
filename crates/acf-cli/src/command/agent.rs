//! The original `agent`: prepares the configured agent, or runs it once in this directory.

use acf_core::agent::AgentOutcome;
use acf_worker::assembly;
use acf_worker::config::Need;
use acf_worker::signals;
use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::context::{Context, with_hint};
use crate::error::Exit;
use crate::symlinks::AgentCommand;
use crate::ui::{Out, say};

/// Does what `agent` was asked to do.
///
/// # Errors
/// When the agent cannot be had, or the guard does not work.
pub async fn run(command: &AgentCommand, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    let settings = context.settings(Need::Agent)?;
    let agent = with_hint(assembly::AgentAlone::open(&settings, context.environment()))?;
    match command {
        AgentCommand::Init => {
            with_hint(agent.prepare().await)?;
            say(format!("agent {} is ready", agent.name()));
            Ok(Exit::Done)
        }
        AgentCommand::Run { prompt } => {
            let mut closed = Ok(());
            let mut log = |line: &str| {
                if closed.is_ok() {
                    closed = out.line(line);
                }
            };
            let directory = std::env::current_dir().context("cannot find the current directory")?;
            let stop = CancellationToken::new();
            signals::install(stop.clone(), settings.worker.stop_grace, String::new())
                .context("cannot handle signals")?;
            let outcome = with_hint(agent.run(prompt, &directory, &stop, &mut log).await)?;
            closed?;
            Ok(if outcome == AgentOutcome::Finished { Exit::Done } else { Exit::Failed })
        }
    }
}
