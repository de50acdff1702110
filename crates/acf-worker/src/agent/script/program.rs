//! The scripted agent's program: the body of the hidden sub-command `__script-agent`.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use acf_core::issue::Stage;
use acf_core::receipt::Usage;
use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::SIGTERM;

use super::directive::{Directive, for_round};
use super::{Line, Session, Task};

/// The exit code for a script that cannot be followed.
const BAD_SCRIPT: u8 = 2;
/// The exit code when something keeps it from going on.
const TROUBLE: u8 = 1;

/// Runs the scripted agent in the current directory.
pub(crate) fn script_agent_main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(End::With(code)) => ExitCode::from(code),
        Err(End::Broken(why)) => {
            let _ = writeln!(io::stderr(), "error: {why}");
            ExitCode::from(BAD_SCRIPT)
        }
    }
}

/// Why a round ends before its end.
enum End {
    With(u8),
    Broken(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

fn run() -> Result<(), End> {
    let mut task = String::new();
    io::stdin().read_to_string(&mut task)?;
    let task: Task = serde_json::from_str(&task).map_err(|error| End::Broken(error.to_string()))?;
    let directives = for_round(&task.description, task.stage, task.round).map_err(End::Broken)?;

    let mut session = task.session.unwrap_or_default();
    session.rounds += 1;
    say(&Line::About { version: env!("CARGO_PKG_VERSION").into() })?;
    say(&Line::Session { session: session.name() })?;
    let mut rate_limits = 0;
    for directive in &directives {
        if let &Directive::RateLimit(wait) = directive {
            rate_limits += 1;
            if rate_limits > session.rate_limits {
                return rate_limit(wait, Session { rate_limits, ..session });
            }
        } else {
            follow(directive, &task)?;
        }
    }
    if !directives.iter().any(Directive::settles_the_work) {
        work_by_default(&task)?;
    }
    let message = format!("round {} of the session", session.rounds);
    say(&Line::Finished { ok: true, message })?;
    Ok(())
}

fn say(line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    io::stdout().write_all(text.as_bytes())
}

fn rate_limit(wait: Duration, session: Session) -> Result<(), End> {
    say(&Line::Session { session: session.name() })?;
    let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    trouble(&Line::RateLimited { retry_after_ms })
}

fn trouble(line: &Line) -> Result<(), End> {
    say(line)?;
    Err(End::With(TROUBLE))
}

fn work_by_default(task: &Task) -> Result<(), End> {
    match (task.stage, task.round) {
        (Stage::Planning, _) => {
            let summary = &task.summary;
            let plan =
                format!("# Plan: {summary}\n\n1. Write `{}.txt`.\n2. Run the checks.\n", task.key.slug());
            write(&task.plan_path, &plan)
        }
        (Stage::Implementation, 0) => {
            write(Path::new(&format!("{}.txt", task.key.slug())), &format!("{}\n", task.summary))
        }
        (Stage::Implementation, _) => Ok(()),
    }
}

fn follow(directive: &Directive, task: &Task) -> Result<(), End> {
    match directive {
        Directive::Write { path, text } => write(Path::new(path), text)?,
        Directive::Plan(text) => write(&task.plan_path, text)?,
        Directive::Append { path, text } => {
            let before = match fs::read(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                before => before.map_err(|error| cannot("read", Path::new(path), &error))?,
            };
            write(Path::new(path), &(String::from_utf8_lossy(&before) + text.as_str()))?;
        }
        Directive::Delete { path } => delete(Path::new(path))?,
        Directive::Sh(command) => sh(command)?,
        Directive::None => {}
        Directive::Print(text) => say(&Line::Text { text: text.clone() })?,
        Directive::Model(model) => say(&Line::Model { model: model.clone() })?,
        &Directive::Quota(reset) => {
            let resets_at = reset.and_then(|reset| jiff::Timestamp::now().checked_add(reset).ok());
            return trouble(&Line::QuotaExhausted { resets_at });
        }
        Directive::NotAuthenticated(message) => {
            return trouble(&Line::NotAuthenticated { message: message.clone() });
        }
        Directive::OutOfTurns => return trouble(&Line::OutOfTurns),
        Directive::OutOfBudget => return trouble(&Line::OutOfBudget),
        &Directive::Usage { input, output, cost } => {
            let usage = Usage {
                turns: 1,
                input_tokens: input,
                output_tokens: output,
                cost_usd: cost,
                ..Usage::default()
            };
            say(&Line::Usage(usage))?;
        }
        &Directive::Sleep(duration) => sleep(duration),
        &Directive::Flood(bytes) => flood(bytes)?,
        Directive::IgnoreTerm => {
            // A flag that nobody looks at.
            signal_hook::flag::register(SIGTERM, Arc::new(AtomicBool::new(false)))?;
        }
        Directive::Hang => loop {
            std::thread::park();
        },
        &Directive::Fail(code) => {
            say(&Line::Text { text: format!("failing with exit code {code}, as told") })?;
            return Err(End::With(code));
        }
        Directive::Crash => {
            // Not abort: that would leave a core file in the checkout.
            let _ = kill_process(getpid(), Signal::KILL);
        }
        Directive::RateLimit(_) => {}
    }
    Ok(())
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> End {
    End::Broken(format!("cannot {verb} {}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), End> {
    say(&Line::Tool { summary: format!("write {}", path.display()) })?;
    let directory = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| cannot("write", path, &error))
}

fn delete(path: &Path) -> Result<(), End> {
    say(&Line::Tool { summary: format!("delete {}", path.display()) })?;
    let is_directory = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    let deleted = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    deleted.map_err(|error| cannot("delete", path, &error))
}

fn sh(command: &str) -> Result<(), End> {
    say(&Line::Tool { summary: format!("sh {command}") })?;
    let status = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).status()?;
    match status.code() {
        Some(0) => Ok(()),
        code => {
            let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
            Err(End::With(code))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "to sleep is what this program is told")]
fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

fn flood(bytes: u64) -> io::Result<()> {
    let lines = "All work and no play makes Jack a dull boy.\n".repeat(1000).into_bytes();
    let mut stdout = io::stdout().lock();
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).map_or(lines.len(), |left| left.min(lines.len()));
        stdout.write_all(&lines[..now])?;
        left -= now as u64;
    }
    Ok(())
}
