//! What runs came to and what they cost, summed over their records.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::receipt::Usage;
use crate::run::{Outcome, RunRecord};

/// What runs are summed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The issue, by its key.
    Issue,
    /// The agent, without its version. A run that two worked on is among those of both, and each has its
    /// own part of the tokens and the cost.
    Agent,
    /// The day on which a run ended, in UTC.
    Day,
}

/// The sum over some runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sum {
    /// The issue, agent or day.
    pub of: String,
    /// How many runs.
    pub runs: u32,
    /// Those whose work landed.
    pub landed: u32,
    /// Those that failed.
    pub failed: u32,
    /// What their agents used.
    #[serde(flatten)]
    pub usage: Usage,
    /// Of how many of the runs nobody knows what all of it cost.
    pub cost_unknown: u32,
    /// Time spent inside agents.
    pub agent_ms: u64,
}

/// Sums runs up, one sum for each issue, agent or day, in the order of their names.
#[must_use]
pub fn sums<'a>(records: impl IntoIterator<Item = &'a RunRecord>, by: By) -> Vec<Sum> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for record in records {
        let receipt = &record.receipt;
        let mut add = |of: String, usage: Usage, agent_ms: u64| {
            let sum = sums.entry(of.clone()).or_insert_with(|| Sum { of, ..Sum::default() });
            sum.runs += 1;
            sum.landed += u32::from(matches!(record.outcome, Outcome::Landed { .. }));
            sum.failed += u32::from(matches!(record.outcome, Outcome::Failed(_)));
            sum.usage += usage;
            sum.cost_unknown += u32::from(usage.cost_is_unknown());
            sum.agent_ms += agent_ms;
        };
        match by {
            By::Issue => add(record.issue.to_string(), receipt.usage, receipt.agent_ms),
            By::Day => add(day(record.ended_at).to_string(), receipt.usage, receipt.agent_ms),
            By::Agent => receipt.shares().into_iter().for_each(|part| {
                let name = part.agent.split(' ').next().unwrap_or_default().to_owned();
                add(name, part.usage, part.agent_ms);
            }),
        }
    }
    sums.into_values().collect()
}

/// Returns what the runs used that ended on that day.
#[must_use]
pub fn spent_on<'a>(day_of: Date, records: impl IntoIterator<Item = &'a RunRecord>) -> Usage {
    let mut spent = Usage::default();
    let on_the_day = records.into_iter().filter(|record| day(record.ended_at) == day_of);
    on_the_day.for_each(|record| spent += record.receipt.usage);
    spent
}

/// Returns the day of a moment, in UTC.
#[must_use]
pub fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// Returns when the day after that of a moment begins, in UTC.
#[must_use]
pub fn next_day(at: Timestamp) -> Timestamp {
    const DAY_SECS: i64 = 24 * 60 * 60;
    let midnight = (at.as_second().div_euclid(DAY_SECS) + 1) * DAY_SECS;
    Timestamp::from_second(midnight).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::{Part, Receipt};
    use crate::run::tests::{failed, landed};

    const DAY: i64 = 24 * 60 * 60;

    fn cost(dollars: f64) -> Usage {
        Usage { cost_usd: Some(dollars), input_tokens: 10, ..Usage::default() }
    }

    fn by_agents(record: RunRecord, agents: &[(&str, Usage)]) -> RunRecord {
        let part =
            |&(agent, usage): &(&str, Usage)| Part { agent: agent.into(), usage, agent_ms: 5, model: None };
        let parts: Vec<_> = agents.iter().map(part).collect();
        RunRecord { receipt: Receipt::default().by(&parts), ..record }
    }

    fn records() -> [RunRecord; 3] {
        let tokens = Usage { output_tokens: 7, ..Usage::default() };
        [
            by_agents(landed(10), &[("claude 2.1", cost(0.5))]),
            by_agents(failed(DAY), &[("claude 2.2", cost(0.25)), ("codex 0.169", cost(1.0))]),
            by_agents(failed(DAY + 1), &[("codex 0.169", tokens)]),
        ]
    }

    fn told(by: By) -> Vec<(String, u32, u32, u32, Option<f64>, u32)> {
        let told =
            |sum: Sum| (sum.of, sum.runs, sum.landed, sum.failed, sum.usage.cost_usd, sum.cost_unknown);
        sums(&records(), by).into_iter().map(told).collect()
    }

    #[test]
    fn runs_are_summed_by_issue_day_and_agent() {
        assert_eq!(told(By::Issue), [("TODO-3".into(), 3, 1, 2, Some(1.75), 1)]);
        assert_eq!(sums(&records(), By::Issue)[0].agent_ms, 4 * 5, "of each agent's part");
        assert_eq!(
            told(By::Day),
            [("1970-01-01".into(), 1, 1, 0, Some(0.5), 0), ("1970-01-02".into(), 2, 0, 2, Some(1.25), 1)]
        );
        assert_eq!(
            told(By::Agent),
            [("claude".into(), 2, 1, 1, Some(0.75), 0), ("codex".into(), 2, 0, 2, Some(1.0), 1)]
        );
    }

    #[test]
    fn a_run_of_which_nobody_knows_what_a_part_cost_counts_as_one_of_unknown_cost() {
        let tokens = Usage { output_tokens: 7, ..Usage::default() };
        let mixed = by_agents(landed(10), &[("claude 2.1", cost(0.5)), ("codex", tokens)]);
        for (by, expected) in [(By::Day, vec![1]), (By::Issue, vec![1]), (By::Agent, vec![0, 1])] {
            let counts: Vec<_> = sums([&mixed], by).iter().map(|sum| sum.cost_unknown).collect();
            assert_eq!(counts, expected);
        }
    }

    #[test]
    fn a_days_spending_is_that_of_the_runs_that_ended_on_it() {
        let at = |secs| Timestamp::from_second(secs).unwrap();
        let spent = |secs| {
            let spent = spent_on(day(at(secs)), &records());
            (spent.cost_usd, spent.cost_is_unknown())
        };
        assert_eq!(spent(0), (Some(0.5), false));
        assert_eq!(spent(DAY), (Some(1.25), true), "one of them has a cost that nobody knows");
        assert_eq!(spent(-1), (None, false));
    }

    #[test]
    fn the_next_day_begins_at_midnight() {
        let next = |secs| next_day(Timestamp::from_second(secs).unwrap()).as_second();
        assert_eq!([next(0), next(DAY - 1), next(DAY), next(-1)], [DAY, DAY, 2 * DAY, 0]);
        assert_eq!(next_day(Timestamp::MAX), Timestamp::MAX);
    }
}
