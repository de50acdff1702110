//! The tracker `todo`: a Markdown file whose check boxes at top level are the issues.
//!
//! This module owns the format and how an issue is changed in it. Where the file is, and how several
//! workers change it at once, is a [`TodoFile`]'s: [`LocalFile`] here, a file in a git repository elsewhere.
//!
//! ```text
//! - [ ] Say hello [needs-plan]        TODO-1: To Do, label needs-plan
//!   In English.                       its description
//! - [>] Say goodbye                   TODO-2: In Progress
//!   - Assignee: acf
//!   - Note: any text,                 a comment
//!     over any lines
//! - [x] Be quiet                      TODO-3: Done
//! ```
//! Marks: `[ ]` To Do, `[~]` Planning, `[?]` Awaiting Plan Review, `[p]` Plan Approved, `[>]` In Progress
//! (In Review with the label `in-review`), `[x]` Done. An issue's key is its place among the check boxes,
//! done ones included.

mod block;
mod document;
mod file;
mod headline;
mod labels;
mod local_file;
mod note;
#[cfg(test)]
mod properties;

use std::collections::HashMap;
use std::sync::Arc;

use acf_core::eligibility::starts;
use acf_core::issue::{Issue, IssueRef, Stage, Status};
use acf_core::tracker::{Applied, Change, Condition, Tracker, TrackerError};
use async_trait::async_trait;

use self::document::Document;
pub use self::file::{Edit, TodoFile};
pub use self::local_file::LocalFile;

/// The account's name where none is configured.
const DEFAULT_ASSIGNEE: &str = "acf";

/// A TODO file as a tracker.
#[derive(Clone)]
pub struct Todo {
    file: Arc<dyn TodoFile>,
    assignee: Option<String>,
}

impl Todo {
    /// Makes a tracker of that file, which acts as `assignee`.
    pub fn new(file: Arc<dyn TodoFile>, assignee: Option<String>) -> Self {
        Self { file, assignee }
    }

    /// Returns the text of an issue's line as it is written: labels included, mark left out.
    ///
    /// # Errors
    /// [`TrackerError::NotFound`] when there is no such issue.
    pub async fn line_as_written(&self, issue: &IssueRef) -> Result<String, TrackerError> {
        let contents = self.file.read().await?;
        let document = self.parse(&contents)?;
        let place = self.find(&document, issue)?;
        Ok(document.line_as_written(place).to_owned())
    }

    /// Assigns the first issue that `eligible` holds for to `account` and moves it to the status of a
    /// stage at work, in one step: of several callers, each gets another issue.
    ///
    /// Returns the issue as it was found, with its line as written.
    ///
    /// # Errors
    /// [`TrackerError::Impossible`] for an account that a TODO file cannot hold, or a file that is none.
    pub async fn claim_next(
        &self,
        stage: Stage,
        account: &str,
        eligible: Condition<'_>,
    ) -> Result<Option<(Issue, String)>, TrackerError> {
        let changes = [Change::Assign(account.to_owned()), Change::Transition(stage.working_status())];
        let mut claimed = None;
        let message = format!("claim the next issue for {stage}");
        let mut edit = |contents: &[u8]| {
            claimed = None;
            let document = self.parse(contents)?;
            let alike = self.at_work(&document);
            let mut issues = document.places().map(|place| (place, read(&document, place, &alike)));
            let Some((place, issue)) = issues.find(|(_, issue)| eligible(issue)) else { return Ok(None) };
            claimed = Some((issue, document.line_as_written(place).to_owned()));
            document.edited(place, &changes)
        };
        self.file.update(&message, &mut edit).await?;
        Ok(claimed)
    }

