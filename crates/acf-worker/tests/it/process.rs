//! Commands below a guard, with everything that they may do to outlive it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use acf_worker::process::{End, Guard, GuardedCommand, Limits, Output, run};
use tokio_util::sync::CancellationToken;

use crate::family::Family;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);
const PATIENT: Limits = Limits { timeout: LONG, stall: None, grace: LONG };

fn guard() -> Guard {
    Guard::at(env!("CARGO_BIN_EXE_acf-worker"))
}

fn command(family: &Family, program: &str, args: &[&str]) -> GuardedCommand {
    GuardedCommand {
        program: program.into(),
        args: args.iter().map(Into::into).collect(),
        env: Family::env_of(family.dir()),
        dir: family.dir().to_owned(),
        stdin: None,
    }
}

fn sh(family: &Family, script: &str) -> GuardedCommand {
    command(family, "sh", &["-c", script])
}

/// Runs the command and returns how it ended and what it said, sure that nothing of it is left.
async fn ran(family: &Family, command: GuardedCommand, limits: Limits) -> (End, Vec<(Output, String)>) {
    let mut lines = Vec::new();
    let mut on_line = |output, line: &str| lines.push((output, line.to_owned()));
    let end = run(&guard(), command, limits, &CancellationToken::new(), &mut on_line).await.unwrap();
    assert_eq!(family.alive(), [""; 0], "after {end:?}");
    (end, lines)
}

async fn end_of(script: &str, limits: Limits) -> End {
    let family = Family::new();
    ran(&family, sh(&family, script), limits).await.0
}

fn texts(lines: &[(Output, String)]) -> Vec<&str> {
    lines.iter().map(|(_, text)| text.as_str()).collect()
}

#[tokio::test]
async fn a_command_is_told_by_its_exit_code_and_both_its_outputs() {
    let family = Family::new();
    let (end, mut lines) = ran(&family, sh(&family, "echo out; echo err >&2; exit 3"), PATIENT).await;
    assert!(matches!(end, End::Exited(3)), "{end:?}");
    lines.sort_by_key(|(output, _)| *output == Output::Stderr);
    assert_eq!(lines, [(Output::Stdout, "out".into()), (Output::Stderr, "err".into())]);
}

#[tokio::test]
async fn a_code_above_128_is_no_signal_and_a_signal_is_no_code() {
    assert!(matches!(end_of("exit 137", PATIENT).await, End::Exited(137)));
    assert!(matches!(end_of("kill -9 $$", PATIENT).await, End::Killed(9)));
}

