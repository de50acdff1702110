//! Fleets of real workers that are killed, cut off and crowded: what they were given is done all the same.

mod audit;
mod detached;
mod hardship;
mod storm;

use std::time::Duration;

use acf_tests::chaos::{Fleet, Ground, audit};

/// A claim that is settled soon after its holder's death. The living renew theirs six times as often.
const SHORT_TTL: (&str, &str) = ("ACF_CLAIM_TTL", "5s");

/// Holds what a fleet has left against everything that must be true of it.
#[track_caller]
fn assert_all_is_well(ground: &Ground, fleet: &Fleet<'_>, words: &str) {
    let wrong = audit(ground);
    let is_about = |key: &&str| wrong.iter().any(|problem| problem.starts_with(&format!("{key}: ")));
    let keys = ground.backlog.items.iter().map(|item| item.key.as_str()).filter(is_about);
    let told: String = keys.map(|key| format!("{key}:\n{}", fleet.told_of(key))).collect();
    assert!(wrong.is_empty(), "{words}:\n{}\nWhat was told of these:\n{told}", wrong.join("\n"));
    assert_nothing_runs(ground);
}

#[track_caller]
fn assert_nothing_runs(ground: &Ground) {
    let left = ground.family.outliving(Duration::from_secs(20));
    assert!(left.is_empty(), "these are left: {left:#?}");
}