    fn parse<'a>(&self, contents: &'a [u8]) -> Result<Document<'a>, TrackerError> {
        Document::parse(contents).map_err(|error| {
            TrackerError::Unreadable(format!("cannot read TODO file `{}`: {error}", self.file.name()))
        })
    }

    fn find(&self, document: &Document<'_>, issue: &IssueRef) -> Result<usize, TrackerError> {
        let account = self.account();
        let at_work = || document.find_at_work(issue.identity.as_deref()?, account);
        let found = match document.find(issue) {
            // Another one of the same summary, inserted above, has its place and number now.
            Some(place) if is_untouched(&document.issue(place)) => Some(at_work().unwrap_or(place)),
            Some(place) => Some(place),
            None => at_work().or_else(|| document.find_reworded(issue, account)),
        };
        found.ok_or_else(|| not_found(issue))
    }

    fn account(&self) -> &str {
        self.assignee.as_deref().unwrap_or(DEFAULT_ASSIGNEE)
    }

    /// Returns the items that are worked on, by their summaries. Of items of the same summary only one is worked
    /// on at a time: nothing else would tell them apart once they have moved.
    fn at_work(&self, document: &Document<'_>) -> HashMap<String, String> {
        let key = |place| (document.issue(place).summary, document.issue(place).key.to_string());
        document.at_work(self.account()).map(key).collect()
    }

    async fn issues(&self, wanted: impl Fn(&Issue) -> bool) -> Result<Vec<Issue>, TrackerError> {
        let contents = self.file.read().await?;
        let document = self.parse(&contents)?;
        let at_work = self.at_work(&document);
        Ok(document.places().map(|place| read(&document, place, &at_work)).filter(wanted).collect())
    }
}

#[async_trait]
impl Tracker for Todo {
    fn kind(&self) -> &'static str {
        "todo"
    }

    fn place(&self) -> Option<String> {
        Some(document::short_hash(&self.file.place()))
    }

    async fn whoami(&self) -> Result<String, TrackerError> {
        Ok(self.assignee.clone().unwrap_or_else(|| DEFAULT_ASSIGNEE.to_owned()))
    }

    async fn candidates(&self, stage: Stage) -> Result<Vec<Issue>, TrackerError> {
        self.issues(|issue| issue.assignee.is_none() && starts(issue, stage)).await
    }

    async fn list(&self) -> Result<Vec<Issue>, TrackerError> {
        self.issues(|issue| issue.status != Status::Done).await
    }

    async fn issue(&self, issue: &IssueRef) -> Result<Issue, TrackerError> {
        let contents = self.file.read().await?;
        let document = self.parse(&contents)?;
        let place = self.find(&document, issue)?;
        Ok(read(&document, place, &self.at_work(&document)))
    }

    async fn apply_if(
        &self,
        issue: &IssueRef,
        condition: Condition<'_>,
        changes: &[Change],
    ) -> Result<Applied, TrackerError> {
        let mut applied = None;
        let mut edit = |contents: &[u8]| {
            let document = self.parse(contents)?;
            let place = self.find(&document, issue)?;
            let found = Box::new(read(&document, place, &self.at_work(&document)));
            if !condition(&found) {
                applied = Some(Applied::No(found));
                return Ok(None);
            }
            let edited = document.edited(place, changes)?;
            applied = Some(Applied::Yes(found));
            Ok(edited)
        };
        self.file.update(&message(issue, changes), &mut edit).await?;
        Ok(applied.expect("an update that succeeds has called its edit"))
    }
}

/// Reads an item; one of the same summary that is worked on has to be done first.
fn read(document: &Document<'_>, place: usize, at_work: &HashMap<String, String>) -> Issue {
    let mut issue = document.issue(place);
    if is_untouched(&issue) {
        issue.blocked_by.extend(at_work.get(&issue.summary).cloned());
    }
    issue
}

/// Tells whether nobody works on an issue or has finished it.
fn is_untouched(issue: &Issue) -> bool {
    let waits = matches!(issue.status, Status::ToDo | Status::AwaitingPlanReview | Status::PlanApproved);
    waits && issue.assignee.is_none()
}

fn not_found(issue: &IssueRef) -> TrackerError {
    TrackerError::NotFound(issue.to_string())
}

