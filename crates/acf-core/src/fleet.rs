//! How a pool comes to its wanted size: a pure decision over what is running.

use crate::run::WorkerId;
use crate::runtime::{Pool, WorkerState, WorkerView};

/// What brings a pool to its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start that many workers.
    Start(usize),
    /// Stop that one.
    Stop(WorkerId),
}

/// Returns what brings the pool from what is observed to `wanted` workers: those that are idle are
/// stopped before those that are busy, and the youngest first.
#[must_use]
pub fn plan(observed: &[WorkerView], pool: Pool, wanted: usize) -> Vec<Action> {
    let mut running: Vec<_> = observed
        .iter()
        .filter(|worker| worker.pool == pool && worker.state == WorkerState::Running)
        .collect();
    if running.len() < wanted {
        return vec![Action::Start(wanted - running.len())];
    }
    let surplus = running.len() - wanted;
    running.sort_by_key(|worker| (worker.busy.unwrap_or(true), std::cmp::Reverse(worker.started_at)));
    running.into_iter().take(surplus).map(|worker| Action::Stop(worker.id.clone())).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn worker(id: &str, started_at: i64, busy: Option<bool>) -> WorkerView {
        WorkerView {
            id: WorkerId::new(id),
            pool: Pool::Workers,
            state: WorkerState::Running,
            started_at: Timestamp::from_second(started_at).unwrap(),
            busy,
            left: None,
        }
    }

    fn stops(ids: &[&str]) -> Vec<Action> {
        ids.iter().map(|id| Action::Stop(WorkerId::new(*id))).collect()
    }

    #[test]
    fn a_pool_is_filled_up() {
        let one = [worker("a", 1, None)];
        assert_eq!(plan(&one, Pool::Workers, 3), [Action::Start(2)]);
        assert_eq!(plan(&one, Pool::Planners, 1), [Action::Start(1)]);
        assert_eq!(plan(&one, Pool::Workers, 1), []);
    }

    #[test]
    fn idle_workers_go_first_and_among_them_the_youngest() {
        let three =
            [worker("old", 1, Some(false)), worker("busy", 9, Some(true)), worker("young", 2, Some(false))];
        assert_eq!(plan(&three, Pool::Workers, 2), stops(&["young"]));
        assert_eq!(plan(&three, Pool::Workers, 1), stops(&["young", "old"]));
        assert_eq!(plan(&three, Pool::Workers, 0), stops(&["young", "old", "busy"]));
    }

    #[test]
    fn a_worker_of_which_nothing_is_known_counts_as_busy() {
        let two = [worker("unknown", 9, None), worker("idle", 1, Some(false))];
        assert_eq!(plan(&two, Pool::Workers, 1), stops(&["idle"]));
    }

    #[test]
    fn ended_and_stopping_workers_do_not_count() {
        let ended = WorkerView { state: WorkerState::Ended { exit_code: Some(0) }, ..worker("a", 1, None) };
        let stopping = WorkerView { state: WorkerState::Stopping, ..worker("b", 1, None) };
        assert_eq!(plan(&[ended, stopping], Pool::Workers, 1), [Action::Start(1)]);
    }
}
