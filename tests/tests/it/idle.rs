//! A worker that finds nothing to take says why, and says it once.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use acf_tests::factory::{Factory, Running};

/// Waits until the worker has looked in vain so many times, and returns how often it said so.
fn said_after(factory: &Factory, worker: &mut Running, looks: usize) -> usize {
    let events = factory.sandbox().root().join("w-1.events");
    worker.waits_for("many looks in vain", |_| {
        let events = fs::read_to_string(&events).unwrap_or_default();
        (events.matches("\"idle\"").count() >= looks).then_some(())
    });
    worker.log().matches("nothing to do").count()
}

#[test]
fn a_worker_that_is_told_to_stop_while_its_agent_is_prepared_ends_at_once_and_well() {
    let factory = Factory::with_todo("- [ ] a\n");
    let agent = factory.program("slow", "echo preparing; sleep 300");
    let factory = factory.with("AGENT", "command").with("AGENT_COMMAND", agent).with("STOP_GRACE", "20s");
    let mut worker = factory.start("w-1", &[]);
    worker.says("agent: preparing");
    worker.signal(rustix::process::Signal::TERM);

    let said = worker.ended().done();

    assert!(said.stderr.contains("ends before it was ready"), "{}", said.stderr);
    assert_eq!(factory.left_running(), [""; 0]);
}

/// Returns the one detached worker, if its agent is at work.
fn at_the_agent(factory: &Factory) -> Option<String> {
    let worker = factory.acf(&["status", "--json"]).done().json()["workers"][0].clone();
    (worker["run"]["step"] == "agent").then(|| worker["id"].as_str().map(str::to_owned))?
}

#[test]
fn a_worker_that_is_ended_at_once_leaves_word_of_how_its_issue_is_freed() {
    let does_not_end = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    let factory = Factory::with_todo("- [ ] a\n").agent(does_not_end);
    factory.acf(&["workers", "1"]).done();
    let id = factory.waits_for("the agent", || at_the_agent(&factory));

    assert_eq!(factory.acf(&["sweep"]).done().stderr, "nothing to settle\n", "it runs");
    let refused = factory.acf(&["sweep", "--dead", &id]).refused(1);
    assert!(refused.contains(&format!("worker {id} runs on this machine")), "{refused}");
    let said = factory.acf(&["stop", "--all", "--grace", "0s"]).done().stderr;

    let left =
        format!("{id} was ended during a run: TODO-1 stays claimed until the claim expires; `acf sweep` ");
    assert!(said.contains(&left), "{said}");
    let shown = factory.acf(&["status"]).done().stdout;
    assert!(shown.contains(&format!("{id} ended during its run of TODO-1: `acf sweep` frees")), "{shown}");
    let explained = factory.acf(&["issues", "explain", "TODO-1"]).done().stdout;
    assert!(
        explained.contains(&format!("by worker {id}, which has ended  → `acf sweep` frees")),
        "{explained}"
    );
    let elsewhere = factory.sandbox().root().join("another.git");
    factory.sandbox().git(&["clone", "--quiet", "--bare", ".", elsewhere.to_str().unwrap()]);
    let mut sweep = factory.command("acf");
    sweep.arg("sweep").env("GIT_REPO_URL", format!("file://{}", elsewhere.display()));
    assert!(sweep.output().unwrap().status.success());
    assert_eq!(factory.acf(&["status"]).done().stdout, shown, "that was another repository");
    let settled = factory.acf(&["sweep"]).done().stdout;
    assert!(settled.starts_with(&format!("settled TODO-1: worker {id} died")), "{settled}");
    assert!(!factory.acf(&["status"]).done().stdout.contains(&id));
    assert_eq!(factory.claims(), [""; 0]);
    assert!(factory.sandbox().todo_text().starts_with("- [ ] a\n"));

    let mut worker = factory.start("w-twice", &[]);
    worker.is_at("agent");
    worker.says("agent: ready");
    worker.signal(rustix::process::Signal::TERM);
    worker.says("told to stop");
    worker.signal(rustix::process::Signal::TERM);
    let said = worker.ended().stderr;
    assert!(said.contains("`acf sweep --dead w-twice` frees it at once"), "{said}");
}

#[test]
fn the_preparation_of_an_agent_takes_no_longer_than_its_rounds_may() {
    let factory = Factory::with_todo("- [ ] a\n");
    let agent = factory.program("slow", "sleep 300");
    let factory =
        factory.with("AGENT", "command").with("AGENT_COMMAND", agent).with("AGENT_TIMEOUT", "200ms");
    let said = factory.drain().refused(1);
    assert!(said.contains("cannot prepare the agent") && said.contains("did not end in time"), "{said}");
}

