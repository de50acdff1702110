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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: Terms = Terms {
        stage: Stage::Implementation,
        target: Target::Trunk,
        max_fixes: 2,
        regate: Regate::Overlap,
        has_gate: true,
        fallbacks: 0,
    };

    fn finished() -> Event {
        Event::AgentEnded(AgentOutcome::Finished)
    }

    fn gate_failed() -> Event {
        Event::GateEnded(failed("make: exit 2", false))
    }

    fn failed(reason: &str, in_setup: bool) -> GateOutcome {
        GateOutcome::Failed { reason: reason.into(), evidence: "no".into(), in_setup }
    }

    fn moved() -> Event {
        Event::Pushed(PushOutcome::BranchMoved)
    }

    fn limited(retry_after: Option<u64>) -> Event {
        let retry_after = retry_after.map(Duration::from_secs);
        Event::AgentEnded(AgentOutcome::Trouble(Trouble::RateLimited { retry_after }))
    }

    fn limited_wait(secs: u64) -> Action {
        Action::Wait { wait: Duration::from_secs(secs), why: "rate limited" }
    }

    /// Returns the last action after those events.
    fn after(terms: Terms, events: impl IntoIterator<Item = Event>) -> Action {
        let (mut run, first) = IssueRun::begin(terms);
        events.into_iter().fold(first, |_, event| run.on(event))
    }

    fn failure_kind(action: &Action) -> Option<FailureKind> {
        match action {
            Action::End(Conclusion::Failed(failure)) => Some(failure.kind),
            _ => None,
        }
    }

    #[test]
    fn the_straight_way_is_agent_collect_gate_push_end() {
        let (mut run, first) = IssueRun::begin(TERMS);
        assert_eq!(first, Action::RunAgent(Round::First));
        assert_eq!(run.on(finished()), Action::Collect);
        assert_eq!(run.on(Event::Collected(Collected::Work)), Action::Gate);
        assert_eq!(run.on(Event::GateEnded(GateOutcome::Passed)), Action::Push(Target::Trunk));
        let landed = Action::End(Conclusion::Landed { target: Target::Trunk, diverted: None });
        assert_eq!(run.on(Event::Pushed(PushOutcome::Landed)), landed);
    }

    #[test]
    fn without_a_gate_and_for_plans_work_is_pushed_at_once() {
        for terms in [Terms { has_gate: false, ..TERMS }, Terms { stage: Stage::Planning, ..TERMS }] {
            assert_eq!(after(terms, [Event::Collected(Collected::Work)]), Action::Push(Target::Trunk));
            assert_eq!(
                after(terms, [Event::Rebased(Rebased::Clean { overlaps: true })]),
                Action::Push(Target::Trunk)
            );
        }
    }

    #[test]
    fn nothing_changed_is_a_failure() {
        let nothing = || [Event::Collected(Collected::Nothing)];
        assert_eq!(failure_kind(&after(TERMS, nothing())), Some(FailureKind::NoChange));
        let planning = Terms { stage: Stage::Planning, ..TERMS };
        assert_eq!(failure_kind(&after(planning, nothing())), Some(FailureKind::EmptyPlan));
        let absorbed = [Event::Rebased(Rebased::Nothing)];
        assert_eq!(failure_kind(&after(TERMS, absorbed)), Some(FailureKind::NoChange));
    }

    #[test]
    fn the_gates_failure_goes_back_to_the_agent_until_the_rounds_are_used_up() {
        let (mut run, _) = IssueRun::begin(TERMS);
        let feedback = Feedback::Gate { reason: "make: exit 2".into(), evidence: "no".into() };
        for round in 1..=2 {
            assert_eq!(run.on(gate_failed()), Action::RunAgent(Round::Fix(feedback.clone())));
            assert_eq!(run.fix_rounds(), round);
        }
        assert_eq!(run.on(gate_failed()), Action::GateBase);
        let on_base = |outcome| match run.clone().on(Event::BaseGated(outcome)) {
            Action::End(Conclusion::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        };
        for outcome in [GateOutcome::Passed, failed("another: exit 1", false)] {
            let failure = on_base(outcome);
            assert_eq!((failure.kind, failure.reason.as_str()), (FailureKind::GateFailed, "make: exit 2"));
            assert_eq!(failure.evidence.as_deref(), Some("no"));
        }
        let failure = on_base(failed("make: exit 2", false));
        assert_eq!(failure.kind, FailureKind::BaseFailsGate);
        assert_eq!(failure.reason, "the gate fails without the agent's work, too: make: exit 2");
        assert_eq!(run.fix_rounds(), 2);
    }

    #[test]
    fn a_set_up_that_fails_is_looked_at_without_the_work_before_any_fix() {
        let in_setup = || Event::GateEnded(failed("npm ci: exit 1", true));
        assert_eq!(after(TERMS, [in_setup()]), Action::GateBase);
        let same = Event::BaseGated(failed("npm ci: exit 1", true));
        assert_eq!(failure_kind(&after(TERMS, [in_setup(), same])), Some(FailureKind::BaseFailsGate));
        let own = after(TERMS, [in_setup(), Event::BaseGated(GateOutcome::Passed)]);
        assert!(matches!(own, Action::RunAgent(Round::Fix(Feedback::Gate { .. }))), "{own:?}");
    }

    #[test]
    fn unpublishable_work_and_conflicts_go_back_to_the_agent_too() {
        let conflict = || Event::Rebased(Rebased::Conflict { files: vec!["a".into(), "b".into()] });
        let unpublishable = || Event::Collected(Collected::Unpublishable("a repository in `x`".into()));
        let no_fixes = Terms { max_fixes: 0, ..TERMS };
        assert!(matches!(
            after(TERMS, [conflict()]),
            Action::RunAgent(Round::Fix(Feedback::Conflict { .. }))
        ));
        assert!(matches!(
            after(TERMS, [unpublishable()]),
            Action::RunAgent(Round::Fix(Feedback::Unpublishable { .. }))
        ));
        assert_eq!(failure_kind(&after(no_fixes, [conflict()])), Some(FailureKind::Conflict));
        assert_eq!(failure_kind(&after(no_fixes, [unpublishable()])), Some(FailureKind::Unpublishable));
    }

    #[test]
    fn a_rebase_is_gated_as_the_policy_says() {
        let gated = |regate, overlaps| {
            let terms = Terms { regate, ..TERMS };
            after(terms, [Event::Rebased(Rebased::Clean { overlaps })]) == Action::Gate
        };
        assert_eq!((gated(Regate::Overlap, true), gated(Regate::Overlap, false)), (true, false));
        assert_eq!((gated(Regate::Always, true), gated(Regate::Always, false)), (true, true));
        assert_eq!((gated(Regate::Never, true), gated(Regate::Never, false)), (false, false));
    }

    #[test]
    fn after_five_lost_races_the_work_goes_to_a_feature_branch() {
        for lost in 1..MAX_LOST_RACES {
            assert_eq!(after(TERMS, (0..lost).map(|_| moved())), Action::Rebase);
        }
        let five = || (0..MAX_LOST_RACES).map(|_| moved());
        assert_eq!(after(TERMS, five()), Action::Push(Target::Feature));
        let landed = after(TERMS, five().chain([Event::Pushed(PushOutcome::Landed)]));
        let Action::End(Conclusion::Landed { target, diverted }) = landed else { panic!("{landed:?}") };
        assert_eq!(target, Target::Feature);
        assert_eq!(diverted.unwrap(), "the trunk moved 5 times while this was being pushed");
    }

    #[test]
    fn a_run_says_why_its_work_is_not_meant_for_the_trunk_any_more() {
        let (mut run, _) = IssueRun::begin(TERMS);
        assert_eq!(run.diverted(), None);
        run.on(Event::Pushed(PushOutcome::BranchRefused("protected".into())));
        assert_eq!(run.diverted(), Some("the remote refuses pushes to the trunk: protected"));
    }

    #[test]
    fn a_feature_branch_that_keeps_moving_and_a_plan_that_cannot_land_fail() {
        let five = || (0..MAX_LOST_RACES).map(|_| moved());
        let feature = Terms { target: Target::Feature, ..TERMS };
        assert_eq!(failure_kind(&after(feature, five())), Some(FailureKind::PushRefused));
        let planning = Terms { stage: Stage::Planning, ..TERMS };
        assert_eq!(failure_kind(&after(planning, five())), Some(FailureKind::PushRefused));
        assert_eq!(failure_kind(&after(TERMS, five().chain(five()))), Some(FailureKind::PushRefused));
    }

    #[test]
    fn a_protected_trunk_sends_the_work_to_a_feature_branch_and_a_protected_feature_branch_fails() {
        let refused = || Event::Pushed(PushOutcome::BranchRefused("protected branch hook declined".into()));
        assert_eq!(after(TERMS, [refused()]), Action::Push(Target::Feature));
        assert_eq!(failure_kind(&after(TERMS, [refused(), refused()])), Some(FailureKind::PushRefused));
        let planning = Terms { stage: Stage::Planning, ..TERMS };
        let plan = after(planning, [refused()]);
        assert_eq!(failure_kind(&plan), Some(FailureKind::PushRefused));
        let Action::End(Conclusion::Failed(failure)) = plan else { panic!("went on") };
        assert_eq!(failure.reason, "the remote refuses the push: protected branch hook declined");
    }

    #[test]
    fn what_waiting_does_not_mend_ends_the_run_with_its_own_kind() {
        let resets_at = Some(jiff::Timestamp::UNIX_EPOCH);
        for (trouble, kind) in [
            (Trouble::QuotaExhausted { resets_at }, FailureKind::QuotaExhausted),
            (Trouble::NotAuthenticated { message: "401".into() }, FailureKind::NotAuthenticated),
            (Trouble::OutOfTurns, FailureKind::OutOfTurns),
            (Trouble::OutOfBudget, FailureKind::OutOfBudget),
        ] {
            let ended = after(TERMS, [Event::AgentEnded(AgentOutcome::Trouble(trouble))]);
            assert_eq!(failure_kind(&ended), Some(kind));
        }
    }

    #[test]
    fn without_quota_the_work_goes_to_the_next_agent_until_there_is_none() {
        let at = |secs| Some(Timestamp::from_second(secs).unwrap());
        let exhausted =
            |resets_at| Event::AgentEnded(AgentOutcome::Trouble(Trouble::QuotaExhausted { resets_at }));
        let (mut run, _) = IssueRun::begin(Terms { fallbacks: 1, ..TERMS });
        assert_eq!(run.on(exhausted(at(500))), Action::RunAgent(Round::HandedOver));
        let Action::End(Conclusion::Failed(failure)) = run.on(exhausted(at(900))) else { panic!("went on") };
        assert_eq!(failure.kind, FailureKind::QuotaExhausted);
        assert_eq!(failure.until, at(500), "the first of the two to have quota again");
        assert_eq!(failure.reason, "all agents have no quota left until 1970-01-01T00:08:20Z");
        let Action::End(Conclusion::Failed(failure)) = after(TERMS, [exhausted(None)]) else { panic!() };
        assert_eq!((failure.reason.as_str(), failure.until), ("the agent's account has no quota left", None));
    }

    #[test]
    fn a_rate_limit_that_does_not_end_hands_the_work_over_too() {
        let (mut run, _) = IssueRun::begin(Terms { fallbacks: 1, ..TERMS });
        assert_eq!(run.on(limited(Some(7200))), Action::RunAgent(Round::HandedOver));
        assert_eq!(run.on(limited(Some(1))), limited_wait(1));
        assert_eq!(failure_kind(&run.on(limited(Some(7200)))), Some(FailureKind::RateLimited));
    }

    #[test]
    fn a_rate_limit_is_waited_out_in_its_own_time_or_longer_and_longer() {
        assert_eq!(after(TERMS, [limited(Some(7))]), limited_wait(7));
        let (mut run, _) = IssueRun::begin(TERMS);
        let waits: Vec<_> = (0..5)
            .map(|_| match run.on(limited(None)) {
                Action::Wait { wait, .. } => wait.as_secs(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(waits, [30, 60, 120, 240, 480]);
        assert_eq!(failure_kind(&run.on(limited(None))), Some(FailureKind::RateLimited));
        assert_eq!(after(TERMS, [Event::Waited]), Action::RunAgent(Round::Again));
    }

    #[test]
    fn a_service_that_does_not_work_is_waited_for_like_one_that_limits() {
        let unavailable =
            || Event::AgentEnded(AgentOutcome::Trouble(Trouble::Unavailable { message: "500".into() }));
        let (mut run, _) = IssueRun::begin(TERMS);
        for secs in [30, 60, 120, 240, 480] {
            let wait = Duration::from_secs(secs);
            assert_eq!(run.on(unavailable()), Action::Wait { wait, why: "service unavailable" });
        }
        let Action::End(Conclusion::Failed(failure)) = run.on(unavailable()) else { panic!("went on") };
        assert_eq!(failure.kind, FailureKind::ServiceUnavailable);
        assert_eq!(failure.reason, "the agent's service does not work: 500, after 5 waits");
    }

    #[test]
    fn a_rate_limit_of_hours_is_not_waited_out() {
        assert_eq!(after(TERMS, [limited(Some(3600))]), limited_wait(3600));
        assert_eq!(failure_kind(&after(TERMS, [limited(Some(3601))])), Some(FailureKind::RateLimited));
    }

    #[test]
    fn where_credentials_are_not_accepted_the_next_agent_goes_on() {
        let (mut run, _) = IssueRun::begin(Terms { fallbacks: 1, ..TERMS });
        let refused = |message: &str| {
            let trouble = Trouble::NotAuthenticated { message: message.into() };
            Event::AgentEnded(AgentOutcome::Trouble(trouble))
        };
        assert_eq!(run.on(refused("a: 401")), Action::RunAgent(Round::HandedOver));
        let Action::End(Conclusion::Failed(failure)) = run.on(refused("a: 401; b: 403")) else {
            panic!("went on")
        };
        assert_eq!(failure.kind, FailureKind::NotAuthenticated);
        assert_eq!(failure.reason, "the agent's service does not accept its credentials: a: 401; b: 403");
    }

    #[test]
    fn of_an_agents_last_words_one_line_is_its_complaint() {
        for (words, expected) in [
            ("", None),
            (" \n", None),
            ("model not found", Some("model not found")),
            (
                "reading\nError: model `x` not found.\n    at main (cli.js:1)\n",
                Some("Error: model `x` not found"),
            ),
            ("so far\nfailing, as told\n\n", Some("failing, as told")),
        ] {
            assert_eq!(complaint(words).as_deref(), expected, "{words:?}");
        }
        let long = complaint(&"é".repeat(500)).unwrap();
        assert_eq!((long.chars().count(), long.ends_with("é…")), (201, true));
    }

    #[test]
    fn the_agents_bad_ends_fail_the_run_and_a_stop_does_not() {
        let ended = |outcome| after(TERMS, [Event::AgentEnded(outcome)]);
        let crashed = |exit_code| ended(AgentOutcome::Crashed { exit_code, message: Some("why".into()) });
        let Action::End(Conclusion::Failed(failure)) = crashed(Some(7)) else { panic!("went on") };
        assert_eq!(failure.reason, "the agent exited with code 7: why");
        assert_eq!(failure.evidence.as_deref(), Some("why"));
        assert_eq!(failure_kind(&crashed(None)), Some(FailureKind::AgentCrashed));
        assert_eq!(failure_kind(&ended(AgentOutcome::TimedOut)), Some(FailureKind::AgentTimedOut));
        assert_eq!(failure_kind(&ended(AgentOutcome::Stalled)), Some(FailureKind::AgentStalled));
        assert_eq!(ended(AgentOutcome::Stopped), Action::End(Conclusion::Interrupted));
        assert_eq!(after(TERMS, [Event::StopRequested]), Action::End(Conclusion::Interrupted));
        let why = || "the issue is gone".to_owned();
        assert_eq!(after(TERMS, [Event::Withdrawn(why())]), Action::End(Conclusion::Withdrawn(why())));
        assert_eq!(after(TERMS, [Event::ClaimLost]), Action::End(Conclusion::ClaimLost));
        let broke = Failure::new(FailureKind::Internal, "disk full");
        let expected = Action::End(Conclusion::Failed(broke.clone()));
        assert_eq!(after(TERMS, [Event::Broke(broke)]), expected);
    }

    /// What may happen after an action, so that a run can be played through.
    fn events_after(action: &Action) -> Vec<Event> {
        match action {
            Action::RunAgent(_) => {
                let exhausted = Trouble::QuotaExhausted { resets_at: None };
                vec![finished(), limited(None), Event::AgentEnded(AgentOutcome::Trouble(exhausted))]
            }
            Action::Wait { .. } => vec![Event::Waited],
            Action::Collect => vec![
                Event::Collected(Collected::Work),
                Event::Collected(Collected::Unpublishable("x".into())),
            ],
            Action::Gate => vec![gate_failed(), Event::GateEnded(GateOutcome::Passed)],
            Action::GateBase => {
                vec![Event::BaseGated(GateOutcome::Passed), Event::BaseGated(failed("make: exit 2", false))]
            }
            Action::Push(_) => {
                vec![moved(), Event::Pushed(PushOutcome::BranchRefused("no".into()))]
            }
            Action::Rebase => vec![
                Event::Rebased(Rebased::Clean { overlaps: true }),
                Event::Rebased(Rebased::Conflict { files: vec![] }),
            ],
            Action::End(_) => vec![],
        }
    }

    proptest! {
        /// However unlucky it is, a run ends.
        #[test]
        fn every_run_ends(choices in prop::collection::vec(0usize..3, 200), max_fixes in 0u32..4) {
            let (mut run, mut action) = IssueRun::begin(Terms { max_fixes, fallbacks: 2, ..TERMS });
            for choice in choices {
                let events = events_after(&action);
                if events.is_empty() {
                    return Ok(());
                }
                action = run.on(events[choice % events.len()].clone());
            }
            prop_assert!(false, "still at {:?} after 200 steps", action);
        }
    }
}
