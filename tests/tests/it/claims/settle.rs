//! What a dead worker left is settled by another one: claim, run record and tracker.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use acf_core::claim::{Claim, ClaimStore, Held, Wip};
use acf_core::clock::Clock as _;
use acf_core::issue::{Issue, Stage, Status};
use acf_core::run::{FailureKind, Outcome, RunId, WorkerId};
use acf_core::tracker::{Change, Tracker};
use acf_tests::claims::{Machine, failed};
use acf_tests::sandbox::Sandbox;
use acf_trackers::todo::{LocalFile, Todo};
use acf_worker::clock::SystemClock;
use acf_worker::worker::Clerk;

const TTL: Duration = Duration::from_secs(30 * 60);

async fn take(claims: &dyn ClaimStore, issue: &Issue, worker: &str) -> Held {
    let (id, run) = (WorkerId::new(worker), RunId::new(format!("run-of-{worker}")));
    let claim = Claim::new(issue, Stage::Implementation, id, run, SystemClock::default().now(), TTL);
    let survey = claims.survey().await.expect("look at the remote");
    claims.take(claim, None, &survey).await.expect("take a claim")
}

#[tokio::test]
async fn a_dead_workers_run_is_recorded_as_the_attempt_that_it_was_and_a_living_ones_is_left_alone() {
    let sandbox = Sandbox::builder().build();
    let path = sandbox.root().join("TODO.md");
    fs::write(&path, "- [ ] Say hello\n- [ ] Say goodbye\n").unwrap();
    let tracker: Arc<dyn Tracker> = Arc::new(Todo::new(Arc::new(LocalFile::new(&path)), None));
    let claims: Arc<dyn ClaimStore> = Arc::new(Machine::on(&sandbox, "a").open().await.claims);
    let [hello, goodbye] = tracker.list().await.unwrap().try_into().unwrap();
    for worker in ["first", "second"] {
        let held = take(&*claims, &hello, worker).await;
        claims.release(&held, Some(&failed(&held.claim, "no change")), &Wip::Keep).await.unwrap();
    }
    for (issue, worker) in [(&hello, "dead"), (&goodbye, "living")] {
        take(&*claims, issue, worker).await;
        let begun = [Change::Transition(Status::InProgress), Change::Assign("acf".into())];
        tracker.apply(&issue.reference(), &begun).await.unwrap();
    }

    let clock = Arc::new(SystemClock::default());
    let clerk = Clerk::new(claims.clone(), tracker.clone(), clock, WorkerId::new("clerk"), TTL, 3);
    let survey = claims.survey().await.unwrap();
    let settled = clerk.settle(&survey, Some(&[WorkerId::new("dead")])).await.unwrap().settled;

    let [settled] = settled.try_into().unwrap();
    let record = settled.record;
    assert_eq!((settled.dead.as_str(), record.worker.as_str()), ("dead", "dead"));
    assert_eq!((record.receipt.attempt, record.blocked), (3, true));
    assert_eq!(record.receipt.agent, "not known");
    let lasted = record.ended_at.duration_since(record.started_at);
    assert_eq!(u128::from(record.receipt.duration_ms), lasted.unsigned_abs().as_millis());
    let Outcome::Failed(failure) = &record.outcome else { panic!("{record:?}") };
    assert_eq!(failure.kind, FailureKind::WorkerDied);
    let survey = claims.survey().await.unwrap();
    assert_eq!(survey.claims.keys().collect::<Vec<_>>(), ["TODO-2"]);
    let name = hello.reference().record_name();
    assert_eq!(claims.read_runs(&survey.runs).await.unwrap()[&name].last(), Some(&record));
    let file = fs::read_to_string(&path).unwrap();
    assert!(file.starts_with("- [ ] Say hello [acf-blocked]\n"), "{file}");
    assert!(file.contains("worker dead died or vanished during the run. That was attempt 3 of 3"), "{file}");
    assert_eq!(tracker.issue(&goodbye.reference()).await.unwrap().status, Status::InProgress);
}

#[tokio::test]
async fn what_could_not_be_settled_is_found_by_the_dead_workers_id_again() {
    let sandbox = Sandbox::builder().build();
    let path = sandbox.root().join("TODO.md");
    fs::write(&path, "- [ ] Say hello\n").unwrap();
    let tracker: Arc<dyn Tracker> = Arc::new(Todo::new(Arc::new(LocalFile::new(&path)), None));
    let claims: Arc<dyn ClaimStore> = Arc::new(Machine::on(&sandbox, "a").open().await.claims);
    let [hello] = tracker.list().await.unwrap().try_into().unwrap();
    take(&*claims, &hello, "dead").await;
    let dead = [WorkerId::new("dead")];
    let sweep = async |name: &str| {
        let (claims, clock) = (claims.clone(), Arc::new(SystemClock::default()));
        let clerk = Clerk::new(claims.clone(), tracker.clone(), clock, WorkerId::new(name), TTL, 3);
        clerk.settle(&claims.survey().await.unwrap(), Some(&dead)).await.unwrap()
    };
    let todo = fs::read(&path).unwrap();
    fs::write(&path, b"\xff\xfe is no text").unwrap();

    let first = sweep("first").await;
    let [unsettled] = first.unsettled.try_into().unwrap();
    assert_eq!(
        (unsettled.dead.as_str(), unsettled.issue.as_str(), first.settled.len()),
        ("dead", "TODO-1", 0)
    );

    fs::write(&path, todo).unwrap();
    let [settled] = sweep("second").await.settled.try_into().unwrap();
    assert_eq!((settled.dead.as_str(), settled.record.worker.as_str()), ("dead", "dead"));
    assert_eq!(claims.survey().await.unwrap().claims.len(), 0);
}

#[tokio::test]
async fn what_another_worker_is_settling_is_left_to_it_and_told() {
    let sandbox = Sandbox::builder().build();
    let path = sandbox.root().join("TODO.md");
    fs::write(&path, "- [ ] Say hello\n").unwrap();
    let tracker: Arc<dyn Tracker> = Arc::new(Todo::new(Arc::new(LocalFile::new(&path)), None));
    let claims: Arc<dyn ClaimStore> = Arc::new(Machine::on(&sandbox, "a").open().await.claims);
    let [hello] = tracker.list().await.unwrap().try_into().unwrap();
    let held = take(&*claims, &hello, "dead").await;
    let clock = Arc::new(SystemClock::default());
    let over = held.claim.taken_over(WorkerId::new("settler"), clock.now(), TTL);
    claims.take(over, Some(&held.version), &claims.survey().await.unwrap()).await.unwrap();

    let clerk = Clerk::new(claims.clone(), tracker, clock, WorkerId::new("another"), TTL, 3);
    let dead = [WorkerId::new("dead")];
    let swept = clerk.settle(&claims.survey().await.unwrap(), Some(&dead)).await.unwrap();

    let [unsettled] = swept.unsettled.try_into().unwrap();
    assert_eq!((unsettled.dead.as_str(), unsettled.why.as_str()), ("dead", "worker settler is at it"));
}
