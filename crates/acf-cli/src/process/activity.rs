//! What a worker has been doing, read from the events that it writes.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use acf_core::issue::{IssueKey, Stage};
use acf_core::progress::{Event, Step, What};
use acf_core::run::{Outcome, RunRecord};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// How much of the end of a worker's events tells whether it is busy.
const TAIL_BYTES: u64 = 256 * 1024;

/// What a worker has been doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Activity {
    /// Whether a run is going on; `None` before the worker has said anything.
    pub busy: Option<bool>,
    /// The run that is going on.
    pub current: Option<Current>,
    /// Why it takes no issue for now, whichever there are.
    pub resting: Option<Resting>,
    /// Whether it has said that it stops.
    pub has_stopped: bool,
    /// What its runs of the last 24 hours came to.
    pub day: Tally,
}

/// A run that is going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Current {
    /// The issue.
    pub issue: IssueKey,
    /// Its summary.
    pub summary: String,
    /// What is done with it.
    pub stage: Stage,
    /// Since when.
    pub since: Timestamp,
    /// Where it is.
    pub step: Option<Step>,
    /// 0, then counting fix rounds.
    pub round: u32,
    /// More about the step, for people.
    pub detail: Option<String>,
}

/// Why a worker takes no issue for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resting {
    /// Why.
    pub why: String,
    /// Until when.
    pub until: Timestamp,
}

/// What runs came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Runs whose work landed.
    pub landed: u32,
    /// Runs that failed.
    pub failed: u32,
    /// Those of them after which the issue was blocked.
    pub blocked: u32,
    /// What all of them cost, in US dollars, as far as it is known.
    pub cost_usd: f64,
    /// Whether any of that is an estimate.
    pub cost_is_estimated: bool,
    /// Whether nobody knows what some of it cost.
    pub cost_is_incomplete: bool,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.landed += more.landed;
        self.failed += more.failed;
        self.blocked += more.blocked;
        self.cost_usd += more.cost_usd;
        self.cost_is_estimated |= more.cost_is_estimated;
        self.cost_is_incomplete |= more.cost_is_incomplete;
    }
}

impl Activity {
    /// Reads all of a worker's events.
    pub(super) fn read(events: &Path, now: Timestamp) -> Self {
        Self::read_from(events, 0, now)
    }

    /// Reads the end of a worker's events, which tells what it is doing now.
    pub(super) fn read_latest(events: &Path, now: Timestamp) -> Self {
        let len = std::fs::metadata(events).map_or(0, |metadata| metadata.len());
        Self::read_from(events, len.saturating_sub(TAIL_BYTES), now)
    }

    fn read_from(events: &Path, start: u64, now: Timestamp) -> Self {
        let Ok(mut file) = File::open(events) else { return Self::default() };
        match file.seek(SeekFrom::Start(start)) {
            Ok(_) => Self::of(BufReader::new(file), now),
            Err(_) => Self::default(),
        }
    }

    /// Sums up events; lines that are none, and one that is still being written, are left out.
    fn of(mut lines: impl BufRead, now: Timestamp) -> Self {
        let day_ago = now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
        let mut activity = Self::default();
        let mut line = Vec::new();
        while lines.by_ref().read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if let Ok(event) = serde_json::from_slice::<Event>(&line) {
                activity.note(event, day_ago);
            }
            line.clear();
        }
        activity
    }

    fn note(&mut self, event: Event, day_ago: Timestamp) {
        let since = event.at;
        self.resting = None;
        self.has_stopped = matches!(event.what, What::Stopped { .. });
        match event.what {
            What::Claimed { issue, summary, stage, .. } => {
                let current = Current { issue, summary, stage, since, step: None, round: 0, detail: None };
                self.current = Some(current);
            }
            What::Step { step, round, detail, .. } => {
                if let Some(current) = &mut self.current {
                    (current.step, current.round, current.detail) = (Some(step), round, detail);
                }
                // The beginning of the run may lie before what was read.
                self.busy = Some(true);
                return;
            }
            What::Ended { record } => {
                self.current = None;
                if event.at >= day_ago {
                    self.day += Tally::of(&record);
                }
            }
            What::Idle { why, until, .. } => {
                self.current = None;
                self.resting = until.map(|until| Resting { why, until });
            }
            What::Started { .. } | What::Dropped { .. } | What::Stopped { .. } => {
                self.current = None;
            }
        }
        self.busy = Some(self.current.is_some());
    }
}

