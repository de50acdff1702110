//! `acf demo`: the whole factory in a sandbox, with the scripted agent: no credentials, no network.

mod board;
mod sandbox;
mod summary;
mod view;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use acf_core::runtime::{LogLine, LogSource as _, Pool, Runtime as _, WorkerSpec, WorkerState};
use acf_worker::config::cache_directory;
use acf_worker::signals;
use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::args::DemoArgs;
use crate::context::Context;
use crate::error::{Exit, WithHint};
use crate::process::{Launch, ProcessRuntime};
use crate::ui::{Out, say};
use board::Board;
use sandbox::Sandbox;
pub use sandbox::{ENV_FILE, home_in};
use summary::Summary;
use view::View;

/// How often the board is brought up to date.
const LOOK: Duration = Duration::from_millis(50);
/// How long a demo may take; a machine that needs longer is told so.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// How long workers may take to end when the demo is interrupted.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the demo.
///
/// # Errors
/// When the sandbox cannot be made, or the workers do not work.
pub async fn run(args: &DemoArgs, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    let cache = cache_directory(context.environment())
        .map_err(|problem| {
            anyhow::anyhow!("there is no place for the sandbox: {} is {}", problem.name, problem.found)
        })
        .hint("set HOME, or XDG_CACHE_HOME to an absolute path")?;
    let stop = CancellationToken::new();
    signals::install(stop.clone(), 3 * GRACE, String::new()).context("cannot handle signals")?;
    clear_up(&cache, context.environment()).await;
    let sandbox = Sandbox::make(&cache, args.issues, context.environment()).await?;
    let shown = sandbox.path().display();
    let kept = if args.keep { "kept" } else { "removed afterwards; --keep keeps it" };
    say(format!(
        "acf demo · {}, {}, scripted agent\nsandbox {shown} ({kept})\n",
        crate::ui::count(args.issues.into(), "issue"),
        crate::ui::count(args.workers.into(), "worker"),
    ));
    let runtime = runtime(sandbox.path(), sandbox.settings(), context.environment())?;
    let summary = watch(args, &sandbox, &runtime, &stop).await;
    // Nothing may survive the demo, however it ended.
    for worker in runtime.list().await? {
        runtime.stop(&worker.id, GRACE).await?;
    }
    let summary = match summary {
        Ok(Some(summary)) => summary,
        Ok(None) if args.keep => {
            say(format!("interrupted; the sandbox is kept: {}", sandbox.keep().display()));
            return Ok(Exit::Interrupted);
        }
        Ok(None) => {
            say("interrupted; the sandbox is removed");
            return Ok(Exit::Interrupted);
        }
        Err(error) => {
            let kept = sandbox.keep();
            return Err(error).hint(format!("the sandbox is kept: {}", kept.display()));
        }
    };
    if args.output.json {
        out.json(&summary.figures())?;
    } else {
        out.line(summary.render())?;
    }
    if args.keep {
        let path = sandbox.keep();
        say(format!("What happened, as receipts:   acf runs --sandbox {}", path.display()));
    } else {
        say("What happened, as receipts:   acf demo --keep, then acf runs --sandbox DIR");
    }
    say("Next, on your own repository: set PROJECT, GIT_REPO_URL and AGENT, then acf worker");
    say("Which settings there are:     acf config");
    Ok(if summary.is_sound() { Exit::Done } else { Exit::Failed })
}

/// Removes the sandboxes of demos that were killed, and ends the workers that they left.
async fn clear_up(cache: &Path, environment: &BTreeMap<String, String>) {
    for left in sandbox::abandoned(cache) {
        if let Err(error) = end_workers(left.path(), environment).await {
            say(format!("cannot end what an earlier demo left in {}: {error:#}", left.path().display()));
        }
    }
}

async fn end_workers(sandbox: &Path, environment: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let runtime = runtime(sandbox, &BTreeMap::new(), environment)?;
    for worker in runtime.list().await? {
        runtime.stop(&worker.id, GRACE).await?;
    }
    Ok(())
}

