//! How `acf` ends: its exit codes, how an error is told with its causes and a hint, and what a panic
//! becomes. What the errors are is the matter of those who make them.

use std::fmt;
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use acf_core::agent::AgentError;
use acf_core::claim::ClaimError;
use acf_core::issue::IssueKey;
use acf_core::tracker::TrackerError;
use acf_worker::agent_user::AgentUserError;
use acf_worker::assembly::StartError;
use acf_worker::config::{Problems, Tracker};
use acf_worker::git::probe::{MINIMUM_VERSION, ProbeError};
use acf_worker::worker::WorkerError;
use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const CAUSE: Style = Style::new().dimmed();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// How `acf` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked is done.
    Done,
    /// It failed.
    Failed,
    /// The command line or the configuration cannot be meant like this.
    Usage,
    /// There was nothing to do, where a command tells that apart.
    NothingToDo,
    /// The same, as the original `task-manager` says it.
    NothingToClaim,
    /// A person or the system told it to stop.
    Interrupted,
    /// A bug in `acf`.
    Bug,
}

impl Exit {
    /// Returns the exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage | Self::NothingToClaim => 2,
            Self::NothingToDo => 3,
            Self::Bug => 70,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What to do about an error. It travels in an error's chain and is shown below it.
#[derive(Debug)]
struct Hint(String);

// A link of the chain that says nothing itself, and is left out where the chain is told.
impl fmt::Display for Hint {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Adds to an error what to do about it.
pub trait WithHint<T> {
    /// Adds a hint; of several in a chain, the outermost is shown.
    ///
    /// # Errors
    /// The same as before.
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E> WithHint<T> for Result<T, E>
where
    Self: anyhow::Context<T, E>,
{
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T> {
        anyhow::Context::with_context(self, || Hint(hint.into()))
    }
}

/// An error of whoever typed the command, or wrote the configuration: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Whoever read the output has gone, as `head` does: no error, and nothing to say.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output is gone")]
pub struct OutputClosed;

const KEEP_CLAIMS_IN_BRANCHES: &str = "set ACF_REF_PREFIX=refs/heads/acf/ to keep claims in branches";
const EXEMPT_CLAIMS: &str = "let acf create, rewrite and delete branches there: receive.denyDeletes, \
    receive.denyNonFastForwards, hooks and branch protection can forbid it; or take ACF_REF_PREFIX away";

fn are_branches(refs: &str) -> bool {
    refs.starts_with("refs/heads/")
}

/// Returns what a person can do about an error that kept something from starting.
#[must_use]
pub fn hint_for(error: &StartError) -> Option<String> {
    let hint = match error {
        StartError::Probe(ProbeError::NoGit(_) | ProbeError::OldGit { .. }) => {
            let (major, minor) = MINIMUM_VERSION;
            return Some(format!("install git {major}.{minor} or newer; Debian 12 and Ubuntu 23.04 have it"));
        }
        StartError::Probe(ProbeError::NoTrunk { .. }) => {
            "push a first commit, or name another branch with GIT_TRUNK"
        }
        StartError::Probe(ProbeError::NotAtomic(_)) => {
            "acf needs a git host with atomic pushes; GitHub, GitLab and a plain `git` server have them"
        }
        StartError::Probe(ProbeError::RefusesPrefix { prefix, .. }) => match are_branches(prefix) {
            false => KEEP_CLAIMS_IN_BRANCHES,
            true => EXEMPT_CLAIMS,
        },
        StartError::Probe(ProbeError::Remote { cause, .. })
        | StartError::Worker(WorkerError::Claims(cause)) => match cause {
            ClaimError::Unauthorized(says) if says.0.contains("Permission denied (") => {
                "check that the git host knows the ssh key of this user, and that ssh needs nobody to type \
                 anything: `ssh -o BatchMode=yes` and the host"
            }
            ClaimError::Unreachable(says) if says.0.contains("Host key verification failed") => {
                "put the host's key into this user's ~/.ssh/known_hosts: connect once by hand and compare it"
            }
            ClaimError::Unauthorized(_) => {
                "check GIT_USERNAME and GIT_TOKEN: the token has to be allowed to push"
            }
            ClaimError::Unreachable(_) => "check GIT_REPO_URL, and that this machine can reach it",
            ClaimError::Refused { what, .. } if are_branches(what) => EXEMPT_CLAIMS,
            ClaimError::Refused { .. } => KEEP_CLAIMS_IN_BRANCHES,
            ClaimError::Lost | ClaimError::Other { .. } => return None,
        },
        StartError::Agent(AgentError::Unusable { .. }) => {
            "mend the program, or put one that works first on PATH; with AGENT=command, AGENT_COMMAND names it"
        }
        StartError::Agent(AgentError::NotRunnable { .. }) => {
            "install it where that user can run it: for everybody, and not in a home"
        }
        StartError::Agent(AgentError::RefusesRoot { variable, .. }) => {
            return Some(format!(
                "set ACF_AGENT_USER, or start the worker as another user; {variable}=1 if this machine is a sandbox, but \
                 an agent that is root can read acf's own tokens in /proc"
            ));
        }
        StartError::Agent(AgentError::NotInstalled { .. }) => {
            "install the agent, or put its directory on PATH; AGENT_COMMAND may be a path, AGENT=script needs none"
        }
        StartError::AgentUser(AgentUserError::NoRight(_)) => {
            "start the worker as root, or take ACF_AGENT_USER away"
        }
        StartError::AgentUser(AgentUserError::NoEntry { .. }) => {
            "set LOOP_WORK_DIR to a directory that this user can enter, /var/lib/acf for instance"
        }
        StartError::AgentUser(_) => "name an unprivileged user of this machine, or make one with useradd",
        StartError::Worker(WorkerError::NotAuthenticated(_)) => {
            "give the agent credentials that its service accepts, then start the worker again"
        }
        StartError::Prices(_) => {
            "write it like crates/acf-worker/data/prices.toml: [models.\"NAME\"], input, output, source, read"
        }
        StartError::NoRepository => "set GIT_REPO_URL",
        StartError::NoAgent => "set AGENT",
        StartError::Mirror(_) => {
            "check LOOP_WORK_DIR: it has to be a directory that acf can write, with room on its disk"
        }
        StartError::Tracker(TrackerError::Unauthorized(_))
        | StartError::Worker(WorkerError::Tracker(TrackerError::Unauthorized(_))) => {
            "check the tracker's token and what it may do: docs/github.md and docs/jira.md list it"
        }
        StartError::Tracker(TrackerError::Impossible(_))
        | StartError::Worker(WorkerError::Tracker(TrackerError::Impossible(_))) => {
            "`acf config` shows what the tracker's variables are set to; docs/github.md and docs/jira.md tell the set-up"
        }
        StartError::Tracker(_) | StartError::Machine { .. } | StartError::Stopped | StartError::Worker(_) => {
            return None;
        }
    };
    Some(hint.to_owned())
}

/// Returns an error of a tracker with what was attempted and, for one that is a service, what a person can do
/// about it, unless the error itself says so. A file's errors say all there is to be said.
#[must_use]
pub fn of_tracker(error: TrackerError, attempt: Attempt<'_>, tracker: &Tracker) -> anyhow::Error {
    let (place, token, address, docs) = match tracker {
        Tracker::Todo(_) => return error.into(),
        Tracker::GitHub(github) => {
            let place = format!("{} on GitHub", github.repository);
            (place, "GH_TOKEN", "PROJECT, and GITHUB_API_URL if it is set", "docs/github.md")
        }
        Tracker::Jira(jira) => {
            let place = format!("the project `{}` in Jira", jira.project);
            (place, "JIRA_EMAIL and JIRA_TOKEN", "PROJECT, JIRA_SITE and JIRA_API_URL", "docs/jira.md")
        }
    };
    let hint = match &error {
        // The token is good: the error says what the account is to be given.
        TrackerError::Unauthorized(says) if says.starts_with("the account lacks") => None,
        TrackerError::Unauthorized(_) => {
            Some(format!("check {token}, and what the account may do; {docs} tells the set-up"))
        }
        // What it does not let itself be changed to, it says.
        TrackerError::Impossible(_) if matches!(attempt, Attempt::Change(_)) => None,
        TrackerError::Impossible(says) if says.contains("JIRA_STATUS_") => {
            Some(format!("`acf config` shows where it is set, if it is; {docs} tells the set-up"))
        }
        TrackerError::Impossible(_) => Some(format!("check {address}; {docs} tells the set-up")),
        TrackerError::Other { .. } => Some(format!(
            "check {address}, and HTTPS_PROXY where a proxy is in between; it may pass by itself: try again"
        )),
        // For any verb alike: see `with_asked_wait` and `with_place_to_look`.
        TrackerError::NotFound(_)
        | TrackerError::RateLimited { .. }
        | TrackerError::Unavailable { .. }
        | TrackerError::Unreadable(_) => None,
    };
    let attempted = match attempt {
        Attempt::List => format!("cannot list the issues of {place}"),
        Attempt::Read(key) => format!("cannot read issue {key} of {place}"),
        Attempt::Change(key) => format!("cannot change issue {key} of {place}"),
        Attempt::FindAccount => format!("cannot find out whom issues of {place} are assigned to"),
    };
    let error = anyhow::Error::new(error).context(attempted);
    match hint {
        Some(hint) => error.context(Hint(hint)),
        None => error,
    }
}

/// What was attempted with a tracker.
#[derive(Clone, Copy, Debug)]
pub enum Attempt<'a> {
    /// To list issues.
    List,
    /// To read an issue.
    Read(&'a IssueKey),
    /// To change an issue.
    Change(&'a IssueKey),
    /// To find out the account that issues are assigned to.
    FindAccount,
}

/// Adds which service wants no calls, why and until when, where a tracker asks to wait: `service` is what the
/// tracker is called, and `now` the time.
#[must_use]
pub fn with_asked_wait(error: anyhow::Error, service: &str, now: Timestamp) -> anyhow::Error {
    let asked = error.chain().filter_map(|cause| cause.downcast_ref::<TrackerError>()).find_map(|cause| {
        let is_limit = matches!(cause, TrackerError::RateLimited { .. });
        cause.asked_wait().map(|wait| (wait, is_limit))
    });
    let Some((retry_after, is_limit)) = asked else { return error };
    let until = now.checked_add(retry_after).unwrap_or(Timestamp::MAX);
    let until = until.round(jiff::Unit::Second).unwrap_or(until);
    let (says, hint) = if is_limit {
        let hint = "try again then, or give acf a token of its own; workers wait by themselves";
        (format!("{service} takes no more calls until {until}"), hint)
    } else {
        let says = format!("{service} is unavailable, and asks to wait until {until}");
        (says, "try again then; workers wait by themselves")
    };
    error.context(says).context(Hint(hint.to_owned()))
}

/// Adds where to look, where the tracker does not know an issue, or cannot be read.
#[must_use]
pub fn with_place_to_look(error: anyhow::Error) -> anyhow::Error {
    let hint =
        error.chain().filter_map(|cause| cause.downcast_ref::<TrackerError>()).find_map(
            |cause| match cause {
                TrackerError::NotFound(_) => Some("`acf issues list` shows the issues that are not done"),
                TrackerError::Unreadable(_) => {
                    Some("PROJECT or TODO_FILE names the file; `acf config` shows where that is set")
                }
                _ => None,
            },
        );
    match hint {
        Some(hint) => error.context(Hint(hint.to_owned())),
        None => error,
    }
}

/// Returns how `acf` ends with that error.
#[must_use]
pub fn exit(error: &anyhow::Error) -> Exit {
    if error.chain().any(|cause| cause.is::<OutputClosed>()) {
        Exit::Done
    } else if error.chain().any(|cause| cause.is::<UsageError>() || cause.is::<Problems>()) {
        Exit::Usage
    } else {
        Exit::Failed
    }
}

/// Returns what people read of an error: what failed, why, why that, and what to do about it.
#[must_use]
pub fn describe(error: &anyhow::Error) -> String {
    let mut told: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        // Some errors repeat their cause in their own words.
        if told.last().is_none_or(|last| !last.ends_with(&cause)) {
            told.push(cause);
        }
    }
    let mut told = told.into_iter();
    let mut text = format!("{ERROR}error:{ERROR:#} {}", told.next().unwrap_or_default());
    for cause in told {
        text += &format!("\n  {CAUSE}caused by:{CAUSE:#} {}", cause.replace('\n', "\n    "));
    }
    if let Some(Hint(hint)) = error.downcast_ref() {
        text += &format!("\n{HINT}hint:{HINT:#} {hint}");
    }
    text
}

/// Makes a panic, wherever it happens, end the program with the code for bugs and a word about it.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        crate::ui::say(describe_panic(panic));
        // Ends here even where a panic would abort, or be caught with its task.
        std::process::exit(Exit::Bug.code().into());
    }));
}

