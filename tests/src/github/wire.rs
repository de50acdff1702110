//! How the service writes what it holds.

use serde_json::{Value, json};

use super::REPOSITORY;
use super::state::{Item, Label, State};

pub(super) fn issue(state: &State, number: u64, item: &Item, base: &str) -> Value {
    let labels: Vec<_> = item.labels.iter().filter_map(|name| state.label(name)).map(label).collect();
    let users: Vec<_> =
        item.assignees.iter().map(|login| json!({ "login": login, "type": "User" })).collect();
    let open = item.blocked_by.iter().filter(|blocker| is_open(state, **blocker)).count();
    let mut written = json!({
        "number": number,
        "title": item.title,
        "body": if item.body.is_empty() { Value::Null } else { json!(item.body) },
        "state": if item.is_open { "open" } else { "closed" },
        "labels": labels,
        "assignee": users.first(),
        "assignees": users,
        "html_url": format!("https://github.com/{REPOSITORY}/issues/{number}"),
        "repository_url": format!("{base}/repos/{REPOSITORY}"),
        "comments": item.comments.len(),
        "issue_dependencies_summary": {
            "blocked_by": open, "total_blocked_by": item.blocked_by.len(), "blocking": 0, "total_blocking": 0
        },
    });
    if item.pull.is_some() {
        written["pull_request"] = json!({ "url": format!("{base}/repos/{REPOSITORY}/pulls/{number}") });
    }
    written
}

fn is_open(state: &State, number: u64) -> bool {
    state.items.get(&number).is_some_and(|item| item.is_open)
}

pub(super) fn label(label: &Label) -> Value {
    json!({ "name": label.name, "color": label.color, "description": label.description })
}

pub(super) fn pull(number: u64, item: &Item) -> Value {
    let branches = item.pull.as_ref();
    json!({
        "number": number,
        "title": item.title,
        "body": item.body,
        "state": if item.is_open { "open" } else { "closed" },
        "html_url": format!("https://github.com/{REPOSITORY}/pull/{number}"),
        "head": { "ref": branches.map(|pull| &pull.head) },
        "base": { "ref": branches.map(|pull| &pull.base) },
    })
}
