//! The arguments of the verbs that start, watch and stop workers.

use std::time::Duration;

use acf_core::runtime::Pool;
use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use super::{OutputArgs, whole};

/// A pool by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PoolArg {
    /// Those that implement.
    #[default]
    Workers,
    /// Those that plan.
    Planners,
}

impl From<PoolArg> for Pool {
    fn from(pool: PoolArg) -> Self {
        match pool {
            PoolArg::Workers => Self::Workers,
            PoolArg::Planners => Self::Planners,
        }
    }
}

const SIZE_EXAMPLES: &str = "\
Examples:
  acf workers       show the pool
  acf workers 4     start or stop until four are running; idle ones are stopped first
  acf workers 0     stop all of them";

pub(super) const PLANNERS_EXAMPLES: &str = "\
Examples:
  acf planners      show the pool
  acf planners 1    start or stop until one is running; idle ones are stopped first
  acf planners 0    stop all of them";

/// The arguments of `acf workers` and `acf planners`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = SIZE_EXAMPLES)]
pub struct SizeArgs {
    /// How many are to run
    #[arg(value_name = "N", allow_negative_numbers = true, value_parser = whole(0..=500_u16))]
    pub size: Option<u16>,
    /// How long those that are stopped may take to finish or to save their work
    /// [default: STOP_GRACE and half a minute]
    #[arg(long, value_name = "TIME", value_parser = grace)]
    pub grace: Option<Duration>,
    /// The form of what is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

const ADD_EXAMPLES: &str = "\
Examples:
  acf add 2
  acf add --pool planners 1";

/// The arguments of `acf add`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = ADD_EXAMPLES)]
pub struct AddArgs {
    /// The pool that they join
    #[arg(long, default_value = "workers")]
    pub pool: PoolArg,
    /// The container image, where workers run in containers
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// How many more
    #[arg(value_name = "N", allow_negative_numbers = true, value_parser = whole(1..=500_u16))]
    pub count: u16,
    /// The form of what is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The arguments of `acf status`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = "Examples:\n  acf status\n  acf status --json | jq '.workers[].run.issue'")]
pub struct StatusArgs {
    /// Show ended workers too, as long as they are remembered
    #[arg(long)]
    pub all: bool,
    /// The form of what is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

const LOGS_EXAMPLES: &str = "\
Examples:
  acf logs w-3f9c2e1a -f
  acf logs 3f9           the beginning of an id is enough";

/// The arguments of `acf logs`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = LOGS_EXAMPLES)]
pub struct LogsArgs {
    /// The worker
    #[arg(value_name = "ID")]
    pub worker: String,
    /// Go on printing until the worker has ended
    #[arg(short, long)]
    pub follow: bool,
    /// The form of what is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

const STOP_EXAMPLES: &str = "\
Examples:
  acf stop w-3f9c2e1a
  acf stop --all --grace 30s";

/// The arguments of `acf stop`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = STOP_EXAMPLES)]
#[command(override_usage = "acf stop [OPTIONS] <ID>...\n       acf stop [OPTIONS] --all")]
pub struct StopArgs {
    /// The workers; the beginning of an id is enough
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub workers: Vec<String>,
    /// Every worker of both pools
    #[arg(long)]
    pub all: bool,
    /// How long each may take to finish or to save its work; then it is killed
    /// [default: STOP_GRACE and half a minute]
    #[arg(long, value_name = "TIME", value_parser = grace)]
    pub grace: Option<Duration>,
    /// The form of what is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

fn grace(text: &str) -> Result<Duration, String> {
    let not_a_time = || format!("`{text}` is not a length of time; write 30s, 2m or 1m30s");
    let duration: SignedDuration = text.parse().map_err(|_| not_a_time())?;
    Duration::try_from(duration).map_err(|_| not_a_time())
}
