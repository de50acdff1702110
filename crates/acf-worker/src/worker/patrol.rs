//! The life of a worker: pass after pass, with the waits between them, until it is to stop.

use std::time::Duration;

use acf_core::clock::Clock;
use acf_core::progress::What;
use acf_core::run::{FailureKind, Outcome, RunRecord};
use acf_core::tracker::TrackerError;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::poll::wait_until;
use super::{Pass, Worker, WorkerError};

/// The wait after a passing error; it doubles with each one more.
const FIRST_ERROR_WAIT: Duration = Duration::from_secs(2);
/// The longest wait after a passing error.
const LONGEST_ERROR_WAIT: Duration = Duration::from_secs(120);
/// After this many passing errors in a row, a worker that is to end when idle gives up.
const MOST_ERRORS: u32 = 6;

/// How long a worker lives, and how it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patrol {
    /// After how many issues it ends; never, if `None`.
    pub max_issues: Option<u32>,
    /// Whether it ends when there is nothing to do.
    pub exit_when_idle: bool,
    /// The wait when there is nothing to do.
    pub no_issues_wait: Duration,
    /// The wait between two issues.
    pub inter_issue_wait: Duration,
}

/// Why a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop.
    Stopped,
    /// It has worked on as many issues as it was to.
    EnoughIssues,
    /// There was nothing to do.
    Idle,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stopped => "told to stop",
            Self::EnoughIssues => "worked on as many issues as asked",
            Self::Idle => "nothing to do",
        })
    }
}

/// What a worker did in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// How many issues it worked on.
    pub issues: u32,
    /// Why it ended.
    pub ending: Ending,
}

impl Worker {
    /// Works until there is a reason to end. What it still holds then, it lets go.
    ///
    /// # Errors
    /// [`WorkerError`] when something is wrong that waiting does not mend.
    pub async fn patrol(&self, patrol: Patrol, stop: &CancellationToken) -> Result<Life, WorkerError> {
        let life = self.pass_by_pass(patrol, stop).await;
        let unsettled = self.clerk.let_go().await;
        match life {
            // That there was nothing else to do is not that all is well.
            Ok(Life { ending: Ending::Idle, .. }) if !unsettled.is_empty() => {
                Err(WorkerError::Unsettled(unsettled))
            }
            life => life,
        }
    }

