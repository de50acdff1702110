//! Looking at an issue again while a run works on it, and ending the run when the issue is no longer
//! wanted.
//!
//! Deliberately absent: any certainty. A person may close the issue between the last look and the push,
//! as no tracker shares a transaction with git; what the run then says in the tracker is only a comment.

use std::pin::pin;

use acf_core::claim::Claim;
use acf_core::eligibility::why_withdrawn;
use acf_core::issue_run::Event;
use acf_core::tracker::TrackerError;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::patrol::chain;

impl Worker {
    /// Waits for `work`, which `halt` stops, and stops it once the issue is no longer wanted.
    pub(super) async fn while_wanted(
        &self,
        claim: &Claim,
        halt: &CancellationToken,
        work: impl Future<Output = Event>,
    ) -> Event {
        let mut work = pin!(work);
        let why = tokio::select! {
            biased;
            event = &mut work => return event,
            why = self.watch(claim) => why,
        };
        halt.cancel();
        // What it comes to does not matter any more, but it has to be over before its work is saved.
        work.await;
        Event::Withdrawn(why)
    }

    /// Looks at the issue from time to time, until it is no longer wanted; returns why not.
    async fn watch(&self, claim: &Claim) -> String {
        loop {
            self.around.clock.sleep(self.orders.issue_recheck).await;
            if let Some(why) = self.look_again(claim).await {
                return why;
            }
        }
    }

    /// Reads the issue once; `None` if it is still wanted, or cannot be read: a tracker that is away for
    /// a while must not cost a run its work.
    pub(super) async fn look_again(&self, claim: &Claim) -> Option<String> {
        let key = &claim.issue;
        let why = match self.around.tracker.issue(&claim.issue_ref()).await {
            Ok(issue) => why_withdrawn(&issue, claim, &self.orders.rules)?,
            Err(TrackerError::NotFound(what)) => gone(&what),
            Err(error) => {
                let cause = chain(&error);
                tracing::warn!(issue.key = %key, "cannot look at issue `{key}` again, going on with it: {cause}");
                return None;
            }
        };
        tracing::info!(issue.key = %key, run = %claim.run, why, "stopping work on issue `{key}`: {why}");
        Some(why)
    }
}

/// Says that an issue is not there any more and, where the tracker tells, where it is now.
fn gone(what: &str) -> String {
    match what.split_once(": ") {
        Some((_, whereto)) => format!("the issue is gone: {whereto}"),
        None => "the issue is gone".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;
    use std::sync::{Arc, Mutex};
    use std::task::Poll;
    use std::time::Duration;

    use acf_core::clock::Clock as _;
    use acf_core::issue::{Issue, IssueRef, Stage, Status};
    use acf_core::tracker::{Applied, Change, Condition, Tracker};
    use async_trait::async_trait;

    use super::super::stubs::{self, Answer, Moved, Renewals, held, worker_with};
    use super::*;

    const RECHECK: Duration = Duration::from_secs(300);

    /// What the tracker answers, one reading after the other.
    struct Readings(Mutex<VecDeque<Result<Issue, TrackerError>>>);

    #[async_trait]
    impl Tracker for Readings {
        fn kind(&self) -> &'static str {
            "readings"
        }

        async fn whoami(&self) -> Result<String, TrackerError> {
            unreachable!("nobody asks")
        }

        async fn candidates(&self, _: Stage) -> Result<Vec<Issue>, TrackerError> {
            unreachable!("nobody asks")
        }

        async fn list(&self) -> Result<Vec<Issue>, TrackerError> {
            unreachable!("nobody asks")
        }

        async fn issue(&self, _: &IssueRef) -> Result<Issue, TrackerError> {
            // The work goes on while the tracker thinks.
            tokio::task::yield_now().await;
            self.0.lock().unwrap().pop_front().expect("one reading more than was expected")
        }

        async fn apply_if(
            &self,
            _: &IssueRef,
            _: Condition<'_>,
            _: &[Change],
        ) -> Result<Applied, TrackerError> {
            unreachable!("looking changes nothing")
        }
    }

    fn issue(status: Status) -> Issue {
        Issue { status, ..stubs::issue() }
    }

    /// Works for so long while the tracker answers like this. Returns what came of it, when it ended, and
    /// whether the work was told to stop.
    async fn work_for(
        secs: u64,
        readings: impl IntoIterator<Item = Result<Issue, TrackerError>>,
    ) -> (Event, u64, bool) {
        let clock = Arc::new(Moved::default());
        let readings = Arc::new(Readings(Mutex::new(readings.into_iter().collect())));
        let claims = Arc::new(Renewals::answered(&[Answer::Yes]));
        let mut worker = worker_with(claims, readings.clone(), clock.clone());
        worker.orders.issue_recheck = RECHECK;
        let halt = CancellationToken::new();
        let work = poll_fn(|_| {
            let is_over = halt.is_cancelled() || clock.monotonic() >= Duration::from_secs(secs);
            if is_over { Poll::Ready(Event::Waited) } else { Poll::Pending }
        });
        let event = worker.while_wanted(&held(60).claim, &halt, work).await;
        assert_eq!(readings.0.lock().unwrap().len(), 0, "not every reading was taken");
        (event, clock.monotonic().as_secs(), halt.is_cancelled())
    }

    #[tokio::test]
    async fn a_wanted_issue_is_read_again_at_every_interval_and_its_work_goes_on() {
        let readings = || [0, 1, 2].map(|_| Ok(issue(Status::InProgress)));
        assert_eq!(work_for(1000, readings()).await, (Event::Waited, 1200, false));
    }

    #[tokio::test]
    async fn work_on_an_issue_that_was_closed_is_told_to_stop() {
        let readings = [Ok(issue(Status::InProgress)), Ok(issue(Status::Done))];
        let why = "the issue was moved to Done".to_owned();
        assert_eq!(work_for(100_000, readings).await, (Event::Withdrawn(why), 600, true));
    }

    #[tokio::test]
    async fn work_on_an_issue_that_is_gone_is_told_to_stop() {
        let readings = [Err(TrackerError::NotFound("TODO-3".into()))];
        assert_eq!(
            work_for(100_000, readings).await,
            (Event::Withdrawn("the issue is gone".into()), 300, true)
        );
    }

    #[test]
    fn where_an_issue_has_gone_is_said_where_the_tracker_tells() {
        assert_eq!(gone("#1 in acme/shop"), "the issue is gone");
        assert_eq!(
            gone("ACF-1 any more: it was moved, and is now OPS-7"),
            "the issue is gone: it was moved, and is now OPS-7"
        );
    }

    #[tokio::test]
    async fn a_failed_read_keeps_the_work_going() {
        let readings = [
            Err(TrackerError::other("cannot reach the tracker", "no route")),
            Err(TrackerError::Unauthorized("the token has expired".into())),
            Err(TrackerError::RateLimited { retry_after: Duration::from_secs(60) }),
        ];
        assert_eq!(work_for(1000, readings).await, (Event::Waited, 1200, false));
    }
}
