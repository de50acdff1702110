//! Mirrors: shared by processes, cut off at any point, and following a remote that rewrites history.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use acf_core::claim::ClaimStore as _;
use acf_core::run::CommitId;
use acf_tests::claims::{Machine, at};
use acf_tests::sandbox::Sandbox;
use futures_util::future::join_all;

/// A machine that has been used: it has the trunk.
async fn used(sandbox: &Sandbox) -> (Machine, CommitId) {
    let machine = Machine::on(sandbox, "a").open().await;
    let trunk = machine.trunk().await;
    (machine, trunk)
}

/// Shows that a new process on the same disk can do all its work.
async fn assert_works(sandbox: &Sandbox) {
    let machine = Machine::on(sandbox, "a").open().await;
    let trunk = machine.trunk().await;
    let checkout = machine.checkout("TODO-3", "r1", &trunk).await;
    assert!(checkout.tree().join("README.md").is_file());
    let held = machine.take("TODO-3", "w1").await.expect("take a claim");
    let held = machine.claims.renew(&held, at(10), Some(&trunk)).await.expect("renew it");
    machine.claims.release(&held, None, &acf_core::claim::Wip::Drop).await.expect("release it");
}

fn object_file(mirror: &Path, object: &str) -> PathBuf {
    mirror.join("objects").join(&object[..2]).join(&object[2..])
}

#[tokio::test]
async fn processes_that_open_a_new_mirror_at_once_share_it() {
    let sandbox = Sandbox::builder().build();
    let machines = join_all((0..8).map(|_| Machine::on(&sandbox, "a").open())).await;

    let trunks = join_all(machines.iter().map(Machine::trunk)).await;
    join_all(machines.iter().enumerate().map(async |(number, machine)| {
        machine.take(&format!("TODO-{number}"), "w").await.unwrap();
    }))
    .await;

    assert!(trunks.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(sandbox.refs("refs/acf/claims/").len(), 8);
    let entries = fs::read_dir(machines[0].work_dir.join("mirrors")).unwrap();
    assert_eq!(entries.count(), 2, "the mirror and its lock");
}

#[tokio::test]
async fn workers_of_one_machine_take_turns_at_the_trunk() {
    let sandbox = Sandbox::builder().build();
    let [one, two] = [Machine::on(&sandbox, "a").open().await, Machine::on(&sandbox, "a").open().await];
    let lock =
        File::options().create(true).append(true).open(one.mirror.path().with_extension("turn")).unwrap();

    let turn = one.claims.turn().await;
    assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    drop(turn);
    let turn = two.claims.turn().await;
    assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    drop(turn);
    lock.try_lock().unwrap();
}

#[tokio::test]
async fn a_mirror_whose_making_was_cut_off_is_made_anew() {
    let sandbox = Sandbox::builder().build();
    let (machine, _) = used(&sandbox).await;
    let path = machine.mirror.path().to_owned();
    fs::rename(&path, path.with_extension("making")).unwrap();
    fs::remove_file(path.with_extension("making").join("HEAD")).unwrap();

    assert_works(&sandbox).await;
    assert!(!path.with_extension("making").exists());
}

#[tokio::test]
async fn a_mirror_that_lacks_parts_is_completed() {
    for part in ["HEAD", "config", "refs", "objects"] {
        let sandbox = Sandbox::builder().build();
        let (machine, _) = used(&sandbox).await;
        let path = machine.mirror.path().join(part);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }

        assert_works(&sandbox).await;
    }
}

#[tokio::test]
async fn a_mirror_path_that_is_no_directory_is_told() {
    let sandbox = Sandbox::builder().build();
    let builder = Machine::on(&sandbox, "a");
    fs::write(builder.work_dir(), "a file").unwrap();

    let error = builder.try_open().await.unwrap_err();

    assert!(error.to_string().contains("/a/mirrors/"), "{error}");
}

#[tokio::test]
async fn a_fetch_that_was_cut_off_halfway_is_repeated() {
    let sandbox = Sandbox::builder().build();
    let (machine, trunk) = used(&sandbox).await;
    let tree = sandbox.git(&["rev-parse", &format!("{trunk}^{{tree}}")]);
    let path = machine.mirror.path();
    // git writes the commit before the tree, and the ref last.
    fs::remove_file(object_file(path, &tree)).unwrap();
    sandbox.git_in(path, &["update-ref", "-d", "refs/remotes/origin/main"]);
    assert!(object_file(path, trunk.as_str()).exists());

    assert_works(&sandbox).await;
}

#[tokio::test]
async fn a_lock_that_a_killed_fetch_left_does_not_stop_the_next() {
    let sandbox = Sandbox::builder().build();
    let (machine, _) = used(&sandbox).await;
    fs::write(machine.mirror.path().join("refs/remotes/origin/main.lock"), "").unwrap();
    sandbox.person_commits("main", "more", "x\n");

    assert_works(&sandbox).await;
}

#[tokio::test]
async fn a_commit_that_is_here_is_not_fetched_again() {
    let sandbox = Sandbox::builder().build();
    let (_, trunk) = used(&sandbox).await;
    let again = Machine::on(&sandbox, "a").open().await;
    fs::rename(sandbox.remote(), sandbox.root().join("away")).unwrap();

    again.mirror.have(&trunk, "main").await.unwrap();

    let processes = || again.mirror.git().counts().processes();
    let so_far = processes();
    again.mirror.have(&trunk, "main").await.unwrap();
    assert_eq!(processes(), so_far, "what is known to be here is not even looked for");
}

#[tokio::test]
async fn a_trunk_that_was_rewritten_is_followed() {
    let sandbox = Sandbox::builder().build();
    let (machine, old) = used(&sandbox).await;
    let new = sandbox.person_rewrites("main", "README.md", "# Rewritten\n");

    assert_eq!(machine.trunk().await, new);
    assert_ne!(new, old);
    assert_works(&sandbox).await;
    let checkout = machine.checkout("TODO-3", "r2", &new).await;
    assert_eq!(fs::read_to_string(checkout.tree().join("README.md")).unwrap(), "# Rewritten\n");
}

#[tokio::test]
async fn the_users_git_configuration_changes_nothing() {
    let sandbox = Sandbox::builder().build();
    let config = "[init]\n\tdefaultRefFormat = reftable\n\tdefaultObjectFormat = sha256\n\
                  [push]\n\tgpgSign = true\n[core]\n\tlogAllRefUpdates = always\n\
                  [i18n]\n\tlogOutputEncoding = UTF-16\n[log]\n\tshowSignature = true\n\
                  [fetch]\n\tprune = true\n[remote]\n\tpushDefault = nowhere\n";
    fs::write(sandbox.home().join(".gitconfig"), config).unwrap();

    assert_works(&sandbox).await;
    let machine = Machine::on(&sandbox, "b").open().await;
    let held = machine.take("TODO-9", "w1").await.unwrap();
    let reader = Machine::on(&sandbox, "c").open().await;
    let survey = reader.claims.survey().await.unwrap();
    assert_eq!(reader.claims.read_claims(&survey.claims).await.unwrap()[&held.version], held.claim);
}

#[tokio::test]
async fn tidying_packs_the_mirror_and_keeps_all_that_is_needed() {
    let sandbox = Sandbox::builder().build();
    let (machine, _) = used(&sandbox).await;

    machine.mirror.tidy().await.unwrap();

    assert_works(&sandbox).await;
}
