//! The one world that all workers of a schedule share, and the points at which they wait for a turn.
//!
//! Nothing here decides whose turn it is; that is [`super::schedule`].

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use acf_core::claim::{Claim, Version};
use acf_core::clock::Clock;
use acf_core::issue::{Issue, IssueKey, Stage};
use acf_core::run::{CommitId, RunId, RunRecord, WorkerId};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{Flaw, Invariant, Scenario, Violation};

/// What a worker is about to do, or has just done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Survey,
    ReadClaims,
    ReadRuns,
    Look,
    Take,
    Renew,
    Publish,
    Release,
    Candidates,
    ReadIssue,
    ChangeIssue,
    FindPull,
    OpenPull,
    Open,
    Agent,
    Collect,
    Gate,
    Rebase,
    Save,
    Close,
    Sleep,
}

impl Op {
    /// Tells whether it goes over the network, where answers get lost.
    pub(super) fn is_remote(self) -> bool {
        use Op::{Candidates, ChangeIssue, FindPull, OpenPull, ReadIssue};
        self.is_claims() || matches!(self, Candidates | ReadIssue | ChangeIssue | FindPull | OpenPull)
    }

    pub(super) fn is_claims(self) -> bool {
        use Op::{Look, Publish, ReadClaims, ReadRuns, Release, Renew, Survey, Take};
        matches!(self, Survey | ReadClaims | ReadRuns | Look | Take | Renew | Publish | Release)
    }
}

/// On which side of an effect a worker waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Before,
    After,
}

/// How a worker goes on from a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Go,
    /// The call fails: before its effect, nothing has happened; after it, only the answer is lost.
    Fail,
}

/// A call that got no answer.
pub(super) struct NoAnswer;

/// A point at which a worker waits for its turn.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) seat: usize,
    pub(super) op: Op,
    pub(super) phase: Phase,
    /// Whether this lies between the last look at the lease and a change of the tracker that rests
    /// on it: the gap that no tracker lets acf close.
    pub(super) in_gap: bool,
    pub(super) wake_at: Duration,
    fate: Option<Fate>,
}

/// An incarnation of a worker.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) worker: WorkerId,
    pub(super) skew: SignedDuration,
    /// Until when it reaches neither claims nor tracker.
    pub(super) cut_off_until: Duration,
}

/// A comment.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) marker: Option<String>,
    pub(super) body: String,
}

/// An issue, and what only the tracker knows of it.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) issue: Issue,
    pub(super) comments: Vec<Said>,
    /// How often a person approved work of that stage.
    pub(super) approvals: BTreeMap<Stage, u32>,
    /// Whether a person was the last to change status or assignee.
    pub(super) person_was_last: bool,
}

/// Work that landed.
#[derive(Clone, Debug)]
pub(super) struct Landed {
    pub(super) issue: IssueKey,
    pub(super) stage: Stage,
    pub(super) run: RunId,
    pub(super) commit: CommitId,
}

/// The store of claims, branches and run records.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) trunk: Vec<CommitId>,
    pub(super) claims: BTreeMap<String, Version>,
    pub(super) runs: BTreeMap<String, Version>,
    pub(super) wips: BTreeMap<String, Version>,
    pub(super) features: BTreeMap<String, Version>,
    pub(super) claims_said: BTreeMap<Version, Claim>,
    pub(super) records: BTreeMap<Version, (RunRecord, Option<Version>)>,
}

/// Everything that is.
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) now: Duration,
    pub(super) seats: Vec<Seat>,
    pub(super) points: BTreeMap<u64, Point>,
    pub(super) store: Store,
    pub(super) issues: BTreeMap<IssueKey, Tracked>,
    pub(super) parents: BTreeMap<CommitId, CommitId>,
    pub(super) landed: Vec<Landed>,
    /// The branches that pull requests were opened for.
    pub(super) pulls: Vec<String>,
    pub(super) opened: BTreeMap<IssueKey, usize>,
    pub(super) violations: Vec<Violation>,
    /// What happened, in words; kept only where somebody will read it.
    pub(super) trace: Option<Vec<String>>,
    ids: u64,
}

