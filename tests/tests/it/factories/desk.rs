//! What a person sees and does at a tracker, whichever it is.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::path::Path;

use acf_tests::git_http::GitHttp;
use acf_tests::sandbox::Sandbox;
use acf_tests::service::Chassis;

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

/// Serves a sandbox's repository under that name (`owner/name`), to whoever has the token.
pub(super) fn git_over_http(sandbox: &Sandbox, name: &str, token: &str) -> GitHttp {
    let place = sandbox.root().join(format!("{name}.git"));
    let owner = place.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(owner).expect("make a directory for the owner");
    symlink(sandbox.remote(), &place).expect("link to the repository");
    GitHttp::start(sandbox.root(), "x-access-token", token)
}

/// Counts what a service was asked below that path, with keys left out.
pub(super) fn calls(chassis: &Chassis, below: &str) -> BTreeMap<String, usize> {
    let is_key = |word: &str| word.parse::<u64>().is_ok() || word.starts_with("ACF-");
    let mut calls = BTreeMap::new();
    for request in chassis.recording().requests() {
        let path = request.path.trim_start_matches(below);
        let words: Vec<_> = path.split('/').map(|word| if is_key(word) { "KEY" } else { word }).collect();
        let status = request.status.map_or("cut".to_owned(), |status| status.to_string());
        *calls.entry(format!("{} {} {status}", request.method, words.join("/"))).or_default() += 1;
    }
    calls
}
