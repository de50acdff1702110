use proptest::prelude::*;

use super::*;

const TERMS: Terms = Terms {
    stage: Stage::Implementation,
    target: Target::Trunk,
    max_fixes: 2,
    regate: Regate::Overlap,
    has_gate: true,
    fallbacks: 0,
};

fn finished() -> Event {
    Event::AgentEnded(AgentOutcome::Finished)
}

fn gate_failed() -> Event {
    Event::GateEnded(failed("make: exit 2", false))
}

fn failed(reason: &str, in_setup: bool) -> GateOutcome {
    GateOutcome::Failed { reason: reason.into(), evidence: "no".into(), in_setup }
}

fn moved() -> Event {
    Event::Pushed(PushOutcome::BranchMoved)
}

fn limited(retry_after: Option<u64>) -> Event {
    let retry_after = retry_after.map(Duration::from_secs);
    Event::AgentEnded(AgentOutcome::Trouble(Trouble::RateLimited { retry_after }))
}

fn limited_wait(secs: u64) -> Action {
    Action::Wait { wait: Duration::from_secs(secs), why: "rate limited" }
}

/// Returns the last action after those events.
fn after(terms: Terms, events: impl IntoIterator<Item = Event>) -> Action {
    let (mut run, first) = IssueRun::begin(terms);
    events.into_iter().fold(first, |_, event| run.on(event))
}

fn failure_kind(action: &Action) -> Option<FailureKind> {
    match action {
        Action::End(Conclusion::Failed(failure)) => Some(failure.kind),
        _ => None,
    }
}

#[test]
fn the_straight_way_is_agent_collect_gate_push_end() {
    let (mut run, first) = IssueRun::begin(TERMS);
    assert_eq!(first, Action::RunAgent(Round::First));
    assert_eq!(run.on(finished()), Action::Collect);
    assert_eq!(run.on(Event::Collected(Collected::Work)), Action::Gate);
    assert_eq!(run.on(Event::GateEnded(GateOutcome::Passed)), Action::Push(Target::Trunk));
    let landed = Action::End(Conclusion::Landed { target: Target::Trunk, diverted: None });
    assert_eq!(run.on(Event::Pushed(PushOutcome::Landed)), landed);
}

#[test]
fn without_a_gate_and_for_plans_work_is_pushed_at_once() {
    for terms in [Terms { has_gate: false, ..TERMS }, Terms { stage: Stage::Planning, ..TERMS }] {
        assert_eq!(after(terms, [Event::Collected(Collected::Work)]), Action::Push(Target::Trunk));
        assert_eq!(
            after(terms, [Event::Rebased(Rebased::Clean { overlaps: true })]),
            Action::Push(Target::Trunk)
        );
    }
}

#[test]
fn nothing_changed_is_a_failure() {
    let nothing = || [Event::Collected(Collected::Nothing)];
    assert_eq!(failure_kind(&after(TERMS, nothing())), Some(FailureKind::NoChange));
    let planning = Terms { stage: Stage::Planning, ..TERMS };
    assert_eq!(failure_kind(&after(planning, nothing())), Some(FailureKind::EmptyPlan));
    let absorbed = [Event::Rebased(Rebased::Nothing)];
    assert_eq!(failure_kind(&after(TERMS, absorbed)), Some(FailureKind::NoChange));
}

