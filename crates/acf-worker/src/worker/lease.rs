//! A held claim, kept alive while something goes on under it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use acf_core::claim::{ClaimError, ClaimStore, Held};
use acf_core::clock::Clock;
use acf_core::issue_run::Event;
use acf_core::run::CommitId;

use super::patrol::chain;
use super::{Salvage, SaveFor};

/// Claims are renewed, and work is saved, at least this often.
const LONGEST_TICK: Duration = Duration::from_secs(5 * 60);

/// A held claim, and until when its holder may believe in it.
pub(super) struct Lease {
    pub(super) held: Held,
    claims: Arc<dyn ClaimStore>,
    clock: Arc<dyn Clock>,
    /// When the last confirmed change was *sent*, by the monotonic clock.
    confirmed_at: Duration,
    saved: Option<CommitId>,
}

impl Lease {
    /// Begins to keep a claim that was confirmed by a change sent at `confirmed_at`.
    pub(super) fn new(
        held: Held,
        claims: Arc<dyn ClaimStore>,
        clock: Arc<dyn Clock>,
        confirmed_at: Duration,
    ) -> Self {
        Self { held, claims, clock, confirmed_at, saved: None }
    }

    /// Replaces what is known of the claim after a change of it sent at `sent_at`.
    pub(super) fn confirmed(&mut self, held: Held, sent_at: Duration) {
        self.held = held;
        self.confirmed_at = sent_at;
    }

    fn tick(&self) -> Duration {
        (self.held.claim.ttl() / 6).min(LONGEST_TICK)
    }