impl World {
    pub(super) fn new(scenario: &Scenario, keep_trace: bool) -> Self {
        let root = CommitId::new("c0");
        Self {
            scenario: scenario.clone(),
            now: Duration::from_secs(1),
            seats: Vec::new(),
            points: BTreeMap::new(),
            store: Store { trunk: vec![root], ..Store::default() },
            issues: scenario.issues.iter().map(|issue| (issue.key.clone(), Tracked::new(issue))).collect(),
            parents: BTreeMap::new(),
            landed: Vec::new(),
            pulls: Vec::new(),
            opened: BTreeMap::new(),
            violations: Vec::new(),
            trace: keep_trace.then(Vec::new),
            ids: 0,
        }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub(super) fn note(&mut self, says: impl FnOnce() -> String) {
        let secs = self.now.as_secs();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{secs:>5} s  {}", says()));
        }
    }

    pub(super) fn violate(&mut self, invariant: Invariant, says: String) {
        self.note(|| format!("VIOLATION of {invariant:?}: {says}"));
        self.violations.push(Violation { invariant, says });
    }

    pub(super) fn has_flaw(&self, flaw: Flaw) -> bool {
        self.scenario.flaw == Some(flaw)
    }

    /// Returns who holds an issue's claim, by what the store says now.
    pub(super) fn holder(&self, issue: &IssueKey) -> Option<&WorkerId> {
        let version = self.store.claims.get(issue.slug())?;
        self.store.claims_said.get(version).map(|claim| &claim.worker)
    }

    pub(super) fn worker(&self, seat: usize) -> WorkerId {
        self.seats[seat].worker.clone()
    }

    /// Lets the worker at that point go on at its next poll.
    pub(super) fn grant(&mut self, point: u64, fate: Fate) {
        if let Some(point) = self.points.get_mut(&point) {
            point.fate = Some(fate);
        }
    }
}

impl Tracked {
    fn new(issue: &Issue) -> Self {
        let stage = super::first_stage(issue);
        Self {
            issue: issue.clone(),
            comments: Vec::new(),
            approvals: BTreeMap::from([(stage, 1)]),
            person_was_last: false,
        }
    }
}

/// A worker's hand on the world.
#[derive(Clone)]
pub(super) struct Hand {
    world: Arc<Mutex<World>>,
    pub(super) seat: usize,
}

impl Hand {
    pub(super) fn new(world: &Arc<Mutex<World>>, seat: usize) -> Self {
        Self { world: Arc::clone(world), seat }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn.
    pub(super) async fn point(&self, op: Op, phase: Phase, in_gap: bool) -> Result<(), NoAnswer> {
        match self.wait(op, phase, in_gap, Duration::ZERO).await {
            Fate::Go => Ok(()),
            Fate::Fail => Err(NoAnswer),
        }
    }

    /// Performs an effect between two points.
    pub(super) async fn call<T>(&self, op: Op, effect: impl FnOnce(&mut World) -> T) -> Result<T, NoAnswer> {
        self.point(op, Phase::Before, false).await?;
        let value = effect(&mut self.world());
        self.point(op, Phase::After, false).await?;
        Ok(value)
    }

    async fn wait(&self, op: Op, phase: Phase, in_gap: bool, wake_at: Duration) -> Fate {
        let id = {
            let mut world = self.world();
            let id = world.next_id();
            world.points.insert(id, Point { seat: self.seat, op, phase, in_gap, wake_at, fate: None });
            id
        };
        Waiting { hand: self, id }.await
    }
}

/// Waits for the point to be granted; leaves no point behind when dropped.
struct Waiting<'a> {
    hand: &'a Hand,
    id: u64,
}

impl Future for Waiting<'_> {
    type Output = Fate;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Fate> {
        let fate = self.hand.world().points.get_mut(&self.id).and_then(|point| point.fate.take());
        fate.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.hand.world().points.remove(&self.id);
    }
}

#[async_trait]
impl Clock for Hand {
    fn now(&self) -> Timestamp {
        let world = self.world();
        let start = Timestamp::from_second(1_000_000_000).expect("a time within range");
        start + world.now + world.seats[self.seat].skew
    }

    fn monotonic(&self) -> Duration {
        let world = self.world();
        // Each worker's clock begins elsewhere.
        let origin = Duration::from_secs(1000 * (self.seat as u64 + 1));
        let runs_away = world.has_flaw(Flaw::ClockRunsAway) && self.seat % 2 == 1;
        origin + if runs_away { world.now * 1000 } else { world.now }
    }

    async fn sleep(&self, duration: Duration) {
        let wake_at = self.world().now + duration;
        self.wait(Op::Sleep, Phase::Before, false, wake_at).await;
    }
}
