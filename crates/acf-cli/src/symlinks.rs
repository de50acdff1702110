//! The names and flags of the original tools: `acf`, called through a symlink named `loop`, `implement`,
//! `plan`, `factory`, `task-manager`, `worker-builder` or `agent`, takes that tool's own arguments.
//!
//! Pure: arguments in, a parsed command line out. A name that is none of these is `acf`.

mod agent;
mod task_manager;

use std::ffi::OsString;
use std::path::Path;

use acf_core::issue::{IssueKey, Stage};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

pub use task_manager::{TaskManagerCommand, TaskManagerVerb};

use crate::args::{
    AddArgs, Cli, Command, GlobalArgs, IssueArgs, LogsArgs, SettingArgs, SizeArgs, StatusArgs, StopArgs,
    WorkerArgs,
};
use crate::error::Exit;

/// Parses a whole argument vector, the program's name first.
///
/// # Errors
/// Wrong usage, and what clap answers as an error too: help and version.
pub fn parse(argv: &[OsString]) -> Result<Cli, clap::Error> {
    match name(argv) {
        "loop" => LoopTool::try_parse_from(argv).map(Cli::from),
        "implement" => ImplementTool::try_parse_from(argv)
            .and_then(|tool| tool.issue.into_cli(Command::Implement, ImplementTool::command)),
        "plan" => PlanTool::try_parse_from(argv)
            .and_then(|tool| tool.issue.into_cli(Command::Plan, PlanTool::command)),
        "factory" => FactoryTool::try_parse_from(argv).map(Cli::from),
        "task-manager" => task_manager::parse(argv),
        "agent" => agent::parse(argv),
        "worker-builder" => Err(not_yet("worker-builder", "comes with `acf image build`")),
        _ => Cli::try_parse_from(argv),
    }
}

/// Returns the name that the program was called by.
fn name(argv: &[OsString]) -> &str {
    argv.first().and_then(|program| Path::new(program).file_stem()?.to_str()).unwrap_or_default()
}

/// Returns how the program ends where its command line or its configuration cannot be meant. Scripts take a 2 of
/// `task-manager` for "nothing to claim", and it means nothing else.
#[must_use]
pub fn wrong_usage(argv: &[OsString]) -> Exit {
    if name(argv) == "task-manager" { Exit::Failed } else { Exit::Usage }
}

fn not_yet(name: &str, when: &str) -> clap::Error {
    Cli::command().error(ErrorKind::InvalidSubcommand, format!("{name} {when}"))
}

/// The project, as the original tools take it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
struct ProjectArgs {
    /// The tracker's project: a Jira project, a GitHub repository, or a TODO file
    #[arg(long, global = true)]
    project: Option<String>,
}

impl From<ProjectArgs> for GlobalArgs {
    fn from(args: ProjectArgs) -> Self {
        let settings = SettingArgs { project: args.project, ..SettingArgs::default() };
        Self { settings, ..Self::default() }
    }
}

/// Takes issues and works on them, one after the other, until it is stopped.
#[derive(Debug, Parser)]
#[command(name = "loop", version, after_help = "The same as: acf worker")]
struct LoopTool {
    #[command(flatten)]
    project: ProjectArgs,
    /// Write plans instead of implementing
    #[arg(long)]
    for_planning: bool,
    /// End after that many issues; 0 is no limit
    #[arg(long, value_name = "N")]
    max_tasks: Option<u32>,
}

impl From<LoopTool> for Cli {
    fn from(tool: LoopTool) -> Self {
        let worker = WorkerArgs {
            stage: stage(tool.for_planning),
            max_issues: tool.max_tasks.filter(|&limit| limit > 0),
            exit_when_idle: false,
        };
        Self { global: tool.project.into(), command: Command::Worker(worker) }
    }
}

fn stage(for_planning: bool) -> Stage {
    if for_planning { Stage::Planning } else { Stage::Implementation }
}

/// Implements one issue.
#[derive(Debug, Parser)]
#[command(name = "implement", version, after_help = "The same as: acf implement KEY")]
struct ImplementTool {
    #[command(flatten)]
    issue: IssueTool,
}

/// Writes the plan for one issue.
#[derive(Debug, Parser)]
#[command(name = "plan", version, after_help = "The same as: acf plan KEY")]
struct PlanTool {
    #[command(flatten)]
    issue: IssueTool,
}

#[derive(Debug, Args)]
struct IssueTool {
    #[command(flatten)]
    project: ProjectArgs,
    /// The issue
    #[arg(value_name = "KEY", required_unless_present = "issue", conflicts_with = "issue")]
    key: Option<IssueKey>,
    /// The issue
    #[arg(long, value_name = "KEY")]
    issue: Option<IssueKey>,
}

impl IssueTool {
    fn into_cli(
        self,
        verb: fn(IssueArgs) -> Command,
        usage: fn() -> clap::Command,
    ) -> Result<Cli, clap::Error> {
        let Some(key) = self.key.or(self.issue) else {
            return Err(usage().error(ErrorKind::MissingRequiredArgument, "an issue's key is required"));
        };
        Ok(Cli { global: self.project.into(), command: verb(IssueArgs { key }) })
    }
}

/// Starts, watches and stops workers.
#[derive(Debug, Parser)]
#[command(name = "factory", version, arg_required_else_help = true)]
#[command(after_help = "The same verbs are those of acf: `acf workers 4`, `acf status`")]
struct FactoryTool {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    verb: FactoryVerb,
}

#[derive(Debug, Subcommand)]
enum FactoryVerb {
    /// Show the pool of workers, or bring it to a size
    Workers(SizeArgs),
    /// Show the pool of planners, or bring it to a size
    Planners(SizeArgs),
    /// Start more workers beside those that run
    Add(AddArgs),
    /// Show pools and workers, and what they are doing
    Status(StatusArgs),
    /// Print a worker's log
    Logs(LogsArgs),
    /// Stop workers; they finish or save their work first
    Stop(StopArgs),
}

impl From<FactoryTool> for Cli {
    fn from(tool: FactoryTool) -> Self {
        let command = match tool.verb {
            FactoryVerb::Workers(args) => Command::Workers(args),
            FactoryVerb::Planners(args) => Command::Planners(args),
            FactoryVerb::Add(args) => Command::Add(args),
            FactoryVerb::Status(args) => Command::Status(args),
            FactoryVerb::Logs(args) => Command::Logs(args),
            FactoryVerb::Stop(args) => Command::Stop(args),
        };
        Self { global: tool.global, command }
    }
}

#[cfg(test)]
mod tests;
