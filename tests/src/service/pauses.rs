//! A clock whose pauses are over at once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use acf_core::clock::Clock;
use async_trait::async_trait;
use jiff::Timestamp;

/// The machine's clock, but for pauses: these take no time, are counted as if they had, and remembered.
#[derive(Debug)]
pub struct Pauses {
    start: Instant,
    taken: Mutex<Vec<Duration>>,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { start: Instant::now(), taken: Mutex::default() }
    }
}

impl Pauses {
    /// Returns all pauses so far.
    #[must_use]
    pub fn taken(&self) -> Vec<Duration> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Duration>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for Pauses {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed() + self.lock().iter().sum::<Duration>()
    }

    async fn sleep(&self, duration: Duration) {
        self.lock().push(duration);
        tokio::task::yield_now().await;
    }
}
