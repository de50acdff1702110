//! A run's rounds with its agents: which of them works, in which words it is told what to do, and what it
//! may still use.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use acf_core::agent::{Agent, AgentLimits, AgentOutcome, AgentRequest, Trouble};
use acf_core::issue_run::{Event, Feedback, LONGEST_WAIT, Round};
use acf_core::receipt::{Part, Usage};
use acf_core::run::{Failure, FailureKind};
use tokio_util::sync::CancellationToken;

use super::{GitBench, broken, capped_log};
use crate::agent;
use crate::process::Place;
use crate::prompt::{self, SoFar};

/// The most of a diff that a prompt holds, in bytes.
const LONGEST_DIFF: usize = 16 * 1024;
/// Names the directory of temporary files.
const TMPDIR: &str = "TMPDIR";
/// Where a run's agents have theirs, beside the checkout.
const TEMPORARY: &str = "tmp";
/// A longer path leaves no room for the names of sockets, which have 107 bytes in all.
const LONGEST_TMPDIR: usize = 70;
/// Where an agent may leave a report: in its checkout, but nothing that could be committed.
const REPORT: &str = ".git/acf-agent-report";

impl GitBench {
    fn agent(&self) -> Arc<dyn Agent> {
        self.with.roster.at(self.place).clone()
    }

    /// Begins the part of the agent that works from now on.
    pub(super) fn begin_part(&mut self) {
        (self.session, self.session_usage, self.has_begun) = (None, Usage::default(), false);
        let agent = match self.with.versions.get(self.place) {
            Some(Some(version)) => format!("{} {version}", self.agent().name()),
            _ => self.agent().name().to_owned(),
        };
        self.parts.push(Part { agent, ..Part::default() });
    }

    fn used(&self) -> Usage {
        let mut used = Usage::default();
        self.parts.iter().for_each(|part| used += part.usage);
        used
    }

    /// Words the prompt of a round. An agent that knows nothing of what was done so far is shown it.
    async fn word(&self, round: &Round) -> Result<String, Failure> {
        let resumes = self.agent().resumes() && self.session.is_some();
        let text = match (round, &self.last_round) {
            (Round::First, _) => return Ok(self.task.clone()),
            // A session in which nothing was done yet may not even know the task.
            (Round::Again, _) if resumes && self.has_begun => return Ok("Go on.".to_owned()),
            (Round::Again, _) => return Ok(self.last_prompt.clone()),
            (Round::Fix(feedback), _) if resumes => prompt::fix(feedback, None)?,
            (Round::Fix(feedback), _) | (Round::HandedOver, Round::Fix(feedback)) => {
                let so_far = SoFar { task: &self.task, diff: &self.diff().await? };
                prompt::fix(feedback, Some(so_far))?
            }
            (Round::HandedOver, _) => match self.diff().await? {
                nothing if nothing.is_empty() => return Ok(self.task.clone()),
                diff => prompt::handed_over(SoFar { task: &self.task, diff: &diff })?,
            },
        };
        Ok(self.with.mask.apply(&text).into_owned())
    }

    /// Returns what was changed so far, cut where it is long.
    async fn diff(&self) -> Result<String, Failure> {
        let diff = self.checkout.diff().await;
        let diff = diff.map_err(|error| broken("cannot read what was changed so far", &error))?;
        // Masked before it is cut: half a secret would not be recognised.
        Ok(prompt::shortened(&self.with.mask.apply(&diff), LONGEST_DIFF))
    }

    /// Returns what is left of what the run may use, or which limit there is nothing left of.
    fn left(&self) -> Result<AgentLimits, Trouble> {
        let AgentLimits { max_turns, budget_usd } = self.with.allowance.limits;
        let used = self.used();
        let turns = u32::try_from(used.turns).unwrap_or(u32::MAX);
        let left = AgentLimits {
            max_turns: max_turns.map(|max| max.saturating_sub(turns)),
            budget_usd: budget_usd.map(|budget| budget - used.cost_usd.unwrap_or(0.0)),
        };
        if left.budget_usd.is_some_and(|left| left <= 0.0) {
            Err(Trouble::OutOfBudget)
        } else if left.max_turns == Some(0) {
            Err(Trouble::OutOfTurns)
        } else {
            Ok(left)
        }
    }

