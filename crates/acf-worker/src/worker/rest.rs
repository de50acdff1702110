//! When a worker takes no issues for a while: its agents have no quota left, their service does not work, or the
//! day's budget is spent.
//!
//! Every issue would fare alike then, so nothing is tried. What dead workers left is settled all the same.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use acf_core::claim::{ClaimError, ClaimStore, Survey, Version};
use acf_core::ledger::{day, next_day, spent_on};
use acf_core::run::{Failure, FailureKind, Outcome, RunRecord};
use jiff::Timestamp;
use jiff::civil::Date;

/// When a service is asked again that does not say how long it refuses.
const ASK_AGAIN: Duration = Duration::from_secs(15 * 60);
/// The least that a second rest in a row lasts, whatever the service says; it doubles with each one more.
const FIRST_LEAST: Duration = Duration::from_secs(60);
/// The most that a rest lasts at the least.
const LONGEST_LEAST: Duration = Duration::from_secs(60 * 60);

/// Why no issue is taken, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) why: String,
    pub(super) until: Timestamp,
}

/// What a worker's agents have last met with.
#[derive(Debug, Default)]
pub(super) struct Fatigue(Mutex<Met>);

#[derive(Debug, Default)]
struct Met {
    in_a_row: u32,
    rest: Option<Rest>,
}

impl Fatigue {
    /// Takes note of how a run ended.
    pub(super) fn note(&self, record: &RunRecord, now: Timestamp) {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &record.outcome {
            Outcome::Failed(failure) if is_tiring(failure) => {
                let until = rest_until(failure.until, met.in_a_row, now);
                met.in_a_row = met.in_a_row.saturating_add(1);
                let why = format!("{}; waiting until {until:.0}", without_time(&failure.reason));
                met.rest = Some(Rest { why, until });
            }
            _ => *met = Met::default(),
        }
    }

    /// Returns the rest that is not over yet.
    pub(super) fn rest(&self, now: Timestamp) -> Option<Rest> {
        let met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        met.rest.clone().filter(|rest| now < rest.until)
    }
}

fn is_tiring(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        FailureKind::QuotaExhausted | FailureKind::RateLimited | FailureKind::ServiceUnavailable
    )
}

/// Returns a reason without the time in it, which is said in another place.
fn without_time(reason: &str) -> &str {
    reason.rsplit_once(" until ").map_or(reason, |(before, _)| before)
}

/// Returns until when to rest: until the service says, and the longer the more often in a row that was
/// not enough. What it says the first time is believed.
fn rest_until(told: Option<Timestamp>, in_a_row: u32, now: Timestamp) -> Timestamp {
    let least = match in_a_row.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_LEAST.saturating_mul(2u32.saturating_pow(doublings)).min(LONGEST_LEAST),
    };
    let after = |wait| now.checked_add(wait).unwrap_or(Timestamp::MAX);
    told.unwrap_or_else(|| after(ASK_AGAIN)).max(after(least))
}

/// What runs cost, as far as their records were read: each chain is read again only when it has grown.
#[derive(Debug, Default)]
pub(super) struct Spending {
    read: Mutex<BTreeMap<String, Chain>>,
}

/// A chain of records, and what of them was paid on which day.
#[derive(Clone, Debug)]
struct Chain {
    tip: Version,
    paid: BTreeMap<Date, f64>,
}

impl Spending {
    /// Returns a rest until the next day, if the day's runs of all workers have cost as much as they may.
    pub(super) async fn rest(
        &self,
        claims: &dyn ClaimStore,
        survey: &Survey,
        budget_usd: f64,
        now: Timestamp,
    ) -> Result<Option<Rest>, ClaimError> {
        self.read_on(claims, survey).await?;
        let today = day(now);
        let spent: f64 = self.lock().values().filter_map(|chain| chain.paid.get(&today)).sum();
        Ok((spent >= budget_usd).then(|| {
            let until = next_day(now);
            // Without what was spent: runs of others that end later would make it another reason.
            Rest {
                why: format!("the day's budget of ${budget_usd:.2} is spent; waiting until {until}"),
                until,
            }
        }))
    }

    async fn read_on(&self, claims: &dyn ClaimStore, survey: &Survey) -> Result<(), ClaimError> {
        let grown: BTreeMap<_, _> = {
            let read = self.lock();
            let is_known =
                |slug: &String, tip: &Version| read.get(slug).is_some_and(|chain| chain.tip == *tip);
            survey
                .runs
                .iter()
                .filter(|(slug, tip)| !is_known(slug, tip))
                .map(|(s, t)| (s.clone(), t.clone()))
                .collect()
        };
        if grown.is_empty() {
            return Ok(());
        }
        let mut records = claims.read_runs(&grown).await?;
        let mut read = self.lock();
        for (slug, tip) in grown {
            let records = records.remove(&slug).unwrap_or_default();
            let days = records.iter().map(|record| day(record.ended_at));
            let paid = days.map(|day| (day, spent_on(day, &records))).collect();
            read.insert(slug, Chain { tip, paid });
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Chain>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stubs::record;
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    #[test]
    fn what_a_service_says_first_is_believed_and_what_proves_wrong_is_not_asked_for_ever() {
        let until = |told: Option<i64>, in_a_row| rest_until(told.map(at), in_a_row, at(0)).as_second();
        assert_eq!(until(Some(5), 0), 5);
        assert_eq!(until(Some(-5), 0), 0);
        let stuck: Vec<_> = (1..9).map(|in_a_row| until(Some(-5), in_a_row)).collect();
        assert_eq!(stuck, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(until(Some(100_000), 3), 100_000);
        assert_eq!(until(None, 0), 900);
        assert_eq!(until(None, u32::MAX), 3600);
    }

    fn exhausted(until: i64) -> RunRecord {
        let reason = format!("the agent's account has no quota left until {}", at(until));
        record(Outcome::Failed(Failure::new(FailureKind::QuotaExhausted, reason).until(Some(at(until)))))
    }

    #[test]
    fn a_worker_rests_until_its_agent_has_quota_again() {
        let fatigue = Fatigue::default();
        assert_eq!(fatigue.rest(at(0)), None);
        fatigue.note(&exhausted(50), at(0));
        let why = "the agent's account has no quota left; waiting until 1970-01-01T00:00:50Z".to_owned();
        assert_eq!(fatigue.rest(at(49)), Some(Rest { why, until: at(50) }));
        assert_eq!(fatigue.rest(at(50)), None);
        fatigue.note(&exhausted(51), at(50));
        assert_eq!(fatigue.rest(at(109)).unwrap().until, at(110), "it is not believed twice");
    }

    #[test]
    fn any_other_end_shows_that_the_agent_works_again() {
        let fatigue = Fatigue::default();
        fatigue.note(&exhausted(50), at(0));
        let failure = Failure::new(FailureKind::NoChange, "the agent changed nothing");
        fatigue.note(&record(Outcome::Failed(failure)), at(10));
        assert_eq!(fatigue.rest(at(10)), None);
        fatigue.note(&exhausted(60), at(20));
        assert_eq!(fatigue.rest(at(20)).unwrap().until, at(60));
    }
}