#[tokio::test]
async fn a_program_that_is_not_there_or_no_program_is_told_from_one_that_fails() {
    let family = Family::new();
    let end = ran(&family, command(&family, "no-such-program", &[]), PATIENT).await.0;
    assert!(matches!(end, End::NotFound), "{end:?}");
    let end = ran(&family, command(&family, "/tmp", &[]), PATIENT).await.0;
    assert!(
        matches!(&end, End::NotStarted(error) if error.kind() == std::io::ErrorKind::PermissionDenied),
        "{end:?}"
    );
    assert!(matches!(end_of("no-such-program", PATIENT).await, End::Exited(127)));
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_error_that_names_it() {
    let family = Family::new();
    let command = GuardedCommand { dir: family.dir().join("gone"), ..sh(&family, "true") };
    let stop = CancellationToken::new();
    let error = run(&guard(), command, PATIENT, &stop, &mut |_, _| {}).await.unwrap_err().to_string();
    assert!(error.contains("`sh`") && error.contains("/gone"), "{error}");
}

#[tokio::test]
async fn the_environment_is_what_is_given_and_the_guards_mark() {
    let family = Family::new();
    let (_, lines) = ran(&family, command(&family, "env", &[]), PATIENT).await;
    let names: BTreeSet<_> = texts(&lines).into_iter().filter_map(|line| line.split('=').next()).collect();
    assert_eq!(names, BTreeSet::from(["ACF_GUARD", "ACF_TEST_FAMILY", "PATH"]));
}

#[tokio::test]
async fn standard_input_is_the_given_text_or_nothing() {
    let family = Family::new();
    let text = "äö\n".repeat(100_000);
    let reads = |stdin| GuardedCommand { stdin, ..sh(&family, "wc -c") };
    for (stdin, bytes) in [(None, "0"), (Some(String::new()), "0"), (Some(text), "500000")] {
        let (_, lines) = ran(&family, reads(stdin), PATIENT).await;
        assert_eq!(texts(&lines), [bytes]);
    }
    let ignores = GuardedCommand { stdin: Some("x".repeat(10_000_000)), ..sh(&family, "exit 5") };
    assert!(matches!(ran(&family, ignores, PATIENT).await.0, End::Exited(5)));
}

#[tokio::test]
async fn a_command_that_ignores_sigterm_is_killed_after_the_grace() {
    let limits = Limits { timeout: SHORT, stall: None, grace: SHORT };
    let end = end_of("trap '' TERM; while :; do sleep 1000; done", limits).await;
    assert!(matches!(end, End::TimedOut), "{end:?}");
}

#[tokio::test]
async fn a_command_that_is_to_end_can_still_say_goodbye() {
    let family = Family::new();
    let command = sh(&family, "trap 'echo bye; exit 0' TERM; echo up; sleep 1000 & wait");
    let stop = CancellationToken::new();
    let mut lines = Vec::new();
    let mut on_line = |_, line: &str| {
        lines.push(line.to_owned());
        stop.cancel();
    };
    let end = run(&guard(), command, PATIENT, &stop, &mut on_line).await.unwrap();
    assert!(matches!(end, End::Stopped), "{end:?}");
    assert_eq!(lines, ["up", "bye"]);
    assert_eq!(family.alive(), [""; 0]);
}

#[tokio::test]
async fn a_command_that_falls_silent_is_ended() {
    let limits = Limits { timeout: LONG, stall: Some(SHORT), grace: LONG };
    let end = end_of("echo working; sleep 1000", limits).await;
    assert!(matches!(end, End::Stalled), "{end:?}");
}

#[tokio::test]
async fn children_and_daemons_end_with_the_command_that_left_them() {
    let script = "sleep 1000 &
        (setsid sh -c 'trap \"\" TERM HUP; sleep 1000; sleep 1000' >/dev/null 2>&1 &)
        setsid setsid sleep 1000 &
        exit 3";
    let end = end_of(script, PATIENT).await;
    assert!(matches!(end, End::Exited(3)), "{end:?}");
}

#[tokio::test]
async fn a_stopped_child_and_a_family_that_keeps_forking_do_not_get_away() {
    let limits = Limits { timeout: SHORT, stall: None, grace: SHORT };
    let end = end_of("sh -c 'kill -STOP $$' & while :; do (sleep 0.05 &) done", limits).await;
    assert!(matches!(end, End::TimedOut), "{end:?}");
}

#[tokio::test]
async fn a_command_that_closes_its_outputs_is_still_waited_for() {
    let end = end_of("exec >&- 2>&-; sleep 0.2; exit 4", PATIENT).await;
    assert!(matches!(end, End::Exited(4)), "{end:?}");
}

#[tokio::test]
async fn a_gigabyte_of_output_fills_no_memory_and_its_end_is_passed_on() {
    for flood in ["head -c 1000000000 /dev/zero", "yes | head -c 1000000000"] {
        let family = Family::new();
        let begun = Instant::now();
        let (mut bytes, mut last) = (0, String::new());
        let mut on_line = |_, line: &str| {
            bytes += line.len();
            line.clone_into(&mut last);
        };
        let command = sh(&family, &format!("{flood}; echo; echo the end"));
        let end = run(&guard(), command, PATIENT, &CancellationToken::new(), &mut on_line).await.unwrap();
        assert!(matches!(end, End::Exited(0)), "{end:?}");
        assert_eq!(last, "the end");
        assert!(bytes < 64_000_000, "{bytes} bytes in {:?}", begun.elapsed());
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 256 * 1024, "{peak_kib} KiB");
}

#[tokio::test]
async fn a_dropped_run_kills_its_command_at_once() {
    let family = Family::new();
    let command = sh(&family, "trap '' TERM; setsid sleep 1000 & echo up; wait");
    let (up, is_up) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        let mut up = Some(up);
        let mut on_line = |_, _: &str| {
            if let Some(up) = up.take() {
                let _ = up.send(());
            }
        };
        run(&guard(), command, PATIENT, &CancellationToken::new(), &mut on_line).await
    });
    is_up.await.unwrap();
    assert!(!family.alive().is_empty());
    task.abort();
    family.all_end().await;
}

#[tokio::test]
async fn a_signal_to_the_guard_ends_the_command_too() {
    let end = end_of("kill -TERM $PPID; sleep 1000", PATIENT).await;
    assert!(matches!(end, End::Killed(15)), "{end:?}");
}

#[tokio::test]
async fn a_command_that_kills_its_guard_is_an_error_and_does_not_outlive_it() {
    let family = Family::new();
    let daemon =
        "setsid sh -c 'echo up; sleep 1000; sleep 1000' | { read up; kill -KILL $PPID; sleep 1000; }";
    let command = sh(&family, &format!("set -m; sleep 1000 & {daemon}"));
    let stop = CancellationToken::new();
    let error = run(&guard(), command, PATIENT, &stop, &mut |_, _| {}).await.unwrap_err();
    assert_eq!(error.to_string(), "the guard of `sh` did not do its work: signal: 9 (SIGKILL)");
    family.all_end().await;
}
