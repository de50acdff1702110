//! What a worker and other commands do while the tracker limits calls, or does not work for a while.

use acf_tests::factory::Factory;
use acf_tests::github::NewIssue;
use acf_tests::sandbox::Sandbox;
use acf_tests::service::{Fault, Rule};
use rustix::process::Signal;

use super::github::GitHub;
use super::{REQUIRED, factory};

/// Serves an issue on a GitHub that takes no calls for an hour.
fn limited() -> (GitHub, Factory) {
    let sandbox = Sandbox::builder().build();
    let mut github = GitHub::serve(&sandbox);
    github.add(NewIssue::titled("one").labelled([REQUIRED]));
    github.service().chassis().faults().add(Rule::all(), Fault::rate_limited(3600));
    let factory = factory(sandbox, &github);
    (github, factory)
}

#[test]
fn a_worker_that_starts_during_a_rate_limit_waits_for_it_and_stops_when_told_to() {
    let (_github, factory) = limited();
    let mut worker = factory.start("w-1", &[]);
    worker.says("cannot start yet, trying GitHub again in ");
    assert!(!worker.has_ended());
    worker.signal(Signal::TERM);
    let told = worker.ended();
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(told.stderr.contains("told to stop"), "{}", told.stderr);
}

#[test]
fn a_command_that_meets_a_rate_limit_names_the_service_and_the_end() {
    let (_github, factory) = limited();
    for args in [&["issues", "list"][..], &["issues", "show", "1"], &["issues", "comment", "1", "hello"]] {
        let told = factory.acf(args).refused(1);
        assert!(told.contains("error: GitHub takes no more calls until 20"), "{told}");
        assert!(told.contains("hint: try again then"), "{told}");
    }
}

#[test]
fn a_command_that_meets_a_service_at_maintenance_says_so_and_until_when() {
    let (github, factory) = limited();
    let faults = github.service().chassis().faults();
    faults.clear();
    let down = Fault::status(503).header("retry-after", "600").body(r#"{"message":"Planned maintenance"}"#);
    faults.add(Rule::all(), down);
    let told = factory.acf(&["issues", "list"]).refused(1);
    assert!(told.contains("error: GitHub is unavailable, and asks to wait until 20"), "{told}");
    assert!(
        told.contains("answered 503 Service Unavailable: Planned maintenance, and asks to wait 600 s"),
        "{told}"
    );
    assert!(!told.contains("rate limit"), "{told}");
}
