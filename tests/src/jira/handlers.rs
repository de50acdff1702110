//! What the stand-in answers.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State as From};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::site::{ACCOUNT, EMAIL, IssueState, Site, State};

/// The longest comment that Jira takes, in characters.
const LONGEST_COMMENT: usize = 32_767;

type Shared = From<Arc<Site>>;
type Parameters = Query<HashMap<String, String>>;

pub(super) fn router(site: Arc<Site>) -> Router {
    let issue = "/rest/api/3/issue/{key}";
    Router::new()
        .route("/rest/api/3/myself", get(myself))
        .route("/rest/api/3/project/{key}/statuses", get(statuses))
        .route("/rest/api/3/mypermissions", get(permissions))
        .route("/rest/api/3/user/assignable/search", get(assignable))
        .route("/rest/api/3/search/jql", post(search))
        .route("/rest/api/3/comment/list", post(comment_list))
        .route(issue, get(read).put(edit))
        .route(&format!("{issue}/assignee"), put(assign))
        .route(&format!("{issue}/transitions"), get(transitions).post(transition))
        .route(&format!("{issue}/comment"), get(comments).post(comment))
        .layer(from_fn_with_state(Arc::clone(&site), admit))
        .with_state(site)
}

/// Lets those in who may come in, and counts requests.
async fn admit(From(site): Shared, request: Request, next: Next) -> Response {
    let is_known = is_authorized(request.headers(), &site.lock().token);
    if !is_known {
        let login = [("x-seraph-loginreason", "AUTHENTICATED_FAILED")];
        if site.lock().serves_nobody && request.uri().path().ends_with("/search/jql") {
            return (login, Json(json!({ "issues": [], "isLast": true }))).into_response();
        }
        let says = "Client must be authenticated to access this resource.";
        return (StatusCode::UNAUTHORIZED, login, says).into_response();
    }
    let path = request.uri().path();
    let is_read =
        request.method() == Method::GET || path.ends_with("/search/jql") || path.ends_with("/comment/list");
    let scope = match is_read {
        true if path.contains("/myself") || path.contains("/user/") => "read:jira-user",
        true => "read:jira-work",
        false => "write:jira-work",
    };
    if !site.lock().scopes.contains(scope) {
        let says = json!({ "code": 401, "message": "Unauthorized; scope does not match" });
        return (StatusCode::UNAUTHORIZED, Json(says)).into_response();
    }
    let response = next.run(request).await;
    site.lock().tick();
    response
}

fn is_authorized(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    given == Some(&*basic_authorization(EMAIL, token))
}

/// Returns the header by which a user proves himself with a token.
#[must_use]
pub fn basic_authorization(user: &str, token: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{token}")))
}

fn refused(status: u16, messages: &[&str], errors: &Value) -> Response {
    let status = StatusCode::from_u16(status).expect("it is one");
    (status, Json(json!({ "errorMessages": messages, "errors": errors }))).into_response()
}

fn not_found() -> Response {
    refused(404, &["Issue does not exist or you do not have permission to see it."], &json!({}))
}

fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Changes an issue, if it is there.
fn with_issue(site: &Site, key: &str, change: impl FnOnce(&mut IssueState) -> Response) -> Response {
    match site.lock().find(key) {
        Some(issue) => change(issue),
        None => not_found(),
    }
}

async fn myself() -> Json<Value> {
    Json(json!({ "accountId": ACCOUNT, "displayName": "acf", "active": true }))
}

async fn statuses(From(site): Shared, Path(key): Path<String>) -> Response {
    if key != super::site::PROJECT {
        return refused(404, &[&format!("No project could be found with key '{key}'.")], &json!({}));
    }
    Json(site.lock().type_statuses()).into_response()
}

