//! How a receipt reads: as a table for trackers, in lines for terminals, its numbers as people write them.

use std::fmt::Write as _;
use std::time::Duration;

use crate::money::cost;
use crate::receipt::Receipt;
use crate::run::{Outcome, RunRecord};

/// Renders a run's receipt as the Markdown table that a tracker shows; `commit` is what landed. A run that ended
/// before it had an agent shows none, and one that is no attempt has no number.
#[must_use]
pub fn table(record: &RunRecord, commit: Option<&str>) -> String {
    let receipt = &record.receipt;
    let mut table = "| | |\n|---|---|\n".to_owned();
    let agent = agent_line(receipt);
    if !agent.is_empty() {
        let _ = writeln!(table, "| agent | {} |", cell(&agent));
    }
    if let Some(gate) = gate_line(record) {
        let on = commit.filter(|_| !receipt.gate.is_empty());
        let on = on.map(|commit| format!(", on a clean checkout of {commit}")).unwrap_or_default();
        let _ = writeln!(table, "| gate | {}{on} |", cell(&gate));
    }
    let _ = writeln!(
        table,
        "| run | {}{}, worker {}{}{} |",
        attempt(record),
        duration(Duration::from_millis(receipt.duration_ms)),
        cell(record.worker.as_str()),
        match receipt.fix_rounds {
            0 => String::new(),
            1 => " · 1 fix round".into(),
            n => format!(" · {n} fix rounds"),
        },
        if receipt.resumed { " · took up interrupted work" } else { "" },
    );
    table
}

/// Says which attempt a run was, where it was one.
fn attempt(record: &RunRecord) -> String {
    match &record.outcome {
        Outcome::Landed { .. } => format!("{} attempt, ", ordinal(record.receipt.attempt)),
        Outcome::Failed(failure) if failure.kind.counts() => {
            format!("{} attempt, ", ordinal(record.receipt.attempt))
        }
        Outcome::Failed(_) | Outcome::Interrupted | Outcome::Withdrawn { .. } => String::new(),
    }
}

/// Writes a text so that it stays in one cell of a table: a `|` ends a cell, within code as well.
///
/// Source: <https://github.github.com/gfm/#example-200>.
fn cell(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ").replace('|', r"\|")
}

/// Writes a text as code within a line, whatever backticks it holds.
fn code(text: &str) -> String {
    let longest_run = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let ticks = "`".repeat(longest_run + 1);
    // A backtick next to those around it would be one of them.
    let room = if longest_run > 0 { " " } else { "" };
    format!("{ticks}{room}{text}{room}{ticks}")
}

/// Says in one line which agent ran and what it used.
#[must_use]
pub fn agent_line(receipt: &Receipt) -> String {
    let usage = receipt.usage;
    let mut line = agents(receipt);
    match usage.turns {
        0 => {}
        1 => line.push_str(" · 1 turn"),
        turns => {
            let _ = write!(line, " · {turns} turns");
        }
    }
    if usage.has_tokens() {
        let _ = write!(line, " · {} in, {} out", tokens(usage.input_tokens), tokens(usage.output_tokens));
    }
    if let Some(cost) = cost(&usage) {
        let _ = write!(line, " · {cost}");
    }
    line
}

/// Names the agents of a run: `claude 2.1, sonnet`; where several took part, each with its own model:
/// `claude 2.1 (sonnet), then codex`.
fn agents(receipt: &Receipt) -> String {
    if receipt.parts.is_empty() {
        let model = receipt.model.as_ref().map(|model| format!(", {model}")).unwrap_or_default();
        return format!("{}{model}", receipt.agent);
    }
    let parts = receipt.parts.iter().map(|part| match &part.model {
        Some(model) => format!("{} ({model})", part.agent),
        None => part.agent.clone(),
    });
    parts.collect::<Vec<_>>().join(", then ")
}

/// What a receipt says of work that landed unchecked.
pub const NO_GATE: &str = "none: the repository has no checks in .acf/config.toml";

