//! Pushes that end without an answer: what the remote then shows decides, not the error.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use acf_core::claim::{ClaimError, ClaimStore as _, Held, Landing, Published, Survey, Wip};
use acf_core::run::CommitId;
use acf_tests::claims::{Machine, at, claim, failed, on_trunk, outbox};
use acf_tests::git_http::GitHttp;
use acf_tests::sandbox::Sandbox;

const CLAIM: &str = "refs/acf/claims/TODO-3";

/// The time limit of git commands that a hook is to exceed.
const SHORT: Duration = Duration::from_millis(1500);

/// When the connection ends, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// The server dies before it changes anything.
    DiesBefore,
    /// The server dies when it has changed everything, before it can say so.
    DiesAfter,
    /// The server takes too long, and then has not changed anything.
    HangsBefore,
    /// The server takes too long, having changed everything.
    HangsAfter,
}

const CUTS: [Cut; 4] = [Cut::DiesBefore, Cut::DiesAfter, Cut::HangsBefore, Cut::HangsAfter];

impl Cut {
    fn has_happened(self) -> bool {
        matches!(self, Self::DiesAfter | Self::HangsAfter)
    }

    /// Makes the next push end so, and only that one.
    fn arm(self, sandbox: &Sandbox) {
        let end = match self {
            Self::DiesBefore | Self::DiesAfter => "kill -9 $PPID",
            Self::HangsBefore | Self::HangsAfter => "exec sleep 30 8>&-",
        };
        if self.has_happened() {
            let script = format!("test \"$1\" = committed && ln -s x cut 2>/dev/null && {end}\nexit 0");
            sandbox.hook("reference-transaction", &script);
        } else {
            sandbox.hook("pre-receive", &format!("ln -s x cut 2>/dev/null && {end}\nexit 0"));
        }
    }
}

struct Scene {
    sandbox: Sandbox,
    machine: Machine,
    base: CommitId,
    landing: Landing,
}

impl Scene {
    async fn new(cut: Cut) -> (Self, Held) {
        let sandbox = Sandbox::builder().build();
        let patient = Machine::on(&sandbox, "a").open().await;
        let base = patient.trunk().await;
        let landing = on_trunk(&patient.work(&sandbox, &base, "hello", "world\n"));
        let held = patient.take("TODO-3", "w1").await.expect("take a claim");
        let is_hang = matches!(cut, Cut::HangsBefore | Cut::HangsAfter);
        let machine = if is_hang { Machine::on(&sandbox, "a").timeout(SHORT).open().await } else { patient };
        cut.arm(&sandbox);
        (Self { sandbox, machine, base, landing }, held)
    }

    async fn publish(&self, held: &Held) -> Result<Published, ClaimError> {
        let next = outbox(&held.claim, &self.landing);
        self.machine.claims.publish(held, next, &self.landing).await
    }

    #[track_caller]
    fn assert_claim_is(&self, held: &Held) {
        assert_eq!(self.sandbox.tip(CLAIM).as_deref(), Some(held.version.as_str()));
    }
}

#[track_caller]
fn assert_unreachable<T: std::fmt::Debug>(cut: Cut, result: &Result<T, ClaimError>) {
    assert!(matches!(result, Err(ClaimError::Unreachable(_))), "{cut:?}: {result:?}");
}

#[tokio::test]
async fn a_take_that_was_cut_off_holds_if_it_has_happened() {
    for cut in CUTS {
        let (scene, _) = Scene::new(cut).await;

        let taken = scene.machine.claims.take(claim("TODO-4", "w1"), None, &Survey::default()).await;

        let name = "refs/acf/claims/TODO-4";
        if cut.has_happened() {
            assert_eq!(scene.sandbox.tip(name).as_deref(), Some(taken.unwrap().version.as_str()), "{cut:?}");
        } else {
            assert_unreachable(cut, &taken);
            assert_eq!(scene.sandbox.tip(name), None, "{cut:?}");
        }
    }
}

