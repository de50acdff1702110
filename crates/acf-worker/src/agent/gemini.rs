//! Gemini CLI: `gemini -y -o stream-json`, observed with 0.61.
//!
//! With an API key it wants to be told so in its settings, which are written where there are none. A limit
//! of its service it waits out by itself, silent but for a line on its standard error, and for minutes.

use std::path::{Path, PathBuf};

use acf_core::agent::{
    Agent, AgentCommand, AgentEvent, AgentExit, AgentFile, AgentOutcome, AgentRequest, Signals, Trouble,
    judge,
};
use acf_core::receipt::Usage;
use serde_json::Value;

use super::Access;
use super::stream::{gave_up, number, object, one_turn, said, text, tool, trouble, verbatim};

const SETTINGS: &str = ".gemini/settings.json";
const WITH_API_KEY: &str = r#"{"security":{"auth":{"selectedType":"gemini-api-key"}}}"#;
/// How it says that the day's free requests are used up.
const USED_UP: &str = "[API Error: You have exhausted your daily quota";
/// Its exit code where it knows no way to sign in (`FatalAuthenticationError` in its sources).
const NO_CREDENTIALS: i32 = 41;

/// The agent `gemini`.
#[derive(Debug)]
pub struct Gemini {
    access: Access,
}

impl Gemini {
    /// Makes the agent.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self { access }
    }
}

impl Agent for Gemini {
    fn name(&self) -> &'static str {
        "gemini"
    }

    fn program(&self) -> &Path {
        Path::new("gemini")
    }

    fn files(&self) -> Vec<AgentFile> {
        let settings = AgentFile { path: PathBuf::from(SETTINGS), contents: WITH_API_KEY.into() };
        if self.access.has("GEMINI_API_KEY") { vec![settings] } else { Vec::new() }
    }

    fn overwrites(&self, _: &AgentFile) -> bool {
        false
    }

    fn hides_version(&self) -> bool {
        true
    }

    fn credentials(&self) -> Vec<&str> {
        self.access.held(&["GEMINI_API_KEY"])
    }

    fn logins(&self) -> &'static [&'static str] {
        &[".gemini/oauth_creds.json"]
    }

    fn command(&self, request: &AgentRequest<'_>) -> AgentCommand {
        let mut args: Vec<String> = ["-y", "-o", "stream-json"].map(str::to_owned).into();
        let mut option = |name: &str, value: Option<&str>| {
            args.extend(value.into_iter().flat_map(|value| [name.to_owned(), value.to_owned()]));
        };
        option("-m", self.access.model.as_deref());
        option("--resume", request.session);
        self.access.command("gemini", args, request.prompt, &[("GEMINI_CLI_TRUST_WORKSPACE", "true")])
    }

    fn resumes(&self) -> bool {
        true
    }

    fn parse(&self, line: &str) -> Vec<AgentEvent> {
        let Some(event) = object(line) else { return verbatim(line) };
        match (text(&event, "/type"), text(&event, "/role")) {
            (Some("init"), _) => {
                let field = |name| text(&event, name).map(str::to_owned);
                let about = AgentEvent::About { version: None, model: field("/model") };
                field("/session_id").map(AgentEvent::Session).into_iter().chain([about]).collect()
            }
            (Some("message"), Some("assistant")) => said(&event, "/content"),
            // The prompt, and what tools answer.
            (Some("message" | "tool_result"), _) => Vec::new(),
            (Some("tool_use"), _) => {
                // It tells turns in no other way: each use of a tool is one, and so is its answer.
                vec![tool(text(&event, "/tool_name").unwrap_or("tool"), event.get("parameters")), one_turn()]
            }
            (Some("error"), _) => said(&event, "/message"),
            (Some("result"), _) => result(&event),
            _ => verbatim(line),
        }
    }

    fn parse_error(&self, line: &str) -> Vec<AgentEvent> {
        let status = line.strip_prefix("Attempt ").and_then(|line| line.split_once(" failed with status "));
        let status = status.and_then(|(_, line)| line.split_once('.')?.0.parse().ok());
        let trouble = status.and_then(|status| trouble(status, &format!("it answers {status}"), None));
        trouble.map_or_else(|| verbatim(line), |trouble| vec![AgentEvent::Trouble(trouble)])
    }

    fn judge(&self, exit: AgentExit, signals: &Signals) -> AgentOutcome {
        match (exit, &signals.trouble) {
            // It would have waited on.
            (AgentExit::Stalled | AgentExit::TimedOut, Some(trouble)) => {
                AgentOutcome::Trouble(trouble.clone())
            }
            (AgentExit::Exited(Some(NO_CREDENTIALS)), _) => {
                let message = "gemini finds no credentials, such as GEMINI_API_KEY".to_owned();
                AgentOutcome::Trouble(Trouble::NotAuthenticated { message })
            }
            _ => judge(exit, signals),
        }
    }
}

