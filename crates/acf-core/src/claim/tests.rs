use super::*;
use crate::run::tests::landed;

#[test]
fn a_claim_has_its_runs_recorded_under_what_identifies_its_issue() {
    assert_eq!(claim().record_name(), claim().issue_ref().record_name());
    let moved = Claim { issue: "TODO-9".parse().unwrap(), ..claim() };
    assert_eq!(moved.record_name(), claim().record_name());
    assert!(claim().record_name().contains("abc"), "{}", claim().record_name());
}

#[test]
fn issues_of_another_tracker_with_the_same_keys_are_left_to_it_for_a_day() {
    let claim = claim().in_place(Some("a".into()));
    let later = |hours| claim.renewed_at + SignedDuration::from_hours(hours);
    assert!(claim.is_elsewhere(Some("b"), later(1)) && claim.is_elsewhere(None, later(1)));
    assert!(!claim.is_elsewhere(Some("a"), later(1)) && !claim.is_elsewhere(Some("b"), later(24)));
    assert!(!Claim { place: None, ..claim.clone() }.is_elsewhere(Some("b"), later(1)));
}

fn claim() -> Claim {
    let issue = Issue {
        status: Status::PlanApproved,
        identity: Some("abc".into()),
        ..Issue::new("TODO-3".parse().unwrap(), "Say hello")
    };
    let now = Timestamp::from_second(1_000_000).unwrap();
    Claim::new(
        &issue,
        Stage::Implementation,
        WorkerId::new("w1"),
        RunId::new("r1"),
        now,
        Duration::from_secs(100),
    )
}

fn later(secs: u64) -> Timestamp {
    claim().renewed_at + Duration::from_secs(secs)
}

#[test]
fn a_claim_seen_unchanged_for_its_ttl_has_expired() {
    assert!(!claim().is_expired(Duration::from_secs(99), later(0)));
    assert!(claim().is_expired(Duration::from_secs(100), later(0)));
}

#[test]
fn a_claims_own_words_are_believed_only_beyond_the_skew() {
    let barely = 100 + CLOCK_SKEW.as_secs();
    assert!(!claim().is_expired(Duration::ZERO, later(barely)));
    assert!(claim().is_expired(Duration::ZERO, later(barely + 1)));
}

#[test]
fn a_claim_remembers_whose_run_it_is_whoever_settles_it() {
    let (first, second) = (WorkerId::new("first"), WorkerId::new("second"));
    let taken = claim().taken_over(first, later(1), Duration::from_secs(5));
    assert_eq!((taken.worker.as_str(), taken.runner().as_str()), ("first", "w1"));
    let let_go = taken.let_go(later(2));
    assert!(let_go.is_let_go && let_go.generation > taken.generation);
    let again = let_go.taken_over(second, later(3), Duration::from_secs(5));
    assert_eq!((again.worker.as_str(), again.runner().as_str()), ("second", "w1"));
    assert!(!again.is_let_go);
    assert_eq!(claim().runner().as_str(), "w1");
}

#[test]
fn a_claim_of_the_default_ttl_is_believed_for_three_quarters_of_an_hour() {
    let claim = Claim { ttl_secs: DEFAULT_TTL.as_secs(), ..claim() };
    assert!(!claim.is_expired(Duration::ZERO, later(45 * 60)));
    assert!(claim.is_expired(Duration::ZERO, later(45 * 60 + 1)));
    assert!(!claim.is_expired(Duration::from_secs(30 * 60 - 1), later(0)));
    assert!(claim.is_expired(Duration::from_secs(30 * 60), later(0)));
}

#[test]
fn a_claim_from_the_future_expires_by_observation_only() {
    let now = Timestamp::UNIX_EPOCH;
    assert!(!claim().is_expired(Duration::from_secs(99), now));
    assert!(claim().is_expired(Duration::from_secs(100), now));
}

#[test]
fn a_claim_remembers_how_the_issue_was_found() {
    assert_eq!(claim().found_status, Status::PlanApproved);
    assert_eq!(claim().issue_ref().identity.as_deref(), Some("abc"));
}