#[tokio::test]
async fn a_renewal_that_was_cut_off_holds_if_it_has_happened_and_can_be_repeated() {
    for cut in CUTS {
        let (scene, held) = Scene::new(cut).await;

        let renewed = scene.machine.claims.renew(&held, at(10), None).await;

        let now = if cut.has_happened() {
            renewed.unwrap()
        } else {
            assert_unreachable(cut, &renewed);
            scene.assert_claim_is(&held);
            scene.machine.claims.renew(&held, at(20), None).await.unwrap()
        };
        scene.assert_claim_is(&now);
    }
}

#[tokio::test]
async fn a_publish_that_was_cut_off_has_landed_or_can_be_repeated() {
    for cut in CUTS {
        let (scene, held) = Scene::new(cut).await;

        let published = scene.publish(&held).await;

        let published = if cut.has_happened() {
            published
        } else {
            assert_unreachable(cut, &published);
            assert_eq!(scene.sandbox.tip("refs/heads/main").as_deref(), Some(scene.base.as_str()));
            scene.assert_claim_is(&held);
            scene.publish(&held).await
        };
        let Ok(Published::Landed(now)) = published else { panic!("{cut:?}: {published:?}") };
        assert_eq!(scene.sandbox.tip("refs/heads/main").as_deref(), Some(scene.landing.commit.as_str()));
        scene.assert_claim_is(&now);
    }
}

#[tokio::test]
async fn a_release_that_was_cut_off_is_over_or_can_be_repeated() {
    for cut in CUTS {
        let (scene, held) = Scene::new(cut).await;
        let ended = failed(&held.claim, "the gate failed");

        let released = scene.machine.claims.release(&held, Some(&ended), &Wip::Keep).await;

        if cut.has_happened() {
            released.unwrap();
        } else {
            assert_unreachable(cut, &released);
            scene.machine.claims.release(&held, Some(&ended), &Wip::Keep).await.unwrap();
        }
        assert_eq!(scene.sandbox.refs("refs/acf/"), ["refs/acf/runs/TODO-3"]);
        let survey = scene.machine.claims.survey().await.unwrap();
        let runs = scene.machine.claims.read_runs(&survey.runs).await.unwrap();
        assert_eq!(runs["TODO-3"], [ended], "{cut:?}");
    }
}

/// A change that nobody has heard of, not even by looking: it comes through after that.
async fn renew_so_that_it_comes_through_late(scene: &Scene, held: &Held) -> String {
    let log = scene.sandbox.remote().join("asked");
    scene.sandbox.hook("pre-receive", "cat > asked\nkill -9 $PPID");
    let renewed = scene.machine.claims.renew(held, at(10), None).await;
    assert!(matches!(renewed, Err(ClaimError::Unreachable(_))), "{renewed:?}");
    scene.sandbox.unhook("pre-receive");
    let asked = std::fs::read_to_string(log).expect("the push was asked for");
    let late = asked.split(' ').nth(1).expect("a line of the hook has three fields").to_owned();
    let push = format!("+{late}:{CLAIM}");
    let url = scene.sandbox.remote_url();
    scene.sandbox.git_in(scene.machine.mirror.path(), &["push", "--quiet", &url, &push]);
    late
}

#[tokio::test]
async fn a_renewal_that_came_through_late_is_not_taken_for_another_workers() {
    let (scene, held) = Scene::new(Cut::DiesBefore).await;
    let late = renew_so_that_it_comes_through_late(&scene, &held).await;
    assert_eq!(scene.sandbox.tip(CLAIM), Some(late));

    let published = scene.publish(&held).await.unwrap();

    assert!(matches!(published, Published::Landed(_)), "{published:?}");
}

