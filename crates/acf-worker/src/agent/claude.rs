//! Claude Code: `claude -p --output-format stream-json`, observed with 2.1.
//!
//! An error of the service comes as a `result` of subtype `success` with `is_error`; what counts is
//! `api_error_status`. `total_cost_usd` is that of the whole session, resumed rounds included, so the cost
//! of a round is taken from `model_usage_since_last_result`.

use std::path::{Path, PathBuf};

use acf_core::agent::{Agent, AgentCommand, AgentEvent, AgentFile, AgentRequest, Trouble};
use acf_core::receipt::Usage;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::Access;
use super::stream::{first_line, gave_up, number, object, text, tool, trouble, verbatim};

/// Where Claude Code keeps a subscription's tokens, below its home.
const CREDENTIALS: &str = ".claude/.credentials.json";

/// The tokens of a Claude subscription, as Claude Code keeps them.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The token that requests carry.
    pub access_token: SecretString,
    /// The token that a new access token is got with.
    pub refresh_token: Option<SecretString>,
    /// When the access token expires, in milliseconds since 1970.
    pub expires_at: Option<i64>,
    /// `pro`, `max` and the like.
    pub kind: Option<String>,
}

// Two configurations are the same if they would start the same agent; secrets are compared for that only.
impl PartialEq for Subscription {
    fn eq(&self, other: &Self) -> bool {
        let secret =
            |token: &Option<SecretString>| token.as_ref().map(|token| token.expose_secret().to_owned());
        self.access_token.expose_secret() == other.access_token.expose_secret()
            && secret(&self.refresh_token) == secret(&other.refresh_token)
            && (self.expires_at, &self.kind) == (other.expires_at, &other.kind)
    }
}

impl Subscription {
    fn to_json(&self) -> String {
        let oauth = json!({
            "accessToken": self.access_token.expose_secret(),
            "refreshToken": self.refresh_token.as_ref().map(|token| token.expose_secret()),
            "expiresAt": self.expires_at,
            "scopes": ["user:inference", "user:profile"],
            "subscriptionType": self.kind,
        });
        json!({ "claudeAiOauth": oauth }).to_string()
    }
}

/// The agent `claude`.
#[derive(Debug)]
pub struct Claude {
    access: Access,
    subscription: Option<Subscription>,
}

impl Claude {
    /// Makes the agent.
    #[must_use]
    pub fn new(access: Access, subscription: Option<Subscription>) -> Self {
        Self { access, subscription }
    }
}

