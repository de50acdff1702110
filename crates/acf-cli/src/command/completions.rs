//! `acf completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::Exit;
use crate::ui::Out;

/// Prints the completion script for a shell.
///
/// # Errors
/// When it cannot be printed.
pub fn run(shell: Shell, out: &mut Out) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "acf", &mut script);
    out.line(String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
