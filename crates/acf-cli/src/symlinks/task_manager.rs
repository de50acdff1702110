//! The original `task-manager`: one tool for scripts, over whichever tracker is configured.

use std::ffi::OsString;

use acf_core::issue::{IssueKey, Stage, Status};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use super::{ProjectArgs, stage};
use crate::args::{Cli, Command};

/// What `task-manager` was asked to do. Its answers keep the original's form: `claim` prints
/// `{key, summary, description}`, and exits 2 when nothing is eligible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskManagerCommand {
    /// What to do.
    pub verb: TaskManagerVerb,
}

/// What `task-manager` can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskManagerVerb {
    /// Check the credentials, and print the account.
    Auth,
    /// List the issues that a worker of that stage might take.
    List {
        /// The stage.
        stage: Stage,
    },
    /// Print one issue.
    View {
        /// The issue.
        key: IssueKey,
    },
    /// Claim the next issue for an account.
    Claim {
        /// The stage.
        stage: Stage,
        /// The account; the configured one, if not given.
        account: Option<String>,
    },
    /// Assign an issue to an account.
    Assign {
        /// The issue.
        key: IssueKey,
        /// The account; the configured one, if not given.
        account: Option<String>,
    },
    /// Comment on an issue.
    Comment {
        /// The issue.
        key: IssueKey,
        /// The comment.
        text: String,
    },
    /// Move an issue to a status.
    Transition {
        /// The issue.
        key: IssueKey,
        /// The status.
        status: Status,
    },
}

/// Reads issues from the configured tracker and changes them.
#[derive(Debug, Parser)]
#[command(name = "task-manager", version, arg_required_else_help = true)]
#[command(after_help = "The same with more to say: acf issues")]
struct Tool {
    #[command(flatten)]
    project: ProjectArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check the credentials, and print the account
    Auth,
    /// List the issues that a worker might take
    List(StageArgs),
    /// Print one issue
    View(KeyArgs),
    /// Claim the next issue and print it; exits 2 when there is none
    Claim {
        #[command(flatten)]
        account: AccountArgs,
        #[command(flatten)]
        stage: StageArgs,
    },
    /// Assign an issue to an account
    Assign {
        #[command(flatten)]
        key: KeyArgs,
        #[command(flatten)]
        account: AccountArgs,
    },
    /// Comment on an issue
    Comment {
        #[command(flatten)]
        key: KeyArgs,
        /// The comment; may also stand behind the key
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        comment: Option<String>,
    },
    /// Move an issue to a status
    Transition {
        #[command(flatten)]
        key: KeyArgs,
        /// The status; may also stand behind the key
        #[arg(long, value_name = "STATUS")]
        status: Option<String>,
    },
}

#[derive(Debug, Args)]
struct StageArgs {
    /// For planners instead of workers
    #[arg(long)]
    for_planning: bool,
}

#[derive(Debug, Args)]
struct AccountArgs {
    /// The account
    #[arg(long, value_name = "ACCOUNT")]
    account_id: Option<String>,
}

/// The key and what follows it, as words, since either may be given by a flag instead.
#[derive(Debug, Args)]
struct KeyArgs {
    /// The issue
    #[arg(long, value_name = "KEY")]
    issue: Option<String>,
    /// The issue, unless --issue names it, and what the verb takes behind it
    #[arg(value_name = "KEY")]
    words: Vec<String>,
}

/// Parses the arguments of `task-manager`.
pub(super) fn parse(argv: &[OsString]) -> Result<Cli, clap::Error> {
    let tool = Tool::try_parse_from(argv)?;
    let verb = match tool.verb {
        Verb::Auth => TaskManagerVerb::Auth,
        Verb::List(args) => TaskManagerVerb::List { stage: stage(args.for_planning) },
        Verb::View(args) => TaskManagerVerb::View { key: args.key_only()? },
        Verb::Claim { account, stage: args } => {
            TaskManagerVerb::Claim { stage: stage(args.for_planning), account: account.account_id }
        }
        Verb::Assign { key, account } => {
            TaskManagerVerb::Assign { key: key.key_only()?, account: account.account_id }
        }
        Verb::Comment { key, comment } => {
            let (key, text) = key.key_and("a comment", comment)?;
            TaskManagerVerb::Comment { key, text }
        }
        Verb::Transition { key, status } => {
            let (key, name) = key.key_and("a status", status)?;
            let status = Status::known(&name).unwrap_or(Status::Other(name));
            TaskManagerVerb::Transition { key, status }
        }
    };
    let command = Command::TaskManager(TaskManagerCommand { verb });
    Ok(Cli { global: tool.project.into(), command })
}

impl KeyArgs {
    fn key_only(self) -> Result<IssueKey, clap::Error> {
        let mut words = self.words.into_iter();
        let key = key(self.issue.or_else(|| words.next()))?;
        refuse_more(words)?;
        Ok(key)
    }

    fn key_and(self, what: &str, flag: Option<String>) -> Result<(IssueKey, String), clap::Error> {
        let mut words = self.words.into_iter();
        let key = key(self.issue.or_else(|| words.next()))?;
        let Some(text) = flag.or_else(|| words.next()) else {
            return Err(usage(ErrorKind::MissingRequiredArgument, &format!("{what} is required")));
        };
        refuse_more(words)?;
        Ok((key, text))
    }
}

fn key(text: Option<String>) -> Result<IssueKey, clap::Error> {
    let Some(text) = text else {
        return Err(usage(ErrorKind::MissingRequiredArgument, "an issue's key is required"));
    };
    text.parse().map_err(|invalid| usage(ErrorKind::ValueValidation, &format!("{invalid}")))
}

fn refuse_more(mut words: impl Iterator<Item = String>) -> Result<(), clap::Error> {
    match words.next() {
        None => Ok(()),
        Some(word) => Err(usage(ErrorKind::UnknownArgument, &format!("unexpected argument '{word}'"))),
    }
}

fn usage(kind: ErrorKind, message: &str) -> clap::Error {
    Tool::command().error(kind, message)
}
