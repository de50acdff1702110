//! `acf status`: pools and workers, and what they are doing.

use acf_core::issue::IssueKey;
use acf_core::ledger;
use acf_core::money::cost;
use acf_core::progress::Step;
use acf_core::receipt::Usage;
use acf_core::run::WorkerId;
use acf_core::runtime::{Pool, WorkerState};
use jiff::Timestamp;
use serde::Serialize;

use crate::args::{OutputArgs, StatusArgs};
use crate::error::Exit;
use crate::process::{Current, ProcessRuntime, Resting, Sight, Tally};
use crate::ui::{Out, Table, elapsed, one_line};

/// How wide the text may be.
const COLUMNS: usize = 80;
/// What is left for a worker's last line at the least.
const NARROWEST_LINE: usize = 16;

/// Prints the state of the fleet.
///
/// # Errors
/// When it cannot be seen or printed.
pub async fn run(
    args: &StatusArgs,
    factory: &str,
    runtime: &ProcessRuntime,
    out: &mut Out,
) -> anyhow::Result<Exit> {
    let sights = runtime.sights().await?;
    let status = Status::of(factory, &sights, &[Pool::Workers, Pool::Planners], args.all);
    status.print(Timestamp::now(), args.output, out)?;
    Ok(Exit::Done)
}

/// The state of the fleet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    factory: String,
    runtime: &'static str,
    pools: Vec<PoolRow>,
    workers: Vec<WorkerRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct PoolRow {
    pool: Pool,
    running: usize,
    busy: usize,
    stopping: usize,
    last_24h: Tally,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct WorkerRow {
    id: WorkerId,
    pool: Pool,
    #[serde(flatten)]
    state: WorkerState,
    started_at: Timestamp,
    busy: Option<bool>,
    run: Option<Current>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resting: Option<Resting>,
    last_line: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<IssueKey>,
    #[serde(skip)]
    has_stopped: bool,
}

impl Status {
    /// Sums up what was seen. Ended workers are left out, unless `all` are wanted, or they ended badly and
    /// nobody has swept up behind them since.
    #[must_use]
    pub fn of(factory: &str, sights: &[Sight], pools: &[Pool], all: bool) -> Self {
        let is_shown = |sight: &Sight| match sight.view.state {
            WorkerState::Running | WorkerState::Stopping => true,
            WorkerState::Ended { exit_code } => all || (exit_code != Some(0) && !sight.is_swept),
        };
        Self {
            factory: factory.to_owned(),
            runtime: "process",
            pools: pools.iter().map(|&pool| PoolRow::of(pool, sights)).collect(),
            workers: sights.iter().filter(|sight| is_shown(sight)).map(WorkerRow::of).collect(),
        }
    }

    /// Prints it as text or as JSON.
    ///
    /// # Errors
    /// When it cannot be printed.
    pub fn print(&self, now: Timestamp, output: OutputArgs, out: &mut Out) -> anyhow::Result<()> {
        if output.json { out.json(self) } else { out.line(self.render(now)) }
    }

    /// Returns it as people read it.
    #[must_use]
    pub fn render(&self, now: Timestamp) -> String {
        let mut pools = Table::new(["pool", "running", "busy", "last 24 h"]).right([1, 2]);
        for pool in &self.pools {
            let running = pool.running.to_string();
            pools.row([pool.pool.to_string(), running, pool.busy.to_string(), pool.day()]);
        }
        let head = format!("factory {} · {}\n{}", self.factory, self.runtime, pools.render());
        if self.workers.is_empty() {
            return head;
        }
        let rows: Vec<_> = self.workers.iter().map(|worker| worker.cells(now)).collect();
        let columns = ["worker", "issue", "step", "elapsed", "last line"];
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).max(columns[column].len())
        };
        let used: usize = 2 + (0..4).map(|column| width(column) + 2).sum::<usize>();
        let left = COLUMNS.saturating_sub(used).max(NARROWEST_LINE);
        let mut workers = Table::new(columns).right([3]);
        for [id, issue, step, elapsed, last_line] in rows {
            workers.row([id, issue, step, elapsed, one_line(&last_line, left)]);
        }
        let mut text = head + &workers.render();
        for worker in &self.workers {
            if let Some(issue) = &worker.left {
                let id = &worker.id;
                text += &format!("\n{id} ended during its run of {issue}: `acf sweep` frees the issue");
            }
        }
        text
    }
}

impl PoolRow {
    fn of(pool: Pool, sights: &[Sight]) -> Self {
        let of_pool = || sights.iter().filter(|sight| sight.view.pool == pool);
        let in_state = |state| of_pool().filter(|sight| sight.view.state == state).count();
        let mut last_24h = Tally::default();
        of_pool().for_each(|sight| last_24h += sight.activity.day);
        Self {
            pool,
            running: in_state(WorkerState::Running),
            busy: of_pool().filter(|sight| sight.view.busy == Some(true)).count(),
            stopping: in_state(WorkerState::Stopping),
            last_24h,
        }
    }

