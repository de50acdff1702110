//! `acf stop ID…` and `acf stop --all`.

use std::time::Duration;

use acf_core::issue::IssueKey;
use acf_core::run::WorkerId;
use acf_core::runtime::{Runtime, RuntimeError, WorkerState, WorkerView};
use acf_worker::config::Factory;
use acf_worker::process::end_survivors;
use anyhow::Context;
use futures_util::{StreamExt, stream};

use super::which;
use crate::args::StopArgs;
use crate::error::Exit;
use crate::ui::{Out, Progress, count, elapsed, say};

/// Stops workers, all at the same time, and waits until they have ended.
///
/// # Errors
/// When there is no such worker, or one does not end.
pub async fn run(
    args: &StopArgs,
    factory: &Factory,
    runtime: &impl Runtime,
    out: &mut Out,
) -> anyhow::Result<Exit> {
    let workers = runtime.list().await?;
    let mut wanted = Vec::new();
    if args.all {
        let running = workers.iter().filter(|worker| !has_ended(worker));
        wanted.extend(running.map(|worker| worker.id.clone()));
    }
    for text in &args.workers {
        wanted.push(which::worker(&workers, text)?);
    }
    all(runtime, &wanted, args.grace.unwrap_or_else(|| patience(factory))).await?;
    if args.output.json {
        let stopped = runtime.list().await?.into_iter().filter(|worker| wanted.contains(&worker.id));
        out.json(&stopped.collect::<Vec<_>>())?;
    } else if wanted.is_empty() {
        say("no worker runs");
    }
    Ok(Exit::Done)
}

/// How much longer than a worker gives itself it is waited for, before it is killed.
const MARGIN: Duration = Duration::from_secs(30);

/// Returns how long workers may take to end, if nobody says otherwise: long enough for them to save their
/// work within `STOP_GRACE`.
pub(super) fn patience(factory: &Factory) -> Duration {
    factory.stop_grace.saturating_add(MARGIN)
}

fn has_ended(worker: &WorkerView) -> bool {
    matches!(worker.state, WorkerState::Ended { .. })
}

/// Stops those workers at the same time; tells of each as it ends, on stderr. Then ends what is left of
/// workers that were killed together with their guards and keepers.
///
/// # Errors
/// When one does not end; the others are stopped all the same.
pub(super) async fn all(runtime: &impl Runtime, workers: &[WorkerId], grace: Duration) -> anyhow::Result<()> {
    let stopped = if workers.is_empty() { Ok(()) } else { each(runtime, workers, grace).await };
    for (id, issue) in left_by(workers, &runtime.list().await?) {
        say(format!(
            "{id} was ended during a run: {issue} stays claimed until the claim expires; `acf sweep` frees it \
             at once"
        ));
    }
    let left = end_survivors();
    if left > 0 {
        say(format!("ended {} of workers that had been killed", count(left, "leftover process")));
    }
    stopped
}

/// Returns those of the workers that had no time to give their issue back, with that.
fn left_by<'a>(
    workers: &[WorkerId],
    now: &'a [WorkerView],
) -> impl Iterator<Item = (&'a WorkerId, &'a IssueKey)> {
    let wanted = now.iter().filter(|view| workers.contains(&view.id));
    wanted.filter_map(|view| Some((&view.id, view.left.as_ref()?)))
}

async fn each(runtime: &impl Runtime, workers: &[WorkerId], grace: Duration) -> anyhow::Result<()> {
    let limit = elapsed(grace);
    say(format!("stopping {}; they may take {limit} to save their work", count(workers.len(), "worker")));
    let progress = Progress::start("stopped", workers.len());
    let stop_one = async |id: &WorkerId| {
        let result = runtime.stop(id, grace).await;
        (id.clone(), result)
    };
    let mut stopping = stream::iter(workers.iter().map(stop_one)).buffer_unordered(workers.len());
    let mut failed: Vec<(WorkerId, RuntimeError)> = Vec::new();
    while let Some((id, result)) = stopping.next().await {
        match result {
            Ok(()) => progress.done(&format!("{id} has ended")),
            Err(error) => {
                progress.done(&format!("{id} has not ended"));
                failed.push((id, error));
            }
        }
    }
    drop(progress);
    let others = failed.len().saturating_sub(1);
    match failed.into_iter().next() {
        None => Ok(()),
        Some((_, error)) if others == 0 => Err(error.into()),
        Some((id, error)) => {
            Err(error).with_context(|| format!("{id} and {} have not ended", count(others, "other")))
        }
    }
}
