//! Issues that people finish, take over or change while a run works on them: the run ends, its work is
//! kept, and nothing is pushed.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::fs;

use acf_tests::factory::{Factory, Running};
use acf_tests::sandbox::{PolicyFile, Sandbox};

const NOTHING: [&str; 0] = [];
/// An agent that writes a file, says so, and waits until the test lets it go.
const WAITS: &str = "echo A > a.txt; echo ready; while ! [ -e \"$GO\" ]; do sleep 0.02; done";

fn edit(factory: &Factory, change: impl Fn(&str) -> String) {
    let todo = factory.sandbox().todo_text();
    let edited = change(&todo);
    assert_ne!(todo, edited, "nothing was edited");
    fs::write(factory.sandbox().todo(), edited).unwrap();
}

/// Gives a factory an agent, and looks at issues again that often.
fn of(sandbox: Sandbox, agent: &str, recheck: &str) -> Factory {
    let factory = Factory::of(sandbox);
    let go = factory.sandbox().root().join("go");
    factory.agent(agent).with("GO", go.to_str().unwrap()).with("ISSUE_RECHECK", recheck)
}

/// Starts a worker on the only issue, whose agent waits; its issue is looked at again that often.
fn at_work(todo: &str, recheck: &str, settings: &[(&str, &str)]) -> (Factory, Running) {
    let mut factory = of(Sandbox::builder().todo(todo).build(), WAITS, recheck);
    for (name, value) in settings {
        factory = factory.with(name, *value);
    }
    let mut worker = factory.start("w-1", &["--max-issues", "1"]);
    worker.says("agent: ready");
    (factory, worker)
}

/// Checks that the only run was withdrawn for that reason, with its work kept and nothing pushed.
#[track_caller]
fn assert_withdrawn(factory: &Factory, worker: Running, why: &str) {
    let said = worker.ended();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let runs = factory.runs("TODO-1");
    assert_eq!((runs.len(), &runs[0]["outcome"], &runs[0]["why"]), (1, &"withdrawn".into(), &why.into()));
    let sandbox = factory.sandbox();
    assert_eq!(sandbox.log(), ["First commit"]);
    assert_eq!(sandbox.refs("refs/heads"), ["refs/heads/main"]);
    assert_eq!(factory.kept("a.txt").as_deref(), Some("A\n"));
    let told = format!("acf stopped working on this: {why}. Nothing was pushed; the work so far is kept.");
    assert_eq!(sandbox.todo_text().matches(&told).count(), 1, "{}", sandbox.todo_text());
    assert_eq!(factory.claims(), NOTHING);
    assert_eq!(factory.left_running(), NOTHING);
}

#[test]
fn a_person_who_closes_an_issue_stops_the_agent() {
    let (factory, worker) = at_work("- [ ] a\n", "50ms", &[]);
    edit(&factory, |todo| todo.replace("- [>] a", "- [x] a"));
    assert_withdrawn(&factory, worker, "the issue was moved to Done");
    let todo = factory.sandbox().todo_text();
    assert!(todo.starts_with("- [x] a\n") && !todo.contains("Assignee"), "{todo}");
}

#[test]
fn a_person_who_takes_an_issue_over_keeps_it() {
    let (factory, worker) = at_work("- [ ] a\n", "50ms", &[]);
    edit(&factory, |todo| todo.replace("Assignee: acf", "Assignee: ada"));
    assert_withdrawn(&factory, worker, "the issue was assigned to ada");
    assert!(factory.sandbox().todo_text().starts_with("- [>] a\n  - Assignee: ada\n"));
}

#[test]
fn an_issue_that_loses_a_required_label_is_given_back_and_not_taken_again() {
    let settings = [("REQUIRED_LABELS", "acf")];
    let (factory, worker) = at_work("- [ ] a [acf]\n", "50ms", &settings);
    edit(&factory, |todo| todo.replace(" [acf]", ""));
    assert_withdrawn(&factory, worker, "the issue is no longer to be taken: lacks the required label acf");
    let todo = factory.sandbox().todo_text();
    assert!(todo.starts_with("- [ ] a\n") && !todo.contains("Assignee"), "{todo}");
    let said = factory.drain().done().stderr;
    assert!(said.contains("1 × lacks the required label acf"), "{said}");
}

#[test]
fn an_issue_is_looked_at_before_its_work_is_pushed_however_seldom_it_is_otherwise() {
    let (factory, worker) = at_work("- [ ] a\n", "1h", &[]);
    edit(&factory, |todo| todo.replace("- [>] a", "- [x] a"));
    fs::write(factory.sandbox().root().join("go"), "").unwrap();
    assert_withdrawn(&factory, worker, "the issue was moved to Done");
}

