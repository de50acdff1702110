//! What is wrong with the repository itself is nobody's attempt at an issue, is shown, and is looked for again.

use std::fs;

use acf_tests::factory::{Factory, Running};
use acf_tests::sandbox::Sandbox;

/// Pushes a file to the trunk, as a person does.
fn commit(sandbox: &Sandbox, path: &str, contents: &str) {
    let clone = sandbox.clone_to(&format!("person-with-{}", path.replace('/', "-")));
    fs::write(clone.join(path), contents).expect("write a file of the clone");
    sandbox.git_in(&clone, &["add", path]);
    sandbox.git_in(&clone, &["commit", "--quiet", "--message=Mend it"]);
    sandbox.git_in(&clone, &["push", "--quiet", "origin", "HEAD:main"]);
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not said in:\n{text}");
    }
}

#[test]
fn a_policy_that_cannot_be_read_is_no_attempt_at_any_issue_and_is_shown_with_its_line() {
    let sandbox = Sandbox::builder().file(".acf/config.toml", "verfy = [\"x\"]\n").todo("- [ ] a\n");
    let factory = Factory::of(sandbox.build()).with("MAX_ATTEMPTS", "1");

    let said = factory.drain().refused(1);

    let (kind, reason) = factory.failure("TODO-1");
    assert_eq!(kind, "repository_fault");
    assert_says(&reason, &[".acf/config.toml", "unknown field `verfy`"]);
    assert_says(
        &said,
        &["no issue is taken: .acf/config.toml of the base commit is not valid: ", "at line 1"],
    );
    assert!(said.lines().any(|line| line.contains("WARN 1 | verfy = [\"x\"]")), "{said}");
    let todo = factory.sandbox().todo_text();
    assert!(todo.starts_with("- [ ] a\n"), "it is not blocked: {todo}");
    assert_says(&todo, &["not valid: line 1: unknown field `verfy`", "does not count as an attempt"]);
    assert!(!todo.contains("agent: ") && !todo.contains("1st attempt"), "{todo}");
    let shown = factory.acf(&["runs", "TODO-1"]).done().stdout;
    assert!(!shown.contains("  agent "), "{shown}");

    factory.drain().refused(1);
    let again = factory.sandbox().todo_text();
    assert_eq!(again.matches("does not count").count(), 1, "it is said once: {again}");
}

#[test]
fn a_bad_commit_blocks_nothing_and_its_mending_is_noticed() {
    for (path, bad, good) in [
        (".acf/config.toml", "verfy = [\"x\"]\n", "verify = [\"true\"]\n"),
        (".acf/config.toml", "setup = [\"false\"]\n", "setup = [\"true\"]\n"),
        (".acf/implement.md", "{{ isue.key }}", "{{ issue.fenced }}"),
    ] {
        let sandbox = Sandbox::builder().file(path, bad).todo("- [ ] a\n- [ ] b\n").build();
        let factory = Factory::of(sandbox).with("NO_ISSUES_WAIT", "50ms").with("MAX_ATTEMPTS", "1");
        factory.acf(&["workers", "1"]).done();
        let status = factory.waits_for("the rest", || {
            let status = factory.acf(&["status", "--json"]).done().json();
            let why = status["workers"][0]["resting"]["why"].as_str()?.to_owned();
            Some(why)
        });
        assert_says(&status, &["trying again when the trunk has moved, or at "]);
        let explained = factory.acf(&["issues", "explain", "2"]).done().stderr;
        assert_says(&explained, &["worker w-", " of this machine takes no issue for now: ", &status]);
        assert_eq!(factory.acf(&["issues", "explain", "2", "--stage", "planning"]).done().stderr, "");

        commit(factory.sandbox(), path, good);
        factory.waits_for("both issues", || {
            (factory.sandbox().todo_text().matches("- [x]").count() == 2).then_some(())
        });
        factory.acf(&["stop", "--all"]).done();

        let kinds: Vec<_> = factory.runs("TODO-1").iter().map(|run| run["kind"].clone()).collect();
        assert_eq!(kinds, [serde_json::json!("repository_fault"), serde_json::Value::Null], "{path}");
        assert_eq!(factory.runs("TODO-2").len(), 1);
    }
}

