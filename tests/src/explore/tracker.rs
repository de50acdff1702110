//! The tracker, in two kinds: a file that reads and writes under one lock, and a remote service to
//! which reading and every single change are calls of their own. And the people who use it too.

use acf_core::issue::{Issue, IssueKey, IssueRef, Stage, Status, label};
use acf_core::tracker::{Applied, Change, Condition, Tracker, TrackerError};
use async_trait::async_trait;

use super::world::{Hand, NoAnswer, Op, Phase, Said, World};
use super::{ACCOUNT, Flaw, Invariant, TrackerKind};

/// What a person does to an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Moves it to Done.
    Close,
    /// Moves it to To Do, unassigned and unblocked: an approval, if it was not there already.
    Reopen,
    /// Moves it from under a run back to To Do, and leaves it assigned: an approval too. (A finished
    /// issue that is moved without being unassigned is not taken; `acf issues explain` says so.)
    DragBack,
    /// Assigns it to herself, and leaves the status.
    TakeOver,
    /// Approves its plan, if one waits for approval.
    ApprovePlan,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Close, Self::Reopen, Self::DragBack, Self::TakeOver, Self::ApprovePlan];
}

impl World {
    /// Lets a person act.
    pub(super) fn act(&mut self, issue: &IssueKey, act: Act) {
        let Some(tracked) = self.issues.get_mut(issue) else { return };
        let is_open = matches!(tracked.issue.status, Status::ToDo | Status::PlanApproved);
        let is_being_worked_on = matches!(tracked.issue.status, Status::InProgress | Status::Planning);
        let now = &mut tracked.issue;
        match act {
            Act::Close => now.status = Status::Done,
            Act::Reopen if is_open => return,
            Act::DragBack if !is_being_worked_on => return,
            Act::Reopen | Act::DragBack => {
                now.status = Status::ToDo;
                if act == Act::Reopen {
                    now.assignee = None;
                    now.labels.remove(label::BLOCKED);
                }
                *tracked.approvals.entry(super::first_stage(now)).or_default() += 1;
            }
            Act::TakeOver => now.assignee = Some(super::PERSON.into()),
            Act::ApprovePlan if now.status == Status::AwaitingPlanReview => {
                now.status = Status::PlanApproved;
                *tracked.approvals.entry(Stage::Implementation).or_default() += 1;
            }
            Act::ApprovePlan => return,
        }
        tracked.person_was_last = true;
        self.note(|| format!("a person: {act:?} {issue}"));
    }

    fn find(&self, issue: &IssueRef) -> Result<Issue, TrackerError> {
        let found = self.issues.get(&issue.key).map(|tracked| tracked.issue.clone());
        found.ok_or_else(|| TrackerError::NotFound(issue.to_string()))
    }

    /// Holds a change against I3, then makes it.
    fn change(&mut self, seat: usize, issue: &IssueKey, change: &Change) {
        let worker = self.worker(seat);
        self.note(|| format!("{worker} tells the tracker {} on {issue}", name_of(change)));
        if self.holder(issue) != Some(&worker) {
            let says =
                format!("{worker} changes {issue} in the tracker without its claim: {}", name_of(change));
            self.violate(Invariant::OnlyHolderActs, says);
        }
        let doubles = self.has_flaw(Flaw::CommentsDouble);
        let Some(tracked) = self.issues.get_mut(issue) else { return };
        let before = (tracked.issue.status.clone(), tracked.issue.assignee.clone());
        match change {
            Change::Assign(account) => tracked.issue.assignee = Some(account.clone()),
            Change::Unassign => tracked.issue.assignee = None,
            Change::UnassignFrom(account) => _ = tracked.issue.assignee.take_if(|now| now == account),
            Change::Transition(status) => tracked.issue.status = status.clone(),
            Change::AddLabel(label) => {
                tracked.issue.labels.insert(label.clone());
            }
            Change::RemoveLabel(label) => {
                tracked.issue.labels.remove(label);
            }
            Change::Comment { marker, body } => {
                let is_there = marker.is_some() && tracked.comments.iter().any(|said| said.marker == *marker);
                if doubles || !is_there {
                    tracked.comments.push(Said { marker: marker.clone(), body: body.clone() });
                }
            }
        }
        let after = (tracked.issue.status.clone(), tracked.issue.assignee.clone());
        let is_open = matches!(before.0, Status::ToDo | Status::PlanApproved) && before.1.is_none();
        let frees = before.0 == after.0 && before.1.as_deref() == Some(ACCOUNT);
        if before == after || frees {
            return;
        }
        let undoes = tracked.person_was_last && !is_open;
        tracked.person_was_last = false;
        if undoes {
            let says = format!("{worker} undoes what a person did to {issue}: {before:?} becomes {after:?}");
            self.violate(Invariant::PeopleStand, says);
        }
    }
}

