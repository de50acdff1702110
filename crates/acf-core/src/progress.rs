//! What a worker tells of itself while it works, for people who watch.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::issue::{IssueKey, Stage};
use crate::run::{RunId, RunRecord, WorkerId};

/// Where a worker is on the way of one issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Checking the repository out.
    Checkout,
    /// Running the repository's set-up commands.
    Setup,
    /// Running the agent.
    Agent,
    /// Waiting for the agent's service.
    Waiting,
    /// Running the repository's checks.
    Gate,
    /// Pushing.
    Publish,
    /// Telling the tracker.
    Report,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Checkout => "checkout",
            Self::Setup => "setup",
            Self::Agent => "agent",
            Self::Waiting => "waiting",
            Self::Gate => "gate",
            Self::Publish => "publish",
            Self::Report => "report",
        })
    }
}

/// Something that happened in a worker, at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// In which worker.
    pub worker: WorkerId,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened in a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// It is up and looks for issues.
    Started {
        /// Which issues it takes.
        stage: Stage,
    },
    /// It has claimed an issue.
    Claimed {
        /// The run that begins.
        run: RunId,
        /// The issue.
        issue: IssueKey,
        /// Its summary.
        summary: String,
        /// What is done with it.
        stage: Stage,
    },
    /// It has come to a step.
    Step {
        /// The issue.
        issue: IssueKey,
        /// The step.
        step: Step,
        /// 0 for the first round, then counting fix rounds.
        round: u32,
        /// More about it, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// A run has ended, and its claim is released.
    Ended {
        /// Its record.
        record: Box<RunRecord>,
    },
    /// A run was given up without a record: a person took the issue, or another worker the claim.
    Dropped {
        /// The issue.
        issue: IssueKey,
        /// Why.
        why: String,
    },
    /// There is nothing to do.
    Idle {
        /// Why not.
        why: String,
        /// How long it waits before it looks again.
        wait_secs: u64,
        /// Until when it takes no issue, whichever there are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// It has stopped.
    Stopped {
        /// Why.
        why: String,
        /// How many git processes it started.
        git_processes: u64,
        /// How many of those were pushes.
        git_pushes: u64,
    },
}

/// Takes note of what happens in a worker.
pub trait Observer: Send + Sync {
    /// Takes note of one thing; never fails and never waits for long.
    fn note(&self, what: What);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_the_same_name_for_people_and_for_programs() {
        let steps = [
            (Step::Checkout, "checkout"),
            (Step::Setup, "setup"),
            (Step::Agent, "agent"),
            (Step::Waiting, "waiting"),
            (Step::Gate, "gate"),
            (Step::Publish, "publish"),
            (Step::Report, "report"),
        ];
        for (step, name) in steps {
            assert_eq!(step.to_string(), name);
            assert_eq!(serde_json::to_value(step).unwrap(), name);
        }
    }
}
