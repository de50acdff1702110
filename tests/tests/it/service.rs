//! The chassis of the stand-ins: what it records, spoils and objects to.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use acf_tests::service::{Chassis, Description, Fault, Rule};
use acf_trackers::http::{Client, Credentials, HttpError, Repetition, Request, Service};
use acf_worker::clock::SystemClock;
use axum::http::{HeaderMap, Method};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

/// A service that counts what it is told.
fn counter() -> (Router, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&count);
    let add = async move |_: Json<Value>| {
        let now = counting.fetch_add(1, Ordering::Relaxed) + 1;
        Json(json!({ "count": now, "words": "x".repeat(1000) }))
    };
    let router = Router::new().route("/count", post(add)).route("/items/{id}", get(async || "[]"));
    (router, count)
}

fn description() -> Description {
    let word = json!({ "type": "string", "maxLength": 3, "nullable": true });
    Description::of(json!({
        "paths": {
            "/count": { "post": { "requestBody": { "required": true, "content": { "application/json": {
                "schema": { "type": "object", "required": ["word"], "properties": {
                    "word": { "$ref": "#/components/schemas/word" }
                } }
            } } } } },
            "/items/{id}": { "get": { "parameters": [
                { "name": "id", "in": "path", "required": true, "schema": { "type": "integer" } },
                { "$ref": "#/components/parameters/size" }
            ] } }
        },
        "components": {
            "schemas": { "word": word },
            "parameters": { "size": { "name": "size", "in": "query", "schema": { "type": "integer" } } }
        }
    }))
}

/// Sends a request once; a lost connection is an error.
async fn send(service: &Chassis, request: Request) -> Result<(u16, String), HttpError> {
    let about = Service {
        name: "the service",
        base: service.url().parse().unwrap(),
        headers: HeaderMap::new(),
        credentials: Credentials::Bearer("a-token-for-tests".into()),
        timeout: None,
        repetition: Repetition { attempts: 1, ..Repetition::default() },
    };
    let client = Client::new(about, Arc::new(SystemClock::default())).unwrap();
    match client.send(&request).await {
        Ok(answer) => Ok((answer.status(), answer.text().into_owned())),
        Err(error) => error.refused_with().map(|status| (status, String::new())).ok_or(error),
    }
}

fn count() -> Request {
    Request::post(["count"]).json(json!({ "word": "hm" }))
}

#[tokio::test]
async fn requests_are_recorded_with_what_was_answered() {
    let service = Chassis::serve(counter().0, None).await;
    send(&service, count()).await.unwrap();
    send(&service, Request::get(["items", "a b"]).query("size", "1").query("size", "2")).await.unwrap();
    send(&service, Request::get(["nowhere"])).await.unwrap();
    let requests = service.recording().take();
    let lines: Vec<_> = requests.iter().map(|request| (request.line(), request.status)).collect();
    let wanted = [("POST /count", 200), ("GET /items/a%20b", 200), ("GET /nowhere", 404)];
    assert_eq!(lines, wanted.map(|(line, status)| (line.to_owned(), Some(status))));
    assert_eq!(requests[0].body, Some(json!({ "word": "hm" })));
    assert_eq!(requests[1].query, [("size".into(), "1".into()), ("size".into(), "2".into())]);
    assert!(service.recording().requests().is_empty());
}

#[tokio::test]
async fn faults_strike_the_requests_that_they_are_planned_for() {
    let (router, counted) = counter();
    let service = Chassis::serve(router, None).await;
    let faults = service.faults();
    faults.add(Rule::on(Method::POST, "/count").nth(2), Fault::status(503).header("retry-after", "3"));
    faults.add(Rule::path("/items").every(2), Fault::html());
    let limited =
        [send(&service, count()).await, send(&service, count()).await, send(&service, count()).await]
            .map(|sent| sent.err().map(|error| error.to_string()));
    assert!(matches!(&limited, [None, Some(told), None] if told.contains("503")), "{limited:?}");
    assert_eq!(counted.load(Ordering::Relaxed), 2);
    let mut items = Vec::new();
    for _ in 0..4 {
        items.push(send(&service, Request::get(["items", "1"])).await.unwrap().1);
    }
    let is_html: Vec<_> = items.iter().map(|body| body.starts_with("<!DOCTYPE html>")).collect();
    assert_eq!(is_html, [false, true, false, true]);
    assert_eq!(faults.struck(), 3);
}

#[tokio::test]
async fn a_connection_is_cut_before_or_after_the_request_is_carried_out() {
    let (router, counted) = counter();
    let service = Chassis::serve(router, None).await;
    let carried_out = async |fault| {
        service.faults().clear();
        service.faults().add(Rule::all(), fault);
        let before = counted.load(Ordering::Relaxed);
        let is_answered = send(&service, count()).await.is_ok();
        (is_answered, counted.load(Ordering::Relaxed) - before)
    };
    assert_eq!(carried_out(Fault::Cut).await, (false, 0));
    assert_eq!(carried_out(Fault::CutAfter).await, (false, 1));
    assert_eq!(carried_out(Fault::CutBody).await, (false, 1));
    assert_eq!(carried_out(Fault::SlowBody(Duration::from_millis(20))).await, (true, 1));
    assert_eq!(carried_out(Fault::html()).await, (true, 0));
    assert_eq!(carried_out(Fault::html().carried_out()).await, (true, 1));
}

#[tokio::test]
async fn requests_that_the_description_forbids_are_told_one_by_one() {
    let service = Chassis::serve(counter().0, Some(Arc::new(description()))).await;
    let tell = async |request| {
        send(&service, request).await.unwrap();
        service.recording().take_violations().join("\n")
    };
    let count = || Request::post(["count"]);
    assert_eq!(tell(count().json(json!({ "word": "hm" }))).await, "");
    assert_eq!(tell(count().json(json!({ "word": null }))).await, "");
    assert!(tell(count().json(json!({ "word": "long" }))).await.contains("POST /count: body/word: "));
    assert!(tell(count().json(json!({ "wrod": "hm" }))).await.contains("there is no field `wrod`"));
    assert!(tell(count()).await.contains("the body is missing"));
    assert!(tell(Request::put(["count"])).await.contains("there is no such operation"));

    let item = |id| Request::get(["items", id]);
    assert_eq!(tell(item("1").query("size", "2")).await, "");
    assert!(tell(item("one")).await.contains("parameter `id`: "));
    assert!(tell(item("1").query("size", "all")).await.contains("parameter `size`: "));
    assert!(tell(item("1").query("sise", "2")).await.contains("there is no query parameter `sise`"));
}

#[tokio::test]
#[should_panic(
    expected = "requests that the vendor's description forbids:\nPUT /count: there is no such operation"
)]
async fn a_test_whose_requests_are_forbidden_fails() {
    let service = Chassis::serve(counter().0, Some(Arc::new(description()))).await;
    send(&service, Request::put(["count"])).await.unwrap();
}

#[test]
fn the_vendors_own_descriptions_are_read() {
    let calls = [
        (Description::github(""), "/repos/{owner}/{repo}/issues"),
        (Description::jira(""), "/rest/api/3/search/jql"),
    ];
    for (description, path) in calls {
        if let Some(description) = description {
            assert!(description.describes("post", path), "{path}");
        }
    }
}