/// Makes the runtime of a sandbox: acf's own program, and an environment with the sandbox's settings
/// and nothing of the user's.
fn runtime(
    sandbox: &Path,
    settings: &BTreeMap<String, String>,
    environment: &BTreeMap<String, String>,
) -> anyhow::Result<ProcessRuntime> {
    let program = std::env::current_exe().context("cannot find the program of acf itself")?;
    let kept = ["PATH", "TMPDIR", "LANG"].into_iter();
    let mut env: BTreeMap<_, _> =
        kept.filter_map(|name| Some((name.into(), environment.get(name)?.into()))).collect();
    env.insert("HOME".into(), home_in(sandbox).into());
    env.extend(settings.iter().map(|(name, value)| (name.into(), value.into())));
    let launch = Launch { keeper: program.clone(), program, args: vec!["worker".into()], env };
    Ok(ProcessRuntime::new(sandbox.join("state"), launch))
}

/// Starts the workers and follows them until all have ended; `None` where that was interrupted.
async fn watch(
    args: &DemoArgs,
    sandbox: &Sandbox,
    runtime: &ProcessRuntime,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Summary>> {
    let begun = std::time::Instant::now();
    let spec = |pool| WorkerSpec { exit_when_idle: true, ..WorkerSpec::of(pool) };
    let mut board = Board::new(sandbox.issues());
    let view = View::new(sandbox.issues().len());
    for (pool, number) in [(Pool::Workers, usize::from(args.workers)), (Pool::Planners, 1)] {
        let ids = runtime.start(&spec(pool), number).await.context("cannot start the workers")?;
        for (n, id) in ids.into_iter().enumerate() {
            let letter = if pool == Pool::Workers { 'w' } else { 'p' };
            let events = runtime.events_file(&id)?;
            board.follow(id, format!("{letter}{}", n + 1), events);
        }
    }
    loop {
        // Whether they run has to be known before what they said is read: then nothing is missed.
        let workers = runtime.list().await?;
        let all_ended = workers.iter().all(|worker| matches!(worker.state, WorkerState::Ended { .. }));
        board.read(|row| view.show(row))?;
        view.refresh(&board);
        if all_ended {
            break;
        }
        anyhow::ensure!(begun.elapsed() < LIMIT, "the demo took longer than {} min", LIMIT.as_secs() / 60);
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return Ok(None),
        }
    }
    view.finish();
    let wall = begun.elapsed();
    let workers = runtime.list().await?;
    let failed = workers.iter().find(|worker| worker.state != WorkerState::Ended { exit_code: Some(0) });
    if let Some(worker) = failed {
        let lines: Vec<LogLine> = runtime.read(&worker.id, false).await?.try_collect().await?;
        let lines: Vec<_> = lines.iter().map(|line| &*line.text).collect();
        anyhow::bail!("worker {} ended badly: {}", worker.id, last_error(&lines));
    }
    Summary::new(&board, sandbox.landed().await?, wall).map(Some)
}

/// Returns the last error of a log with its causes, or its last line where there is none.
fn last_error(log: &[&str]) -> String {
    let Some(start) = log.iter().rposition(|line| line.starts_with("error: ")) else {
        return log
            .iter()
            .rfind(|line| !line.trim().is_empty())
            .map_or_else(String::new, |line| line.to_string());
    };
    let told = log[start..].iter().take_while(|line| !line.starts_with("hint: "));
    told.map(|line| line.trim().trim_start_matches("error: ").trim_start_matches("caused by: "))
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_last_error_is_told_without_its_hint() {
        let log = ["INFO starts", "error: cannot push", "  caused by: no", "hint: allow it"];
        assert_eq!(last_error(&log), "cannot push: no");
        assert_eq!(last_error(&["INFO starts", "thread panicked", ""]), "thread panicked");
        assert_eq!(last_error(&[]), "");
    }
}
