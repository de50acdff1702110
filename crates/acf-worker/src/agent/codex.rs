//! Codex: `codex exec --json`, observed with 0.169.
//!
//! An `item.completed` of type `error` is a remark; only `turn.failed` is fatal. What its service answered
//! stands in that message as `status: 429 …` or `status 401 …`. It tells tokens, those of the whole session, and
//! no cost.

use std::path::Path;

use acf_core::agent::{Agent, AgentCommand, AgentEvent, AgentRequest, Trouble};
use acf_core::receipt::Usage;
use jiff::civil::{DateTime, Time};
use jiff::{Timestamp, ToSpan as _, Zoned};
use serde_json::Value;

use super::Access;
use super::stream::{gave_up, number, object, one_turn, said, text, tool, trouble, verbatim};

/// How Codex begins to say that an account's allowance is used up; the apostrophe is a typographic one.
const USED_UP: &str = "You\u{2019}ve hit your usage limit";
/// How it goes on to say until when, in local time: `4:06 AM.`, or `Nov 27th, 2026 5:06 AM.` for another day.
const AGAIN_AT: &str = "try again at ";
/// What it says where an account has nothing to pay with.
const NO_CREDIT: &str = "Quota exceeded.";
/// How it begins to say that it was given no key.
const NO_KEY: &str = "Missing environment variable:";

/// What Codex says instead of a status of 500.
const FAILING: &str = "We\u{2019}re currently experiencing high demand";

/// The agent `codex`.
#[derive(Debug)]
pub struct Codex {
    access: Access,
    now: fn() -> Zoned,
}

impl Codex {
    /// Makes the agent.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self { access, now: Zoned::now }
    }

    fn item(&self, event: &Value, has_begun: bool) -> Vec<AgentEvent> {
        match (text(event, "/item/type"), has_begun) {
            (Some("command_execution"), true) => uses("shell", event.pointer("/item/command")),
            (Some("file_change"), false) => uses("edit", event.pointer("/item/changes/0/path")),
            (Some("mcp_tool_call"), true) => uses("mcp", event.pointer("/item/tool")),
            (Some("web_search"), true) => uses("search", event.pointer("/item/query")),
            (Some("agent_message" | "reasoning"), false) => said(event, "/item/text"),
            (Some("error"), _) => said(event, "/item/message"),
            _ => Vec::new(),
        }
    }
}

impl Agent for Codex {
    fn name(&self) -> &'static str {
        "codex"
    }

    fn program(&self) -> &Path {
        Path::new("codex")
    }

    fn hides_version(&self) -> bool {
        true
    }

    fn credentials(&self) -> Vec<&str> {
        self.access.held(&["CODEX_API_KEY", "OPENAI_API_KEY"])
    }

    fn logins(&self) -> &'static [&'static str] {
        &[".codex/auth.json"]
    }

    fn command(&self, request: &AgentRequest<'_>) -> AgentCommand {
        let mut args: Vec<String> =
            ["exec", "--json", "--dangerously-bypass-approvals-and-sandbox"].map(str::to_owned).into();
        if let Some(model) = &self.access.model {
            args.extend(["-m".to_owned(), model.clone()]);
        }
        if let Some(session) = request.session {
            args.extend(["resume".to_owned(), session.to_owned()]);
        }
        // Reads the prompt from its standard input.
        args.push("-".to_owned());
        self.access.command("codex", args, request.prompt, &[])
    }

    fn resumes(&self) -> bool {
        true
    }

    fn parse(&self, line: &str) -> Vec<AgentEvent> {
        let Some(event) = object(line) else { return verbatim(line) };
        match text(&event, "/type") {
            Some("thread.started") => {
                let session = text(&event, "/thread_id").map(|id| AgentEvent::Session(id.to_owned()));
                // It does not say which model it uses.
                let about = AgentEvent::About { version: None, model: self.access.model.clone() };
                session.into_iter().chain([about]).collect()
            }
            Some("turn.started" | "item.updated") => Vec::new(),
            Some("item.started") => self.item(&event, true),
            Some("item.completed") => self.item(&event, false),
            Some("error") => said(&event, "/message"),
            Some("turn.completed") => {
                let usage = |name: &str| number(&event, &format!("/usage/{name}"));
                let used = Usage {
                    input_tokens: usage("input_tokens"),
                    cached_tokens: usage("cached_input_tokens"),
                    output_tokens: usage("output_tokens"),
                    ..Usage::default()
                };
                let end = AgentEvent::Finished { ok: true, message: None };
                vec![end, AgentEvent::SessionUsage(used), one_turn()]
            }
            Some("turn.failed") => {
                let words = text(&event, "/error/message").unwrap_or("the turn failed");
                gave_up(trouble_of(words, self.now), words)
            }
            _ => verbatim(line),
        }
    }
}

/// It tells turns in no other way: each use of a tool is one, and so is its answer.
fn uses(name: &str, input: Option<&Value>) -> Vec<AgentEvent> {
    vec![tool(name, input), one_turn()]
}

