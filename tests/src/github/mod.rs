//! A stand-in of GitHub: one repository with its issues, labels, comments and pull requests, over HTTP.
//!
//! It keeps state as GitHub does, quirks included: labels and logins that differ only in case are the
//! same, accounts that cannot be assigned are left out without a word, pull requests are listed among
//! the issues, unknown labels come into being. What it does not know is answered 404.

mod gate;
mod routes;
mod state;
mod wire;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::middleware::from_fn_with_state;

use self::state::{Item, State};
pub use self::state::{Label, Pull, Token};
use crate::service::{Chassis, Description};

/// The token that the service accepts.
pub const TOKEN: &str = "ghp_ForTestsOnlyForTestsOnlyForTestsOnly";
/// The login that the token belongs to.
pub const BOT: &str = "acf-bot";
/// The repository that the service holds.
pub const REPOSITORY: &str = "acme/shop";

/// A running GitHub.
#[derive(Debug)]
pub struct GitHubService {
    chassis: Chassis,
    state: Shared,
}

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An issue, to be written as a person would.
#[derive(Clone, Debug, Default)]
pub struct NewIssue {
    title: String,
    body: String,
    labels: Vec<String>,
    assignee: Option<String>,
    is_closed: bool,
    blocked_by: Vec<u64>,
}

impl NewIssue {
    /// Begins an issue with that title.
    #[must_use]
    pub fn titled(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }

    /// Gives it a body.
    #[must_use]
    pub fn body(self, body: &str) -> Self {
        Self { body: body.to_owned(), ..self }
    }

    /// Gives it labels, besides those that it has.
    #[must_use]
    pub fn labelled<S: Into<String>>(mut self, labels: impl IntoIterator<Item = S>) -> Self {
        self.labels.extend(labels.into_iter().map(Into::into));
        self
    }

    /// Gives it to that account.
    #[must_use]
    pub fn assigned_to(self, login: &str) -> Self {
        Self { assignee: Some(login.to_owned()), ..self }
    }

    /// Closes it.
    #[must_use]
    pub fn closed(self) -> Self {
        Self { is_closed: true, ..self }
    }

    /// Has it wait for another one.
    #[must_use]
    pub fn blocked_by(mut self, number: u64) -> Self {
        self.blocked_by.push(number);
        self
    }
}

/// An issue, as it stands on GitHub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether it is open.
    pub is_open: bool,
    /// Its labels, in the order in which they were put on.
    pub labels: Vec<String>,
    /// Who holds it.
    pub assignees: Vec<String>,
    /// What was said, the oldest first.
    pub comments: Vec<String>,
}

impl GitHubService {
    /// Starts a GitHub that holds an empty repository.
    pub async fn start() -> Self {
        let state: Shared = Arc::default();
        let router =
            routes::router(Arc::clone(&state)).layer(from_fn_with_state(Arc::clone(&state), gate::pass));
        Self { chassis: Chassis::serve(router, Description::github("")).await, state }
    }

    /// Returns the address of its API.
    #[must_use]
    pub fn url(&self) -> String {
        self.chassis.url()
    }

    /// Returns what was asked, and what goes wrong.
    #[must_use]
    pub fn chassis(&self) -> &Chassis {
        &self.chassis
    }

    /// Writes an issue, and returns its number.
    pub fn add(&self, new: NewIssue) -> u64 {
        let mut state = self.state();
        let NewIssue { title, body, labels, assignee, is_closed, blocked_by } = new;
        for label in &labels {
            state.know_label(label);
        }
        let assignees = assignee.into_iter().collect();
        state.add(Item { title, body, labels, assignees, is_open: !is_closed, blocked_by, ..Item::default() })
    }

    /// Adds a pull request of somebody else's.
    pub fn add_pull(&self, title: &str, branch: &str) -> u64 {
        let pull = Pull { head: branch.to_owned(), base: "main".to_owned() };
        let item = Item { title: title.to_owned(), is_open: true, pull: Some(pull), ..Item::default() };
        self.state().add(item)
    }

    /// Returns an issue as it stands.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn issue(&self, number: u64) -> Seen {
        let state = self.state();
        let item = state.items.get(&number).expect("the test asks for an issue that it added");
        let Item { is_open, labels, assignees, comments, .. } = item.clone();
        Seen { is_open, labels, assignees, comments }
    }

    /// Returns all pull requests: number, title, body, branches.
    #[must_use]
    pub fn pulls(&self) -> Vec<(u64, String, String, Pull)> {
        let state = self.state();
        let pulls = state.items.iter().filter_map(|(number, item)| {
            Some((*number, item.title.clone(), item.body.clone(), item.pull.clone()?))
        });
        pulls.collect()
    }

    /// Returns the repository's labels.
    #[must_use]
    pub fn labels(&self) -> Vec<Label> {
        self.state().labels.clone()
    }

    /// Lets a person change an issue: close it, label it, take it over.
    pub fn edit(&self, number: u64, edit: impl FnOnce(&mut Seen)) {
        let mut seen = self.issue(number);
        edit(&mut seen);
        let Seen { is_open, labels, assignees, comments } = seen;
        let mut state = self.state();
        if let Some(item) = state.items.get_mut(&number) {
            *item = Item { is_open, labels, assignees, comments, ..item.clone() };
        }
    }

    /// Deletes an issue.
    pub fn delete(&self, number: u64) {
        let mut state = self.state();
        state.items.remove(&number);
        state.deleted.insert(number);
    }

    /// Transfers an issue to another repository.
    pub fn transfer(&self, number: u64) {
        let mut state = self.state();
        state.items.remove(&number);
        state.transferred.insert(number);
    }

    /// Says that an issue is blocked by another one.
    ///
    /// # Panics
    /// Where there is no such issue.
    pub fn block(&self, number: u64, by: u64) {
        self.state().items.get_mut(&number).expect("the issue is there").blocked_by.push(by);
    }

    /// Locks an issue's conversation for whoever has no right to maintain the repository.
    pub fn lock(&self, number: u64) {
        self.state().locked.insert(number);
    }

    /// Renames the repository: its old name redirects.
    pub fn rename(&self) {
        self.state().is_renamed = true;
    }

    /// Turns issues off.
    pub fn turn_issues_off(&self) {
        self.state().has_issues = false;
    }

    /// From now on, pull requests can be opened of those branches only that the bare repository there has.
    pub fn keep_branches_in(&self, repository: &Path) {
        self.state().repository = Some(repository.to_owned());
    }

    /// Lets issues be assigned to that account too.
    pub fn invite(&self, login: &str) {
        self.state().assignable.push(login.to_owned());
    }

    /// Lets issues no longer be assigned to that account.
    pub fn expel(&self, login: &str) {
        self.state().assignable.retain(|known| known != login);
    }

    /// Takes the right to write from the token's owner: labels and assignees are then left as they are,
    /// without a word.
    pub fn demote(&self) {
        self.state().may_write = false;
    }

    /// Changes what the token may do.
    pub fn set_token(&self, token: Token) {
        self.state().token = token;
    }

    /// Leaves so many calls until the primary rate limit, which ends `reset_secs` from then on.
    pub fn limit(&self, remaining: u64, reset_secs: i64) {
        let mut state = self.state();
        (state.remaining, state.reset_secs) = (remaining, reset_secs);
    }

    /// Returns how many calls are left; those that were answered 304 took none.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.state().remaining
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
