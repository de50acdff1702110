use std::time::Duration;

use acf_core::issue::{Stage, Status};
use clap::CommandFactory;

use super::*;

fn parsed(words: &[&str]) -> Cli {
    Cli::try_parse_from(std::iter::once(&"acf").chain(words))
        .unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

fn refusal(words: &[&str]) -> clap::Error {
    Cli::try_parse_from(std::iter::once(&"acf").chain(words)).expect_err("was accepted")
}

#[test]
fn settings_are_known_by_their_variables_and_can_be_handed_on() {
    let line = ["--env-file", "a.env", "worker", "--project", "TODO.md", "--agent", "script"];
    let settings = parsed(&line).global.settings;
    assert_eq!(settings.given(), [("PROJECT", "TODO.md"), ("AGENT", "script")]);
    let again: Vec<_> = ["acf", "worker"].map(OsString::from).into_iter().chain(settings.to_args()).collect();
    assert_eq!(Cli::try_parse_from(again).unwrap().global.settings, settings);
}

#[test]
fn every_setting_survives_being_handed_on() {
    let line = [
        "worker",
        "--env-file",
        "f",
        "--project",
        "p",
        "--tracker",
        "t",
        "--repo",
        "r",
        "--agent",
        "a",
        "--runtime",
        "u",
    ];
    let settings = parsed(&line).global.settings;
    assert_eq!(settings.to_args().len(), line.len() - 1);
    assert_eq!(settings.given().len(), 5);
}

#[test]
fn stages_go_by_both_of_their_names() {
    for (word, stage) in [("plan", Stage::Planning), ("implementation", Stage::Implementation)] {
        match parsed(&["worker", "--stage", word]).command {
            Command::Worker(args) => assert_eq!(args.stage, stage),
            other => panic!("became {other:?}"),
        }
    }
}

#[test]
fn grace_is_a_length_of_time() {
    match parsed(&["stop", "--all", "--grace", "1m30s"]).command {
        Command::Stop(args) => assert_eq!(args.grace, Some(Duration::from_secs(90))),
        other => panic!("became {other:?}"),
    }
}

#[test]
fn a_transition_takes_any_status() {
    for (word, status) in [("in-review", Status::InReview), ("QA", Status::Other("QA".into()))] {
        match parsed(&["issues", "transition", "A-1", word]).command {
            Command::Issues(IssuesArgs { command: IssuesCommand::Transition(args) }) => {
                assert_eq!(args.status, status);
            }
            other => panic!("became {other:?}"),
        }
    }
}

#[test]
fn wrong_usage_is_refused_by_name() {
    for (words, named) in [
        (&["wrokers", "3"][..], "workers"),
        (&["workers", "-1"], "-1"),
        (&["workers", "many"], "many"),
        (&["workers", "100000"], "100000"),
        (&["add", "0"], "0"),
        (&["worker", "--stage", "review"], "planning and implementation"),
        (&["worker", "--max-issues", "0"], "--max-issues"),
        (&["implement", "../../x"], "`../../x` is not an issue key"),
        (&["stop"], "<ID>"),
        (&["stop", "w-1", "--all"], "--all"),
        (&["stop", "--all", "--grace", "soon"], "`soon` is not a length of time"),
        (&["stop", "--all", "--grace=-3s"], "`-3s` is not a length of time"),
        (&["completions", "csh"], "csh"),
        (&["issues", "comment", "A-1"], "<TEXT>"),
    ] {
        let refusal = refusal(words);
        assert_eq!(refusal.exit_code(), 2, "{words:?}");
        assert!(refusal.to_string().contains(named), "{words:?}: {refusal}");
    }
}

#[test]
fn the_parser_is_sound() {
    Cli::command().debug_assert();
}

/// Returns the short help of a verb as a terminal of 100 columns shows it.
fn help(words: &[&str]) -> String {
    refusal(&[words, &["-h"]].concat()).to_string()
}

#[test]
fn help_of_acf() {
    insta::assert_snapshot!("acf", help(&[]));
}

#[test]
fn help_of_every_verb() {
    let verbs = [
        &["demo"][..],
        &["worker"],
        &["implement"],
        &["plan"],
        &["issues"],
        &["issues", "list"],
        &["issues", "show"],
        &["issues", "explain"],
        &["issues", "claim"],
        &["issues", "assign"],
        &["issues", "comment"],
        &["issues", "transition"],
        &["workers"],
        &["planners"],
        &["add"],
        &["status"],
        &["logs"],
        &["stop"],
        &["runs"],
        &["sweep"],
        &["agent"],
        &["agent", "init"],
        &["agent", "run"],
        &["config"],
        &["completions"],
    ];
    for verb in verbs {
        insta::assert_snapshot!(verb.join("-"), help(verb));
    }
}

#[test]
fn a_number_that_cannot_be_meant_is_answered_with_those_that_can() {
    for (line, answer) in [
        (&["workers", "x"][..], "write a whole number from 0 to 500"),
        (&["workers", "-1"], "write a whole number from 0 to 500"),
        (&["planners", "501"], "write a whole number from 0 to 500"),
        (&["add", "0"], "write a whole number from 1 to 500"),
        (&["demo", "--issues", "1.5"], "write a whole number from 1 to 1000"),
        (&["worker", "--max-issues", "0"], "write a whole number from 1\n"),
    ] {
        let told = refusal(line).to_string();
        assert!(told.contains(answer), "{told}");
    }
}

#[test]
fn stop_says_that_all_can_be_stopped_where_nothing_is_named() {
    let told = refusal(&["stop"]).to_string();
    assert!(told.contains("acf stop [OPTIONS] --all"), "{told}");
}
