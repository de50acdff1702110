//! The claim store: a map with compare-and-swap, the branches, and the run records, in memory.
//!
//! It keeps the port's contract to the letter, and what [`acf_worker::git`] adds to it: a change that
//! got no answer is looked up before the next one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use acf_core::claim::{
    Claim, ClaimError, ClaimState, ClaimStore, Held, Landing, Published, RemoteSays, Survey, Version, Wip,
};
use acf_core::issue::Stage;
use acf_core::run::{CommitId, RunRecord};
use async_trait::async_trait;
use jiff::Timestamp;

use super::world::{Hand, Landed, NoAnswer, Op, World};
use super::{Flaw, Invariant, TRUNK};

pub(super) struct Claims {
    hand: Hand,
    /// Changes of which this worker does not know whether they have happened.
    unconfirmed: Mutex<HashMap<String, Held>>,
}

impl From<NoAnswer> for ClaimError {
    fn from(_: NoAnswer) -> Self {
        Self::Unreachable(RemoteSays("no answer".into()))
    }
}

impl Claims {
    pub(super) fn new(hand: Hand) -> Self {
        Self { hand, unconfirmed: Mutex::default() }
    }

    fn unconfirmed(&self) -> std::sync::MutexGuard<'_, HashMap<String, Held>> {
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn as_held(&self, held: &Held) -> Result<Held, ClaimError> {
        let slug = held.claim.issue.slug();
        let Some(attempted) = self.unconfirmed().get(slug).cloned() else { return Ok(held.clone()) };
        let is_at = self.hand.call(Op::Look, |world| world.store.claims.get(slug).cloned()).await?;
        self.unconfirmed().remove(slug);
        Ok(if is_at.as_ref() == Some(&attempted.version) { attempted } else { held.clone() })
    }
}

impl World {
    fn version(&mut self) -> Version {
        Version::new(format!("v{}", self.next_id()))
    }

    fn holds(&self, held: &Held) -> bool {
        self.store.claims.get(held.claim.issue.slug()) == Some(&held.version)
    }

    fn put_claim(&mut self, version: &Version, claim: &Claim) {
        self.store.claims_said.insert(version.clone(), claim.clone());
        self.store.claims.insert(claim.issue.slug().to_owned(), version.clone());
    }

    fn take(&mut self, version: &Version, claim: &Claim, over: Option<&Version>) -> Result<(), ClaimError> {
        let is_as_seen = self.store.claims.get(claim.issue.slug()) == over;
        if !is_as_seen && !self.has_flaw(Flaw::TakeWithoutSwap) {
            return Err(ClaimError::Lost);
        }
        self.note(|| format!("{} takes {} for run {}, over {over:?}", claim.worker, claim.issue, claim.run));
        self.put_claim(version, claim);
        Ok(())
    }

    fn renew(&mut self, held: &Held, next: &Held, wip: Option<&CommitId>) -> Result<(), ClaimError> {
        if !self.holds(held) {
            return Err(ClaimError::Lost);
        }
        self.note(|| format!("{} renews {}", next.claim.worker, next.claim.issue));
        self.put_claim(&next.version, &next.claim);
        if let Some(wip) = wip {
            self.store.wips.insert(next.claim.record_name(), Version::new(wip.as_str()));
        }
        Ok(())
    }

    fn publish(
        &mut self,
        seat: usize,
        held: &Held,
        next: Held,
        landing: &Landing,
    ) -> Result<Published, ClaimError> {
        if !self.holds(held) && !self.has_flaw(Flaw::PublishIgnoresClaim) {
            return Err(ClaimError::Lost);
        }
        let claim = &next.claim;
        let slug = claim.issue.slug().to_owned();
        let is_trunk = landing.branch == TRUNK;
        if is_trunk && self.scenario.trunk_is_protected && claim.stage == Stage::Implementation {
            return Ok(Published::BranchRefused(RemoteSays("protected branch".into())));
        }
        let fits = match &landing.replaces {
            None => self.parents.get(&landing.commit) == self.store.trunk.last(),
            Some(expected) => self.store.features.get(&slug) == expected.as_ref(),
        };
        if !fits {
            return Ok(Published::BranchMoved);
        }
        self.check_landing(seat, held, &landing.commit);
        self.note(|| {
            format!("{} lands {} of run {} on {}", claim.worker, landing.commit, claim.run, landing.branch)
        });
        if is_trunk {
            self.store.trunk.push(landing.commit.clone());
        } else {
            self.store.features.insert(slug, Version::new(landing.commit.as_str()));
        }
        self.put_claim(&next.version, claim);
        Ok(Published::Landed(Box::new(next)))
    }

    /// Holds a landing against I1 and I3.
    fn check_landing(&mut self, seat: usize, held: &Held, commit: &CommitId) {
        let claim = &held.claim;
        let worker = self.worker(seat);
        if !self.holds(held) || self.holder(&claim.issue) != Some(&worker) {
            let says = format!("{worker} changes a branch for {} without its claim", claim.issue);
            self.violate(Invariant::OnlyHolderActs, says);
        }
        let (issue, stage, run) = (claim.issue.clone(), claim.stage, claim.run.clone());
        self.landed.push(Landed { issue: issue.clone(), stage, run, commit: commit.clone() });
        let landings = self.landed.iter().filter(|past| past.issue == issue && past.stage == stage).count();
        let approvals = self.issues[&issue].approvals.get(&stage).copied().unwrap_or_default();
        if landings > approvals as usize {
            let says =
                format!("{stage} of {issue} has landed {landings} times, and was approved {approvals} times");
            self.violate(Invariant::LandsOncePerApproval, says);
        }
    }

