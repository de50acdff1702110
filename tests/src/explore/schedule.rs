//! One schedule: workers driven by hand, a step at a time, then the fresh ones that clean up.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use acf_core::clock::Clock;
use acf_core::eligibility::Rules;
use acf_core::issue::Stage;
use acf_core::mask::Mask;
use acf_core::progress::{Observer, What};
use acf_core::run::{RunId, WorkerId};
use acf_worker::worker::{Hosting, Orders, Pass, Surroundings, Worker, WorkerError};
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::bench::Benches;
use super::claims::Claims;
use super::host::Pulls;
use super::tracker::Issues;
use super::world::{Fate, Hand, Op, Phase, Seat, World};
use super::{ACCOUNT, Invariant, Scenario, TRUNK, TrackerKind, verdict};

/// A schedule that is not over after so many steps never will be.
const MAX_STEPS: usize = 5_000;
/// Fresh workers that are not done after so many rounds never will be.
const MAX_ROUNDS: usize = 60;
/// For how long a remote cannot be reached: just longer than a push is tried, as what is decided then
/// may be contradicted a moment later.
const OUTAGE: Duration = Duration::from_secs(63);

impl Mishap {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Crash, Self::Freeze(1), Self::Freeze(3), Self::NoAnswer, Self::CutOff, Self::Stop];
}

/// What may go wrong with a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It is killed; another one comes.
    Crash,
    /// It stands still for so many ttls, and then goes on.
    Freeze(u32),
    /// A call gets no answer, whether or not it had its effect.
    NoAnswer,
    /// It cannot reach the claims for some minutes, but the tracker it can.
    CutOff,
    /// It is told to stop.
    Stop,
}

/// What can be done next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Move {
    Step { seat: usize, point: u64, fate: Fate },
    Befalls(usize, Mishap),
    PersonActs,
}

/// What a move counts as, within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    Free,
    /// A worker goes on though another one could.
    Preemption,
    /// Something goes wrong, or a person acts.
    Mishap,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) what: Move,
    pub(super) cost: Cost,
}

/// Chooses among what can be done; the first offer is to go on as before.
pub(super) trait Strategy {
    fn choose(&mut self, offers: &[Offer]) -> usize;

    /// Tells whether also moves are wanted that change nothing but the order of the independent.
    fn wants_all(&self) -> bool;
}

struct Task {
    life: Option<Pin<Box<dyn Future<Output = ()>>>>,
    stop: CancellationToken,
    stage: Stage,
    frozen_until: Duration,
}

/// A schedule in progress.
pub(super) struct Schedule<'a> {
    scenario: &'a Scenario,
    world: Arc<Mutex<World>>,
    tasks: Vec<Task>,
    current: usize,
    acts_done: usize,
}

struct Nobody;

impl Observer for Nobody {
    fn note(&self, _: What) {}
}

/// Runs one schedule to its end, and returns the world that it leaves.
pub(super) fn run(scenario: &Scenario, strategy: &mut dyn Strategy, keep_trace: bool) -> World {
    let world = Arc::new(Mutex::new(World::new(scenario, keep_trace)));
    let mut schedule = Schedule { scenario, world, tasks: Vec::new(), current: 0, acts_done: 0 };
    for (index, stage) in scenario.workers.iter().enumerate() {
        let skew = scenario.skew_secs.get(index).copied().unwrap_or_default();
        schedule.employ(*stage, skew);
    }
    schedule.explore(strategy);
    schedule.come_to_rest();
    let Schedule { world, tasks, .. } = schedule;
    drop(tasks);
    let world = Arc::into_inner(world).expect("every worker is gone");
    let mut world = world.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if world.violations.is_empty() {
        verdict::check_end(&mut world);
    }
    world
}

