//! `acf logs ID`.

use acf_core::runtime::{LogSource, Runtime};
use futures_util::TryStreamExt;

use super::which;
use crate::args::LogsArgs;
use crate::error::Exit;
use crate::ui::Out;

/// Prints a worker's log, as it was written.
///
/// # Errors
/// When there is no such worker, or its log cannot be read.
pub async fn run(
    args: &LogsArgs,
    runtime: &(impl Runtime + LogSource),
    out: &mut Out,
) -> anyhow::Result<Exit> {
    let worker = which::worker(&runtime.list().await?, &args.worker)?;
    let mut lines = runtime.read(&worker, args.follow).await?;
    while let Some(line) = lines.try_next().await? {
        if args.output.json {
            out.json_line(&line)?;
        } else {
            out.line(line.text + "\n")?;
        }
    }
    Ok(Exit::Done)
}
