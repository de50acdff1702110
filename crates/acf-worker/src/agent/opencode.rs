//! opencode: `opencode run --format json --auto`, observed with 1.18.
//!
//! Each step tells its tokens and its cost; a cost of nothing means that opencode does not know the price.

use std::path::Path;
use std::time::Duration;

use acf_core::agent::{Agent, AgentCommand, AgentEvent, AgentRequest};
use acf_core::receipt::Usage;
use serde_json::Value;

use super::Access;
use super::stream::{gave_up, number, object, said, text, tool, trouble, verbatim};

/// The agent `opencode`.
#[derive(Debug)]
pub struct Opencode {
    access: Access,
}

impl Opencode {
    /// Makes the agent.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self { access }
    }
}

impl Agent for Opencode {
    fn name(&self) -> &'static str {
        "opencode"
    }

    fn program(&self) -> &Path {
        Path::new("opencode")
    }

    fn hides_version(&self) -> bool {
        true
    }

    fn credentials(&self) -> Vec<&str> {
        self.access.names()
    }

    fn logins(&self) -> &'static [&'static str] {
        &[".local/share/opencode/auth.json"]
    }

    fn command(&self, request: &AgentRequest<'_>) -> AgentCommand {
        let mut args: Vec<String> = ["run", "--format", "json", "--auto"].map(str::to_owned).into();
        let mut option = |name: &str, value: Option<&str>| {
            args.extend(value.into_iter().flat_map(|value| [name.to_owned(), value.to_owned()]));
        };
        option("-m", self.access.model.as_deref());
        option("-s", request.session);
        self.access.command("opencode", args, request.prompt, &[("OPENCODE_DISABLE_AUTOUPDATE", "1")])
    }

    fn resumes(&self) -> bool {
        true
    }

    fn parse(&self, line: &str) -> Vec<AgentEvent> {
        let Some(event) = object(line) else { return verbatim(line) };
        match text(&event, "/type") {
            Some("step_start") => {
                let session = text(&event, "/sessionID").map(|id| AgentEvent::Session(id.to_owned()));
                // It does not say which model it uses; the price table knows models without a provider.
                let model =
                    self.access.model.as_deref().map(|model| model.rsplit('/').next().unwrap_or(model));
                let about = AgentEvent::About { version: None, model: model.map(str::to_owned) };
                session.into_iter().chain([about]).collect()
            }
            Some("tool_use") => {
                vec![tool(text(&event, "/part/tool").unwrap_or("tool"), event.pointer("/part/state/input"))]
            }
            Some("text" | "reasoning") => said(&event, "/part/text"),
            Some("step_finish") => {
                let is_last = text(&event, "/part/reason") == Some("stop");
                let ended = is_last.then_some(AgentEvent::Finished { ok: true, message: None });
                ended.into_iter().chain([AgentEvent::Usage(used(&event))]).collect()
            }
            Some("error") => error(&event),
            _ => verbatim(line),
        }
    }
}

fn used(event: &Value) -> Usage {
    let tokens = |name: &str| number(event, &format!("/part/tokens/{name}"));
    let cached = tokens("cache/read");
    let cost = event.pointer("/part/cost").and_then(Value::as_f64);
    Usage {
        turns: 1,
        input_tokens: tokens("input") + tokens("cache/write") + cached,
        cached_tokens: cached,
        output_tokens: tokens("output") + tokens("reasoning"),
        cost_usd: cost.filter(|cost| *cost > 0.0),
        ..Usage::default()
    }
}

fn error(event: &Value) -> Vec<AgentEvent> {
    let words = text(event, "/error/data/message").or_else(|| text(event, "/error/name"));
    let words = words.unwrap_or("it ended with an error");
    let retry_after = text(event, "/error/data/responseHeaders/retry-after");
    let retry_after = retry_after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    gave_up(trouble(number(event, "/error/data/statusCode"), words, retry_after), words)
}

#[cfg(test)]
mod tests {
    use super::super::recorded::{ended, events, noise_is_text};
    use super::*;
    use acf_core::agent::{AgentOutcome, Trouble};

    fn opencode() -> Opencode {
        Opencode::new(Access { model: Some("mock/m1".into()), ..Access::default() })
    }

    #[test]
    fn a_round_tells_session_tools_and_the_tokens_of_each_step() {
        let events = events(&opencode(), include_str!("recorded/opencode.jsonl"));
        assert!(events.contains(&AgentEvent::Session("ses_df20a8129ffeHz31GpIF25iiNH".into())));
        assert!(events.contains(&AgentEvent::About { version: None, model: Some("m1".into()) }));
        assert!(events.contains(&AgentEvent::Tool { summary: "bash echo hello > hello.txt".into() }));
        let step = Usage { turns: 1, input_tokens: 100, output_tokens: 10, ..Usage::default() };
        assert_eq!(events.iter().filter(|event| **event == AgentEvent::Usage(step)).count(), 2, "{events:?}");
        assert_eq!(ended(&opencode(), include_str!("recorded/opencode.jsonl"), 0), AgentOutcome::Finished);
    }

    #[test]
    fn what_its_service_refuses_is_its_trouble() {
        let limited = Trouble::RateLimited { retry_after: Some(Duration::from_secs(1)) };
        let after = ended(&opencode(), include_str!("recorded/opencode-429.jsonl"), 1);
        assert_eq!(after, AgentOutcome::Trouble(limited));
        let refused = ended(&opencode(), include_str!("recorded/opencode-401.jsonl"), 1);
        assert!(matches!(refused, AgentOutcome::Trouble(Trouble::NotAuthenticated { .. })), "{refused:?}");
    }

    #[test]
    fn noise_never_ends_a_round() {
        noise_is_text(&opencode(), include_str!("recorded/opencode.jsonl"));
    }
}
