//! What a person sees and does at a tracker, whichever it is.

use std::collections::{BTreeMap, BTreeSet};

/// An issue as a person sees it.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// Its status, in acf's words.
    pub(super) status: String,
    /// Who has it.
    pub(super) assignee: Option<String>,
    /// Its labels, those that stand for statuses left out.
    pub(super) labels: BTreeSet<String>,
    /// What was said, as the service keeps it.
    pub(super) comments: Vec<String>,
}

/// A tracker with a person at it.
pub(super) trait Desk {
    /// Returns the settings by which workers find it.
    fn settings(&self) -> Vec<(String, String)>;

    /// Returns every issue by its key.
    fn standings(&self) -> BTreeMap<String, Standing>;

    /// Approves the plan of an issue.
    fn approve(&self, key: &str);

    /// Counts the pull requests that were ever opened for a branch; `None` where there are none at all.
    fn pull_requests(&self, branch: &str) -> Option<usize>;
}
