//! The agent port: what acf asks of a coding CLI, and what it understands of its answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;

use crate::issue::{Issue, Stage};
use crate::receipt::Usage;

/// What an agent is asked to do in one round.
#[derive(Clone, Copy, Debug)]
pub struct AgentRequest<'a> {
    /// The whole prompt.
    pub prompt: &'a str,
    /// The issue that the prompt is about.
    pub issue: &'a Issue,
    /// Planning or implementation.
    pub stage: Stage,
    /// 0 for the first round, then counting the fix rounds.
    pub round: u32,
    /// The session of an earlier round, to be resumed.
    pub session: Option<&'a str>,
    /// What that session has used so far.
    pub session_usage: Usage,
    /// What the round may use.
    pub limits: AgentLimits,
    /// Where the agent may leave a report for [`Agent::parse_report`], relative to its checkout.
    pub report: Option<&'a Path>,
}

/// What one round of an agent may use; an agent that has no such limit of its own ignores it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AgentLimits {
    /// Turns of the conversation with the model.
    pub max_turns: Option<u32>,
    /// Cost in US dollars.
    pub budget_usd: Option<f64>,
}

/// How to start an agent. It runs in the checkout, in a process group of its own, with an environment
/// that holds nothing of acf's but what stands here.
#[derive(Clone, Debug, Default)]
pub struct AgentCommand {
    /// The program, looked up on `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The agent's own credentials and settings.
    pub env: Vec<(String, SecretString)>,
    /// What it reads from its standard input; nothing if `None`.
    pub stdin: Option<String>,
}

/// A file that an agent wants in its home before it starts, such as its credentials.
#[derive(Clone, Debug)]
pub struct AgentFile {
    /// The path below the agent's home.
    pub path: PathBuf,
    /// The contents; written with mode 0600.
    pub contents: SecretString,
}

/// What one line of an agent's output means.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentEvent {
    /// Something for people to read; anything not understood is this.
    Text(String),
    /// The agent uses one of its tools.
    Tool {
        /// The tool's name, with what it is used on.
        summary: String,
    },
    /// Tokens and cost used since the last such event.
    Usage(Usage),
    /// What one turn of a round that goes on has used; told again, it is the same turn. Once the agent tells
    /// what the round has used, that counts instead.
    Turn {
        /// Names the turn.
        id: String,
        /// What it used.
        usage: Usage,
    },
    /// Tokens used since the session began, in earlier rounds too; turns and cost are not in it.
    SessionUsage(Usage),
    /// The agent's session, by which a later round can resume it.
    Session(String),
    /// The agent's version or model.
    About {
        /// The version.
        version: Option<String>,
        /// The model.
        model: Option<String>,
    },
    /// Something other than its own work keeps the agent from going on.
    Trouble(Trouble),
    /// The agent says that it has ended.
    Finished {
        /// Whether by its own account it went well.
        ok: bool,
        /// Its last words.
        message: Option<String>,
    },
}

/// What keeps an agent from going on, as told by its own error signals, never by prose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Its service refuses for too many requests; waiting mends that.
    RateLimited {
        /// How long to wait, where it says.
        retry_after: Option<Duration>,
    },
    /// Its service does not work just now; waiting mends that too.
    Unavailable {
        /// What its service says.
        message: String,
    },
    /// Its account has nothing left to spend until then.
    QuotaExhausted {
        /// When there will be something again, where it says.
        resets_at: Option<Timestamp>,
    },
    /// Its credentials are missing, wrong or expired.
    NotAuthenticated {
        /// What its service says.
        message: String,
    },
    /// It has used the turns that it may.
    OutOfTurns,
    /// It has spent what it may.
    OutOfBudget,
}

/// How an agent's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentExit {
    /// By itself, with that exit code; `None` if by a signal.
    Exited(Option<i32>),
    /// The time limit for the whole round ended it.
    TimedOut,
    /// It was silent for too long and was ended.
    Stalled,
    /// It was ended because the worker is to stop or the claim is lost.
    Stopped,
}

/// What came of one round of an agent, judged by its exit and its own error signals, never by prose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentOutcome {
    /// It ended well. Whether it did anything, only the checkout can tell.
    Finished,
    /// Something other than its own work kept it from going on.
    Trouble(Trouble),
    /// It ended with an error.
    Crashed {
        /// The exit code; `None` if by a signal.
        exit_code: Option<i32>,
        /// Its last words.
        message: Option<String>,
    },
    /// It ran longer than it may.
    TimedOut,
    /// It said nothing for too long.
    Stalled,
    /// It was ended because the worker is to stop or the claim is lost.
    Stopped,
}