    fn day(&self) -> String {
        let day = self.last_24h;
        let landed = match self.pool {
            Pool::Workers => "done",
            Pool::Planners => "planned",
        };
        let counts = [(day.landed, landed), (day.failed, "failed"), (day.blocked, "blocked")];
        let counts = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
        let cost = cost(&Usage {
            cost_usd: (day.cost_usd > 0.0).then_some(day.cost_usd),
            cost_is_estimated: day.cost_is_estimated,
            cost_is_incomplete: day.cost_is_incomplete,
            ..Usage::default()
        });
        counts.chain(cost).collect::<Vec<_>>().join(", ")
    }
}

impl WorkerRow {
    fn of(sight: &Sight) -> Self {
        let view = &sight.view;
        let has_ended = matches!(view.state, WorkerState::Ended { .. });
        Self {
            id: view.id.clone(),
            pool: view.pool,
            state: view.state.clone(),
            started_at: view.started_at,
            busy: view.busy,
            run: sight.activity.current.clone().filter(|_| !has_ended),
            resting: sight.activity.resting.clone().filter(|_| !has_ended),
            last_line: sight.last_line.as_deref().map(|line| one_line(line, 200)),
            left: view.left.clone(),
            has_stopped: sight.activity.has_stopped,
        }
    }

    fn cells(&self, now: Timestamp) -> [String; 5] {
        let issue = self.run.as_ref().map(|run| &run.issue).or(self.left.as_ref());
        let issue = issue.map(IssueKey::to_string).unwrap_or_default();
        let since = self.run.as_ref().map(|run| now.duration_since(run.since));
        let elapsed = since.map(|time| elapsed(time.try_into().unwrap_or_default())).unwrap_or_default();
        let waits_for = self.run.as_ref().filter(|run| run.step == Some(Step::Waiting));
        let waits_for = waits_for.and_then(|run| run.detail.clone());
        let why = self.resting.as_ref().map(|resting| resting.why.clone());
        let said = || self.last_line.as_deref().map(|line| words_of(line).to_owned());
        let last_line = waits_for.or(why).or_else(said).unwrap_or_default();
        [self.id.to_string(), issue, self.step(now), elapsed, last_line]
    }

    fn step(&self, now: Timestamp) -> String {
        match (&self.state, &self.run) {
            (WorkerState::Ended { exit_code: Some(code) }, _) => format!("ended, exit {code}"),
            (WorkerState::Ended { exit_code: None }, _) if self.has_stopped => "ended".into(),
            (WorkerState::Ended { exit_code: None }, _) => "vanished".into(),
            (WorkerState::Stopping, _) => "stopping".into(),
            (WorkerState::Running, Some(run)) => {
                let step = run.step.map_or_else(|| "claimed".into(), |step| step.to_string());
                if run.round > 0 { format!("{step}, fix round {}", run.round) } else { step }
            }
            (WorkerState::Running, None) if self.busy.is_none() => "starting".into(),
            (WorkerState::Running, None) => match &self.resting {
                Some(resting) if ledger::day(now) == ledger::day(resting.until) => {
                    resting.until.strftime("resting until %H:%M").to_string()
                }
                Some(resting) => resting.until.strftime("resting until %m-%d %H:%M").to_string(),
                None => "idle".into(),
            },
        }
    }
}

/// Returns a log line without its time and level: there is room for little more than they take.
fn words_of(line: &str) -> &str {
    let after = |line: &'_ str, is_meant: fn(&str) -> bool| {
        let (word, rest) = line.split_once(' ')?;
        is_meant(word).then(|| line.len() - rest.trim_start().len())
    };
    let Some(time) = after(line, |word| word.parse::<Timestamp>().is_ok()) else { return line };
    let line = &line[time..];
    let is_level = |word: &str| ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&word);
    &line[after(line, is_level).unwrap_or(0)..]
}

#[cfg(test)]
mod tests {
    use acf_core::issue::Stage;
    use acf_core::runtime::WorkerView;

    use super::*;
    use crate::process::Activity;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sight(id: &str, state: WorkerState) -> Sight {
        let pool = if id.starts_with('p') { Pool::Planners } else { Pool::Workers };
        Sight {
            view: WorkerView {
                id: WorkerId::new(id),
                pool,
                state,
                started_at: at(0),
                busy: Some(false),
                left: None,
            },
            activity: Activity::default(),
            last_line: None,
            is_swept: false,
            is_on_project: true,
        }
    }

    fn busy(id: &str, issue: &str, step: Step, round: u32, last_line: &str) -> Sight {
        let mut sight = sight(id, WorkerState::Running);
        sight.view.busy = Some(true);
        sight.last_line = Some(last_line.into());
        sight.activity.current = Some(Current {
            issue: issue.parse().unwrap(),
            summary: "Say hello".into(),
            stage: Stage::Implementation,
            since: at(1000),
            step: Some(step),
            round,
            detail: None,
        });
        sight
    }

