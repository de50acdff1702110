//! The decisions within a run, from the agent's first round to its end: a pure step machine.
//!
//! The worker performs an [`Action`], tells what came of it as an [`Event`], and gets the next
//! action. Nothing here loops forever: fix rounds, waits and lost races are all counted.

use std::time::Duration;

use jiff::Timestamp;

use crate::agent::{AgentOutcome, Trouble};
use crate::issue::Stage;
use crate::policy::Regate;
use crate::run::{Failure, FailureKind, Target};

/// After that many lost races for the trunk, work goes to a feature branch.
pub const MAX_LOST_RACES: u32 = 5;
/// How often a run waits for a rate limit to pass.
pub const MAX_WAITS: u32 = 5;
/// A refusal that lasts longer than this ends the run.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// The first wait where a service does not say for how long it refuses; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(30);

/// Why the agent is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Round {
    /// For the first time, with the whole prompt.
    First,
    /// Again with the same words, after a wait for the agent's service.
    Again,
    /// By the next agent, in the same checkout: the one before has no quota left, a rate limit that does not
    /// end, or credentials that are not accepted.
    HandedOver,
    /// To mend what is wrong with its work.
    Fix(Feedback),
}

/// What is wrong with the agent's work, for a fix round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// The gate failed.
    Gate {
        /// Which command failed, and how.
        reason: String,
        /// The end of its output.
        evidence: String,
    },
    /// The work does not go together with what landed meanwhile; the checkout holds both, with
    /// conflict markers in these files.
    Conflict {
        /// The files.
        files: Vec<String>,
    },
    /// The work cannot be published as it is.
    Unpublishable {
        /// Why not.
        reason: String,
    },
}

/// What the worker is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run the agent.
    RunAgent(Round),
    /// Make a commit of what is in the checkout.
    Collect,
    /// Run the gate on that commit.
    Gate,
    /// Run the gate on what the work is on top of: it may fail there, too.
    GateBase,
    /// Push that commit.
    Push(Target),
    /// Put that commit on top of the branch as it is now.
    Rebase,
    /// Wait for the agent's service.
    Wait {
        /// How long.
        wait: Duration,
        /// Why, in two words.
        why: &'static str,
    },
    /// Report and release.
    End(Conclusion),
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The agent ended.
    AgentEnded(AgentOutcome),
    /// The wait is over.
    Waited,
    /// The checkout was looked at.
    Collected(Collected),
    /// The gate ended.
    GateEnded(GateOutcome),
    /// The gate ended on what the work is on top of.
    BaseGated(GateOutcome),
    /// The push ended.
    Pushed(PushOutcome),
    /// The rebase ended.
    Rebased(Rebased),
    /// The worker is told to stop.
    StopRequested,
    /// Another worker has the claim.
    ClaimLost,
    /// The issue is no longer wanted, for that reason.
    Withdrawn(String),
    /// Something that is not the agent's fault went wrong.
    Broke(Failure),
}

/// What the checkout holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collected {
    /// Nothing but what was checked out.
    Nothing,
    /// Work, now in a commit.
    Work,
    /// Work that cannot be published as it is.
    Unpublishable(String),
}

/// What the gate said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateOutcome {
    /// Every command exited 0.
    Passed,
    /// One did not.
    Failed {
        /// Which, and how.
        reason: String,
        /// The end of its output.
        evidence: String,
        /// Whether it was one of the set-up, before the checks.
        in_setup: bool,
    },
}

/// What came of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// The work is on the branch.
    Landed,
    /// The branch has moved.
    BranchMoved,
    /// The remote does not take pushes to this branch.
    BranchRefused(String),
}

/// What came of a rebase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebased {
    /// The work is on top of the branch now.
    Clean {
        /// Whether what came in touches files that the work touches too.
        overlaps: bool,
    },
    /// Everything that the work does is on the branch already.
    Nothing,
    /// It does not go together; the checkout was made ready for a fix round.
    Conflict {
        /// The files with conflict markers.
        files: Vec<String>,
    },
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// The work is on the branch.
    Landed {
        /// Which kind of branch.
        target: Target,
        /// Why it is not the trunk, though the trunk was meant.
        diverted: Option<String>,
    },
    /// The run failed.
    Failed(Failure),
    /// The worker was told to stop.
    Interrupted,
    /// The issue is no longer wanted, for that reason: nothing may be pushed.
    Withdrawn(String),
    /// Another worker has the claim: nothing more may be written.
    ClaimLost,
}

