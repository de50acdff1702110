//! The storm: workers are killed at moments of every kind, and replaced, until enough have died; then the
//! last ones work until nothing is left to do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use acf_core::issue::Stage;
use acf_core::progress::{Step, What};
use acf_core::run::WorkerId;

use super::backlog::{Item, Kind};
use super::dice::Dice;
use super::fleet::{Fleet, Heard};
use super::ground::Ground;

/// How long all of it may take.
const LONGEST: Duration = Duration::from_secs(400);
/// How often is looked whether there is something to approve, or nothing left to do.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Every so many deaths somebody tells at once who has died, as a scaler does; the rest is left to expire.
const TOLD_EVERY: usize = 5;

/// A storm over a fleet.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// What its chance is thrown from.
    pub seed: u64,
    /// How many implement.
    pub workers: usize,
    /// How many plan.
    pub planners: usize,
    /// How many die.
    pub kills: usize,
    /// How many issues are claimed between two deaths, at the least.
    pub claims_between: usize,
}

/// When a worker dies: at most so long after it has told of this.
#[derive(Clone, Copy, Debug)]
struct Moment {
    cue: Cue,
    delay: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cue {
    /// It is up: it looks around, and takes its first claim.
    Started,
    /// It has a claim, and has not told the tracker.
    Claimed,
    Step(Step),
    /// Its claim is released.
    Ended,
    /// Whatever it does.
    Anything,
}

/// What deaths are made of. Where the claim, the branch and the tracker change, they are thickest.
const CUES: [(Cue, u64); 10] = [
    (Cue::Started, 80),
    (Cue::Claimed, 15),
    (Cue::Step(Step::Checkout), 40),
    (Cue::Step(Step::Agent), 200),
    (Cue::Step(Step::Gate), 60),
    (Cue::Step(Step::Publish), 15),
    (Cue::Step(Step::Publish), 60),
    (Cue::Step(Step::Report), 30),
    (Cue::Ended, 60),
    (Cue::Anything, 300),
];

impl Cue {
    fn is(self, what: &What) -> bool {
        match (self, what) {
            (Self::Started, What::Started { .. })
            | (Self::Claimed, What::Claimed { .. })
            | (Self::Ended, What::Ended { .. })
            | (Self::Anything, _) => true,
            (Self::Step(wanted), What::Step { step, .. }) => wanted == *step,
            _ => false,
        }
    }
}

/// Where the storm is.
struct Weather<'a> {
    moments: Vec<Moment>,
    died: usize,
    claimed: usize,
    /// Who is to die, and when.
    doomed: BTreeMap<WorkerId, Instant>,
    ground: &'a Ground,
}

impl Storm {
    /// Lets the storm pass over a fleet, which is left without workers.
    ///
    /// # Panics
    /// Where a worker ends by itself, or the work does not come to an end.
    #[track_caller]
    pub fn pass_over(&self, fleet: &mut Fleet<'_>) {
        let (moments, ground) = (self.moments(), fleet.ground);
        let mut weather = Weather { moments, died: 0, claimed: 0, doomed: BTreeMap::new(), ground };
        (0..self.workers).for_each(|_| _ = fleet.hire(Stage::Implementation, &[]));
        (0..self.planners).for_each(|_| _ = fleet.hire(Stage::Planning, &[]));
        let deadline = Instant::now() + LONGEST;
        let mut look_at = Instant::now() + LOOK_EVERY;
        loop {
            let doom_at = weather.doomed.values().min().copied().unwrap_or(look_at);
            match fleet.hear(look_at.min(doom_at)) {
                Some(Heard::Said(event)) => weather.take_note(self, &event.worker, &event.what),
                Some(Heard::Ended(id, status)) => {
                    panic!(
                        "seed {}: {id} ended by itself with {status}:\n{}",
                        self.seed,
                        fleet.log_tail(&id)
                    );
                }
                None => {}
            }
            weather.strike_if_due(fleet);
            if Instant::now() >= look_at {
                look_at = Instant::now() + LOOK_EVERY;
                let left = weather.look();
                if left.is_empty() && weather.died == self.kills {
                    break;
                }
                let words = || format!("seed {}: {} of {} died; {left}", self.seed, weather.died, self.kills);
                assert!(!left.is_empty(), "{}: nothing is left to die for", words());
                if Instant::now() >= deadline {
                    let log = |id: WorkerId| format!("\n{id}:\n{}", fleet.log_tail(&id));
                    panic!("{}{}", words(), fleet.ids().into_iter().map(log).collect::<String>());
                }
            }
        }
        fleet.dismiss();
    }

    fn moments(&self) -> Vec<Moment> {
        let mut dice = Dice::new(self.seed);
        let mut cues: Vec<_> = CUES.into_iter().cycle().take(self.kills).collect();
        dice.shuffle(&mut cues);
        let moments = cues
            .into_iter()
            .map(|(cue, longest_ms)| Moment { cue, delay: dice.up_to(Duration::from_millis(longest_ms)) });
        moments.collect()
    }
}

impl Weather<'_> {
    fn take_note(&mut self, storm: &Storm, worker: &WorkerId, what: &What) {
        self.claimed += usize::from(Cue::Claimed.is(what));
        let fallen = storm.kills - self.moments.len();
        let is_time = self.claimed >= fallen * storm.claims_between;
        if !is_time || self.doomed.contains_key(worker) {
            return;
        }
        // A moment that does not come is not waited for until the work is done.
        let is_late = self.claimed >= (fallen + 2) * storm.claims_between;
        if let Some(at) = self.moments.iter().position(|moment| is_late || moment.cue.is(what)) {
            let moment = self.moments.remove(at);
            self.doomed.insert(worker.clone(), Instant::now() + moment.delay);
        }
    }

    fn strike_if_due(&mut self, fleet: &mut Fleet<'_>) {
        let now = Instant::now();
        let is_due = |(_, at): &(&WorkerId, &Instant)| **at <= now;
        let due: Vec<_> = self.doomed.iter().filter(is_due).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.doomed.remove(&id);
            let stage = fleet.kill(&id);
            self.died += 1;
            fleet.hire(stage, &[]);
            if self.died.is_multiple_of(TOLD_EVERY) {
                self.ground.run_acf(&["sweep", "--dead", id.as_str()]);
            }
        }
    }

    /// Approves what is to be approved, and says what is left to do.
    fn look(&self) -> String {
        let mut left = self.ground.claims().join(" ");
        let text = self.ground.todo_text();
        for item in &self.ground.backlog.items {
            let line = text.lines().find(|line| line.contains(&item.headline)).unwrap_or("(gone)");
            if item.kind == Kind::Planned && line.starts_with("- [?]") {
                self.ground.run_acf(&["issues", "transition", &item.key, "Plan Approved"]);
            }
            if !has_ended(item, line) {
                let _ = write!(left, " {}: {line}", item.key);
            }
        }
        left
    }
}

/// Tells whether no worker has anything to do with an issue any more.
fn has_ended(item: &Item, line: &str) -> bool {
    let is_in_review = line.starts_with("- [>]") && line.ends_with(" [in-review]");
    let is_over = match item.kind {
        // Work that keeps losing the race for the trunk waits on a branch for review.
        Kind::Plain | Kind::SecondTry | Kind::Planned => line.starts_with("- [x]") || is_in_review,
        Kind::Awaiting => line.starts_with("- [?]"),
        Kind::Branch => is_in_review,
        Kind::Doomed => false,
    };
    is_over || line.ends_with(" [acf-blocked]")
}