impl Agent for Claude {
    fn name(&self) -> &'static str {
        "claude"
    }

    fn program(&self) -> &Path {
        Path::new("claude")
    }

    fn files(&self) -> Vec<AgentFile> {
        let file = |tokens: &Subscription| AgentFile {
            path: PathBuf::from(CREDENTIALS),
            contents: tokens.to_json().into(),
        };
        self.subscription.iter().map(file).collect()
    }

    /// Claude Code renews its tokens itself, and the old ones are then void. Of its file only they count. Tokens of
    /// which nobody knows where they come from have to be newer for certain.
    fn renewed(&self, file: &AgentFile, found: &str, is_known: bool) -> Option<AgentFile> {
        let tokens = |text: &str| serde_json::from_str::<Value>(text).ok()?.get("claudeAiOauth").cloned();
        let expires_at = |tokens: &Value| tokens.get("expiresAt").and_then(Value::as_i64);
        let there = tokens(found)?;
        let given = tokens(file.contents.expose_secret()).as_ref().and_then(expires_at);
        let is_newer = expires_at(&there).is_some_and(|there| given.map_or(is_known, |given| there > given));
        let contents = json!({ "claudeAiOauth": there }).to_string().into();
        is_newer.then(|| AgentFile { path: file.path.clone(), contents })
    }

    fn sandbox_variable(&self) -> Option<&'static str> {
        Some("IS_SANDBOX")
    }

    fn credentials(&self) -> Vec<&str> {
        let given = self.access.held(&["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"]);
        given.into_iter().chain(self.subscription.as_ref().map(|_| "CLAUDE_ACCESS_TOKEN")).collect()
    }

    fn logins(&self) -> &'static [&'static str] {
        &[CREDENTIALS]
    }

    fn command(&self, request: &AgentRequest<'_>) -> AgentCommand {
        let mut args: Vec<String> =
            ["-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"]
                .map(str::to_owned)
                .into();
        let mut option = |name: &str, value: Option<String>| {
            args.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
        };
        option("--model", self.access.model.clone());
        option("--max-turns", request.limits.max_turns.map(|turns| turns.to_string()));
        option("--max-budget-usd", request.limits.budget_usd.map(|dollars| dollars.to_string()));
        option("--resume", request.session.map(str::to_owned));
        let quiet = ["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_AUTOUPDATER"];
        self.access.command("claude", args, request.prompt, &quiet.map(|name| (name, "1")))
    }

    fn resumes(&self) -> bool {
        true
    }

    fn parse(&self, line: &str) -> Vec<AgentEvent> {
        let Some(event) = object(line) else { return verbatim(line) };
        match (text(&event, "/type"), text(&event, "/subtype")) {
            (Some("system"), Some("init")) => {
                let field = |name| text(&event, name).map(str::to_owned);
                let about =
                    AgentEvent::About { version: field("/claude_code_version"), model: field("/model") };
                field("/session_id").map(AgentEvent::Session).into_iter().chain([about]).collect()
            }
            (Some("system"), Some("api_retry")) => {
                let (status, wait) = (number(&event, "/error_status"), number(&event, "/retry_delay_ms"));
                let told = format!("the model's service answers {status}; trying again in {wait} ms");
                vec![AgentEvent::Text(told)]
            }
            // What it tells of itself and of its tasks in the background, many kinds of it.
            (Some("system"), Some(subtype)) => vec![remark(&event, subtype)],
            (Some("assistant"), _) => {
                let contents = event.pointer("/message/content").and_then(Value::as_array);
                let said = contents.into_iter().flatten().filter_map(content);
                turn(&event).into_iter().chain(said).chain(account(&event)).collect()
            }
            // What tools answer is long, and of no use to who reads the log.
            (Some("user"), _) => Vec::new(),
            (Some("rate_limit_event"), _) => quota(&event),
            (Some("result"), subtype) => result(&event, subtype.unwrap_or_default()),
            _ => verbatim(line),
        }
    }
}

/// Tells in one line what it remarks: `task started: Build the docs`, `task notification: completed, Built`.
fn remark(event: &Value, subtype: &str) -> AgentEvent {
    let words = ["/status", "/description", "/summary", "/message", "/content"];
    let told: Vec<_> = words.into_iter().filter_map(|place| text(event, place)).map(first_line).collect();
    let name = subtype.replace('_', " ");
    AgentEvent::Text(if told.is_empty() { name } else { format!("{name}: {}", told.join(", ")) })
}

fn content(block: &Value) -> Option<AgentEvent> {
    match text(block, "/type")? {
        "text" => Some(AgentEvent::Text(text(block, "/text")?.to_owned())),
        "tool_use" => Some(tool(text(block, "/name")?, block.get("input"))),
        _ => None,
    }
}

/// Tells what a turn used, as far as is known while it is under way.
fn turn(event: &Value) -> Option<AgentEvent> {
    let id = text(event, "/message/id")?.to_owned();
    let usage = Usage { turns: 1, ..tokens(event, "/message/usage") };
    (usage.input_tokens + usage.output_tokens > 0).then_some(AgentEvent::Turn { id, usage })
}

fn tokens(event: &Value, pointer: &str) -> Usage {
    let usage = |name: &str| number(event, &format!("{pointer}/{name}"));
    let cached = usage("cache_read_input_tokens");
    Usage {
        input_tokens: usage("input_tokens") + usage("cache_creation_input_tokens") + cached,
        cached_tokens: cached,
        output_tokens: usage("output_tokens"),
        ..Usage::default()
    }
}

/// Tells what is wrong with the account: of that, the result says nothing but words.
fn account(event: &Value) -> Option<AgentEvent> {
    let words = || text(event, "/message/content/0/text").unwrap_or("it is not signed in").to_owned();
    match text(event, "/error")? {
        "authentication_failed" => Some(AgentEvent::Trouble(Trouble::NotAuthenticated { message: words() })),
        "billing_error" => Some(AgentEvent::Trouble(Trouble::QuotaExhausted { resets_at: None })),
        _ => None,
    }
}

