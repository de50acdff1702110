//! A model's service for real coding CLIs, offline: Anthropic Messages, OpenAI Responses and Chat
//! Completions, and Gemini, streamed as server-sent events.
//!
//! A request that offers a shell tool and carries no answer of one yet gets a call of that tool with the
//! command of the turn; any other request is answered `Done.`. Faults are told by [`Conduct`].

use std::collections::VecDeque;
use std::future::IntoFuture as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// How the service behaves.
#[derive(Clone, Debug, Default)]
pub struct Conduct {
    /// The shell commands that are called for, one a conversation; the last one is called for again.
    pub commands: Vec<String>,
    /// How many requests for the model are refused, and with which status.
    pub refusals: Option<(usize, u16)>,
    /// What a refusal says in `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// How many answers are cut off in their middle; they come after the refusals.
    pub cuts: usize,
    /// Whether the account has nothing left to spend, as each of the services says that.
    pub is_exhausted: bool,
    /// Whether it never answers.
    pub is_silent: bool,
    /// Whether it ends no conversation, but calls for the next command in every answer.
    pub is_tireless: bool,
}

/// A request for the model.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The path.
    pub path: String,
    /// What its credentials are: the header that carries them.
    pub credentials: String,
    /// The body, as text.
    pub body: String,
}

#[derive(Default)]
struct Service {
    commands: VecDeque<String>,
    refusals: (usize, u16),
    retry_after: Option<u64>,
    cuts: usize,
    is_exhausted: bool,
    is_silent: bool,
    is_tireless: bool,
    asked: Vec<Asked>,
    /// Whether the last answer ended a conversation.
    has_ended: bool,
}

/// A running service, ended when dropped.
pub struct ModelServer {
    address: std::net::SocketAddr,
    service: Arc<Mutex<Service>>,
    // Its end is the service's.
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl ModelServer {
    /// Starts the service on a port of its own.
    ///
    /// # Panics
    /// Where no port of the loopback interface can be had.
    #[must_use]
    pub fn start(conduct: Conduct) -> Self {
        let service = Arc::new(Mutex::new(Service {
            commands: conduct.commands.into(),
            refusals: conduct.refusals.unwrap_or_default(),
            retry_after: conduct.retry_after,
            cuts: conduct.cuts,
            is_exhausted: conduct.is_exhausted,
            is_silent: conduct.is_silent,
            is_tireless: conduct.is_tireless,
            ..Service::default()
        }));
        let router = Router::new().fallback(answer).with_state(service.clone());
        let (tell, address) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port can be had");
                let address = listener.local_addr().expect("a listener has an address");
                tell.send(address).expect("somebody waits for the address");
                tokio::select! {
                    _ = stopped => {}
                    served = axum::serve(listener, router).into_future() => served.expect("serving goes on"),
                }
            });
        });
        Self { address: address.recv().expect("the service starts"), service, _stop: stop }
    }

    /// Returns its address, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns what it was asked so far, without what only counts tokens.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.service).asked.clone()
    }
}

fn lock(service: &Mutex<Service>) -> MutexGuard<'_, Service> {
    service.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    State(service): State<Arc<Mutex<Service>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    if path.ends_with("count_tokens") {
        return axum::Json(json!({ "input_tokens": 11 })).into_response();
    }
    if path.ends_with(":countTokens") {
        return axum::Json(json!({ "totalTokens": 11 })).into_response();
    }
    let Some(api) = Api::of(&path) else {
        return axum::Json(json!({ "object": "list", "data": [], "models": [] })).into_response();
    };
    let (turn, n) = {
        let mut service = lock(&service);
        let credentials = ["authorization", "x-api-key", "x-goog-api-key"]
            .iter()
            .find_map(|name| Some(format!("{name}: {}", headers.get(*name)?.to_str().ok()?)));
        service.asked.push(Asked {
            path,
            credentials: credentials.unwrap_or_default(),
            body: String::from_utf8_lossy(&body).into_owned(),
        });
        (service.turn(&asked), service.asked.len())
    };
    match turn {
        Turn::Silence => {
            tokio::time::sleep(Duration::from_secs(24 * 60 * 60)).await;
            StatusCode::NO_CONTENT.into_response()
        }
        Turn::Exhausted => api.exhausted(),
        Turn::Cut => cut(api.events(&asked, None, n)).await,
        Turn::Refusal(status, retry_after) => refusal(status, retry_after),
        Turn::Call(name, input) => api.events(&asked, Some((&name, &input)), n),
        Turn::Done => api.events(&asked, None, n),
    }
}

/// Sends the first half of an answer, and ends the connection.
async fn cut(answer: Response) -> Response {
    let (head, body) = answer.into_parts();
    let whole = axum::body::to_bytes(body, usize::MAX).await.expect("an answer of our own is whole");
    let half = Ok(whole.slice(..whole.len() / 2));
    let parts = futures_util::stream::iter([half, Err(std::io::Error::other("cut off"))]);
    Response::from_parts(head, axum::body::Body::from_stream(parts))
}

