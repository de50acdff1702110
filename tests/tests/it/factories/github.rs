//! A factory over GitHub: issues and pull requests there, the repository over HTTP with the same token.
//!
//! The stand-in knows what a factory asks of one repository, and keeps it. What each call may look like is
//! judged elsewhere, by GitHub's own description.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acf_tests::canary::Canaries;
use acf_tests::factory::Factory;
use acf_tests::git_http::GitHttp;
use acf_tests::sandbox::Sandbox;
use acf_tests::service::{Chassis, Fault, Rule};
use axum::Router;
use axum::extract::{Json, Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, patch};
use serde_json::{Value, json};

use super::desk::{Desk, Standing};
use super::serving::Serving;
use super::{Item, backlog, drain, factory, print_calls, sandbox};

const TOKEN: &str = "ghp_canaryOfTheFactory1a2b3c4d";
const ACCOUNT: &str = "acf-bot";
/// The labels that stand for statuses, with acf's words for them.
const STATUSES: [(&str, &str); 5] = [
    ("in-review", "In Review"),
    ("in-progress", "In Progress"),
    ("in-planning", "Planning"),
    ("plan-approved", "Plan Approved"),
    ("awaiting-plan-review", "Awaiting Plan Review"),
];

/// An issue or, with a branch, a pull request.
#[derive(Clone, Debug, Default)]
struct Entry {
    title: String,
    body: String,
    is_closed: bool,
    labels: Vec<String>,
    assignees: Vec<String>,
    comments: Vec<String>,
    branch: Option<String>,
}

/// A repository on GitHub.
#[derive(Debug, Default)]
struct Repository {
    entries: Mutex<BTreeMap<u64, Entry>>,
    labels: Mutex<Vec<String>>,
}

impl Repository {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, entry: Entry) -> u64 {
        let mut entries = self.entries();
        let number = entries.len() as u64 + 1;
        entries.insert(number, entry);
        number
    }

    fn told(&self, number: u64) -> Option<Value> {
        let entry = self.entries().get(&number)?.clone();
        let mut told = json!({
            "number": number, "title": entry.title, "body": entry.body,
            "state": if entry.is_closed { "closed" } else { "open" },
            "labels": entry.labels.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            "assignees": entry.assignees.iter().map(|login| json!({"login": login})).collect::<Vec<_>>(),
            "html_url": format!("https://github.example/acme/shop/issues/{number}"),
            "comments": entry.comments.len(),
        });
        if entry.branch.is_some() {
            told["pull_request"] = json!({});
        }
        Some(told)
    }
}

type Shared = State<Arc<Repository>>;
type Parameters = Query<BTreeMap<String, String>>;

fn router(repository: Arc<Repository>) -> Router {
    Router::new()
        .route("/user", get(async || Json(json!({"login": ACCOUNT}))))
        .route("/repos/acme/shop/assignees/{login}", get(async || StatusCode::NO_CONTENT))
        .route("/repos/acme/shop/labels/{name}", get(label))
        .route("/repos/acme/shop/labels", axum::routing::post(create_label))
        .route("/repos/acme/shop/issues", get(list))
        .route("/repos/acme/shop/issues/{number}", patch(change).get(issue))
        .route("/repos/acme/shop/issues/{number}/comments", get(comments).post(comment))
        .route("/repos/acme/shop/pulls", get(pulls).post(open))
        .with_state(repository)
}

/// Answers with an ETag, or 304 where the client has that answer.
fn unless_known(headers: &HeaderMap, body: &Value) -> Response {
    let text = body.to_string();
    let sum = text.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let etag = format!("\"{sum:x}-{}\"", text.len());
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    ([(header::ETAG, etag), (header::CONTENT_TYPE, "application/json".to_owned())], text).into_response()
}

