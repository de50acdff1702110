//! GitHub Copilot CLI: `copilot --allow-all --output-format json`, observed with 1.0.
//!
//! Most of what it streams is ephemeral. It ends with 0 where it did nothing for want of a permission, so
//! only the checkout shows whether it worked. Tokens it tells in a file that it writes at its end, for the whole
//! session, resumed rounds included; a cost it does not tell.

use std::path::Path;

use acf_core::agent::{Agent, AgentCommand, AgentEvent, AgentRequest, Trouble};
use acf_core::receipt::Usage;
use serde_json::Value;

use super::Access;
use super::stream::{gave_up, number, object, one_turn, said, text, tool, trouble, verbatim};

/// How it says that it was given no token.
const NO_CREDENTIALS: &str = "Error: No authentication information found";

/// The agent `copilot`.
#[derive(Debug)]
pub struct Copilot {
    access: Access,
}

impl Copilot {
    /// Makes the agent.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self { access }
    }
}

impl Agent for Copilot {
    fn name(&self) -> &'static str {
        "copilot"
    }

    fn program(&self) -> &Path {
        Path::new("copilot")
    }

    fn hides_version(&self) -> bool {
        true
    }

    fn credentials(&self) -> Vec<&str> {
        // GH_TOKEN may stand in for the first, under its name.
        self.access.held(&["COPILOT_GITHUB_TOKEN", "COPILOT_PROVIDER_API_KEY", "GH_TOKEN", "GITHUB_TOKEN"])
    }

    fn logins(&self) -> &'static [&'static str] {
        &[".copilot/config.json"]
    }

    fn command(&self, request: &AgentRequest<'_>) -> AgentCommand {
        let mut args: Vec<String> = ["--allow-all", "--output-format", "json"].map(str::to_owned).into();
        if let Some(model) = &self.access.model {
            args.extend(["--model".to_owned(), model.clone()]);
        }
        if let Some(session) = request.session {
            args.push(format!("--resume={session}"));
        }
        if let Some(report) = request.report {
            args.extend(["--usage-output-file".to_owned(), report.display().to_string()]);
        }
        self.access.command("copilot", args, request.prompt, &[("COPILOT_AUTO_UPDATE", "false")])
    }

    fn resumes(&self) -> bool {
        true
    }

    fn parse(&self, line: &str) -> Vec<AgentEvent> {
        let Some(event) = object(line) else { return verbatim(line) };
        match text(&event, "/type") {
            Some("session.tools_updated") => {
                let model = text(&event, "/data/model").map(str::to_owned);
                vec![AgentEvent::About { version: None, model }]
            }
            Some("tool.execution_start") => {
                vec![tool(text(&event, "/data/toolName").unwrap_or("tool"), event.pointer("/data/arguments"))]
            }
            Some("assistant.message") => {
                // The last one, which calls for no tools, is counted with the result.
                let calls = event.pointer("/data/toolRequests").and_then(Value::as_array);
                let turn = calls.is_some_and(|calls| !calls.is_empty()).then(one_turn);
                said(&event, "/data/content").into_iter().chain(turn).collect()
            }
            Some("model.call_final_result") if text(&event, "/data/result") == Some("transport_error") => {
                let message = "it cannot be reached".to_owned();
                vec![AgentEvent::Trouble(Trouble::Unavailable { message })]
            }
            Some("session.error") => error(&event),
            Some("result") => result(&event),
            // What was said before, in parts and in passing.
            Some(_) if is_known(&event) => Vec::new(),
            _ => verbatim(line),
        }
    }

    fn parse_error(&self, line: &str) -> Vec<AgentEvent> {
        if line.starts_with(NO_CREDENTIALS) {
            let message = line.to_owned();
            return vec![AgentEvent::Trouble(Trouble::NotAuthenticated { message })];
        }
        verbatim(line)
    }

    fn parse_report(&self, report: &str) -> Vec<AgentEvent> {
        let Some(report) = object(report) else { return Vec::new() };
        let models = report.get("modelMetrics").and_then(Value::as_object);
        let sum = |name: &str| -> u64 {
            let of = |model| number(model, &format!("/usage/{name}"));
            models.into_iter().flat_map(|models| models.values()).map(of).sum()
        };
        let used = Usage {
            input_tokens: sum("inputTokens"),
            cached_tokens: sum("cacheReadTokens"),
            output_tokens: sum("outputTokens"),
            ..Usage::default()
        };
        vec![AgentEvent::SessionUsage(used)]
    }
}