/// Says in one line what the gate's commands showed, or that work landed without any; nothing where none were due.
#[must_use]
pub fn gate_line(record: &RunRecord) -> Option<String> {
    let checks = record.receipt.gate.iter().map(|check| {
        let exit = check.exit_code.map_or("was ended".into(), |code| format!("exit {code}"));
        let command = check.command.trim().replace('\n', " ");
        format!("{} {exit} ({})", code(&command), duration(Duration::from_millis(check.duration_ms)))
    });
    let line = checks.collect::<Vec<_>>().join(", ");
    let has_landed = matches!(record.outcome, Outcome::Landed { plan: None, .. });
    let is_unchecked = record.receipt.gate.is_empty() && has_landed;
    if is_unchecked { Some(NO_GATE.to_owned()) } else { (!line.is_empty()).then_some(line) }
}

/// Writes a number of tokens the short way: `612`, `41k`.
#[must_use]
pub fn tokens(count: u64) -> String {
    if count < 1000 { count.to_string() } else { format!("{}k", (count + 500) / 1000) }
}

/// Writes a duration as people read it: `0.3 s`, `12 s`, `6 min 04 s`, `1 h 02 min`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{secs} s"),
        60..3600 => format!("{} min {:02} s", secs / 60, secs % 60),
        _ => format!("{} h {:02} min", secs / 3600, secs % 3600 / 60),
    }
}

