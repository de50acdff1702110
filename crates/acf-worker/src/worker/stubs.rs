//! A clock and a claim store for the unit tests of leases and runs; they know no git and no time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use acf_core::claim::{
    Claim, ClaimError, ClaimStore, Held, Landing, Published, RemoteSays, Survey, Version, Wip,
};
use acf_core::clock::Clock;
use acf_core::issue::{Issue, Stage, Status};
use acf_core::run::{CommitId, RunId, RunRecord, WorkerId};
use async_trait::async_trait;
use jiff::Timestamp;

/// A clock that whoever sleeps moves on.
#[derive(Default)]
pub(super) struct Moved(Mutex<Duration>);

#[async_trait]
impl Clock for Moved {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        *self.0.lock().unwrap() += duration;
    }
}

/// How the remote answers a renewal.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Yes,
    /// Yes, and what had been published before has landed.
    Published,
    Nothing,
    Lost,
}

/// Answers renewals in turn, the last answer again and again, and takes no pushes of work.
pub(super) struct Renewals {
    answers: Vec<Answer>,
    saved: Mutex<Vec<Option<String>>>,
    publishes: Mutex<Vec<Claim>>,
}

impl Renewals {
    pub(super) fn answered(answers: &[Answer]) -> Self {
        Self { answers: answers.to_vec(), saved: Mutex::default(), publishes: Mutex::default() }
    }

    /// Returns what was saved with each renewal.
    pub(super) fn saved(&self) -> Vec<Option<String>> {
        self.saved.lock().unwrap().clone()
    }

    /// Returns how often work was pushed.
    pub(super) fn publishes(&self) -> usize {
        self.publishes.lock().unwrap().len()
    }
}

fn no_route() -> ClaimError {
    ClaimError::Unreachable(RemoteSays("no route".into()))
}

#[async_trait]
impl ClaimStore for Renewals {
    async fn renew(&self, held: &Held, now: Timestamp, wip: Option<&CommitId>) -> Result<Held, ClaimError> {
        let mut saved = self.saved.lock().unwrap();
        let answer = self.answers[saved.len().min(self.answers.len() - 1)];
        saved.push(wip.map(ToString::to_string));
        match answer {
            Answer::Yes => Ok(Held { claim: held.claim.renewed(now), ..held.clone() }),
            Answer::Published => {
                let claim = self.publishes.lock().unwrap().last().unwrap().clone();
                Ok(Held { claim, ..held.clone() })
            }
            Answer::Nothing => Err(no_route()),
            Answer::Lost => Err(ClaimError::Lost),
        }
    }

    async fn survey(&self) -> Result<Survey, ClaimError> {
        unreachable!("nothing else is asked")
    }

    async fn read_claims(
        &self,
        _: &BTreeMap<String, Version>,
    ) -> Result<BTreeMap<Version, Claim>, ClaimError> {
        unreachable!("nothing else is asked")
    }

    async fn read_runs(
        &self,
        _: &BTreeMap<String, Version>,
    ) -> Result<BTreeMap<String, Vec<RunRecord>>, ClaimError> {
        unreachable!("nothing else is asked")
    }

    async fn take(&self, _: Claim, _: Option<&Version>, _: &Survey) -> Result<Held, ClaimError> {
        unreachable!("nothing else is asked")
    }

    async fn publish(&self, _: &Held, next: Claim, _: &Landing) -> Result<Published, ClaimError> {
        self.publishes.lock().unwrap().push(next);
        Err(no_route())
    }

    async fn release(&self, _: &Held, _: Option<&RunRecord>, _: &Wip) -> Result<(), ClaimError> {
        unreachable!("nothing else is asked")
    }
}

pub(super) fn held(ttl_secs: u64) -> Held {
    let issue = Issue {
        key: "TODO-3".parse().unwrap(),
        summary: "Say hello".into(),
        description: String::new(),
        status: Status::ToDo,
        assignee: None,
        labels: BTreeSet::new(),
        url: None,
        blocked_by: Vec::new(),
        identity: None,
    };
    let (worker, run) = (WorkerId::new("w1"), RunId::new("r1"));
    let (now, ttl) = (Timestamp::UNIX_EPOCH, Duration::from_secs(ttl_secs));
    let claim = Claim::new(&issue, Stage::Implementation, worker, run, now, ttl);
    Held { claim, version: Version::new("v1"), runs: None, wip: None }
}
