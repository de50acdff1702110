//! `acf-worker`, the small program of containers: a worker, or a sweep, by the environment's settings.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use acf_core::issue::Stage;
use acf_core::run::WorkerId;
use acf_worker::config::{self, Flags, Layers, Need};
use acf_worker::foreground::{self, Errand};
use acf_worker::signals;
use acf_worker::worker::chain;
use lexopt::prelude::*;

const HELP: &str = "\
Works on issues by the settings in the environment; `acf worker` does the same with more flags.

Usage: acf-worker [--stage planning|implementation] [--max-issues N] [--exit-when-idle]
       acf-worker sweep [--dead WORKER]...   settle what dead workers left
       acf-worker --version
";

/// What the program is asked to do.
enum Request {
    Work(Errand),
    Sweep(Vec<WorkerId>),
    Print(String),
}

fn main() -> ExitCode {
    if let Some(exit) = acf_worker::hidden_command(std::env::args_os().skip(1)) {
        return exit;
    }
    acf_worker::process::keep_environment_private();
    match parse(std::env::args_os().skip(1)) {
        Ok(request) => run(request),
        Err(error) => fail(&format!("{error}\n\n{HELP}"), 2),
    }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, lexopt::Error> {
    let mut errand = Errand { stage: Stage::Implementation, max_issues: None, exit_when_idle: false };
    let mut dead = Vec::new();
    let mut sweep = false;
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("stage") if !sweep => errand.stage = parser.value()?.parse_with(str::parse::<Stage>)?,
            Long("max-issues") if !sweep => errand.max_issues = Some(parser.value()?.parse()?),
            Long("exit-when-idle") if !sweep => errand.exit_when_idle = true,
            Long("dead") if sweep => dead.push(WorkerId::new(parser.value()?.string()?)),
            Short('h') | Long("help") => return Ok(Request::Print(HELP.to_owned())),
            Short('V') | Long("version") => {
                return Ok(Request::Print(format!("acf-worker {}\n", env!("CARGO_PKG_VERSION"))));
            }
            Value(verb) if verb == "sweep" && !sweep => sweep = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(if sweep { Request::Sweep(dead) } else { Request::Work(errand) })
}

fn run(request: Request) -> ExitCode {
    let tokio = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(tokio) => tokio,
        Err(error) => return fail(&format!("cannot start the event loop: {error}"), 1),
    };
    let need = match &request {
        Request::Work(_) => Need::Worker,
        Request::Sweep(_) => Need::Repository,
        Request::Print(text) => {
            #[expect(clippy::print_stdout, reason = "what was asked for is this program's output")]
            {
                print!("{text}");
            }
            return ExitCode::SUCCESS;
        }
    };
    if let Err(error) = signals::end_git_too() {
        return fail(&format!("cannot handle signals: {error}"), 1);
    }
    let environment = config::process_environment();
    let layers = Layers::read(Flags::default(), environment.clone(), Path::new("."), None);
    let settings = match config::load(&layers, need) {
        Ok(settings) => settings,
        Err(problems) => return fail(&problems.to_string(), 2),
    };
    settings.warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
    let ended = tokio.block_on(async {
        match request {
            Request::Work(errand) => {
                foreground::work(&settings, &environment, errand).await.map(|_| Vec::new())
            }
            Request::Sweep(dead) => {
                foreground::sweep(&settings, &environment, &dead).await.map(|settlement| settlement.unsettled)
            }
            Request::Print(_) => Ok(Vec::new()),
        }
    });
    tokio.shutdown_background();
    match ended {
        Ok(unsettled) if unsettled.is_empty() => ExitCode::SUCCESS,
        Ok(unsettled) => {
            let told: Vec<_> =
                unsettled.iter().map(|one| format!("cannot settle {}: {}", one.issue, one.why)).collect();
            fail(&settings.mask.apply(&told.join("\n")), 1)
        }
        Err(error) => fail(&settings.mask.apply(&chain(&error)), 1),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    say(&format!("error: {message}"));
    ExitCode::from(code)
}

#[expect(clippy::print_stderr, reason = "the words of a program that has no log yet, or no longer")]
fn say(message: &str) {
    eprintln!("{message}");
}
