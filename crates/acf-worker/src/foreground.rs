//! What a worker's program does in the foreground, for both programs that can be one.

use std::collections::BTreeMap;
use std::sync::Arc;

use acf_core::claim::ClaimStore as _;
use acf_core::issue::Stage;
use acf_core::run::WorkerId;
use tokio_util::sync::CancellationToken;

use crate::assembly::{StartError, assemble, open_hosting, open_repository, open_tracker};
use crate::clock::SystemClock;
use crate::config::{Settings, new_worker_id};
use crate::process::end_survivors;
use crate::worker::{Clerk, Ending, Life, Patrol, Settlement, WorkerError};
use crate::{log, signals};

/// What a worker is sent out to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errand {
    /// Which issues it takes.
    pub stage: Stage,
    /// After how many issues it ends; never, if `None`.
    pub max_issues: Option<u32>,
    /// Whether it ends when there is nothing to do.
    pub exit_when_idle: bool,
}

/// Starts the log, and makes signals stop the worker by the token that is returned.
///
/// # Errors
/// [`StartError::Machine`] when signals cannot be handled.
pub fn begin(settings: &Settings) -> Result<CancellationToken, StartError> {
    log::init(settings.worker.log_filter.clone(), settings.mask.clone());
    let stop = CancellationToken::new();
    signals::install(stop.clone(), settings.worker.stop_grace, left_behind(&settings.worker.id))
        .map_err(|cause| StartError::Machine { attempt: "cannot handle signals", cause })?;
    Ok(stop)
}

/// Works until there is a reason to end.
///
/// # Errors
/// [`StartError`] for what is missing, or wrong in a way that waiting does not mend.
pub async fn work(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    errand: Errand,
) -> Result<Life, StartError> {
    let stop = begin(settings)?;
    end_what_guards_left();
    let ready = match assemble(settings, environment, errand.stage, &stop).await {
        Ok(ready) => ready,
        Err(StartError::Stopped) => {
            tracing::info!("the worker ends before it was ready: told to stop");
            return Ok(Life { issues: 0, ending: Ending::Stopped });
        }
        Err(error) => return Err(error),
    };
    let patrol = Patrol {
        max_issues: errand.max_issues,
        exit_when_idle: errand.exit_when_idle,
        no_issues_wait: settings.worker.no_issues_wait,
        inter_issue_wait: settings.worker.inter_issue_wait,
    };
    Ok(ready.patrol(patrol, &stop).await?)
}

/// Says what becomes of the issue of a worker that ends at once.
fn left_behind(worker: &WorkerId) -> String {
    format!(
        "; an issue that was worked on stays claimed until its claim expires, `acf sweep --dead {worker}` frees it at \
         once"
    )
}

fn end_what_guards_left() {
    let ended = end_survivors();
    if ended > 0 {
        tracing::warn!(ended, "ended {ended} processes of agents, gates or git whose worker was killed");
    }
}

/// Settles expired claims, and those of workers that are known to be dead.
///
/// # Errors
/// [`StartError`] when claims or tracker cannot be reached.
pub async fn sweep(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    dead: &[WorkerId],
) -> Result<Settlement, StartError> {
    end_what_guards_left();
    let repository = settings.repository.as_ref().ok_or(StartError::NoRepository)?;
    let repository = open_repository(repository, environment).await?;
    let tracker = open_tracker(settings, Some(&repository))?.port;
    let clerk = Clerk::new(
        repository.claims.clone(),
        tracker,
        Arc::new(SystemClock::default()),
        new_worker_id(),
        settings.worker.claim_ttl,
        settings.rules.attempts.max_attempts,
    )
    .with_hosting(open_hosting(settings, &repository)?);
    let survey = repository.claims.survey().await.map_err(WorkerError::from)?;
    Ok(clerk.settle(&survey, Some(dead)).await?)
}
