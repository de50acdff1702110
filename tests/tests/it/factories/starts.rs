//! What a worker and other commands do while the tracker limits calls, or does not work for a while.

use acf_tests::factory::Factory;
use acf_tests::github::NewIssue;
use acf_tests::sandbox::Sandbox;
use acf_tests::service::{Fault, Rule};
use rustix::process::Signal;

use super::github::GitHub;
use super::jira::Jira;
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

/// Runs `acf issues list` on a Jira that goes wrong like that, and returns what it says.
fn list_from(go_wrong: impl FnOnce(&Jira), settings: &[(&str, &str)]) -> String {
    let sandbox = Sandbox::builder().build();
    let jira = Jira::serve(&sandbox);
    go_wrong(&jira);
    let factory =
        settings.iter().fold(factory(sandbox, &jira), |factory, (name, value)| factory.with(name, *value));
    factory.acf(&["issues", "list"]).refused(1)
}

#[test]
fn a_list_that_cannot_be_had_says_what_was_done_what_came_and_what_to_do_next() {
    let answers =
        |fault: Fault| move |jira: &Jira| jira.service().chassis().faults().add(Rule::path("/search"), fault);
    let address = "hint: check PROJECT, JIRA_SITE and JIRA_API_URL";
    let (html, empty) = (Fault::html(), Fault::status(200).body(""));
    let login = Fault::redirect(302, "/login.jsp?os_destination=x");
    for (told, came, next) in [
        (list_from(answers(html), &[]), "answered 200 with text/html that is not JSON: `<!DOCTYPE", address),
        (list_from(answers(empty), &[]), "answered 200 with an empty body", address),
        (
            list_from(answers(Fault::status(200).body("[]")), &[]),
            "answered 200 with JSON of another shape",
            address,
        ),
        (list_from(answers(login), &[]), "a page for people, mostly one to log in, comes instead", address),
        (
            list_from(|jira| jira.service().site().revoke_token(), &[]),
            "Jira does not accept the credentials",
            "hint: check JIRA_EMAIL and JIRA_TOKEN, and what the account may do; docs/jira.md tells the set-up",
        ),
        (list_from(|_| {}, &[("PROJECT", "NOPE")]), "shows this account no project `NOPE`", address),
    ] {
        assert!(told.starts_with("error: cannot list the issues of the project `"), "{told}");
        assert!(told.contains(came), "{came:?} in {told}");
        assert!(told.contains(next), "{next:?} in {told}");
    }
}

#[test]
fn an_issue_that_cannot_be_read_or_changed_is_named_with_what_to_do_next() {
    let sandbox = Sandbox::builder().build();
    let mut github = GitHub::serve(&sandbox);
    github.add(NewIssue::titled("one"));
    let factory = factory(sandbox, &github);
    let told = factory.acf(&["issues", "show", "7"]).refused(1);
    assert!(told.starts_with("error: cannot read issue #7 of acme/shop on GitHub\n"), "{told}");
    assert!(told.contains("hint: `acf issues list` shows the issues that are not done"), "{told}");
    let told = factory.acf(&["issues", "transition", "1", "Limbo"]).refused(1);
    assert!(told.starts_with("error: cannot change issue #1 of acme/shop on GitHub\n"), "{told}");
    assert!(told.contains("there is no status `Limbo`") && !told.contains("hint:"), "{told}");
}
