//! The verbs of the fleet over the process runtime: what they do, and what they print.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acf_cli::args::{Cli, Command};
use acf_cli::command;
use acf_cli::error::Exit;
use acf_cli::process::{Launch, ProcessRuntime};
use acf_cli::ui::Out;
use acf_core::runtime::{Pool, Runtime};
use acf_worker::config::RuntimeChoice;
use clap::Parser;

/// A factory whose workers are a shell program, and which prints to a buffer.
struct Factory {
    runtime: ProcessRuntime,
    _dir: tempfile::TempDir,
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Factory {
    fn new(program: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let launch = Launch {
            keeper: env!("CARGO_BIN_EXE_acf").into(),
            program: "/bin/sh".into(),
            args: ["-c", program].map(Into::into).into(),
            env: [("PATH".into(), "/usr/bin:/bin".into())].into(),
        };
        Self { runtime: ProcessRuntime::new(dir.path(), launch), _dir: dir }
    }

    /// Runs a verb as it is typed, and returns what it printed, without colour.
    async fn acf(&self, line: &str) -> anyhow::Result<String> {
        let buffer = Buffer::default();
        let mut out = Out::to(buffer.clone());
        let (out, runtime) = (&mut out, &self.runtime);
        let nowhere = PathBuf::from("/nonexistent");
        let settings = acf_worker::config::Factory {
            name: "shop".into(),
            runtime: RuntimeChoice::Process,
            state: nowhere,
            stop_grace: Duration::from_secs(30),
        };
        let cli = Cli::try_parse_from(format!("acf {line}").split_whitespace())?;
        let exit = match cli.command {
            Command::Workers(args) => {
                command::pool::run(&args, Pool::Workers, &settings, runtime, out).await?
            }
            Command::Planners(args) => {
                command::pool::run(&args, Pool::Planners, &settings, runtime, out).await?
            }
            Command::Add(args) => command::add::run(&args, runtime, out).await?,
            Command::Status(args) => command::status::run(&args, "shop", runtime, out).await?,
            Command::Logs(args) => command::logs::run(&args, runtime, out).await?,
            Command::Stop(args) => command::stop::run(&args, &settings, runtime, out).await?,
            other => panic!("{other:?} is no verb of the fleet"),
        };
        assert_eq!(exit, Exit::Done);
        let printed = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        Ok(anstream::adapter::strip_str(&printed).to_string())
    }

    async fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.acf(line).await.unwrap()).unwrap()
    }
}

impl Drop for Factory {
    fn drop(&mut self) {
        let runtime = self.runtime.clone();
        let stop_all = async move {
            for worker in runtime.list().await.unwrap() {
                runtime.stop(&worker.id, Duration::ZERO).await.unwrap();
            }
        };
        let own_loop = || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio.block_on(stop_all);
        };
        std::thread::spawn(own_loop).join().unwrap();
    }
}

const WORKS: &str = "echo up; trap 'exit 0' TERM; while :; do sleep 0.05; done";

#[tokio::test]
async fn a_pool_is_brought_to_a_size_and_back() {
    let factory = Factory::new(WORKS);
    let started = factory.acf("workers 2").await.unwrap();
    assert_eq!(started.matches("started w-").count(), 2, "{started}");
    assert_eq!(factory.acf("workers 2").await.unwrap(), "");
    factory.acf("planners 1").await.unwrap();
    let smaller = factory.json("workers 1 --json").await;
    assert_eq!((smaller["size"].as_u64(), smaller["stopped"].as_array().unwrap().len()), (Some(1), 1));
    let status = factory.json("status --json").await;
    let running: Vec<_> = status["pools"].as_array().unwrap().iter().map(|pool| &pool["running"]).collect();
    assert_eq!(running, [1, 1]);
    let planners = factory.acf("planners").await.unwrap();
    assert!(planners.contains("  planners        1"), "{planners}");
    assert!(!planners.contains("w-"), "{planners}");
}

#[tokio::test]
async fn workers_can_be_added_beside_those_that_run() {
    let factory = Factory::new(WORKS);
    factory.acf("workers 1").await.unwrap();
    let added = factory.acf("add 2").await.unwrap();
    assert_eq!(added.lines().filter(|line| line.starts_with("w-")).count(), 2, "{added}");
    let planner = factory.json("add --pool planners 1 --json").await;
    assert!(planner["started"][0].as_str().unwrap().starts_with("p-"), "{planner}");
    assert_eq!(factory.runtime.list().await.unwrap().len(), 4);
    let refusal = factory.acf("add --image worker-codex 1").await.unwrap_err();
    assert!(format!("{refusal:#}").contains("no images"), "{refusal:#}");
}

#[tokio::test]
async fn a_log_is_printed_by_the_beginning_of_an_id() {
    let factory = Factory::new("echo one; echo two");
    let id = factory.acf("add 1").await.unwrap();
    let begin = id.trim().trim_start_matches("w-").get(..6).unwrap();
    assert_eq!(factory.acf(&format!("logs {begin} -f")).await.unwrap(), "one\ntwo\n");
    let json = factory.acf(&format!("logs {begin} --json")).await.unwrap();
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["worker"], &first["text"]), (&id.trim().into(), &"one".into()));
}

#[tokio::test]
async fn stopping_all_stops_both_pools_and_then_nothing() {
    let factory = Factory::new(WORKS);
    factory.acf("workers 2").await.unwrap();
    factory.acf("planners 1").await.unwrap();
    let stopped = factory.json("stop --all --json").await;
    let states: Vec<_> = stopped.as_array().unwrap().iter().map(|worker| &worker["state"]).collect();
    assert_eq!(states, ["ended", "ended", "ended"]);
    assert_eq!(factory.json("stop --all --json").await.as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn one_unknown_id_stops_nobody() {
    let factory = Factory::new(WORKS);
    let id = factory.acf("add 1").await.unwrap();
    factory.acf(&format!("stop {} w-00000000", id.trim())).await.unwrap_err();
    assert_eq!(factory.json("status --json").await["pools"][0]["running"], 1);
}

#[tokio::test]
async fn a_worker_that_crashed_is_shown_with_its_last_words() {
    let factory = Factory::new("echo 'error: no such tracker' >&2; exit 2");
    let id = factory.acf("add 1").await.unwrap();
    factory.acf(&format!("logs {} -f", id.trim())).await.unwrap();
    let status = factory.acf("status").await.unwrap();
    assert!(status.contains("ended, exit 2"), "{status}");
    assert!(status.contains("error: no such tracker"), "{status}");
}