async fn permissions(From(site): Shared, Query(query): Parameters) -> Response {
    if query.get("projectKey").is_none_or(|key| key != super::site::PROJECT) {
        return refused(404, &["No project could be found with that key."], &json!({}));
    }
    let asked = query.get("permissions").map(String::as_str).unwrap_or_default();
    let state = site.lock();
    let permission = |key: &str| {
        let have = !state.forbidden.contains(key);
        (key.to_owned(), json!({ "id": "1", "key": key, "type": "PROJECT", "havePermission": have }))
    };
    let permissions: serde_json::Map<_, _> = asked.split(',').map(permission).collect();
    Json(json!({ "permissions": permissions })).into_response()
}

async fn assignable(From(site): Shared, Query(query): Parameters) -> Json<Value> {
    let account = query.get("accountId").cloned().unwrap_or_default();
    let found = site.lock().assignable.contains(&account);
    Json(if found { json!([{ "accountId": account, "displayName": "acf" }]) } else { json!([]) })
}

async fn search(From(site): Shared, Json(body): Json<Value>) -> Response {
    let state = site.lock();
    let found = match state.query(body["jql"].as_str().unwrap_or_default()) {
        Ok(found) => found,
        Err(says) => return refused(400, &[&says], &json!({})),
    };
    let from = match body["nextPageToken"].as_str() {
        None => 0,
        Some(token) => match percent_decode_str(token)
            .decode_utf8_lossy()
            .strip_prefix("after:")
            .and_then(|at| at.parse().ok())
        {
            Some(from) => from,
            None => return refused(400, &["The nextPageToken is invalid."], &json!({})),
        },
    };
    let asked = body["maxResults"].as_u64().and_then(|size| usize::try_from(size).ok()).unwrap_or(50);
    let size = asked.min(state.page_size);
    let issues: Vec<_> = found.iter().skip(from).take(size).map(|issue| state.issue_json(issue)).collect();
    let mut page = json!({ "issues": issues, "isLast": from + size >= found.len() });
    if from + size < found.len() {
        page["nextPageToken"] = json!(format!("after%3A{}", from + size));
    }
    Json(page).into_response()
}

async fn read(From(site): Shared, Path(key): Path<String>, Query(query): Parameters) -> Response {
    let mut state = site.lock();
    let Some(issue) = state.find(&key).cloned() else { return not_found() };
    let mut json = state.issue_json(&issue);
    if query.get("expand").is_some_and(|expand| expand.contains("transitions")) {
        let ways = state.transitions(&issue);
        json["transitions"] = ways.iter().map(|way| State::transition_json(way, false)).collect();
    }
    Json(json).into_response()
}

async fn edit(From(site): Shared, Path(key): Path<String>, Json(body): Json<Value>) -> Response {
    let operations = body["update"]["labels"].as_array().cloned().unwrap_or_default();
    if site.lock().hides_labels {
        let says = "Field 'labels' cannot be set. It is not on the appropriate screen, or unknown.";
        return refused(400, &[], &json!({ "labels": says }));
    }
    let is_spaced = |operation: &Value| operation["add"].as_str().is_some_and(|label| label.contains(' '));
    if operations.iter().any(is_spaced) {
        return refused(400, &[], &json!({ "labels": "The label can't contain spaces." }));
    }
    with_issue(&site, &key, |issue| {
        for operation in &operations {
            if let Some(label) = operation["add"].as_str() {
                issue.labels.insert(label.to_owned());
            }
            if let Some(label) = operation["remove"].as_str() {
                issue.labels.remove(label);
            }
        }
        no_content()
    })
}

async fn assign(From(site): Shared, Path(key): Path<String>, Json(body): Json<Value>) -> Response {
    let account = body["accountId"].as_str().map(str::to_owned);
    let is_assignable = account.as_ref().is_none_or(|account| site.lock().assignable.contains(account));
    if !is_assignable {
        return refused(400, &[], &json!({ "assignee": "User cannot be assigned issues." }));
    }
    with_issue(&site, &key, |issue| {
        issue.assignee = account;
        no_content()
    })
}

