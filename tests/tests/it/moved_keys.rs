//! Lines inserted into a TODO file move the keys below; an issue's past moves with it.

use std::fs;

use acf_tests::factory::Factory;
use rustix::process::Signal;
use serde_json::Value;

/// An agent that takes its time at first, and finishes what it finds half done.
const HALF_FIRST: &str =
    "if [ -f half.txt ]; then echo whole > whole.txt; else echo half > half.txt; echo ready; sleep 60; fi";

/// A factory whose only issue has failed once.
fn failed_once() -> Factory {
    let factory =
        Factory::with_todo("- [ ] a\n").agent("echo half > half.txt; exit 3").with("MAX_ATTEMPTS", "2");
    factory.acf(&["worker", "--max-issues", "1"]).done();
    assert_eq!(factory.runs("TODO-1").len(), 1);
    factory
}

fn insert_in_front(factory: &Factory, line: &str) {
    let todo = factory.sandbox().todo_text();
    fs::write(factory.sandbox().todo(), format!("{line}\n{todo}")).expect("the TODO file can be written");
}

fn attempts(runs: &[Value]) -> Vec<(&str, u64)> {
    let attempt = |run: &Value| run["receipt"]["attempt"].as_u64().expect("attempts are counted");
    runs.iter().map(|run| (run["issue"].as_str().expect("runs name their issue"), attempt(run))).collect()
}

#[test]
fn a_run_stays_with_its_item_when_one_of_the_same_summary_is_inserted_above() {
    let waits = "echo \"$PWD\" > a-$$.txt; echo ready; while ! [ -e \"$GO\" ]; do sleep 0.02; done";
    let factory = Factory::with_todo("- [x] x\n- [ ] a\n  The first.\n").agent(waits);
    let go = factory.sandbox().root().join("go");
    let factory = factory.with("GO", go.to_str().unwrap()).with("ISSUE_RECHECK", "50ms");
    let mut worker = factory.start("w-1", &["--max-issues", "1"]);
    worker.says("agent: ready");
    insert_in_front(&factory, "- [ ] a\n  Inserted.");
    let said = factory.drain().done().stderr;
    assert!(said.contains("1 × blocked by TODO-3"), "nobody takes the other one meanwhile: {said}");
    fs::write(&go, "").unwrap();
    worker.ended().done();

    let todo = factory.sandbox().todo_text();
    assert!(
        todo.starts_with("- [ ] a\n  Inserted.\n- [x] x\n- [x] a\n  - Assignee: acf\n  The first.\n"),
        "{todo}"
    );
    assert_eq!(todo.matches("acf implemented this").count(), 1, "{todo}");

    factory.drain().done();
    let todo = factory.sandbox().todo_text();
    assert!(todo.starts_with("- [x] a\n  - Assignee: acf\n  Inserted.\n"), "{todo}");
    assert_eq!(todo.matches("acf implemented this").count(), 2, "{todo}");
    assert_eq!(factory.claims(), Vec::<String>::new());
}

#[test]
fn attempts_follow_the_issue() {
    let factory = failed_once();
    insert_in_front(&factory, "- [x] in front");
    factory.drain().done();

    let runs = factory.runs("TODO-2");
    assert_eq!(attempts(&runs), [("TODO-1", 1), ("TODO-2", 2)]);
    assert_eq!(runs[1]["blocked"], true, "the second of two attempts is the last");
}

#[test]
fn kept_work_follows_the_issue() {
    let factory = Factory::with_todo("- [ ] a\n").agent(HALF_FIRST);
    let mut worker = factory.start("w-stopped", &[]);
    worker.says("agent: ready");
    worker.signal(Signal::TERM);
    worker.ended().done();
    assert_eq!(factory.kept("half.txt").as_deref(), Some("half\n"));
    insert_in_front(&factory, "- [x] in front");
    factory.drain().done();

    assert_eq!(factory.sandbox().log()[0], "[TODO-2] a");
    assert_eq!(factory.sandbox().file_at("main", "half.txt").as_deref(), Some("half\n"));
    assert_eq!(factory.kept("half.txt"), None, "what has landed is kept no longer");
}

#[test]
fn the_issue_that_has_the_key_now_has_a_past_of_its_own() {
    let factory = failed_once();
    insert_in_front(&factory, "- [ ] in front");
    assert_eq!(factory.runs("TODO-1"), Vec::<Value>::new());
    factory.acf(&["worker", "--max-issues", "1"]).done();

    let runs = factory.runs("TODO-1");
    assert_eq!(attempts(&runs), [("TODO-1", 1)]);
    assert_eq!(runs[0]["summary"], "in front");
    assert_eq!(factory.sandbox().refs("refs/acf/wip/").len(), 2, "each issue's work is kept by itself");
}

#[test]
fn the_past_of_an_issue_that_is_gone_is_found_by_the_key_that_it_had() {
    let factory = failed_once();
    fs::write(factory.sandbox().todo(), "# Nothing to do\n").unwrap();
    let runs = factory.runs("TODO-1");
    assert_eq!((attempts(&runs), &runs[0]["summary"]), (vec![("TODO-1", 1)], &"a".into()));
}

#[test]
fn work_in_review_stays_on_its_branch_when_another_issue_gets_the_key() {
    let factory = Factory::with_todo("- [ ] a [needs-branch]\n").agent("echo A >> a.txt");
    factory.drain().done();
    insert_in_front(&factory, "- [ ] b [needs-branch]");
    factory.drain().done();
    let (a, b) = (&factory.runs("TODO-2")[0], &factory.runs("TODO-1")[0]);
    let branch = |run: &Value| run["branch"].as_str().unwrap().to_owned();
    assert_eq!(branch(a), "feature/TODO-1");
    assert!(branch(b).starts_with("feature/TODO-1-"), "{b}");
    let refs = factory.sandbox().refs("refs/heads");
    assert_eq!(refs.len(), 3, "{refs:?}");

    // Sent back by its reviewer, it is worked on where it was.
    let todo = factory.sandbox().todo_text();
    let a_again = "- [ ] a [needs-branch]\n";
    let (before, _) = todo.split_once("- [>] a").expect("it is in review");
    fs::write(factory.sandbox().todo(), format!("{before}{a_again}")).unwrap();
    factory.drain().done();
    let runs = factory.runs("TODO-2");
    assert_eq!((runs.len(), branch(&runs[1])), (2, "feature/TODO-1".to_owned()), "{runs:?}");
}