fn result(event: &Value) -> Vec<AgentEvent> {
    let stats = |name: &str| number(event, &format!("/stats/{name}"));
    let used = AgentEvent::Usage(Usage {
        turns: 1,
        input_tokens: stats("input_tokens"),
        cached_tokens: stats("cached"),
        output_tokens: stats("output_tokens"),
        ..Usage::default()
    });
    let end = if text(event, "/status") == Some("success") {
        vec![AgentEvent::Finished { ok: true, message: None }]
    } else {
        let words = text(event, "/error/message").unwrap_or("it ended with an error");
        gave_up(trouble_of(words), words)
    };
    end.into_iter().chain([used]).collect()
}

fn trouble_of(words: &str) -> Option<Trouble> {
    if words.starts_with(USED_UP) {
        return Some(Trouble::QuotaExhausted { resets_at: None });
    }
    trouble(status_in(words), words, None)
}

/// Reads the status out of `[API Error: {…}]`; 0 where there is none.
fn status_in(message: &str) -> u64 {
    let json = message.find('{').zip(message.rfind('}')).and_then(|(begin, end)| message.get(begin..=end));
    let answer: Option<Value> = json.and_then(|json| serde_json::from_str(json).ok());
    answer.map(|answer| number(&answer, "/error/code")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::recorded::{ended, events, noise_is_text};
    use super::*;

    fn gemini() -> Gemini {
        Gemini::new(Access::default())
    }

    #[test]
    fn a_round_tells_session_model_tools_and_tokens() {
        let events = events(&gemini(), include_str!("recorded/gemini.jsonl"));
        assert!(events.contains(&AgentEvent::Session("af760dda-1a77-4350-8f74-407a31ebcd95".into())));
        assert!(
            events.contains(&AgentEvent::About { version: None, model: Some("gemini-2.5-flash".into()) })
        );
        assert!(
            events.contains(&AgentEvent::Tool { summary: "run_shell_command echo hello > hello.txt".into() })
        );
        let used = Usage { turns: 1, input_tokens: 200, output_tokens: 20, ..Usage::default() };
        assert!(events.contains(&AgentEvent::Usage(used)), "{events:?}");
        assert_eq!(ended(&gemini(), include_str!("recorded/gemini.jsonl"), 0), AgentOutcome::Finished);
    }

    #[test]
    fn what_its_service_refuses_is_its_trouble() {
        let refused = ended(&gemini(), include_str!("recorded/gemini-401.jsonl"), 145);
        assert!(matches!(refused, AgentOutcome::Trouble(Trouble::NotAuthenticated { .. })), "{refused:?}");
        let used_up = r#"{"type":"result","status":"error","error":{"message":"[API Error: You have exhausted your daily quota on this model.]\nPlease wait"}}"#;
        let quota = AgentOutcome::Trouble(Trouble::QuotaExhausted { resets_at: None });
        assert_eq!(ended(&gemini(), used_up, 173), quota);
        let none = gemini().judge(AgentExit::Exited(Some(41)), &Signals::default());
        assert!(matches!(none, AgentOutcome::Trouble(Trouble::NotAuthenticated { .. })), "{none:?}");
    }

    #[test]
    fn silence_after_a_limit_is_the_limit() {
        let line = "Attempt 1 failed with status 429. Retrying with backoff... _ApiError: {}";
        let mut signals = Signals::default();
        gemini().parse_error(line).iter().for_each(|event| signals.note(event));
        let limited = AgentOutcome::Trouble(Trouble::RateLimited { retry_after: None });
        assert_eq!(gemini().judge(AgentExit::Stalled, &signals), limited);
        assert_eq!(gemini().judge(AgentExit::Stalled, &Signals::default()), AgentOutcome::Stalled);
        let failing = Trouble::Unavailable { message: "it answers 503".into() };
        assert_eq!(gemini().parse_error(&line.replace("429", "503")), [AgentEvent::Trouble(failing)]);
        for words in ["Attempt 1 failed with status unknown. x", "Attempt 2", "failed with status 429."] {
            assert_eq!(gemini().parse_error(words), [AgentEvent::Text(words.into())]);
        }
    }

    #[test]
    fn settings_are_written_for_an_api_key_only_and_never_over_others() {
        assert!(gemini().files().is_empty());
        let access = Access { env: vec![("GEMINI_API_KEY".into(), "k".into())], ..Access::default() };
        let gemini = Gemini::new(access);
        let [file] = &gemini.files()[..] else { panic!("one file") };
        assert!(!gemini.overwrites(file));
    }

    #[test]
    fn noise_never_ends_a_round() {
        noise_is_text(&gemini(), include_str!("recorded/gemini.jsonl"));
    }
}
