//! The repository's set-up and its gate, run in a checkout.

use std::ffi::OsString;
use std::path::Path;

use acf_core::issue::IssueKey;
use acf_core::issue_run::GateOutcome;
use acf_core::policy::{GateHome, Policy};
use acf_core::run::{Failure, RunId};
use tokio_util::sync::CancellationToken;

use super::{GitWorkbench, broken, capped_log};
use crate::agent_user::AgentHome;
use crate::gate::{self, GateEnd, GateReport, Purpose};
use crate::git::checkout::checkouts_dir;

/// What the commands are run with, by which policy, and for whom.
pub(super) struct Gating<'a> {
    pub(super) with: &'a GitWorkbench,
    pub(super) policy: &'a Policy,
    pub(super) issue: &'a IssueKey,
    pub(super) run: &'a RunId,
}

impl Gating<'_> {
    /// Makes the agent's checkout ready, in the agent's home.
    ///
    /// # Errors
    /// A [`Failure`] when the commands cannot be run.
    pub(super) async fn set_up(
        &self,
        directory: &Path,
        stop: &CancellationToken,
    ) -> Result<GateReport, Failure> {
        self.with.hand_over(directory).await?;
        self.run(Purpose::Setup, directory, None, stop).await
    }

    /// Runs the set-up and the checks in a clean checkout.
    ///
    /// # Errors
    /// A [`Failure`] when the commands cannot be run.
    pub(super) async fn gate(
        &self,
        directory: &Path,
        stop: &CancellationToken,
    ) -> Result<GateReport, Failure> {
        self.with.hand_over(directory).await?;
        let home = self.home()?;
        let mut report = self.run(Purpose::Setup, directory, home.as_ref(), stop).await?;
        if report.end == GateEnd::Judged(GateOutcome::Passed) {
            report = self.run(Purpose::Verify, directory, home.as_ref(), stop).await?;
        }
        if let (GateEnd::Judged(GateOutcome::Failed { reason, .. }), true) = (&mut report.end, home.is_some())
        {
            reason.push_str(", in a new and empty HOME");
        }
        Ok(report)
    }

    async fn run(
        &self,
        purpose: Purpose,
        directory: &Path,
        home: Option<&AgentHome>,
        stop: &CancellationToken,
    ) -> Result<GateReport, Failure> {
        let (commands, timeout) = match purpose {
            Purpose::Setup => (&self.policy.setup, self.policy.timeouts.setup),
            Purpose::Verify => (&self.policy.verify, self.policy.timeouts.verify),
        };
        let mut log = capped_log(self.issue, "gate");
        let mut place = self.with.place(directory, timeout, None);
        let environment;
        if let Some(home) = home {
            environment = self.environment_in(home);
            place.env = &environment;
        }
        let ran = gate::run(purpose, commands, place, stop, &mut log).await;
        let mut report = ran.map_err(|error| broken("cannot run the repository's commands", &error))?;
        if let GateEnd::Judged(GateOutcome::Failed { reason, evidence, .. }) = &mut report.end {
            self.with.mask.hide_in(reason);
            self.with.mask.hide_in(evidence);
        }
        Ok(report)
    }

    /// Makes a home for one gate, where it is not to find what agents have installed in theirs.
    fn home(&self) -> Result<Option<AgentHome>, Failure> {
        let user = self.with.user.as_ref().map(|user| &user.0);
        if user.is_none() && self.policy.gate_home == GateHome::Worker {
            return Ok(None);
        }
        let made = AgentHome::make(&checkouts_dir(&self.with.work_dir), &format!("gate-{}", self.run));
        let owned = made.and_then(|home| {
            user.map_or(Ok(()), |user| user.own(home.path()))?;
            Ok(home)
        });
        owned.map(Some).map_err(|error| broken("cannot make a home for the gate", &error))
    }

    fn environment_in(&self, home: &AgentHome) -> Vec<(OsString, OsString)> {
        let leads_home = |name: &OsString| {
            name == "HOME" || name == "TMPDIR" || name.as_encoded_bytes().starts_with(b"XDG_")
        };
        let others = self.with.environment.iter().filter(|(name, _)| !leads_home(name)).cloned();
        others.chain([("HOME".into(), home.path().into())]).collect()
    }
}
