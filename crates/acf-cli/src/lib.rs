//! `acf` as a library, so that its parts can be tested; `main.rs` only calls [`main`].
//!
//! Owns the command line, what people see of it, and the runtimes that only it uses. What a worker does
//! is `acf-worker`'s, what issues are is `acf-core`'s.

pub mod args;
pub mod command;
pub mod context;
pub mod error;
pub mod process;
pub mod symlinks;
pub mod ui;

use std::ffi::OsString;
use std::process::ExitCode;

use acf_core::fleet;
use acf_core::issue::Stage;
use acf_core::mask::Mask;
use acf_core::runtime::{Pool, Runtime as _};
use acf_worker::{config, signals};
use anyhow::Context as _;

use crate::args::{Cli, Command, SizeArgs};
use crate::context::Context;
use crate::error::Exit;
use crate::process::keeper;
use crate::ui::Out;

/// Is `acf`, from its arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    if let Some(exit) = acf_worker::hidden_command(argv.iter().skip(1).cloned()) {
        return exit;
    }
    acf_worker::process::keep_environment_private();
    if argv.get(1).is_some_and(|verb| verb == keeper::VERB) {
        return keeper::run(argv.into_iter().skip(2)).into();
    }
    error::install_panic_hook();
    let cli = match symlinks::parse(&argv) {
        Ok(cli) => cli,
        Err(answer) => {
            // Nobody reads it: there is nobody to tell.
            let _ = answer.print();
            return if answer.use_stderr() { symlinks::wrong_usage(&argv) } else { Exit::Done }.into();
        }
    };
    ui::set_color(cli.global.color);
    match run(&cli) {
        Exit::Usage => symlinks::wrong_usage(&argv),
        exit => exit,
    }
    .into()
}

fn run(cli: &Cli) -> Exit {
    let (context, tokio) = match begin(cli) {
        Ok(begun) => begun,
        Err(error) => return failed(&error, &Mask::default()),
    };
    let ended = tokio.block_on(dispatch(cli, &context, &mut Out::stdout()));
    // A thread that still waits for a file lock must not keep the program from ending.
    tokio.shutdown_background();
    ended.unwrap_or_else(|error| {
        let error = error::with_place_to_look(context.with_asked_wait(error));
        failed(&error, &context.layers().mask())
    })
}

fn begin(cli: &Cli) -> anyhow::Result<(Context, tokio::runtime::Runtime)> {
    signals::end_git_too().context("cannot handle signals")?;
    let directory = std::env::current_dir().context("cannot find the current directory")?;
    let environment = config::process_environment();
    if let Command::ImportClaudeCredentials(args) = &cli.command {
        let env_file = cli.global.settings.env_file.as_deref();
        command::import_claude_credentials::check_files(args, env_file, &environment)?;
    }
    let context = Context::new(&cli.global.settings, environment, &directory);
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    Ok((context, tokio))
}

/// Tells an error, without any secret that a service may have put into it.
fn failed(error: &anyhow::Error, mask: &Mask) -> Exit {
    let exit = error::exit(error);
    if exit != Exit::Done {
        ui::say(mask.apply(&error::describe(error)));
    }
    exit
}

async fn dispatch(cli: &Cli, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Demo(args) => command::demo::run(args, context, out).await,
        Command::Worker(args) => command::worker::run(args, context).await,
        Command::Implement(args) => {
            command::worker::run_one(&args.key, Stage::Implementation, context, out).await
        }
        Command::Plan(args) => command::worker::run_one(&args.key, Stage::Planning, context, out).await,
        Command::Issues(args) => command::issues::run(&args.command, context, out).await,
        Command::Workers(args) => pool(args, Pool::Workers, context, out).await,
        Command::Planners(args) => pool(args, Pool::Planners, context, out).await,
        Command::Add(args) => {
            let (_, runtime) = context.runtime_to_start()?;
            command::add::run(args, &runtime, out).await
        }
        Command::Status(args) => {
            let factory = context.factory()?;
            command::status::run(args, &factory.name, &context.runtime(&factory)?, out).await
        }
        Command::Logs(args) => command::logs::run(args, &context.runtime(&context.factory()?)?, out).await,
        Command::Stop(args) => {
            let factory = context.factory()?;
            command::stop::run(args, &factory, &context.runtime(&factory)?, out).await
        }
        Command::Runs(args) => command::runs::run(args, context, out).await,
        Command::Sweep(args) => command::sweep::run(args, context, out).await,
        Command::ImportClaudeCredentials(args) => {
            let env_file = cli.global.settings.env_file.as_deref();
            command::import_claude_credentials::run(args, env_file, context, out)
        }
        Command::Config(args) => command::config::run(args, context, out),
        Command::Completions { shell } => command::completions::run(*shell, out),
        Command::TaskManager(tool) => command::task_manager::run(tool, context, out).await,
        Command::Agent(args) => command::agent::run(&args.command, context, out).await,
    }
}

/// Shows a pool, or brings it to a size. What workers need is checked only where some are started: those
/// that run can always be seen and stopped, whatever became of the configuration.
async fn pool(args: &SizeArgs, pool: Pool, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    let looking = context.factory().and_then(|factory| Ok((context.runtime(&factory)?, factory)));
    let starts_some = match (&looking, args.size) {
        (_, None | Some(0)) => false,
        (Ok((runtime, _)), Some(size)) => {
            let actions = fleet::plan(&runtime.list().await?, pool, size.into());
            actions.iter().any(|action| matches!(action, fleet::Action::Start(_)))
        }
        (Err(_), Some(_)) => true,
    };
    let (runtime, factory) = if starts_some {
        let (factory, runtime) = context.runtime_to_start()?;
        (runtime, factory)
    } else {
        looking?
    };
    command::pool::run(args, pool, &factory, &runtime, out).await
}
