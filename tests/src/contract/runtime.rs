//! What every [`Runtime`] and [`LogSource`] must do. `runtime_contract!` makes a test of each.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::collections::BTreeSet;
use std::time::Duration;

use acf_core::run::WorkerId;
use acf_core::runtime::{LogSource, Pool, Runtime, RuntimeError, WorkerSpec, WorkerState, WorkerView};
use futures_util::TryStreamExt;

/// Longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime whose workers run a shell program in place of the real worker.
pub trait World {
    /// The runtime.
    type Runtime: Runtime + LogSource;

    /// Makes a runtime without workers. Each worker that is started runs the program with the
    /// arguments of its spec as `$@`.
    fn new(program: &str) -> Self;

    /// Returns the runtime.
    fn runtime(&self) -> &Self::Runtime;
}

/// Says that it is ready, and then what it is told.
const OBEDIENT: &str = "trap 'echo told; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
/// Says that it is ready, and takes its time when it is told to stop.
const SLOW: &str = "left=-1; trap 'echo told; left=10' TERM; echo ready; \
                    while [ $left -ne 0 ]; do sleep 0.05; left=$((left - 1)); done";
/// Says that it is ready, and does not let itself be told anything.
const STUBBORN: &str = "trap '' TERM; echo ready; while :; do sleep 0.05; done";

async fn start<W: World>(world: &W, spec: &WorkerSpec, n: usize) -> Vec<WorkerId> {
    world.runtime().start(spec, n).await.unwrap()
}

async fn start_one<W: World>(world: &W) -> WorkerId {
    start(world, &WorkerSpec::of(Pool::Workers), 1).await.remove(0)
}

/// Waits until a worker has said its first line.
async fn first_line<W: World>(world: &W, worker: &WorkerId) -> String {
    let mut lines = world.runtime().read(worker, true).await.unwrap();
    let line = tokio::time::timeout(PATIENCE, lines.try_next()).await.expect("it says something");
    line.unwrap().expect("it says something before it ends").text
}

/// Waits until a worker has ended, and returns all that it said.
async fn all_lines<W: World>(world: &W, worker: &WorkerId) -> Vec<String> {
    let lines = world.runtime().read(worker, true).await.unwrap();
    let lines = lines.map_ok(|line| line.text).try_collect();
    tokio::time::timeout(PATIENCE, lines).await.expect("it ends").unwrap()
}

async fn view<W: World>(world: &W, worker: &WorkerId) -> WorkerView {
    let views = world.runtime().list().await.unwrap();
    views.into_iter().find(|view| view.id == *worker).expect("it is listed")
}

async fn stop<W: World>(world: &W, worker: &WorkerId, grace: Duration) {
    world.runtime().stop(worker, grace).await.unwrap();
}

/// A runtime without workers lists none.
pub async fn nothing_runs_before_anything_is_started<W: World>() {
    let world = W::new("exit 1");
    assert_eq!(world.runtime().list().await.unwrap(), []);
}

