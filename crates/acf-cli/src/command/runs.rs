//! `acf runs`: what past runs did, with their receipts.

use std::collections::BTreeMap;
use std::path::Path;

use acf_core::claim::ClaimStore as _;
use acf_core::issue::{IssueKey, IssueRef};
use acf_core::ledger::{By, Sum, sums};
use acf_core::money::cost;
use acf_core::receipt::Receipt;
use acf_core::receipt_text::{agent_line, duration, gate_line, tokens};
use acf_core::run::{Outcome, RunRecord};
use acf_worker::config::{self, Need, Settings};

use crate::args::{RunsArgs, SettingArgs};
use crate::context::Context;
use crate::error::{Exit, UsageError, WithHint};
use crate::ui::{Out, Table, one_line, say};

/// How wide a result may be in the table.
const RESULT_WIDTH: usize = 40;

/// Prints the records of past runs, the oldest first.
///
/// # Errors
/// When the repository cannot be reached.
pub async fn run(args: &RunsArgs, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    let of_sandbox = args.sandbox.as_deref().map(|directory| sandbox(directory, context)).transpose()?;
    let context = of_sandbox.as_ref().unwrap_or(context);
    let settings = context.settings(Need::Repository)?;
    let repository = context.repository(&settings).await?;
    let repository = repository.ok_or_else(|| anyhow::anyhow!("no repository is configured"));
    let repository = repository.hint("set GIT_REPO_URL")?;
    let mut chains = repository.claims.survey().await?.runs;
    let key = args.key.as_ref().map(|typed| settings.tracker.key(typed));
    let name = match &key {
        Some(key) => record_name(key, context, &settings).await,
        None => None,
    };
    if let Some(name) = &name {
        chains.retain(|chain, _| chain == name);
    }
    let records = repository.claims.read_runs(&chains).await?;
    let mut records: Vec<_> = records.into_values().flatten().collect();
    if let (Some(key), None) = (&key, name) {
        records.retain(|record| record.issue == *key);
    }
    records.sort_by_key(|record| record.ended_at);
    if let Some(by) = args.by {
        let sums = sums(&records, by);
        return if args.output.json {
            out.json(&sums).map(|()| Exit::Done)
        } else {
            out.line(table_of_sums(&sums, by)).map(|()| Exit::Done)
        };
    }
    if args.output.json {
        out.json(&records)?;
    } else if records.is_empty() {
        say(match &key {
            Some(key) => format!("no runs of {key} are recorded"),
            None => "no runs are recorded".to_owned(),
        });
    } else if key.is_some() {
        records.iter().try_for_each(|record| out.line(receipt(record)))?;
    } else {
        out.line(table_of(&records))?;
    }
    Ok(Exit::Done)
}

/// Returns what the issue's records go by, if it is an item of a TODO file, whose keys move. Any other issue,
/// and one that is gone, is known by the key that it had.
async fn record_name(key: &IssueKey, context: &Context, settings: &Settings) -> Option<String> {
    let is_file = matches!(settings.tracker, config::Tracker::Todo(_));
    let tracker = if is_file { context.tracker(settings).await.ok()? } else { return None };
    let issue = tracker.port.issue(&IssueRef::from(key.clone())).await.ok()?;
    Some(issue.reference().record_name())
}

