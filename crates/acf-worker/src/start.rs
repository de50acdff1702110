//! Patience at a worker's start: what will pass is waited for, as it is during work, and what a person has to
//! mend ends the start at once.

use std::time::Duration;

use acf_core::claim::ClaimError;
use acf_core::clock::Clock;
use acf_core::tracker::TrackerError;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::assembly::StartError;
use crate::git::probe::ProbeError;
use crate::worker::chain;

/// How often something is tried that cannot be reached.
const TRIES: u32 = 4;
/// The wait before the second time; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// Tries until it works, and says what it waits for. `of` is what is asked, as people call it.
///
/// # Errors
/// The last error, where it was the last try, or waiting is of no use; [`StartError::Stopped`] as soon as
/// `stop` says so.
pub(crate) async fn patiently<T>(
    of: &str,
    clock: &dyn Clock,
    stop: &CancellationToken,
    mut attempt: impl AsyncFnMut() -> Result<T, StartError>,
) -> Result<T, StartError> {
    let mut failed_tries = 0;
    loop {
        let error = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(StartError::Stopped),
            tried = attempt() => match tried {
                Ok(value) => return Ok(value),
                Err(error) => error,
            },
        };
        let asked = match &error {
            StartError::Tracker(error) => error.asked_wait(),
            _ => None,
        };
        let wait = match asked {
            // However often: a service that says how long is believed.
            Some(asked) => asked,
            None => {
                failed_tries += 1;
                if !is_passing(&error) || failed_tries == TRIES {
                    return Err(error);
                }
                FIRST_WAIT * 2u32.pow(failed_tries - 1)
            }
        };
        let until = clock.now().checked_add(wait).unwrap_or(Timestamp::MAX);
        let until = until.round(jiff::Unit::Second).unwrap_or(until);
        let (wait_secs, cause) = (wait.as_secs(), chain(&error));
        tracing::warn!(
            wait_secs,
            "cannot start yet, trying {of} again in {wait_secs} s, at {until}: {cause}"
        );
        tokio::select! {
            () = clock.sleep(wait) => {}
            () = stop.cancelled() => {}
        }
    }
}

fn is_passing(error: &StartError) -> bool {
    matches!(
        error,
        StartError::Tracker(TrackerError::Other { .. })
            | StartError::Probe(ProbeError::Remote { cause: ClaimError::Unreachable(_), .. })
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;

    /// A clock that whoever sleeps moves on, and that stops its worker at that time.
    #[derive(Default)]
    struct Moved {
        now: Mutex<Duration>,
        stop: CancellationToken,
        stops_at: Option<Duration>,
    }

    #[async_trait]
    impl Clock for Moved {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH + self.monotonic()
        }

        fn monotonic(&self) -> Duration {
            *self.now.lock().unwrap()
        }

        async fn sleep(&self, duration: Duration) {
            let end = self.monotonic() + duration;
            match self.stops_at.filter(|at| *at < end) {
                Some(at) => {
                    *self.now.lock().unwrap() = at;
                    self.stop.cancel();
                    std::future::pending::<()>().await;
                }
                None => *self.now.lock().unwrap() = end,
            }
        }
    }

    /// Starts while the tracker answers like that, the last answer again and again. Returns what came of it,
    /// and after how many seconds.
    async fn start(
        clock: Moved,
        answers: &[fn() -> TrackerError],
        tries: usize,
    ) -> (Result<(), StartError>, u64) {
        let mut tried = 0;
        let ended = patiently("the tracker", &clock, &clock.stop, async || {
            tried += 1;
            if tried > tries { Ok(()) } else { Err(answers[(tried - 1).min(answers.len() - 1)]().into()) }
        });
        (ended.await, clock.monotonic().as_secs())
    }

    fn no_route() -> TrackerError {
        TrackerError::other("cannot reach the tracker", "no route")
    }

    fn limited() -> TrackerError {
        TrackerError::RateLimited { retry_after: Duration::from_secs(600) }
    }

    #[tokio::test]
    async fn a_rate_limit_is_waited_for_however_long_and_often() {
        let (started, after_secs) = start(Moved::default(), &[limited], 5).await;
        assert!(started.is_ok());
        assert_eq!(after_secs, 5 * 600);
    }

    #[tokio::test]
    async fn a_service_that_says_for_how_long_it_does_not_work_is_waited_for() {
        let unavailable = || {
            let retry_after = Duration::from_secs(60);
            TrackerError::Unavailable { says: "GET x answered 503".into(), retry_after }
        };
        let (started, after_secs) = start(Moved::default(), &[unavailable], 5).await;
        assert!(started.is_ok());
        assert_eq!(after_secs, 5 * 60);
    }

    #[tokio::test]
    async fn a_tracker_that_cannot_be_reached_is_tried_as_often_as_during_work() {
        let (started, after_secs) = start(Moved::default(), &[no_route], 3).await;
        assert!(started.is_ok());
        assert_eq!(after_secs, 2 + 4 + 8);
        let (started, after_secs) = start(Moved::default(), &[no_route], 4).await;
        assert!(matches!(started, Err(StartError::Tracker(TrackerError::Other { .. }))));
        assert_eq!(after_secs, 2 + 4 + 8);
    }

    #[tokio::test]
    async fn wrong_credentials_end_the_start_at_once() {
        let wrong = || TrackerError::Unauthorized("the token has expired".into());
        let (started, after_secs) = start(Moved::default(), &[wrong], 1).await;
        assert!(matches!(started, Err(StartError::Tracker(TrackerError::Unauthorized(_)))));
        assert_eq!(after_secs, 0);
    }

    #[tokio::test]
    async fn a_worker_that_is_told_to_stop_waits_no_longer() {
        let clock = Moved { stops_at: Some(Duration::from_secs(7)), ..Moved::default() };
        let (started, after_secs) = start(clock, &[limited], 5).await;
        assert!(matches!(started, Err(StartError::Stopped)));
        assert_eq!(after_secs, 7);
    }
}