/// Starting n adds n.
pub async fn as_many_run_as_were_started<W: World>() {
    let world = W::new(OBEDIENT);
    let workers = start(&world, &WorkerSpec::of(Pool::Workers), 2).await;
    let planners = start(&world, &WorkerSpec::of(Pool::Planners), 1).await;
    let views = world.runtime().list().await.unwrap();
    let in_pool = |pool| {
        let views = views.iter().filter(move |view| view.pool == pool);
        views.map(|view| view.id.clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(in_pool(Pool::Workers), workers.into_iter().collect());
    assert_eq!(in_pool(Pool::Planners), planners.into_iter().collect());
    assert!(views.iter().all(|view| view.state == WorkerState::Running), "{views:?}");
    assert!(views.is_sorted_by_key(|view| view.started_at), "{views:?}");
    assert_eq!(views.len(), 3);
}

/// A worker gets its stage and limits as arguments.
pub async fn a_worker_is_told_its_stage_and_its_limits<W: World>() {
    let world = W::new("echo \"$@\"");
    let spec = WorkerSpec { max_issues: Some(3), exit_when_idle: true, ..WorkerSpec::of(Pool::Planners) };
    let planner = start(&world, &spec, 1).await.remove(0);
    assert_eq!(all_lines(&world, &planner).await, ["--stage planning --max-issues 3 --exit-when-idle"]);
    let worker = start_one(&world).await;
    assert_eq!(all_lines(&world, &worker).await, ["--stage implementation"]);
}

/// Stopping tells a worker, and leaves it the time it needs.
pub async fn a_worker_that_is_stopped_may_finish<W: World>() {
    let world = W::new(OBEDIENT);
    let worker = start_one(&world).await;
    first_line(&world, &worker).await;
    stop(&world, &worker, PATIENCE).await;
    assert_eq!(view(&world, &worker).await.state, WorkerState::Ended { exit_code: Some(5) });
    assert_eq!(all_lines(&world, &worker).await, ["ready", "told"]);
}

/// Stopping what is stopping, or has stopped, is fine, and does not press the worker: a second signal
/// would make it drop its work.
pub async fn stopping_twice_is_stopping_once<W: World>() {
    let world = W::new(SLOW);
    let worker = start_one(&world).await;
    let mut lines = world.runtime().read(&worker, true).await.unwrap();
    assert_eq!(lines.try_next().await.unwrap().unwrap().text, "ready");
    let stop_again_once_told = async {
        assert_eq!(lines.try_next().await.unwrap().unwrap().text, "told");
        stop(&world, &worker, PATIENCE).await;
    };
    tokio::join!(stop(&world, &worker, PATIENCE), stop_again_once_told);
    stop(&world, &worker, Duration::ZERO).await;
    assert_eq!(all_lines(&world, &worker).await, ["ready", "told"]);
}

/// Who does not stop is killed.
pub async fn a_worker_that_does_not_listen_is_killed_after_its_grace<W: World>() {
    let world = W::new(STUBBORN);
    let worker = start_one(&world).await;
    first_line(&world, &worker).await;
    let stopping = world.runtime().stop(&worker, Duration::from_millis(300));
    tokio::time::timeout(PATIENCE, stopping).await.expect("it is killed").unwrap();
    let state = view(&world, &worker).await.state;
    let killed = [Some(137), None].map(|exit_code| WorkerState::Ended { exit_code });
    assert!(killed.contains(&state), "{state:?}");
}

/// The end of a worker is noticed.
pub async fn a_worker_that_ends_by_itself_is_listed_with_its_exit_code<W: World>() {
    let world = W::new("exit 7");
    let worker = start_one(&world).await;
    assert_eq!(all_lines(&world, &worker).await, [""; 0]);
    let view = view(&world, &worker).await;
    assert_eq!(view.state, WorkerState::Ended { exit_code: Some(7) });
    assert_ne!(view.busy, Some(true));
}

/// Workers do not hang together.
pub async fn a_crash_of_one_worker_leaves_the_others_alone<W: World>() {
    let world = W::new(&format!("case \"$*\" in *planning*) kill -KILL $$;; *) {OBEDIENT};; esac"));
    let worker = start_one(&world).await;
    let planner = start(&world, &WorkerSpec::of(Pool::Planners), 1).await.remove(0);
    all_lines(&world, &planner).await;
    assert!(matches!(view(&world, &planner).await.state, WorkerState::Ended { .. }));
    assert_eq!(first_line(&world, &worker).await, "ready");
    assert_eq!(view(&world, &worker).await.state, WorkerState::Running);
}

/// What does not exist can neither be stopped nor read.
pub async fn an_unknown_worker_is_refused<W: World>() {
    let world = W::new("exit 0");
    let worker = start_one(&world).await;
    all_lines(&world, &worker).await;
    for id in ["", "w-00000000", "../workers", "../../../etc/passwd", "w-", "$(id)"] {
        let id = WorkerId::new(id);
        let refused = |error: RuntimeError| matches!(error, RuntimeError::NoSuchWorker(named) if named == id);
        assert!(refused(world.runtime().stop(&id, Duration::ZERO).await.unwrap_err()), "{id}");
        assert!(refused(world.runtime().read(&id, true).await.err().unwrap()), "{id}");
    }
}

/// Both of a worker's outputs are its log.
pub async fn a_log_holds_all_that_a_worker_said<W: World>() {
    let world = W::new("echo one; echo two >&2; echo; printf end");
    let worker = start_one(&world).await;
    let said: BTreeSet<_> = all_lines(&world, &worker).await.into_iter().collect();
    assert_eq!(said, ["one", "two", "", "end"].map(String::from).into());
    let lines = world.runtime().read(&worker, false).await.unwrap();
    let lines: Vec<_> = lines.try_collect().await.unwrap();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines.iter().all(|line| line.worker == worker), "{lines:?}");
}

/// Following shows lines as they come.
pub async fn following_goes_on_until_the_worker_has_ended<W: World>() {
    let world = W::new(OBEDIENT);
    let worker = start_one(&world).await;
    let mut lines = world.runtime().read(&worker, true).await.unwrap();
    assert_eq!(lines.try_next().await.unwrap().unwrap().text, "ready");
    let (rest, ()) = tokio::join!(lines.try_collect::<Vec<_>>(), stop(&world, &worker, PATIENCE));
    let rest: Vec<_> = rest.unwrap().into_iter().map(|line| line.text).collect();
    assert_eq!(rest, ["told"]);
}

/// Reading without following does not wait.
pub async fn a_log_can_be_read_while_the_worker_runs<W: World>() {
    let world = W::new(OBEDIENT);
    let worker = start_one(&world).await;
    first_line(&world, &worker).await;
    let lines: Vec<_> = world.runtime().read(&worker, false).await.unwrap().try_collect().await.unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
}

/// Makes a test of every behaviour, for a [`World`].
#[macro_export]
macro_rules! runtime_contract {
    ($world:ty) => {
        $crate::runtime_contract! { $world:
            nothing_runs_before_anything_is_started
            as_many_run_as_were_started
            a_worker_is_told_its_stage_and_its_limits
            a_worker_that_is_stopped_may_finish
            stopping_twice_is_stopping_once
            a_worker_that_does_not_listen_is_killed_after_its_grace
            a_worker_that_ends_by_itself_is_listed_with_its_exit_code
            a_crash_of_one_worker_leaves_the_others_alone
            an_unknown_worker_is_refused
            a_log_holds_all_that_a_worker_said
            following_goes_on_until_the_worker_has_ended
            a_log_can_be_read_while_the_worker_runs
        }
    };
    ($world:ty: $($behaviour:ident)*) => {
        $(
            #[tokio::test]
            async fn $behaviour() {
                $crate::contract::runtime::$behaviour::<$world>().await;
            }
        )*
    };
}