async fn label(State(repository): Shared, Path(name): Path<String>) -> StatusCode {
    let labels = repository.labels.lock().unwrap_or_else(PoisonError::into_inner);
    if labels.contains(&name) { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

async fn create_label(State(repository): Shared, Json(label): Json<Value>) -> Response {
    let mut labels = repository.labels.lock().unwrap_or_else(PoisonError::into_inner);
    let name = label["name"].as_str().unwrap_or_default().to_owned();
    if labels.contains(&name) {
        let error = json!({"message": "Validation Failed", "errors": [{"code": "already_exists"}]});
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(error)).into_response();
    }
    labels.push(name);
    (StatusCode::CREATED, Json(label)).into_response()
}

async fn list(State(repository): Shared, Query(query): Parameters, headers: HeaderMap) -> Response {
    let wants_free = query.get("assignee").is_some_and(|assignee| assignee == "none");
    let wanted: Vec<_> = {
        let entries = repository.entries();
        let is_wanted = |entry: &Entry| !entry.is_closed && (!wants_free || entry.assignees.is_empty());
        entries.iter().filter(|(_, entry)| is_wanted(entry)).map(|(number, _)| *number).collect()
    };
    unless_known(&headers, &wanted.into_iter().map(|number| repository.told(number)).collect())
}

async fn issue(State(repository): Shared, Path(number): Path<u64>, headers: HeaderMap) -> Response {
    match repository.told(number) {
        Some(told) => unless_known(&headers, &told),
        None => (StatusCode::NOT_FOUND, Json(json!({"message": "Not Found"}))).into_response(),
    }
}

async fn change(State(repository): Shared, Path(number): Path<u64>, Json(patch): Json<Value>) -> Response {
    let words = |value: &Value| {
        let words = value.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned);
        Some(words.collect::<Vec<_>>())
    };
    if let Some(entry) = repository.entries().get_mut(&number) {
        entry.labels = words(&patch["labels"]).unwrap_or_else(|| entry.labels.clone());
        entry.assignees = words(&patch["assignees"]).unwrap_or_else(|| entry.assignees.clone());
        entry.is_closed = patch["state"].as_str().map_or(entry.is_closed, |state| state == "closed");
    }
    Json(repository.told(number)).into_response()
}

async fn comments(State(repository): Shared, Path(number): Path<u64>) -> Json<Value> {
    let entries = repository.entries();
    let comments = entries.get(&number).map(|entry| entry.comments.clone()).unwrap_or_default();
    Json(comments.iter().map(|body| json!({"body": body})).collect())
}

async fn comment(State(repository): Shared, Path(number): Path<u64>, Json(comment): Json<Value>) -> Response {
    let body = comment["body"].as_str().unwrap_or_default().to_owned();
    match repository.entries().get_mut(&number) {
        Some(entry) => entry.comments.push(body),
        None => return StatusCode::NOT_FOUND.into_response(),
    }
    (StatusCode::CREATED, Json(comment)).into_response()
}

fn told_pull(number: u64) -> Value {
    json!({"number": number, "html_url": format!("https://github.example/acme/shop/pull/{number}")})
}

async fn pulls(State(repository): Shared, Query(query): Parameters) -> Json<Value> {
    let branch = query.get("head").and_then(|head| head.strip_prefix("acme:")).unwrap_or_default();
    let entries = repository.entries();
    let of_branch =
        entries.iter().filter(|(_, entry)| entry.branch.as_deref() == Some(branch) && !entry.is_closed);
    Json(of_branch.map(|(number, _)| told_pull(*number)).collect())
}

async fn open(State(repository): Shared, Json(new): Json<Value>) -> Response {
    let text = |name: &str| new[name].as_str().unwrap_or_default().to_owned();
    let number = repository.add(Entry {
        title: text("title"),
        body: text("body"),
        branch: Some(text("head")),
        ..Entry::default()
    });
    (StatusCode::CREATED, Json(told_pull(number))).into_response()
}

/// GitHub with that repository, being served.
struct GitHub {
    repository: Arc<Repository>,
    serving: Serving<Arc<Chassis>>,
    git: GitHttp,
}

impl GitHub {
    /// Puts the issues into a repository, whose files are those of the sandbox.
    fn serve(items: &[Item], sandbox: &Sandbox) -> Self {
        let repository = Arc::new(Repository::default());
        for item in items {
            repository.add(Entry {
                title: format!("an item of the backlog with {} labels", item.labels.len()),
                body: item.description.to_owned(),
                labels: item.labels.iter().map(|&label| label.to_owned()).collect(),
                assignees: item.assignee.iter().map(|&login| login.to_owned()).collect(),
                ..Entry::default()
            });
        }
        let routes = router(Arc::clone(&repository));
        let serving = Serving::begin(async move || Arc::new(Chassis::serve(routes, None).await));
        std::fs::create_dir(sandbox.root().join("acme")).expect("make a directory for the owner");
        symlink(sandbox.remote(), sandbox.root().join("acme/shop.git")).expect("link to the repository");
        let git = GitHttp::start(sandbox.root(), "x-access-token", TOKEN);
        Self { repository, serving, git }
    }

