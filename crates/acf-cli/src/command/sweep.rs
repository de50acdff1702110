//! `acf sweep`: settles what dead workers left.

use acf_core::eligibility::Whereabouts;
use acf_core::issue::IssueKey;
use acf_core::run::{Outcome, RunRecord, WorkerId};
use acf_worker::config::Need;
use acf_worker::foreground;
use acf_worker::worker::StillHeld;
use anyhow::anyhow;
use serde::Serialize;

use crate::args::SweepArgs;
use crate::context::{Context, with_hint};
use crate::error::{Exit, WithHint as _};
use crate::ui::{Out, say};

/// A run that was settled or could not be, or a claim that is left alone.
#[derive(Serialize)]
#[serde(untagged)]
enum Row<'a> {
    Settled { dead: &'a WorkerId, record: &'a RunRecord },
    Unsettled { dead: &'a WorkerId, issue: &'a IssueKey, unsettled: &'a str },
    Held { holder: &'a WorkerId, issue: &'a IssueKey, is_elsewhere: bool },
}

/// Settles expired claims, and those of workers that are known to be dead: those that are named, and those of
/// this machine that have ended. Exits 1 when something could not
/// be settled: it is still there.
///
/// # Errors
/// When claims or tracker cannot be reached.
pub async fn run(args: &SweepArgs, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    let settings = context.settings(Need::Repository)?;
    let runtime = context.runtime_for(&settings)?;
    let known = runtime.known()?;
    if let Some(alive) = args.dead.iter().find(|id| known.get(*id) == Some(&Whereabouts::Here)) {
        return Err(anyhow!("worker {alive} runs on this machine"))
            .hint(format!("`acf stop {alive}` ends it"));
    }
    let ended = known.iter().filter(|(_, place)| **place == Whereabouts::Ended).map(|(id, _)| id.clone());
    let dead: Vec<_> = ended.chain(args.dead.iter().cloned()).collect();
    let swept = with_hint(foreground::sweep(&settings, context.environment(), &dead).await)?;
    let (settled, unsettled) = (&swept.settled, &swept.unsettled);
    let is_swept = |id: &&WorkerId| {
        unsettled.iter().all(|one| one.dead != **id) && swept.held.iter().all(|one| one.worker != **id)
    };
    runtime.note_swept(dead.iter().filter(is_swept))?;
    for one in unsettled {
        let why = settings.mask.apply(&one.why);
        say(format!("cannot settle {}, which worker {} left: {why}", one.issue, one.dead));
    }
    let of_others = |one: &&StillHeld| one.is_elsewhere || !known.contains_key(&one.worker);
    let exit = if unsettled.is_empty() { Exit::Done } else { Exit::Failed };
    if args.output.json {
        let settled = settled.iter().map(|one| Row::Settled { dead: &one.dead, record: &one.record });
        let unsettled = unsettled.iter().map(|one| Row::Unsettled {
            dead: &one.dead,
            issue: &one.issue,
            unsettled: &one.why,
        });
        let held = swept.held.iter().filter(of_others).map(|one| Row::Held {
            holder: &one.worker,
            issue: &one.issue,
            is_elsewhere: one.is_elsewhere,
        });
        out.json(&settled.chain(unsettled).chain(held).collect::<Vec<_>>())?;
        return Ok(exit);
    }
    for one in settled {
        let how = match &one.record.outcome {
            Outcome::Landed { commit, .. } => format!("its work had landed as {}", commit.short()),
            Outcome::Failed(failure) => failure.reason.clone(),
            Outcome::Interrupted => "it had been interrupted".to_owned(),
            Outcome::Withdrawn { why } => format!("it had been withdrawn: {why}"),
        };
        out.line(format!("settled {}: {how}", one.record.issue))?;
    }
    if settled.is_empty() && unsettled.is_empty() {
        say("nothing to settle");
    }
    for one in swept.held.iter().filter(of_others) {
        let (issue, worker) = (&one.issue, &one.worker);
        say(if one.is_elsewhere {
            format!(
                "{issue} is claimed by {worker} in another TODO file: `acf sweep` settles it with that as PROJECT"
            )
        } else {
            format!(
                "{issue} is claimed by {worker}, not known to be dead; if it is, `acf sweep --dead {worker}` frees \
                 the issue"
            )
        });
    }
    Ok(exit)
}
