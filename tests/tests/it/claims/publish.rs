//! Fenced publishing: work lands if and only if the claim still holds.

use acf_core::claim::{
    ClaimError, ClaimState, ClaimStore as _, Held, Landing, Published, Survey, Version, Wip,
};
use acf_core::run::CommitId;
use acf_tests::claims::{Machine, claim, on_trunk, outbox};
use acf_tests::sandbox::Sandbox;

const CLAIM: &str = "refs/acf/claims/TODO-3";

struct Scene {
    sandbox: Sandbox,
    machine: Machine,
    base: CommitId,
    held: Held,
    work: CommitId,
}

impl Scene {
    async fn new() -> Self {
        let sandbox = Sandbox::builder().file("README.md", "# Hello\n").build();
        let machine = Machine::on(&sandbox, "a").open().await;
        let base = machine.trunk().await;
        let held = machine.take("TODO-3", "w1").await.expect("take a claim");
        let work = machine.work(&sandbox, &base, "hello", "world\n");
        Self { sandbox, machine, base, held, work }
    }

    async fn publish(&self, landing: &Landing) -> Result<Published, ClaimError> {
        self.machine.claims.publish(&self.held, outbox(&self.held.claim, landing), landing).await
    }

    async fn publish_on_trunk(&self) -> Result<Published, ClaimError> {
        self.publish(&on_trunk(&self.work)).await
    }

    fn feature(&self, before: Option<&CommitId>) -> Landing {
        Landing {
            commit: self.work.clone(),
            branch: "feature/TODO-3".into(),
            replaces: Some(before.map(|commit| Version::new(commit.as_str()))),
        }
    }

    #[track_caller]
    fn assert_nothing_has_happened(&self) {
        assert_eq!(self.sandbox.tip(CLAIM).as_deref(), Some(self.held.version.as_str()));
        assert_eq!(self.sandbox.tip("refs/heads/main").as_deref(), Some(self.base.as_str()));
        assert_eq!(self.sandbox.refs("refs/"), [CLAIM, "refs/heads/main"]);
    }
}

fn landed(published: Published) -> Held {
    match published {
        Published::Landed(held) => *held,
        other => panic!("it did not land: {other:?}"),
    }
}

#[tokio::test]
async fn work_lands_and_the_claim_becomes_its_outbox() {
    let scene = Scene::new().await;

    let held = landed(scene.publish_on_trunk().await.unwrap());

    assert_eq!(scene.sandbox.tip("refs/heads/main").as_deref(), Some(scene.work.as_str()));
    assert_eq!(scene.sandbox.tip(CLAIM).as_deref(), Some(held.version.as_str()));
    let reader = Machine::on(&scene.sandbox, "reader").open().await;
    let survey = reader.claims.survey().await.unwrap();
    let read = reader.claims.read_claims(&survey.claims).await.unwrap();
    let ClaimState::Published { record } = &read[&held.version].state else { panic!("{read:?}") };
    scene.machine.claims.release(&held, Some(record), &Wip::Drop).await.unwrap();
    assert_eq!(scene.sandbox.refs("refs/"), ["refs/acf/runs/TODO-3", "refs/heads/main"]);
}

#[tokio::test]
async fn a_worker_that_lost_its_claim_lands_nothing() {
    let scene = Scene::new().await;
    let other = Machine::on(&scene.sandbox, "b").open().await;
    let over = other.take_over("TODO-3", "w2").await.unwrap();

    let published = scene.publish_on_trunk().await;

    assert!(matches!(published, Err(ClaimError::Lost)), "{published:?}");
    assert_eq!(scene.sandbox.tip("refs/heads/main").as_deref(), Some(scene.base.as_str()));
    assert_eq!(scene.sandbox.tip(CLAIM).as_deref(), Some(over.version.as_str()));
}

#[tokio::test]
async fn a_worker_whose_claim_was_settled_lands_nothing() {
    let scene = Scene::new().await;
    let other = Machine::on(&scene.sandbox, "b").open().await;
    let over = other.take_over("TODO-3", "w2").await.unwrap();
    other.claims.release(&over, None, &Wip::Keep).await.unwrap();

    let published = scene.publish_on_trunk().await;

    assert!(matches!(published, Err(ClaimError::Lost)), "{published:?}");
    assert_eq!(scene.sandbox.refs("refs/"), ["refs/heads/main"]);
    assert_eq!(scene.sandbox.tip("refs/heads/main").as_deref(), Some(scene.base.as_str()));
}