impl Tally {
    fn of(record: &RunRecord) -> Self {
        Self {
            landed: matches!(record.outcome, Outcome::Landed { .. }).into(),
            failed: matches!(record.outcome, Outcome::Failed(_)).into(),
            blocked: record.blocked.into(),
            cost_usd: record.receipt.usage.cost_usd.unwrap_or(0.0),
            cost_is_estimated: record.receipt.usage.cost_is_estimated,
            cost_is_incomplete: record.receipt.usage.cost_is_unknown(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use acf_core::receipt::{Receipt, Usage};
    use acf_core::run::{Failure, FailureKind, RunId, WorkerId};

    use super::*;

    const DAY: i64 = 24 * 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn line(second: i64, what: What) -> String {
        let event = Event { at: at(second), worker: WorkerId::new("w-1"), what };
        serde_json::to_string(&event).unwrap() + "\n"
    }

    fn claimed() -> What {
        What::Claimed {
            run: RunId::new("r"),
            issue: "A-1".parse().unwrap(),
            summary: "Say hello".into(),
            stage: Stage::Implementation,
        }
    }

    fn step(step: Step, round: u32) -> What {
        What::Step { issue: "A-1".parse().unwrap(), step, round, detail: Some("make check".into()) }
    }

    fn ended(outcome: Outcome, blocked: bool) -> What {
        let usage = Usage { cost_usd: Some(0.25), ..Usage::default() };
        What::Ended {
            record: Box::new(RunRecord {
                run: RunId::new("r"),
                issue: "A-1".parse().unwrap(),
                identity: None,
                summary: String::new(),
                stage: Stage::Implementation,
                worker: WorkerId::new("w-1"),
                started_at: at(0),
                ended_at: at(1),
                outcome,
                receipt: Receipt { usage, ..Receipt::default() },
                blocked,
                untold: None,
            }),
        }
    }

    fn failed(blocked: bool) -> What {
        ended(Outcome::Failed(Failure::new(FailureKind::NoChange, "nothing changed")), blocked)
    }

    fn activity(lines: &[String]) -> Activity {
        Activity::of(lines.concat().as_bytes(), at(DAY))
    }

    #[test]
    fn nothing_is_known_of_a_worker_that_said_nothing() {
        assert_eq!(activity(&[]), Activity::default());
        assert_eq!(Activity::read(Path::new("/nowhere"), at(0)).busy, None);
    }

    #[test]
    fn a_worker_is_busy_from_claim_to_end() {
        let started = line(1, What::Started { stage: Stage::Implementation });
        assert_eq!(activity(std::slice::from_ref(&started)).busy, Some(false));
        let busy = activity(&[started.clone(), line(2, claimed()), line(3, step(Step::Gate, 1))]);
        let current = busy.current.unwrap();
        assert_eq!(busy.busy, Some(true));
        assert_eq!((current.since, current.step, current.round), (at(2), Some(Step::Gate), 1));
        let done = activity(&[started, line(2, claimed()), line(3, failed(false))]);
        assert_eq!((done.busy, done.current), (Some(false), None));
    }

    #[test]
    fn a_step_alone_shows_that_a_worker_is_busy() {
        assert_eq!(activity(&[line(3, step(Step::Agent, 0))]).busy, Some(true));
    }

    #[test]
    fn a_worker_rests_until_something_else_happens_in_it() {
        let why = "the day's budget of $5.00 is spent".to_owned();
        let rests = line(2, What::Idle { why: why.clone(), wait_secs: 60, until: Some(at(DAY)) });
        let resting = activity(std::slice::from_ref(&rests));
        assert_eq!((resting.busy, resting.resting), (Some(false), Some(Resting { why, until: at(DAY) })));
        assert_eq!(activity(&[rests, line(3, claimed())]).resting, None);
    }

    #[test]
    fn lines_that_are_broken_or_foreign_are_passed_over() {
        let half = line(4, failed(false));
        let lines = ["\u{0}\n", "{}\n", &line(2, claimed()), "not json\n", &half[..half.len() / 2]];
        assert_eq!(activity(&lines.map(String::from)).busy, Some(true));
    }

    #[test]
    fn runs_of_the_last_day_are_counted() {
        let interrupted = line(DAY, ended(Outcome::Interrupted, false));
        let day =
            activity(&[line(-1, failed(true)), line(1, failed(false)), line(2, failed(true)), interrupted])
                .day;
        assert_eq!(
            day,
            Tally {
                landed: 0,
                failed: 2,
                blocked: 1,
                cost_usd: 0.75,
                cost_is_estimated: false,
                cost_is_incomplete: false
            }
        );
    }

    #[test]
    fn the_end_of_a_long_file_is_enough_to_tell_who_is_busy() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let idle = line(1, What::Idle { why: "nothing to do".into(), wait_secs: 60, until: None });
        for _ in 0..=TAIL_BYTES as usize / idle.len() {
            file.write_all(idle.as_bytes()).unwrap();
        }
        file.write_all(line(2, claimed()).as_bytes()).unwrap();
        let latest = Activity::read_latest(file.path(), at(3));
        assert_eq!(latest, Activity::read(file.path(), at(3)));
        assert_eq!(latest.busy, Some(true));
    }
}
