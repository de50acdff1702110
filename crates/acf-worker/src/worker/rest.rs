//! When a worker takes no issues for a while: its agents have no quota left, their service does not work, the
//! day's budget is spent, something is wrong with the repository itself, or run after run breaks.
//!
//! Every issue would fare alike then, so nothing is tried. What dead workers left is settled all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use acf_core::claim::{ClaimError, ClaimStore, Survey, Version};
use acf_core::eligibility::Finding;
use acf_core::issue::IssueKey;
use acf_core::ledger::{day, next_day, spent_on};
use acf_core::money::{cost, money};
use acf_core::receipt::Usage;
use acf_core::run::{CommitId, Failure, FailureKind, Outcome, RunRecord};
use jiff::Timestamp;
use jiff::civil::Date;
use tokio_util::sync::CancellationToken;

use super::Worker;

/// When a service is asked again that does not say how long it refuses.
const ASK_AGAIN: Duration = Duration::from_secs(15 * 60);
/// The least that a second rest in a row lasts, whatever the service says; it doubles with each one more.
const FIRST_LEAST: Duration = Duration::from_secs(60);
/// The most that a rest lasts at the least.
const LONGEST_LEAST: Duration = Duration::from_secs(60 * 60);

/// After a fault of the repository that a moved trunk did not mend, the most that is waited before the next try
/// at a trunk that has moved again: workers whose tracker is a file on the trunk move it by trying.
const LONGEST_AFTER_MOVE: Duration = Duration::from_secs(5 * 60);

/// When runs of this many issues broke in a row, it is no longer taken for the issues' doing.
const TOO_MANY_BROKE: usize = 3;
/// So many runs in a row are tried over a trunk that fails its own gate: one of them may be to mend it.
const TRIES_OVER_RED_TRUNK: usize = 3;

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
    /// How many runs have broken beyond what may be the issues' doing.
    broken: u32,
    /// Whose runs have broken since one did not.
    broken_of: BTreeSet<IssueKey>,
    /// How the trunk fails its own gate, as the runs of late tell, one after the other.
    red_trunk: Vec<String>,
    rest: Option<Rest>,
    fault: Option<Fault>,
}

/// What is wrong with the repository, as a run or a look at the trunk has found.
#[derive(Clone, Debug)]
struct Fault {
    reason: String,
    /// Where the trunk was when it was first looked at after the run: giving the issue back may have moved it.
    trunk: Option<CommitId>,
    /// From when a trunk that has moved is tried.
    try_moved_from: Timestamp,
    /// The issue whose run found that the gate fails without its work, if that is the fault.
    gate_of: Option<IssueKey>,
}

impl Fatigue {
    /// Takes note of how a run ended.
    pub(super) fn note(&self, record: &RunRecord, now: Timestamp) {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &record.outcome {
            Outcome::Failed(failure) if is_tiring(failure) => {
                let until = rest_until(failure.until, met.in_a_row, now);
                met.in_a_row = met.in_a_row.saturating_add(1);
                let reason = without_time(&failure.reason);
                let why = match failure.until {
                    Some(_) => format!("{reason}; waiting until {until:.0}"),
                    None => format!("{reason}; asking again at {until:.0}, as no service named a time"),
                };
                met.rest = Some(Rest { why, until });
                (met.fault, met.broken, met.broken_of, met.red_trunk) =
                    (None, 0, BTreeSet::new(), Vec::new());
            }
            Outcome::Failed(failure)
                if failure.kind == FailureKind::BaseFailsGate
                    && met.red_trunk.len() + 1 < TRIES_OVER_RED_TRUNK =>
            {
                let mut red_trunk = std::mem::take(&mut met.red_trunk);
                red_trunk.push(failure.reason.clone());
                *met = Met { red_trunk, ..Met::default() };
            }
            Outcome::Failed(failure) if failure.kind.is_fault_of_repository() => {
                let is_of_gate = failure.kind == FailureKind::BaseFailsGate;
                met.fault = Some(Fault {
                    reason: failure.reason.clone(),
                    trunk: None,
                    try_moved_from: after(now, least(met.in_a_row).min(LONGEST_AFTER_MOVE)),
                    gate_of: is_of_gate.then(|| record.issue.clone()),
                });
                (met.broken, met.broken_of) = (0, BTreeSet::new());
                met.pause(now);
                met.in_a_row = met.in_a_row.saturating_add(1);
            }
            Outcome::Failed(failure) if is_breakage(failure) => {
                let mut broken_of = std::mem::take(&mut met.broken_of);
                broken_of.insert(record.issue.clone());
                // One issue alone may be to blame, however often it is tried.
                let is_too_much = broken_of.len() >= TOO_MANY_BROKE;
                let broken = if is_too_much { met.broken.saturating_add(1) } else { 0 };
                let rest = is_too_much.then(|| {
                    let until = after(now, least(broken));
                    let (issues, reason) = (broken_of.len(), &failure.reason);
                    let why =
                        format!("runs of {issues} issues in a row broke: {reason}; waiting until {until:.0}");
                    Rest { why, until }
                });
                *met = Met { broken, broken_of, rest, ..Met::default() };
            }
            // It says nothing of either: a run that was interrupted, or that came to nothing.
            Outcome::Interrupted | Outcome::Withdrawn { .. }
                if !met.broken_of.is_empty() || !met.red_trunk.is_empty() => {}
            _ => *met = Met::default(),
        }
    }
}

