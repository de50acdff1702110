//! The agent `script`: deterministic, for the demo and for tests, and no use for anything else.
//!
//! It does what the issue's description tells it, so it must never see a tracker that strangers write to.
//! A directive is a line of its own, with or without a `- ` before it:
//!
//! | directive | what it does |
//! |---|---|
//! | `@write PATH TEXT` | writes a file, with the directories above it and a final newline |
//! | `@append PATH TEXT` | adds to a file |
//! | `@delete PATH` | deletes a file or a directory |
//! | `@sh COMMAND` | runs `sh -c COMMAND`; where that fails, the round ends with its exit code |
//! | `@none` | changes nothing |
//! | `@print TEXT` | says something |
//! | `@usage IN OUT [COST]` | reports one turn with so many tokens and, if said, dollars |
//! | `@model NAME` | says which model it is |
//! | `@sleep SECS` | sleeps; fractions are fine |
//! | `@flood BYTES` | writes that much to its standard output |
//! | `@ignore-term` | ignores SIGTERM from here on |
//! | `@hang` | does nothing for ever |
//! | `@rate-limit SECS` | the first time in a session: reports a rate limit and ends with exit code 1 |
//! | `@quota [SECS]` | reports that its quota is used up, for that long, and ends with exit code 1 |
//! | `@not-authenticated TEXT` | reports that its credentials are refused, and ends with exit code 1 |
//! | `@out-of-turns`, `@out-of-budget` | reports that limit, and ends with exit code 1 |
//! | `@fail CODE` | ends with that exit code |
//! | `@crash` | ends by SIGKILL |
//! | `@plan TEXT` | the plan, for the planning stage |
//!
//! In a text, `\n`, `\t` and `\\` stand for a newline, a tab and a backslash. Directives are followed in
//! their order, by default in the first round of the implementation. `@fix DIRECTIVE` is for fix rounds,
//! `@every DIRECTIVE` for all rounds of the implementation, and `@planning DIRECTIVE` for the planning
//! stage. So `@fix write a.txt mended` mends, and `@planning none` leaves no plan.
//!
//! A round that comes to its end without `@write`, `@append`, `@delete`, `@sh`, `@none` or `@plan` does
//! what is done by default: the first round of the implementation writes the summary to `KEY.txt`, a fix
//! round does nothing, and planning writes a small plan to `plans/KEY.md`.
//!
//! It streams JSON events, reports usage and resumes sessions, as the real ones do.

mod directive;
mod program;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use acf_core::agent::{Agent, AgentCommand, AgentEvent, AgentRequest, Trouble};
use acf_core::issue::{IssueKey, Stage};
use acf_core::receipt::Usage;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use program::script_agent_main;

/// The hidden sub-command that the scripted agent is started with.
pub(crate) const SCRIPT_AGENT: &str = "__script-agent";

/// The scripted agent, a part of this program.
#[derive(Clone, Debug)]
pub struct Script {
    program: PathBuf,
}

impl Script {
    /// Makes the agent.
    ///
    /// # Errors
    /// Where the operating system does not tell what this program is.
    pub fn new() -> io::Result<Self> {
        Ok(Self { program: crate::process::this_program()? })
    }
}

/// What the program is to do: its standard input.
#[derive(Debug, Serialize, Deserialize)]
struct Task {
    key: IssueKey,
    summary: String,
    description: String,
    stage: Stage,
    round: u32,
    session: Option<Session>,
    plan_path: PathBuf,
}

/// Returns where the prompt wants the plan: the last path below `plans/` that it quotes, as the issue's
/// own words come before acf's.
fn plan_path(request: &AgentRequest<'_>) -> PathBuf {
    let quoted = request.prompt.rsplit('`').find(|text| text.starts_with("plans/") && text.ends_with(".md"));
    quoted.map_or_else(|| format!("plans/{}.md", request.issue.key.slug()), str::to_owned).into()
}

/// What a session remembers. It is all in the session's name, so nothing is kept anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    rounds: u32,
    rate_limits: usize,
}

impl Session {
    fn name(self) -> String {
        format!("script-{}-{}", self.rounds, self.rate_limits)
    }