    /// Returns what is left of the time that agents may take in this run.
    fn time_left(&self) -> Duration {
        let taken = self.parts.iter().map(|part| Duration::from_millis(part.agent_ms)).sum();
        let allowed = self.policy.timeouts.of_agent(self.with.allowance.timeout);
        allowed.saturating_sub(taken)
    }

    pub(super) async fn try_run_agent(
        &mut self,
        round: &Round,
        stop: &CancellationToken,
    ) -> Result<Event, Failure> {
        if let Round::Fix(feedback) = round {
            self.rounds += 1;
            self.receipt.fix_rounds = self.rounds;
            // Other feedback says nothing of them: what was not resolved then is still to be resolved.
            if let Feedback::Conflict { files } = feedback {
                self.conflicts.clone_from(files);
            }
        }
        if let Round::First | Round::Fix(_) = round {
            self.last_round = round.clone();
        }
        if *round == Round::HandedOver {
            let next = self.with.roster.after(self.place);
            self.place =
                next.ok_or_else(|| Failure::new(FailureKind::Internal, "there is no other agent"))?;
            self.begin_part();
            let name = self.agent().name().to_owned();
            tracing::info!(issue.key = %self.job.issue.key, "{}; `{name}` goes on", self.why_handed_over);
        }
        let limits = match self.left() {
            Ok(limits) => limits,
            Err(trouble) => return Ok(Event::AgentEnded(AgentOutcome::Trouble(trouble))),
        };
        let timeout = self.time_left();
        if timeout.is_zero() {
            return Ok(Event::AgentEnded(AgentOutcome::TimedOut));
        }
        if let (false, Some(work)) = (self.directory_is_current, &self.work) {
            let tree =
                self.checkout.tree_of(work).await.map_err(|error| broken("cannot read the work", &error))?;
            self.set(&tree, self.checkout.base()).await?;
        }
        let prompt = self.word(round).await?;
        let tree = self.checkout.tree();
        self.with.hand_over(&tree).await?;
        let request = AgentRequest {
            prompt: &prompt,
            issue: &self.job.issue,
            stage: self.job.stage,
            round: self.rounds,
            session: self.session.as_deref(),
            session_usage: self.session_usage,
            limits,
            report: Some(Path::new(REPORT)),
        };
        let (timeouts, allowance) = (self.policy.timeouts, &self.with.allowance);
        let environment = self.environment_of_agent().await?;
        let mut place = self.with.place(&tree, timeout, Some(timeouts.of_silence(allowance.stall)));
        place.env = &environment;
        let mut log = capped_log(&self.job.issue.key, "agent");
        let agent = self.agent();
        self.settle_home(&*agent, place).await?;
        let ran = agent::round(&*agent, &request, &self.with.prices, place, stop, &mut log).await;
        let report = ran.map_err(|error| broken("cannot run the agent", &error))?;
        self.with.learn_tokens(&*agent).await?;
        if let Err(failure) = self.settle_home(&*agent, place).await {
            tracing::warn!(issue.key = %self.job.issue.key, "{}", failure.reason);
        }
        self.has_begun |= report.has_acted;
        if self.session.is_none() {
            self.session_usage = Usage::default();
        }
        self.session_usage += report.usage;
        if let Some(part) = self.parts.last_mut() {
            part.usage += report.usage;
            part.agent_ms += u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX);
            if let Some(version) = report.version {
                part.agent = format!("{} {version}", agent.name());
            }
            part.model = report.model.or(part.model.take());
            if report.usage.cost_is_unknown() && report.usage.has_tokens() {
                let model = part.model.as_deref().unwrap_or("not named by the agent");
                let budgets = match self.with.budgets.join(" and ") {
                    none if none.is_empty() => none,
                    budgets => format!(", and {budgets} cannot count it"),
                };
                tracing::warn!(
                    issue.key = %self.job.issue.key, model,
                    "what this cost is not known{budgets}: model {model} has no price; AGENT_PRICES_FILE can give it one"
                );
            }
        }
        self.session = report.session.or(self.session.take());
        self.last_prompt = prompt;
        Ok(Event::AgentEnded(self.judged(report.outcome)))
    }

    /// Returns the environment of this run's agents: their temporary files go with the run.
    async fn environment_of_agent(&self) -> Result<Vec<(OsString, OsString)>, Failure> {
        let directory = self.checkout.scratch().join(TEMPORARY);
        if directory.as_os_str().len() > LONGEST_TMPDIR {
            return Ok(self.with.environment.clone());
        }
        fs::create_dir_all(&directory)
            .map_err(|error| broken("cannot make a directory for the agent's temporary files", &error))?;
        self.with.hand_over(&directory).await?;
        let others = self.with.environment.iter().filter(|(name, _)| name != TMPDIR).cloned();
        Ok(others.chain([(TMPDIR.into(), directory.into())]).collect())
    }

    /// Shares what agents renew of their files with the workers beside this one, and with those to come.
    async fn settle_home(&self, agent: &dyn Agent, place: Place<'_>) -> Result<(), Failure> {
        let Some(renewals) = &self.with.renewals else { return Ok(()) };
        let settled = agent::settle(agent, place, Some(renewals)).await;
        settled.map_err(|error| broken("cannot put the agent's files into its home", &error))
    }

    /// Takes note that the agent's credentials are not accepted, and returns what that comes to for the run.
    fn not_accepted(&self, words: &str) -> Option<Trouble> {
        let roster = &self.with.roster;
        roster.not_accepted(self.place, words);
        if roster.iter().count() > 1 {
            tracing::warn!(issue.key = %self.job.issue.key, "credentials are not accepted: {words}");
        }
        if roster.standing_by(self.place) > 0 {
            return None;
        }
        Some(match roster.none_accepted() {
            Some(message) => Trouble::NotAuthenticated { message },
            // There is one that will do once it has quota again.
            None => Trouble::QuotaExhausted { resets_at: roster.quota_again() },
        })
    }

    /// Takes note of what an outcome says of the agent, and keeps secrets out of it.
    fn judged(&mut self, mut outcome: AgentOutcome) -> AgentOutcome {
        self.why_handed_over = match &outcome {
            AgentOutcome::Trouble(Trouble::NotAuthenticated { .. }) => "its credentials are not accepted",
            AgentOutcome::Trouble(Trouble::Unavailable { .. }) => "its service does not work",
            AgentOutcome::Trouble(Trouble::RateLimited { .. }) => "its service refuses for too many requests",
            _ => "no quota left",
        };
        match &mut outcome {
            AgentOutcome::Crashed { message: Some(message), .. }
            | AgentOutcome::Trouble(Trouble::Unavailable { message }) => {
                self.with.mask.hide_in(message);
            }
            AgentOutcome::Trouble(Trouble::NotAuthenticated { message }) => {
                self.with.mask.hide_in(message);
                *message = signed_in(&*self.agent(), message);
                if let Some(instead) = self.not_accepted(message) {
                    return AgentOutcome::Trouble(instead);
                }
            }
            AgentOutcome::Trouble(Trouble::RateLimited { retry_after: Some(wait) })
                if *wait > LONGEST_WAIT =>
            {
                self.with.roster.refused(self.place, *wait);
            }
            AgentOutcome::Trouble(Trouble::QuotaExhausted { resets_at }) => {
                let first_of_all = self.with.roster.exhausted(self.place, *resets_at);
                if self.with.roster.iter().count() > 1 {
                    // What counts for the run is when the first of all of them can go on.
                    *resets_at = first_of_all;
                }
            }
            _ => {}
        }
        outcome
    }
}

/// Says which agent was refused, with what it had signed in, and in which words.
fn signed_in(agent: &dyn Agent, words: &str) -> String {
    let with = match agent.credentials() {
        none if none.is_empty() => "its own login".to_owned(),
        variables => variables.join(", "),
    };
    format!("`{}` with {with}: {words}", agent.name())
}
