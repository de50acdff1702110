//! What the adapters of CLIs that stream JSON have in common: reading a line, and what a status means.

use std::time::Duration;

use acf_core::agent::{AgentEvent, Trouble};
use acf_core::receipt::Usage;
use serde_json::Value;

/// The longest part of a tool's input that is shown.
const LONGEST_SUMMARY: usize = 200;

/// Reads a line that is a JSON object; `None` for whatever else a CLI writes.
pub(super) fn object(line: &str) -> Option<Value> {
    serde_json::from_str(line.trim()).ok().filter(Value::is_object)
}

/// Returns the text at a path of keys.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// Returns the number at a path of keys; 0 where there is none.
pub(super) fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// Passes on a line that is not understood.
pub(super) fn verbatim(line: &str) -> Vec<AgentEvent> {
    vec![AgentEvent::Text(line.to_owned())]
}

/// Returns the text at that place as something to read, if there is one.
pub(super) fn said(value: &Value, pointer: &str) -> Vec<AgentEvent> {
    text(value, pointer).map(|text| AgentEvent::Text(text.to_owned())).into_iter().collect()
}

/// Tells of the use of a tool: its name, and the first text of its input.
pub(super) fn tool(name: &str, input: Option<&Value>) -> AgentEvent {
    let first = match input {
        Some(Value::String(text)) => Some(text.as_str()),
        Some(Value::Object(fields)) => fields.values().find_map(Value::as_str),
        _ => None,
    };
    let line = first.map(first_line).unwrap_or_default();
    AgentEvent::Tool { summary: format!("{name} {line}").trim_end().to_owned() }
}

/// Returns the first line of a text, cut where it is long.
pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(LONGEST_SUMMARY).collect()
}

/// Tells of one more turn of the conversation with the model.
pub(super) fn one_turn() -> AgentEvent {
    AgentEvent::Usage(Usage { turns: 1, ..Usage::default() })
}

/// Returns what an HTTP status of the model's service means; `None` for one that only passes.
pub(super) fn trouble(status: u64, message: &str, retry_after: Option<Duration>) -> Option<Trouble> {
    match status {
        401 | 403 => Some(Trouble::NotAuthenticated { message: message.to_owned() }),
        402 => Some(Trouble::QuotaExhausted { resets_at: None }),
        // 529: Anthropic's "overloaded", https://docs.anthropic.com/en/api/errors
        429 | 529 => Some(Trouble::RateLimited { retry_after }),
        500..=599 => Some(Trouble::Unavailable { message: message.to_owned() }),
        _ => None,
    }
}

/// Says that the CLI has given up, and why.
pub(super) fn gave_up(trouble: Option<Trouble>, message: &str) -> Vec<AgentEvent> {
    let ended = AgentEvent::Finished { ok: false, message: Some(message.to_owned()) };
    trouble.map(AgentEvent::Trouble).into_iter().chain([ended]).collect()
}
