//! What the repository holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::BOT;

/// The repository, and what there is to know of its guests.
#[derive(Debug)]
pub(super) struct State {
    /// Issues and pull requests, which share their numbers.
    pub(super) items: BTreeMap<u64, Item>,
    pub(super) deleted: BTreeSet<u64>,
    pub(super) transferred: BTreeSet<u64>,
    /// Issues whose conversation is locked: they take no comments.
    pub(super) locked: BTreeSet<u64>,
    pub(super) labels: Vec<Label>,
    pub(super) assignable: Vec<String>,
    pub(super) token: Token,
    /// Whether the token's owner may more than read and comment.
    pub(super) may_write: bool,
    pub(super) has_issues: bool,
    pub(super) is_renamed: bool,
    /// Calls until the primary rate limit.
    pub(super) remaining: u64,
    /// How long that limit takes.
    pub(super) reset_secs: i64,
    /// The bare repository whose branches there are; any branch is, where there is none.
    pub(super) repository: Option<PathBuf>,
    next: u64,
}

/// An issue or a pull request.
#[derive(Clone, Debug, Default)]
pub(super) struct Item {
    pub(super) title: String,
    pub(super) body: String,
    pub(super) labels: Vec<String>,
    pub(super) assignees: Vec<String>,
    pub(super) is_open: bool,
    pub(super) comments: Vec<String>,
    pub(super) blocked_by: Vec<u64>,
    pub(super) pull: Option<Pull>,
}

/// The branches of a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The branch that holds the work.
    pub head: String,
    /// The branch that it is to be merged into.
    pub base: String,
}

/// A label of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Six hexadecimal digits.
    pub color: String,
    /// What it means; labels that came into being with an issue have none.
    pub description: Option<String>,
}

/// What the token may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A classic token with those scopes.
    Classic(String),
    /// A fine-grained one that may read everything, and write what is named: `issues`, `pull_requests`.
    FineGrained(Vec<String>),
    /// An installation's, which belongs to no account.
    Installation,
    /// None any more.
    Expired,
    /// One that does not see the repository.
    Blind,
}

impl Default for State {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            deleted: BTreeSet::new(),
            transferred: BTreeSet::new(),
            locked: BTreeSet::new(),
            labels: Vec::new(),
            assignable: vec![BOT.to_owned(), "ada".to_owned()],
            token: Token::Classic("repo".to_owned()),
            may_write: true,
            has_issues: true,
            is_renamed: false,
            remaining: 5000,
            reset_secs: 3600,
            repository: None,
            next: 1,
        }
    }
}

impl State {
    pub(super) fn add(&mut self, item: Item) -> u64 {
        let number = self.next;
        self.next += 1;
        self.items.insert(number, item);
        number
    }

    /// Returns a label as the repository writes it; one that it lacks comes into being, grey.
    pub(super) fn know_label(&mut self, name: &str) -> String {
        if let Some(label) = self.label(name) {
            return label.name.clone();
        }
        let label = Label { name: name.to_owned(), color: "ededed".to_owned(), description: None };
        self.labels.push(label);
        name.to_owned()
    }

    pub(super) fn label(&self, name: &str) -> Option<&Label> {
        self.labels.iter().find(|label| label.name.eq_ignore_ascii_case(name))
    }

    /// Tells whether the repository has that branch.
    pub(super) fn has_branch(&self, name: &str) -> bool {
        let Some(repository) = &self.repository else { return true };
        let packed = std::fs::read_to_string(repository.join("packed-refs")).unwrap_or_default();
        let is_it = |line: &str| line.ends_with(&format!(" refs/heads/{name}"));
        repository.join("refs/heads").join(name).is_file() || packed.lines().any(is_it)
    }

    /// Returns a login as its owner writes it, if issues can be assigned to it.
    pub(super) fn assignable(&self, login: &str) -> Option<String> {
        self.assignable.iter().find(|known| known.eq_ignore_ascii_case(login)).cloned()
    }
}
