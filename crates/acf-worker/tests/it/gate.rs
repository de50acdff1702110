//! The gate with real commands.

use std::time::Duration;

use acf_core::issue_run::GateOutcome;
use acf_worker::gate::{GateEnd, GateReport, Purpose, run};
use acf_worker::process::{Guard, Limits, Place};
use tokio_util::sync::CancellationToken;

use crate::family::Family;

const LIMITS: Limits =
    Limits { timeout: Duration::from_secs(60), stall: None, grace: Duration::from_millis(200) };

async fn gate(purpose: Purpose, commands: &[&str], limits: Limits) -> (GateReport, Vec<String>) {
    let family = Family::new();
    let commands: Vec<String> = commands.iter().map(|&command| command.into()).collect();
    let guard = Guard::at(env!("CARGO_BIN_EXE_acf-worker"));
    let env = Family::env_of(family.dir());
    let place = Place { guard: &guard, dir: family.dir(), env: &env, limits };
    let stop = CancellationToken::new();
    let mut logged = Vec::new();
    let log = &mut |line: &str| {
        logged.push(line.to_owned());
        if line == "stop now" {
            stop.cancel();
        }
    };
    let report = run(purpose, &commands, place, &stop, log).await.unwrap();
    assert_eq!(family.alive(), [""; 0]);
    (report, logged)
}

fn failed(reason: &str, evidence: &str) -> GateEnd {
    GateEnd::Judged(GateOutcome::Failed {
        reason: reason.into(),
        evidence: evidence.into(),
        in_setup: reason.starts_with("set-up "),
    })
}

fn exit_codes(report: &GateReport) -> Vec<Option<i32>> {
    report.checks.iter().map(|check| check.exit_code).collect()
}

#[tokio::test]
async fn work_that_every_command_likes_passes() {
    let (report, logged) = gate(Purpose::Verify, &["echo one > a; echo 1", "cat a"], LIMITS).await;
    assert_eq!(report.end, GateEnd::Judged(GateOutcome::Passed));
    assert_eq!(exit_codes(&report), [Some(0), Some(0)]);
    assert_eq!(report.checks[1].command, "cat a");
    assert_eq!(logged, ["$ echo one > a; echo 1", "1", "$ cat a", "one"]);
    assert_eq!(gate(Purpose::Verify, &[], LIMITS).await.0.end, GateEnd::Judged(GateOutcome::Passed));
}

#[tokio::test]
async fn the_first_failure_ends_it_and_is_shown_with_its_output() {
    let failing = "echo out; printf '\\033[31mred\\033[0m\\n' >&2; exit 2";
    let (report, _) = gate(Purpose::Verify, &["true", failing, "true"], LIMITS).await;
    assert_eq!(exit_codes(&report), [Some(0), Some(2)]);
    let GateEnd::Judged(GateOutcome::Failed { reason, evidence, .. }) = report.end else {
        panic!("{report:?}")
    };
    assert_eq!(reason, format!("`{failing}` exit 2"));
    let mut lines: Vec<_> = evidence.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["out", "red"]);
}

#[tokio::test]
async fn of_a_long_output_the_end_is_shown() {
    let (report, logged) = gate(Purpose::Verify, &["seq 1000; exit 1"], LIMITS).await;
    let GateEnd::Judged(GateOutcome::Failed { evidence, .. }) = report.end else { panic!("{report:?}") };
    assert_eq!(evidence.lines().next(), Some("[… 940 lines]"));
    assert_eq!(evidence.lines().count(), 1 + 60);
    assert_eq!(evidence.lines().last(), Some("1000"));
    assert_eq!(logged.len(), 1001);
}

#[tokio::test]
async fn a_set_up_that_fails_is_told_as_such() {
    let (report, _) = gate(Purpose::Setup, &["echo no network; exit 1"], LIMITS).await;
    assert_eq!(report.end, failed("set-up `echo no network; exit 1` exit 1", "no network"));
}

#[tokio::test]
async fn a_command_that_takes_too_long_or_is_killed_fails() {
    let short = Limits { timeout: Duration::from_millis(200), ..LIMITS };
    let (report, _) = gate(Purpose::Verify, &["echo busy; sleep 1000 & wait"], short).await;
    assert_eq!(report.end, failed("`echo busy; sleep 1000 & wait` ran longer than 0.2 s", "busy"));
    assert_eq!(exit_codes(&report), [None]);
    let (report, _) = gate(Purpose::Verify, &["kill -KILL $$"], LIMITS).await;
    assert_eq!(report.end, failed("`kill -KILL $$` was ended by signal 9", ""));
}

#[tokio::test]
async fn a_stop_is_no_judgement() {
    let (report, _) = gate(Purpose::Verify, &["echo stop now; sleep 1000", "true"], LIMITS).await;
    assert_eq!(report.end, GateEnd::Stopped);
    assert_eq!(exit_codes(&report), [None]);
}
