//! The agents of a worker, in their order, and which of them have no quota left for now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acf_core::agent::Agent;
use acf_core::clock::Clock;
use jiff::Timestamp;

/// When an agent is asked again that does not say when it has quota again.
const ASK_AGAIN: Duration = Duration::from_secs(15 * 60);

/// The agents of a worker. Each of them stands by for those before it.
pub struct Roster {
    agents: Vec<Arc<dyn Agent>>,
    clock: Arc<dyn Clock>,
    /// Until when each has no quota.
    exhausted: Mutex<Vec<Option<Timestamp>>>,
}

impl Roster {
    /// Makes the roster of one agent, and of those that stand by for it.
    #[must_use]
    pub fn new(first: Arc<dyn Agent>, others: Vec<Arc<dyn Agent>>, clock: Arc<dyn Clock>) -> Self {
        let agents: Vec<_> = std::iter::once(first).chain(others).collect();
        let exhausted = Mutex::new(vec![None; agents.len()]);
        Self { agents, clock, exhausted }
    }

    /// Returns all agents in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Agent>> {
        self.agents.iter()
    }

    /// Returns the agent at that place.
    #[must_use]
    pub fn at(&self, place: usize) -> &Arc<dyn Agent> {
        &self.agents[place]
    }

    /// Returns the place of the agent that begins: the first that has quota, as far as is known, or else
    /// the first.
    #[must_use]
    pub fn first(&self) -> usize {
        self.with_quota(0).next().unwrap_or(0)
    }

    /// Returns the place of the agent that goes on after that one, if any has quota.
    #[must_use]
    pub fn after(&self, place: usize) -> Option<usize> {
        self.with_quota(place + 1).next()
    }

    /// Counts the agents that stand by for that one and have quota.
    #[must_use]
    pub fn standing_by(&self, place: usize) -> u32 {
        u32::try_from(self.with_quota(place + 1).count()).unwrap_or(u32::MAX)
    }

    /// Takes note that an agent has no quota left, and returns when the first of all has some again.
    pub fn exhausted(&self, place: usize, resets_at: Option<Timestamp>) -> Option<Timestamp> {
        let ask_again = || self.clock.now().checked_add(ASK_AGAIN).ok();
        let mut exhausted = self.lock();
        exhausted[place] = resets_at.or_else(ask_again);
        exhausted.iter().flatten().min().copied()
    }

    /// Takes note that an agent's service refuses for that long.
    pub fn refused(&self, place: usize, wait: Duration) {
        self.lock()[place] = self.clock.now().checked_add(wait).ok();
    }

    fn with_quota(&self, from: usize) -> impl Iterator<Item = usize> + use<> {
        let now = self.clock.now();
        let exhausted = self.lock().clone();
        (from..exhausted.len()).filter(move |&place| exhausted[place].is_none_or(|until| until <= now))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Timestamp>>> {
        self.exhausted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::super::Script;
    use super::*;

    /// A clock that stands where it was put.
    struct At(Mutex<i64>);

    #[async_trait]
    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(*self.0.lock().unwrap()).unwrap()
        }

        fn monotonic(&self) -> Duration {
            unreachable!("quota comes back by the wall clock")
        }

        async fn sleep(&self, _: Duration) {
            unreachable!("a roster does not wait")
        }
    }

    #[test]
    fn the_next_with_quota_goes_on_and_whoever_has_quota_again_begins_again() {
        let clock = Arc::new(At(Mutex::new(0)));
        let agent = || -> Arc<dyn Agent> { Arc::new(Script::new().unwrap()) };
        let roster = Roster::new(agent(), vec![agent(), agent()], clock.clone());
        let at = |secs| Some(Timestamp::from_second(secs).unwrap());
        assert_eq!((roster.first(), roster.standing_by(0), roster.standing_by(2)), (0, 2, 0));

        assert_eq!(roster.exhausted(0, at(100)), at(100));
        assert_eq!((roster.first(), roster.after(0)), (1, Some(1)));
        assert_eq!(roster.exhausted(1, None), at(100), "the first will have some before");
        assert_eq!((roster.first(), roster.after(1)), (2, Some(2)));
        assert_eq!(roster.exhausted(2, at(50)), at(50));
        assert_eq!((roster.first(), roster.after(2)), (0, None), "somebody has to be asked");

        *clock.0.lock().unwrap() = 100;
        assert_eq!((roster.first(), roster.standing_by(0)), (0, 1));
        *clock.0.lock().unwrap() = 15 * 60;
        assert_eq!(roster.standing_by(0), 2);
        roster.refused(0, Duration::from_secs(7200));
        assert_eq!(roster.first(), 1);
    }
}
