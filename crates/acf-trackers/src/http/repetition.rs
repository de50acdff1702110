//! Whether a call is made again, and when.

use std::time::Duration;

/// How often and how long calls are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// How often a call is made at most, the first time included.
    pub attempts: u32,
    /// The pause after the first attempt; it doubles, and is shortened at random by up to a half.
    pub first_wait: Duration,
    /// A rate limit that takes longer than this is passed on to the caller.
    pub longest_wait: Duration,
    /// After this long no further attempt is begun.
    pub overall: Duration,
}

impl Default for Repetition {
    fn default() -> Self {
        Self {
            attempts: 4,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(10),
            overall: Duration::from_secs(90),
        }
    }
}

/// What an attempt that failed says of a next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// There is no use in it, or it would not be safe.
    Never,
    /// After a pause of one's own choice.
    Soon,
    /// Not before that long.
    After(Duration),
}

impl Repetition {
    /// Returns how long to wait before the next attempt; `None` where there is to be none.
    ///
    /// `attempt` counts from 1, `spent` is the time since the first one began, `dice` lies in 0..1.
    pub(super) fn wait(&self, next: Next, attempt: u32, spent: Duration, dice: f64) -> Option<Duration> {
        let wait = match next {
            Next::Never => return None,
            Next::Soon => {
                let doubled = self.first_wait.saturating_mul(2u32.saturating_pow(attempt - 1));
                doubled.min(self.longest_wait).mul_f64(1.0 - dice / 2.0)
            }
            // Never sooner than asked; later at random, so that many workers do not come back as one.
            Next::After(asked) if asked > self.longest_wait => return None,
            Next::After(asked) => asked + self.first_wait.mul_f64(dice),
        };
        (attempt < self.attempts && spent + wait <= self.overall).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Repetition = Repetition {
        attempts: 4,
        first_wait: Duration::from_secs(1),
        longest_wait: Duration::from_secs(10),
        overall: Duration::from_secs(60),
    };

    fn wait(next: Next, attempt: u32, spent_secs: u64, dice: f64) -> Option<f64> {
        PLAN.wait(next, attempt, Duration::from_secs(spent_secs), dice).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn pauses_double_and_attempts_and_time_end_them() {
        let waits: Vec<_> = (1..=4).map(|attempt| wait(Next::Soon, attempt, 0, 0.0)).collect();
        assert_eq!(waits, [Some(1.0), Some(2.0), Some(4.0), None]);
        assert_eq!(wait(Next::Soon, 1, 0, 1.0), Some(0.5));
        assert_eq!(wait(Next::Soon, 1, 60, 0.0), None);
        assert_eq!(wait(Next::Never, 1, 0, 0.0), None);
    }

    #[test]
    fn what_the_service_asks_for_is_kept_unless_it_is_long() {
        assert_eq!(wait(Next::After(Duration::from_secs(7)), 1, 0, 0.5), Some(7.5));
        assert_eq!(wait(Next::After(Duration::from_secs(10)), 1, 0, 0.0), Some(10.0));
        assert_eq!(wait(Next::After(Duration::from_secs(11)), 1, 0, 0.0), None);
    }
}
