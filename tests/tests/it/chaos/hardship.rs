//! Full disks and vanished remotes: a run fails with its reason or waits, and the work is done later.

use std::fs;
use std::process::{Command, Stdio};

use acf_core::issue::Stage;
use acf_core::progress::{Step, What};
use acf_core::run::Outcome;
use acf_tests::chaos::{Backlog, Fleet, Ground};
use acf_tests::sandbox::binary;

use super::{SHORT_TTL, assert_all_is_well};

/// Lets a worker in straits meet the issue, and then one with all it needs.
#[track_caller]
fn is_survived(ground: &Ground, straits: Command, reason: &str) {
    let mut fleet = Fleet::on(ground);
    let poor = fleet.hire_as(straits, Stage::Implementation, &["--exit-when-idle"]);
    fleet.await_end();
    let log = fleet.log_tail(&poor);
    let todo = ground.todo_text();
    assert!(log.contains(reason) || todo.contains(reason), "no word of `{reason}`:\n{log}\n{todo}");
    assert!(todo.contains("- [ ] Do thing"), "it is not given back:\n{todo}");
    assert!(todo.contains("  - Note: acf gave this back: "), "nobody says why:\n{todo}");

    fleet.hire(Stage::Implementation, &[]);
    fleet.await_word(
        |what| matches!(what, What::Ended { record } if matches!(record.outcome, Outcome::Landed { .. })),
    );
    fleet.dismiss();
    assert_all_is_well(ground, &fleet, "with room again");
}

/// A shell that does something to itself first, and then becomes what its arguments say.
fn shell(ground: &Ground, first: &str) -> Command {
    let mut shell = ground.command("sh");
    shell.args(["-c", &format!("{first} && exec \"$0\" \"$@\"")]).arg(binary("acf"));
    shell
}

/// A file of random bytes fits exactly; the object that git makes of it does not. Every machine can do
/// that, while a file system of its own takes rights that not every one gives.
#[test]
fn a_worker_that_may_not_write_large_files_says_so_and_another_one_lands_the_work() {
    let text = "@sh head -c 512000 /dev/urandom > large\n@write f/1.txt Right.";
    let ground = Ground::new(Backlog::described(&[text])).told(&[SHORT_TTL]);
    let straits = shell(&ground, "ulimit -f 1000");
    is_survived(&ground, straits, "`git add` failed");
}

/// Where the machine lets nobody mount a file system, this shows only that it asks: the test above then
/// stands for it.
#[test]
fn chaos_of_a_full_disk_is_told_and_another_worker_lands_the_work_where_mounting_is_allowed() {
    let text = "@sh head -c 3000000 /dev/urandom > large\n@write f/1.txt Right.";
    let ground = Ground::new(Backlog::described(&[text])).told(&[SHORT_TTL]);
    let work_dir = ground.settings["LOOP_WORK_DIR"].clone();
    fs::create_dir(&work_dir).unwrap();
    let mount = format!("mount -t tmpfs -o size=4m tmpfs '{work_dir}'");
    let mut trial = ground.command("unshare");
    trial.args(["--mount", "--map-root-user", "sh", "-c", &mount]).stderr(Stdio::piped());
    let trial = trial.output().unwrap();
    if !trial.status.success() {
        println!("no file system can be mounted here: {}", String::from_utf8_lossy(&trial.stderr));
        return;
    }
    let mut straits = ground.command("unshare");
    straits.args(["--mount", "--map-root-user", "sh", "-c", &format!("{mount} && exec \"$0\" \"$@\"")]);
    straits.arg(binary("acf"));
    is_survived(&ground, straits, "No space left on device");
}

#[test]
fn a_disk_that_is_too_full_for_events_costs_the_watchers_their_view_and_not_the_work() {
    let ground = Ground::new(Backlog::described(&["@write f/1.txt Right."]));
    let mut full = ground.acf();
    full.env("ACF_EVENTS_FILE", "/dev/full").args(["worker", "--max-issues", "1"]);
    let output = full.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_all_is_well(&ground, &Fleet::on(&ground), "without events");
}

#[test]
fn a_remote_that_vanishes_for_a_while_is_waited_for() {
    let ground = Ground::new(Backlog::described(&["@sleep 0.3\n@write f/1.txt Right."]));
    let (here, away) = (ground.sandbox.remote(), ground.sandbox.root().join("away.git"));
    let mut fleet = Fleet::on(&ground);
    let worker = fleet.hire(Stage::Implementation, &[]);

    fleet.await_word(|what| matches!(what, What::Step { step: Step::Agent, .. }));
    fs::rename(&here, &away).unwrap();
    fleet.await_log(&worker, "cannot push yet; trying again");
    fs::rename(&away, &here).unwrap();
    fleet.await_word(
        |what| matches!(what, What::Ended { record } if matches!(record.outcome, Outcome::Landed { .. })),
    );

    fs::rename(&here, &away).unwrap();
    fleet.await_log(&worker, "cannot reach the remote");
    fs::rename(&away, &here).unwrap();
    fleet.await_word(|what| matches!(what, What::Idle { .. }));
    fleet.dismiss();
    assert_all_is_well(&ground, &fleet, "after the remote came back");
}
