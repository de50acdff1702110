//! What a worker finds out about its remote before it takes any issue.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use acf_core::claim::{ClaimStore as _, Published, Survey, Version, Wip};
use acf_core::run::WorkerId;
use acf_tests::claims::{Machine, PREFIX, at, claim, failed, on_trunk, outbox};
use acf_tests::sandbox::Sandbox;
use acf_worker::git::Git;
use acf_worker::git::probe::{self, ProbeError};

const BRANCHES: &str = "refs/heads/acf/";

async fn probed(machine: &Machine, prefix: &str) -> Result<(), ProbeError> {
    probe::claims(&machine.mirror, prefix, &WorkerId::new("w1"), at(0)).await
}

#[tokio::test]
async fn a_plain_remote_will_do_and_nothing_is_left_on_it() {
    let sandbox = Sandbox::builder().build();
    let machine = Machine::on(&sandbox, "a").open().await;

    probe::git_version(machine.mirror.git()).await.unwrap();
    probed(&machine, PREFIX).await.unwrap();

    assert_eq!(sandbox.refs("refs/"), ["refs/heads/main"]);
}

#[tokio::test]
async fn a_remote_is_probed_once_a_day_and_for_each_prefix() {
    let sandbox = Sandbox::builder().build();
    let machine = Machine::on(&sandbox, "a").open().await;
    let pushes = || machine.mirror.git().counts().pushes();
    probed(&machine, PREFIX).await.unwrap();
    let after_first = pushes();
    assert!(after_first > 0);

    probed(&machine, PREFIX).await.unwrap();
    assert_eq!(pushes(), after_first);
    probed(&machine, BRANCHES).await.unwrap();
    assert!(pushes() > after_first);

    let after_second = pushes();
    let later = async |secs| {
        probe::claims(&machine.mirror, BRANCHES, &WorkerId::new("w1"), at(secs)).await.unwrap();
        pushes()
    };
    let day_secs = 24 * 60 * 60;
    assert_eq!(later(day_secs - 1).await, after_second);
    assert!(later(day_secs).await > after_second);
}

#[tokio::test]
async fn a_git_that_is_too_old_or_not_there_is_told_before_anything_is_done_with_it() {
    let sandbox = Sandbox::builder().build();
    let version_of = async |answer: Option<&str>| {
        let bin = sandbox.root().join("bin");
        fs::create_dir_all(&bin).unwrap();
        if let Some(answer) = answer {
            fs::write(bin.join("git"), format!("#!/bin/sh\necho 'git version {answer}'\n")).unwrap();
            fs::set_permissions(bin.join("git"), Permissions::from_mode(0o755)).unwrap();
        }
        let environment = [("PATH".to_owned(), bin.to_str().unwrap().to_owned())].into();
        probe::git_version(&Git::new(environment, Duration::from_secs(60))).await
    };

    let none = version_of(None).await;
    assert!(matches!(none, Err(ProbeError::NoGit(_))), "{none:?}");
    let old = version_of(Some("2.37.9")).await.unwrap_err();
    assert_eq!(old.to_string(), "git 2.37.9 is too old; acf needs 2.38 or newer");
    version_of(Some("2.38.0")).await.unwrap();
    version_of(Some("3.0.1")).await.unwrap();
}

#[tokio::test]
async fn a_remote_without_atomic_pushes_is_told_as_such() {
    let sandbox = Sandbox::builder().build();
    sandbox.git(&["config", "receive.advertiseAtomic", "false"]);
    let machine = Machine::on(&sandbox, "a").open().await;

    let result = probed(&machine, PREFIX).await;

    assert!(matches!(result, Err(ProbeError::NotAtomic(_))), "{result:?}");
    assert_eq!(sandbox.refs("refs/"), ["refs/heads/main"]);
}

#[tokio::test]
async fn a_remote_that_refuses_or_hides_the_prefix_is_told_as_such() {
    for key in ["transfer.hideRefs", "receive.hideRefs", "uploadpack.hideRefs"] {
        let sandbox = Sandbox::builder().build();
        sandbox.git(&["config", key, "refs/acf"]);
        let machine = Machine::on(&sandbox, "a").open().await;

        let result = probed(&machine, PREFIX).await;

        let Err(ProbeError::RefusesPrefix { prefix, .. }) = &result else { panic!("{key}: {result:?}") };
        assert_eq!(prefix, PREFIX);
    }
}

