//! Runs the target repository's own commands: its set-up, and the gate that work has to pass.
//!
//! What is run is decided by the policy of the base commit, and how a failure is mended is decided
//! elsewhere; here is only what the commands show.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use acf_core::issue_run::GateOutcome;
use acf_core::receipt::CheckResult;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::process::{self, End, GuardedCommand, Place};

mod excerpt;

use excerpt::Excerpt;

/// How much of the first errors in a failed command's output is shown for it.
const ERROR_BYTES: usize = 2 * 1024;
/// How much of the end of a failed command's output is shown for it.
const END_LINES: usize = 60;
const END_BYTES: usize = 4 * 1024;

/// What the commands are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// They make a checkout ready.
    Setup,
    /// They check work.
    Verify,
}

/// What the commands showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateReport {
    /// Each command that was run, in order; the last one is the one that failed, if any did.
    pub checks: Vec<CheckResult>,
    /// What it comes to.
    pub end: GateEnd,
}

/// How a gate ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateEnd {
    /// With an outcome.
    Judged(GateOutcome),
    /// Without: it was told to stop.
    Stopped,
}

/// Runs each command through `sh -c`, in order, up to the first that does not exit 0. The limits are for
/// each; each command and each line of its output goes to `log`.
///
/// # Errors
/// Where the guard or the shell cannot be started.
pub async fn run(
    purpose: Purpose,
    commands: &[String],
    place: Place<'_>,
    stop: &CancellationToken,
    log: &mut (dyn FnMut(&str) + Send),
) -> io::Result<GateReport> {
    let mut checks = Vec::new();
    for command in commands {
        command.trim().lines().for_each(|line| log(&format!("$ {line}")));
        let mut evidence = Excerpt::new(ERROR_BYTES, END_LINES, END_BYTES);
        let mut on_line = |_, line: &str| {
            evidence.push(line);
            log(line);
        };
        let begun = Instant::now();
        let end = process::run(place.guard, shell(command, place), place.limits, stop, &mut on_line).await?;
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let exit_code = if let End::Exited(code) = end { Some(code) } else { None };
        checks.push(CheckResult { command: command.clone(), exit_code, duration_ms });

        let complaint = match end {
            End::Exited(0) => continue,
            End::Stopped => return Ok(GateReport { checks, end: GateEnd::Stopped }),
            End::NotFound => return Err(io::Error::new(io::ErrorKind::NotFound, "`sh` is not on PATH")),
            End::NotStarted(error) => return Err(error),
            End::Exited(code) => format!("exit {code}"),
            End::Killed(signal) => format!("was ended by signal {signal}"),
            End::TimedOut => format!("ran longer than {}", limit(place.limits.timeout)),
            End::Stalled => format!("was silent for {}", limit(place.limits.stall.unwrap_or_default())),
        };
        let outcome = GateOutcome::Failed {
            reason: reason(purpose, command, &complaint),
            evidence: evidence.text(),
            in_setup: purpose == Purpose::Setup,
        };
        return Ok(GateReport { checks, end: GateEnd::Judged(outcome) });
    }
    Ok(GateReport { checks, end: GateEnd::Judged(GateOutcome::Passed) })
}

fn shell(command: &str, place: Place<'_>) -> GuardedCommand {
    GuardedCommand {
        program: "sh".into(),
        args: vec!["-c".into(), command.into()],
        env: place.env.to_vec(),
        dir: place.dir.to_owned(),
        stdin: None,
    }
}

/// Says what failed, in one line whatever the command is.
fn reason(purpose: Purpose, command: &str, complaint: &str) -> String {
    let mut reason = String::new();
    if purpose == Purpose::Setup {
        reason.push_str("set-up ");
    }
    let first_line = command.trim().lines().next().unwrap_or_default();
    let more = if first_line.len() < command.trim().len() { " …" } else { "" };
    let _ = write!(reason, "`{first_line}{more}` {complaint}");
    reason
}

/// Writes a limit as people set it: `90 s` and not `1 min 30 s`, but `20 min`.
fn limit(limit: Duration) -> String {
    let secs = limit.as_secs();
    if secs > 0 && secs.is_multiple_of(60) {
        format!("{} min", secs / 60)
    } else {
        format!("{} s", limit.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_one_line() {
        assert_eq!(reason(Purpose::Verify, "make check", "exit 2"), "`make check` exit 2");
        assert_eq!(reason(Purpose::Setup, "npm ci", "exit 1"), "set-up `npm ci` exit 1");
        assert_eq!(reason(Purpose::Verify, "\ncd a\nmake\n", "exit 2"), "`cd a …` exit 2");
    }

    #[test]
    fn limits_read_as_people_set_them() {
        let secs = [1200.0, 90.0, 0.2, 60.0].map(|secs| limit(Duration::from_secs_f64(secs)));
        assert_eq!(secs, ["20 min", "90 s", "0.2 s", "1 min"]);
    }
}
