//! A worker that is killed with SIGKILL leaves nothing behind.
//!
//! This program has no test harness because it is three things: the test, the worker that is killed,
//! and, as `/proc/self/exe __guard`, the guard.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is to fail")]
#![expect(clippy::print_stdout, reason = "the worker tells the test that it is up, and the test its result")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};

use acf_worker::process::{Guard, GuardedCommand, Limits, end_survivors, run};
use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;

#[path = "it/family.rs"]
mod family;

use family::{Family, command_line};

const WORKER: &str = "__worker";

fn main() -> ExitCode {
    if let Some(exit) = acf_worker::hidden_command(std::env::args_os().skip(1)) {
        return exit;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Runners of tests ask for a list first, and for those that are switched off.
    let asked_for = |word: &str| std::env::args().any(|arg| arg == word);
    if asked_for("--list") {
        if !asked_for("--ignored") {
            println!("a_killed_worker_leaves_nothing_behind: test");
            println!("what_a_worker_and_a_guard_killed_at_once_leave_is_ended_by_the_next: test");
        }
        return ExitCode::SUCCESS;
    }
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(WORKER) {
        runtime.block_on(work(args.next().unwrap()));
    } else {
        let is_chosen = |name: &str| !asked_for("--exact") || asked_for(name);
        if is_chosen("a_killed_worker_leaves_nothing_behind") {
            runtime.block_on(a_killed_worker_leaves_nothing_behind());
            println!("a_killed_worker_leaves_nothing_behind ... ok");
        }
        if is_chosen("what_a_worker_and_a_guard_killed_at_once_leave_is_ended_by_the_next") {
            runtime.block_on(what_a_worker_and_a_guard_killed_at_once_leave_is_ended_by_the_next());
            println!("what_a_worker_and_a_guard_killed_at_once_leave_is_ended_by_the_next ... ok");
        }
    }
    ExitCode::SUCCESS
}

/// Runs a command that does all it can to outlive its worker, and says so once it is up.
async fn work(mark: String) {
    let script = "trap '' TERM HUP INT
        (setsid sh -c 'trap \"\" TERM; sleep 1000; sleep 1000' >/dev/null 2>&1 &)
        sleep 1000 &
        echo up
        while :; do sleep 1000; done";
    let command = GuardedCommand {
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        env: Family::env_of(mark.as_ref()),
        dir: "/".into(),
        stdin: None,
    };
    // Longer than the test waits, and no longer, should the test itself be killed.
    let timeout = std::time::Duration::from_secs(60);
    let limits = Limits { timeout, stall: None, grace: timeout };
    let mut on_line = |_, line: &str| println!("{line}");
    let _ =
        run(&Guard::this_program().unwrap(), command, limits, &CancellationToken::new(), &mut on_line).await;
}

async fn a_killed_worker_leaves_nothing_behind() {
    let family = Family::new();
    let mut worker = worker_of(&family).await;
    worker.kill().unwrap();
    worker.wait().unwrap();
    family.all_end().await;
}

/// The guard is killed first, while the worker is halted and so cannot notice it.
async fn what_a_worker_and_a_guard_killed_at_once_leave_is_ended_by_the_next() {
    let family = Family::new();
    let mut worker = worker_of(&family).await;
    let id = Pid::from_child(&worker);
    kill_process(id, Signal::STOP).unwrap();
    kill_process(guard_of(&family), Signal::KILL).unwrap();
    worker.kill().unwrap();
    worker.wait().unwrap();
    family.wait_until(|alive| alive.len() >= 3).await;
    while family.alive().iter().any(|command| command.starts_with("acf-guard")) {
        tokio::task::yield_now().await;
    }
    end_survivors();
    family.all_end().await;
}

fn guard_of(family: &Family) -> Pid {
    let processes = family.members();
    let guard = processes.iter().find(|process| command_line(process).starts_with("acf-guard")).unwrap();
    Pid::from_raw(guard.file_name().unwrap().to_str().unwrap().parse().unwrap()).unwrap()
}

/// Starts a worker whose command is up.
async fn worker_of(family: &Family) -> Child {
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args([WORKER.as_ref(), family.dir().as_os_str()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = String::new();
    BufReader::new(worker.stdout.take().unwrap()).read_line(&mut up).unwrap();
    assert_eq!(up, "up\n");
    // The guard, the shell, its child and its daemon; the daemon's own child may not be up yet.
    family.wait_until(|alive| alive.len() >= 4).await;
    worker
}