/// What a run is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Planning or implementation.
    pub stage: Stage,
    /// Where the work is to land.
    pub target: Target,
    /// How often work goes back to the agent.
    pub max_fixes: u32,
    /// When work is checked again after a rebase.
    pub regate: Regate,
    /// Whether there is any check to run.
    pub has_gate: bool,
    /// How many agents stand by for the case that the one before cannot go on.
    pub fallbacks: u32,
}

/// One run, from the agent's first round to its end.
#[derive(Clone, Debug)]
pub struct IssueRun {
    terms: Terms,
    target: Target,
    diverted: Option<String>,
    fix_rounds: u32,
    waits: u32,
    lost_races: u32,
    fallbacks_left: u32,
    /// The first time at which one of the agents has quota again, as far as they tell.
    quota_at: Option<Timestamp>,
    /// How the gate failed last, until it is known whether it does so without the work.
    gate_failure: Option<GateFailure>,
}

/// How the gate failed.
#[derive(Clone, Debug)]
struct GateFailure {
    reason: String,
    evidence: String,
}

impl IssueRun {
    /// Begins a run; its first action is [`Action::RunAgent`] with [`Round::First`].
    #[must_use]
    pub fn begin(terms: Terms) -> (Self, Action) {
        let run = Self {
            terms,
            target: terms.target,
            diverted: None,
            fix_rounds: 0,
            waits: 0,
            lost_races: 0,
            fallbacks_left: terms.fallbacks,
            quota_at: None,
            gate_failure: None,
        };
        (run, Action::RunAgent(Round::First))
    }

    /// Returns how many fix rounds there were.
    #[must_use]
    pub fn fix_rounds(&self) -> u32 {
        self.fix_rounds
    }

    /// Returns why the work goes to a feature branch, if the trunk was meant.
    #[must_use]
    pub fn diverted(&self) -> Option<&str> {
        self.diverted.as_deref()
    }

    /// Decides what to do after that event.
    pub fn on(&mut self, event: Event) -> Action {
        match event {
            Event::AgentEnded(outcome) => self.after_agent(outcome),
            Event::Waited => Action::RunAgent(Round::Again),
            Event::Collected(collected) => self.after_collecting(collected),
            Event::GateEnded(GateOutcome::Passed) => Action::Push(self.target),
            Event::GateEnded(GateOutcome::Failed { reason, evidence, in_setup }) => {
                self.gate_failure = Some(GateFailure { reason, evidence });
                // No agent's round is spent on a set-up that does not work anyway.
                if in_setup || self.has_no_fixes_left() { Action::GateBase } else { self.fix_gate() }
            }
            Event::BaseGated(outcome) => self.after_gating_base(outcome),
            Event::Pushed(outcome) => self.after_push(outcome),
            Event::Rebased(rebased) => self.after_rebase(rebased),
            Event::StopRequested => Action::End(Conclusion::Interrupted),
            Event::ClaimLost => Action::End(Conclusion::ClaimLost),
            Event::Withdrawn(why) => Action::End(Conclusion::Withdrawn(why)),
            Event::Broke(failure) => Action::End(Conclusion::Failed(failure)),
        }
    }

    fn after_agent(&mut self, outcome: AgentOutcome) -> Action {
        match outcome {
            AgentOutcome::Finished => Action::Collect,
            AgentOutcome::Trouble(trouble) => self.after_trouble(trouble),
            AgentOutcome::Crashed { exit_code, message } => {
                let how = match exit_code {
                    Some(code) => format!("the agent exited with code {code}"),
                    None => "the agent was ended by a signal".to_owned(),
                };
                let message = message.unwrap_or_default();
                let reason = match complaint(&message) {
                    Some(complaint) => format!("{how}: {complaint}"),
                    None => how,
                };
                fail(Failure::new(FailureKind::AgentCrashed, reason).with_evidence(message))
            }
            AgentOutcome::TimedOut => fail(Failure::new(
                FailureKind::AgentTimedOut,
                "the agent took longer in all its rounds than AGENT_TIMEOUT or the repository allows",
            )),
            AgentOutcome::Stalled => {
                fail(Failure::new(FailureKind::AgentStalled, "the agent was silent for too long"))
            }
            AgentOutcome::Stopped => Action::End(Conclusion::Interrupted),
        }
    }

