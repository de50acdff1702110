//! The arguments of `acf issues`.

use std::convert::Infallible;

use acf_core::issue::{IssueKey, Stage, Status};
use clap::{Args, Subcommand};

use super::OutputArgs;

/// The arguments of `acf issues`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
#[command(
    after_help = "Examples:\n  acf issues list\n  acf issues explain 12            why is it not taken?\n  \
                        acf issues assign 12 --nobody    give it back to the workers"
)]
pub struct IssuesArgs {
    /// What to do with issues.
    #[command(subcommand)]
    pub command: IssuesCommand,
}

/// What to do with issues.
#[derive(Debug, Subcommand)]
pub enum IssuesCommand {
    /// List the issues that are not done, in the order in which they are taken
    List(ListArgs),
    /// Show one issue
    Show(ShowArgs),
    /// Say whether a worker would take an issue, and why not
    Explain(ExplainArgs),
    /// Claim the next issue, or a given one; exits 3 when there is none to claim
    Claim(ClaimArgs),
    /// Give an issue to an account, or to nobody
    Assign(AssignArgs),
    /// Comment on an issue
    Comment(CommentArgs),
    /// Move an issue to a status
    Transition(TransitionArgs),
}

/// The arguments of `acf issues list`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = "Examples:\n  acf issues list\n  acf issues list --stage planning --json")]
pub struct ListArgs {
    /// Only what a worker of this stage would look at
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<Stage>,
    /// The form of what is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The arguments of `acf issues show`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = "Example:\n  acf issues show ACF-12")]
pub struct ShowArgs {
    /// The issue; its number is enough
    pub key: IssueKey,
    /// The form of what is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The arguments of `acf issues explain`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = "Example:\n  acf issues explain ACF-12")]
pub struct ExplainArgs {
    /// The issue; its number is enough
    pub key: IssueKey,
    /// What the worker would do with it
    #[arg(long, value_name = "STAGE", default_value_t = Stage::Implementation)]
    pub stage: Stage,
    /// The form of what is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The arguments of `acf issues claim`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = "Examples:\n  acf issues claim\n  acf issues claim ACF-12 --json")]
pub struct ClaimArgs {
    /// The issue; the next one that is eligible, if not given
    pub key: Option<IssueKey>,
    /// What is to be done with it
    #[arg(long, value_name = "STAGE", default_value_t = Stage::Implementation)]
    pub stage: Stage,
    /// The account to assign it to; the own one, if not given
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
    /// The form of what is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The arguments of `acf issues assign`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(
    after_help = "Examples:\n  acf issues assign ACF-12\n  acf issues assign ACF-12 --account 5b10a2844c20\n  \
                  acf issues assign ACF-12 --nobody"
)]
pub struct AssignArgs {
    /// The issue; its number is enough
    pub key: IssueKey,
    /// The account; the own one, if not given
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
    /// Take it from whoever has it
    #[arg(long, conflicts_with = "account")]
    pub nobody: bool,
}

/// The arguments of `acf issues comment`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_help = "Example:\n  acf issues comment ACF-12 'Use the existing limiter.'")]
pub struct CommentArgs {
    /// The issue; its number is enough
    pub key: IssueKey,
    /// The comment, as Markdown
    #[arg(allow_hyphen_values = true)]
    pub text: String,
}

/// The arguments of `acf issues transition`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(
    after_help = "Examples:\n  acf issues transition ACF-12 'Plan Approved'\n  acf issues transition TODO-3 done"
)]
pub struct TransitionArgs {
    /// The issue; its number is enough
    pub key: IssueKey,
    /// The status, by its name
    #[arg(value_parser = status)]
    pub status: Status,
}

/// Reads a status; a name that acf does not know may be one that the tracker knows.
pub(crate) fn status(name: &str) -> Result<Status, Infallible> {
    Ok(Status::known(name).unwrap_or_else(|| Status::Other(name.to_owned())))
}