#[tokio::test]
async fn a_trunk_that_has_moved_is_left_as_it_is_and_so_is_the_claim() {
    let scene = Scene::new().await;
    let moved = scene.sandbox.person_commits("main", "other", "x\n");

    let published = scene.publish_on_trunk().await.unwrap();

    assert!(matches!(published, Published::BranchMoved), "{published:?}");
    assert_eq!(scene.sandbox.tip("refs/heads/main").as_deref(), Some(moved.as_str()));
    assert_eq!(scene.sandbox.tip(CLAIM).as_deref(), Some(scene.held.version.as_str()));
}

#[tokio::test]
async fn a_lost_claim_counts_for_more_than_a_moved_trunk() {
    let scene = Scene::new().await;
    let moved = scene.sandbox.person_commits("main", "other", "x\n");
    Machine::on(&scene.sandbox, "b").open().await.take_over("TODO-3", "w2").await.unwrap();

    let published = scene.publish_on_trunk().await;

    assert!(matches!(published, Err(ClaimError::Lost)), "{published:?}");
    assert_eq!(scene.sandbox.tip("refs/heads/main").as_deref(), Some(moved.as_str()));
}

/// A hook that, the first time, moves a ref after the remote has said where its refs are.
fn moving(name: &str, to: &str) -> String {
    format!(
        "test -e moved && exit 0\ntouch moved\n\
         exec env -u GIT_QUARANTINE_PATH git update-ref {name} {to}"
    )
}

#[tokio::test]
async fn a_trunk_that_moves_in_the_middle_of_the_push_is_told_as_moved() {
    let scene = Scene::new().await;
    let moved = scene.sandbox.person_commits("elsewhere", "other", "x\n");
    scene.sandbox.hook("pre-receive", &moving("refs/heads/main", moved.as_str()));

    let published = scene.publish_on_trunk().await.unwrap();

    assert!(matches!(published, Published::BranchMoved), "{published:?}");
    assert_eq!(scene.sandbox.tip("refs/heads/main").as_deref(), Some(moved.as_str()));
    assert_eq!(scene.sandbox.tip(CLAIM).as_deref(), Some(scene.held.version.as_str()));
}

#[tokio::test]
async fn a_claim_that_is_taken_over_in_the_middle_of_the_push_is_lost() {
    let scene = Scene::new().await;
    let other = scene.machine.take("TODO-4", "w2").await.unwrap();
    scene.sandbox.hook("pre-receive", &moving(CLAIM, other.version.as_str()));

    let published = scene.publish_on_trunk().await;

    assert!(matches!(published, Err(ClaimError::Lost)), "{published:?}");
    assert_eq!(scene.sandbox.tip("refs/heads/main").as_deref(), Some(scene.base.as_str()));
    assert_eq!(scene.sandbox.tip(CLAIM).as_deref(), Some(other.version.as_str()));
}

#[tokio::test]
async fn a_claim_that_appears_in_the_middle_of_a_take_is_lost() {
    let sandbox = Sandbox::builder().build();
    let machine = Machine::on(&sandbox, "a").open().await;
    let other = machine.take("TODO-4", "w2").await.unwrap();
    sandbox.hook("pre-receive", &moving(CLAIM, other.version.as_str()));

    let taken = machine.claims.take(claim("TODO-3", "w1"), None, &Survey::default()).await;

    assert!(matches!(taken, Err(ClaimError::Lost)), "{taken:?}");
    assert_eq!(sandbox.tip(CLAIM).as_deref(), Some(other.version.as_str()));
}

#[tokio::test]
async fn a_protected_trunk_is_told_in_the_hooks_own_words() {
    let script = "while read old new ref; do\n\
                  case $ref in refs/heads/main) echo 'open a pull request instead' >&2; exit 1;; esac; done";
    for (name, script) in [
        ("pre-receive", script),
        ("update", "case $1 in refs/heads/main) echo 'open a pull request instead' >&2; exit 1;; esac"),
    ] {
        let scene = Scene::new().await;
        scene.sandbox.hook(name, script);

        let published = scene.publish_on_trunk().await.unwrap();

        let Published::BranchRefused(says) = &published else { panic!("{name}: {published:?}") };
        assert!(says.0.contains("open a pull request instead"), "{name}: {says}");
        scene.assert_nothing_has_happened();
    }
}

#[tokio::test]
async fn a_remote_that_refuses_the_claims_refs_is_told_as_refusing() {
    let sandbox = Sandbox::builder().build();
    sandbox.hook("update", "case $1 in refs/acf/*) echo 'no such namespace here' >&2; exit 1;; esac");
    let machine = Machine::on(&sandbox, "a").open().await;

    let taken = machine.take("TODO-3", "w1").await;

    let Err(ClaimError::Refused { what, cause }) = &taken else { panic!("{taken:?}") };
    assert_eq!(what, CLAIM);
    assert!(cause.0.contains("no such namespace here"), "{cause}");
}