/// Tells whether a failure may be the machine's, the agent's or the tracker account's own, and so befall issue
/// after issue.
fn is_breakage(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        FailureKind::AgentCrashed
            | FailureKind::AgentStalled
            | FailureKind::AgentTimedOut
            | FailureKind::TrackerRefused
            | FailureKind::Internal
    )
}

fn is_tiring(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        FailureKind::QuotaExhausted | FailureKind::RateLimited | FailureKind::ServiceUnavailable
    )
}

impl Met {
    /// Rests because of the fault that is known, for as long as that usually takes by now.
    fn pause(&mut self, now: Timestamp) {
        let Some(fault) = &self.fault else { return };
        let until = after(now, least(self.in_a_row.saturating_add(1)));
        let why = match fault.gate_of {
            Some(_) => format!(
                "{}; no agent is asked until it passes there, next looked at when the trunk has moved, or at {until:.0}; \
                 `acf implement KEY` tries an issue that mends it",
                fault.reason
            ),
            None => format!("{}; trying again when the trunk has moved, or at {until:.0}", fault.reason),
        };
        self.rest = Some(Rest { why, until });
    }
}

impl Worker {
    /// Returns the rest that is not over yet. A fault of the repository is looked for again, without a run,
    /// when the trunk has moved and when the rest is over.
    pub(super) async fn rest(&self, trunk: &CommitId, stop: &CancellationToken) -> Option<Rest> {
        let now = self.around.clock.now();
        let (rest, has_moved, gate_of) = match self.fatigue.look(trunk, now) {
            Look::At { rest, has_moved, gate_of } => (rest, has_moved, gate_of),
            Look::NoNeed(rest) => return rest,
        };
        let mut checked = self.around.workbench.check(trunk, self.orders.stage).await;
        if let (Ok(()), Some(issue)) = (&checked, gate_of) {
            let named = (&issue, &(self.around.run_ids)());
            checked = self.around.workbench.check_gate(trunk, named, stop).await;
        }
        match checked {
            Ok(()) => {
                if has_moved {
                    tracing::info!(%trunk, "the trunk has moved: taking issues again");
                }
                self.fatigue.is_mended();
                None
            }
            Err(failure) if failure.kind.is_fault_of_repository() => {
                let now = self.around.clock.now();
                Some(self.fatigue.stays(&failure.masked(&self.around.mask), trunk, now))
            }
            // Whether it is mended is not known: the next look tells, or a run.
            Err(_) => rest,
        }
    }
}

/// Whether a fault of the repository is to be looked for again.
enum Look {
    /// Not now; the rest that holds, if any.
    NoNeed(Option<Rest>),
    /// Now.
    At {
        /// The rest that holds, if any.
        rest: Option<Rest>,
        /// Whether the trunk has moved.
        has_moved: bool,
        /// Whose run found the gate to fail without its work, if that is to be looked for.
        gate_of: Option<IssueKey>,
    },
}

impl Fatigue {
    fn look(&self, trunk: &CommitId, now: Timestamp) -> Look {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = met.rest.clone().filter(|rest| now < rest.until);
        let Some(fault) = &mut met.fault else { return Look::NoNeed(rest) };
        let has_moved = *fault.trunk.get_or_insert_with(|| trunk.clone()) != *trunk;
        let may_be_tried = has_moved && now >= fault.try_moved_from;
        if rest.is_none() || may_be_tried {
            Look::At { rest, has_moved, gate_of: fault.gate_of.clone() }
        } else {
            Look::NoNeed(rest)
        }
    }