fn is_known(event: &Value) -> bool {
    let is_ephemeral = event.get("ephemeral").and_then(Value::as_bool).unwrap_or_default();
    let families = ["session.", "user.", "assistant.", "tool.", "model."];
    is_ephemeral
        || text(event, "/type").is_some_and(|name| families.iter().any(|family| name.starts_with(family)))
}

fn error(event: &Value) -> Vec<AgentEvent> {
    let words = text(event, "/data/message").unwrap_or("it ended with an error");
    let trouble = match text(event, "/data/errorType") {
        Some("quota") => Some(Trouble::QuotaExhausted { resets_at: None }),
        _ => trouble(number(event, "/data/statusCode"), words, None),
    };
    gave_up(trouble, words)
}

fn result(event: &Value) -> Vec<AgentEvent> {
    let session = text(event, "/sessionId").map(|id| AgentEvent::Session(id.to_owned()));
    // An error was told before, with its words.
    let is_ok = number(event, "/exitCode") == 0;
    let ended = is_ok.then(|| [AgentEvent::Finished { ok: true, message: None }, one_turn()]);
    session.into_iter().chain(ended.into_iter().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::recorded::{ended, events, noise_is_text};
    use super::*;
    use acf_core::agent::AgentOutcome;

    fn copilot() -> Copilot {
        Copilot::new(Access::default())
    }

    #[test]
    fn a_round_tells_session_model_tools_and_turns() {
        let events = events(&copilot(), include_str!("recorded/copilot.jsonl"));
        assert!(events.contains(&AgentEvent::Session("35a4610d-a631-46b8-b417-c049a3f9b416".into())));
        assert!(events.contains(&AgentEvent::About { version: None, model: Some("gpt-5".into()) }));
        assert!(events.contains(&AgentEvent::Tool { summary: "bash echo hello > hello.txt".into() }));
        let turns = events.iter().filter(|event| matches!(event, AgentEvent::Usage(Usage { turns: 1, .. })));
        assert_eq!(turns.count(), 2);
        assert_eq!(ended(&copilot(), include_str!("recorded/copilot.jsonl"), 0), AgentOutcome::Finished);
    }

    #[test]
    fn its_report_tells_the_tokens_of_the_session() {
        let used = Usage { input_tokens: 300, output_tokens: 30, ..Usage::default() };
        let report = include_str!("recorded/copilot-usage.json");
        assert_eq!(copilot().parse_report(report), [AgentEvent::SessionUsage(used)]);
        for cut in ["", "{", "[]", "null"] {
            assert_eq!(copilot().parse_report(cut), [], "{cut:?}");
        }
    }

    #[test]
    fn a_service_that_is_not_there_is_unavailable() {
        let call =
            r#"{"type":"model.call_final_result","data":{"result":"transport_error"},"ephemeral":true}"#;
        let error = r#"{"type":"session.error","data":{"errorType":"query","message":"Could not connect"}}"#;
        let ended = ended(&copilot(), &format!("{call}\n{error}"), 1);
        assert!(matches!(ended, AgentOutcome::Trouble(Trouble::Unavailable { .. })), "{ended:?}");
    }

    #[test]
    fn what_its_service_refuses_is_its_trouble() {
        let limited = AgentOutcome::Trouble(Trouble::RateLimited { retry_after: None });
        assert_eq!(ended(&copilot(), include_str!("recorded/copilot-429.jsonl"), 1), limited);
        let refused = ended(&copilot(), include_str!("recorded/copilot-401.jsonl"), 1);
        assert!(matches!(refused, AgentOutcome::Trouble(Trouble::NotAuthenticated { .. })), "{refused:?}");
    }

    #[test]
    fn noise_never_ends_a_round() {
        noise_is_text(&copilot(), include_str!("recorded/copilot.jsonl"));
    }
}
