//! The arguments of `acf agent`.

use clap::{Args, Subcommand};

/// The prompt that is read from standard input instead.
pub const STDIN: &str = "-";

/// The arguments of `acf agent`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(arg_required_else_help = true)]
#[command(after_help = "Examples:\n  acf agent init\n  acf agent run 'Say hello in hello.txt'")]
pub struct AgentArgs {
    /// What to do with the agent.
    #[command(subcommand)]
    pub command: AgentCommand,
}

/// What to do with the agent.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum AgentCommand {
    /// Prepare the agent: write its credentials, check that it is there
    #[command(after_help = "Example:\n  acf agent init --agent claude")]
    Init,
    /// Run the agent once, in this directory
    #[command(
        after_help = "Examples:\n  acf agent run 'Say hello in hello.txt'\n  acf agent run - < prompt.md"
    )]
    Run {
        /// What to do; `-` takes it from standard input
        #[arg(allow_hyphen_values = true)]
        prompt: String,
    },
}