fn describe_panic(panic: &PanicHookInfo<'_>) -> String {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let what = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let what = what.unwrap_or("something that is no text");
    let place = panic.location().map(|location| format!(" at {location}")).unwrap_or_default();
    format!(
        "{ERROR}error:{ERROR:#} this is a bug in acf {}\n  {CAUSE}caused by:{CAUSE:#} {what}{place}\n\
         {HINT}hint:{HINT:#} please report it with the lines above",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use acf_core::claim::RemoteSays;
    use anyhow::{Context, anyhow};

    use super::*;

    fn plain(error: &anyhow::Error) -> String {
        anstream::adapter::strip_str(&describe(error)).to_string()
    }

    fn unauthorized() -> anyhow::Result<()> {
        Err(anyhow!("401 Unauthorized"))
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_a_hint() {
        let error = unauthorized()
            .context("cannot reach Jira at `acme.atlassian.net`")
            .hint("check JIRA_EMAIL and JIRA_TOKEN; `acf doctor` tests them")
            .unwrap_err();
        insta::assert_snapshot!(plain(&error), @r"
        error: cannot reach Jira at `acme.atlassian.net`
          caused by: 401 Unauthorized
        hint: check JIRA_EMAIL and JIRA_TOKEN; `acf doctor` tests them
        ");
    }

    #[test]
    fn a_worker_whose_repository_is_not_visible_is_told_where_to_look() {
        let hidden = TrackerError::Impossible("repository acme/shop does not exist".into());
        let hint = hint_for(&StartError::Worker(WorkerError::Tracker(hidden))).unwrap();
        assert!(hint.contains("`acf config`") && hint.contains("docs/github.md"), "{hint}");
    }

    const LONG: std::time::Duration = std::time::Duration::from_secs(600);

    #[test]
    fn a_wait_that_is_asked_for_is_told_with_its_service_and_its_end() {
        let limited = TrackerError::RateLimited { retry_after: LONG };
        let error = with_asked_wait(anyhow::Error::new(limited), "GitHub", Timestamp::UNIX_EPOCH);
        insta::assert_snapshot!(plain(&error), @r"
        error: GitHub takes no more calls until 1970-01-01T00:10:00Z
          caused by: rate limited for 600 s
        hint: try again then, or give acf a token of its own; workers wait by themselves
        ");
        let (says, retry_after) = ("GET x answered 503 Service Unavailable: Maintenance".to_owned(), LONG);
        let down = anyhow::Error::new(TrackerError::Unavailable { says, retry_after });
        insta::assert_snapshot!(plain(&with_asked_wait(down, "Jira", Timestamp::UNIX_EPOCH)), @r"
        error: Jira is unavailable, and asks to wait until 1970-01-01T00:10:00Z
          caused by: GET x answered 503 Service Unavailable: Maintenance, and asks to wait 600 s
        hint: try again then; workers wait by themselves
        ");
        let other = with_asked_wait(unauthorized().unwrap_err(), "GitHub", Timestamp::UNIX_EPOCH);
        assert_eq!(plain(&other), "error: 401 Unauthorized");
    }

    #[test]
    fn the_outermost_hint_is_shown_wherever_it_stands() {
        let error = unauthorized().hint("inner").context("outer error").unwrap_err();
        assert_eq!(plain(&error), "error: outer error\n  caused by: 401 Unauthorized\nhint: inner");
        let error = unauthorized().hint("inner").hint("outer").unwrap_err();
        assert_eq!(plain(&error), "error: 401 Unauthorized\nhint: outer");
    }

    #[test]
    fn a_cause_that_its_error_has_told_is_not_told_again() {
        let error = unauthorized().context("no answer: 401 Unauthorized").unwrap_err();
        assert_eq!(plain(&error), "error: no answer: 401 Unauthorized");
    }

    #[test]
    fn a_hint_is_about_the_way_that_git_takes() {
        let hint = |cause| {
            let url = "ssh://git@h/x".to_owned();
            hint_for(&StartError::Probe(ProbeError::Remote { url, cause })).unwrap()
        };
        let says = |text: &str| RemoteSays(text.to_owned());
        let ssh = hint(ClaimError::Unauthorized(says("git@h: Permission denied (publickey).")));
        assert!(ssh.contains("ssh key") && !ssh.contains("GIT_TOKEN"), "{ssh}");
        let password = hint(ClaimError::Unauthorized(says("Authentication failed for 'https://h/x/'")));
        assert!(password.contains("GIT_TOKEN"), "{password}");
        let stranger = hint(ClaimError::Unreachable(says("Host key verification failed.")));
        assert!(stranger.contains("known_hosts"), "{stranger}");
    }

    #[test]
    fn no_hint_says_to_do_what_is_done() {
        let hint = |prefix: &str| {
            let (prefix, cause) = (prefix.to_owned(), RemoteSays("deletion prohibited".into()));
            hint_for(&StartError::Probe(ProbeError::RefusesPrefix { what: "delete", prefix, cause })).unwrap()
        };
        assert!(hint("refs/acf/").contains("set ACF_REF_PREFIX=refs/heads/acf/"));
        let branches = hint("refs/heads/acf/");
        assert!(
            branches.contains("receive.denyDeletes") && !branches.contains("set ACF_REF_PREFIX"),
            "{branches}"
        );
    }

    #[test]
    fn exit_codes_tell_wrong_usage_from_failure() {
        assert_eq!(exit(&unauthorized().unwrap_err()), Exit::Failed);
        let usage = anyhow::Error::new(UsageError("no such tracker".into())).context("cannot start");
        assert_eq!(exit(&usage), Exit::Usage);
        let closed = anyhow::Error::new(OutputClosed).context("cannot print");
        assert_eq!(exit(&closed), Exit::Done);
    }
}
