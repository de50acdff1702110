//! `acf add N`.

use acf_core::runtime::{Runtime, WorkerSpec};
use anyhow::Context;
use serde::Serialize;

use crate::args::AddArgs;
use crate::error::Exit;
use crate::process::ProcessRuntime;
use crate::ui::{Out, count, say};

/// What was added.
#[derive(Serialize)]
struct Added<'a> {
    pool: &'a str,
    started: &'a [acf_core::run::WorkerId],
}

/// Starts workers beside those that run, and prints their ids.
///
/// # Errors
/// When not all of them could be started.
pub async fn run(args: &AddArgs, runtime: &ProcessRuntime, out: &mut Out) -> anyhow::Result<Exit> {
    let spec = WorkerSpec { image: args.image.clone(), ..WorkerSpec::of(args.pool.into()) };
    let number = usize::from(args.count);
    let started = runtime
        .start(&spec, number)
        .await
        .with_context(|| format!("cannot add {}", count(number, "worker")))?;
    if args.output.json {
        out.json(&Added { pool: spec.pool.name(), started: &started })?;
    } else {
        say(format!("added {} to the pool {}", count(started.len(), "worker"), spec.pool));
        for id in &started {
            out.line(id.as_str())?;
        }
    }
    Ok(Exit::Done)
}