#[tokio::test]
async fn a_remote_that_takes_no_claims_any_more_lands_no_work() {
    let scene = Scene::new().await;
    scene.sandbox.hook("update", "case $1 in refs/acf/*) echo 'no such namespace here' >&2; exit 1;; esac");

    let published = scene.publish_on_trunk().await;

    let Err(ClaimError::Refused { what, .. }) = &published else { panic!("{published:?}") };
    assert_eq!(what, CLAIM);
    scene.assert_nothing_has_happened();
}

#[tokio::test]
async fn a_remote_that_denies_rewritten_branches_takes_claims_and_work() {
    let scene = Scene::new().await;
    scene.sandbox.git(&["config", "receive.denyNonFastForwards", "true"]);
    scene.sandbox.git(&["config", "receive.denyDeletes", "true"]);

    let held = scene.machine.claims.renew(&scene.held, acf_tests::claims::at(10), None).await.unwrap();
    let landing = on_trunk(&scene.work);
    let published =
        scene.machine.claims.publish(&held, outbox(&held.claim, &landing), &landing).await.unwrap();
    scene.machine.claims.release(&landed(published), None, &Wip::Keep).await.unwrap();

    assert_eq!(scene.sandbox.refs("refs/"), ["refs/heads/main"]);
}

#[tokio::test]
async fn a_remote_that_denies_replacing_a_feature_branch_is_told_as_refusing() {
    let scene = Scene::new().await;
    scene.sandbox.git(&["config", "receive.denyNonFastForwards", "true"]);
    let persons = scene.sandbox.person_commits("feature/TODO-3", "theirs", "x\n");

    let published = scene.publish(&scene.feature(Some(&persons))).await.unwrap();

    assert!(matches!(published, Published::BranchRefused(_)), "{published:?}");
    assert_eq!(scene.sandbox.tip("refs/heads/feature/TODO-3").as_deref(), Some(persons.as_str()));
}

#[tokio::test]
async fn a_feature_branch_is_made() {
    let scene = Scene::new().await;

    landed(scene.publish(&scene.feature(None)).await.unwrap());

    assert_eq!(scene.sandbox.tip("refs/heads/feature/TODO-3").as_deref(), Some(scene.work.as_str()));
    let survey = scene.machine.claims.survey().await.unwrap();
    assert_eq!(survey.features["TODO-3"].as_str(), scene.work.as_str());
    assert_eq!(survey.trunk.as_ref(), Some(&scene.base));
}

#[tokio::test]
async fn a_feature_branch_that_is_replaced_stays_reachable() {
    let scene = Scene::new().await;
    let persons = scene.sandbox.person_commits("feature/TODO-3", "theirs", "x\n");

    landed(scene.publish(&scene.feature(Some(&persons))).await.unwrap());

    assert_eq!(scene.sandbox.tip("refs/heads/feature/TODO-3").as_deref(), Some(scene.work.as_str()));
    let kept = format!("refs/acf/replaced/TODO-3/{persons}");
    assert_eq!(scene.sandbox.tip(&kept).as_deref(), Some(persons.as_str()));
}

#[tokio::test]
async fn a_feature_branch_that_moved_since_it_was_seen_is_left_alone() {
    let scene = Scene::new().await;
    let seen = scene.sandbox.person_commits("feature/TODO-3", "theirs", "x\n");
    let now = scene.sandbox.person_commits("feature/TODO-3", "theirs", "y\n");

    for landing in [scene.feature(Some(&seen)), scene.feature(None)] {
        let published = scene.publish(&landing).await.unwrap();

        assert!(matches!(published, Published::BranchMoved), "{published:?}");
        assert_eq!(scene.sandbox.tip("refs/heads/feature/TODO-3").as_deref(), Some(now.as_str()));
        assert_eq!(scene.sandbox.tip(CLAIM).as_deref(), Some(scene.held.version.as_str()));
    }
}

#[tokio::test]
async fn a_feature_branch_that_was_deleted_since_it_was_seen_counts_as_moved() {
    let scene = Scene::new().await;
    let seen = scene.sandbox.person_commits("feature/TODO-3", "theirs", "x\n");
    scene.sandbox.git(&["update-ref", "-d", "refs/heads/feature/TODO-3"]);
    scene.sandbox.git(&["prune", "--expire=now"]);

    let published = scene.publish(&scene.feature(Some(&seen))).await.unwrap();

    assert!(matches!(published, Published::BranchMoved), "{published:?}");
    scene.assert_nothing_has_happened();
}