    fn from_name(name: &str) -> Option<Self> {
        let (rounds, rate_limits) = name.strip_prefix("script-")?.split_once('-')?;
        Some(Self { rounds: rounds.parse().ok()?, rate_limits: rate_limits.parse().ok()? })
    }
}

/// One line of the program's standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    About { version: String },
    Session { session: String },
    Text { text: String },
    Tool { summary: String },
    Usage(Usage),
    Model { model: String },
    RateLimited { retry_after_ms: u64 },
    QuotaExhausted { resets_at: Option<Timestamp> },
    NotAuthenticated { message: String },
    OutOfTurns,
    OutOfBudget,
    Finished { ok: bool, message: String },
}

impl Agent for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn program(&self) -> &Path {
        &self.program
    }

    fn is_free(&self) -> bool {
        true
    }

    fn command(&self, request: &AgentRequest<'_>) -> AgentCommand {
        let task = Task {
            key: request.issue.key.clone(),
            summary: request.issue.summary.clone(),
            description: request.issue.description.clone(),
            stage: request.stage,
            round: request.round,
            session: request.session.and_then(Session::from_name),
            plan_path: plan_path(request),
        };
        let stdin = serde_json::to_string(&task).expect("a task holds nothing but texts and numbers");
        AgentCommand {
            program: self.program.clone(),
            args: vec![SCRIPT_AGENT.into()],
            env: Vec::new(),
            stdin: Some(stdin),
        }
    }

    fn parse(&self, line: &str) -> Vec<AgentEvent> {
        let Ok(parsed) = serde_json::from_str(line) else {
            return vec![AgentEvent::Text(line.to_owned())];
        };
        vec![match parsed {
            Line::About { version } => AgentEvent::About { version: Some(version), model: None },
            Line::Session { session } => AgentEvent::Session(session),
            Line::Text { text } => AgentEvent::Text(text),
            Line::Tool { summary } => AgentEvent::Tool { summary },
            Line::Usage(usage) => AgentEvent::Usage(usage),
            Line::RateLimited { retry_after_ms } => AgentEvent::Trouble(Trouble::RateLimited {
                retry_after: Some(Duration::from_millis(retry_after_ms)),
            }),
            Line::Model { model } => AgentEvent::About { version: None, model: Some(model) },
            Line::QuotaExhausted { resets_at } => AgentEvent::Trouble(Trouble::QuotaExhausted { resets_at }),
            Line::NotAuthenticated { message } => AgentEvent::Trouble(Trouble::NotAuthenticated { message }),
            Line::OutOfTurns => AgentEvent::Trouble(Trouble::OutOfTurns),
            Line::OutOfBudget => AgentEvent::Trouble(Trouble::OutOfBudget),
            Line::Finished { ok, message } => AgentEvent::Finished { ok, message: Some(message) },
        }]
    }

    fn resumes(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> AgentEvent {
        Script::new().unwrap().parse(line).remove(0)
    }

    #[test]
    fn every_line_is_an_event_and_what_is_not_understood_is_text() {
        let limit = parsed(r#"{"event":"rate_limited","retry_after_ms":1500}"#);
        let retry_after = Some(Duration::from_millis(1500));
        assert_eq!(limit, AgentEvent::Trouble(Trouble::RateLimited { retry_after }));
        let usage =
            parsed(r#"{"event":"usage","turns":1,"input_tokens":2,"output_tokens":3,"cost_usd":0.5}"#);
        let expected =
            Usage { turns: 1, input_tokens: 2, output_tokens: 3, cost_usd: Some(0.5), ..Usage::default() };
        assert_eq!(usage, AgentEvent::Usage(expected));
        for line in ["", "plain", "{\"event\":\"tex", "{\"event\":\"unheard-of\"}", "[]"] {
            assert_eq!(parsed(line), AgentEvent::Text(line.into()));
        }
    }

    #[test]
    fn a_session_is_known_by_its_name() {
        let session = Session { rounds: 3, rate_limits: 1 };
        assert_eq!(Session::from_name(&session.name()), Some(session));
        assert_eq!(Session::from_name("another agent's"), None);
    }
}
