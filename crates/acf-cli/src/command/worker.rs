//! `acf worker`, `acf implement` and `acf plan`: a worker in the foreground.

use acf_core::issue::{IssueKey, IssueRef, Stage};
use acf_core::run::{Outcome, RunRecord};
use acf_worker::assembly;
use acf_worker::config::Need;
use acf_worker::foreground::{self, Errand};
use acf_worker::worker::Pass;

use super::issues::why_not;
use crate::args::WorkerArgs;
use crate::context::{Context, with_hint};
use crate::error::Exit;
use crate::ui::{Out, say};

/// Works until there is a reason to end.
///
/// # Errors
/// When something is missing, or wrong in a way that waiting does not mend.
pub async fn run(args: &WorkerArgs, context: &Context) -> anyhow::Result<Exit> {
    let settings = context.settings(Need::Worker)?;
    let errand =
        Errand { stage: args.stage, max_issues: args.max_issues, exit_when_idle: args.exit_when_idle };
    with_hint(foreground::work(&settings, context.environment(), errand).await)?;
    Ok(Exit::Done)
}

/// Works on one issue. Exits 3 when it is not one to take now, and 1 when the run failed.
///
/// # Errors
/// As [`run`].
pub async fn run_one(key: &IssueKey, stage: Stage, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    let settings = context.settings(Need::Worker)?;
    let stop = with_hint(foreground::begin(&settings))?;
    let ready = with_hint(assembly::assemble(&settings, context.environment(), stage, &stop).await)?;
    let key = &settings.tracker.key(key);
    let issue = ready.tracker.port.issue(&IssueRef::from(key.clone())).await?;
    match with_hint(ready.worker.pass_for(issue, &stop).await.map_err(Into::into))? {
        Pass::Worked(Some(record)) => report(&record, out),
        Pass::Worked(None) | Pass::Stopped => Ok(Exit::Failed),
        Pass::Nothing { .. } => {
            say(why_not("is not taken", context, key, stage).await?);
            Ok(Exit::NothingToDo)
        }
        Pass::Resting { why, .. } => {
            say(format!("{key} is not taken: {why}"));
            Ok(Exit::NothingToDo)
        }
    }
}

fn report(record: &RunRecord, out: &mut Out) -> anyhow::Result<Exit> {
    match &record.outcome {
        Outcome::Landed { commit, branch, plan: Some(path), .. } => {
            let (issue, commit) = (&record.issue, commit.short());
            out.line(format!("{issue} awaits the review of its plan: {path} on {branch}, {commit}"))?;
            let key = issue.slug();
            say(format!(
                "to approve it: `acf issues transition {key} 'Plan Approved'`, or the label plan-approved"
            ));
            Ok(Exit::Done)
        }
        Outcome::Landed { commit, branch, .. } => {
            out.line(format!("{} landed as {} on {branch}", record.issue, commit.short()))?;
            Ok(Exit::Done)
        }
        Outcome::Failed(failure) => {
            out.line(format!("{} was given back: {}", record.issue, failure.reason))?;
            Ok(Exit::Failed)
        }
        Outcome::Interrupted => {
            out.line(format!("{} was interrupted; its work is kept", record.issue))?;
            Ok(Exit::Failed)
        }
        Outcome::Withdrawn { why } => {
            out.line(format!("{} was withdrawn, its work is kept: {why}", record.issue))?;
            Ok(Exit::Failed)
        }
    }
}
