//! The arguments of the verbs that work on issues.

use std::path::PathBuf;

use acf_core::issue::{IssueKey, Stage};
use acf_core::ledger::By;
use acf_core::run::WorkerId;
use clap::Args;

use super::{OutputArgs, at_least_one, whole};

const DEMO_EXAMPLES: &str = "\
Examples:
  acf demo
  acf demo --issues 20 --workers 8
  acf demo --json | jq .wall_ms";

/// The arguments of `acf demo`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = DEMO_EXAMPLES)]
pub struct DemoArgs {
    /// How many issues to make up
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = whole(1..=1000_u16))]
    pub issues: u16,
    /// How many workers to start
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = whole(1..=64_u16))]
    pub workers: u16,
    /// Keep the sandbox, and say where it is
    #[arg(long)]
    pub keep: bool,
    /// The form of what is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

const WORKER_EXAMPLES: &str = "\
Examples:
  acf worker
  acf worker --project TODO.md --exit-when-idle
  acf worker --stage planning --max-issues 1";

/// The arguments of `acf worker`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = WORKER_EXAMPLES)]
pub struct WorkerArgs {
    /// What to do with issues: implementation or planning
    #[arg(long, value_name = "STAGE", default_value_t = Stage::Implementation)]
    pub stage: Stage,
    /// End after that many issues
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub max_issues: Option<u32>,
    /// End when there is nothing to do, instead of waiting for more; with 1 where it is to wait for something else:
    /// quota, the day's budget, a repository or an agent that works
    #[arg(long)]
    pub exit_when_idle: bool,
}

/// The arguments of `acf implement` and `acf plan`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = "Example:\n  acf implement TODO-3\n  acf plan ACF-12")]
pub struct IssueArgs {
    /// The issue: ACF-12, #12, TODO-3
    pub key: IssueKey,
}

const RUNS_EXAMPLES: &str = "\
Examples:
  acf runs
  acf runs TODO-3 --json
  acf runs --by agent           what each agent did and cost";

/// The arguments of `acf runs`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = RUNS_EXAMPLES)]
pub struct RunsArgs {
    /// Only the runs of this issue
    pub key: Option<IssueKey>,
    /// Sum the runs up instead of showing each
    #[arg(long, value_name = "issue|agent|day", value_parser = by)]
    pub by: Option<By>,
    /// The runs of a kept demo sandbox
    #[arg(long, value_name = "DIR")]
    pub sandbox: Option<PathBuf>,
    /// The form of what is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Reads what runs are summed by.
fn by(text: &str) -> Result<By, String> {
    match text {
        "issue" => Ok(By::Issue),
        "agent" => Ok(By::Agent),
        "day" => Ok(By::Day),
        _ => Err("write issue, agent or day".to_owned()),
    }
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  acf import-claude-credentials --env-file .env.factory
  acf import-claude-credentials --env-file .env.factory --from /mnt/home/.claude/.credentials.json";

/// The arguments of `acf import-claude-credentials`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct ImportArgs {
    /// Where Claude Code keeps its tokens [default: ~/.claude/.credentials.json]
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

const SWEEP_EXAMPLES: &str = "\
Examples:
  acf sweep                     also what workers of this machine left that have ended
  acf sweep --dead w-3f9c2e1a   that worker of another machine is known to be dead";

/// The arguments of `acf sweep`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = SWEEP_EXAMPLES)]
pub struct SweepArgs {
    /// Another worker that is known to be dead; may be given more than once
    #[arg(long, value_name = "WORKER", value_parser = worker_id)]
    pub dead: Vec<WorkerId>,
    /// The form of what is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

fn worker_id(text: &str) -> Result<WorkerId, String> {
    if text.is_empty() { Err("a worker's id is not empty".into()) } else { Ok(WorkerId::new(text)) }
}
