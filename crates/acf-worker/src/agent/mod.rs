//! The agents that a worker can run, and how it runs them.
//!
//! An adapter says how a coding CLI is started and what its output means ([`acf_core::agent::Agent`]);
//! it starts nothing itself. [`round()`] runs one round of any of them below a guard.

mod access;
mod claude;
mod codex;
mod command;
mod copilot;
mod gemini;
mod home;
mod installed;
mod opencode;
#[cfg(test)]
mod recorded;
mod roster;
mod round;
mod script;
mod stream;
mod trial;

use std::io;
use std::sync::Arc;

use acf_core::agent::Agent;

use crate::config::AgentChoice;

pub use access::Access;
pub use claude::{Claude, Subscription};
pub use codex::Codex;
pub use command::Command;
pub use copilot::Copilot;
pub use gemini::Gemini;
pub use home::{Renewals, learn, settle};
pub use installed::check_installed;
pub use opencode::Opencode;
pub use roster::Roster;
pub use round::{RoundReport, prepare, round};
pub use script::Script;
pub(crate) use script::{SCRIPT_AGENT, script_agent_main};
pub use trial::try_out;

/// Makes the agent that was chosen.
///
/// # Errors
/// When the operating system does not tell what this program is, which the agent `script` is a part of.
pub fn make(choice: &AgentChoice) -> io::Result<Arc<dyn Agent>> {
    Ok(match choice {
        AgentChoice::Script => Arc::new(Script::new()?),
        AgentChoice::Command { program, args, access } => {
            Arc::new(Command::new(program.clone(), args.clone(), access.clone()))
        }
        AgentChoice::Claude { access, subscription } => {
            Arc::new(Claude::new(access.clone(), subscription.clone()))
        }
        AgentChoice::Codex(access) => Arc::new(Codex::new(access.clone())),
        AgentChoice::Copilot(access) => Arc::new(Copilot::new(access.clone())),
        AgentChoice::Gemini(access) => Arc::new(Gemini::new(access.clone())),
        AgentChoice::Opencode(access) => Arc::new(Opencode::new(access.clone())),
    })
}