    fn age(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.confirmed_at)
    }

    /// Makes sure that the claim is held for some time to come: a worker that was frozen, or cut off
    /// from the remote, must not write as if nothing had happened.
    ///
    /// # Errors
    /// [`ClaimError::Lost`] when it is no longer held, any other when that cannot be found out.
    pub(super) async fn ensure(&mut self) -> Result<(), ClaimError> {
        // A renewal may itself take so long that it says nothing any more.
        while self.age() >= self.held.claim.ttl() / 2 {
            self.renew(None).await?;
        }
        Ok(())
    }

    pub(super) async fn renew(&mut self, wip: Option<&CommitId>) -> Result<(), ClaimError> {
        let sent_at = self.clock.monotonic();
        let held = self.claims.renew(&self.held, self.clock.now(), wip).await?;
        self.confirmed(held, sent_at);
        Ok(())
    }

    /// Waits for `work` while keeping the claim, and saving what there is to be saved.
    ///
    /// If the claim is lost, `work` is dropped at once. If the remote cannot be reached, `work` goes
    /// on until the claim would have expired.
    pub(super) async fn keep_during(
        &mut self,
        salvage: Option<Arc<dyn Salvage>>,
        work: impl Future<Output = Event>,
    ) -> Event {
        let mut work = std::pin::pin!(work);
        loop {
            let clock = Arc::clone(&self.clock);
            tokio::select! {
                biased;
                event = &mut work => return event,
                () = clock.sleep(self.tick()) => {}
            }
            let (renewed, ended) = self.renew_during(salvage.as_deref(), work.as_mut()).await;
            match (renewed, ended) {
                (Err(ClaimError::Lost), _) => return Event::ClaimLost,
                (Err(error), None) if self.age() >= self.held.claim.ttl() => {
                    tracing::warn!(error = %error, "the claim has expired, and the remote cannot be reached");
                    return Event::ClaimLost;
                }
                (Err(error), None) => {
                    tracing::warn!(error = %error, "cannot renew the claim; trying again");
                }
                (_, Some(event)) => return event,
                (Ok(()), None) => {}
            }
        }
    }

    /// Renews the claim and saves the work, which goes on meanwhile. Returns the work's event too, if
    /// it ended before the renewal did.
    async fn renew_during(
        &mut self,
        salvage: Option<&dyn Salvage>,
        mut work: Pin<&mut impl Future<Output = Event>>,
    ) -> (Result<(), ClaimError>, Option<Event>) {
        let renewal = async {
            let wip = match salvage {
                Some(salvage) => salvage.save(SaveFor::Meanwhile).await,
                None => None,
            };
            let Some(new) = wip.filter(|commit| self.saved.as_ref() != Some(commit)) else {
                return self.renew(None).await;
            };
            match self.renew(Some(&new)).await {
                Ok(()) => {
                    self.saved = Some(new);
                    Ok(())
                }
                Err(ClaimError::Lost) => Err(ClaimError::Lost),
                // Work that the remote does not take, too large for it, say, must not cost the claim.
                Err(error) => {
                    let issue = &self.held.claim.issue;
                    tracing::warn!(issue.key = %issue, "cannot save the work in progress: {}", chain(&error));
                    self.renew(None).await
                }
            }
        };
        let mut renewal = std::pin::pin!(renewal);
        tokio::select! {
            biased;
            // Where the claim is after this has to be known before anything else is done with it.
            event = &mut work => (renewal.await, Some(event)),
            renewed = &mut renewal => (renewed, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Mutex;
    use std::task::Poll;

    use async_trait::async_trait;

    use super::super::stubs::{Answer, Moved, Renewals, held};
    use super::*;

    /// Saves those commits in turn, the last one again and again.
    struct Saves(Mutex<Vec<&'static str>>);

    #[async_trait]
    impl Salvage for Saves {
        async fn save(&self, _: SaveFor) -> Option<CommitId> {
            let mut commits = self.0.lock().unwrap();
            let commit = if commits.len() > 1 { commits.remove(0) } else { commits[0] };
            Some(CommitId::new(commit))
        }
    }

    /// How work went that takes some time, and with it the renewals.
    struct Kept {
        event: Event,
        ended_secs: u64,
        saved: Vec<Option<String>>,
    }

    async fn keep(ttl_secs: u64, work_secs: u64, answers: &[Answer], commits: &[&'static str]) -> Kept {
        let clock = Arc::new(Moved::default());
        let store = Arc::new(Renewals::answered(answers));
        let mut lease = Lease::new(held(ttl_secs), store.clone(), clock.clone(), Duration::ZERO);
        let salvage = (!commits.is_empty())
            .then(|| -> Arc<dyn Salvage> { Arc::new(Saves(Mutex::new(commits.to_vec()))) });
        let work = poll_fn(|_| {
            let is_over = clock.monotonic() >= Duration::from_secs(work_secs);
            if is_over { Poll::Ready(Event::Waited) } else { Poll::Pending }
        });
        let event = lease.keep_during(salvage, work).await;
        let saved = store.saved();
        Kept { event, ended_secs: clock.monotonic().as_secs(), saved }
    }

    #[tokio::test]
    async fn a_claim_is_renewed_six_times_a_ttl_and_every_five_minutes() {
        assert_eq!(keep(60, 30, &[Answer::Yes], &[]).await.saved.len(), 3);
        assert_eq!(keep(2 * 60 * 60, 15 * 60, &[Answer::Yes], &[]).await.saved.len(), 3);
    }

    #[tokio::test]
    async fn work_that_is_cut_off_from_the_remote_goes_on_until_the_claim_would_have_expired() {
        let cut_off = keep(60, 1000, &[Answer::Nothing], &[]).await;
        assert_eq!((cut_off.event, cut_off.ended_secs), (Event::ClaimLost, 60));
        let cut_off_later = keep(60, 1000, &[Answer::Yes, Answer::Yes, Answer::Nothing], &[]).await;
        assert_eq!((cut_off_later.event, cut_off_later.ended_secs), (Event::ClaimLost, 80));
        let soon_over = keep(60, 50, &[Answer::Nothing], &[]).await;
        assert_eq!((soon_over.event, soon_over.ended_secs), (Event::Waited, 50));
    }

    #[tokio::test]
    async fn work_under_a_lost_claim_ends_at_once() {
        let lost = keep(60, 1000, &[Answer::Yes, Answer::Lost], &[]).await;
        assert_eq!((lost.event, lost.ended_secs), (Event::ClaimLost, 20));
    }

    #[tokio::test]
    async fn work_is_saved_with_a_renewal_when_there_is_something_new() {
        let kept = keep(60, 50, &[Answer::Yes], &["one", "one", "one", "two"]).await;
        assert_eq!(kept.saved, [Some("one".into()), None, None, Some("two".into()), None]);
    }

    #[tokio::test]
    async fn work_that_the_remote_does_not_take_costs_no_renewal_and_is_offered_again() {
        let kept = keep(60, 30, &[Answer::Nothing, Answer::Yes], &["one"]).await;
        assert_eq!(kept.saved, [Some("one".into()), None, Some("one".into()), None]);
    }
}