fn now_at(status: Status, assignee: Option<&str>) -> Issue {
    let key = claim().issue;
    Issue { status, assignee: assignee.map(Into::into), ..Issue::new(key, String::new()) }
}

#[test]
fn an_issue_is_worked_on_until_somebody_moves_it_or_takes_it() {
    let claim = claim().in_name_of("acf");
    let cases = [
        (Status::InProgress, Some("acf"), true),
        (Status::InProgress, None, true),
        (Status::InProgress, Some("ada"), false),
        (Status::Done, Some("acf"), false),
        (Status::ToDo, None, false),
        (Status::Planning, Some("acf"), false),
    ];
    for (status, assignee, expected) in cases {
        let issue = now_at(status, assignee);
        assert_eq!(claim.is_working_on(&issue), expected, "{issue:?}");
    }
    let old = Claim { account: None, ..claim };
    assert!(old.is_working_on(&now_at(Status::InProgress, Some("acf"))));
}

#[test]
fn an_issue_that_was_moved_back_must_not_stay_with_the_account_of_the_run() {
    let claim = claim().in_name_of("acf");
    let cases = [
        (Status::ToDo, Some("acf"), true),
        (Status::PlanApproved, Some("acf"), true),
        (Status::ToDo, Some("ada"), false),
        (Status::ToDo, None, false),
        (Status::Done, Some("acf"), false),
    ];
    for (status, assignee, expected) in cases {
        let issue = now_at(status, assignee);
        assert_eq!(claim.keeps_others_from(&issue), expected, "{issue:?}");
    }
    let old = Claim { account: None, ..claim };
    assert!(!old.keeps_others_from(&now_at(Status::ToDo, None)));
}

#[test]
fn every_change_raises_the_generation() {
    let now = later(7);
    let renewed = claim().renewed(now);
    assert_eq!((renewed.generation, renewed.renewed_at), (1, now));
    assert_eq!(renewed.taken_over(WorkerId::new("w2"), now, DEFAULT_TTL).generation, 2);
    assert_eq!(renewed.published(landed(5), now).generation, 2);
}

#[test]
fn a_published_claim_is_the_outbox_of_its_record() {
    let outbox = claim().published(landed(5), later(1));
    assert_eq!(outbox.state, ClaimState::Published { record: Box::new(landed(5)) });
    assert_eq!(outbox.run, claim().run);
}

#[test]
fn a_claim_taken_over_keeps_what_is_to_be_settled() {
    let published = claim().published(landed(5), later(1));
    let over = published.taken_over(WorkerId::new("w2"), later(2), Duration::from_secs(7));
    assert_eq!(over.worker, WorkerId::new("w2"));
    assert_eq!((over.run.clone(), over.state.clone()), (published.run, published.state));
    assert_eq!(over.ttl_secs, 7);
}

#[test]
fn a_ttl_is_never_zero() {
    assert_eq!(claim().taken_over(WorkerId::new("w2"), later(0), Duration::ZERO).ttl_secs, 1);
}

#[test]
fn a_version_is_named_as_the_store_names_it() {
    let version = Version::new("4be19c2");
    assert_eq!((version.as_str(), version.to_string().as_str()), ("4be19c2", "4be19c2"));
}

#[test]
fn a_turn_is_over_when_it_is_dropped_and_not_before() {
    let lock = std::sync::Arc::new(());
    let turn = Turn::while_held(lock.clone());
    assert_eq!(std::sync::Arc::strong_count(&lock), 2);
    drop(turn);
    assert_eq!(std::sync::Arc::strong_count(&lock), 1);
}

#[test]
fn claims_survive_json_in_both_states() {
    for claim in [claim(), claim().published(landed(5), later(1))] {
        let json = serde_json::to_string(&claim).unwrap();
        assert_eq!(serde_json::from_str::<Claim>(&json).unwrap(), claim, "{json}");
    }
}