/// Says in a line what is changed: `TODO-3: In Progress`.
fn message(issue: &IssueRef, changes: &[Change]) -> String {
    let words = changes.iter().map(|change| match change {
        Change::Transition(status) => status.name().to_owned(),
        Change::Assign(account) => format!("assign to {account}"),
        Change::Unassign => "unassign".to_owned(),
        Change::UnassignFrom(account) => format!("unassign {account}"),
        Change::AddLabel(label) => format!("add label {label}"),
        Change::RemoveLabel(label) => format!("remove label {label}"),
        Change::Comment { .. } => "comment".to_owned(),
    });
    // A new status is the news; what goes with it is not worth a line's room.
    let transition = changes.iter().position(|change| matches!(change, Change::Transition(_)));
    let words: Vec<_> = match transition {
        Some(at) => words.skip(at).take(1).collect(),
        None => words.collect(),
    };
    format!("{issue}: {}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tracker(contents: impl AsRef<[u8]>) -> (tempfile::TempDir, Todo) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("TODO.md");
        fs::write(&path, contents).unwrap();
        (directory, Todo::new(Arc::new(LocalFile::new(path)), None))
    }

    fn contents(directory: &tempfile::TempDir) -> String {
        fs::read_to_string(directory.path().join("TODO.md")).unwrap()
    }

    fn by_key(key: &str) -> IssueRef {
        IssueRef { key: key.parse().unwrap(), identity: None }
    }

    #[tokio::test]
    async fn the_account_is_acf_unless_configured() {
        let (_directory, todo) = tracker("");
        assert_eq!(todo.whoami().await.unwrap(), "acf");
        let named = Todo::new(Arc::new(LocalFile::new("TODO.md")), Some("ada".into()));
        assert_eq!(named.whoami().await.unwrap(), "ada");
    }

    #[tokio::test]
    async fn an_item_that_is_reworded_while_it_is_worked_on_is_still_given_back() {
        let (directory, todo) = tracker("- [ ] a\n- [ ] b\n");
        let seen = todo.issue(&by_key("TODO-2")).await.unwrap().reference();
        todo.apply(&seen, &[Change::Transition(Status::InProgress), Change::Assign("acf".into())])
            .await
            .unwrap();
        let path = directory.path().join("TODO.md");
        fs::write(&path, contents(&directory).replace("[>] b", "[>] b, but better")).unwrap();
        todo.apply(&seen, &[Change::Transition(Status::Done)]).await.unwrap();
        assert!(contents(&directory).contains("- [x] b, but better\n"));

        // One that nobody works on, or somebody else does, is not meant.
        assert!(matches!(todo.issue(&seen).await, Err(TrackerError::NotFound(_))));
        fs::write(&path, "- [ ] a\n- [>] c\n  - Assignee: ada\n").unwrap();
        assert!(matches!(todo.issue(&seen).await, Err(TrackerError::NotFound(_))));
    }

    #[tokio::test]
    async fn several_changes_are_one_edit() {
        let (directory, todo) = tracker("- [ ] a\n- [ ] b [x]\n");
        let changes = [
            Change::Comment { marker: Some("m".into()), body: "Said.".into() },
            Change::Transition(Status::InReview),
            Change::Assign("ada".into()),
            Change::RemoveLabel("x".into()),
        ];
        todo.apply(&by_key("TODO-2"), &changes).await.unwrap();
        insta::assert_snapshot!(contents(&directory), @r"
        - [ ] a
        - [>] b [in-review]
          - Assignee: ada
          - Note: Said. <!-- m -->
        ");
    }

    #[tokio::test]
    async fn one_impossible_change_among_several_changes_nothing() {
        let (directory, todo) = tracker("- [ ] a\n");
        let changes = [Change::Transition(Status::Done), Change::AddLabel("a b".into())];
        let refused = todo.apply(&by_key("TODO-1"), &changes).await;
        assert!(matches!(refused, Err(TrackerError::Impossible(_))));
        assert_eq!(contents(&directory), "- [ ] a\n");
    }

    #[tokio::test]
    async fn claiming_the_next_issue_takes_the_first_eligible_one() {
        let (directory, todo) = tracker("- [ ] a\n- [ ] b [go] now\n- [ ] c [go]\n");
        let eligible = |issue: &Issue| issue.status == Status::ToDo && issue.has_label("go");
        let next = async || todo.claim_next(Stage::Planning, "ada", &eligible).await.unwrap();
        let (issue, line) = next().await.unwrap();
        assert_eq!(
            (issue.key.as_str(), issue.summary.as_str(), line.as_str()),
            ("TODO-2", "b now", "b [go] now")
        );
        assert_eq!(issue.status, Status::ToDo);
        assert_eq!(next().await.unwrap().0.key.as_str(), "TODO-3");
        assert_eq!(next().await, None);
        assert_eq!(
            contents(&directory),
            "- [ ] a\n- [~] b [go] now\n  - Assignee: ada\n- [~] c [go]\n  - Assignee: ada\n"
        );
    }

    /// A file whose first edit is always lost to another writer's, as in a repository.
    struct Raced {
        before: &'static str,
        now: &'static str,
        written: std::sync::Mutex<Option<Vec<u8>>>,
    }

    impl Raced {
        fn new(before: &'static str, now: &'static str) -> Arc<Self> {
            Arc::new(Self { before, now, written: std::sync::Mutex::default() })
        }

        fn written(&self) -> Option<String> {
            let written = self.written.lock().unwrap().take();
            written.map(|bytes| String::from_utf8(bytes).unwrap())
        }
    }

    #[async_trait]
    impl TodoFile for Raced {
        fn name(&self) -> String {
            "raced".to_owned()
        }

        fn place(&self) -> String {
            self.name()
        }

        async fn read(&self) -> Result<Vec<u8>, TrackerError> {
            Ok(self.before.into())
        }

        async fn update(&self, _message: &str, edit: Edit<'_>) -> Result<(), TrackerError> {
            edit(self.before.as_bytes())?;
            let written = edit(self.now.as_bytes())?;
            *self.written.lock().unwrap() = written;
            Ok(())
        }
    }

    #[tokio::test]
    async fn after_a_lost_race_only_what_the_file_holds_now_counts() {
        let now = "- [ ] new\n- [>] a\n";
        let file = Raced::new("- [ ] a\n", now);
        let todo = Todo::new(file.clone(), None);
        let is_to_do = |issue: &Issue| issue.summary == "a" && issue.status == Status::ToDo;

        let reference = todo.list().await.unwrap()[0].reference();
        let done = [Change::Transition(Status::Done)];
        let Applied::No(found) = todo.apply_if(&reference, &is_to_do, &done).await.unwrap() else {
            panic!("the condition held")
        };
        assert_eq!((found.key.as_str(), found.status), ("TODO-2", Status::InProgress));
        assert_eq!(file.written(), None);

        assert_eq!(todo.claim_next(Stage::Implementation, "ada", &is_to_do).await.unwrap(), None);
        assert_eq!(file.written(), None);

        todo.apply(&reference, &done).await.unwrap();
        assert_eq!(file.written().unwrap(), "- [ ] new\n- [x] a\n");
    }

    #[test]
    fn threads_that_claim_at_once_get_different_issues() {
        let issues: String = (0..40).map(|n| format!("- [ ] issue {n}\n")).collect();
        let (directory, _) = tracker(issues);
        let path = directory.path().join("TODO.md");
        let claim_all = &|account: String| {
            let todo = Todo::new(Arc::new(LocalFile::new(&path)), None);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let eligible = |issue: &Issue| issue.status == Status::ToDo && issue.assignee.is_none();
            let mut keys = Vec::new();
            let next = || runtime.block_on(todo.claim_next(Stage::Implementation, &account, &eligible));
            while let Some((issue, _)) = next().unwrap() {
                keys.push(issue.key);
            }
            keys
        };
        let mut claimed = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || claim_all(format!("w{n}")))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(claimed.len(), 40);
        claimed.sort();
        claimed.dedup();
        assert_eq!(claimed.len(), 40);
        assert_eq!(contents(&directory).matches("- Assignee: w").count(), 40);
    }

    #[tokio::test]
    async fn a_line_is_told_as_it_is_written() {
        let (_directory, todo) = tracker("- [x] b  [go] now [x](y) \n");
        assert_eq!(todo.line_as_written(&by_key("TODO-1")).await.unwrap(), "b  [go] now [x](y)");
        assert!(matches!(todo.line_as_written(&by_key("TODO-2")).await, Err(TrackerError::NotFound(_))));
    }

    #[tokio::test]
    async fn a_file_that_is_no_text_is_named() {
        let (directory, todo) = tracker(b"\xff\xfe-\0");
        let error = todo.list().await.unwrap_err().to_string();
        let error = error.replace(&directory.path().display().to_string(), "DIR");
        assert_eq!(error, "cannot read TODO file `DIR/TODO.md`: it is not UTF-8: line 1 has an invalid byte");
    }

    #[test]
    fn a_message_names_the_status_or_else_the_changes() {
        let said = |changes: &[Change]| message(&by_key("TODO-3"), changes);
        let assign = Change::Assign("ada".into());
        assert_eq!(said(&[assign.clone(), Change::Transition(Status::InProgress)]), "TODO-3: In Progress");
        assert_eq!(said(&[assign, Change::AddLabel("x".into())]), "TODO-3: assign to ada, add label x");
    }
}