    async fn pass_by_pass(&self, patrol: Patrol, stop: &CancellationToken) -> Result<Life, WorkerError> {
        self.around.observer.note(What::Started { stage: self.orders.stage });
        let mut issues = 0;
        let mut errors = 0;
        let mut told_why = String::new();
        let mut told_error = String::new();
        // Whether a whole pass has gone well so far.
        let mut has_begun = false;
        loop {
            if stop.is_cancelled() {
                return Ok(Life { issues, ending: Ending::Stopped });
            }
            let pass = self.pass(stop).await;
            if pass.is_ok() {
                has_begun = true;
                told_error.clear();
            }
            let wait = match pass {
                Ok(Pass::Worked(record)) => {
                    if let Some(reason) = record.as_deref().and_then(not_authenticated) {
                        return Err(WorkerError::NotAuthenticated(reason));
                    }
                    (issues, errors) = (issues + 1, 0);
                    told_why.clear();
                    if patrol.max_issues.is_some_and(|max| issues >= max) {
                        return Ok(Life { issues, ending: Ending::EnoughIssues });
                    }
                    patrol.inter_issue_wait
                }
                Ok(Pass::Stopped) => continue,
                Ok(Pass::Nothing { why, look_again_at }) => {
                    errors = 0;
                    let wait = wait_until(look_again_at, self.around.clock.now(), patrol.no_issues_wait);
                    // The same reason again and again is said once.
                    if why != told_why {
                        tracing::info!("nothing to do: {why}");
                    }
                    let wait_secs = wait.as_secs();
                    self.around.observer.note(What::Idle { why: why.clone(), wait_secs, until: None });
                    told_why = why;
                    if patrol.exit_when_idle {
                        return match self.fatigue.red_trunk() {
                            Some(reason) => Err(WorkerError::Resting(reason)),
                            None => Ok(Life { issues, ending: Ending::Idle }),
                        };
                    }
                    wait
                }
                Ok(Pass::Resting { why, until }) => {
                    errors = 0;
                    // Not all at once: what dead workers leave meanwhile is settled in between.
                    let wait = wait_until(Some(until), self.around.clock.now(), patrol.no_issues_wait);
                    if patrol.exit_when_idle {
                        return Err(WorkerError::Resting(why));
                    }
                    if why != told_why {
                        tracing::warn!("no issue is taken: {why}");
                    }
                    let (wait_secs, until) = (wait.as_secs(), Some(until));
                    self.around.observer.note(What::Idle { why: why.clone(), wait_secs, until });
                    told_why = why;
                    wait
                }
                Err(WorkerError::Tracker(error @ TrackerError::Unreadable(_))) if !has_begun => {
                    return Err(error.into());
                }
                Err(error) if error.is_passing() && !(patrol.exit_when_idle && errors == MOST_ERRORS) => {
                    let wait = error_wait(&error, errors);
                    errors += 1;
                    let (wait_secs, cause) = (wait.as_secs(), chain(&error));
                    let until = after(&*self.around.clock, wait);
                    if cause == told_error {
                        tracing::debug!(wait_secs, "{cause}; trying again in {wait_secs} s, at {until}");
                    } else {
                        tracing::warn!(wait_secs, "{cause}; trying again in {wait_secs} s, at {until}");
                    }
                    told_error = cause;
                    wait
                }
                Err(error) => return Err(error),
            };
            if !wait.is_zero() {
                tokio::select! {
                    () = self.around.clock.sleep(wait) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }
}

/// Returns why a run's agent was not let in, if that is how it ended.
fn not_authenticated(record: &RunRecord) -> Option<String> {
    match &record.outcome {
        Outcome::Failed(failure) if failure.kind == FailureKind::NotAuthenticated => {
            Some(failure.reason.clone())
        }
        _ => None,
    }
}

fn error_wait(error: &WorkerError, errors_before: u32) -> Duration {
    let doubled =
        || FIRST_ERROR_WAIT.saturating_mul(2u32.saturating_pow(errors_before)).min(LONGEST_ERROR_WAIT);
    error.asked_wait().unwrap_or_else(doubled)
}

/// Returns the time after that wait, as people read it.
pub(super) fn after(clock: &dyn Clock, wait: Duration) -> Timestamp {
    let until = clock.now().checked_add(wait).unwrap_or(Timestamp::MAX);
    until.round(jiff::Unit::Second).unwrap_or(until)
}

/// Joins an error and its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

#[cfg(test)]
mod tests {
    use acf_core::claim::{ClaimError, RemoteSays};

    use super::*;

    fn unreachable() -> WorkerError {
        WorkerError::Claims(ClaimError::Unreachable(RemoteSays("no route".into())))
    }

    #[test]
    fn waits_after_errors_double_up_to_two_minutes() {
        let waits: Vec<_> = (0..9).map(|n| error_wait(&unreachable(), n).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 120, 120, 120]);
        assert_eq!(error_wait(&unreachable(), u32::MAX), LONGEST_ERROR_WAIT);
    }

    #[test]
    fn a_tracker_that_says_how_long_is_believed() {
        let retry_after = Duration::from_secs(77);
        let limited = WorkerError::Tracker(TrackerError::RateLimited { retry_after });
        assert_eq!(error_wait(&limited, 3), retry_after);
    }

    #[test]
    fn a_chain_of_causes_is_one_line() {
        assert_eq!(chain(&unreachable()), "cannot work with the claims: cannot reach the remote: no route");
    }
}