/// Why an agent cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its program is not there.
    #[error("the agent's program `{program}` is not on PATH")]
    NotInstalled {
        /// The program.
        program: String,
    },
    /// Its program cannot be started.
    #[error("the agent's program `{program}` {why}")]
    Unusable {
        /// The program.
        program: String,
        /// What is wrong with it: `is not executable`.
        why: String,
    },
    /// Its program cannot be run by the user as whom agents run.
    #[error("the agent's program `{program}` cannot be run by `{user}`")]
    NotRunnable {
        /// The program.
        program: String,
        /// The user.
        user: String,
    },
    /// It refuses to run as root.
    #[error("`{agent}` refuses to run unattended as root")]
    RefusesRoot {
        /// The agent.
        agent: String,
        /// The variable that changes its mind.
        variable: &'static str,
    },
}

/// A coding CLI.
///
/// An adapter is pure: it says how to start the CLI and what its output means; the worker runs it.
pub trait Agent: Send + Sync {
    /// Returns its name, as `AGENT` has it.
    fn name(&self) -> &str;

    /// Returns the program that its commands start, so that it can be looked for before a claim.
    fn program(&self) -> &Path;

    /// Returns the files that it wants in its home.
    fn files(&self) -> Vec<AgentFile> {
        Vec::new()
    }

    /// Tells whether one of its files is to go where another one lies already.
    fn overwrites(&self, _file: &AgentFile) -> bool {
        true
    }

    /// Returns the file as the agent itself has renewed it since, if what was found in its place is that. `is_known`
    /// tells whether the file there is known to come from that one, and not from a person.
    fn renewed(&self, _file: &AgentFile, _found: &str, _is_known: bool) -> Option<AgentFile> {
        None
    }