    fn chassis(&self) -> &Chassis {
        self.serving.service()
    }

    /// Counts what was asked, numbers left out.
    fn calls(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for request in self.chassis().recording().requests() {
            let path = request.path.trim_start_matches("/repos/acme/shop");
            let words = path.split('/').map(|word| if word.parse::<u64>().is_ok() { "N" } else { word });
            let status = request.status.map_or("cut".to_owned(), |status| status.to_string());
            let call = format!("{} {} {status}", request.method, words.collect::<Vec<_>>().join("/"));
            *calls.entry(call).or_default() += 1;
        }
        calls
    }
}

impl Desk for GitHub {
    fn settings(&self) -> Vec<(String, String)> {
        let settings = [
            ("TASK_MANAGER", "github".to_owned()),
            ("PROJECT", "acme/shop".to_owned()),
            ("GH_TOKEN", TOKEN.to_owned()),
            ("GITHUB_API_URL", self.chassis().url()),
            ("GIT_REPO_URL", self.git.url("acme/shop.git")),
        ];
        settings.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn standings(&self) -> BTreeMap<String, Standing> {
        let entries = self.repository.entries();
        let issues = entries.iter().filter(|(_, entry)| entry.branch.is_none());
        let standing = |(number, entry): (&u64, &Entry)| {
            let has = |label: &str| entry.labels.iter().any(|known| known == label);
            let by_label =
                STATUSES.iter().find(|(label, _)| has(label)).map_or("To Do", |(_, status)| status);
            let is_status = |label: &&String| STATUSES.iter().any(|(known, _)| known == label);
            let standing = Standing {
                status: if entry.is_closed { "Done" } else { by_label }.to_owned(),
                assignee: entry.assignees.first().cloned(),
                labels: entry.labels.iter().filter(|label| !is_status(label)).cloned().collect(),
                comments: entry.comments.clone(),
            };
            (format!("#{number}"), standing)
        };
        issues.map(standing).collect()
    }

    fn approve(&self, key: &str) {
        let number: u64 = key.trim_start_matches('#').parse().expect("a number");
        if let Some(entry) = self.repository.entries().get_mut(&number) {
            // As a person does it, who leaves the other label where it is.
            entry.labels.push("plan-approved".to_owned());
        }
    }

    fn pull_requests(&self, branch: &str) -> Option<usize> {
        let entries = self.repository.entries();
        Some(entries.values().filter(|entry| entry.branch.as_deref() == Some(branch)).count())
    }
}

#[test]
fn a_factory_drains_issues_on_github_while_calls_fail_and_answers_are_lost() {
    let items = backlog();
    let sandbox = sandbox().build();
    let github = GitHub::serve(&items, &sandbox);
    let factory: Factory = factory(sandbox, &github);
    let faults = github.chassis().faults();
    faults.add(Rule::all().every(19), Fault::status(502));
    faults.add(Rule::all().every(23), Fault::Cut);
    faults.add(Rule::on(Method::POST, "/comments").every(5), Fault::CutAfter);
    faults.add(Rule::on(Method::POST, "/pulls").every(3), Fault::CutAfter);
    faults.add(Rule::on(Method::PATCH, "/issues").every(11), Fault::CutAfter);
    faults.add(Rule::path("/issues").nth(40), Fault::rate_limited(1));
    faults.add(Rule::path("/issues").every(37), Fault::SlowBody(Duration::from_millis(50)));
    faults.add(Rule::path("/issues").every(53), Fault::html());
    let ends = (1..).zip(&items).map(|(n, item)| (format!("#{n}"), item.end)).collect();
    let canaries = Canaries::new(&[TOKEN]);
    let watch = canaries.watch_command_lines();

    let logs = drain(&github, &factory, &ends);

    assert!(faults.struck() > 20, "hardly anything went wrong: {}", faults.struck());
    assert_eq!(watch.ended(), [""; 0]);
    assert_eq!(canaries.in_text(logs.as_bytes()), [""; 0]);
    assert_eq!(canaries.on_disk(factory.sandbox()), [""; 0]);
    print_calls("GitHub", &github.calls(), items.len() - 3);
}