/// Tells of a subscription's limit that is reached; one that is only near is no trouble.
fn quota(event: &Value) -> Vec<AgentEvent> {
    if text(event, "/rate_limit_info/status") != Some("rejected") {
        return Vec::new();
    }
    let resets_at = event.pointer("/rate_limit_info/resetsAt").and_then(Value::as_i64);
    let resets_at = resets_at.and_then(|seconds| Timestamp::from_second(seconds).ok());
    vec![AgentEvent::Trouble(Trouble::QuotaExhausted { resets_at })]
}

fn result(event: &Value, subtype: &str) -> Vec<AgentEvent> {
    let turns = number(event, "/num_turns");
    let used = AgentEvent::Usage(Usage { turns, cost_usd: cost(event), ..tokens(event, "/usage") });
    let is_error = event.get("is_error").and_then(Value::as_bool).unwrap_or_default();
    let words = text(event, "/result").or_else(|| text(event, "/errors/0")).unwrap_or(subtype);
    let end = match subtype {
        "error_max_turns" => gave_up(Some(Trouble::OutOfTurns), words),
        "error_max_budget_usd" => gave_up(Some(Trouble::OutOfBudget), words),
        // No status: it had no answer.
        _ if text(event, "/api_error") == Some("connection_failed") => {
            gave_up(Some(Trouble::Unavailable { message: words.to_owned() }), words)
        }
        _ if is_error => gave_up(trouble(number(event, "/api_error_status"), words, None), words),
        // Its last words were an `assistant` event already.
        _ => vec![AgentEvent::Finished { ok: true, message: None }],
    };
    end.into_iter().chain([used]).collect()
}