impl From<NoAnswer> for TrackerError {
    fn from(_: NoAnswer) -> Self {
        Self::other("cannot reach the tracker", "no answer")
    }
}

pub(super) struct Issues(pub(super) Hand);

impl Issues {
    /// Reads and writes in one step.
    async fn apply_at_once(
        &self,
        issue: &IssueRef,
        condition: Condition<'_>,
        changes: &[Change],
    ) -> Result<Applied, TrackerError> {
        self.0.point(Op::ChangeIssue, Phase::Before, true).await?;
        let applied = {
            let mut world = self.0.world();
            let found = world.find(issue)?;
            if holds(&world, condition, &found) {
                changes.iter().for_each(|change| world.change(self.0.seat, &issue.key, change));
                Applied::Yes(Box::new(found))
            } else {
                Applied::No(Box::new(found))
            }
        };
        // What follows a refusal is still decided on the lease of before.
        let in_gap = matches!(applied, Applied::No(_));
        self.0.point(Op::ChangeIssue, Phase::After, in_gap).await?;
        Ok(applied)
    }

    /// Reads, then makes one change after the other.
    async fn apply_step_by_step(
        &self,
        issue: &IssueRef,
        condition: Condition<'_>,
        changes: &[Change],
    ) -> Result<Applied, TrackerError> {
        self.0.point(Op::ReadIssue, Phase::Before, true).await?;
        let (found, is_wanted) = {
            let world = self.0.world();
            let found = world.find(issue)?;
            let is_wanted = holds(&world, condition, &found);
            (found, is_wanted)
        };
        self.0.point(Op::ReadIssue, Phase::After, true).await?;
        if !is_wanted {
            return Ok(Applied::No(Box::new(found)));
        }
        for (index, change) in changes.iter().enumerate() {
            self.0.point(Op::ChangeIssue, Phase::Before, true).await?;
            self.0.world().change(self.0.seat, &issue.key, change);
            let is_last = index + 1 == changes.len();
            self.0.point(Op::ChangeIssue, Phase::After, !is_last).await?;
        }
        Ok(Applied::Yes(Box::new(found)))
    }
}

fn name_of(change: &Change) -> String {
    match change {
        Change::Comment { marker, body } => {
            format!("Comment({}: {})", marker.as_deref().unwrap_or("-"), body.lines().next().unwrap_or(""))
        }
        other => format!("{other:?}"),
    }
}

fn holds(world: &World, condition: Condition<'_>, found: &Issue) -> bool {
    condition(found) || world.has_flaw(Flaw::ConditionsIgnored)
}

#[async_trait]
impl Tracker for Issues {
    fn kind(&self) -> &'static str {
        "explored"
    }

    async fn whoami(&self) -> Result<String, TrackerError> {
        Ok(ACCOUNT.into())
    }

    async fn candidates(&self, _: Stage) -> Result<Vec<Issue>, TrackerError> {
        let list = |world: &mut World| world.issues.values().map(|tracked| tracked.issue.clone()).collect();
        Ok(self.0.call(Op::Candidates, list).await?)
    }

    async fn list(&self) -> Result<Vec<Issue>, TrackerError> {
        self.candidates(Stage::Implementation).await
    }

    async fn issue(&self, issue: &IssueRef) -> Result<Issue, TrackerError> {
        self.0.call(Op::ReadIssue, |world| world.find(issue)).await?
    }

    async fn apply_if(
        &self,
        issue: &IssueRef,
        condition: Condition<'_>,
        changes: &[Change],
    ) -> Result<Applied, TrackerError> {
        let kind = self.0.world().scenario.tracker;
        match kind {
            TrackerKind::File => self.apply_at_once(issue, condition, changes).await,
            TrackerKind::Remote => self.apply_step_by_step(issue, condition, changes).await,
        }
    }
}
