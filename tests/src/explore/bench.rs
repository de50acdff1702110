//! The workbench: makes commits without a repository, as each issue's conducts say.

use std::sync::Arc;
use std::time::Duration;

use acf_core::agent::{AgentOutcome, Trouble};
use acf_core::clock::Clock;
use acf_core::issue::Stage;
use acf_core::issue_run::{Collected, Event, GateOutcome, Rebased, Round, Terms};
use acf_core::policy::Regate;
use acf_core::receipt::Receipt;
use acf_core::run::{CommitId, Failure, FailureKind};
use acf_worker::worker::{Bench, Job, Salvage, SaveFor, Workbench};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::Conduct;
use super::world::{Hand, Op, Phase, World};

pub(super) struct Benches(pub(super) Hand);

impl World {
    fn commit(&mut self, parent: &CommitId) -> CommitId {
        let commit = CommitId::new(format!("c{}", self.next_id()));
        self.parents.insert(commit.clone(), parent.clone());
        commit
    }
}

#[async_trait]
impl Workbench for Benches {
    async fn open(&self, job: &Job, _: &CancellationToken) -> Result<Box<dyn Bench>, Failure> {
        // What is done here touches nobody else: one point is enough.
        let _ = self.0.point(Op::Open, Phase::After, false).await;
        let conduct = {
            let mut world = self.0.world();
            let nth = world.opened.entry(job.issue.key.clone()).or_default();
            let index = *nth;
            *nth += 1;
            world.scenario.conducts.get(&job.issue.key).and_then(|all| all.get(index)).copied()
        };
        if conduct == Some(Conduct::SetupFails) {
            return Err(Failure::new(FailureKind::RepositoryFault, "`make setup` exit 2"));
        }
        let conduct = conduct.unwrap_or(Conduct::Works);
        let hand = self.0.clone();
        Ok(Box::new(Place { hand, job: job.clone(), conduct, base: job.base.clone(), work: None, rounds: 0 }))
    }
}

/// One run's place.
struct Place {
    hand: Hand,
    job: Job,
    conduct: Conduct,
    base: CommitId,
    work: Option<CommitId>,
    rounds: u32,
}

#[async_trait]
impl Bench for Place {
    fn terms(&self) -> Terms {
        Terms {
            stage: self.job.stage,
            target: self.job.target,
            max_fixes: 1,
            regate: Regate::Overlap,
            has_gate: true,
            fallbacks: 0,
        }
    }

    async fn run_agent(&mut self, _: &Round, stop: &CancellationToken) -> Event {
        self.rounds += 1;
        let takes = match self.conduct {
            Conduct::TakesLong => Duration::from_secs(35 * 60),
            _ => self.hand.world().scenario.agent_takes,
        };
        let is_stopped = tokio::select! {
            biased;
            () = stop.cancelled() => true,
            () = self.hand.sleep(takes), if !takes.is_zero() => false,
            _ = self.hand.point(Op::Agent, Phase::After, false), if takes.is_zero() => false,
        };
        Event::AgentEnded(match (is_stopped, self.conduct, self.rounds) {
            (true, ..) => AgentOutcome::Stopped,
            (_, Conduct::Crashes, _) => AgentOutcome::Crashed { exit_code: Some(1), message: None },
            (_, Conduct::RateLimitedOnce, 1) => {
                AgentOutcome::Trouble(Trouble::RateLimited { retry_after: None })
            }
            (_, Conduct::NoQuota, _) => AgentOutcome::Trouble(Trouble::QuotaExhausted { resets_at: None }),
            _ => AgentOutcome::Finished,
        })
    }

    async fn collect(&mut self) -> Event {
        let _ = self.hand.point(Op::Collect, Phase::After, false).await;
        if self.conduct == Conduct::ChangesNothing {
            return Event::Collected(Collected::Nothing);
        }
        self.work = Some(self.hand.world().commit(&self.base));
        Event::Collected(Collected::Work)
    }

    async fn gate(&mut self, _: &CancellationToken) -> Event {
        let _ = self.hand.point(Op::Gate, Phase::After, false).await;
        let fails = match self.conduct {
            Conduct::FailsGate => true,
            Conduct::FailsGateOnce => self.rounds == 1,
            _ => false,
        };
        Event::GateEnded(if fails {
            GateOutcome::Failed {
                reason: "`make check` exit 2".into(),
                evidence: "no".into(),
                in_setup: false,
            }
        } else {
            GateOutcome::Passed
        })
    }

    async fn gate_base(&mut self, _: &CancellationToken) -> Event {
        Event::BaseGated(GateOutcome::Passed)
    }

    async fn rebase(&mut self, onto: &CommitId) -> Event {
        let _ = self.hand.point(Op::Rebase, Phase::After, false).await;
        let mut world = self.hand.world();
        self.base = onto.clone();
        self.work = Some(world.commit(onto));
        Event::Rebased(Rebased::Clean { overlaps: world.store.trunk.len().is_multiple_of(2) })
    }

    fn work(&self) -> Option<CommitId> {
        self.work.clone()
    }

    fn plan_path(&self) -> Option<String> {
        (self.job.stage == Stage::Planning).then(|| format!("plans/{}.md", self.job.issue.key.slug()))
    }

    fn salvage(&self) -> Arc<dyn Salvage> {
        Arc::new(Saver { hand: self.hand.clone(), base: self.base.clone() })
    }

    fn receipt(&self) -> Receipt {
        Receipt { agent: "explored".into(), ..Receipt::default() }
    }

    async fn close(self: Box<Self>) {
        let _ = self.hand.point(Op::Close, Phase::After, false).await;
    }
}

struct Saver {
    hand: Hand,
    base: CommitId,
}

#[async_trait]
impl Salvage for Saver {
    async fn save(&self, _: SaveFor) -> Option<CommitId> {
        let _ = self.hand.point(Op::Save, Phase::After, false).await;
        Some(self.hand.world().commit(&self.base))
    }
}
