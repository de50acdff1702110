//! The keeper: the small process that stands between a shell and a worker.
//!
//! `acf __detach DIR PROGRAM ARG…` leaves the shell's session, so that a closed terminal takes nobody
//! along; starts the worker in the worker's directory's name; and waits for its end, to note the exit
//! code and to end whatever the worker left running. It does not restart workers, and forwards no
//! signals: the worker is signalled itself.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Signal, setsid};
use serde::{Deserialize, Serialize};

use super::record::{Order, Record, WorkerDir};
use crate::error::Exit;
use acf_worker::process::{Identity, end_survivors};

/// The hidden verb by which `acf` becomes a keeper.
pub const VERB: &str = "__detach";

/// What a keeper answers, as one line of its standard output, once the worker runs or cannot.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// The worker runs, and its record is written.
    Started,
    /// It could not be started.
    Failed(String),
}

/// Is a keeper, from its start to its end: the arguments are those behind [`VERB`], and the order is
/// read from the standard input.
#[must_use]
pub fn run(args: impl Iterator<Item = OsString>) -> Exit {
    match start(args) {
        Ok(kept) => {
            answer(&Answer::Started);
            kept.wait()
        }
        Err(error) => {
            answer(&Answer::Failed(error.to_string()));
            Exit::Failed
        }
    }
}

/// That whoever asked has gone is no reason to give the worker up.
fn answer(answer: &Answer) {
    let mut stdout = io::stdout();
    if let Ok(line) = serde_json::to_string(answer) {
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}

struct Kept {
    dir: WorkerDir,
    child: std::process::Child,
    keeper: Identity,
}

fn start(mut args: impl Iterator<Item = OsString>) -> io::Result<Kept> {
    let missing = || io::Error::from(io::ErrorKind::InvalidInput);
    let dir = WorkerDir::new(args.next().ok_or_else(missing)?);
    let program = args.next().ok_or_else(missing)?;
    let mut order = String::new();
    io::stdin().read_to_string(&mut order)?;
    let order: Order = serde_json::from_str(&order)?;

    setsid()?;
    let keeper = Identity::of(std::process::id())?;
    let log = File::options().append(true).create(true).mode(0o600).open(dir.log())?;
    let mut child = Command::new(&program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A group of its own, which can be signalled without its keeper.
        .process_group(0)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
    let recorded = Identity::of(child.id())
        .and_then(|worker| dir.write_record(&Record { order, worker, keeper: keeper.clone() }));
    if let Err(error) = recorded {
        // A worker that no record tells of could never be found, and so never be stopped.
        child.kill()?;
        child.wait()?;
        return Err(error);
    }
    Ok(Kept { dir, child, keeper })
}

impl Kept {
    fn wait(mut self) -> Exit {
        let status = self.child.wait();
        self.end_session();
        end_survivors();
        match status.and_then(|status| self.dir.write_exit(exit_code(status))) {
            Ok(()) => Exit::Done,
            Err(_) => Exit::Failed,
        }
    }

    /// Ends what the worker started and left behind: agents, above all, where it was killed.
    fn end_session(&self) {
        let mut ended = Vec::new();
        // Until nobody new turns up: a process may have started another one while it was looked for.
        while let Ok(members) = self.keeper.session_members(&self.keeper) {
            let left: Vec<_> = members.into_iter().filter(|process| !ended.contains(process)).collect();
            if left.is_empty() {
                break;
            }
            for process in left {
                // One that cannot be ended is left to whoever may.
                let _ = process.signal(Signal::KILL);
                ended.push(process);
            }
        }
    }
}

/// Returns the exit code as shells tell it: a signal is 128 and its number.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_told_as_shells_do() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