async fn transitions(From(site): Shared, Path(key): Path<String>, Query(query): Parameters) -> Response {
    let mut state = site.lock();
    let Some(issue) = state.find(&key).cloned() else { return not_found() };
    let is_asked = |id: &String| query.get("transitionId").is_none_or(|wanted| wanted == id);
    let with_fields = query.get("expand").is_some_and(|expand| expand.contains("transitions.fields"));
    let ways = state.transitions(&issue);
    let ways: Vec<_> = ways
        .iter()
        .filter(|way| is_asked(&way.id))
        .map(|way| State::transition_json(way, with_fields))
        .collect();
    Json(json!({ "transitions": ways })).into_response()
}

async fn transition(From(site): Shared, Path(key): Path<String>, Json(body): Json<Value>) -> Response {
    let mut state = site.lock();
    let Some(issue) = state.find(&key).cloned() else { return not_found() };
    let ways = state.transitions(&issue);
    let Some(way) = ways.into_iter().find(|way| body["transition"]["id"] == json!(way.id)) else {
        return refused(
            400,
            &["It seems that you have tried to perform an illegal workflow operation."],
            &json!({}),
        );
    };
    if let Some((id, name)) = way.fields.iter().flatten().next() {
        return refused(400, &[], &json!({ id: format!("{name} is required.") }));
    }
    if let Some(issue) = state.find(&key) {
        issue.status = way.to;
    }
    no_content()
}

async fn comments(From(site): Shared, Path(key): Path<String>, Query(query): Parameters) -> Response {
    let number = |name: &str, otherwise: usize| {
        query.get(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let (page_size, tells) = {
        let state = site.lock();
        (state.page_size, state.lists_properties)
    };
    let (from, size) = (number("startAt", 0), number("maxResults", 50).min(page_size));
    let is_expanded = tells && query.get("expand").is_some_and(|expand| expand == "properties");
    with_issue(&site, &key, |issue| {
        let newest_first = query.get("orderBy").is_some_and(|order| order == "-created");
        let mut all = issue.comments.clone();
        if newest_first {
            all.reverse();
        }
        let mut page: Vec<_> = all.into_iter().skip(from).take(size).collect();
        if !is_expanded {
            for comment in page.iter_mut().filter_map(Value::as_object_mut) {
                comment.remove("properties");
            }
        }
        let total = issue.comments.len();
        Json(json!({ "comments": page, "startAt": from, "maxResults": size, "total": total })).into_response()
    })
}

async fn comment_list(From(site): Shared, Query(query): Parameters, Json(body): Json<Value>) -> Response {
    let state = site.lock();
    let ids: Vec<_> = body["ids"].as_array().into_iter().flatten().map(ToString::to_string).collect();
    let is_asked = |comment: &&Value| ids.iter().any(|id| comment["id"] == json!(id));
    let mut found: Vec<_> =
        state.issues.iter().flat_map(|issue| &issue.comments).filter(is_asked).cloned().collect();
    if query.get("expand").is_none_or(|expand| expand != "properties") {
        found.iter_mut().for_each(|comment| comment["properties"] = Value::Null);
    }
    Json(json!({ "values": found, "isLast": true, "total": found.len() })).into_response()
}

/// Counts the characters of a document's texts.
fn text_chars(node: &Value) -> usize {
    let own = node["text"].as_str().map_or(0, |text| text.chars().count());
    own + node["content"].as_array().into_iter().flatten().map(text_chars).sum::<usize>()
}

async fn comment(From(site): Shared, Path(key): Path<String>, Json(body): Json<Value>) -> Response {
    if site.object_to(&body["body"]) {
        return refused(400, &[], &json!({ "comment": "INVALID_INPUT" }));
    }
    if text_chars(&body["body"]) > LONGEST_COMMENT {
        let says = "The entered text is too long. It exceeds the allowed limit of 32,767 characters.";
        return refused(400, &[], &json!({ "comment": says }));
    }
    let id: usize = site.lock().issues.iter().map(|issue| issue.comments.len()).sum();
    with_issue(&site, &key, |issue| {
        let comment = json!({
            "id": (10_000 + id).to_string(), "body": body["body"], "properties": body["properties"].as_array().cloned().unwrap_or_default(),
        });
        issue.comments.push(comment.clone());
        (StatusCode::CREATED, Json(comment)).into_response()
    })
}
