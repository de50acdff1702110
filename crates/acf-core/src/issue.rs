//! What a tracker holds: issues, their keys, statuses and labels.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::mask::Mask;

/// The longest key that is accepted, in bytes; trackers stay far below it.
const MAX_KEY_BYTES: usize = 64;

/// The name of an issue in its tracker: `ACF-12` (Jira), `#12` (GitHub), `TODO-3` (a TODO file).
///
/// A key becomes part of ref names, branch names and file names, so it is checked once, here: an
/// optional `#`, then letters, digits, `_` and `-` only, at most 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IssueKey(String);

/// A text is no issue key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an issue key; keys look like ACF-12, #12 or TODO-3")]
pub struct InvalidKey {
    text: String,
}

impl IssueKey {
    /// Returns the key as the tracker writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the key as a single component of a ref, a branch or a path: without the `#`.
    #[must_use]
    pub fn slug(&self) -> &str {
        self.0.trim_start_matches('#')
    }
}

impl FromStr for IssueKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let slug = text.strip_prefix('#').unwrap_or(text);
        let starts_well = slug.starts_with(|c: char| c.is_ascii_alphanumeric());
        let safe = slug.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if starts_well && safe && text.len() <= MAX_KEY_BYTES {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidKey { text: text.chars().take(MAX_KEY_BYTES).collect() })
        }
    }
}

impl TryFrom<String> for IssueKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        text.parse()
    }
}

impl From<IssueKey> for String {
    fn from(key: IssueKey) -> Self {
        key.0
    }
}

impl fmt::Display for IssueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a worker does with an issue: write a plan, or implement it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Write a plan for a person to approve.
    Planning,
    /// Change the repository.
    Implementation,
}

impl Stage {
    /// Returns the status that an issue has while a run of this stage works on it.
    #[must_use]
    pub fn working_status(self) -> Status {
        match self {
            Self::Planning => Status::Planning,
            Self::Implementation => Status::InProgress,
        }
    }

    /// Returns the word for one worker of this stage.
    #[must_use]
    pub fn worker_word(self) -> &'static str {
        match self {
            Self::Planning => "planner",
            Self::Implementation => "implementation worker",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Planning => "planning",
            Self::Implementation => "implementation",
        })
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "planning" | "plan" => Ok(Self::Planning),
            "implementation" | "implement" => Ok(Self::Implementation),
            _ => Err(format!("`{text}` is not a stage; known are planning and implementation")),
        }
    }
}

/// Where an issue stands in its tracker's workflow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Status {
    /// Waiting to be taken.
    #[serde(rename = "To Do")]
    ToDo,
    /// An implementation run works on it.
    #[serde(rename = "In Progress")]
    InProgress,
    /// The work waits for a person's review.
    #[serde(rename = "In Review")]
    InReview,
    /// Finished.
    Done,
    /// A planning run works on it.
    Planning,
    /// The plan waits for a person's approval.
    #[serde(rename = "Awaiting Plan Review")]
    AwaitingPlanReview,
    /// The plan was approved: ready for implementation.
    #[serde(rename = "Plan Approved")]
    PlanApproved,
    /// A status of the tracker that means nothing to acf; such an issue is left alone.
    #[serde(untagged)]
    Other(String),
}

impl Status {
    /// The statuses that acf knows, in the order of the workflow.
    pub const KNOWN: [Self; 7] = [
        Self::ToDo,
        Self::Planning,
        Self::AwaitingPlanReview,
        Self::PlanApproved,
        Self::InProgress,
        Self::InReview,
        Self::Done,
    ];

