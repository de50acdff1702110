//! The process runtime: the contract of every runtime, and what only processes can do.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::time::Duration;

use acf_cli::process::{Launch, ProcessRuntime};
use acf_core::run::WorkerId;
use acf_core::runtime::{LogSource, Pool, Runtime, RuntimeError, WorkerSpec, WorkerState};
use acf_tests::contract::runtime::World;
use acf_tests::runtime_contract;
use futures_util::TryStreamExt;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Starts a program as workers start agents: in a process group of its own, as `timeout` makes one.
const AGENT: &str = "timeout 60 sleep 60 &";

/// A process runtime in a directory of its own, whose workers end with it.
struct Processes {
    dir: tempfile::TempDir,
    runtime: ProcessRuntime,
    program: String,
}

impl World for Processes {
    type Runtime = ProcessRuntime;

    fn new(program: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let launch = launch("/bin/sh", program);
        let runtime = ProcessRuntime::new(dir.path().join("acf/shop"), launch);
        Self { dir, runtime, program: program.to_owned() }
    }

    fn runtime(&self) -> &ProcessRuntime {
        &self.runtime
    }
}

impl Processes {
    /// Returns the runtime as another `acf` sees it.
    fn seen_by_another(&self) -> ProcessRuntime {
        ProcessRuntime::new(self.dir.path().join("acf/shop"), launch("/bin/sh", &self.program))
    }

    async fn start(&self) -> WorkerId {
        self.runtime.start(&WorkerSpec::of(Pool::Workers), 1).await.unwrap().remove(0)
    }

    async fn first_line(&self, worker: &WorkerId) -> String {
        self.runtime.read(worker, true).await.unwrap().try_next().await.unwrap().unwrap().text
    }

    async fn ended(&self, worker: &WorkerId) {
        self.runtime.read(worker, true).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
    }

    async fn states(&self) -> Vec<WorkerState> {
        self.runtime.list().await.unwrap().into_iter().map(|view| view.state).collect()
    }
}

impl Drop for Processes {
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

fn launch(program: &str, script: &str) -> Launch {
    Launch {
        keeper: env!("CARGO_BIN_EXE_acf-under-test").into(),
        program: program.into(),
        args: ["-c", script, "worker"].map(Into::into).into(),
        env: [("PATH", "/usr/bin:/bin"), ("GREETING", "hello")].map(|(k, v)| (k.into(), v.into())).into(),
    }
}

fn pid(text: &str) -> Pid {
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

/// Waits until a process is gone, or nothing but its exit status is left.
async fn is_gone(process: Pid) {
    let gone = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        loop {
            tick.tick().await;
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_pid()));
            if stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z ")) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("the process goes");
}

runtime_contract!(Processes);

#[tokio::test]
async fn a_worker_knows_its_id_and_has_only_the_environment_that_it_is_given() {
    let world = Processes::new("env | cut -d= -f1 | sort | tr '\\n' ' '; echo $GREETING $ACF_WORKER_ID");
    let worker = world.start().await;
    let line = world.first_line(&worker).await;
    let (names, values) = line.split_once(" hello ").unwrap();
    // The shell itself adds PWD, and may add two more.
    let own = |name: &&str| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name);
    let names: Vec<_> = names.split(' ').filter(own).collect();
    assert_eq!(names, ["ACF_EVENTS_FILE", "ACF_WORKER_ID", "GREETING", "PATH"]);
    assert_eq!(values, worker.as_str());
}

#[tokio::test]
async fn a_worker_does_not_belong_to_the_shell_that_started_it() {
    let world = Processes::new("echo $$; exec sleep 60");
    let worker = world.start().await;
    let process = pid(&world.first_line(&worker).await);
    assert_ne!(session_of(&process.to_string()), session_of("self"));
    assert_ne!(session_of(&process.to_string()), process.to_string(), "its keeper leads the session");
}

/// Returns the session of a process, 0 where that began outside of this PID namespace.
///
/// Field 6 of proc_pid_stat(5). `getsid` of rustix takes no 0.
fn session_of(process: &str) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    after_name.split(' ').nth(3).unwrap().to_owned()
}

#[tokio::test]
async fn another_acf_sees_and_stops_the_same_workers() {
    let world = Processes::new("exec sleep 60");
    let worker = world.start().await;
    let another = world.seen_by_another();
    assert_eq!(another.list().await.unwrap(), world.runtime.list().await.unwrap());
    another.stop(&worker, Duration::from_secs(30)).await.unwrap();
    assert_eq!(world.states().await, [WorkerState::Ended { exit_code: Some(143) }]);
}

