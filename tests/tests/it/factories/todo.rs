//! A factory over a TODO file.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use acf_core::issue::{Issue, IssueKey, Status};
use acf_core::tracker::{Change, Tracker as _};
use acf_trackers::todo::{LocalFile, Todo};
use tokio::runtime::Builder;

use super::desk::{Desk, Standing};
use super::{Item, backlog, drain, factory, sandbox};

struct TodoFile(PathBuf);

impl TodoFile {
    /// Does something with the tracker, under its lock where that is needed.
    fn with<T>(&self, act: impl AsyncFnOnce(Todo) -> T) -> T {
        let runtime = Builder::new_current_thread().enable_time().build().expect("make a runtime");
        runtime.block_on(act(Todo::new(Arc::new(LocalFile::new(&self.0)), None)))
    }

    fn issues(&self) -> Vec<Issue> {
        self.with(async |todo| {
            let mut issues = Vec::new();
            for n in 1..=backlog().len() {
                let key: IssueKey = format!("TODO-{n}").parse().expect("a key");
                issues.push(todo.issue(&key.into()).await.expect("read an issue"));
            }
            issues
        })
    }
}

impl Desk for TodoFile {
    fn settings(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn standings(&self) -> BTreeMap<String, Standing> {
        let text = fs::read_to_string(&self.0).expect("read the TODO file");
        let standing = |issue: Issue| {
            let heading = format!("item {} ", issue.key.slug());
            let block = text.split("\n- [").find(|block| block.contains(&heading)).unwrap_or_default();
            let notes = block.lines().filter_map(|line| line.trim().strip_prefix("- Note: "));
            let standing = Standing {
                status: issue.status.name().to_owned(),
                assignee: issue.assignee,
                labels: issue.labels,
                comments: notes.map(str::to_owned).collect(),
            };
            (issue.key.to_string(), standing)
        };
        self.issues().into_iter().map(standing).collect()
    }

    fn approve(&self, key: &str) {
        let key: IssueKey = key.parse().expect("a key");
        let approved = [Change::Transition(Status::PlanApproved)];
        self.with(async |todo| todo.apply(&key.into(), &approved).await.expect("approve a plan"));
    }

    fn pull_requests(&self, _: &str) -> Option<usize> {
        None
    }
}

fn written(n: usize, item: &Item) -> String {
    let labels: String = item.labels.iter().map(|label| format!(" [{label}]")).collect();
    let mut text = format!("- [ ] item TODO-{n} of the backlog{labels}\n");
    for line in item.description.lines().filter(|line| !line.is_empty()) {
        text += &format!("  {line}\n");
    }
    if let Some(account) = item.assignee {
        text += &format!("  - Assignee: {account}\n");
    }
    text
}

#[test]
fn a_factory_drains_a_todo_file() {
    let items = backlog();
    let todo: String = (1..).zip(&items).map(|(n, item)| written(n, item)).collect();
    let sandbox = sandbox().todo(&todo).build();
    let desk = TodoFile(sandbox.todo());
    let factory = factory(sandbox, &desk);
    let ends = (1..).zip(&items).map(|(n, item)| (format!("TODO-{n}"), item.end)).collect();
    drain(&desk, &factory, &ends);
}