enum Turn {
    Silence,
    Exhausted,
    Cut,
    Refusal(u16, Option<u64>),
    Call(String, Value),
    Done,
}

impl Service {
    fn turn(&mut self, asked: &Value) -> Turn {
        if self.is_silent {
            return Turn::Silence;
        }
        if self.is_exhausted {
            return Turn::Exhausted;
        }
        if let (left @ 1.., status) = &mut self.refusals {
            *left -= 1;
            return Turn::Refusal(*status, self.retry_after);
        }
        if let left @ 1.. = &mut self.cuts {
            *left -= 1;
            return Turn::Cut;
        }
        let has_acted = last_is_tools_answer(asked);
        match shell(asked) {
            Some((name, key, is_list)) if !has_acted || self.is_tireless => {
                if (self.has_ended || has_acted) && self.commands.len() > 1 {
                    self.commands.pop_front();
                }
                self.has_ended = false;
                let command = self.commands.front().cloned().unwrap_or_else(|| "true".to_owned());
                let value = if is_list { json!(["bash", "-lc", command]) } else { json!(command) };
                Turn::Call(name, json!({ key: value, "description": "does the work" }))
            }
            _ => {
                self.has_ended |= has_acted;
                Turn::Done
            }
        }
    }
}

/// Tells whether the conversation has come to the answer of a tool.
fn last_is_tools_answer(asked: &Value) -> bool {
    let lists = ["messages", "input", "contents"];
    let last = lists.iter().find_map(|name| asked.get(*name)?.as_array()?.last());
    let text = last.map(Value::to_string).unwrap_or_default();
    [
        "\"tool_result\"",
        "function_call_output\"",
        "\"role\":\"tool\"",
        "\"functionResponse\"",
        "local_shell_call_output\"",
    ]
    .iter()
    .any(|mark| text.contains(mark))
}

/// Finds the shell tool that is offered: its name, what its command is called, and whether that is a list.
fn shell(asked: &Value) -> Option<(String, &'static str, bool)> {
    let tools = asked.get("tools")?.as_array()?;
    let flat =
        tools.iter().flat_map(|tool| match tool.get("functionDeclarations").and_then(Value::as_array) {
            Some(several) => several.iter().collect::<Vec<_>>(),
            None => vec![tool.get("function").unwrap_or(tool)],
        });
    flat.filter_map(|tool| tool.get("name")?.as_str()).find_map(|name| {
        let (key, is_list) = match name {
            "Bash" | "bash" | "run_shell_command" | "shell_command" => ("command", false),
            "exec_command" => ("cmd", false),
            "shell" | "local_shell" => ("command", true),
            _ => return None,
        };
        Some((name.to_owned(), key, is_list))
    })
}

fn refusal(status: u16, retry_after: Option<u64>) -> Response {
    let kind = match status {
        401 => "authentication_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    let code = if status == 429 { "RESOURCE_EXHAUSTED" } else { "UNAVAILABLE" };
    let error =
        json!({ "type": kind, "message": format!("scripted {kind}"), "code": status, "status": code });
    let body = axum::Json(json!({ "type": "error", "error": error }));
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, body).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[derive(Clone, Copy)]
enum Api {
    Messages,
    Responses,
    Chat,
    Gemini { streams: bool },
}

/// The name and the input of a tool that is called, if one is.
type Call<'a> = Option<(&'a str, &'a Value)>;

impl Api {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            _ if path.ends_with("/messages") => Self::Messages,
            _ if path.ends_with("/responses") => Self::Responses,
            _ if path.ends_with("/chat/completions") => Self::Chat,
            _ if path.contains("enerateContent") => Self::Gemini { streams: path.contains("stream") },
            _ => return None,
        })
    }

    /// Says that an account has nothing left, as observed with Anthropic's credits, a subscription of ChatGPT,
    /// and the free requests of Gemini; whoever offers Chat Completions may say 402.
    fn exhausted(self) -> Response {
        let (status, error) = match self {
            Self::Messages => (
                StatusCode::BAD_REQUEST,
                json!({ "type": "invalid_request_error", "message": "Your credit balance is too low to access the Anthropic API." }),
            ),
            Self::Responses => (
                StatusCode::TOO_MANY_REQUESTS,
                json!({ "type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus", "resets_in_seconds": 5400 }),
            ),
            Self::Chat => {
                (StatusCode::PAYMENT_REQUIRED, json!({ "message": "Insufficient credits", "code": 402 }))
            }
            Self::Gemini { .. } => {
                let quota = json!({ "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "quotaValue": "50" });
                let failure =
                    json!({ "@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [quota] });
                (
                    StatusCode::TOO_MANY_REQUESTS,
                    json!({ "code": 429, "message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED", "details": [failure] }),
                )
            }
        };
        (status, axum::Json(json!({ "type": "error", "error": error }))).into_response()
    }

    /// Writes an answer; `n` tells its ids from those of others, which a CLI takes for the same.
    fn events(self, asked: &Value, call: Call<'_>, n: usize) -> Response {
        let model = asked.get("model").cloned().unwrap_or_default();
        let streams = asked.get("stream").and_then(Value::as_bool).unwrap_or_default();
        match self {
            Self::Messages => messages(&model, call, streams, n),
            Self::Responses => responses(&model, call, streams, n),
            Self::Chat => chat(&model, call, streams, n),
            Self::Gemini { streams } => gemini(call, streams),
        }
    }
}

/// Writes named server-sent events.
fn stream(events: &[Value], is_named: bool) -> Response {
    let lines = events.iter().map(|event| {
        let name = event.get("type").and_then(Value::as_str).filter(|_| is_named);
        let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
        format!("{name}data: {event}\n\n")
    });
    sse(lines.collect())
}

fn sse(body: String) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

fn messages(model: &Value, call: Call<'_>, streams: bool, n: usize) -> Response {
    let usage = json!({ "input_tokens": 100, "output_tokens": 10 });
    let (block, begun, delta, stop) = match call {
        Some((name, input)) => (
            json!({ "type": "tool_use", "id": format!("toolu_{n}"), "name": name, "input": input }),
            json!({ "type": "tool_use", "id": format!("toolu_{n}"), "name": name, "input": {} }),
            json!({ "type": "input_json_delta", "partial_json": input.to_string() }),
            "tool_use",
        ),
        None => (
            json!({ "type": "text", "text": "Done." }),
            json!({ "type": "text", "text": "" }),
            json!({ "type": "text_delta", "text": "Done." }),
            "end_turn",
        ),
    };
    let mut message = json!({
        "id": format!("msg_{n}"), "type": "message", "role": "assistant", "model": model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage,
    });
    if !streams {
        message["content"] = json!([block]);
        message["stop_reason"] = stop.into();
        return axum::Json(message).into_response();
    }
    let events = [
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": begun }),
        json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null }, "usage": usage }),
        json!({ "type": "message_stop" }),
    ];
    stream(&events, true)
}

