//! A remote that accepts connections and never answers: whoever waits for it can be ended, and no git is left.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::net::{TcpListener, TcpStream};

use acf_tests::factory::{Factory, Running};
use rustix::process::Signal;

const NOTHING: [&str; 0] = [];

/// Starts `acf` and returns it once its git waits for the remote, with the connection, which is kept open.
fn waiting(args: &[&str], settings: &[(&str, &str)]) -> (Factory, Running, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x.git", listener.local_addr().unwrap());
    let mut factory = Factory::with_todo("- [ ] a\n").with("GIT_REPO_URL", url);
    for (name, value) in settings {
        factory = factory.with(name, *value);
    }
    let running = factory.start_acf("w-waits", args);
    let (connection, _) = listener.accept().unwrap();
    (factory, running, connection)
}

#[test]
fn a_call_that_is_interrupted_leaves_no_git() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let list = ["issues", "list", "--project", "git:TODO.md"];
        let (factory, running, _connection) = waiting(&list, &[]);
        running.signal(signal);
        let told = running.ended();
        assert_eq!(told.code, None, "a signal ends it: {}", told.stderr);
        assert_eq!(factory.left_running(), NOTHING, "{signal:?}");
    }
}

#[test]
fn a_worker_that_is_told_to_stop_leaves_no_git() {
    let (factory, running, _connection) = waiting(&["worker"], &[("STOP_GRACE", "10m")]);
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code, Some(0));
    assert_eq!(factory.left_running(), NOTHING);
}

#[test]
fn a_worker_that_is_told_twice_leaves_no_git() {
    let (factory, mut running, _connection) = waiting(&["worker"], &[("STOP_GRACE", "10m")]);
    running.signal(Signal::INT);
    if !running.has_ended() {
        running.says("told to stop");
        running.signal(Signal::INT);
    }
    running.ended();
    assert_eq!(factory.left_running(), NOTHING);
}

#[test]
fn what_a_killed_worker_left_of_git_is_ended_by_a_sweep() {
    let (factory, running, _connection) = waiting(&["worker"], &[]);
    running.signal(Signal::KILL);
    running.ended();

    let url = factory.sandbox().remote_url();
    let told = factory.command("acf").arg("sweep").env("GIT_REPO_URL", url).output().unwrap();

    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    assert_eq!(factory.left_running(), NOTHING);
}
