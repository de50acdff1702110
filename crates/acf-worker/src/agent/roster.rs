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
    /// Why and until when each is not asked.
    absent: Mutex<Vec<Absence>>,
}

/// Why an agent is not asked for a while.
#[derive(Clone, Debug, Default)]
struct Absence {
    until: Option<Timestamp>,
    /// Whether its service has said until when.
    is_told: bool,
    /// What its service said when it did not accept its credentials.
    refusal: Option<String>,
}

impl Roster {
    /// Makes the roster of one agent, and of those that stand by for it.
    #[must_use]
    pub fn new(first: Arc<dyn Agent>, others: Vec<Arc<dyn Agent>>, clock: Arc<dyn Clock>) -> Self {
        let agents: Vec<_> = std::iter::once(first).chain(others).collect();
        let absent = Mutex::new(vec![Absence::default(); agents.len()]);
        Self { agents, clock, absent }
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

    /// Takes note that an agent has no quota left, and returns when the first of all has some again, as
    /// [`Roster::quota_again`] does.
    pub fn exhausted(&self, place: usize, resets_at: Option<Timestamp>) -> Option<Timestamp> {
        self.lock()[place] = Absence {
            until: resets_at.or_else(|| self.ask_again()),
            is_told: resets_at.is_some(),
            refusal: None,
        };
        self.quota_again()
    }

    /// Returns when the first of all agents has quota again; `None` where its service does not say.
    #[must_use]
    pub fn quota_again(&self) -> Option<Timestamp> {
        let absent = self.lock();
        let without_quota = absent.iter().filter(|absence| absence.refusal.is_none());
        let first = without_quota.filter_map(|absence| Some((absence.until?, absence.is_told))).min();
        first.filter(|(_, is_told)| *is_told).map(|(until, _)| until)
    }

    /// Takes note that an agent's service refuses for that long.
    pub fn refused(&self, place: usize, wait: Duration) {
        let until = self.clock.now().checked_add(wait).ok();
        self.lock()[place] = Absence { until, is_told: true, refusal: None };
    }

    /// Takes note that an agent's service does not accept its credentials, in those words. It is asked again
    /// later: a person may have signed it in by then.
    pub fn not_accepted(&self, place: usize, words: &str) {
        let refusal = Some(words.to_owned());
        self.lock()[place] = Absence { until: self.ask_again(), is_told: false, refusal };
    }

    /// Returns what the services of all agents say, if none of them accepts its credentials.
    #[must_use]
    pub fn none_accepted(&self) -> Option<String> {
        let refusals: Option<Vec<_>> = self.lock().iter().map(|absence| absence.refusal.clone()).collect();
        refusals.map(|refusals| refusals.join("; "))
    }

    fn ask_again(&self) -> Option<Timestamp> {
        self.clock.now().checked_add(ASK_AGAIN).ok()
    }

    fn with_quota(&self, from: usize) -> impl Iterator<Item = usize> + use<> {
        let now = self.clock.now();
        let absent = self.lock().clone();
        (from..absent.len()).filter(move |&place| absent[place].until.is_none_or(|until| until <= now))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Absence>> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn a_time_that_no_service_has_named_is_not_told() {
        let clock = Arc::new(At(Mutex::new(0)));
        let agent = || -> Arc<dyn Agent> { Arc::new(Script::new().unwrap()) };
        let roster = Roster::new(agent(), vec![agent()], clock);
        let at = |secs| Some(Timestamp::from_second(secs).unwrap());
        assert_eq!(roster.exhausted(0, None), None);
        assert_eq!(roster.exhausted(1, at(7200)), None, "the first is asked again before, by a guess");
        assert_eq!(roster.exhausted(1, at(60)), at(60));
    }

    #[test]
    fn only_where_no_agent_is_accepted_all_refusals_are_told() {
        let clock = Arc::new(At(Mutex::new(0)));
        let agent = || -> Arc<dyn Agent> { Arc::new(Script::new().unwrap()) };
        let roster = Roster::new(agent(), vec![agent()], clock.clone());
        roster.not_accepted(0, "`a`: 401");
        assert_eq!((roster.first(), roster.none_accepted()), (1, None));
        let at = Timestamp::from_second(60).ok();
        assert_eq!(roster.exhausted(1, at), at, "the time is that of the one which is accepted");
        roster.not_accepted(1, "`b`: 403");
        assert_eq!(roster.none_accepted().as_deref(), Some("`a`: 401; `b`: 403"));
        *clock.0.lock().unwrap() = 15 * 60;
        assert_eq!(roster.first(), 0, "it is asked again");
    }
}
