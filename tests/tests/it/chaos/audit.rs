//! The audit itself: what it is to find, it finds.

use std::fs;

use acf_core::issue::Stage;
use acf_tests::chaos::{Backlog, Fleet, Ground, audit};

use super::assert_all_is_well;

#[test]
fn every_kind_of_chaos_is_found_by_the_audit() {
    let ground = Ground::new(Backlog::described(&["@write f/1.txt Right.", "@write f/2.txt Right."]));
    let mut fleet = Fleet::on(&ground);
    fleet.hire(Stage::Implementation, &["--exit-when-idle"]);
    fleet.await_end();
    assert_all_is_well(&ground, &fleet, "before");
    let (sandbox, todo) = (&ground.sandbox, ground.todo_text());
    let note = todo.lines().find(|line| line.starts_with("  - Note: acf ")).unwrap();

    for (from, to, finding) in [
        (note, format!("{note}\n{note}"), "TODO-1: there are records of the runs"),
        (note, "  @write f/1.txt Right.".to_owned(), "the TODO file was changed"),
        ("- [x] Do thing number 2", "- [ ] Do thing number 2".to_owned(), "TODO-2: it ended as \"- [ ]"),
        ("# What is", "# What  is".to_owned(), "the TODO file was changed"),
    ] {
        fs::write(sandbox.todo(), todo.replacen(from, &to, 1)).unwrap();
        assert_finds(&ground, finding);
        fs::write(sandbox.todo(), &todo).unwrap();
    }

    let main = sandbox.git(&["rev-parse", "main"]);
    let wip = runs_of(&ground, "TODO-1").replace("/runs/", "/wip/");
    for (name, commit, finding) in [
        ("refs/acf/claims/TODO-1", main.clone(), "refs/acf/claims/TODO-1 is left"),
        (&*wip, main.clone(), "TODO-1: it is done, and yet unfinished work"),
        ("refs/heads/main", format!("{main}~1"), "TODO-2: the trunk holds []"),
        ("refs/heads/main", landed_again(&ground, &main), "TODO-2: the trunk holds [("),
    ] {
        let before = sandbox.git_output(&sandbox.remote(), &["rev-parse", "--verify", "--quiet", name]);
        sandbox.git(&["update-ref", name, &commit]);
        assert_finds(&ground, finding);
        match String::from_utf8(before.stdout).unwrap().trim() {
            "" => sandbox.git(&["update-ref", "-d", name]),
            before => sandbox.git(&["update-ref", name, before]),
        };
    }
    assert_all_is_well(&ground, &fleet, "after");
}

#[track_caller]
fn assert_finds(ground: &Ground, finding: &str) {
    let wrong = audit(ground);
    assert!(wrong.iter().any(|problem| problem.starts_with(finding)), "`{finding}` is not in {wrong:#?}");
}

/// Returns the ref of an issue's run records.
fn runs_of(ground: &Ground, key: &str) -> String {
    let runs = ground.sandbox.refs("refs/acf/runs/");
    let is_of_it = |name: &String| ground.sandbox.git(&["log", "-1", "--format=%B", name]).contains(key);
    runs.into_iter().find(is_of_it).expect("the issue has run")
}

/// Makes a commit that says the same as the last one, on top of it.
fn landed_again(ground: &Ground, main: &str) -> String {
    let message = ground.sandbox.git(&["log", "-1", "--format=%B", main]);
    let tree = format!("{main}^{{tree}}");
    ground.sandbox.git(&["commit-tree", &tree, "-p", main, "-m", &message])
}
