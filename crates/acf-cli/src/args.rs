//! The command line of `acf`: its verbs, flags and help. Parsing only; the verbs' bodies are elsewhere.

mod agent;
mod fleet;
mod issues;
mod work;

use std::ffi::OsString;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use agent::{AgentArgs, AgentCommand, STDIN};
pub use fleet::{AddArgs, LogsArgs, PoolArg, SizeArgs, StatusArgs, StopArgs};
pub use issues::{
    AssignArgs, ClaimArgs, CommentArgs, ExplainArgs, IssuesArgs, IssuesCommand, ListArgs, ShowArgs,
    TransitionArgs,
};
pub use work::{DemoArgs, ImportArgs, IssueArgs, RunsArgs, SweepArgs, WorkerArgs};

use crate::symlinks::TaskManagerCommand;

const OVERVIEW: &str = "\
Examples:
  acf demo                      see it work, with no credentials and no network
  acf worker --exit-when-idle   work until nothing is left to do
  acf workers 4                 keep four workers running in the background
  acf issues explain ACF-12     why is nothing happening?";

/// Runs autonomous coding workers: they take issues from a tracker and turn them into checked commits.
#[derive(Debug, Parser)]
#[command(name = "acf", version, after_help = OVERVIEW, arg_required_else_help = true)]
pub struct Cli {
    /// The flags that every verb takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The flags that every verb takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct GlobalArgs {
    /// Settings given as flags.
    #[command(flatten)]
    pub settings: SettingArgs,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_short_help = true)]
    pub color: Color,
}

/// Settings given as flags: the topmost layer of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingArgs {
    /// Read settings from this file too
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// The tracker's project, or a TODO file [PROJECT]
    #[arg(long, global = true, value_name = "PROJECT")]
    pub project: Option<String>,
    /// The kind of tracker [TASK_MANAGER]
    #[arg(long, global = true, value_name = "KIND", hide_short_help = true)]
    pub tracker: Option<String>,
    /// The repository to work on [GIT_REPO_URL]
    #[arg(long, global = true, value_name = "URL", hide_short_help = true)]
    pub repo: Option<String>,
    /// The coding agent [AGENT]
    #[arg(long, global = true, value_name = "AGENT", hide_short_help = true)]
    pub agent: Option<String>,
    /// Where workers run [FACTORY_RUNTIME]
    #[arg(long, global = true, value_name = "KIND", hide_short_help = true)]
    pub runtime: Option<String>,
}

impl SettingArgs {
    /// Returns each setting that was given, by its variable's name.
    #[must_use]
    pub fn given(&self) -> Vec<(&'static str, &str)> {
        self.table().into_iter().filter_map(|(_, name, value)| Some((name, value?))).collect()
    }

    /// Returns the arguments that hand the same settings on to another `acf`.
    #[must_use]
    pub fn to_args(&self) -> Vec<OsString> {
        let env_file = self.env_file.iter().flat_map(|file| ["--env-file".into(), file.clone().into()]);
        let settings = self.table().into_iter().filter_map(|(flag, _, value)| Some((flag, value?)));
        env_file.chain(settings.flat_map(|(flag, value)| [flag.into(), value.into()])).collect()
    }

    fn table(&self) -> [(&'static str, &'static str, Option<&str>); 5] {
        [
            ("--project", "PROJECT", self.project.as_deref()),
            ("--tracker", "TASK_MANAGER", self.tracker.as_deref()),
            ("--repo", "GIT_REPO_URL", self.repo.as_deref()),
            ("--agent", "AGENT", self.agent.as_deref()),
            ("--runtime", "FACTORY_RUNTIME", self.runtime.as_deref()),
        ]
    }
}

/// Reads a whole number of that range.
pub(crate) fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Clone,
{
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("write a whole number from {} to {}", range.start(), range.end())),
    }
}

/// Reads a whole number that is at least 1.
pub(crate) fn at_least_one(text: &str) -> Result<u32, String> {
    whole(1..=u32::MAX)(text).map_err(|_| "write a whole number from 1".to_owned())
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct OutputArgs {
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `acf config`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
#[command(after_help = "Examples:\n  acf config\n  acf config --json | jq '.[] | select(.is_set)'")]
pub struct ConfigArgs {
    /// Print the reference of all settings, as Markdown
    #[arg(long, hide = true)]
    pub reference: bool,
    /// The form of what is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the factory at work in a sandbox: no credentials, no network
    Demo(DemoArgs),
    /// Work in the foreground: claim an issue, run the agent, publish, repeat
    Worker(WorkerArgs),
    /// Implement one issue now
    Implement(IssueArgs),
    /// Write the plan for one issue now
    Plan(IssueArgs),
    /// Look at the tracker's issues and change them
    Issues(IssuesArgs),
    /// Show the pool of workers, or bring it to a size
    Workers(SizeArgs),
    /// Show the pool of planners, or bring it to a size
    #[command(after_help = fleet::PLANNERS_EXAMPLES)]
    Planners(SizeArgs),
    /// Start more workers beside those that run
    Add(AddArgs),
    /// Show pools and workers, and what they are doing
    Status(StatusArgs),
    /// Print a worker's log
    Logs(LogsArgs),
    /// Stop workers; they finish or save their work first
    Stop(StopArgs),
    /// Show what past runs did, with their receipts
    Runs(RunsArgs),
    /// Settle what dead workers left: their claims, and landed work not yet reported
    Sweep(SweepArgs),
    /// Prepare the coding agent, or run it once in this directory
    Agent(AgentArgs),
    /// Put the tokens of a Claude subscription into the file that --env-file names
    ImportClaudeCredentials(ImportArgs),
    /// Print every setting with its source, secrets masked
    Config(ConfigArgs),
    /// Print the completion script for a shell
    #[command(
        after_help = "Example:\n  acf completions bash > ~/.local/share/bash-completion/completions/acf"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// The original `task-manager`, which keeps its own output.
    #[command(skip)]
    TaskManager(TaskManagerCommand),
}

#[cfg(test)]
mod tests;