    /// Returns the files below its home that may hold its login: tokens that it gets and renews by itself, and
    /// that nobody may publish.
    fn logins(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the variables that it was given to sign in with; none where it has a login of its own.
    fn credentials(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Tells whether it names its version only when asked for it by `--version`.
    fn hides_version(&self) -> bool {
        false
    }

    /// Returns the variable by which it is told that this machine is a sandbox, where it refuses to run
    /// unattended as root anywhere else.
    fn sandbox_variable(&self) -> Option<&'static str> {
        None
    }

    /// Returns a command that prepares it once per worker, before the first round.
    fn preparation(&self) -> Option<AgentCommand> {
        None
    }

    /// Returns the command for one round.
    fn command(&self, request: &AgentRequest<'_>) -> AgentCommand;

    /// Says what one line of its standard output means. A line that is cut off or not understood is
    /// [`AgentEvent::Text`], never an error.
    fn parse(&self, line: &str) -> Vec<AgentEvent> {
        vec![AgentEvent::Text(line.to_owned())]
    }

    /// Says what one line of its standard error means.
    fn parse_error(&self, line: &str) -> Vec<AgentEvent> {
        vec![AgentEvent::Text(line.to_owned())]
    }

    /// Says what the report means that its command has left at its end, if it left one.
    fn parse_report(&self, _report: &str) -> Vec<AgentEvent> {
        Vec::new()
    }

    /// Tells whether it works without a model, so that it costs nothing where it tells no cost.
    fn is_free(&self) -> bool {
        false
    }

    /// Tells whether a session can be resumed; if not, every round starts afresh.
    fn resumes(&self) -> bool {
        false
    }

    /// Judges a round by how the process ended and by the events that tell of an error.
    fn judge(&self, exit: AgentExit, events: &Signals) -> AgentOutcome {
        judge(exit, events)
    }
}

/// The events of a round that its judgement may rest on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signals {
    /// The last trouble that was told, unless the agent went on after it.
    pub trouble: Option<Trouble>,
    /// The last [`AgentEvent::Finished`].
    pub finished: Option<(bool, Option<String>)>,
}

impl Signals {
    /// Takes note of an event.
    pub fn note(&mut self, event: &AgentEvent) {
        match event {
            // A quota that is used up is told again as one more request that is refused.
            AgentEvent::Trouble(Trouble::RateLimited { .. })
                if matches!(self.trouble, Some(Trouble::QuotaExhausted { .. })) => {}
            AgentEvent::Trouble(trouble) => self.trouble = Some(trouble.clone()),
            AgentEvent::Finished { ok, message } => self.finished = Some((*ok, message.clone())),
            // The agent went on: it has got over it.
            AgentEvent::Tool { .. } => self.trouble = None,
            AgentEvent::Text(_)
            | AgentEvent::Usage(_)
            | AgentEvent::SessionUsage(_)
            | AgentEvent::Turn { .. }
            | AgentEvent::Session(_)
            | AgentEvent::About { .. } => {}
        }
    }
}

/// The judgement that suits agents whose exit code and `Finished` event can be trusted.
#[must_use]
pub fn judge(exit: AgentExit, signals: &Signals) -> AgentOutcome {
    let exit_code = match exit {
        AgentExit::TimedOut => return AgentOutcome::TimedOut,
        AgentExit::Stalled => return AgentOutcome::Stalled,
        AgentExit::Stopped => return AgentOutcome::Stopped,
        AgentExit::Exited(exit_code) => exit_code,
    };
    let (says_ok, message) = signals.finished.clone().unwrap_or((true, None));
    if exit_code == Some(0) && says_ok {
        AgentOutcome::Finished
    } else if let Some(trouble) = signals.trouble.clone() {
        AgentOutcome::Trouble(trouble)
    } else {
        AgentOutcome::Crashed { exit_code, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(exit: AgentExit, events: &[AgentEvent]) -> AgentOutcome {
        let mut signals = Signals::default();
        events.iter().for_each(|event| signals.note(event));
        judge(exit, &signals)
    }

    const LIMITED: AgentEvent =
        AgentEvent::Trouble(Trouble::RateLimited { retry_after: Some(Duration::from_secs(3)) });

    #[test]
    fn a_good_exit_is_finished_whatever_was_said_of_limits() {
        let words = AgentEvent::Text("429 rate limit".into());
        assert_eq!(judged(AgentExit::Exited(Some(0)), &[words]), AgentOutcome::Finished);
        assert_eq!(judged(AgentExit::Exited(Some(0)), &[LIMITED]), AgentOutcome::Finished);
    }

    #[test]
    fn a_bad_exit_after_a_rate_limit_is_the_rate_limit() {
        let expected =
            AgentOutcome::Trouble(Trouble::RateLimited { retry_after: Some(Duration::from_secs(3)) });
        assert_eq!(judged(AgentExit::Exited(Some(1)), &[LIMITED]), expected);
    }

    #[test]
    fn a_limit_that_was_waited_out_does_not_excuse_a_later_crash() {
        let went_on = AgentEvent::Tool { summary: "Bash".into() };
        let crashed = AgentOutcome::Crashed { exit_code: Some(1), message: None };
        assert_eq!(judged(AgentExit::Exited(Some(1)), &[LIMITED, went_on]), crashed);
    }

    #[test]
    fn an_agents_own_bad_word_outweighs_a_good_exit() {
        let finished = AgentEvent::Finished { ok: false, message: Some("overloaded".into()) };
        let crashed = AgentOutcome::Crashed { exit_code: Some(0), message: Some("overloaded".into()) };
        assert_eq!(judged(AgentExit::Exited(Some(0)), &[finished]), crashed);
    }

    /// An agent of which nothing is known but how to start it.
    struct Plain;

    impl Agent for Plain {
        fn name(&self) -> &'static str {
            "plain"
        }

        fn program(&self) -> &Path {
            Path::new("plain")
        }

        fn command(&self, _: &AgentRequest<'_>) -> AgentCommand {
            AgentCommand::default()
        }
    }

    #[test]
    fn an_agent_that_is_only_started_needs_nothing_begins_afresh_and_all_that_it_says_is_text() {
        assert!(Plain.files().is_empty());
        assert!(Plain.preparation().is_none());
        assert!(!Plain.resumes() && !Plain.is_free());
        let line = r#"{"type":"result"}"#;
        assert_eq!(Plain.parse(line), [AgentEvent::Text(line.into())]);
    }

    #[test]
    fn a_quota_that_is_used_up_stays_so_whatever_else_is_refused() {
        let mut signals = Signals::default();
        let exhausted = Trouble::QuotaExhausted { resets_at: None };
        signals.note(&AgentEvent::Trouble(exhausted.clone()));
        signals.note(&AgentEvent::Trouble(Trouble::RateLimited { retry_after: None }));
        assert_eq!(signals.trouble, Some(exhausted));
        signals.note(&AgentEvent::Trouble(Trouble::OutOfTurns));
        assert_eq!(signals.trouble, Some(Trouble::OutOfTurns));
    }

    #[test]
    fn an_end_by_the_worker_is_told_as_such() {
        assert_eq!(judged(AgentExit::TimedOut, &[LIMITED]), AgentOutcome::TimedOut);
        assert_eq!(judged(AgentExit::Stalled, &[]), AgentOutcome::Stalled);
        assert_eq!(judged(AgentExit::Stopped, &[]), AgentOutcome::Stopped);
        assert_eq!(
            judged(AgentExit::Exited(None), &[]),
            AgentOutcome::Crashed { exit_code: None, message: None }
        );
    }
}
