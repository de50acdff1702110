//! The contract of every tracker, kept by each of them.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use acf_core::issue::{IssueKey, Status};
use acf_core::tracker::Tracker;
use acf_tests::contract::tracker::{Seed, World};
use acf_tests::tracker_contract;
use acf_trackers::todo::{LocalFile, Todo};
use async_trait::async_trait;

/// A TODO file as people keep one: with words around the issues.
struct TodoFile {
    path: PathBuf,
    todo: Todo,
    _directory: tempfile::TempDir,
}

impl TodoFile {
    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.path).unwrap().lines().map(str::to_owned).collect()
    }
}

#[async_trait]
impl World for TodoFile {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("TODO.md");
        fs::write(&path, "# To do\n\nWhat is to be done:\n").unwrap();
        let todo = Todo::new(Arc::new(LocalFile::new(&path)), None);
        Self { path, todo, _directory: directory }
    }

    fn tracker(&self) -> &dyn Tracker {
        &self.todo
    }

    fn other_account(&self) -> String {
        "ada".to_owned()
    }

    fn unknown_key(&self) -> IssueKey {
        "TODO-1000".parse().unwrap()
    }

    async fn seed(&self, issue: Seed) -> IssueKey {
        let (mark, review) = match issue.status {
            Status::ToDo => (" ", ""),
            Status::Planning => ("~", ""),
            Status::AwaitingPlanReview => ("?", ""),
            Status::PlanApproved => ("p", ""),
            Status::InProgress => (">", ""),
            Status::InReview => (">", " [in-review]"),
            Status::Done => ("x", ""),
            Status::Other(name) => panic!("a TODO file has no status {name}"),
        };
        let labels: String = issue.labels.iter().map(|label| format!(" [{label}]")).collect();
        let mut lines = self.lines();
        lines.push(format!("- [{mark}] {}{labels}{review}", issue.summary));
        lines.extend(issue.assignee.map(|account| format!("  - Assignee: {account}")));
        lines.extend(issue.description.lines().map(|line| format!("  {line}")));
        let is_issue = |line: &&String| line.starts_with("- [");
        let number = lines.iter().filter(is_issue).count();
        fs::write(&self.path, lines.join("\n") + "\n\n").unwrap();
        format!("TODO-{number}").parse().unwrap()
    }

    async fn comments(&self, key: &IssueKey) -> Vec<String> {
        let number: usize = key.slug().trim_start_matches("TODO-").parse().unwrap();
        let lines = self.lines();
        let mut starts = lines.iter().enumerate().filter(|(_, line)| line.starts_with("- ["));
        let (start, _) = starts.nth(number - 1).unwrap();
        let end = starts.next().map_or(lines.len(), |(end, _)| end);
        let notes = lines[start..end].iter().filter_map(|line| line.strip_prefix("  - Note: "));
        notes.map(str::to_owned).collect()
    }
}

tracker_contract!(TodoFile);
