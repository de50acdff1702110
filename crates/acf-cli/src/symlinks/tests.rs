use acf_core::issue::Status;

use super::*;
use crate::args::AgentCommand;

fn parsed(words: &[&str]) -> Cli {
    let argv: Vec<_> = words.iter().map(OsString::from).collect();
    parse(&argv).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

fn refusal(words: &[&str]) -> clap::Error {
    let argv: Vec<_> = words.iter().map(OsString::from).collect();
    parse(&argv).expect_err("was accepted")
}

/// Asserts that a tool's arguments mean the same as those of `acf`.
#[track_caller]
fn means(original: &[&str], acf: &[&str]) {
    let of_acf: Vec<_> = ["acf"].iter().chain(acf).copied().collect();
    assert_eq!(format!("{:?}", parsed(original)), format!("{:?}", parsed(&of_acf)));
}

fn task_manager(words: &[&str]) -> (Option<String>, TaskManagerVerb) {
    let words: Vec<_> = ["task-manager"].iter().chain(words).copied().collect();
    let cli = parsed(&words);
    match cli.command {
        Command::TaskManager(command) => (cli.global.settings.project, command.verb),
        other => panic!("{words:?} became {other:?}"),
    }
}

fn key(text: &str) -> IssueKey {
    text.parse().unwrap()
}

#[test]
fn loop_is_a_worker() {
    means(&["loop"], &["worker"]);
    means(
        &["loop", "--project", "TODO.md", "--for-planning", "--max-tasks", "3"],
        &["worker", "--project", "TODO.md", "--stage", "planning", "--max-issues", "3"],
    );
    means(&["loop", "--max-tasks", "0"], &["worker"]);
}

#[test]
fn implement_and_plan_take_a_key_either_way() {
    means(&["implement", "--project", "ACF", "ACF-1"], &["implement", "--project", "ACF", "ACF-1"]);
    means(&["implement", "--issue", "ACF-1"], &["implement", "ACF-1"]);
    means(&["plan", "#7"], &["plan", "#7"]);
    for wrong in [&["plan"][..], &["plan", "A-1", "--issue", "A-2"], &["implement", "../../x"]] {
        assert_eq!(refusal(wrong).exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn factory_has_the_verbs_of_the_fleet() {
    for verb in [
        &["workers", "4"][..],
        &["planners", "0"],
        &["add", "--image", "worker-codex", "2"],
        &["status"],
        &["logs", "w-1", "-f"],
        &["stop", "w-1"],
        &["stop", "--all"],
    ] {
        let original: Vec<_> = ["factory"].iter().chain(verb).copied().collect();
        means(&original, verb);
    }
    assert_eq!(refusal(&["factory", "demo"]).exit_code(), 2);
}

#[test]
fn the_name_counts_wherever_the_symlink_lies() {
    means(&["/usr/local/bin/loop"], &["worker"]);
    means(&["../bin/plan", "A-1"], &["plan", "A-1"]);
}

#[test]
fn other_names_are_acf_and_acf_has_no_original_verbs() {
    means(&["acf-1.2", "status"], &["status"]);
    means(&["", "status"], &["status"]);
    for original in ["loop", "factory", "task-manager", "worker-builder"] {
        assert_eq!(refusal(&["acf", original]).exit_code(), 2, "{original}");
    }
    assert_eq!(refusal(&[]).exit_code(), 2);
}

#[test]
fn task_manager_claims_for_an_account() {
    let claim = task_manager(&["claim", "--project", "P", "--account-id", "a1", "--for-planning"]);
    let verb = TaskManagerVerb::Claim { stage: Stage::Planning, account: Some("a1".into()) };
    assert_eq!(claim, (Some("P".into()), verb));
    let verb = TaskManagerVerb::Claim { stage: Stage::Implementation, account: None };
    assert_eq!(task_manager(&["claim"]), (None, verb));
}

#[test]
fn task_manager_takes_the_project_before_and_behind_the_verb() {
    assert_eq!(task_manager(&["--project", "P", "auth"]), (Some("P".into()), TaskManagerVerb::Auth));
    let list = TaskManagerVerb::List { stage: Stage::Implementation };
    assert_eq!(task_manager(&["list", "--project", "P"]), (Some("P".into()), list));
}

#[test]
fn task_manager_takes_keys_and_texts_by_position_and_by_flag() {
    let view = TaskManagerVerb::View { key: key("A-1") };
    for words in [&["view", "A-1"][..], &["view", "--issue", "A-1"]] {
        assert_eq!(task_manager(words).1, view, "{words:?}");
    }
    let comment = TaskManagerVerb::Comment { key: key("A-1"), text: "well done".into() };
    for words in [
        &["comment", "A-1", "--comment", "well done"][..],
        &["comment", "A-1", "well done"],
        &["comment", "--issue", "A-1", "well done"],
        &["comment", "--issue", "A-1", "--comment", "well done"],
        &["comment", "--comment", "well done", "A-1"],
    ] {
        assert_eq!(task_manager(words).1, comment, "{words:?}");
    }
    let list_item = TaskManagerVerb::Comment { key: key("A-1"), text: "- one".into() };
    assert_eq!(task_manager(&["comment", "A-1", "--comment", "- one"]).1, list_item);
    let assign = TaskManagerVerb::Assign { key: key("A-1"), account: Some("a1".into()) };
    assert_eq!(task_manager(&["assign", "A-1", "--account-id", "a1"]).1, assign);
}

#[test]
fn task_manager_takes_statuses_that_only_the_tracker_knows() {
    let done = TaskManagerVerb::Transition { key: key("A-1"), status: Status::Done };
    assert_eq!(task_manager(&["transition", "A-1", "--status", "done"]).1, done);
    assert_eq!(task_manager(&["transition", "A-1", "Done"]).1, done);
    let other = TaskManagerVerb::Transition { key: key("A-1"), status: Status::Other("QA".into()) };
    assert_eq!(task_manager(&["transition", "--issue", "A-1", "--status", "QA"]).1, other);
}

#[test]
fn task_manager_refuses_what_is_missing_or_too_much() {
    for (wrong, named) in [
        (&["task-manager", "view"][..], "key"),
        (&["task-manager", "view", "A-1", "A-2"], "'A-2'"),
        (&["task-manager", "comment", "A-1"], "comment"),
        (&["task-manager", "comment", "A-1", "--comment", "x", "y"], "'y'"),
        (&["task-manager", "transition", "A-1"], "status"),
        (&["task-manager", "view", "a/b"], "`a/b`"),
    ] {
        let refusal = refusal(wrong);
        assert_eq!(refusal.exit_code(), 2, "{wrong:?}");
        assert!(refusal.to_string().contains(named), "{wrong:?}: {refusal}");
    }
}

#[test]
fn agent_runs_a_prompt_whatever_it_begins_with() {
    for prompt in ["do it", "--dangerous", "- a list", "-"] {
        match parsed(&["agent", "run", prompt]).command {
            Command::Agent(args) => assert_eq!(args.command, AgentCommand::Run { prompt: prompt.into() }),
            other => panic!("became {other:?}"),
        }
        means(&["agent", "run", prompt], &["agent", "run", prompt]);
    }
    means(&["agent", "init"], &["agent", "init"]);
}

#[test]
fn worker_builder_says_what_comes_in_its_place() {
    let refusal = refusal(&["worker-builder", "claude"]);
    assert_eq!(refusal.exit_code(), 2);
    assert!(refusal.to_string().contains("comes with `acf image build`"), "{refusal}");
}

#[test]
fn every_tool_has_help() {
    for tool in ["loop", "implement", "plan", "factory", "task-manager", "agent", "acf"] {
        let help = refusal(&[tool, "--help"]);
        assert_eq!(help.exit_code(), 0, "{tool}");
        assert!(help.to_string().contains(&format!("Usage: {tool}")), "{tool}: {help}");
    }
}

#[test]
fn the_parsers_are_sound() {
    for command in [
        Cli::command(),
        LoopTool::command(),
        ImplementTool::command(),
        PlanTool::command(),
        FactoryTool::command(),
    ] {
        command.debug_assert();
    }
}
