//! What has to hold once everything has come to rest.

use acf_core::comment::marker;
use acf_core::eligibility::{Rules, judge_issue};
use acf_core::issue::{Stage, Status, label};
use acf_core::run::{History, Outcome};

use super::host::page;
use super::world::{Tracked, World};
use super::{Invariant, PERSON};

/// Checks I2, I4 and the pull requests at the end of a schedule.
pub(super) fn check_end(world: &mut World) {
    let mut found = Vec::new();
    for (key, tracked) in &world.issues {
        if let Some(claim) = world.store.claims.get(key.slug()) {
            found.push((Invariant::NothingIsLost, format!("claim {claim} on {key} is left")));
        }
        if !is_settled(tracked) {
            let issue = &tracked.issue;
            let how =
                format!("{}, assigned to {:?}, labels {:?}", issue.status, issue.assignee, issue.labels);
            let says = format!("{key} is lost: {how}, {} comments", tracked.comments.len());
            found.push((Invariant::NothingIsLost, says));
        }
    }
    for landed in &world.landed {
        let comments = &world.issues[&landed.issue].comments;
        let marker = Some(marker(&landed.run));
        let shown: Vec<_> = comments.iter().filter(|said| said.marker == marker).collect();
        let is_shown_once = matches!(shown[..], [said] if said.body.contains(landed.commit.short()));
        if !is_shown_once {
            let shown: Vec<_> = shown.iter().map(|said| said.body.lines().next().unwrap_or("")).collect();
            let says = format!("run {} on {} landed, and is told as {shown:?}", landed.run, landed.issue);
            found.push((Invariant::ShownOnce, says));
        }
    }
    for landed in world.landed.iter().filter(|landed| !world.store.trunk.contains(&landed.commit)) {
        let branch = format!("feature/{}", landed.issue.slug());
        let pulls: Vec<_> = (1..).zip(&world.pulls).filter(|(_, open)| **open == branch).collect();
        let told = |number| {
            let marker = Some(marker(&landed.run));
            let said = world.issues[&landed.issue].comments.iter().find(|said| said.marker == marker);
            said.is_some_and(|said| said.body.contains(&page(number)))
        };
        if !matches!(pulls[..], [(number, _)] if told(number)) {
            let says = format!("run {} landed on {branch}, with {} pull requests", landed.run, pulls.len());
            found.push((Invariant::OnePullRequest, says));
        }
    }
    for tip in world.store.runs.values() {
        let records = world.chain(tip);
        for (n, record) in records.iter().enumerate() {
            let before = History::new(records[..n].to_vec());
            let attempt = before.failed_attempts(record.stage) + 1;
            if matches!(record.outcome, Outcome::Failed(_)) && record.receipt.attempt != attempt {
                let says = format!("attempt {attempt} is told as attempt {}", record.receipt.attempt);
                found.push((Invariant::AttemptsCount, says));
            }
        }
    }
    found.into_iter().for_each(|(invariant, says)| world.violate(invariant, says));
}

/// Tells whether an issue is where somebody will look at it: done, with a person, or blocked. One
/// that is eligible will be looked at too; but fresh workers say that none is left.
fn is_settled(tracked: &Tracked) -> bool {
    let issue = &tracked.issue;
    let is_eligible = [Stage::Planning, Stage::Implementation]
        .iter()
        .any(|stage| judge_issue(issue, *stage, &Rules::default()).is_eligible());
    let is_done = matches!(issue.status, Status::Done | Status::InReview | Status::AwaitingPlanReview);
    let is_blocked = issue.has_label(label::BLOCKED)
        && !tracked.comments.is_empty()
        && issue.assignee.is_none()
        && matches!(issue.status, Status::ToDo | Status::PlanApproved);
    let is_a_persons = issue.assignee.as_deref() == Some(PERSON);
    !is_eligible && (is_done || is_blocked || is_a_persons)
}
