//! The worker of acf: claims over git, agents, the gate, and the loop around them.
//!
//! [`worker::Worker`] decides and drives; it knows its surroundings only as ports: the claim store,
//! the tracker, the workbench, the clock. [`git`] and [`workbench`] are the real ones; [`assembly`]
//! puts everything together by the [`config`].

use std::ffi::OsString;
use std::process::ExitCode;

pub mod agent;
pub mod agent_user;
pub mod assembly;
pub mod clock;
pub mod config;
pub mod events;
pub mod foreground;
pub mod gate;
pub mod git;
pub mod held_directory;
pub mod log;
mod masked;
mod plain_file;
mod prices;
pub mod process;
pub mod prompt;
pub mod signals;
mod start;
pub mod workbench;
pub mod worker;

/// Runs a hidden sub-command, one that acf starts itself as: `__guard` and `__script-agent`.
///
/// Every program that links the worker calls this first of all, with its arguments (its own name left
/// out), because its commands and its scripted agent are started through `/proc/self/exe`. Returns
/// `None` where the arguments are for the program itself.
pub fn hidden_command(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter();
    match args.next()?.to_str()? {
        process::GUARD => Some(process::guard_main(args)),
        agent::SCRIPT_AGENT => Some(agent::script_agent_main()),
        _ => None,
    }
}