fn responses(model: &Value, call: Call<'_>, streams: bool, n: usize) -> Response {
    let item = match call {
        Some((name, input)) => json!({
            "type": "function_call", "id": format!("fc_{n}"), "call_id": format!("call_{n}"), "name": name,
            "arguments": input.to_string(), "status": "completed",
        }),
        None => json!({
            "type": "message", "id": format!("msg_{n}"), "role": "assistant", "status": "completed",
            "content": [{ "type": "output_text", "text": "Done.", "annotations": [] }],
        }),
    };
    let whole = json!({
        "id": format!("resp_{n}"), "object": "response", "status": "completed", "model": model, "output": [item],
        "usage": {
            "input_tokens": 100, "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": 10, "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": 110,
        },
    });
    if !streams {
        return axum::Json(whole).into_response();
    }
    let mut begun = whole.clone();
    (begun["status"], begun["output"]) = ("in_progress".into(), json!([]));
    let events = [
        json!({ "type": "response.created", "response": begun }),
        json!({ "type": "response.output_item.added", "output_index": 0, "item": item }),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
        json!({ "type": "response.completed", "response": whole }),
    ];
    stream(&events, true)
}

fn chat(model: &Value, call: Call<'_>, streams: bool, n: usize) -> Response {
    let (message, reason) = match call {
        Some((name, input)) => {
            let function = json!({ "name": name, "arguments": input.to_string() });
            let calls =
                json!([{ "index": 0, "id": format!("call_{n}"), "type": "function", "function": function }]);
            (json!({ "role": "assistant", "content": null, "tool_calls": calls }), "tool_calls")
        }
        None => (json!({ "role": "assistant", "content": "Done." }), "stop"),
    };
    let usage = json!({ "prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110 });
    let head = |object: &str, choices: Value| json!({ "id": format!("cc_{n}"), "object": object, "created": 1_700_000_000, "model": model, "choices": choices });
    if !streams {
        let mut whole =
            head("chat.completion", json!([{ "index": 0, "message": message, "finish_reason": reason }]));
        whole["usage"] = usage;
        return axum::Json(whole).into_response();
    }
    let chunk = |choices| head("chat.completion.chunk", choices);
    let mut last = chunk(json!([]));
    last["usage"] = usage;
    let chunks = [
        chunk(json!([{ "index": 0, "delta": message, "finish_reason": null }])),
        chunk(json!([{ "index": 0, "delta": {}, "finish_reason": reason }])),
        last,
    ];
    let lines: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    sse(lines + "data: [DONE]\n\n")
}

fn gemini(call: Call<'_>, streams: bool) -> Response {
    let part = match call {
        Some((name, input)) => json!({ "functionCall": { "name": name, "args": input } }),
        None => json!({ "text": "Done." }),
    };
    let candidate =
        json!({ "index": 0, "content": { "role": "model", "parts": [part] }, "finishReason": "STOP" });
    let usage = json!({ "promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110 });
    let whole = json!({ "candidates": [candidate], "modelVersion": "scripted", "usageMetadata": usage });
    if streams { stream(&[whole], false) } else { axum::Json(whole).into_response() }
}