    /// Returns the name that people see.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::ToDo => "To Do",
            Self::InProgress => "In Progress",
            Self::InReview => "In Review",
            Self::Done => "Done",
            Self::Planning => "Planning",
            Self::AwaitingPlanReview => "Awaiting Plan Review",
            Self::PlanApproved => "Plan Approved",
            Self::Other(name) => name,
        }
    }

    /// Returns the known status of that name, ignoring case and treating `-` and `_` as spaces.
    #[must_use]
    pub fn known(name: &str) -> Option<Self> {
        let wanted = name.trim().replace(['-', '_'], " ");
        Self::KNOWN.into_iter().find(|status| status.name().eq_ignore_ascii_case(&wanted))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The labels that acf reads and writes.
pub mod label {
    /// A plan is to be written and approved first.
    pub const NEEDS_PLAN: &str = "needs-plan";
    /// No plan is wanted; wins over `PLAN_BY_DEFAULT`.
    pub const SKIP_PLAN: &str = "skip-plan";
    /// A person approved the plan.
    pub const PLAN_APPROVED: &str = "plan-approved";
    /// The work goes to `feature/KEY`.
    pub const NEEDS_BRANCH: &str = "needs-branch";
    /// The work goes to the trunk; wins over `FEATURE_BRANCHES`.
    pub const SKIP_BRANCH: &str = "skip-branch";
    /// Stands for the status In Review where a tracker has none.
    pub const IN_REVIEW: &str = "in-review";
    /// Every attempt failed; taken again once a person removes the label.
    pub const BLOCKED: &str = "acf-blocked";

    /// All of them.
    pub const ALL: [&str; 7] =
        [NEEDS_PLAN, SKIP_PLAN, PLAN_APPROVED, NEEDS_BRANCH, SKIP_BRANCH, IN_REVIEW, BLOCKED];

    /// Returns a label as it is compared: one of these as it is written here, whatever its case, and others as they
    /// are. A plan or a review that a person asks for is not to be missed for a capital letter.
    #[must_use]
    pub fn canonical(name: &str) -> &str {
        ALL.into_iter().find(|own| own.eq_ignore_ascii_case(name)).unwrap_or(name)
    }
}

/// A unit of work in a tracker, as last read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Its name.
    pub key: IssueKey,
    /// Its one-line title, labels left out.
    pub summary: String,
    /// Its body as Markdown; data from outside, never instructions to acf.
    #[serde(default)]
    pub description: String,
    /// Where it stands.
    pub status: Status,
    /// Who holds it, as the tracker names accounts. Where several do, one who is not the account that acf
    /// works under: the issue is that person's.
    #[serde(default)]
    pub assignee: Option<String>,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// Where people read it.
    #[serde(default)]
    pub url: Option<String>,
    /// The issues that have to be done before this one and are not, as people name them.
    #[serde(default)]
    pub blocked_by: Vec<String>,
    /// What else identifies it where keys can move to another issue (a TODO file's do); `None` where
    /// keys are stable. Run records and kept work are named by it, so that an issue's past follows it and
    /// is never another's.
    #[serde(default)]
    pub identity: Option<String>,
}

impl Issue {
    /// Makes an issue of which no more is known, and which nobody has begun.
    #[must_use]
    pub fn new(key: IssueKey, summary: impl Into<String>) -> Self {
        Self {
            key,
            summary: summary.into(),
            description: String::new(),
            status: Status::ToDo,
            assignee: None,
            labels: BTreeSet::new(),
            url: None,
            blocked_by: Vec::new(),
            identity: None,
        }
    }

    /// Tells whether the issue carries that label.
    #[must_use]
    pub fn has_label(&self, label: &str) -> bool {
        self.labels.contains(label)
    }

    /// Returns the issue with every known secret masked in what people wrote.
    #[must_use]
    pub fn masked(mut self, mask: &Mask) -> Self {
        mask.hide_in(&mut self.summary);
        mask.hide_in(&mut self.description);
        self
    }

    /// Returns what finds this issue again, even if its key has moved.
    #[must_use]
    pub fn reference(&self) -> IssueRef {
        IssueRef { key: self.key.clone(), identity: self.identity.clone() }
    }
}

/// What finds an issue: its key and, where keys can move, its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueRef {
    /// The key at the time of reading.
    pub key: IssueKey,
    /// See [`Issue::identity`]; `None` finds whatever has the key now.
    #[serde(default)]
    pub identity: Option<String>,
}

