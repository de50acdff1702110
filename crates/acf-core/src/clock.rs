//! Time, injected: the only clock that the domain and the worker know.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

/// Tells the time and waits; tests and the schedule explorer bring their own.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the wall clock's time. It may jump; use it for records, never for measuring.
    fn now(&self) -> Timestamp;

    /// Returns the time since an arbitrary start that never jumps. Expiry is judged by it.
    fn monotonic(&self) -> Duration;

    /// Waits that long.
    async fn sleep(&self, duration: Duration);
}