impl Schedule<'_> {
    fn hand(&self, seat: usize) -> Hand {
        Hand::new(&self.world, seat)
    }

    fn seat(&self, stage: Stage, skew_secs: i64) -> usize {
        let hand = self.hand(0);
        let mut world = hand.world();
        let seat = world.seats.len();
        let worker =
            WorkerId::new(format!("w{seat}-{}", stage.worker_word().split(' ').next().unwrap_or("")));
        let skew = SignedDuration::from_secs(skew_secs);
        world.seats.push(Seat { worker, skew, cut_off_until: Duration::ZERO });
        seat
    }

    fn worker(&self, seat: usize, stage: Stage) -> Worker {
        let hand = self.hand(seat);
        let around = Surroundings {
            mask: Mask::default(),
            claims: Arc::new(Claims::new(hand.clone())),
            tracker: Arc::new(Issues(hand.clone())),
            hosting: Hosting {
                pull_requests: Some(Arc::new(Pulls(hand.clone()))),
                base: TRUNK.into(),
                pages: None,
            },
            workbench: Arc::new(Benches(hand.clone())),
            clock: Arc::new(hand.clone()),
            observer: Arc::new(Nobody),
            run_ids: Arc::new({
                let hand = hand.clone();
                move || RunId::new(format!("r{}", hand.world().next_id()))
            }),
        };
        let orders = Orders {
            worker: hand.world().worker(seat),
            stage,
            account: ACCOUNT.into(),
            rules: Rules::default(),
            claim_ttl: self.scenario.ttl,
            daily_budget_usd: None,
            issue_recheck: self.scenario.ttl / 3,
            trunk: TRUNK.into(),
        };
        Worker::new(around, orders)
    }

    /// Starts a worker, up to its first point.
    fn employ(&mut self, stage: Stage, skew_secs: i64) {
        let seat = self.seat(stage, skew_secs);
        let (worker, clock) = (self.worker(seat, stage), self.hand(seat));
        let stop = CancellationToken::new();
        let (passes, idle) = (self.scenario.passes, self.scenario.idle);
        let stopped = stop.clone();
        let life = Box::pin(async move {
            for _ in 0..passes {
                match worker.pass(&stopped).await {
                    Ok(Pass::Worked(_)) => {}
                    Ok(Pass::Nothing { .. } | Pass::Resting { .. }) | Err(_) => clock.sleep(idle).await,
                    Ok(Pass::Stopped) => return,
                }
                if stopped.is_cancelled() {
                    return;
                }
            }
        });
        self.tasks.push(Task { life: Some(life), stop, stage, frozen_until: Duration::ZERO });
        self.poll(seat);
    }

    fn poll(&mut self, seat: usize) {
        let task = &mut self.tasks[seat];
        let Some(life) = &mut task.life else { return };
        if life.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            task.life = None;
        }
    }

    fn explore(&mut self, strategy: &mut dyn Strategy) {
        let hand = self.hand(0);
        for _ in 0..MAX_STEPS {
            if !hand.world().violations.is_empty() {
                return;
            }
            let offers = self.offers(strategy.wants_all());
            if offers.is_empty() {
                if self.pass_time() {
                    continue;
                }
                return;
            }
            let chosen = offers[strategy.choose(&offers)];
            self.perform(chosen.what);
        }
        hand.world().violate(Invariant::NothingIsLost, "the schedule does not end".into());
    }

    /// Returns the points at which each worker can go on now, the worker whose turn it is first.
    fn ready(&self) -> Vec<(usize, Vec<u64>)> {
        let hand = self.hand(0);
        let world = hand.world();
        let seats = std::iter::once(self.current).chain((0..self.tasks.len()).filter(|&s| s != self.current));
        let is_awake = |&seat: &usize| self.tasks[seat].frozen_until <= world.now;
        let points_of = |seat| {
            let mine = world.points.iter().filter(|(_, p)| p.seat == seat && p.wake_at <= world.now);
            (seat, mine.map(|(id, _)| *id).collect::<Vec<_>>())
        };
        seats.filter(is_awake).map(points_of).filter(|(_, points)| !points.is_empty()).collect()
    }

    fn offers(&self, all: bool) -> Vec<Offer> {
        let ready = self.ready();
        let Some((first, points)) = ready.first() else { return Vec::new() };
        let hand = self.hand(0);
        let world = hand.world();
        let fate_of = |id: &u64| {
            let point = &world.points[id];
            let is_cut_off = point.op.is_claims() && world.seats[point.seat].cut_off_until > world.now;
            if is_cut_off { Fate::Fail } else { Fate::Go }
        };
        let step = |seat: usize, id: &u64, cost| Offer {
            what: Move::Step { seat, point: *id, fate: fate_of(id) },
            cost,
        };
        let mut offers = vec![step(*first, &points[0], Cost::Free)];
        offers.extend(points[1..].iter().map(|id| step(*first, id, Cost::Preemption)));

        let at = &world.points[&points[0]];
        // Between an answer and the next call a worker does nothing that others see, so turns need
        // to change on one side of a call only.
        let may_turn = all || at.phase == Phase::Before;
        let (turn, others) = match *first == self.current {
            true => (Cost::Preemption, may_turn),
            false => (Cost::Free, true),
        };
        if others {
            offers.extend(ready[1..].iter().map(|(seat, points)| step(*seat, &points[0], turn)));
        }
        for &mishap in &self.scenario.mishaps {
            let is_possible = match mishap {
                Mishap::Crash => all || at.phase == Phase::After,
                Mishap::Freeze(_) => {
                    let mut mine = world.points.values().filter(|point| point.seat == *first);
                    self.scenario.freezes_in_gap || mine.all(|point| !point.in_gap)
                }
                Mishap::NoAnswer => at.op.is_remote() && fate_of(&points[0]) == Fate::Go,
                Mishap::CutOff => at.op.is_claims() && world.seats[*first].cut_off_until <= world.now,
                Mishap::Stop => {
                    let is_told = self.tasks[*first].stop.is_cancelled();
                    !is_told && (all || at.phase == Phase::After)
                }
            };
            if is_possible {
                offers.push(Offer { what: Move::Befalls(*first, mishap), cost: Cost::Mishap });
            }
        }
        let has_read = |op, phase| {
            self.scenario.tracker == TrackerKind::Remote && (op, phase) != (Op::ReadIssue, Phase::Before)
        };
        let is_in_between = world.points.values().any(|p| p.in_gap && has_read(p.op, p.phase));
        let may_act = all || at.phase == Phase::Before;
        if may_act && self.acts_done < self.scenario.acts.len() && !is_in_between {
            offers.push(Offer { what: Move::PersonActs, cost: Cost::Mishap });
        }
        offers
    }

    fn perform(&mut self, what: Move) {
        match what {
            Move::Step { seat, point, fate } => {
                self.current = seat;
                self.step(seat, point, fate);
            }
            Move::Befalls(seat, mishap) => {
                let hand = self.hand(seat);
                {
                    let mut world = hand.world();
                    let worker = world.worker(seat);
                    world.note(|| format!("{worker}: {mishap:?}"));
                }
                self.befall(seat, mishap);
            }
            Move::PersonActs => {
                let (issue, act) = &self.scenario.acts[self.acts_done];
                self.acts_done += 1;
                self.hand(0).world().act(issue, *act);
            }
        }
    }

    fn step(&mut self, seat: usize, point: u64, fate: Fate) {
        {
            let hand = self.hand(seat);
            let mut world = hand.world();
            if let Some((op, phase)) = world.points.get(&point).map(|point| (point.op, point.phase)) {
                let worker = world.worker(seat);
                world.note(|| match fate {
                    Fate::Go => format!("{worker} · {phase:?} {op:?}"),
                    Fate::Fail => format!("{worker} · {phase:?} {op:?}: no answer"),
                });
            }
            world.grant(point, fate);
        }
        self.poll(seat);
    }

    fn befall(&mut self, seat: usize, mishap: Mishap) {
        let now = self.hand(seat).world().now;
        match mishap {
            Mishap::Crash => {
                self.tasks[seat].life = None;
                let stage = self.tasks[seat].stage;
                self.employ(stage, 0);
            }
            Mishap::Freeze(ttls) => self.tasks[seat].frozen_until = now + self.scenario.ttl * ttls,
            Mishap::NoAnswer => {
                let ready = self.ready();
                if let Some((_, points)) = ready.iter().find(|(ready, _)| *ready == seat) {
                    self.step(seat, points[0], Fate::Fail);
                }
            }
            Mishap::CutOff => self.hand(seat).world().seats[seat].cut_off_until = now + OUTAGE,
            Mishap::Stop => {
                self.tasks[seat].stop.cancel();
                self.poll(seat);
            }
        }
    }

    /// Lets time pass until somebody can go on; `false` when nobody ever will.
    fn pass_time(&mut self) -> bool {
        let hand = self.hand(0);
        let mut world = hand.world();
        let now = world.now;
        let thaws = |seat: usize| self.tasks[seat].frozen_until;
        let next = world.points.values().map(|point| point.wake_at.max(thaws(point.seat)));
        let Some(next) = next.min() else { return false };
        world.now = next.max(now);
        true
    }

    /// Crashes everything, and lets fresh workers run until they find nothing to do.
    fn come_to_rest(&mut self) {
        self.tasks.iter_mut().for_each(|task| task.life = None);
        let hand = self.hand(0);
        if !hand.world().violations.is_empty() {
            return;
        }
        hand.world().note(|| "everything crashes; fresh workers come".into());
        let fresh = [Stage::Implementation, Stage::Planning].map(|stage| {
            let seat = self.seat(stage, 0);
            (seat, self.worker(seat, stage))
        });
        let mut quiet_rounds = 0;
        for _ in 0..MAX_ROUNDS {
            let mut is_quiet = true;
            for (seat, worker) in &fresh {
                match self.pass(*seat, worker) {
                    Ok(Pass::Nothing { look_again_at, .. }) => is_quiet &= look_again_at.is_none(),
                    Ok(Pass::Resting { .. }) => is_quiet = false,
                    Ok(Pass::Worked(_) | Pass::Stopped) => is_quiet = false,
                    Err(error) => {
                        let says = format!("a fresh worker cannot work: {error:?}");
                        hand.world().violate(Invariant::NothingIsLost, says);
                    }
                }
            }
            let mut world = hand.world();
            if !world.violations.is_empty() {
                return;
            }
            quiet_rounds = if is_quiet { quiet_rounds + 1 } else { 0 };
            if quiet_rounds == 3 {
                return;
            }
            world.now += self.scenario.ttl + Duration::from_secs(1);
        }
        hand.world().violate(Invariant::NothingIsLost, "fresh workers do not come to rest".into());
    }

    /// Runs one pass to its end, with nobody else about.
    fn pass(&self, seat: usize, worker: &Worker) -> Result<Pass, WorkerError> {
        let (hand, stop) = (self.hand(seat), CancellationToken::new());
        let mut pass = std::pin::pin!(worker.pass(&stop));
        loop {
            if let Poll::Ready(pass) = pass.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return pass;
            }
            let mut world = hand.world();
            let next = world.points.iter().map(|(id, point)| (point.wake_at, *id)).min();
            let (wake_at, point) = next.expect("a worker that is not done waits at a point");
            world.now = world.now.max(wake_at);
            world.grant(point, Fate::Go);
        }
    }
}