    /// Takes note that the fault is no longer there. How long the next one is waited for stays as it is, until a
    /// run goes well.
    fn is_mended(&self) {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (met.fault, met.rest, met.red_trunk) = (None, None, Vec::new());
    }

    /// Returns how the trunk fails its own gate, as far as the last runs tell.
    pub(super) fn red_trunk(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).red_trunk.last().cloned()
    }

    /// Takes note that there still is a fault where the trunk is now.
    fn stays(&self, failure: &Failure, trunk: &CommitId, now: Timestamp) -> Rest {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (reason, trunk) = (failure.reason.clone(), Some(trunk.clone()));
        let gate_of = met.fault.take().and_then(|fault| fault.gate_of);
        met.fault = Some(Fault { reason, trunk, try_moved_from: now, gate_of });
        met.pause(now);
        met.in_a_row = met.in_a_row.saturating_add(1);
        met.rest.clone().expect("a pause is a rest")
    }
}

/// Returns a reason without the time in it, which is said in another place.
fn without_time(reason: &str) -> &str {
    reason.rsplit_once(" until ").map_or(reason, |(before, _)| before)
}

/// Returns until when to rest: until the service says, and the longer the more often in a row that was
/// not enough. What it says the first time is believed.
fn rest_until(told: Option<Timestamp>, in_a_row: u32, now: Timestamp) -> Timestamp {
    told.unwrap_or_else(|| after(now, ASK_AGAIN)).max(after(now, least(in_a_row)))
}