/// Reads the service's answer out of the message of a failed turn.
fn trouble_of(message: &str, now: fn() -> Zoned) -> Option<Trouble> {
    if message.starts_with(USED_UP) {
        let resets_at = message.split_once(AGAIN_AT).and_then(|(_, when)| reset(when, now));
        return Some(Trouble::QuotaExhausted { resets_at });
    }
    if message.starts_with(NO_CREDIT) {
        return Some(Trouble::QuotaExhausted { resets_at: None });
    }
    if message.starts_with(NO_KEY) {
        return Some(Trouble::NotAuthenticated { message: message.to_owned() });
    }
    if message.starts_with(FAILING) {
        return Some(Trouble::Unavailable { message: message.to_owned() });
    }
    let (_, after) = message.split_once("status")?;
    let digits: String =
        after.trim_start_matches([':', ' ']).chars().take_while(char::is_ascii_digit).collect();
    trouble(digits.parse().ok()?, message, None)
}

/// Reads a time of day, of today or tomorrow, or a day with its time.
fn reset(when: &str, now: fn() -> Zoned) -> Option<Timestamp> {
    let when = when.trim_end_matches('.');
    let now = now();
    let zone = now.time_zone().clone();
    let Some((day, time)) = when.split_once(", ") else {
        let time = Time::strptime("%I:%M %p", when).ok()?;
        let today = now.date().to_datetime(time).to_zoned(zone).ok()?;
        let next = if today > now { today } else { today.checked_add(1.day()).ok()? };
        return Some(next.timestamp());
    };
    let day = day.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let at = DateTime::strptime("%b %d, %Y %I:%M %p", format!("{day}, {time}")).ok()?;
    Some(at.to_zoned(zone).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::super::recorded::{ended, events, noise_is_text};
    use super::*;
    use acf_core::agent::AgentOutcome;

    fn codex() -> Codex {
        Codex::new(Access { model: Some("gpt-5".into()), ..Access::default() })
    }

    #[test]
    fn a_round_tells_session_tools_and_tokens_and_the_model_that_it_was_given() {
        let events = events(&codex(), include_str!("recorded/codex.jsonl"));
        assert!(events.contains(&AgentEvent::Session("01a20df4-c269-7ff2-b204-caa1b6bf770f".into())));
        assert!(events.contains(&AgentEvent::About { version: None, model: Some("gpt-5".into()) }));
        assert!(
            events.contains(&AgentEvent::Tool {
                summary: "shell /bin/bash -lc 'echo hello > hello.txt'".into()
            })
        );
        let used = Usage { input_tokens: 200, output_tokens: 20, ..Usage::default() };
        assert!(events.contains(&AgentEvent::SessionUsage(used)), "{events:?}");
        assert_eq!(ended(&codex(), include_str!("recorded/codex.jsonl"), 0), AgentOutcome::Finished);
    }

    #[test]
    fn only_a_failed_turn_is_trouble() {
        let limited = AgentOutcome::Trouble(Trouble::RateLimited { retry_after: None });
        assert_eq!(ended(&codex(), include_str!("recorded/codex-429.jsonl"), 1), limited);
        let refused = ended(&codex(), include_str!("recorded/codex-401.jsonl"), 1);
        assert!(matches!(refused, AgentOutcome::Trouble(Trouble::NotAuthenticated { .. })), "{refused:?}");
        assert_eq!(ended(&codex(), include_str!("recorded/codex-429-once.jsonl"), 0), AgentOutcome::Finished);
        let words =
            r#"{"type":"item.completed","item":{"type":"agent_message","text":"status: 429 rate limit"}}"#;
        assert_eq!(codex().parse(words), [AgentEvent::Text("status: 429 rate limit".into())]);
    }

    #[test]
    fn an_allowance_that_is_used_up_is_told_from_a_limit() {
        let now = || "2026-11-26T02:36:00+01:00[+01:00]".parse::<Zoned>().unwrap();
        let trouble_of = |message: &str| trouble_of(message, now);
        let quota =
            |at: Option<&str>| Some(Trouble::QuotaExhausted { resets_at: at.map(|at| at.parse().unwrap()) });
        let limit = "You\u{2019}ve hit your usage limit. Upgrade to Pro (https://x.example) or try again ";
        for (when, at) in [
            ("at 4:06 AM.", Some("2026-11-26T03:06:00Z")),
            ("at 1:06 AM.", Some("2026-11-27T00:06:00Z")),
            ("at Nov 27th, 2026 5:06 PM.", Some("2026-11-27T16:06:00Z")),
            ("at Dec 1st, 2026 12:00 AM.", Some("2026-11-30T23:00:00Z")),
            ("at some time.", None),
            ("later.", None),
        ] {
            assert_eq!(trouble_of(&format!("{limit}{when}")), quota(at), "{when}");
        }
        assert_eq!(trouble_of("Quota exceeded. Check your plan and billing details."), quota(None));
        let no_key = "Missing environment variable: `CODEX_API_KEY`.";
        assert_eq!(trouble_of(no_key), Some(Trouble::NotAuthenticated { message: no_key.into() }));
        assert_eq!(trouble_of("stream disconnected"), None);
        for fails in [
            "unexpected status 503 Service Unavailable",
            "We’re currently experiencing high demand, which may cause temporary errors.",
        ] {
            assert_eq!(trouble_of(fails), Some(Trouble::Unavailable { message: fails.into() }));
        }
    }

    #[test]
    fn noise_never_ends_a_round() {
        noise_is_text(&codex(), include_str!("recorded/codex.jsonl"));
    }
}