fn cost(event: &Value) -> Option<f64> {
    let models = event.get("model_usage_since_last_result").and_then(Value::as_object);
    match models {
        Some(models) => Some(models.values().filter_map(|model| model.get("costUSD")?.as_f64()).sum()),
        None => event.get("total_cost_usd")?.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded::{ended, events, noise_is_text};
    use super::*;
    use acf_core::agent::AgentOutcome;

    fn claude() -> Claude {
        Claude::new(Access::default(), None)
    }

    #[test]
    fn a_round_tells_session_model_tools_and_cost() {
        let events = events(&claude(), include_str!("recorded/claude.jsonl"));
        let about =
            AgentEvent::About { version: Some("2.1.331".into()), model: Some("claude-sonnet-5-5".into()) };
        assert!(events.contains(&about), "{events:?}");
        assert!(events.contains(&AgentEvent::Session("1cb94600-753f-411f-8a81-392727b9cb36".into())));
        assert!(events.contains(&AgentEvent::Tool { summary: "Bash echo hello > hello.txt".into() }));
        let used = Usage {
            turns: 2,
            input_tokens: 200,
            output_tokens: 20,
            cost_usd: Some(0.000_600_000_000_000_000_1),
            ..Usage::default()
        };
        assert!(events.contains(&AgentEvent::Usage(used)), "{events:?}");
        assert_eq!(ended(&claude(), include_str!("recorded/claude.jsonl"), 0), AgentOutcome::Finished);
    }

    #[test]
    fn a_resumed_round_costs_what_it_used_itself() {
        let events = events(&claude(), include_str!("recorded/claude-resumed.jsonl"));
        let costs: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                AgentEvent::Usage(usage) => usage.cost_usd,
                _ => None,
            })
            .collect();
        assert_eq!(costs, [0.000_300_000_000_000_000_03]);
    }

    #[test]
    fn its_own_error_signals_are_its_troubles() {
        let after = |recorded| ended(&claude(), recorded, 1);
        let limited = AgentOutcome::Trouble(Trouble::RateLimited { retry_after: None });
        assert_eq!(after(include_str!("recorded/claude-429.jsonl")), limited);
        let refused = after(include_str!("recorded/claude-401.jsonl"));
        assert!(matches!(refused, AgentOutcome::Trouble(Trouble::NotAuthenticated { .. })), "{refused:?}");
        let turns = after(include_str!("recorded/claude-turns.jsonl"));
        assert_eq!(turns, AgentOutcome::Trouble(Trouble::OutOfTurns));
        let unreachable = after(include_str!("recorded/claude-unreachable.jsonl"));
        assert!(matches!(unreachable, AgentOutcome::Trouble(Trouble::Unavailable { .. })), "{unreachable:?}");
        let budget = after(include_str!("recorded/claude-budget.jsonl"));
        assert_eq!(budget, AgentOutcome::Trouble(Trouble::OutOfBudget));
    }

    #[test]
    fn an_account_that_is_not_signed_in_or_cannot_pay_is_told_from_a_crash() {
        let result = r#"{"type":"result","subtype":"success","is_error":true,"api_error_status":null,"terminal_reason":"api_error","result":"No"}"#;
        let after = |error: &str| {
            let said = r#""message":{"id":"m","content":[{"type":"text","text":"Not logged in"}]}"#;
            ended(&claude(), &format!("{{\"type\":\"assistant\",\"error\":\"{error}\",{said}}}\n{result}"), 1)
        };
        let message = "Not logged in".to_owned();
        assert_eq!(
            after("authentication_failed"),
            AgentOutcome::Trouble(Trouble::NotAuthenticated { message })
        );
        let quota = AgentOutcome::Trouble(Trouble::QuotaExhausted { resets_at: None });
        assert_eq!(after("billing_error"), quota);
        assert!(matches!(after("unknown"), AgentOutcome::Crashed { .. }));
    }

    #[test]
    fn a_subscription_that_is_used_up_says_when_it_is_not_any_more() {
        let line =
            r#"{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":1795536000}}"#;
        let resets_at = Timestamp::from_second(1_795_536_000).ok();
        let quota = AgentEvent::Trouble(Trouble::QuotaExhausted { resets_at });
        assert_eq!(claude().parse(line), [quota]);
        let result = include_str!("recorded/claude-429.jsonl");
        assert_eq!(
            ended(&claude(), &format!("{line}\n{result}"), 1),
            AgentOutcome::Trouble(Trouble::QuotaExhausted { resets_at }),
        );
        assert_eq!(claude().parse(&line.replace("rejected", "allowed_warning")), []);
    }

    #[test]
    fn tokens_that_claude_code_has_renewed_are_kept() {
        let tokens = |expires_at| Subscription {
            access_token: "access-1".into(),
            refresh_token: Some("refresh-1".into()),
            expires_at: Some(expires_at),
            kind: Some("max".into()),
        };
        let agent = Claude::new(Access::default(), Some(tokens(1000)));
        let [file] = &agent.files()[..] else { panic!("one file") };
        assert_eq!(file.path, Path::new(".claude/.credentials.json"));
        let written: Value = serde_json::from_str(file.contents.expose_secret()).unwrap();
        assert_eq!(written["claudeAiOauth"]["refreshToken"], "refresh-1");
        let renewed = agent.renewed(file, &tokens(1001).to_json(), false).unwrap();
        assert_eq!(renewed.path, file.path);
        let renewed: Value = serde_json::from_str(renewed.contents.expose_secret()).unwrap();
        assert_eq!(renewed["claudeAiOauth"]["expiresAt"], 1001);
        for older in [tokens(1000).to_json(), tokens(999).to_json(), "{}".into(), "no JSON".into()] {
            assert!(agent.renewed(file, &older, true).is_none(), "{older}");
        }
        let timeless = Claude::new(Access::default(), Some(Subscription { expires_at: None, ..tokens(0) }));
        let [file] = &timeless.files()[..] else { panic!("one file") };
        let is_renewed = |is_known| timeless.renewed(file, &tokens(1).to_json(), is_known).is_some();
        assert!(is_renewed(true) && !is_renewed(false));
    }

    #[test]
    fn what_it_remarks_is_told_in_one_line_and_not_as_json() {
        let said =
            |fields: &str| claude().parse(&format!(r#"{{"type":"system","session_id":"s",{fields}}}"#));
        let told = |text: &str| vec![AgentEvent::Text(text.into())];
        assert_eq!(
            said(
                r#""subtype":"task_started","task_id":"b1","task_type":"local_bash","description":"Wait\nlong""#
            ),
            told("task started: Wait")
        );
        assert_eq!(
            said(r#""subtype":"task_notification","task_id":"b1","status":"completed","summary":"Done""#),
            told("task notification: completed, Done")
        );
        assert_eq!(
            said(r#""subtype":"compact_boundary","compact_metadata":{"x":1}"#),
            told("compact boundary")
        );
        let long = said(&format!(r#""subtype":"new_kind","message":"{}""#, "x".repeat(1000)));
        assert_eq!(long, told(&format!("new kind: {}", "x".repeat(200))));
    }

    #[test]
    fn noise_never_ends_a_round() {
        noise_is_text(&claude(), include_str!("recorded/claude.jsonl"));
    }
}