#[test]
fn a_trunk_that_fails_its_own_gate_costs_three_runs_and_no_attempt_until_it_is_mended() {
    let policy = "verify = [\"test -f a.txt\", \"test -f good.txt\"]\nmax_fixes = 0\n";
    let sandbox = Sandbox::builder().file(".acf/config.toml", policy).file("a.txt", "A");
    let todo: String = (1..=4).map(|n| format!("- [ ] a{n}\n  @write f{n}.txt x\n")).collect();
    let factory =
        Factory::of(sandbox.todo(&todo).build()).with("NO_ISSUES_WAIT", "50ms").with("MAX_ATTEMPTS", "1");
    let mut worker = factory.start("w-1", &[]);
    let fault = "the gate fails without the agent's work, too: `test -f good.txt` exit 1";
    worker.says(&format!("gave issue `TODO-1` back: {fault}"));
    worker.says(&format!("no issue is taken: {fault}; no agent is asked until it passes there"));

    let looks = |worker: &Running| worker.log().matches("gate: $ test -f good.txt").count();
    let before = looks(&worker);
    commit(factory.sandbox(), "unrelated.txt", "x");
    worker.waits_for("another look at the gate", |worker| (looks(worker) > before).then_some(()));
    assert_eq!(worker.log().matches("agent: > write").count(), 3, "no agent was asked again");
    commit(factory.sandbox(), "good.txt", "G");
    factory.waits_for("all issues", || {
        (factory.sandbox().todo_text().matches("- [x]").count() == 4).then_some(())
    });
    worker.signal(rustix::process::Signal::TERM);
    worker.ended().done();

    let kinds: Vec<_> = factory.runs("TODO-1").iter().map(|run| run["kind"].clone()).collect();
    assert_eq!((&kinds[0], kinds.last()), (&"base_fails_gate".into(), Some(&serde_json::Value::Null)));
    assert_says(&factory.sandbox().todo_text(), &[fault, "does not count as an attempt"]);
}

#[test]
fn an_issue_that_mends_a_red_trunk_is_done_though_another_one_comes_first() {
    let policy = "verify = [\"test -f good.txt\"]\nmax_fixes = 0\n";
    let todo = "- [ ] a\n  @write b.txt B\n- [ ] Make the gate pass\n  @write good.txt G\n";
    let factory = Factory::of(Sandbox::builder().file(".acf/config.toml", policy).todo(todo).build());
    // The first issue waits for that long.
    let factory = factory.with("RETRY_BACKOFF", "1h");

    factory.drain().done();

    assert_eq!(factory.runs("TODO-1")[0]["kind"], "base_fails_gate");
    assert_eq!(factory.runs("TODO-2")[0]["outcome"], "landed");
}

#[test]
fn set_up_that_does_not_work_in_the_gates_new_home_spends_no_fix_rounds() {
    let policy = "setup = [\"test -e ~/.tool\"]\nverify = [\"true\"]\ngate_home = \"new\"\n";
    let sandbox = Sandbox::builder().file(".acf/config.toml", policy).todo("- [ ] a\n  @write b.txt B\n");
    let factory = Factory::of(sandbox.build()).with("RETRY_BACKOFF", "1h");
    fs::write(factory.sandbox().home().join(".tool"), "x").unwrap();

    let told = factory.drain().refused(1);
    assert_says(&told, &["no issue is taken: the gate fails without the agent's work, too"]);

    let runs = factory.runs("TODO-1");
    assert_eq!((runs.len(), &runs[0]["kind"]), (1, &"base_fails_gate".into()));
    assert_eq!(runs[0]["receipt"]["fix_rounds"], 0);
    assert_says(&factory.failure("TODO-1").1, &["set-up `test -e ~/.tool` exit 1, in a new and empty HOME"]);
}

#[test]
fn set_up_that_fails_with_earlier_work_in_the_checkout_is_an_attempt_at_its_issue() {
    let policy = "setup = [\"test ! -e bad.txt\"]\n";
    let sandbox = Sandbox::builder().file(".acf/config.toml", policy).todo("- [ ] a\n").build();
    let factory = Factory::of(sandbox).agent("touch bad.txt; echo ready; sleep 60");
    let mut worker = factory.start("w-1", &[]);
    worker.says("agent: ready");
    worker.signal(rustix::process::Signal::TERM);
    worker.ended().done();

    factory.acf(&["worker", "--max-issues", "1"]).done();

    let runs = factory.runs("TODO-1");
    assert_eq!((&runs[0]["outcome"], &runs[1]["kind"]), (&"interrupted".into(), &"setup".into()));
}

#[test]
fn a_prompt_template_with_a_typo_fails_the_run_and_names_it() {
    let sandbox = Sandbox::builder().file(".acf/implement.md", "{{ isue.key }}").todo("- [ ] a\n").build();
    let factory = Factory::of(sandbox).with("MAX_ATTEMPTS", "1");

    factory.drain().refused(1);

    let (kind, reason) = factory.failure("TODO-1");
    assert_eq!(kind, "repository_fault");
    assert_says(&reason, &[".acf/implement.md", "undefined"]);
}