#[test]
fn a_debug_log_tells_each_git_command_and_why_an_issue_is_not_taken() {
    let factory = Factory::with_todo("- [ ] a [needs-plan]\n- [ ] b\n").with("ACF_LOG", "debug");
    let said = factory.drain().done().stderr;
    for words in [
        "looked: 2 issues that might be taken, 0 claims, past runs of 0 issues, trunk at ",
        "issue `TODO-1` is not taken: label needs-plan, and no approved plan",
        "`git ls-remote ",
        "`git push ",
        ": exit status: 0, after ",
    ] {
        assert!(said.contains(words), "{words:?} is not said in:\n{said}");
    }
    let factory = factory.with("ACF_LOG", "acf_worker::worker=debug");
    let said = factory.drain().done().stderr;
    assert!(said.contains("looked: ") && !said.contains("`git "), "{said}");
    assert!(said.contains(" INFO "), "the rest is as ever: {said}");
}

#[test]
fn the_reason_is_said_once_and_again_when_it_changes() {
    let factory = Factory::with_todo("- [ ] a [needs-plan]\n").with("NO_ISSUES_WAIT", "20ms");
    let mut worker = factory.start("w-1", &[]);
    let why = "nothing to do: none of 1 open issues can be taken: 1 × label needs-plan, and no approved plan";
    worker.says(why);
    assert_eq!(said_after(&factory, &mut worker, 5), 1, "{}", worker.log());

    fs::write(factory.sandbox().todo(), "- [ ] a [acf-blocked]\n").unwrap();
    worker.says("1 × label acf-blocked: every attempt failed");
    assert_eq!(said_after(&factory, &mut worker, 20), 2, "{}", worker.log());
}

#[test]
fn a_pause_after_a_failed_attempt_is_one_reason_however_long_it_lasts() {
    let factory =
        Factory::with_todo("- [ ] a\n  @none\n").with("NO_ISSUES_WAIT", "20ms").with("RETRY_BACKOFF", "1h");
    let mut worker = factory.start("w-1", &[]);
    worker.says("1 × not to be tried again before 20");
    // More than a second, over which a count of seconds would change.
    assert_eq!(said_after(&factory, &mut worker, 80), 1, "{}", worker.log());
}

#[test]
fn a_worker_whose_keeper_was_killed_still_ends_in_order() {
    let factory = Factory::with_todo("- [ ] a\n").agent("echo ready; while :; do sleep 0.1; done");
    factory.acf(&["workers", "1"]).done();
    let id = factory.waits_for("the agent", || at_the_agent(&factory));
    let record =
        factory.sandbox().home().join(".local/state/acf/default/workers").join(&id).join("worker.json");
    let record: serde_json::Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    let keeper = i32::try_from(record["keeper"]["pid"].as_i64().unwrap()).unwrap();
    let keeper = rustix::process::Pid::from_raw(keeper).unwrap();
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();

    let said = factory.acf(&["stop", "--all"]).done().stderr;

    assert!(!said.contains("stays claimed"), "{said}");
    assert_eq!(factory.claims(), [""; 0]);
    let shown = factory.acf(&["status"]).done().stdout;
    assert!(shown.contains("  ended  ") && !shown.contains("vanished"), "{shown}");
}

#[test]
fn a_worker_that_is_stopped_while_its_issue_cannot_be_given_back_says_what_it_leaves() {
    let factory = Factory::with_todo("- [ ] a\n").agent("echo ready; while :; do sleep 0.1; done");
    let mut worker = factory.start("w-1", &[]);
    worker.says("agent: ready");
    let dir = factory.sandbox().todo().parent().unwrap().to_owned();
    let may_write = fs::metadata(&dir).unwrap().permissions();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).unwrap();
    worker.signal(rustix::process::Signal::TERM);

    let said = worker.ended().done().stderr;

    fs::set_permissions(&dir, may_write).unwrap();
    assert!(
        said.contains("issue `TODO-1` stays claimed") && said.contains("`acf sweep --dead w-1`"),
        "{said}"
    );
    factory.acf(&["sweep", "--dead", "w-1"]).done();
    assert_eq!(factory.claims(), [""; 0]);
    assert!(factory.sandbox().todo_text().starts_with("- [ ] a\n"), "{}", factory.sandbox().todo_text());
}
