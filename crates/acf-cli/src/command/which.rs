//! Which worker is meant by what was typed.

use acf_core::run::WorkerId;
use acf_core::runtime::WorkerView;
use anyhow::anyhow;

use crate::error::WithHint;

/// Returns the worker with that id, or the only one whose id begins like that, with or without the
/// pool's letter.
///
/// # Errors
/// When there is none, or more than one.
pub(super) fn worker(workers: &[WorkerView], text: &str) -> anyhow::Result<WorkerId> {
    let ids = || workers.iter().map(|worker| &worker.id);
    if let Some(id) = ids().find(|id| id.as_str() == text) {
        return Ok(id.clone());
    }
    let begins = |id: &&WorkerId| {
        let random = id.as_str().split_once('-').map_or("", |(_, random)| random);
        !text.is_empty() && (id.as_str().starts_with(text) || random.starts_with(text))
    };
    let meant: Vec<_> = ids().filter(begins).map(WorkerId::as_str).collect();
    match meant[..] {
        [id] => Ok(WorkerId::new(id)),
        [] => Err(anyhow!("no worker `{text}`")).hint("`acf status --all` lists all that are remembered"),
        _ => Err(anyhow!("`{text}` may mean {}", meant.join(", "))).hint("type some more of the id"),
    }
}

#[cfg(test)]
mod tests {
    use acf_core::runtime::{Pool, WorkerState};
    use jiff::Timestamp;

    use super::*;

    fn workers(ids: &[&str]) -> Vec<WorkerView> {
        let view = |id: &&str| WorkerView {
            id: WorkerId::new(*id),
            pool: Pool::Workers,
            state: WorkerState::Running,
            started_at: Timestamp::UNIX_EPOCH,
            busy: None,
            left: None,
        };
        ids.iter().map(view).collect()
    }

    #[test]
    fn a_beginning_is_enough_where_it_is_unambiguous() {
        let workers = workers(&["w-3f9c", "w-3f00", "p-a07b", "w-3f"]);
        for (text, id) in [("w-3f9c", "w-3f9c"), ("3f9", "w-3f9c"), ("p-", "p-a07b"), ("w-3f", "w-3f")] {
            assert_eq!(worker(&workers, text).unwrap(), WorkerId::new(id), "{text}");
        }
        for text in ["", "w", "3f", "x", "../w-3f9c"] {
            assert!(worker(&workers, text).is_err(), "{text}");
        }
        assert_eq!(worker(&workers, "3f0a").unwrap_err().root_cause().to_string(), "no worker `3f0a`");
    }
}