#[tokio::test]
async fn two_that_size_a_pool_at_once_do_not_double_it() {
    let world = Processes::new("exec sleep 60");
    let another = world.seen_by_another();
    let spec = WorkerSpec::of(Pool::Workers);
    let (one, two) = tokio::join!(world.runtime.resize(&spec, 3), another.resize(&spec, 3));
    assert_eq!(one.unwrap().started.len() + two.unwrap().started.len(), 3);
    assert_eq!(world.states().await, vec![WorkerState::Running; 3]);
}

#[tokio::test]
async fn a_pool_shrinks_by_its_idle_workers_and_the_stopping_ones_no_longer_count() {
    let event = r#"{"at":"2026-01-01T00:00:00Z","worker":"w","event":"$e","reason":"","why":"","wait_secs":1,
        "run":"r","issue":"A-1","summary":"s","stage":"implementation"}"#;
    let event = event.replace('\n', " ").replace('"', "\\\"");
    let say = format!("echo \"{event}\" >> $ACF_EVENTS_FILE; echo ready; trap '' TERM");
    let world = Processes::new(&format!(
        "e=idle; mkdir ${{ACF_EVENTS_FILE%/*/*}}/../first && e=claimed; {say}; while :; do sleep 0.05; done"
    ));
    let spec = WorkerSpec::of(Pool::Workers);
    let first = world.start().await;
    world.first_line(&first).await;
    let second = world.start().await;
    world.first_line(&second).await;

    let resized = world.runtime.resize(&spec, 1).await.unwrap();
    assert_eq!(resized.stopping, [second]);
    assert_eq!(world.states().await, [WorkerState::Running, WorkerState::Stopping]);
    assert_eq!(world.runtime.resize(&spec, 1).await.unwrap(), Default::default());
    assert_eq!(world.runtime.list().await.unwrap()[0].busy, Some(true));
}

#[tokio::test]
async fn what_a_killed_worker_started_dies_with_it() {
    let world = Processes::new(&format!("{AGENT} echo $$ $!; wait"));
    let worker = world.start().await;
    let line = world.first_line(&worker).await;
    let (process, agent) = line.split_once(' ').map(|(a, b)| (pid(a), pid(b))).unwrap();
    test_kill_process(agent).unwrap();
    kill_process(process, Signal::KILL).unwrap();
    world.ended(&worker).await;
    is_gone(agent).await;
    assert_eq!(world.states().await, [WorkerState::Ended { exit_code: Some(137) }]);
}

#[tokio::test]
async fn a_worker_without_its_keeper_still_runs_and_can_be_killed_with_all_that_it_started() {
    let world = Processes::new(&format!("trap '' TERM; {AGENT} echo $PPID $!; while :; do sleep 0.05; done"));
    let worker = world.start().await;
    let line = world.first_line(&worker).await;
    let (keeper, agent) = line.split_once(' ').map(|(a, b)| (pid(a), pid(b))).unwrap();
    kill_process(keeper, Signal::KILL).unwrap();
    is_gone(keeper).await;
    assert_eq!(world.states().await, [WorkerState::Running]);
    world.runtime.stop(&worker, Duration::ZERO).await.unwrap();
    assert_eq!(world.states().await, [WorkerState::Ended { exit_code: None }]);
    is_gone(agent).await;
}

#[tokio::test]
async fn a_worker_that_cannot_be_started_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let spec = WorkerSpec::of(Pool::Workers);
    let missing = ProcessRuntime::new(dir.path().join("a"), launch("/nowhere/worker", ""));
    let error = missing.start(&spec, 1).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot start `/nowhere/worker`");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("No such file"), "{cause}");
    assert_eq!(missing.list().await.unwrap(), []);
    assert_eq!(std::fs::read_dir(dir.path().join("a/workers")).unwrap().count(), 0);

    let no_keeper = Launch { keeper: "/bin/true".into(), ..launch("/bin/sh", "") };
    let error = ProcessRuntime::new(dir.path().join("b"), no_keeper).start(&spec, 1).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot start `/bin/sh`");
}

#[tokio::test]
async fn images_are_refused() {
    let world = Processes::new("exit 0");
    let spec = WorkerSpec { image: Some("worker-codex".into()), ..WorkerSpec::of(Pool::Workers) };
    let error = world.runtime.start(&spec, 1).await.unwrap_err();
    assert!(matches!(&error, RuntimeError::Unsupported(why) if why.contains("worker-codex")), "{error}");
}
