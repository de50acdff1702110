//! `acf runs`: what past runs did, with their receipts.

use std::collections::BTreeMap;
use std::path::Path;

use acf_core::claim::ClaimStore as _;
use acf_core::comment::{agent_line, duration, gate_line};
use acf_core::run::{Outcome, RunRecord};
use acf_worker::config::Need;

use crate::args::{RunsArgs, SettingArgs};
use crate::context::Context;
use crate::error::{Exit, WithHint};
use crate::ui::{Out, Table, one_line, say};

/// How wide a result may be in the table.
const RESULT_WIDTH: usize = 40;

/// Prints the records of past runs, the oldest first.
///
/// # Errors
/// When the repository cannot be reached.
pub async fn run(args: &RunsArgs, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    let of_sandbox = args.sandbox.as_deref().map(|directory| sandbox(directory, context));
    let context = of_sandbox.as_ref().unwrap_or(context);
    let settings = context.settings(Need::Repository)?;
    let repository = context.repository(&settings).await?;
    let repository = repository.ok_or_else(|| anyhow::anyhow!("no repository is configured"));
    let repository = repository.hint("set GIT_REPO_URL")?;
    let mut chains = repository.claims.survey().await?.runs;
    if let Some(key) = &args.key {
        chains.retain(|slug, _| slug == key.slug());
    }
    let records = repository.claims.read_runs(&chains).await?;
    let mut records: Vec<_> = records.into_values().flatten().collect();
    records.sort_by_key(|record| record.ended_at);
    if args.output.json {
        out.json(&records)?;
    } else if records.is_empty() {
        say("no runs are recorded");
    } else if args.key.is_some() {
        records.iter().try_for_each(|record| out.line(receipt(record)))?;
    } else {
        out.line(table_of(&records))?;
    }
    Ok(Exit::Done)
}

/// Returns the context of a sandbox that `acf demo --keep` left.
fn sandbox(directory: &Path, context: &Context) -> Context {
    let env_file = Some(directory.join(super::demo::ENV_FILE));
    let settings = SettingArgs { env_file, ..SettingArgs::default() };
    // Only what finds programs and directories: the settings are the sandbox's own.
    let kept = ["PATH", "HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"];
    let environment: BTreeMap<_, _> = context
        .environment()
        .iter()
        .filter(|(name, _)| kept.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Context::new(&settings, environment, directory)
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

/// Shows everything that a record says.
fn receipt(record: &RunRecord) -> String {
    let receipt = &record.receipt;
    let mut text = format!("{} {:?}: {}\n", record.issue, one_line(&record.summary, 60), result(record));
    text += &format!("  run      {}, {}, attempt {}\n", record.run, record.stage, receipt.attempt);
    let at = record.ended_at.strftime("%Y-%m-%d %H:%M:%S UTC");
    text += &format!("  worker   {}, ended {at}, took {}\n", record.worker, took(record));
    text += &format!("  agent    {}\n", agent_line(receipt));
    if let Some(gate) = gate_line(receipt) {
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