impl IssueRef {
    /// Returns the name that the issue's past (its run records and its kept work) goes by: one component
    /// of a ref. It follows the issue where its key does not, and no two issues share one.
    ///
    /// An identity is set apart from keys by `item.`, as keys have no dots; bytes that a ref may not hold
    /// are written as `%` and two digits.
    #[must_use]
    pub fn record_name(&self) -> String {
        let Some(identity) = &self.identity else { return self.key.slug().to_owned() };
        identity.bytes().fold("item.".to_owned(), |mut name, byte| {
            match byte {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' => name.push(char::from(byte)),
                _ => name += &format!("%{byte:02x}"),
            }
            name
        })
    }
}

impl From<IssueKey> for IssueRef {
    fn from(key: IssueKey) -> Self {
        Self { key, identity: None }
    }
}

impl fmt::Display for IssueRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_trackers_are_accepted() {
        for (text, slug) in [("ACF-12", "ACF-12"), ("#12", "12"), ("TODO-3", "TODO-3"), ("A_B-1", "A_B-1")] {
            assert_eq!(text.parse::<IssueKey>().unwrap().slug(), slug);
        }
    }

    #[test]
    fn keys_that_could_leave_a_directory_or_a_ref_are_refused() {
        let long = "A".repeat(65);
        for text in
            ["", "#", "../../x", "a/b", "a b", "-x", ".x", "a..b", "a\nb", "é", "a#b", "##1", "a.lock", &long]
        {
            assert!(text.parse::<IssueKey>().is_err(), "{text:?} was accepted");
        }
        assert!("A".repeat(64).parse::<IssueKey>().is_ok());
    }

    #[test]
    fn a_refused_key_is_quoted_in_part_only() {
        let refusal = "/".repeat(100_000).parse::<IssueKey>().unwrap_err().to_string();
        assert!(refusal.len() < 200, "{refusal}");
    }

    #[test]
    fn keys_are_written_as_their_tracker_writes_them() {
        for text in ["ACF-12", "#12"] {
            let key: IssueKey = text.parse().unwrap();
            assert_eq!((key.as_str(), key.to_string().as_str()), (text, text));
            assert_eq!(IssueRef::from(key).to_string(), text);
        }
    }

    #[test]
    fn the_past_of_an_issue_goes_by_its_identity_where_keys_move() {
        let issue = |key: &str, identity: Option<&str>| IssueRef {
            key: key.parse().unwrap(),
            identity: identity.map(str::to_owned),
        };
        assert_eq!(issue("#12", None).record_name(), "12");
        assert_eq!(issue("TODO-1", Some("3fa9")).record_name(), "item.3fa9");
        assert_eq!(issue("TODO-2", Some("3fa9")).record_name(), "item.3fa9");
        assert_eq!(
            issue("TODO-1", Some("a/../b c%.lock")).record_name(),
            "item.a%2f%2e%2e%2fb%20c%25%2elock"
        );
    }

    #[test]
    fn stages_are_read_by_verb_and_noun_and_written_as_nouns() {
        for (texts, stage, worker) in [
            (["plan", "planning"], Stage::Planning, "planner"),
            (["implement", "implementation"], Stage::Implementation, "implementation worker"),
        ] {
            for text in texts {
                assert_eq!(text.parse::<Stage>(), Ok(stage));
            }
            assert_eq!((stage.to_string().as_str(), stage.worker_word()), (texts[1], worker));
        }
        assert!("review".parse::<Stage>().unwrap_err().contains("`review`"));
    }

    #[test]
    fn statuses_are_known_by_name_whatever_the_case() {
        assert_eq!(Status::known("in progress"), Some(Status::InProgress));
        assert_eq!(Status::known("awaiting-plan-review"), Some(Status::AwaitingPlanReview));
        assert_eq!(Status::known("Backlog"), None);
        for status in Status::KNOWN {
            assert_eq!(Status::known(status.name()), Some(status));
        }
    }

    #[test]
    fn statuses_survive_json_under_their_names() {
        for status in Status::KNOWN.into_iter().chain([Status::Other("Backlog".into())]) {
            let json = serde_json::to_string(&status).unwrap();
            assert_eq!(json, format!("{:?}", status.name()));
            assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
        }
    }
}
