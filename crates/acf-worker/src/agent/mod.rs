//! The agents that a worker can run, and how it runs them.
//!
//! An adapter says how a coding CLI is started and what its output means ([`acf_core::agent::Agent`]);
//! it starts nothing itself. [`round()`] runs one round of any of them below a guard.

mod command;
mod installed;
mod roster;
mod round;
mod script;

use std::io;
use std::sync::Arc;

use acf_core::agent::Agent;

use crate::config::AgentChoice;

pub use command::Command;
pub use installed::check_installed;
pub use roster::Roster;
pub use round::{RoundReport, prepare, round};
pub use script::Script;
pub(crate) use script::{SCRIPT_AGENT, script_agent_main};

/// Makes the agent that was chosen.
///
/// # Errors
/// When the operating system does not tell what this program is, which the agent `script` is a part of.
pub fn make(choice: &AgentChoice) -> io::Result<Arc<dyn Agent>> {
    Ok(match choice {
        AgentChoice::Script => Arc::new(Script::new()?),
        AgentChoice::Command { program, args } => Arc::new(Command::new(program.clone(), args.clone())),
    })
}
