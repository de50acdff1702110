//! The runtime port: where workers run, and where their logs are.

use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use futures_core::Stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::issue::{IssueKey, Stage};
use crate::run::WorkerId;

/// A named group of alike workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// Those that implement.
    Workers,
    /// Those that plan.
    Planners,
}

impl Pool {
    /// Returns the stage of the pool's workers.
    #[must_use]
    pub fn stage(self) -> Stage {
        match self {
            Self::Workers => Stage::Implementation,
            Self::Planners => Stage::Planning,
        }
    }

    /// Returns the pool's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::Planners => "planners",
        }
    }
}

impl std::fmt::Display for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// How a worker is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSpec {
    /// The pool that it belongs to.
    pub pool: Pool,
    /// The container image; runtimes without images refuse one.
    pub image: Option<String>,
    /// After how many issues it ends; never, if `None`.
    pub max_issues: Option<u32>,
    /// Whether it ends when there is nothing to do.
    pub exit_when_idle: bool,
}

impl WorkerSpec {
    /// Returns the spec of a worker of that pool that works until it is stopped.
    #[must_use]
    pub fn of(pool: Pool) -> Self {
        Self { pool, image: None, max_issues: None, exit_when_idle: false }
    }
}

/// Whether a worker is running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WorkerState {
    /// It is running.
    Running,
    /// It was told to stop and has not yet.
    Stopping,
    /// It has ended.
    Ended {
        /// Its exit code, where it is known.
        exit_code: Option<i32>,
    },
}

/// A worker, as its runtime sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Which.
    pub id: WorkerId,
    /// Its pool.
    pub pool: Pool,
    /// Whether it is running.
    #[serde(flatten)]
    pub state: WorkerState,
    /// When it was started.
    pub started_at: Timestamp,
    /// Whether a run is going on in it, where that is known.
    pub busy: Option<bool>,
    /// The issue whose run it has not ended, if it has ended itself: that stays claimed until somebody settles
    /// it. `None` too where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<IssueKey>,
}

/// Why a runtime did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// There is no such worker.
    #[error("no worker {0}")]
    NoSuchWorker(WorkerId),
    /// The runtime cannot do that at all.
    #[error("{0}")]
    Unsupported(String),
    /// Anything else.
    #[error("{attempt}")]
    Other {
        /// What was attempted.
        attempt: String,
        /// Why it failed.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where workers run. Implementations pass the contract suite of the tests package.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Returns the name of the kind of runtime: `process`, `docker`, `ecs`.
    fn kind(&self) -> &'static str;

    /// Starts `n` workers beside those that run, and returns them once they are started.
    ///
    /// # Errors
    /// [`RuntimeError::Unsupported`] for a spec that this runtime cannot serve.
    async fn start(&self, spec: &WorkerSpec, n: usize) -> Result<Vec<WorkerId>, RuntimeError>;

    /// Returns all workers that run, and those ended ones that are still remembered, by start time.
    ///
    /// # Errors
    /// [`RuntimeError::Other`].
    async fn list(&self) -> Result<Vec<WorkerView>, RuntimeError>;

    /// Tells a worker to finish or to save its work and to end, and waits until it has ended. After
    /// `grace` it is killed, with everything that it started. One that has ended already is fine.
    ///
    /// # Errors
    /// [`RuntimeError::NoSuchWorker`].
    async fn stop(&self, worker: &WorkerId, grace: Duration) -> Result<(), RuntimeError>;
}

/// One line of a worker's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The worker that wrote it.
    pub worker: WorkerId,
    /// The line, without its end.
    pub text: String,
}

/// A stream of log lines, in each worker's own order.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<LogLine, RuntimeError>> + Send>>;

/// Where the logs of workers are.
#[async_trait]
pub trait LogSource: Send + Sync {
    /// Reads a worker's log from its beginning; with `follow`, goes on until the worker has ended.
    ///
    /// # Errors
    /// [`RuntimeError::NoSuchWorker`].
    async fn read(&self, worker: &WorkerId, follow: bool) -> Result<LogStream, RuntimeError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_implement_and_planners_plan() {
        assert_eq!(Pool::Workers.stage(), Stage::Implementation);
        assert_eq!(Pool::Planners.stage(), Stage::Planning);
    }

    #[test]
    fn a_pool_has_the_same_name_for_people_and_for_programs() {
        for (pool, name) in [(Pool::Workers, "workers"), (Pool::Planners, "planners")] {
            assert_eq!((pool.name(), pool.to_string().as_str()), (name, name));
            assert_eq!(serde_json::to_value(pool).unwrap(), name);
        }
    }
}
