//! The original `agent`: the configured coding agent, called by hand or by a script.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::args::{Cli, Command, GlobalArgs};

/// What `agent` was asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum AgentCommand {
    /// Prepare the agent: write its credentials, check that it is there
    Init,
    /// Run the agent once, in this directory
    Run {
        /// What to do
        #[arg(allow_hyphen_values = true)]
        prompt: String,
    },
}

/// Runs the configured coding agent.
#[derive(Debug, Parser)]
#[command(name = "agent", version, arg_required_else_help = true)]
struct Tool {
    #[command(subcommand)]
    command: AgentCommand,
}

/// Parses the arguments of `agent`.
pub(super) fn parse(argv: &[OsString]) -> Result<Cli, clap::Error> {
    let tool = Tool::try_parse_from(argv)?;
    Ok(Cli { global: GlobalArgs::default(), command: Command::Agent(tool.command) })
}