#[test]
fn an_issue_is_looked_at_while_the_gate_runs() {
    let gate = "sh -c 'echo checking; while :; do sleep 0.02; done'";
    let sandbox = Sandbox::builder().todo("- [ ] a\n").policy(&PolicyFile::new().verify(gate)).build();
    let factory = of(sandbox, "echo A > a.txt", "50ms");
    let mut worker = factory.start("w-1", &["--max-issues", "1"]);
    worker.says("checking");
    edit(&factory, |todo| todo.replace("- [>] a", "- [x] a"));
    assert_withdrawn(&factory, worker, "the issue was moved to Done");
}

#[test]
fn a_tracker_that_cannot_be_read_for_a_while_costs_a_run_nothing() {
    let (factory, mut worker) = at_work("- [ ] a\n", "50ms", &[]);
    let todo = factory.sandbox().todo_text();
    fs::write(factory.sandbox().todo(), b"\xff\xfe is no text").unwrap();
    worker.says("cannot look at issue `TODO-1` again, going on with it");
    fs::write(factory.sandbox().todo(), todo).unwrap();
    fs::write(factory.sandbox().root().join("go"), "").unwrap();

    let said = worker.ended();

    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(factory.sandbox().todo_text().starts_with("- [x] a\n"));
    assert_eq!(factory.sandbox().log(), ["[TODO-1] a", "First commit"]);
}

#[test]
fn work_that_was_withdrawn_is_taken_up_when_the_issue_comes_back() {
    let (factory, worker) = at_work("- [ ] a\n", "50ms", &[]);
    edit(&factory, |todo| todo.replace("- [>] a", "- [x] a"));
    assert_withdrawn(&factory, worker, "the issue was moved to Done");

    edit(&factory, |todo| todo.replace("- [x] a", "- [ ] a"));
    let factory = factory.agent("cat a.txt > b.txt");
    factory.drain().done();

    assert_eq!(factory.sandbox().file_at("main", "b.txt").as_deref(), Some("A\n"));
    let runs = factory.runs("TODO-1");
    let attempts: Vec<_> = runs.iter().map(|run| run["receipt"]["attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [1, 1], "a withdrawn run is no attempt: {runs:?}");
}

/// An agent during whose every run an automation of the tracker gives the issue back.
const DRAGGED_BACK: &str =
    "echo A > a.txt; sed -i -e 's/^- \\[>\\] a/- [ ] a/' -e '/Assignee: acf/d' \"$TODO\"";

fn dragged_back(backoff: &str) -> Factory {
    let factory = of(Sandbox::builder().todo("- [ ] a\n").build(), DRAGGED_BACK, "1h");
    let todo = factory.sandbox().todo().display().to_string();
    factory.with("TODO", todo).with("RETRY_BACKOFF", backoff)
}

#[test]
fn an_issue_whose_run_was_withdrawn_waits_before_it_is_tried_again() {
    let factory = dragged_back("5m");

    let said = factory.drain().done().stderr;

    assert_eq!(factory.runs("TODO-1").len(), 1, "{said}");
    assert!(said.contains("1 × not to be tried again before "), "{said}");
    let told = factory.acf(&["issues", "explain", "TODO-1"]).done().stdout;
    assert!(told.contains("✘ attempt 1 of 3 in "), "{told}");
    let why = "the last run was withdrawn, which is no attempt: the issue was moved to To Do";
    assert!(told.contains(why), "{told}");
}

#[test]
fn what_withdraws_every_run_of_an_issue_is_said_once() {
    let factory = dragged_back("0");

    let said = factory.acf(&["worker", "--max-issues", "3"]).done().stderr;

    let outcomes: Vec<_> = factory.runs("TODO-1").iter().map(|run| run["outcome"].clone()).collect();
    assert_eq!(outcomes, ["withdrawn"; 3], "{said}");
    let todo = factory.sandbox().todo_text();
    assert_eq!(todo.matches("acf stopped working on this").count(), 1, "{todo}");
}

#[test]
fn work_on_a_branch_of_a_host_without_pull_requests_says_that_it_waits_there() {
    let factory = Factory::with_todo("- [ ] a [needs-branch]\n- [ ] b [skip-branch]\n- [ ] c\n");
    let factory = factory.with("FEATURE_BRANCHES", "true").with("GH_TOKEN", "ghp_of_another_host");

    factory.drain().done();

    let sandbox = factory.sandbox();
    assert_eq!(sandbox.log(), ["[TODO-2] b", "First commit"]);
    let branches = ["refs/heads/feature/TODO-1", "refs/heads/feature/TODO-3"];
    assert_eq!(sandbox.refs("refs/heads/feature"), branches);
    let todo = sandbox.todo_text();
    let told = "acf opens no pull requests on this host: please open one from that branch.";
    assert_eq!(todo.matches(told).count(), 2, "{todo}");
}
