//! What every request passes: the token, the rate limit, and the question whether anything is new.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;

use super::routes::says;
use super::state::Token;
use super::{Shared, TOKEN, lock};

pub(super) async fn pass(State(state): State<Shared>, request: Request, next: Next) -> Response {
    if let Some(refusal) = refusal(&state, &request) {
        return refusal;
    }
    let is_read = request.method() == Method::GET;
    let asked = request.headers().get("if-none-match").cloned();
    let mut response = next.run(request).await;
    if is_read && response.status() == StatusCode::OK {
        response = with_etag(response, asked.as_ref()).await;
    }
    let mut state = lock(&state);
    if response.status() != StatusCode::NOT_MODIFIED {
        state.remaining = state.remaining.saturating_sub(1);
    }
    set(response.headers_mut(), "x-ratelimit-remaining", &state.remaining.to_string());
    if let Token::Classic(scopes) = &state.token {
        set(response.headers_mut(), "x-oauth-scopes", scopes);
        set(response.headers_mut(), "x-accepted-oauth-scopes", "repo");
    }
    response
}

fn refusal(state: &Shared, request: &Request) -> Option<Response> {
    let state = lock(state);
    let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if authorization != Some(&format!("Bearer {TOKEN}")) || state.token == Token::Expired {
        return Some(says(StatusCode::UNAUTHORIZED, "Bad credentials"));
    }
    if state.remaining == 0 {
        let mut response = says(StatusCode::FORBIDDEN, "API rate limit exceeded for user ID 1.");
        let reset = Timestamp::now().as_second() + state.reset_secs;
        set(response.headers_mut(), "x-ratelimit-remaining", "0");
        set(response.headers_mut(), "x-ratelimit-reset", &reset.to_string());
        return Some(response);
    }
    let path = request.uri().path();
    match &state.token {
        Token::FineGrained(rights) if request.method() != Method::GET => {
            let needed = if path.ends_with("/pulls") { "pull_requests" } else { "issues" };
            if rights.iter().any(|right| right == needed) {
                return None;
            }
            let mut response =
                says(StatusCode::FORBIDDEN, "Resource not accessible by personal access token");
            set(response.headers_mut(), "x-accepted-github-permissions", &format!("{needed}=write"));
            Some(response)
        }
        Token::Installation if path == "/user" => {
            Some(says(StatusCode::FORBIDDEN, "Resource not accessible by integration"))
        }
        Token::Classic(scopes) if !scopes.split(", ").any(|scope| scope == "repo") && path != "/user" => {
            let mut response = says(StatusCode::NOT_FOUND, "Not Found");
            set(response.headers_mut(), "x-oauth-scopes", scopes);
            set(response.headers_mut(), "x-accepted-oauth-scopes", "repo");
            Some(response)
        }
        Token::Blind if path != "/user" => Some(says(StatusCode::NOT_FOUND, "Not Found")),
        _ => None,
    }
}

async fn with_etag(response: Response, asked: Option<&HeaderValue>) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let etag = format!("W/\"{:x}\"", hasher.finish());
    if asked.is_some_and(|asked| asked.as_bytes() == etag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    set(&mut parts.headers, "etag", &etag);
    Response::from_parts(parts, Body::from(bytes))
}

pub(super) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("the stand-in's own headers can be sent");
    headers.insert(name, value);
}
