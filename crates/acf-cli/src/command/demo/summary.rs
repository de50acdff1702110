//! What the demo came to: commits, receipts and figures.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use acf_core::issue::IssueKey;
use acf_core::receipt_text::{agent_line, gate_line};
use acf_core::run::{Outcome, RunRecord};
use serde::Serialize;

use super::board::{Board, Standing};
use super::sandbox::Landed;
use crate::command::runs::result;
use crate::ui::one_line;

/// How many commits and receipts are shown at most.
const MOST_SHOWN: usize = 12;

/// The demo in figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Figures {
    issues: usize,
    done: usize,
    planned: usize,
    failed: usize,
    blocked: usize,
    duplicate_claims: usize,
    duplicate_commits: usize,
    wall_ms: u64,
    /// Time not spent inside the agent, from a worker's first look to its last, an issue run.
    overhead_ms_per_issue: f64,
    git_processes_per_issue: f64,
    git_pushes_per_issue: f64,
}

/// What the demo came to.
pub(super) struct Summary {
    figures: Figures,
    commits: Vec<Landed>,
    records: Vec<RunRecord>,
}

impl Summary {
    /// Sums up the board and the commits on the trunk.
    pub(super) fn new(board: &Board, commits: Vec<Landed>, wall: Duration) -> anyhow::Result<Self> {
        let last = |wanted: fn(&RunRecord) -> bool| {
            let ended = board.rows.values().filter_map(|row| match &row.standing {
                Standing::Ended(record) => Some(record),
                Standing::Queued | Standing::Working { .. } => None,
            });
            ended.filter(|record| wanted(record)).count()
        };
        let runs = board.records.len().max(1) as f64;
        let alive: i128 = board
            .shifts
            .values()
            .filter_map(|shift| Some(shift.to?.duration_since(shift.from?).as_millis()))
            .sum();
        let in_agents: u64 = board.records.iter().map(|record| record.receipt.agent_ms).sum();
        let processes: u64 = board.shifts.values().map(|shift| shift.git_processes).sum();
        let pushes: u64 = board.shifts.values().map(|shift| shift.git_pushes).sum();
        let figures = Figures {
            issues: board.rows.len(),
            done: last(|record| matches!(record.outcome, Outcome::Landed { plan: None, .. })),
            planned: last(|record| matches!(record.outcome, Outcome::Landed { plan: Some(_), .. })),
            failed: last(|record| matches!(record.outcome, Outcome::Failed(_)) && !record.blocked),
            blocked: last(|record| record.blocked),
            duplicate_claims: duplicate_claims(board),
            duplicate_commits: duplicate_commits(&commits, &board.records),
            wall_ms: u64::try_from(wall.as_millis())?,
            overhead_ms_per_issue: rounded((alive as f64 - in_agents as f64) / runs),
            git_processes_per_issue: rounded(processes as f64 / runs),
            git_pushes_per_issue: rounded(pushes as f64 / runs),
        };
        Ok(Self { figures, commits, records: board.records.clone() })
    }

    /// Returns the figures.
    pub(super) fn figures(&self) -> Figures {
        self.figures
    }

    /// Tells whether nothing was done twice, and every issue was worked on.
    pub(super) fn is_sound(&self) -> bool {
        let Figures { issues, done, planned, failed, blocked, duplicate_claims, duplicate_commits, .. } =
            self.figures;
        duplicate_claims + duplicate_commits == 0 && done + planned + failed + blocked == issues
    }

    /// Returns it as people read it.
    pub(super) fn render(&self) -> String {
        let mut text = String::from("\ncommits on main\n");
        for landed in self.commits.iter().take(MOST_SHOWN) {
            text += &format!("  {} {}\n", landed.commit.short(), one_line(&landed.subject, 64));
        }
        text += &more(self.commits.len());
        text += "\nreceipts\n";
        for record in self.records.iter().take(MOST_SHOWN) {
            text += &format!("  {:8} {}\n", record.issue, one_line(&result(record), 66));
            let gate = gate_line(record).map(|gate| format!(" · gate {gate}")).unwrap_or_default();
            let fixes = match record.receipt.fix_rounds {
                0 => String::new(),
                n => format!(" · {}", crate::ui::count(n as usize, "fix round")),
            };
            text += &format!("           agent {}{gate}{fixes}\n", agent_line(&record.receipt));
        }
        text += &more(self.records.len());
        let Figures { issues, done, planned, failed, blocked, duplicate_claims, duplicate_commits, .. } =
            self.figures;
        let others = [(planned, "awaiting plan review"), (failed, "given back"), (blocked, "blocked")];
        let others: String =
            others.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect();
        let wall = self.figures.wall_ms as f64 / 1000.0;
        text += &format!(
            "\n{done} of {issues} done{others}, in {wall:.1} s\n{duplicate_claims} claimed twice · \
             {duplicate_commits} landed twice · acf's own time {:.0} ms an issue\n",
            self.figures.overhead_ms_per_issue
        );
        text
    }
}

fn more(all: usize) -> String {
    match all.checked_sub(MOST_SHOWN) {
        None | Some(0) => String::new(),
        Some(rest) => format!("  … and {rest} more\n"),
    }
}

fn rounded(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

/// Counts the times that a worker took an issue while another one held it.
fn duplicate_claims(board: &Board) -> usize {
    let mut by_issue: BTreeMap<&IssueKey, Vec<_>> = BTreeMap::new();
    for (_, hold) in &board.holds {
        by_issue.entry(&hold.issue).or_default().push(hold);
    }
    let overlaps = by_issue.values_mut().map(|holds| {
        holds.sort_by_key(|hold| hold.from);
        holds.windows(2).filter(|pair| pair[0].to.is_none_or(|to| to > pair[1].from)).count()
    });
    overlaps.sum()
}

/// Counts the commits beyond the first of each issue. A plan and its implementation are two works.
fn duplicate_commits(commits: &[Landed], records: &[RunRecord]) -> usize {
    let plans: BTreeSet<_> = records
        .iter()
        .filter_map(|record| match &record.outcome {
            Outcome::Landed { commit, plan: Some(_), .. } => Some(commit),
            _ => None,
        })
        .collect();
    let mut works = BTreeMap::new();
    for landed in commits {
        *works.entry((&landed.issue, plans.contains(&landed.commit))).or_insert(0usize) += 1;
    }
    works.values().map(|count| count - 1).sum()
}
