//! Workers that are told to stop while an agent, a gate or a set-up is at work.

use super::*;

/// An agent that takes its time at first, and finishes what it finds half done.
const SLOW: &str =
    "if [ -f half.txt ]; then echo whole > whole.txt; else echo half > half.txt; echo ready; sleep 60; fi";

#[track_caller]
fn assert_interrupted(factory: &Factory, found: &str) {
    assert_eq!(factory.sandbox().todo_text(), found, "the issue is given back as it was found");
    assert_eq!(factory.runs("TODO-1")[0]["outcome"], "interrupted");
    assert_nothing_left(factory);
}

#[test]
fn during_the_agent_its_work_is_saved_and_the_next_worker_finishes_it() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let factory = told(&[]).agent(SLOW);
        let found = factory.sandbox().todo_text();
        let mut worker = factory.start("w-stopped", &[]);
        worker.says("agent: ready");
        worker.signal(signal);
        let said = worker.ended();

        assert_eq!(said.code, Some(0), "{}", said.stderr);
        assert_interrupted(&factory, &found);
        assert_eq!(factory.kept("half.txt").as_deref(), Some("half\n"));

        factory.drain().done();
        assert_eq!(assert_landed(&factory), ["half.txt", "whole.txt"]);
        let runs = factory.runs("TODO-1");
        assert_eq!(
            (&runs[1]["receipt"]["resumed"], &runs[1]["receipt"]["attempt"]),
            (&true.into(), &1.into())
        );
        assert_eq!(factory.sandbox().refs("refs/acf/wip"), NOTHING);
    }
}

/// Waits for ever the first time, and passes from then on.
const FIRST_TIME: &str = "test -e \"$SEEN\" || { touch \"$SEEN\"; echo ready; sleep 60; }";

fn slow_first_time(policy: &PolicyFile) -> Factory {
    let factory = told_with(policy, &["@write a.txt A"]);
    let seen = factory.sandbox().root().join("seen");
    factory.with("SEEN", seen.to_str().unwrap())
}

#[track_caller]
fn is_stopped_at_the_repositorys_commands(factory: &Factory) {
    let found = factory.sandbox().todo_text();
    let mut worker = factory.start("w-stopped", &[]);
    worker.says("gate: ready");
    worker.signal(Signal::TERM);
    let said = worker.ended();

    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_interrupted(factory, &found);
}

#[test]
fn during_the_gate_the_work_is_saved_and_lands_later() {
    let factory = slow_first_time(&PolicyFile::new().verify(FIRST_TIME));
    is_stopped_at_the_repositorys_commands(&factory);
    assert_eq!(factory.kept("a.txt").as_deref(), Some("A\n"));
    factory.drain().done();
    assert_eq!(assert_landed(&factory), ["a.txt"]);
}

#[test]
fn during_the_set_up_the_issue_is_given_back() {
    let factory = slow_first_time(&PolicyFile::new().setup(FIRST_TIME));
    is_stopped_at_the_repositorys_commands(&factory);
    assert_eq!(factory.sandbox().refs("refs/acf/wip"), NOTHING);
    factory.drain().done();
    assert_eq!(assert_landed(&factory), ["a.txt"]);
}

#[test]
fn while_it_waits_for_a_limit_to_pass_it_need_not_wait() {
    let factory = told(&["@write half.txt x", "@rate-limit 600", "@write a.txt A"]);
    let found = factory.sandbox().todo_text();
    let mut worker = factory.start("w-stopped", &[]);
    worker.is_at("waiting");
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().code, Some(0));
    assert_interrupted(&factory, &found);
}

#[test]
fn while_it_is_idle_it_ends_at_once() {
    let factory = Factory::with_todo("- [x] a\n");
    let mut worker = factory.start("w-stopped", &[]);
    worker.says("nothing to do");
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().code, Some(0));
}

#[test]
fn an_agent_that_ignores_it_costs_the_grace_and_nothing_more() {
    let factory =
        told(&["@write half.txt x", "@ignore-term", "@print ready", "@hang"]).with("STOP_GRACE", "3s");
    let found = factory.sandbox().todo_text();
    let mut worker = factory.start("w-stopped", &[]);
    worker.says("agent: ready");
    worker.signal(Signal::TERM);
    let said = worker.ended();

    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_interrupted(&factory, &found);
    assert_eq!(factory.kept("half.txt").as_deref(), Some("x\n"));
}

#[test]
fn a_second_signal_ends_it_at_once_and_what_it_left_is_settled() {
    let factory =
        told(&["@ignore-term", "@print ready", "@hang"]).with("STOP_GRACE", "10m").with("MAX_ATTEMPTS", "2");
    let found = factory.sandbox().todo_text();
    let mut worker = factory.start("w-stopped", &[]);
    worker.says("agent: ready");
    worker.signal(Signal::TERM);
    worker.says("told to stop:");
    worker.signal(Signal::TERM);
    let said = worker.ended();

    assert_eq!(said.code, Some(128 + 15), "{}", said.stderr);
    assert_eq!(factory.left_running(), NOTHING);
    assert_eq!(factory.claims(), ["refs/acf/claims/TODO-1"]);
    let settled = factory.acf(&["sweep", "--dead", "w-stopped", "--json"]).done().json();
    assert_eq!(
        (&settled[0]["dead"], &settled[0]["record"]["kind"]),
        (&"w-stopped".into(), &"worker_died".into())
    );
    let todo = factory.sandbox().todo_text();
    assert!(todo.starts_with(&found), "{todo}");
    assert_says(&todo, &["worker w-stopped died or vanished during the run"]);
    assert_eq!(factory.claims(), NOTHING);
}
