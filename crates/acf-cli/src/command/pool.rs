//! `acf workers [N]` and `acf planners [N]`.

use acf_core::run::WorkerId;
use acf_core::runtime::{Pool, WorkerSpec};
use acf_worker::config::Factory;
use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;

use super::status::Status;
use super::stop;
use crate::args::SizeArgs;
use crate::error::{Exit, WithHint};
use crate::process::ProcessRuntime;
use crate::ui::{Out, say};

/// What became of a pool.
#[derive(Serialize)]
struct Resized<'a> {
    pool: &'a str,
    size: usize,
    started: &'a [WorkerId],
    stopped: &'a [WorkerId],
}

/// Shows a pool, or brings it to a size and waits for those that have to stop.
///
/// # Errors
/// When the workers cannot be seen, started or stopped.
pub async fn run(
    args: &SizeArgs,
    pool: Pool,
    factory: &Factory,
    runtime: &ProcessRuntime,
    out: &mut Out,
) -> anyhow::Result<Exit> {
    let Some(size) = args.size.map(usize::from) else {
        let sights = runtime.sights().await?.into_iter().filter(|sight| sight.view.pool == pool);
        let status = Status::of(&factory.name, &sights.collect::<Vec<_>>(), &[pool], false);
        status.print(Timestamp::now(), args.output, out)?;
        return Ok(Exit::Done);
    };
    let resized = runtime
        .resize(&WorkerSpec::of(pool), size)
        .await
        .with_context(|| format!("cannot bring the pool {pool} to {size}"))
        .hint(format!("`acf status` shows what runs; `acf {pool} {size}` tries again"))?;
    if !args.output.json {
        for id in &resized.started {
            out.line(format!("started {id}"))?;
        }
    }
    let grace = args.grace.unwrap_or_else(|| stop::patience(factory));
    stop::all(runtime, &resized.stopping, grace).await?;
    if args.output.json {
        let (started, stopped) = (&resized.started, &resized.stopping);
        out.json(&Resized { pool: pool.name(), size, started, stopped })?;
        return Ok(Exit::Done);
    }
    for id in &resized.stopping {
        out.line(format!("stopped {id}"))?;
    }
    let unchanged = resized.started.is_empty() && resized.stopping.is_empty();
    let already = if unchanged { " already" } else { "" };
    say(format!("{pool}: {size} running{already}; `acf status` shows what they do"));
    Ok(Exit::Done)
}