#[tokio::test]
async fn a_hook_that_refuses_the_prefix_is_told_in_its_own_words() {
    let sandbox = Sandbox::builder().build();
    sandbox.hook("update", "case $1 in refs/acf/*) echo 'branches only' >&2; exit 1;; esac");
    let machine = Machine::on(&sandbox, "a").open().await;

    let result = probed(&machine, PREFIX).await;

    let Err(ProbeError::RefusesPrefix { cause, .. }) = &result else { panic!("{result:?}") };
    assert!(cause.0.contains("branches only"), "{cause}");
}

#[tokio::test]
async fn a_remote_that_lets_no_branch_be_rewritten_takes_no_claims_as_branches() {
    for key in ["receive.denyNonFastForwards", "receive.denyDeletes"] {
        let sandbox = Sandbox::builder().build();
        sandbox.git(&["config", key, "true"]);
        let machine = Machine::on(&sandbox, "a").open().await;

        let result = probed(&machine, BRANCHES).await;

        assert!(matches!(result, Err(ProbeError::RefusesPrefix { .. })), "{key}: {result:?}");
        probed(&machine, PREFIX).await.unwrap();
    }
}

#[tokio::test]
async fn a_host_that_takes_only_branches_is_served_end_to_end() {
    let sandbox = Sandbox::builder().build();
    sandbox.git(&["config", "transfer.hideRefs", "refs/acf"]);
    let machine = Machine::on(&sandbox, "a").prefix(BRANCHES).open().await;
    probed(&machine, BRANCHES).await.unwrap();
    let base = machine.trunk().await;
    let persons = sandbox.person_commits("feature/TODO-3", "theirs", "x\n");

    let held = machine.take("TODO-3", "w1").await.unwrap();
    let work = machine.work(&sandbox, &base, "hello", "world\n");
    let held = machine.claims.renew(&held, at(10), Some(&work)).await.unwrap();
    let landing = acf_core::claim::Landing {
        branch: "feature/TODO-3".into(),
        replaces: Some(Some(Version::new(persons.as_str()))),
        ..on_trunk(&work)
    };
    let published = machine.claims.publish(&held, outbox(&held.claim, &landing), &landing).await.unwrap();
    let Published::Landed(held) = published else { panic!("{published:?}") };
    let other = Machine::on(&sandbox, "b").prefix(BRANCHES).open().await;
    let seen = other.claims.survey().await.unwrap();
    assert_eq!(seen.claims["TODO-3"], held.version);
    assert_eq!(seen.wips["TODO-3"].as_str(), work.as_str());
    assert_eq!(seen.features.keys().collect::<Vec<_>>(), ["TODO-3"]);
    assert_eq!(other.claims.read_claims(&seen.claims).await.unwrap()[&held.version], held.claim);
    let ended = failed(&held.claim, "x");
    machine.claims.release(&held, Some(&ended), &Wip::Drop).await.unwrap();

    let seen = other.claims.survey().await.unwrap();
    assert_eq!(other.claims.read_runs(&seen.runs).await.unwrap()["TODO-3"], [ended]);
    let lost = other.claims.take(claim("TODO-3", "w2"), Some(&held.version), &Survey::default()).await;
    assert!(lost.is_err());
}

#[tokio::test]
async fn the_trunk_is_the_named_branch_or_the_remotes_default() {
    let sandbox = Sandbox::builder().build();
    sandbox.person_commits("develop", "x", "x\n");
    let machine = Machine::on(&sandbox, "a").open().await;

    assert_eq!(probe::trunk(&machine.mirror, None).await.unwrap(), "main");
    assert_eq!(probe::trunk(&machine.mirror, Some("develop")).await.unwrap(), "develop");
    let none = probe::trunk(&machine.mirror, Some("trunk")).await;
    assert!(matches!(&none, Err(ProbeError::NoTrunk { branch, .. }) if branch == "trunk"), "{none:?}");

    sandbox.git(&["update-ref", "-d", "refs/heads/main"]);
    let empty = probe::trunk(&machine.mirror, None).await;
    assert!(matches!(empty, Err(ProbeError::NoTrunk { .. })), "{empty:?}");
}

#[tokio::test]
async fn a_remote_that_is_not_there_is_told_with_its_address() {
    let sandbox = Sandbox::builder().build();
    let machine = Machine::on(&sandbox, "a").url("/nowhere/at/all.git").open().await;

    for error in
        [probe::trunk(&machine.mirror, None).await.unwrap_err(), probed(&machine, PREFIX).await.unwrap_err()]
    {
        let ProbeError::Remote { url, cause } = &error else { panic!("{error:?}") };
        assert_eq!(url, "/nowhere/at/all.git");
        assert!(matches!(cause, acf_core::claim::ClaimError::Unreachable(_)), "{cause:?}");
    }
}