    fn after_trouble(&mut self, trouble: Trouble) -> Action {
        let (kind, reason) = match trouble {
            Trouble::RateLimited { retry_after } => {
                let reason = "the agent's service refuses for too many requests";
                return self.wait_or_fail(retry_after, "rate limited", FailureKind::RateLimited, reason);
            }
            Trouble::Unavailable { message } => {
                let reason = format!("the agent's service does not work: {message}");
                let kind = FailureKind::ServiceUnavailable;
                return self.wait_or_fail(None, "service unavailable", kind, &reason);
            }
            Trouble::QuotaExhausted { resets_at } => return self.hand_over_or_fail(resets_at),
            Trouble::NotAuthenticated { message } => {
                if let Some(next) = self.hand_over() {
                    return next;
                }
                let reason = format!("the agent's service does not accept its credentials: {message}");
                (FailureKind::NotAuthenticated, reason)
            }
            Trouble::OutOfTurns => {
                (FailureKind::OutOfTurns, "the agent has used the turns that it may".to_owned())
            }
            Trouble::OutOfBudget => {
                (FailureKind::OutOfBudget, "the agent has spent what a run may cost".to_owned())
            }
        };
        fail(Failure::new(kind, reason))
    }

    fn hand_over_or_fail(&mut self, resets_at: Option<Timestamp>) -> Action {
        self.quota_at = [self.quota_at, resets_at].into_iter().flatten().min();
        if let Some(next) = self.hand_over() {
            return next;
        }
        let until = self.quota_at.map(|at| format!(" until {at:.0}")).unwrap_or_default();
        let whose = if self.terms.fallbacks == 0 { "the agent's account has" } else { "all agents have" };
        let failure = Failure::new(FailureKind::QuotaExhausted, format!("{whose} no quota left{until}"));
        fail(failure.until(self.quota_at))
    }

    /// Gives the work to the next agent, if there is one.
    fn hand_over(&mut self) -> Option<Action> {
        self.fallbacks_left = self.fallbacks_left.checked_sub(1)?;
        // Another agent, another service: what the one before has waited for says nothing of it.
        self.waits = 0;
        Some(Action::RunAgent(Round::HandedOver))
    }

    fn wait_or_fail(
        &mut self,
        retry_after: Option<Duration>,
        why: &'static str,
        kind: FailureKind,
        reason: &str,
    ) -> Action {
        let wait = retry_after.unwrap_or(FIRST_WAIT * 2u32.pow(self.waits.min(MAX_WAITS)));
        if self.waits == MAX_WAITS || wait > LONGEST_WAIT {
            if let Some(next) = self.hand_over() {
                return next;
            }
            return fail(Failure::new(kind, format!("{reason}, after {} waits", self.waits)));
        }
        self.waits += 1;
        Action::Wait { wait, why }
    }

    fn after_collecting(&mut self, collected: Collected) -> Action {
        match (collected, self.terms.stage) {
            (Collected::Work, Stage::Implementation) if self.terms.has_gate => Action::Gate,
            (Collected::Work, _) => Action::Push(self.target),
            (Collected::Nothing, Stage::Implementation) => {
                fail(Failure::new(FailureKind::NoChange, "the agent changed nothing"))
            }
            (Collected::Nothing, Stage::Planning) => {
                fail(Failure::new(FailureKind::EmptyPlan, "the agent wrote no plan"))
            }
            (Collected::Unpublishable(reason), _) => {
                let failure = Failure::new(FailureKind::Unpublishable, reason.clone());
                self.fix_or_fail(Feedback::Unpublishable { reason }, failure)
            }
        }
    }