/// Returns the context of a sandbox that `acf demo --keep` left.
fn sandbox(directory: &Path, context: &Context) -> anyhow::Result<Context> {
    let env_file = directory.join(super::demo::ENV_FILE);
    if !env_file.is_file() {
        let error = UsageError(format!("{} is no sandbox of `acf demo`", directory.display()));
        return Err(error).hint("`acf demo --keep` keeps its sandbox, and says where it is");
    }
    let env_file = Some(env_file);
    let settings = SettingArgs { env_file, ..SettingArgs::default() };
    // Only what finds programs and directories: the settings are the sandbox's own.
    let kept = ["PATH", "XDG_CACHE_HOME", "XDG_STATE_HOME"];
    let mut environment: BTreeMap<_, _> = context
        .environment()
        .iter()
        .filter(|(name, _)| kept.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    environment.insert("HOME".to_owned(), super::demo::home_in(directory).to_string_lossy().into_owned());
    Ok(Context::new(&settings, environment, directory))
}

/// Says in a few words how a run ended.
pub(super) fn result(record: &RunRecord) -> String {
    match &record.outcome {
        Outcome::Landed { commit, plan: Some(path), .. } => format!("planned {} in {path}", commit.short()),
        Outcome::Landed { commit, branch, .. } => format!("landed {} on {branch}", commit.short()),
        Outcome::Failed(failure) if record.blocked => format!("blocked: {}", failure.reason),
        Outcome::Failed(failure) => format!("given back: {}", failure.reason),
        Outcome::Interrupted => "interrupted".to_owned(),
        Outcome::Withdrawn { why } => format!("withdrawn: {why}"),
    }
}

fn took(record: &RunRecord) -> String {
    duration(std::time::Duration::from_millis(record.receipt.duration_ms))
}

fn table_of(records: &[RunRecord]) -> String {
    let mut table = Table::new(["ended", "issue", "stage", "took", "result"]).right([3]);
    for record in records {
        let ended = record.ended_at.strftime("%m-%d %H:%M:%S").to_string();
        let result = one_line(&result(record), RESULT_WIDTH);
        table.row([ended, record.issue.to_string(), record.stage.to_string(), took(record), result]);
    }
    table.render()
}

fn table_of_sums(sums: &[Sum], by: By) -> String {
    let of = match by {
        By::Issue => "issue",
        By::Agent => "agent",
        By::Day => "day (UTC)",
    };
    let columns = [of, "runs", "landed", "failed", "turns", "tokens in", "out", "in agents", "cost"];
    let mut table = Table::new(columns).right([1, 2, 3, 4, 5, 6, 7]);
    for sum in sums {
        let usage = &sum.usage;
        let counts = [sum.runs, sum.landed, sum.failed].map(|count| count.to_string());
        let [runs, landed, failed] = counts;
        let took = duration(std::time::Duration::from_millis(sum.agent_ms));
        let (turns, input, output) =
            (usage.turns.to_string(), tokens(usage.input_tokens), tokens(usage.output_tokens));
        table.row([sum.of.clone(), runs, landed, failed, turns, input, output, took, cost_of(sum)]);
    }
    table.render()
}

/// Says what runs cost, and of how many nobody knows.
fn cost_of(sum: &Sum) -> String {
    let cost = cost(&sum.usage).unwrap_or_default();
    match sum.usage.cost_usd {
        Some(_) if sum.cost_unknown > 0 => format!("{cost}, {} not known", sum.cost_unknown),
        _ => cost,
    }
}

/// Shows everything that a record says.
fn receipt(record: &RunRecord) -> String {
    let receipt = &record.receipt;
    let mut text = format!("{} \"{}\": {}\n", record.issue, one_line(&record.summary, 60), result(record));
    text += &format!("  run      {}, {}, attempt {}\n", record.run, record.stage, receipt.attempt);
    let at = record.ended_at.strftime("%Y-%m-%d %H:%M:%S UTC");
    text += &format!("  worker   {}, ended {at}, took {}\n", record.worker, took(record));
    let agent = agent_line(receipt);
    if !agent.is_empty() {
        text += &format!("  agent    {agent}\n");
    }
    for (n, part) in receipt.parts.iter().enumerate() {
        let alone = Receipt::default().by(std::slice::from_ref(part));
        text += &format!("    {}. {}\n", n + 1, agent_line(&alone));
    }
    if let Some(gate) = gate_line(record) {
        text += &format!("  gate     {gate}\n");
    }
    if receipt.fix_rounds > 0 {
        text += &format!("  fixes    {}\n", receipt.fix_rounds);
    }
    if let Outcome::Failed(failure) = &record.outcome
        && let Some(evidence) = &failure.evidence
    {
        let indented = evidence.lines().map(|line| format!("    {line}\n"));
        text += &format!("  output\n{}", indented.collect::<String>());
    }
    text
}

#[cfg(test)]
mod tests {
    use acf_core::receipt::Usage;

    use super::*;

    fn sum(of: &str, cost_usd: Option<f64>, cost_is_estimated: bool, cost_unknown: u32) -> Sum {
        let usage = Usage {
            turns: 14,
            input_tokens: 41_200,
            output_tokens: 612,
            cost_usd,
            cost_is_estimated,
            cost_is_incomplete: cost_unknown > 0,
            ..Usage::default()
        };
        Sum { of: of.into(), runs: 3, landed: 2, failed: 1, usage, cost_unknown, agent_ms: 364_000 }
    }

    #[test]
    fn sums_are_shown_with_what_is_estimated_and_what_is_not_known() {
        let sums = [
            sum("claude", Some(1.75), false, 0),
            sum("codex", Some(0.25), true, 1),
            sum("command", None, false, 3),
        ];
        let table = table_of_sums(&sums, By::Agent);
        insta::assert_snapshot!(anstream::adapter::strip_str(&table).to_string());
    }
}