fn ordinal(n: u32) -> String {
    let suffix = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::receipt::{CheckResult, Part, Usage};
    use crate::run::tests::{landed as landed_record, record};
    use crate::run::{Failure, FailureKind};

    pub(crate) fn receipt() -> Receipt {
        Receipt {
            agent: "claude 2.1".into(),
            model: Some("sonnet".into()),
            usage: Usage {
                turns: 14,
                input_tokens: 41_200,
                output_tokens: 612,
                cost_usd: Some(0.31),
                ..Usage::default()
            },
            parts: Vec::new(),
            gate: vec![CheckResult { command: "make check".into(), exit_code: Some(0), duration_ms: 12_400 }],
            resumed: false,
            fix_rounds: 1,
            attempt: 2,
            agent_ms: 300_000,
            duration_ms: 364_000,
        }
    }

    #[test]
    fn a_command_stays_in_its_cell_whatever_it_holds() {
        let commands = ["make test | tee log", r"grep 'a\|b' x", "echo `date`", "printf '``|'", "a &&\nb"];
        let check =
            |&command: &&str| CheckResult { command: command.into(), exit_code: Some(0), duration_ms: 100 };
        let receipt = Receipt { gate: commands.iter().map(check).collect(), ..receipt() };
        let record = RunRecord { receipt, ..landed_record(5) };
        let table = table(&record, None);
        insta::assert_snapshot!(table, @r"
        | | |
        |---|---|
        | agent | claude 2.1, sonnet · 14 turns · 41k in, 612 out · $0.31 |
        | gate | `make test \| tee log` exit 0 (0.1 s), `grep 'a\\|b' x` exit 0 (0.1 s), `` echo `date` `` exit 0 (0.1 s), ``` printf '``\|' ``` exit 0 (0.1 s), `a && b` exit 0 (0.1 s) |
        | run | 2nd attempt, 6 min 04 s, worker w1 · 1 fix round |
        ");
    }

    #[test]
    fn a_run_that_is_no_attempt_and_had_no_agent_shows_neither() {
        let fault = Failure::new(FailureKind::RepositoryFault, ".acf/config.toml is not valid");
        let receipt = Receipt { attempt: 1, duration_ms: 300, ..Receipt::default() };
        let record = RunRecord { receipt, ..record(Outcome::Failed(fault), 1) };
        insta::assert_snapshot!(table(&record, None), @r"
        | | |
        |---|---|
        | run | 0.3 s, worker w1 |
        ");
    }

    #[test]
    fn each_of_several_agents_is_named_with_its_own_model() {
        let part = |agent: &str, model: Option<&str>| Part {
            agent: agent.into(),
            model: model.map(Into::into),
            usage: Usage { turns: 7, cost_usd: Some(0.25), ..Usage::default() },
            agent_ms: 0,
        };
        let parts = [
            part("claude 2.1.331", Some("claude-sonnet-4-6")),
            part("codex", Some("gpt-5-codex")),
            part("command", None),
        ];
        let line = |parts| agent_line(&Receipt::default().by(parts));
        assert_eq!(
            line(&parts),
            "claude 2.1.331 (claude-sonnet-4-6), then codex (gpt-5-codex), then command · 21 turns · $0.75"
        );
        assert_eq!(line(&parts[..1]), "claude 2.1.331, claude-sonnet-4-6 · 7 turns · $0.25");
    }

    #[test]
    fn a_part_whose_cost_nobody_knows_makes_the_cost_of_the_whole_a_lower_bound() {
        let part = |agent: &str, usage| Part { agent: agent.into(), usage, ..Part::default() };
        let priced = Usage { input_tokens: 5, cost_usd: Some(0.25), ..Usage::default() };
        let unpriced = Usage { input_tokens: 5, ..Usage::default() };
        let silent = Usage { cost_is_incomplete: true, ..Usage::default() };
        let line = |parts: &[Part]| agent_line(&Receipt::default().by(parts));
        assert_eq!(
            line(&[part("claude", priced), part("codex", unpriced)]),
            "claude, then codex · 10 in, 0 out · at least $0.25"
        );
        assert_eq!(
            line(&[part("claude", priced), part("command", silent)]),
            "claude, then command · 5 in, 0 out · at least $0.25"
        );
        assert_eq!(line(&[part("command", silent)]), "command · cost not known");
    }

    #[test]
    fn an_estimated_cost_is_marked_as_one() {
        let usage = Usage { cost_usd: Some(0.314), cost_is_estimated: true, ..Usage::default() };
        let receipt = Receipt { agent: "codex".into(), usage, ..Receipt::default() };
        assert_eq!(agent_line(&receipt), "codex · $0.31 (estimated)");
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        let durations = [0, 340, 9_999, 10_000, 59_900, 60_000, 364_000, 3_600_000, 3_725_000];
        let written = durations.map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(
            written,
            [
                "0.0 s",
                "0.3 s",
                "10.0 s",
                "10 s",
                "59 s",
                "1 min 00 s",
                "6 min 04 s",
                "1 h 00 min",
                "1 h 02 min"
            ]
        );
        let ordinals = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal);
        assert_eq!(ordinals, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]);
        assert_eq!([0, 999, 1000, 1499, 1500].map(tokens), ["0", "999", "1k", "1k", "2k"]);
    }

    #[test]
    fn a_receipt_leaves_out_what_is_not_known() {
        let bare = Receipt { agent: "script".into(), ..Receipt::default() };
        assert_eq!(agent_line(&bare), "script");
        let with = |outcome: Outcome, receipt: &Receipt| RunRecord {
            receipt: receipt.clone(),
            ..record(outcome, 1)
        };
        assert_eq!(gate_line(&with(Outcome::Interrupted, &bare)), None);
        let landed = landed_record(1).outcome;
        assert_eq!(gate_line(&with(landed.clone(), &bare)).as_deref(), Some(NO_GATE));
        let ended = CheckResult { command: "make".into(), exit_code: None, duration_ms: 0 };
        let ended = Receipt { gate: vec![ended], ..bare };
        assert_eq!(gate_line(&with(landed, &ended)).unwrap(), "`make` was ended (0.0 s)");
    }

    #[test]
    fn tokens_are_told_even_where_they_went_one_way_only() {
        let used = |input_tokens, output_tokens| {
            let usage = Usage { input_tokens, output_tokens, ..Usage::default() };
            agent_line(&Receipt { agent: "script".into(), usage, ..Receipt::default() })
        };
        assert_eq!(used(0, 612), "script · 0 in, 612 out · cost not known");
        assert_eq!(used(612, 0), "script · 612 in, 0 out · cost not known");
    }
}