    /// Decides whose failure it is that the gate fails on the work: where it does the same without the work, it
    /// would on every issue's.
    fn after_gating_base(&mut self, outcome: GateOutcome) -> Action {
        match (outcome, &self.gate_failure) {
            (GateOutcome::Failed { reason, evidence, .. }, Some(failure)) if failure.reason == reason => {
                fail(Failure::of_base_gate(&reason, evidence))
            }
            _ => self.fix_gate(),
        }
    }

    fn fix_gate(&mut self) -> Action {
        let Some(GateFailure { reason, evidence }) = self.gate_failure.take() else { return Action::Gate };
        let failure = Failure::new(FailureKind::GateFailed, reason.clone()).with_evidence(evidence.clone());
        self.fix_or_fail(Feedback::Gate { reason, evidence }, failure)
    }

    fn after_push(&mut self, outcome: PushOutcome) -> Action {
        match outcome {
            PushOutcome::Landed => {
                Action::End(Conclusion::Landed { target: self.target, diverted: self.diverted.clone() })
            }
            PushOutcome::BranchMoved => {
                self.lost_races += 1;
                let why = format!("the trunk moved {} times while this was being pushed", self.lost_races);
                match self.target {
                    _ if self.lost_races < MAX_LOST_RACES => Action::Rebase,
                    Target::Trunk => self.divert(why),
                    Target::Feature => fail(Failure::new(
                        FailureKind::PushRefused,
                        "the feature branch keeps moving under this run",
                    )),
                }
            }
            PushOutcome::BranchRefused(says) => match self.target {
                Target::Trunk if self.terms.stage == Stage::Implementation => {
                    self.divert(format!("the remote refuses pushes to the trunk: {says}"))
                }
                Target::Trunk | Target::Feature => fail(Failure::new(
                    FailureKind::PushRefused,
                    format!("the remote refuses the push: {says}"),
                )),
            },
        }
    }

    /// Sends the work to the feature branch instead. The count of races starts anew: it is another
    /// branch.
    fn divert(&mut self, why: String) -> Action {
        if self.terms.stage == Stage::Planning {
            return fail(Failure::new(FailureKind::PushRefused, why));
        }
        self.target = Target::Feature;
        self.diverted = Some(why);
        self.lost_races = 0;
        Action::Push(Target::Feature)
    }

    fn after_rebase(&mut self, rebased: Rebased) -> Action {
        match rebased {
            Rebased::Clean { overlaps } => {
                let gate_again = match self.terms.regate {
                    Regate::Always => true,
                    Regate::Overlap => overlaps,
                    Regate::Never => false,
                };
                if gate_again && self.terms.has_gate && self.terms.stage == Stage::Implementation {
                    Action::Gate
                } else {
                    Action::Push(self.target)
                }
            }
            Rebased::Nothing => fail(Failure::new(
                FailureKind::NoChange,
                "everything that the agent did is on the branch already",
            )),
            Rebased::Conflict { files } => {
                let names = files.join(", ");
                let failure = Failure::new(
                    FailureKind::Conflict,
                    format!("the work does not go together with what landed meanwhile, in {names}"),
                );
                self.fix_or_fail(Feedback::Conflict { files }, failure)
            }
        }
    }

    fn has_no_fixes_left(&self) -> bool {
        self.fix_rounds == self.terms.max_fixes
    }

    fn fix_or_fail(&mut self, feedback: Feedback, failure: Failure) -> Action {
        if self.has_no_fixes_left() {
            return fail(failure);
        }
        self.fix_rounds += 1;
        Action::RunAgent(Round::Fix(feedback))
    }
}

fn fail(failure: Failure) -> Action {
    Action::End(Conclusion::Failed(failure))
}

/// The most of an agent's complaint that is told in one line, in characters.
const LONGEST_COMPLAINT: usize = 200;

/// Returns the line of an agent's last words that says what is wrong: the first that tells of an error, or else
/// the last.
fn complaint(words: &str) -> Option<String> {
    let lines = || words.lines().map(str::trim).filter(|line| !line.is_empty());
    let of_an_error = lines().find(|line| line.to_lowercase().contains("error"));
    let line = of_an_error.or_else(|| lines().next_back())?.trim_end_matches('.');
    Some(match line.char_indices().nth(LONGEST_COMPLAINT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    })
}

#[cfg(test)]
mod tests;