/// Returns how long a rest lasts at the least, after so many in a row.
fn least(in_a_row: u32) -> Duration {
    match in_a_row.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_LEAST.saturating_mul(2u32.saturating_pow(doublings)).min(LONGEST_LEAST),
    }
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
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
    paid: BTreeMap<Date, Usage>,
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
        let spent = self.on_the_day(claims, survey, now).await?;
        Ok(is_spent(&spent, budget_usd).then(|| {
            let until = next_day(now);
            // Without what was spent: runs of others that end later would make it another reason.
            Rest {
                why: format!("the day's budget of {} is spent; waiting until {until}", money(budget_usd)),
                until,
            }
        }))
    }

    /// Returns what the runs used that ended on this day.
    async fn on_the_day(
        &self,
        claims: &dyn ClaimStore,
        survey: &Survey,
        now: Timestamp,
    ) -> Result<Usage, ClaimError> {
        self.read_on(claims, survey).await?;
        let today = day(now);
        let mut spent = Usage::default();
        self.lock().values().filter_map(|chain| chain.paid.get(&today)).for_each(|paid| spent += *paid);
        Ok(spent)
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

fn is_spent(spent: &Usage, budget_usd: f64) -> bool {
    spent.cost_usd.unwrap_or(0.0) >= budget_usd
}

/// Says, for people who ask why nothing is taken, whether the day's budget lets an issue be taken.
///
/// # Errors
/// When the repository cannot be asked.
pub async fn explain_budget(
    claims: &dyn ClaimStore,
    budget_usd: f64,
    now: Timestamp,
) -> Result<Finding, ClaimError> {
    let survey = claims.survey().await?;
    let spent = Spending::default().on_the_day(claims, &survey, now).await?;
    Ok(budget_finding(&spent, budget_usd, now))
}

fn budget_finding(spent: &Usage, budget_usd: f64, now: Timestamp) -> Finding {
    let budget = money(budget_usd);
    if is_spent(spent, budget_usd) {
        let remedy = format!("wait until {}, or raise FACTORY_BUDGET_USD_PER_DAY", next_day(now));
        return Finding {
            ok: false,
            says: format!("the day's budget of {budget} is spent"),
            remedy: Some(remedy),
        };
    }
    let spent = match cost(spent) {
        Some(cost) if spent.cost_usd.is_some_and(|dollars| dollars > 0.0) => format!("{cost} spent"),
        Some(cost) => cost,
        None => "nothing spent".to_owned(),
    };
    Finding { ok: true, says: format!("the day's budget of {budget} is not spent: {spent}"), remedy: None }
}

#[cfg(test)]
mod tests {
    use super::super::stubs::record;
    use super::*;

    #[test]
    fn the_days_budget_says_what_is_spent_of_it_and_when_there_is_another() {
        let says = |cost_usd, cost_is_incomplete| {
            let spent = Usage { cost_usd, cost_is_incomplete, ..Usage::default() };
            let finding = budget_finding(&spent, 4.0, at(5));
            (finding.ok, finding.says)
        };
        let left = |words: &str| (true, format!("the day's budget of $4.00 is not spent: {words}"));
        assert_eq!(says(None, false), left("nothing spent"));
        assert_eq!(says(None, true), left("cost not known"));
        assert_eq!(says(Some(0.0), true), left("cost not known"));
        assert_eq!(says(Some(1.25), true), left("at least $1.25 spent"));
        assert_eq!(says(Some(4.0), false), (false, "the day's budget of $4.00 is spent".to_owned()));
        let spent = Usage { cost_usd: Some(5.0), ..Usage::default() };
        assert_eq!(
            budget_finding(&spent, 0.0003, at(5)),
            Finding {
                ok: false,
                says: "the day's budget of $0.0003 is spent".to_owned(),
                remedy: Some(
                    "wait until 1970-01-02T00:00:00Z, or raise FACTORY_BUDGET_USD_PER_DAY".to_owned()
                ),
            }
        );
    }

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

    fn rest(fatigue: &Fatigue, now: i64) -> Option<Rest> {
        match fatigue.look(&CommitId::new("base"), at(now)) {
            Look::NoNeed(rest) | Look::At { rest, .. } => rest,
        }
    }

    #[test]
    fn a_worker_rests_until_its_agent_has_quota_again() {
        let fatigue = Fatigue::default();
        assert_eq!(rest(&fatigue, 0), None);
        fatigue.note(&exhausted(50), at(0));
        let why = "the agent's account has no quota left; waiting until 1970-01-01T00:00:50Z".to_owned();
        assert_eq!(rest(&fatigue, 49), Some(Rest { why, until: at(50) }));
        assert_eq!(rest(&fatigue, 50), None);
        fatigue.note(&exhausted(51), at(50));
        assert_eq!(rest(&fatigue, 109).unwrap().until, at(110), "it is not believed twice");
    }

    #[test]
    fn a_trunk_that_fails_its_own_gate_is_tried_thrice_and_then_only_looked_at() {
        let red = || record(Outcome::Failed(Failure::of_base_gate("`make` exit 2", "no")));
        let fatigue = Fatigue::default();
        for _ in 0..2 {
            fatigue.note(&red(), at(0));
            fatigue.note(&record(Outcome::Interrupted), at(0));
            assert_eq!(rest(&fatigue, 0), None, "the next issue may mend it");
        }
        fatigue.note(&red(), at(0));
        let why = rest(&fatigue, 59).unwrap().why;
        assert!(
            why.starts_with("the gate fails without the agent's work, too: `make` exit 2; no agent"),
            "{why}"
        );
        let Look::At { gate_of, .. } = fatigue.look(&CommitId::new("base"), at(60)) else {
            panic!("no look")
        };
        assert_eq!(gate_of, Some(red().issue));
        let stays =
            fatigue.stays(&Failure::of_base_gate("`make` exit 2", ""), &CommitId::new("base"), at(60));
        assert!(stays.why.ends_with("`acf implement KEY` tries an issue that mends it"), "{}", stays.why);
        assert!(fatigue.red_trunk().is_some());
        fatigue.is_mended();
        assert!(
            matches!(fatigue.look(&CommitId::new("moved"), at(61)), Look::NoNeed(None)),
            "it is not looked at again"
        );
        assert_eq!(fatigue.red_trunk(), None);

        let fatigue = Fatigue::default();
        for _ in 0..5 {
            fatigue.note(&red(), at(0));
            fatigue.note(&record(Outcome::Failed(Failure::new(FailureKind::GateFailed, "x"))), at(0));
        }
        assert_eq!(rest(&fatigue, 0), None, "the trunk passes in between");
    }

    fn faulty() -> RunRecord {
        record(Outcome::Failed(Failure::new(FailureKind::RepositoryFault, "set-up `make` exit 2")))
    }

    fn is_tried(fatigue: &Fatigue, trunk: &str, now: i64) -> bool {
        matches!(fatigue.look(&CommitId::new(trunk), at(now)), Look::At { .. })
    }

    #[test]
    fn a_fault_of_the_repository_is_tried_again_when_the_trunk_has_moved_or_after_a_pause() {
        let fatigue = Fatigue::default();
        fatigue.note(&faulty(), at(0));
        let why = "set-up `make` exit 2; trying again when the trunk has moved, or at 1970-01-01T00:01:00Z";
        assert_eq!(rest(&fatigue, 59), Some(Rest { why: why.into(), until: at(60) }));
        assert!(!is_tried(&fatigue, "base", 59), "nothing has changed");
        assert!(is_tried(&fatigue, "moved", 59));
        assert!(is_tried(&fatigue, "base", 60));
    }

    #[test]
    fn tries_that_move_the_trunk_themselves_become_rare() {
        let fatigue = Fatigue::default();
        fatigue.note(&faulty(), at(0));
        assert!(!is_tried(&fatigue, "with the issue given back", 0), "that is the run's own doing");
        fatigue.note(&faulty(), at(1));
        assert!(
            !is_tried(&fatigue, "one", 1) && !is_tried(&fatigue, "two", 60) && is_tried(&fatigue, "two", 61)
        );
        (0..20).for_each(|_| fatigue.note(&faulty(), at(100)));
        assert!(
            !is_tried(&fatigue, "one", 399) && is_tried(&fatigue, "two", 400),
            "a person may have mended it"
        );
        assert_eq!(rest(&fatigue, 100).unwrap().until, at(100 + 3600));
    }

    #[test]
    fn a_fault_that_is_still_there_where_the_trunk_is_now_needs_no_run_to_be_seen() {
        let fatigue = Fatigue::default();
        fatigue.note(&faulty(), at(0));
        let failure = Failure::new(FailureKind::RepositoryFault, "no template");
        let stays = fatigue.stays(&failure, &CommitId::new("moved"), at(10));
        assert_eq!(stays.until, at(10 + 120));
        assert!(stays.why.starts_with("no template; "), "{}", stays.why);
        assert!(!is_tried(&fatigue, "moved", 11) && is_tried(&fatigue, "moved again", 11));
    }

    fn broken(issue: u32, kind: FailureKind) -> RunRecord {
        let failure = Failure::new(kind, "the agent exited with 1");
        RunRecord { issue: format!("TODO-{issue}").parse().unwrap(), ..record(Outcome::Failed(failure)) }
    }

    #[test]
    fn a_worker_whose_runs_break_one_after_the_other_does_not_try_them_all() {
        use FailureKind::{AgentCrashed, AgentStalled, AgentTimedOut, Internal, TrackerRefused};
        for kind in [AgentCrashed, AgentStalled, AgentTimedOut, TrackerRefused, Internal] {
            let fatigue = Fatigue::default();
            let broke = |issue, now| fatigue.note(&broken(issue, kind), at(now));
            (0..9).for_each(|_| broke(1, 0));
            broke(2, 0);
            assert_eq!(rest(&fatigue, 0), None, "that may be the issues' doing");
            broke(3, 0);
            let why = "runs of 3 issues in a row broke: the agent exited with 1; waiting until 1970-01-01T00:01:00Z";
            assert_eq!(rest(&fatigue, 59), Some(Rest { why: why.into(), until: at(60) }));
            assert_eq!(rest(&fatigue, 60), None);
            fatigue.note(&record(Outcome::Interrupted), at(60));
            broke(1, 60);
            assert_eq!(rest(&fatigue, 60).unwrap().until, at(60 + 120), "longer and longer");
            (0..20).for_each(|_| broke(1, 200));
            assert_eq!(rest(&fatigue, 200).unwrap().until, at(200 + 3600));
            let failure = Failure::new(FailureKind::GateFailed, "`make` exit 2");
            fatigue.note(&record(Outcome::Failed(failure)), at(300));
            assert_eq!(rest(&fatigue, 300), None, "the agent works");
            broke(4, 301);
            assert_eq!(rest(&fatigue, 301), None);
        }
    }

    #[test]
    fn any_other_end_shows_that_the_agent_works_again() {
        let fatigue = Fatigue::default();
        fatigue.note(&exhausted(50), at(0));
        let failure = Failure::new(FailureKind::NoChange, "the agent changed nothing");
        fatigue.note(&record(Outcome::Failed(failure)), at(10));
        assert_eq!(rest(&fatigue, 10), None);
        fatigue.note(&exhausted(60), at(20));
        assert_eq!(rest(&fatigue, 20).unwrap().until, at(60));
    }
}
