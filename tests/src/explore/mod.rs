//! A deterministic explorer of schedules over the real worker: its loop, its claims, its settling.
//!
//! Several [`Worker`](acf_worker::worker::Worker)s run against ports in memory. Each call of a port
//! waits for its turn before its effect and again after it, so that the explorer can put anything in
//! between: another worker, a crash (the worker is dropped and a new one comes), a freeze of a whole
//! ttl, a lost answer (with the effect or without), a remote that cannot be reached for minutes, a
//! SIGTERM, a person at the tracker. Time is virtual, and stands still while anybody can go on.
//!
//! [`exhaust`] tries every schedule within [`Bounds`]; [`wander`] tries random ones, each named by a
//! seed. After each, everything is crashed, time passes beyond the ttl, and fresh workers run until
//! there is nothing left to do. Every [`Invariant`] is checked all along and at that end.
//!
//! What is *not* explored is the gap that no tracker lets acf close: a worker that looks at its lease,
//! finds it good for half a ttl, and is then frozen for so long that the claim expires, *before* the
//! tracker has the change that it is about to send. The change then comes late, and I3 does not hold
//! for it (a branch is safe even then: landing is fenced by the claim). So [`Mishap::Freeze`] is not
//! offered between such a look and the tracker's answer, unless [`Scenario::freezes_in_gap`] asks for
//! it. Likewise, with [`TrackerKind::Remote`], no person acts between a worker's reading and writing.

mod bench;
mod claims;
mod host;
mod schedule;
mod search;
mod tracker;
mod verdict;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use acf_core::issue::{Issue, IssueKey, Stage, label};

pub use schedule::Mishap;
pub use search::{Bounds, Counterexample, Explored, exhaust, random_scenario, wander};
pub use tracker::Act;

/// The trunk's name.
const TRUNK: &str = "main";
/// The account of all workers.
const ACCOUNT: &str = "acf";
/// The account of a person.
const PERSON: &str = "ada";

/// What holds in every schedule; I1 to I4 of the design, and what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// I1: an issue's work lands at most once per approval.
    LandsOncePerApproval,
    /// I2: no issue is lost, no claim is left, and everything comes to rest.
    NothingIsLost,
    /// Work on a branch has one pull request, and its issue says where it is.
    OnePullRequest,
    /// I3: who does not hold the claim changes neither branch nor tracker.
    OnlyHolderActs,
    /// I4: a landed run is shown in the tracker once, and not never.
    ShownOnce,
    /// What a person does to an issue stands until it is claimed anew.
    PeopleStand,
    /// A failed run is told as the attempt that it was, so that the cap on attempts holds.
    AttemptsCount,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What happened.
    pub says: String,
}

/// How the tracker changes an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackerKind {
    /// Reads and writes under one lock.
    File,
    /// Reads, then makes one change after the other, each a call of its own.
    Remote,
}

/// A seeded bug, to show that the explorer finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Landing does not look at the claim.
    PublishIgnoresClaim,
    /// Taking a claim does not look at the one that is there.
    TakeWithoutSwap,
    /// The tracker says a marked comment again.
    CommentsDouble,
    /// The host does not know the pull requests that it has, and opens another one.
    PullRequestsForgotten,
    /// The tracker changes an issue whatever the condition says.
    ConditionsIgnored,
    /// Every other worker's clock runs a thousand times too fast.
    ClockRunsAway,
}

/// What an agent does in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// Its work, well.
    Works,
    /// Its work, in longer than a ttl.
    TakesLong,
    /// Nothing.
    ChangesNothing,
    /// Work that fails the gate, then mends it.
    FailsGateOnce,
    /// Work that fails the gate.
    FailsGate,
    /// It crashes.
    Crashes,
    /// It has to wait for its service once.
    RateLimitedOnce,
    /// Nothing: its account has no quota left.
    NoQuota,
    /// It is not even started: the set-up commands fail.
    SetupFails,
}

impl Conduct {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Works,
        Self::TakesLong,
        Self::ChangesNothing,
        Self::FailsGateOnce,
        Self::FailsGate,
        Self::Crashes,
        Self::RateLimitedOnce,
        Self::NoQuota,
        Self::SetupFails,
    ];
}

/// What the schedules are about.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The issues, as they are at first.
    pub issues: Vec<Issue>,
    /// What the agent does in the first run of an issue, in the second, and so on; then it works.
    pub conducts: BTreeMap<IssueKey, Vec<Conduct>>,
    /// The workers, by what they do.
    pub workers: Vec<Stage>,
    /// How far each worker's wall clock is off, in seconds.
    pub skew_secs: Vec<i64>,
    /// How often each worker looks for an issue.
    pub passes: usize,
    /// How long a worker waits when there is nothing to do.
    pub idle: Duration,
    /// How long a claim holds.
    pub ttl: Duration,
    /// How long the agent takes.
    pub agent_takes: Duration,
    /// How the tracker changes issues.
    pub tracker: TrackerKind,
    /// Whether the trunk takes no pushes of implementations.
    pub trunk_is_protected: bool,
    /// What may go wrong.
    pub mishaps: Vec<Mishap>,
    /// What people do, in that order, each at any moment.
    pub acts: Vec<(IssueKey, Act)>,
    /// Whether a worker may be frozen where nothing can be done about it.
    pub freezes_in_gap: bool,
    /// A seeded bug.
    pub flaw: Option<Flaw>,
}

impl Scenario {
    /// Two workers and one issue that is simply to be implemented; nothing goes wrong.
    #[must_use]
    pub fn duel() -> Self {
        let ttl = Duration::from_secs(10 * 60);
        Self {
            issues: vec![issue("ACF-1", &[])],
            conducts: BTreeMap::new(),
            workers: vec![Stage::Implementation; 2],
            skew_secs: vec![0, 0],
            passes: 3,
            idle: ttl,
            ttl,
            agent_takes: Duration::ZERO,
            tracker: TrackerKind::File,
            trunk_is_protected: false,
            mishaps: Vec::new(),
            acts: Vec::new(),
            freezes_in_gap: false,
            flaw: None,
        }
    }

    /// Gives what may go wrong.
    #[must_use]
    pub fn with_mishaps(self, mishaps: &[Mishap]) -> Self {
        Self { mishaps: mishaps.to_vec(), ..self }
    }

    /// Lets people act on the only issue of a duel.
    #[must_use]
    pub fn with_acts(self, acts: &[Act]) -> Self {
        let issue = &self.issues[0].key;
        Self { acts: acts.iter().map(|act| (issue.clone(), *act)).collect(), ..self }
    }

    /// Says what the agent does in the runs of the only issue of a duel.
    #[must_use]
    pub fn with_conducts(self, conducts: &[Conduct]) -> Self {
        let issue = self.issues[0].key.clone();
        Self { conducts: BTreeMap::from([(issue, conducts.to_vec())]), ..self }
    }
}

/// Makes an open issue.
///
/// # Panics
/// When the key is none.
#[must_use]
pub fn issue(key: &str, labels: &[&str]) -> Issue {
    let key: IssueKey = key.parse().expect("a key of the test's own");
    let summary = format!("Do {key}");
    Issue { labels: labels.iter().map(ToString::to_string).collect(), ..Issue::new(key, summary) }
}

/// Returns the stage that an issue in To Do begins with.
fn first_stage(issue: &Issue) -> Stage {
    if issue.has_label(label::NEEDS_PLAN) { Stage::Planning } else { Stage::Implementation }
}
