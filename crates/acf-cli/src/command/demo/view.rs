//! The demo as people see it: a live table on a terminal, a line a change elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use acf_core::issue::Stage;
use acf_core::run::{Outcome, Target};
use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::board::{Board, Row, Standing};
use crate::ui::{one_line, say};

/// How many rows a live table has at most; beyond that, only what is going on is shown.
const MOST_ROWS: usize = 16;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const BUSY: Style = AnsiColor::Cyan.on_default();
const ASKS: Style = AnsiColor::Yellow.on_default();
const QUIET: Style = Style::new().dimmed();

/// What people see.
pub(super) enum View {
    /// A table that changes in place.
    Live {
        /// A bar for each line of it.
        lines: Vec<ProgressBar>,
        /// What keeps them together.
        multi: MultiProgress,
    },
    /// A line for each change.
    Plain,
}

impl View {
    /// Makes the view that suits standard error.
    pub(super) fn new(issues: usize) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Plain;
        }
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(20));
        let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let line = || multi.add(ProgressBar::new_spinner().with_style(style.clone()));
        let heading = line();
        heading.set_message(format!(
            "{QUIET}{}{QUIET:#}",
            columns("issue", "stage", "worker", "step", "elapsed", "")
        ));
        let mut lines = vec![heading];
        lines.extend((0..issues.min(MOST_ROWS)).map(|_| line()));
        Self::Live { lines, multi }
    }

    /// Shows a row that has changed, where changes are lines.
    pub(super) fn show(&self, row: &Row) {
        if let Self::Plain = self {
            say(render(row, Timestamp::now()));
        }
    }

    /// Draws the table anew, where there is one.
    pub(super) fn refresh(&self, board: &Board) {
        let Self::Live { lines, .. } = self else { return };
        let now = Timestamp::now();
        let rows: Vec<&Row> = if board.rows.len() <= MOST_ROWS {
            board.rows.values().collect()
        } else {
            // What is going on comes first, then what ended last.
            let mut rows: Vec<_> =
                board.rows.values().filter(|row| row.standing != Standing::Queued).collect();
            rows.sort_by_key(|row| (row.until.is_some(), std::cmp::Reverse(row.until)));
            rows.truncate(MOST_ROWS);
            rows
        };
        for (line, row) in lines.iter().skip(1).zip(rows) {
            line.set_message(render(row, now));
        }
    }

    /// Leaves the last state on the screen.
    pub(super) fn finish(&self) {
        if let Self::Live { lines, .. } = self {
            lines.iter().for_each(ProgressBar::abandon);
            say("");
        }
    }
}

fn columns(issue: &str, stage: &str, worker: &str, step: &str, elapsed: &str, detail: &str) -> String {
    format!("  {issue:8} {stage:10} {worker:7} {step:23} {elapsed:>7}   {detail}").trim_end().to_owned()
}

fn render(row: &Row, now: Timestamp) -> String {
    let stage = match row.stage {
        Some(Stage::Planning) => "plan",
        Some(Stage::Implementation) | None => "implement",
    };
    let (style, step, detail) = step(&row.standing);
    let elapsed = row.since.map(|since| row.until.unwrap_or(now).duration_since(since));
    let elapsed = elapsed.and_then(|elapsed| Duration::try_from(elapsed).ok());
    let elapsed = elapsed.map(|elapsed| format!("{:.1}s", elapsed.as_secs_f64())).unwrap_or_default();
    let worker = match row.standing {
        Standing::Queued => "—",
        _ => row.worker.as_deref().unwrap_or("—"),
    };
    let text = columns(row.key.as_str(), stage, worker, &step, &elapsed, &detail);
    format!("{style}{text}{style:#}")
}

fn step(standing: &Standing) -> (Style, String, String) {
    match standing {
        Standing::Queued => (QUIET, "queued".into(), String::new()),
        Standing::Working { step, round, detail } => {
            let name = step.map_or_else(|| "claimed".into(), |step| step.to_string());
            let text =
                if *round > 0 { format!("⟳ {name}, fix round {round}") } else { format!("● {name}") };
            (BUSY, text, detail.clone().unwrap_or_default())
        }
        Standing::Ended(record) => match &record.outcome {
            Outcome::Landed { plan: Some(path), .. } => (ASKS, "? awaiting review".into(), path.clone()),
            Outcome::Landed { commit, target, branch, .. } => {
                let detail = if *target == Target::Feature { branch.clone() } else { String::new() };
                (GOOD, format!("✔ pushed {}", commit.short()), detail)
            }
            Outcome::Failed(failure) if record.blocked => {
                (BAD, "✘ blocked".into(), one_line(&failure.reason, 40))
            }
            Outcome::Failed(failure) => (BAD, "✘ given back".into(), one_line(&failure.reason, 40)),
            Outcome::Interrupted => (QUIET, "interrupted".into(), String::new()),
            Outcome::Withdrawn { why } => (QUIET, "withdrawn".into(), one_line(why, 40)),
        },
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Self::Live { multi, .. } = self {
            multi.set_move_cursor(false);
        }
    }
}