    fn release(&mut self, held: &Held, record: Option<&RunRecord>, wip: &Wip) -> Result<(), ClaimError> {
        let slug = held.claim.issue.slug();
        if !self.holds(held) {
            return Err(ClaimError::Lost);
        }
        let name = held.claim.record_name();
        if let Some(record) = record {
            // After those that others wrote since the claim was decided on.
            let last = self.store.runs.get(&name).cloned();
            let tip = self.version();
            self.store.records.insert(tip.clone(), (record.clone(), last));
            self.store.runs.insert(name.clone(), tip);
        }
        match wip {
            Wip::Keep => {}
            Wip::Put(commit) => {
                self.store.wips.insert(name, Version::new(commit.as_str()));
            }
            Wip::Drop => {
                self.store.wips.remove(&name);
            }
        }
        self.store.claims.remove(slug);
        self.note(|| {
            let outcome = record.map(|record| &record.outcome);
            format!("{} releases {} with {outcome:?}", held.claim.worker, held.claim.issue)
        });
        Ok(())
    }

    pub(super) fn chain(&self, tip: &Version) -> Vec<RunRecord> {
        let mut records = Vec::new();
        let mut next = Some(tip);
        while let Some((record, parent)) = next.and_then(|version| self.store.records.get(version)) {
            records.push(record.clone());
            next = parent.as_ref();
        }
        records.reverse();
        records
    }
}

#[async_trait]
impl ClaimStore for Claims {
    async fn survey(&self) -> Result<Survey, ClaimError> {
        let look = |world: &mut World| Survey {
            trunk: world.store.trunk.last().cloned(),
            claims: world.store.claims.clone(),
            runs: world.store.runs.clone(),
            wips: world.store.wips.clone(),
            features: world.store.features.clone(),
        };
        Ok(self.hand.call(Op::Survey, look).await?)
    }

    async fn read_claims(
        &self,
        claims: &BTreeMap<String, Version>,
    ) -> Result<BTreeMap<Version, Claim>, ClaimError> {
        let read = |world: &mut World| {
            let said = &world.store.claims_said;
            claims
                .values()
                .filter_map(|version| Some((version.clone(), said.get(version)?.clone())))
                .collect()
        };
        Ok(self.hand.call(Op::ReadClaims, read).await?)
    }

    async fn read_runs(
        &self,
        chains: &BTreeMap<String, Version>,
    ) -> Result<BTreeMap<String, Vec<RunRecord>>, ClaimError> {
        let read =
            |world: &mut World| chains.iter().map(|(name, tip)| (name.clone(), world.chain(tip))).collect();
        Ok(self.hand.call(Op::ReadRuns, read).await?)
    }

    async fn take(&self, claim: Claim, over: Option<&Version>, survey: &Survey) -> Result<Held, ClaimError> {
        let name = claim.record_name();
        let version = self.hand.world().version();
        self.hand.call(Op::Take, |world| world.take(&version, &claim, over)).await??;
        let (runs, wip) = (survey.runs.get(&name).cloned(), survey.wips.get(&name).cloned());
        Ok(Held { version, runs, wip, claim })
    }

    async fn renew(&self, held: &Held, now: Timestamp, wip: Option<&CommitId>) -> Result<Held, ClaimError> {
        let held = &self.as_held(held).await?;
        let next = Held {
            claim: held.claim.renewed(now),
            version: self.hand.world().version(),
            runs: held.runs.clone(),
            wip: wip.map(|commit| Version::new(commit.as_str())).or_else(|| held.wip.clone()),
        };
        match self.hand.call(Op::Renew, |world| world.renew(held, &next, wip)).await {
            Ok(renewed) => renewed.map(|()| next),
            Err(no_answer) => {
                self.unconfirmed().insert(held.claim.issue.slug().to_owned(), next);
                Err(no_answer.into())
            }
        }
    }

    async fn publish(&self, held: &Held, next: Claim, landing: &Landing) -> Result<Published, ClaimError> {
        let held = &self.as_held(held).await?;
        if matches!(held.claim.state, ClaimState::Published { .. }) {
            return Ok(Published::Landed(Box::new(held.clone())));
        }
        let version = self.hand.world().version();
        let next = Held { claim: next, version, runs: held.runs.clone(), wip: held.wip.clone() };
        let seat = self.hand.seat;
        let published =
            self.hand.call(Op::Publish, |world| world.publish(seat, held, next.clone(), landing)).await;
        published.unwrap_or_else(|no_answer| {
            self.unconfirmed().insert(held.claim.issue.slug().to_owned(), next);
            Err(no_answer.into())
        })
    }

    async fn release(&self, held: &Held, record: Option<&RunRecord>, wip: &Wip) -> Result<(), ClaimError> {
        let held = &self.as_held(held).await?;
        self.hand.call(Op::Release, |world| world.release(held, record, wip)).await?
    }
}
