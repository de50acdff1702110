//! `acf demo`: the whole factory in a sandbox that it makes, and removes however it ends.

use std::fs;
use std::path::PathBuf;

use acf_tests::factory::{Factory, Running};
use rustix::process::Signal;

/// A home to have demos in; the factory itself is not needed.
fn home() -> Factory {
    Factory::with_todo("")
}

fn sandboxes(home: &Factory) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.sandbox().home().join(".cache/acf")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("TODO.md").exists()).collect()
}

/// Starts a demo that is far from its end, and waits until its workers are at work.
fn demo_at_work(home: &Factory, args: &[&str]) -> Running {
    let mut demo = home.start_acf("demo", &[&["demo", "--issues", "200", "--workers", "2"], args].concat());
    demo.says("● agent");
    assert_eq!(sandboxes(home).len(), 1);
    demo
}

#[test]
fn it_ends_with_what_was_done_and_leaves_nothing() {
    let home = home();
    let told = home.acf(&["demo", "--json"]).done();
    let figures = told.json();
    for (name, figure) in [("issues", 6), ("done", 4), ("failed", 1), ("blocked", 0)] {
        assert_eq!(figures[name], figure, "{name} in {figures}");
    }
    assert_eq!((&figures["duplicate_claims"], &figures["duplicate_commits"]), (&0.into(), &0.into()));
    assert!(figures["wall_ms"].as_u64() > Some(0) && figures["overhead_ms_per_issue"].as_f64() > Some(0.0));
    for shown in ["? awaiting review", "⟳ agent, fix round 1", "the agent changed nothing"] {
        assert!(told.stderr.contains(shown), "{shown:?} is not in:\n{}", told.stderr);
    }
    assert_eq!(sandboxes(&home), Vec::<PathBuf>::new());
    assert_eq!(home.left_running(), Vec::<String>::new());
}

#[test]
fn one_that_is_kept_can_be_looked_at() {
    let home = home();
    let told = home.acf(&["demo", "--keep", "--issues", "2"]).done();
    assert!(told.stdout.contains("2 of 2 done"), "{}", told.stdout);
    let [sandbox] = &sandboxes(&home)[..] else { panic!("{:?}", sandboxes(&home)) };
    home.acf(&["demo", "--issues", "1"]).done();
    let runs = home.acf(&["runs", "--sandbox", sandbox.to_str().unwrap(), "--json"]).done().json();
    assert_eq!(runs.as_array().map(Vec::len), Some(2), "later demos leave it alone");
}

#[test]
fn a_place_for_the_sandbox_is_all_that_it_needs() {
    let home = home();
    let run = |name: &str, value: &std::path::Path| {
        let mut acf = home.command("acf");
        acf.args(["demo", "--issues", "1", "--json"]).env_remove("HOME").env(name, value);
        acf.output().unwrap()
    };
    let told = run("XDG_CACHE_HOME", &home.sandbox().root().join("cache"));
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told = run("XDG_STATE_HOME", home.sandbox().root());
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("hint: set HOME, or XDG_CACHE_HOME"), "{told}");
}

#[test]
fn it_does_not_depend_on_how_a_person_has_set_up_git() {
    let home = home();
    let config = "[commit]\ngpgsign = true\n[gpg]\nprogram = false\n[core]\nhooksPath = /nowhere\n\
                  [init]\ntemplateDir = /nowhere\n[protocol]\nallow = never\n[log]\nshowSignature = true\n";
    fs::write(home.sandbox().home().join(".gitconfig"), config).unwrap();

    let told = home.acf(&["demo", "--keep", "--issues", "2"]).done();

    assert!(told.stdout.contains("2 of 2 done"), "{}", told.stdout);
    let [sandbox] = &sandboxes(&home)[..] else { panic!("{:?}", sandboxes(&home)) };
    let runs = home.acf(&["runs", "--sandbox", sandbox.to_str().unwrap(), "--json"]).done().json();
    assert_eq!(runs.as_array().map(Vec::len), Some(2));
}

#[test]
fn one_that_is_interrupted_ends_its_workers_and_removes_its_sandbox() {
    for signal in [Signal::INT, Signal::TERM] {
        let home = home();
        let demo = demo_at_work(&home, &[]);
        demo.signal(signal);
        let told = demo.ended();
        assert_eq!(told.code, Some(130), "{}", told.stderr);
        assert!(told.stderr.contains("interrupted; the sandbox is removed"), "{}", told.stderr);
        assert_eq!(sandboxes(&home), Vec::<PathBuf>::new());
        assert_eq!(home.left_running(), Vec::<String>::new());
    }
}

#[test]
fn what_a_killed_one_leaves_is_cleared_up_by_the_next() {
    let home = home();
    let demo = demo_at_work(&home, &[]);
    demo.signal(Signal::KILL);
    demo.ended();
    let left = sandboxes(&home);
    assert_eq!(left.len(), 1);
    home.acf(&["demo", "--issues", "1"]).done();
    assert!(!left[0].exists(), "{left:?}");
    assert_eq!(home.left_running(), Vec::<String>::new());
}

#[test]
fn the_sandbox_of_one_that_lives_is_left_alone() {
    let home = home();
    let demo = demo_at_work(&home, &[]);
    home.acf(&["demo", "--issues", "1"]).done();
    assert_eq!(sandboxes(&home).len(), 1);
    demo.signal(Signal::INT);
    assert_eq!(demo.ended().code, Some(130));
}