    fn fleet() -> Vec<Sight> {
        let mut planner = sight("p-a07b11c0", WorkerState::Running);
        planner.view.busy = None;
        let mut waiting = busy("w-d3d3d3d3", "ACF-16", Step::Waiting, 0, "agent: 429");
        let detail = "rate limited, going on in 37 s";
        waiting.activity.current =
            waiting.activity.current.map(|run| Current { detail: Some(detail.into()), ..run });
        let mut resting = sight("w-e4e4e4e4", WorkerState::Running);
        let why = "the agent's account has no quota left; waiting until 2026-11-24T18:00:00Z".into();
        resting.activity.resting = Some(Resting { why, until: at(9000) });
        let mut crashed = sight("w-00000001", WorkerState::Ended { exit_code: Some(70) });
        crashed.last_line = Some("error: this is a bug".into());
        crashed.activity.day = Tally {
            landed: 17,
            failed: 2,
            blocked: 1,
            cost_usd: 6.12,
            cost_is_estimated: true,
            cost_is_incomplete: false,
        };
        let mut lost = sight("w-00000003", WorkerState::Ended { exit_code: None });
        lost.view.left = Some("ACF-17".parse().unwrap());
        let mut without_keeper = sight("w-00000004", WorkerState::Ended { exit_code: None });
        without_keeper.activity.has_stopped = true;
        vec![
            busy("w-3f9c2e1a", "ACF-12", Step::Agent, 0, "\u{1b}[1mRunning tests, which is told at length"),
            busy("w-b1b1b1b1", "ACF-15", Step::Gate, 1, "make check"),
            waiting,
            resting,
            sight("w-c2c2c2c2", WorkerState::Stopping),
            planner,
            crashed,
            sight("w-00000002", WorkerState::Ended { exit_code: Some(0) }),
            lost,
            without_keeper,
        ]
    }

    fn rendered(sights: &[Sight], all: bool) -> String {
        let status = Status::of("shop", sights, &[Pool::Workers, Pool::Planners], all);
        anstream::adapter::strip_str(&status.render(at(1362))).to_string()
    }

    #[test]
    fn the_fleet_is_shown_in_eighty_columns() {
        let text = rendered(&fleet(), false);
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_cost_that_is_not_all_known_is_shown_as_a_lower_bound() {
        let mut sight = busy("w-3f9c2e1a", "ACF-12", Step::Agent, 0, "");
        let shown = |cost_usd, sight: &mut Sight| {
            sight.activity.day = Tally { landed: 1, cost_usd, cost_is_incomplete: true, ..Tally::default() };
            rendered(std::slice::from_ref(sight), false)
        };
        assert!(shown(6.12, &mut sight).contains("1 done, at least $6.12\n"));
        assert!(shown(0.0, &mut sight).contains("1 done, cost not known\n"));
    }

    #[test]
    fn workers_that_ended_well_are_shown_on_request() {
        assert!(!rendered(&fleet(), false).contains("w-00000002"));
        assert!(rendered(&fleet(), true).contains("w-00000002"));
    }

    #[test]
    fn a_worker_that_ended_badly_is_shown_until_it_is_swept_up_behind() {
        let mut lost = sight("w-00000003", WorkerState::Ended { exit_code: None });
        assert!(rendered(std::slice::from_ref(&lost), false).contains("vanished"));
        lost.is_swept = true;
        assert!(!rendered(std::slice::from_ref(&lost), false).contains("w-00000003"));
        assert!(rendered(std::slice::from_ref(&lost), true).contains("vanished"));
    }

    #[test]
    fn a_last_line_is_shown_without_its_time_and_level() {
        for (line, words) in [
            ("2026-11-26T08:25:54Z  WARN cannot start yet wait_secs=2", "cannot start yet wait_secs=2"),
            ("2026-11-26T08:25:54Z  INFO agent: Running tests", "agent: Running tests"),
            ("2026-11-26T08:25:54Z and so on", "and so on"),
            ("error: no such thing", "error: no such thing"),
            ("WARN me", "WARN me"),
            ("", ""),
        ] {
            assert_eq!(words_of(line), words);
        }
        let line = "2026-11-26T08:25:54Z  INFO agent: Running tests";
        let text = rendered(&[busy("w-3f9c2e1a", "ACF-12", Step::Agent, 0, line)], false);
        assert!(text.contains("  agent: Running tests\n"), "{text}");
    }

    #[test]
    fn an_empty_fleet_is_two_empty_pools() {
        insta::assert_snapshot!(rendered(&[], false));
    }

    #[test]
    fn scripts_get_the_same_as_json() {
        let status = Status::of("shop", &fleet()[1..2], &[Pool::Workers], false);
        insta::assert_json_snapshot!(status);
    }
}
