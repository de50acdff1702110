//! What the service answers to.

use std::collections::HashMap;

use axum::extract::{Path, Query, State as Extension};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::gate::set;
use super::state::{Item, Label, Pull, State};
use super::{BOT, REPOSITORY, Shared, lock, wire};

type Params = Query<HashMap<String, String>>;

/// The longest body of an issue, a comment or a pull request, in characters.
const LONGEST_BODY: usize = 65_536;
/// The longest title, in characters.
const LONGEST_TITLE: usize = 256;

pub(super) fn router(state: Shared) -> Router {
    let at = |path: &str| format!("/repos/{REPOSITORY}{path}");
    Router::new()
        .route("/user", get(async || Json(json!({ "login": BOT }))))
        .route(&at(""), get(read_repository))
        .route(&at("/issues"), get(list_issues))
        .route(&at("/issues/{number}"), get(read_issue).patch(change_issue))
        .route(&at("/issues/{number}/comments"), get(list_comments).post(add_comment))
        .route(&at("/issues/{number}/dependencies/blocked_by"), get(list_blockers))
        .route(&at("/labels"), post(add_label))
        .route(&at("/labels/{name}"), get(read_label))
        .route(&at("/assignees/{login}"), get(check_assignee))
        .route(&at("/pulls"), get(list_pulls).post(add_pull))
        .with_state(state)
}

pub(super) fn says(status: StatusCode, message: &str) -> Response {
    let body = json!({ "message": message, "documentation_url": "https://docs.github.com/rest" });
    (status, Json(body)).into_response()
}

fn not_found() -> Response {
    says(StatusCode::NOT_FOUND, "Not Found")
}

