//! Detached workers: they outlive the shell that started them, and leave nothing when they are stopped.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use acf_core::run::Outcome;
use acf_tests::chaos::{Backlog, Ground, holds_within};
use acf_tests::sandbox::binary;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use super::assert_nothing_runs;

const PATIENCE: Duration = Duration::from_secs(40);

/// A factory of detached workers; those that are left are stopped when this is dropped.
struct Factory {
    ground: Ground,
}

impl Drop for Factory {
    fn drop(&mut self) {
        // An error would hide why the test failed.
        let _ = self.ground.acf().args(["stop", "--all", "--grace", "0s"]).output();
    }
}

impl Factory {
    fn new() -> Self {
        let half_done = "@write f/1.txt Half.\n@sleep 100";
        let ground = Ground::new(Backlog::described(&[half_done; 3]));
        let state = ground.sandbox.root().join("state").display().to_string();
        Self { ground: ground.told(&[("XDG_STATE_HOME", &state)]) }
    }

    /// Starts workers from a shell in a session of its own, whose terminal is then closed.
    fn start_from_a_shell_that_goes(&self, n: usize) {
        let mut shell = self.ground.command("setsid");
        shell.args(["sh", "-c", &format!("\"$0\" workers {n} >/dev/null && echo up; read wait")]);
        shell.arg(binary("acf")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = shell.spawn().unwrap();
        let mut up = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut up).unwrap();
        assert_eq!(up, "up\n");
        let session = Pid::from_raw(shell.id().try_into().unwrap()).unwrap();
        kill_process_group(session, Signal::HUP).unwrap();
        shell.wait().unwrap();
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.ground.run_acf(&["status", "--json"])).unwrap()
    }

    #[track_caller]
    fn await_busy(&self, n: u64) {
        let all_are_busy = || self.status()["pools"][0]["busy"] == n && self.agents() == n as usize;
        assert!(holds_within(PATIENCE, all_are_busy), "{:#}", self.status());
    }

    fn workers(&self) -> Vec<String> {
        let status = self.status();
        let workers = status["workers"].as_array().unwrap().iter();
        workers.map(|worker| worker["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Counts the agents that run. Their guards name them, too.
    fn agents(&self) -> usize {
        let is_agent = |command: &&String| command.contains("__script-agent") && !command.contains("__guard");
        self.ground.family.alive().iter().filter(is_agent).count()
    }

    fn kill(&self, worker: &str) {
        let record = self.ground.sandbox.root().join("state/acf/default/workers").join(worker);
        let record: Value = serde_json::from_slice(&fs::read(record.join("worker.json")).unwrap()).unwrap();
        let pid = record["worker"]["pid"].as_i64().unwrap().try_into().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
}

#[test]
fn chaos_of_closed_shells_and_kills_leaves_detached_workers_and_their_agents_accounted_for() {
    let factory = Factory::new();
    let ground = &factory.ground;
    factory.start_from_a_shell_that_goes(3);
    factory.await_busy(3);
    let workers = factory.workers();
    for worker in &workers {
        let log = ground.run_acf(&["logs", worker]);
        assert!(log.contains("claimed issue"), "{log}");
    }

    factory.kill(&workers[0]);
    assert!(holds_within(PATIENCE, || factory.agents() == 2), "{:#?}", ground.family.alive());
    let exit_code = || {
        let status = factory.status();
        let mut all = status["workers"].as_array().unwrap().iter();
        all.find(|worker| worker["id"] == *workers[0]).map(|killed| killed["exit_code"].clone())
    };
    // Its keeper may note it a moment later.
    assert!(holds_within(PATIENCE, || exit_code() == Some(137.into())), "{:#}", factory.status());

    ground.run_acf(&["workers", "0"]);
    assert_nothing_runs(ground);
    assert_eq!(ground.sandbox.refs("refs/acf/wip/").len(), 2);
    assert_eq!(ground.claims().len(), 1, "only the killed one could not give its issue back");
    let todo = ground.todo_text();
    assert_eq!((todo.matches("- [ ] Do").count(), todo.matches("- [>] Do").count()), (2, 1), "{todo}");
    assert_eq!(todo.matches("- Assignee: ").count(), 1, "{todo}");
    for run in ground.sandbox.refs("refs/acf/runs/") {
        let record = ground.sandbox.git(&["log", "-1", "--format=%B", &run]);
        let outcome: Outcome = serde_json::from_str(&record).unwrap();
        assert_eq!(outcome, Outcome::Interrupted);
    }

    ground.run_acf(&["sweep", "--dead", &workers[0]]);
    assert_eq!(ground.claims(), Vec::<String>::new());
    assert_eq!(ground.todo_text().matches("- [ ] Do").count(), 3);

    factory.start_from_a_shell_that_goes(3);
    factory.await_busy(3);
    ground.run_acf(&["stop", "--all"]);
    assert_nothing_runs(ground);
    assert_eq!(ground.claims(), Vec::<String>::new());
    assert_eq!(ground.sandbox.refs("refs/acf/wip/").len(), 3);
    assert_eq!(ground.todo_text().matches("- [ ] Do").count(), 3);
}