#[tokio::test]
async fn a_claim_that_was_taken_over_after_a_cut_off_renewal_is_lost() {
    let (scene, held) = Scene::new(Cut::DiesBefore).await;
    let renewed = scene.machine.claims.renew(&held, at(10), None).await;
    assert_unreachable(Cut::DiesBefore, &renewed);
    Machine::on(&scene.sandbox, "b").open().await.take_over("TODO-3", "w2").await.unwrap();

    let published = scene.publish(&held).await;

    assert!(matches!(published, Err(ClaimError::Lost)), "{published:?}");
    assert_eq!(scene.sandbox.tip("refs/heads/main").as_deref(), Some(scene.base.as_str()));
}

#[tokio::test]
async fn a_push_over_http_that_was_cut_off_is_decided_by_the_remote() {
    let sandbox = Sandbox::builder().build();
    let server = GitHttp::start(sandbox.root(), "worker", "secret");
    let machine = Machine::on(&sandbox, "a").url(server.url("remote.git"));
    let machine = machine.credentials("worker", "secret").open().await;
    let base = machine.trunk().await;
    let landing = on_trunk(&machine.work(&sandbox, &base, "hello", "world\n"));
    let held = machine.take("TODO-3", "w1").await.unwrap();

    Cut::DiesBefore.arm(&sandbox);
    let renewed = machine.claims.renew(&held, at(10), None).await;
    assert!(matches!(renewed, Err(ClaimError::Unreachable(_))), "{renewed:?}");
    std::fs::remove_file(sandbox.remote().join("cut")).unwrap();

    Cut::DiesAfter.arm(&sandbox);
    sandbox.unhook("pre-receive");
    let next = outbox(&held.claim, &landing);
    let published = machine.claims.publish(&held, next, &landing).await.unwrap();
    assert!(matches!(published, Published::Landed(_)), "{published:?}");
    assert_eq!(sandbox.tip("refs/heads/main").as_deref(), Some(landing.commit.as_str()));
}

/// Makes the next push hang while the refs are locked. The first file returned is a pipe that it has
/// open from then on, the second one is locked until the last process of that push has ended.
fn hang_with_locks(sandbox: &Sandbox) -> (PathBuf, PathBuf) {
    let [begun, witness] = ["begun", "witness"].map(|name| sandbox.root().join(name));
    assert!(sandbox.command("mkfifo").arg(&begun).status().expect("run mkfifo").success());
    let script = format!(
        "test \"$1\" = prepared || exit 0\nln -s x cut 2>/dev/null || exit 0\n\
         exec 9>'{}'\nflock 9\nexec 8<>'{}'\nsleep 20",
        witness.display(),
        begun.display()
    );
    sandbox.hook("reference-transaction", &script);
    (begun, witness)
}

async fn assert_ends(witness: PathBuf) {
    let witness = File::open(witness).expect("the hook has begun");
    let ended = tokio::task::spawn_blocking(move || witness.lock());
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .expect("it goes on")
        .expect("lock")
        .expect("lock");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_all_that_it_started_and_leaves_no_locks() {
    let sandbox = Sandbox::builder().build();
    let machine = Machine::on(&sandbox, "a").timeout(SHORT).open().await;
    let held = machine.take("TODO-3", "w1").await.unwrap();
    let (_, witness) = hang_with_locks(&sandbox);

    let renewed = machine.claims.renew(&held, at(10), None).await;

    assert_unreachable(Cut::HangsBefore, &renewed);
    assert_ends(witness).await;
    machine.claims.renew(&held, at(20), None).await.unwrap();
}

#[tokio::test]
async fn a_command_that_nobody_waits_for_any_more_is_ended_too() {
    let sandbox = Sandbox::builder().build();
    let machine = Machine::on(&sandbox, "a").open().await;
    let held = machine.take("TODO-3", "w1").await.unwrap();
    let (begun, witness) = hang_with_locks(&sandbox);
    // A pipe opens when both ends are.
    let has_begun = tokio::task::spawn_blocking(move || File::open(begun));

    tokio::select! {
        renewed = machine.claims.renew(&held, at(10), None) => panic!("{renewed:?}"),
        begun = has_begun => drop(begun.unwrap().unwrap()),
    }

    assert_ends(witness).await;
    machine.claims.renew(&held, at(20), None).await.unwrap();
}