fn invalid(field: &str, code: &str, message: &str) -> Response {
    let error = match message {
        "" => json!({ "resource": "Issue", "field": field, "code": code }),
        _ => json!({ "resource": "PullRequest", "code": code, "message": message }),
    };
    let body = json!({ "message": "Validation Failed", "errors": [error] });
    (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
}

/// Returns the address that the client used, for links.
fn base(headers: &HeaderMap) -> String {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("http://{host}")
}

/// Answers with a page of a list, and with links to the others.
fn page(items: &[Value], params: &HashMap<String, String>, uri: &Uri, headers: &HeaderMap) -> Response {
    let number = |name: &str, default| params.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (size, page): (usize, usize) = (number("per_page", 30).clamp(1, 100), number("page", 1).max(1));
    let pages = items.len().div_ceil(size).max(1);
    let shown: Vec<_> = items.iter().skip((page - 1) * size).take(size).cloned().collect();
    let link = |to: usize, rel: &str| {
        let kept = params.iter().filter(|(name, _)| *name != "page");
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(kept)
            .append_pair("page", &to.to_string())
            .finish();
        format!("<{}{}?{query}>; rel=\"{rel}\"", base(headers), uri.path())
    };
    let mut response = Json(shown).into_response();
    if page < pages {
        let links = format!("{}, {}", link(page + 1, "next"), link(pages, "last"));
        let links = links.parse().expect("an address makes a header");
        response.headers_mut().insert("link", links);
    }
    response
}

fn moved(to: &str) -> Response {
    let mut response = says(StatusCode::MOVED_PERMANENTLY, "Moved Permanently");
    response.headers_mut().insert("location", to.parse().expect("an address makes a header"));
    response
}

/// Says what is in the way of any use of the issues.
fn obstacle(state: &State, number: Option<u64>) -> Option<Response> {
    if state.is_renamed {
        return Some(moved("/repositories/1/issues"));
    }
    if !state.has_issues {
        return Some(says(StatusCode::GONE, "Issues has been disabled in this repository."));
    }
    let number = number?;
    if state.transferred.contains(&number) {
        return Some(moved(&format!("/repositories/2/issues/{number}")));
    }
    if state.deleted.contains(&number) {
        return Some(says(StatusCode::GONE, "This issue was deleted"));
    }
    (!state.items.contains_key(&number)).then(not_found)
}

async fn read_repository(Extension(state): Extension<Shared>) -> Response {
    let moved = lock(&state).is_renamed.then(|| moved("/repositories/1"));
    moved.unwrap_or_else(|| Json(json!({ "full_name": REPOSITORY })).into_response())
}

async fn list_issues(
    Extension(state): Extension<Shared>,
    Query(params): Params,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let state = lock(&state);
    if let Some(obstacle) = obstacle(&state, None) {
        return obstacle;
    }
    let given = |name: &str, default| params.get(name).map_or(default, String::as_str);
    let wants_open = match given("state", "open") {
        "open" => Some(true),
        "closed" => Some(false),
        _ => None,
    };
    let is_wanted = |item: &Item| {
        let is_assigned_so = match given("assignee", "*any") {
            "*any" => true,
            "none" => item.assignees.is_empty(),
            login => item.assignees.iter().any(|known| known.eq_ignore_ascii_case(login)),
        };
        is_assigned_so && wants_open.is_none_or(|open| item.is_open == open)
    };
    let base = base(&headers);
    let wanted = state.items.iter().filter(|(_, item)| is_wanted(item));
    let mut issues: Vec<_> = wanted.map(|(number, item)| wire::issue(&state, *number, item, &base)).collect();
    if given("direction", "desc") == "desc" {
        issues.reverse();
    }
    page(&issues, &params, &uri, &headers)
}

async fn read_issue(
    Extension(state): Extension<Shared>,
    Path(number): Path<u64>,
    headers: HeaderMap,
) -> Response {
    let state = lock(&state);
    match obstacle(&state, Some(number)) {
        Some(obstacle) => obstacle,
        None => Json(wire::issue(&state, number, &state.items[&number], &base(&headers))).into_response(),
    }
}

async fn change_issue(
    Extension(state): Extension<Shared>,
    Path(number): Path<u64>,
    headers: HeaderMap,
    Json(patch): Json<Value>,
) -> Response {
    let mut state = lock(&state);
    if let Some(obstacle) = obstacle(&state, Some(number)) {
        return obstacle;
    }
    let may_write = state.may_write;
    let names = |field: &str| -> Option<Vec<String>> {
        let names = patch
            .get(field)
            .filter(|_| may_write)?
            .as_array()?
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned));
        Some(names.collect())
    };
    let labels: Option<Vec<_>> =
        names("labels").map(|names| names.iter().map(|name| state.know_label(name)).collect());
    // Accounts that cannot be assigned are left out without a word.
    let assignees: Option<Vec<_>> =
        names("assignees").map(|names| names.iter().filter_map(|login| state.assignable(login)).collect());
    let item = state.items.get_mut(&number).expect("nothing stands in its way");
    item.labels = labels.unwrap_or_else(|| item.labels.clone());
    item.assignees = assignees.unwrap_or_else(|| item.assignees.clone());
    match patch["state"].as_str() {
        Some("open") => item.is_open = true,
        Some("closed") => item.is_open = false,
        _ => {}
    }
    let item = state.items[&number].clone();
    Json(wire::issue(&state, number, &item, &base(&headers))).into_response()
}

async fn list_comments(
    Extension(state): Extension<Shared>,
    Path(number): Path<u64>,
    Query(params): Params,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let state = lock(&state);
    if let Some(obstacle) = obstacle(&state, Some(number)) {
        return obstacle;
    }
    let comments = state.items[&number].comments.iter().enumerate();
    let comments: Vec<_> = comments.map(|(at, body)| json!({ "id": at + 1, "body": body })).collect();
    page(&comments, &params, &uri, &headers)
}

async fn add_comment(
    Extension(state): Extension<Shared>,
    Path(number): Path<u64>,
    Json(comment): Json<Value>,
) -> Response {
    let mut state = lock(&state);
    if let Some(obstacle) = obstacle(&state, Some(number)) {
        return obstacle;
    }
    if state.locked.contains(&number) {
        let mut locked = says(StatusCode::FORBIDDEN, "Unable to create comment because issue is locked.");
        // Fine-grained tokens are told what would do with every answer.
        set(locked.headers_mut(), "x-accepted-github-permissions", "issues=write; pull_requests=write");
        return locked;
    }
    let body = comment["body"].as_str().unwrap_or_default().to_owned();
    if body.chars().count() > LONGEST_BODY {
        return invalid("body", "too_long", "");
    }
    let item = state.items.get_mut(&number).expect("nothing stands in its way");
    item.comments.push(body.clone());
    (StatusCode::CREATED, Json(json!({ "id": item.comments.len(), "body": body }))).into_response()
}

