//! The original `agent`: the configured coding agent, called by hand or by a script.

use std::ffi::OsString;

use clap::Parser;

use crate::args::{AgentArgs, AgentCommand, Cli, Command, GlobalArgs};

/// Runs the configured coding agent.
#[derive(Debug, Parser)]
#[command(name = "agent", version, arg_required_else_help = true, after_help = "The same as: acf agent")]
struct Tool {
    #[command(subcommand)]
    command: AgentCommand,
}

/// Parses the arguments of `agent`.
pub(super) fn parse(argv: &[OsString]) -> Result<Cli, clap::Error> {
    let Tool { command } = Tool::try_parse_from(argv)?;
    Ok(Cli { global: GlobalArgs::default(), command: Command::Agent(AgentArgs { command }) })
}