#[test]
fn the_gates_failure_goes_back_to_the_agent_until_the_rounds_are_used_up() {
    let (mut run, _) = IssueRun::begin(TERMS);
    let feedback = Feedback::Gate { reason: "make: exit 2".into(), evidence: "no".into() };
    for round in 1..=2 {
        assert_eq!(run.on(gate_failed()), Action::RunAgent(Round::Fix(feedback.clone())));
        assert_eq!(run.fix_rounds(), round);
    }
    assert_eq!(run.on(gate_failed()), Action::GateBase);
    let on_base = |outcome| match run.clone().on(Event::BaseGated(outcome)) {
        Action::End(Conclusion::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    };
    for outcome in [GateOutcome::Passed, failed("another: exit 1", false)] {
        let failure = on_base(outcome);
        assert_eq!((failure.kind, failure.reason.as_str()), (FailureKind::GateFailed, "make: exit 2"));
        assert_eq!(failure.evidence.as_deref(), Some("no"));
    }
    let failure = on_base(failed("make: exit 2", false));
    assert_eq!(failure.kind, FailureKind::BaseFailsGate);
    assert_eq!(failure.reason, "the gate fails without the agent's work, too: make: exit 2");
    assert_eq!(run.fix_rounds(), 2);
}

#[test]
fn a_set_up_that_fails_is_looked_at_without_the_work_before_any_fix() {
    let in_setup = || Event::GateEnded(failed("npm ci: exit 1", true));
    assert_eq!(after(TERMS, [in_setup()]), Action::GateBase);
    let same = Event::BaseGated(failed("npm ci: exit 1", true));
    assert_eq!(failure_kind(&after(TERMS, [in_setup(), same])), Some(FailureKind::BaseFailsGate));
    let own = after(TERMS, [in_setup(), Event::BaseGated(GateOutcome::Passed)]);
    assert!(matches!(own, Action::RunAgent(Round::Fix(Feedback::Gate { .. }))), "{own:?}");
}

#[test]
fn unpublishable_work_and_conflicts_go_back_to_the_agent_too() {
    let conflict = || Event::Rebased(Rebased::Conflict { files: vec!["a".into(), "b".into()] });
    let unpublishable = || Event::Collected(Collected::Unpublishable("a repository in `x`".into()));
    let no_fixes = Terms { max_fixes: 0, ..TERMS };
    assert!(matches!(after(TERMS, [conflict()]), Action::RunAgent(Round::Fix(Feedback::Conflict { .. }))));
    assert!(matches!(
        after(TERMS, [unpublishable()]),
        Action::RunAgent(Round::Fix(Feedback::Unpublishable { .. }))
    ));
    assert_eq!(failure_kind(&after(no_fixes, [conflict()])), Some(FailureKind::Conflict));
    assert_eq!(failure_kind(&after(no_fixes, [unpublishable()])), Some(FailureKind::Unpublishable));
}

#[test]
fn a_rebase_is_gated_as_the_policy_says() {
    let gated = |regate, overlaps| {
        let terms = Terms { regate, ..TERMS };
        after(terms, [Event::Rebased(Rebased::Clean { overlaps })]) == Action::Gate
    };
    assert_eq!((gated(Regate::Overlap, true), gated(Regate::Overlap, false)), (true, false));
    assert_eq!((gated(Regate::Always, true), gated(Regate::Always, false)), (true, true));
    assert_eq!((gated(Regate::Never, true), gated(Regate::Never, false)), (false, false));
}

#[test]
fn after_five_lost_races_the_work_goes_to_a_feature_branch() {
    for lost in 1..MAX_LOST_RACES {
        assert_eq!(after(TERMS, (0..lost).map(|_| moved())), Action::Rebase);
    }
    let five = || (0..MAX_LOST_RACES).map(|_| moved());
    assert_eq!(after(TERMS, five()), Action::Push(Target::Feature));
    let landed = after(TERMS, five().chain([Event::Pushed(PushOutcome::Landed)]));
    let Action::End(Conclusion::Landed { target, diverted }) = landed else { panic!("{landed:?}") };
    assert_eq!(target, Target::Feature);
    assert_eq!(diverted.unwrap(), "the trunk moved 5 times while this was being pushed");
}

#[test]
fn a_run_says_why_its_work_is_not_meant_for_the_trunk_any_more() {
    let (mut run, _) = IssueRun::begin(TERMS);
    assert_eq!(run.diverted(), None);
    run.on(Event::Pushed(PushOutcome::BranchRefused("protected".into())));
    assert_eq!(run.diverted(), Some("the remote refuses pushes to the trunk: protected"));
}

#[test]
fn a_feature_branch_that_keeps_moving_and_a_plan_that_cannot_land_fail() {
    let five = || (0..MAX_LOST_RACES).map(|_| moved());
    let feature = Terms { target: Target::Feature, ..TERMS };
    assert_eq!(failure_kind(&after(feature, five())), Some(FailureKind::PushRefused));
    let planning = Terms { stage: Stage::Planning, ..TERMS };
    assert_eq!(failure_kind(&after(planning, five())), Some(FailureKind::PushRefused));
    assert_eq!(failure_kind(&after(TERMS, five().chain(five()))), Some(FailureKind::PushRefused));
}

#[test]
fn a_protected_trunk_sends_the_work_to_a_feature_branch_and_a_protected_feature_branch_fails() {
    let refused = || Event::Pushed(PushOutcome::BranchRefused("protected branch hook declined".into()));
    assert_eq!(after(TERMS, [refused()]), Action::Push(Target::Feature));
    assert_eq!(failure_kind(&after(TERMS, [refused(), refused()])), Some(FailureKind::PushRefused));
    let planning = Terms { stage: Stage::Planning, ..TERMS };
    let plan = after(planning, [refused()]);
    assert_eq!(failure_kind(&plan), Some(FailureKind::PushRefused));
    let Action::End(Conclusion::Failed(failure)) = plan else { panic!("went on") };
    assert_eq!(failure.reason, "the remote refuses the push: protected branch hook declined");
}

#[test]
fn what_waiting_does_not_mend_ends_the_run_with_its_own_kind() {
    let resets_at = Some(jiff::Timestamp::UNIX_EPOCH);
    for (trouble, kind) in [
        (Trouble::QuotaExhausted { resets_at }, FailureKind::QuotaExhausted),
        (Trouble::NotAuthenticated { message: "401".into() }, FailureKind::NotAuthenticated),
        (Trouble::OutOfTurns, FailureKind::OutOfTurns),
        (Trouble::OutOfBudget, FailureKind::OutOfBudget),
    ] {
        let ended = after(TERMS, [Event::AgentEnded(AgentOutcome::Trouble(trouble))]);
        assert_eq!(failure_kind(&ended), Some(kind));
    }
}

#[test]
fn without_quota_the_work_goes_to_the_next_agent_until_there_is_none() {
    let at = |secs| Some(Timestamp::from_second(secs).unwrap());
    let exhausted =
        |resets_at| Event::AgentEnded(AgentOutcome::Trouble(Trouble::QuotaExhausted { resets_at }));
    let (mut run, _) = IssueRun::begin(Terms { fallbacks: 1, ..TERMS });
    assert_eq!(run.on(exhausted(at(500))), Action::RunAgent(Round::HandedOver));
    let Action::End(Conclusion::Failed(failure)) = run.on(exhausted(at(900))) else { panic!("went on") };
    assert_eq!(failure.kind, FailureKind::QuotaExhausted);
    assert_eq!(failure.until, at(500), "the first of the two to have quota again");
    assert_eq!(failure.reason, "all agents have no quota left until 1970-01-01T00:08:20Z");
    let Action::End(Conclusion::Failed(failure)) = after(TERMS, [exhausted(None)]) else { panic!() };
    assert_eq!((failure.reason.as_str(), failure.until), ("the agent's account has no quota left", None));
}

#[test]
fn a_rate_limit_that_does_not_end_hands_the_work_over_too() {
    let (mut run, _) = IssueRun::begin(Terms { fallbacks: 1, ..TERMS });
    assert_eq!(run.on(limited(Some(7200))), Action::RunAgent(Round::HandedOver));
    assert_eq!(run.on(limited(Some(1))), limited_wait(1));
    assert_eq!(failure_kind(&run.on(limited(Some(7200)))), Some(FailureKind::RateLimited));
}

#[test]
fn a_rate_limit_is_waited_out_in_its_own_time_or_longer_and_longer() {
    assert_eq!(after(TERMS, [limited(Some(7))]), limited_wait(7));
    let (mut run, _) = IssueRun::begin(TERMS);
    let waits: Vec<_> = (0..5)
        .map(|_| match run.on(limited(None)) {
            Action::Wait { wait, .. } => wait.as_secs(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(waits, [30, 60, 120, 240, 480]);
    assert_eq!(failure_kind(&run.on(limited(None))), Some(FailureKind::RateLimited));
    assert_eq!(after(TERMS, [Event::Waited]), Action::RunAgent(Round::Again));
}

#[test]
fn a_service_that_does_not_work_is_waited_for_like_one_that_limits() {
    let unavailable =
        || Event::AgentEnded(AgentOutcome::Trouble(Trouble::Unavailable { message: "500".into() }));
    let (mut run, _) = IssueRun::begin(TERMS);
    for secs in [30, 60, 120, 240, 480] {
        let wait = Duration::from_secs(secs);
        assert_eq!(run.on(unavailable()), Action::Wait { wait, why: "service unavailable" });
    }
    let Action::End(Conclusion::Failed(failure)) = run.on(unavailable()) else { panic!("went on") };
    assert_eq!(failure.kind, FailureKind::ServiceUnavailable);
    assert_eq!(failure.reason, "the agent's service does not work: 500, after 5 waits");
}

#[test]
fn a_rate_limit_of_hours_is_not_waited_out() {
    assert_eq!(after(TERMS, [limited(Some(3600))]), limited_wait(3600));
    assert_eq!(failure_kind(&after(TERMS, [limited(Some(3601))])), Some(FailureKind::RateLimited));
}

#[test]
fn where_credentials_are_not_accepted_the_next_agent_goes_on() {
    let (mut run, _) = IssueRun::begin(Terms { fallbacks: 1, ..TERMS });
    let refused = |message: &str| {
        let trouble = Trouble::NotAuthenticated { message: message.into() };
        Event::AgentEnded(AgentOutcome::Trouble(trouble))
    };
    assert_eq!(run.on(refused("a: 401")), Action::RunAgent(Round::HandedOver));
    let Action::End(Conclusion::Failed(failure)) = run.on(refused("a: 401; b: 403")) else {
        panic!("went on")
    };
    assert_eq!(failure.kind, FailureKind::NotAuthenticated);
    assert_eq!(failure.reason, "the agent's service does not accept its credentials: a: 401; b: 403");
}

#[test]
fn of_an_agents_last_words_one_line_is_its_complaint() {
    for (words, expected) in [
        ("", None),
        (" \n", None),
        ("model not found", Some("model not found")),
        (
            "reading\nError: model `x` not found.\n    at main (cli.js:1)\n",
            Some("Error: model `x` not found"),
        ),
        ("so far\nfailing, as told\n\n", Some("failing, as told")),
    ] {
        assert_eq!(complaint(words).as_deref(), expected, "{words:?}");
    }
    let long = complaint(&"é".repeat(500)).unwrap();
    assert_eq!((long.chars().count(), long.ends_with("é…")), (201, true));
}

#[test]
fn the_agents_bad_ends_fail_the_run_and_a_stop_does_not() {
    let ended = |outcome| after(TERMS, [Event::AgentEnded(outcome)]);
    let crashed = |exit_code| ended(AgentOutcome::Crashed { exit_code, message: Some("why".into()) });
    let Action::End(Conclusion::Failed(failure)) = crashed(Some(7)) else { panic!("went on") };
    assert_eq!(failure.reason, "the agent exited with code 7: why");
    assert_eq!(failure.evidence.as_deref(), Some("why"));
    assert_eq!(failure_kind(&crashed(None)), Some(FailureKind::AgentCrashed));
    assert_eq!(failure_kind(&ended(AgentOutcome::TimedOut)), Some(FailureKind::AgentTimedOut));
    assert_eq!(failure_kind(&ended(AgentOutcome::Stalled)), Some(FailureKind::AgentStalled));
    assert_eq!(ended(AgentOutcome::Stopped), Action::End(Conclusion::Interrupted));
    assert_eq!(after(TERMS, [Event::StopRequested]), Action::End(Conclusion::Interrupted));
    let why = || "the issue is gone".to_owned();
    assert_eq!(after(TERMS, [Event::Withdrawn(why())]), Action::End(Conclusion::Withdrawn(why())));
    assert_eq!(after(TERMS, [Event::ClaimLost]), Action::End(Conclusion::ClaimLost));
    let broke = Failure::new(FailureKind::Internal, "disk full");
    let expected = Action::End(Conclusion::Failed(broke.clone()));
    assert_eq!(after(TERMS, [Event::Broke(broke)]), expected);
}

/// What may happen after an action, so that a run can be played through.
fn events_after(action: &Action) -> Vec<Event> {
    match action {
        Action::RunAgent(_) => {
            let exhausted = Trouble::QuotaExhausted { resets_at: None };
            vec![finished(), limited(None), Event::AgentEnded(AgentOutcome::Trouble(exhausted))]
        }
        Action::Wait { .. } => vec![Event::Waited],
        Action::Collect => {
            vec![Event::Collected(Collected::Work), Event::Collected(Collected::Unpublishable("x".into()))]
        }
        Action::Gate => vec![gate_failed(), Event::GateEnded(GateOutcome::Passed)],
        Action::GateBase => {
            vec![Event::BaseGated(GateOutcome::Passed), Event::BaseGated(failed("make: exit 2", false))]
        }
        Action::Push(_) => {
            vec![moved(), Event::Pushed(PushOutcome::BranchRefused("no".into()))]
        }
        Action::Rebase => vec![
            Event::Rebased(Rebased::Clean { overlaps: true }),
            Event::Rebased(Rebased::Conflict { files: vec![] }),
        ],
        Action::End(_) => vec![],
    }
}

proptest! {
    /// However unlucky it is, a run ends.
    #[test]
    fn every_run_ends(choices in prop::collection::vec(0usize..3, 200), max_fixes in 0u32..4) {
        let (mut run, mut action) = IssueRun::begin(Terms { max_fixes, fallbacks: 2, ..TERMS });
        for choice in choices {
            let events = events_after(&action);
            if events.is_empty() {
                return Ok(());
            }
            action = run.on(events[choice % events.len()].clone());
        }
        prop_assert!(false, "still at {:?} after 200 steps", action);
    }
}