async fn list_blockers(
    Extension(state): Extension<Shared>,
    Path(number): Path<u64>,
    Query(params): Params,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let state = lock(&state);
    if let Some(obstacle) = obstacle(&state, Some(number)) {
        return obstacle;
    }
    let base = base(&headers);
    let blockers = state.items[&number].blocked_by.iter().filter_map(|blocker| {
        let item = state.items.get(blocker)?;
        Some(wire::issue(&state, *blocker, item, &base))
    });
    page(&blockers.collect::<Vec<_>>(), &params, &uri, &headers)
}

async fn read_label(Extension(state): Extension<Shared>, Path(name): Path<String>) -> Response {
    let state = lock(&state);
    state.label(&name).map_or_else(not_found, |label| Json(wire::label(label)).into_response())
}

async fn add_label(Extension(state): Extension<Shared>, Json(new): Json<Value>) -> Response {
    let mut state = lock(&state);
    let text = |field: &str| new[field].as_str().map(str::to_owned);
    let name = text("name").unwrap_or_default();
    if state.label(&name).is_some() {
        return invalid("name", "already_exists", "");
    }
    let color = text("color").unwrap_or_else(|| "ededed".to_owned());
    let label = Label { name, color, description: text("description") };
    let written = wire::label(&label);
    state.labels.push(label);
    (StatusCode::CREATED, Json(written)).into_response()
}

async fn check_assignee(Extension(state): Extension<Shared>, Path(login): Path<String>) -> Response {
    let state = lock(&state);
    match state.assignable(&login) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => not_found(),
    }
}

async fn list_pulls(
    Extension(state): Extension<Shared>,
    Query(params): Params,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let state = lock(&state);
    let owner = REPOSITORY.split('/').next().unwrap_or_default();
    // A head without its owner is no filter at all.
    let head = params.get("head").and_then(|head| head.strip_prefix(&format!("{owner}:")));
    let is_wanted = |item: &Item| {
        let is_of_head = |pull: &Pull| head.is_none_or(|head| pull.head == head);
        item.is_open && item.pull.as_ref().is_some_and(is_of_head)
    };
    let wanted = state.items.iter().filter(|(_, item)| is_wanted(item));
    let mut pulls: Vec<_> = wanted.map(|(number, item)| wire::pull(*number, item)).collect();
    pulls.reverse();
    page(&pulls, &params, &uri, &headers)
}

async fn add_pull(Extension(state): Extension<Shared>, Json(new): Json<Value>) -> Response {
    let mut state = lock(&state);
    let text = |field: &str| new[field].as_str().unwrap_or_default().to_owned();
    let pull = Pull { head: text("head"), base: text("base") };
    for (field, longest) in [("title", LONGEST_TITLE), ("body", LONGEST_BODY)] {
        if text(field).chars().count() > longest {
            return invalid(field, "too_long", "");
        }
    }
    if !state.has_branch(&pull.head) {
        return invalid("head", "invalid", "");
    }
    if state.items.values().any(|item| item.is_open && item.pull.as_ref() == Some(&pull)) {
        let message = format!("A pull request already exists for acme:{}.", pull.head);
        return invalid("head", "custom", &message);
    }
    if pull.head == pull.base {
        return invalid("head", "custom", &format!("No commits between {} and {}", pull.base, pull.head));
    }
    let item =
        Item { title: text("title"), body: text("body"), is_open: true, pull: Some(pull), ..Item::default() };
    let number = state.add(item);
    let written = wire::pull(number, &state.items[&number]);
    (StatusCode::CREATED, Json(written)).into_response()
}
