//! `acf sweep`: settles what dead workers left.

use acf_core::run::{Outcome, RunRecord, WorkerId};
use acf_worker::config::Need;
use acf_worker::foreground;
use serde::Serialize;

use crate::args::SweepArgs;
use crate::context::{Context, with_hint};
use crate::error::Exit;
use crate::ui::{Out, say};

/// A run that was settled.
#[derive(Serialize)]
struct Row<'a> {
    dead: &'a WorkerId,
    record: &'a RunRecord,
}

/// Settles expired claims, and those of workers that are known to be dead.
///
/// # Errors
/// When claims or tracker cannot be reached.
pub async fn run(args: &SweepArgs, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    let settings = context.settings(Need::Repository)?;
    let settled = with_hint(foreground::sweep(&settings, context.environment(), &args.dead).await)?;
    if args.output.json {
        let rows: Vec<_> = settled.iter().map(|one| Row { dead: &one.dead, record: &one.record }).collect();
        out.json(&rows)?;
        return Ok(Exit::Done);
    }
    for one in &settled {
        let how = match &one.record.outcome {
            Outcome::Landed { commit, .. } => format!("its work had landed as {}", commit.short()),
            Outcome::Failed(failure) => failure.reason.clone(),
            Outcome::Interrupted => "it had been interrupted".to_owned(),
            Outcome::Withdrawn { why } => format!("it had been withdrawn: {why}"),
        };
        out.line(format!("settled {}: {how}", one.record.issue))?;
    }
    if settled.is_empty() {
        say("nothing to settle");
    }
    Ok(Exit::Done)
}
