//! Codex: `codex exec --json`, observed with 0.169.
//!
//! An `item.completed` of type `error` is a remark; only `turn.failed` is fatal. What its service answered
//! stands in that message as `status: 429 …` or `status 401 …`. It tells tokens, those of the whole session, and
//! no cost.

use std::path::Path;

use acf_core::agent::{Agent, AgentCommand, AgentEvent, AgentRequest, Trouble};
use acf_core::receipt::Usage;
use serde_json::Value;

use super::Access;
use super::stream::{gave_up, number, object, said, text, tool, trouble, verbatim};

/// How Codex begins to say that an account's allowance is used up.
const USED_UP: &str = "You've hit your usage limit";

/// What Codex says instead of a status of 500.
const FAILING: &str = "We\u{2019}re currently experiencing high demand";

/// The agent `codex`.
#[derive(Debug)]
pub struct Codex {
    access: Access,
}

impl Codex {
    /// Makes the agent.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self { access }
    }

    fn item(&self, event: &Value, has_begun: bool) -> Vec<AgentEvent> {
        match (text(event, "/item/type"), has_begun) {
            (Some("command_execution"), true) => vec![tool("shell", event.pointer("/item/command"))],
            (Some("file_change"), false) => vec![tool("edit", event.pointer("/item/changes/0/path"))],
            (Some("mcp_tool_call"), true) => vec![tool("mcp", event.pointer("/item/tool"))],
            (Some("web_search"), true) => vec![tool("search", event.pointer("/item/query"))],
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
                let turn = AgentEvent::Usage(Usage { turns: 1, ..Usage::default() });
                let end = AgentEvent::Finished { ok: true, message: None };
                vec![AgentEvent::SessionUsage(used), turn, end]
            }
            Some("turn.failed") => {
                let words = text(&event, "/error/message").unwrap_or("the turn failed");
                gave_up(trouble_of(words), words)
            }
            _ => verbatim(line),
        }
    }
}

/// Reads the service's answer out of the message of a failed turn.
fn trouble_of(message: &str) -> Option<Trouble> {
    if message.starts_with(USED_UP) {
        return Some(Trouble::QuotaExhausted { resets_at: None });
    }
    if message.starts_with(FAILING) {
        return Some(Trouble::Unavailable { message: message.to_owned() });
    }
    let (_, after) = message.split_once("status")?;
    let digits: String =
        after.trim_start_matches([':', ' ']).chars().take_while(char::is_ascii_digit).collect();
    trouble(digits.parse().ok()?, message, None)
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
        let quota = Some(Trouble::QuotaExhausted { resets_at: None });
        assert_eq!(trouble_of("You've hit your usage limit. Try again later."), quota);
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
