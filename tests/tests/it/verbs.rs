//! The verbs of `acf`, and the original tools' names, as a new user or an old script tries them.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::fs;

use acf_tests::factory::{Factory, Told};
use acf_tests::sandbox::Sandbox;
use serde_json::{Value, json};

const NOTHING: [&str; 0] = [];

const TODO: &str = "\
# Things
- [x] done before
- [ ] Say hello [greeting]
  In `hello.txt`.
- [ ] Say goodbye [needs-plan]
- [>] Be quiet
  - Assignee: ann
";

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not said in:\n{text}");
    }
}

fn keys(issues: &Value) -> Vec<&str> {
    issues.as_array().unwrap().iter().map(|issue| issue["key"].as_str().unwrap()).collect()
}

mod issues {
    use super::*;

    #[test]
    fn are_listed_and_shown_for_people_and_for_scripts() {
        let factory = Factory::with_todo(TODO);

        let listed = factory.acf(&["issues", "list"]).done();
        assert_says(
            &listed.stdout,
            &["TODO-2", "To Do", "Say hello [greeting]", "TODO-4", "In Progress", "ann"],
        );
        assert!(!listed.stdout.contains("TODO-1"), "what is done is left out: {}", listed.stdout);
        assert_eq!(listed.stderr, "");
        assert_eq!(
            keys(&factory.acf(&["issues", "list", "--json"]).done().json()),
            ["TODO-2", "TODO-3", "TODO-4"]
        );
        let of_stage = |stage| factory.acf(&["issues", "list", "--stage", stage, "--json"]).done().json();
        assert_eq!(keys(&of_stage("implementation")), ["TODO-2"]);
        assert_eq!(keys(&of_stage("planning")), ["TODO-3"]);

        let shown = factory.acf(&["issues", "show", "TODO-2", "--json"]).done().json();
        assert_eq!(
            (&shown["summary"], &shown["status"], &shown["labels"]),
            (&json!("Say hello"), &json!("To Do"), &json!(["greeting"]))
        );
        assert_says(
            &factory.acf(&["issues", "show", "TODO-2"]).done().stdout,
            &["TODO-2 \"Say hello\"", "In `hello.txt`."],
        );
        assert_eq!(factory.sandbox().todo_text(), TODO, "looking changes nothing");
    }

    #[test]
    fn are_explained_predicate_by_predicate() {
        let factory = Factory::with_todo(TODO);
        let explained = |key| factory.acf(&["issues", "explain", key]).done().stdout;
        assert_eq!(
            explained("TODO-2"),
            "TODO-2 \"Say hello\" would be taken by an implementation worker:\n  \
            ✔ open, status To Do\n  ✔ unassigned\n  ✔ no live claim\n  ✔ attempt 1 of 3, no backoff\n"
        );
        assert_says(
            &explained("TODO-3"),
            &["would not be taken", "✘ label needs-plan, and no approved plan  → a planner would take it"],
        );
        assert_says(
            &explained("TODO-4"),
            &["✘ status In Progress", "→ unassign it: `acf issues assign TODO-4 --nobody`"],
        );
        assert_says(
            &explained("TODO-4"),
            &["`acf issues transition TODO-4 'To Do'`, then `acf issues assign TODO-4 --nobody`"],
        );

        let told =
            factory.acf(&["issues", "explain", "TODO-3", "--stage", "planning", "--json"]).done().json();
        assert_eq!((&told["eligible"], &told["stage"]), (&json!(true), &json!("planning")));
        let factory = factory.with("REQUIRED_LABELS", "acf, ready");
        assert_says(
            &factory.acf(&["issues", "explain", "TODO-2"]).done().stdout,
            &["would not be taken", "✔ unassigned", "✘ lacks the required label acf, ready  → add it"],
        );
        let factory = factory.without("GIT_REPO_URL");
        assert_says(
            &factory.acf(&["issues", "explain", "TODO-2"]).done().stderr,
            &["claims and past runs were not looked at"],
        );
    }

    #[test]
    fn are_claimed_once_each() {
        let factory = Factory::with_todo("- [ ] a\n- [ ] b [needs-plan]\n- [ ] c\n");
        let claimed = factory.acf(&["issues", "claim", "--json", "--account", "ann"]).done().json();
        assert_eq!(claimed["key"], "TODO-1");
        assert_eq!(factory.acf(&["issues", "claim", "TODO-3"]).done().stdout, "TODO-3 c\n");
        assert_eq!(factory.acf(&["issues", "claim"]).refused(3), "there is no issue to claim\n");
        for (key, why) in [("TODO-1", "assigned to ann"), ("TODO-2", "needs-plan")] {
            let told = factory.acf(&["issues", "claim", key]).refused(3);
            assert_says(&told, &[&format!("{key} cannot be claimed:\n  ✘ "), why]);
            assert!(!told.contains('✔'), "only what keeps it: {told}");
        }
        assert_eq!(factory.acf(&["issues", "claim", "--stage", "planning"]).done().stdout, "TODO-2 b\n");
        let expected = "- [>] a\n  - Assignee: ann\n- [~] b [needs-plan]\n  - Assignee: acf\n- [>] c\n  - Assignee: acf\n";
        assert_eq!(factory.sandbox().todo_text(), expected);
        assert_eq!(factory.claims(), NOTHING, "from here on the tracker says who has it");
    }

    #[test]
    fn are_changed_by_hand() {
        let factory = Factory::with_todo("- [ ] a\n- [ ] b\n");
        assert_eq!(factory.acf(&["issues", "assign", "TODO-2"]).done().stderr, "assigned to acf: TODO-2\n");
        factory.acf(&["issues", "assign", "TODO-1", "--account", "ann"]).done();
        factory.acf(&["issues", "comment", "TODO-1", "- [ ] not an item\nsecond line"]).done();
        factory.acf(&["issues", "transition", "TODO-2", "in review"]).done();
        let expected = "- [ ] a\n  - Assignee: ann\n  - Note: - [ ] not an item\n    second line\n\
            - [>] b [in-review]\n  - Assignee: acf\n";
        assert_eq!(factory.sandbox().todo_text(), expected);
        assert_eq!(keys(&factory.acf(&["issues", "list", "--json"]).done().json()), ["TODO-1", "TODO-2"]);

        let told = factory.acf(&["issues", "assign", "TODO-1", "--nobody"]).done().stderr;
        assert_eq!(told, "assigned to nobody: TODO-1\n");
        let expected = expected.replacen("  - Assignee: ann\n", "", 1);
        assert_eq!(factory.sandbox().todo_text(), expected);
        factory.acf(&["issues", "assign", "TODO-1", "--nobody"]).done();
        assert_says(
            &factory.acf(&["issues", "assign", "TODO-1", "--nobody", "--account", "ann"]).refused(2),
            &["cannot be used with"],
        );

        assert_says(
            &factory.acf(&["issues", "transition", "TODO-1", "Blocked"]).refused(1),
            &["no status \"Blocked\"", "In Review"],
        );
        assert_says(
            &factory.acf(&["issues", "comment", "TODO-1", "  "]).refused(1),
            &["a comment needs a text"],
        );
        assert_says(
            &factory.acf(&["issues", "assign", "TODO-1", "--account", "a\nb"]).refused(1),
            &["cannot be an assignee"],
        );
        assert_eq!(factory.sandbox().todo_text(), expected);
    }
}

mod keys {
    use super::*;

    #[test]
    fn may_be_numbers_and_in_any_case() {
        let factory = Factory::with_todo("- [ ] a\n- [ ] b\n");
        for key in ["2", "#2", "todo-2", "Todo-2", "TODO-2"] {
            let told = |verb: &str| factory.acf(&["issues", verb, key]).done().stdout;
            assert_says(&told("show"), &["TODO-2 \"b\""]);
            assert_says(&told("explain"), &["TODO-2 \"b\" would "]);
            factory.acf(&["issues", "comment", key, key]).done();
            assert_eq!(factory.acf(&["issues", "assign", key]).done().stderr, "assigned to acf: TODO-2\n");
            factory.acf(&["issues", "transition", key, "in progress"]).done();
            assert_eq!(factory.acf(&["runs", key]).done().stderr, "no runs of TODO-2 are recorded\n");
        }
        factory.acf(&["implement", "1"]).done();
        assert_says(&factory.acf(&["runs", "todo-1"]).done().stdout, &["TODO-1 \"a\": landed"]);
        assert_eq!(factory.called("task-manager", &["view", "1"]).done().json()["key"], "TODO-1");
    }

    #[test]
    fn are_in_a_file_that_is_told_where_it_is_missing() {
        let factory = Factory::with_todo("").with("PROJECT", "NOPE.md");
        let told = factory.acf(&["issues", "list"]).refused(1);
        assert_says(
            &told,
            &["there is no TODO file", "NOPE.md", "hint: PROJECT or TODO_FILE names the file"],
        );
    }

    #[test]
    fn that_are_unknown_are_told_with_where_the_known_ones_are() {
        let factory = Factory::with_todo("- [ ] a\n");
        for key in ["9", "todo-9", "TODO-9", "TODO-007", "ACF-1"] {
            for args in [
                &["show", key][..],
                &["explain", key],
                &["assign", key],
                &["assign", key, "--nobody"],
                &["comment", key, "x"],
                &["transition", key, "done"],
            ] {
                let told = factory.acf(&[&["issues"], args].concat()).refused(1);
                assert_says(&told, &["error: no issue ", "hint: `acf issues list`"]);
            }
            let told = factory.acf(&["issues", "claim", key]).refused(1);
            assert_says(&told, &["hint: `acf issues list`"]);
        }
        let told = factory.acf(&["implement", "9"]).refused(1);
        assert!(
            told.ends_with(
                "error: no issue TODO-9\nhint: `acf issues list` shows the issues that are not done\n"
            ),
            "{told}"
        );
    }
}

mod runs {
    use super::*;

    #[test]
    fn are_shown_with_their_receipts() {
        let factory = Factory::with_todo("- [ ] a\n  @usage 41000 6000 0.31\n- [ ] b\n  @none\n")
            .with("MAX_ATTEMPTS", "1");
        assert_eq!(factory.acf(&["runs"]).done().stderr, "no runs are recorded\n");
        assert_eq!(factory.acf(&["runs", "--json"]).done().json(), json!([]));

        factory.drain().done();

        let table = factory.acf(&["runs"]).done().stdout;
        assert_says(
            &table,
            &["TODO-1", "landed ", " on main", "TODO-2", "blocked: the agent changed nothing"],
        );
        let receipt = factory.acf(&["runs", "TODO-1"]).done().stdout;
        assert_says(&receipt, &["TODO-1 \"a\": landed", "attempt 1", "1 turn · 41k in, 6k out · $0.31"]);
        let records = factory.acf(&["runs", "TODO-1", "--json"]).done().json();
        assert_eq!(records[0]["commit"], factory.sandbox().git(&["rev-parse", "main"]));
        assert_eq!(records[0]["receipt"]["usage"]["input_tokens"], 41_000);
    }

    #[test]
    fn of_a_directory_that_is_no_sandbox_are_not_looked_for() {
        let factory = Factory::with_todo("");
        let root = factory.sandbox().root().to_str().unwrap();
        for directory in [root, "no/such/directory"] {
            let told = factory.acf(&["runs", "--sandbox", directory]).refused(2);
            assert_says(&told, &[" is no sandbox of `acf demo`", "hint: `acf demo --keep`"]);
        }
    }

    #[test]
    fn of_dead_workers_are_settled_once() {
        let factory = Factory::with_todo("- [ ] a\n");
        assert_eq!(factory.acf(&["sweep", "--dead", "w-nobody"]).done().stderr, "nothing to settle\n");
        assert_eq!(factory.acf(&["sweep", "--json"]).done().json(), json!([]));
    }

    #[test]
    fn that_cannot_be_settled_are_told_and_found_again() {
        let factory = Factory::with_todo("- [ ] a\n").agent("echo ready; while :; do sleep 0.02; done");
        let mut worker = factory.start("w-dead", &[]);
        worker.says("agent: ready");
        worker.signal(rustix::process::Signal::KILL);
        drop(worker);
        let told = factory.acf(&["sweep"]).done().stderr;
        assert_says(
            &told,
            &["nothing to settle\nTODO-1 is claimed by w-dead, not known to be dead; if it is, "],
        );
        let told = factory.acf(&["issues", "explain", "1"]).done().stdout;
        assert_says(
            &told,
            &["✘ claimed by worker w-dead since", "`acf sweep --dead w-dead` frees it at once"],
        );
        let todo = factory.sandbox().todo_text();
        fs::write(factory.sandbox().todo(), b"\xff\xfe is no text").unwrap();

        for _ in 0..2 {
            let told = factory.acf(&["sweep", "--dead", "w-dead", "--json"]);
            assert_eq!(told.code, Some(1), "{told:?}");
            assert_says(&told.stderr, &["cannot settle TODO-1, which worker w-dead left: "]);
            let rows = told.json();
            assert_eq!((&rows[0]["dead"], &rows[0]["issue"]), (&json!("w-dead"), &json!("TODO-1")));
            assert_says(rows[0]["unsettled"].as_str().unwrap(), &["cannot work with the tracker"]);
        }

        fs::write(factory.sandbox().todo(), todo).unwrap();
        let told = factory.acf(&["sweep", "--dead", "w-dead"]).done().stdout;
        assert_says(&told, &["settled TODO-1: worker w-dead died or vanished during the run"]);
    }
}

mod settings {
    use super::*;

    #[test]
    fn are_shown_with_their_source_and_secrets_masked() {
        let factory = Factory::with_todo("").with("GIT_TOKEN", "canary-1").with("JIRA_TOKEN", "canary-2");
        let factory = factory.with("GIT_REPO_URL", "https://ann:canary-3@example.invalid/x.git");
        for args in [&["config"][..], &["config", "--json"], &["--project", "other.md", "config"]] {
            let told = factory.acf(args);
            assert_eq!(told.code, Some(2), "two passwords for one repository: {}", told.stderr);
            assert_says(
                &told.stdout,
                &["GIT_TOKEN", "***", "https://", "example.invalid/x.git", "the environment"],
            );
            assert!(!told.stdout.contains("canary") && !told.stderr.contains("canary"), "{told:?}");
        }
        let told = factory.acf(&["--project", "other.md", "config"]).stdout;
        assert_says(&told, &["other.md", "--project"]);
    }

    #[test]
    fn completions_know_the_verbs() {
        let factory = Factory::with_todo("");
        for shell in ["bash", "zsh", "fish"] {
            assert_says(&factory.acf(&["completions", shell]).done().stdout, &["planners", "transition"]);
        }
    }
}

mod original_names {
    use super::*;

    #[test]
    fn loop_works_on_as_many_issues_as_it_is_told() {
        let factory = Factory::with_todo("- [ ] a\n- [ ] b\n- [ ] c [needs-plan]\n").without("PROJECT");
        let project = factory.sandbox().todo().display().to_string();
        factory.called("loop", &["--project", &project, "--max-tasks", "1"]).done();
        assert_eq!(factory.sandbox().log(), ["[TODO-1] a", "First commit"]);
        factory.called("loop", &["--project", &project, "--for-planning", "--max-tasks", "1"]).done();
        assert_eq!(factory.sandbox().log()[0], "[TODO-3] Plan: c");
        assert_says(&factory.sandbox().todo_text(), &["- [x] a\n", "- [ ] b\n", "- [?] c [needs-plan]\n"]);
    }

    #[test]
    fn implement_and_plan_work_on_that_issue() {
        let factory = Factory::with_todo("- [ ] a\n- [ ] b\n- [ ] c [needs-plan]\n");
        assert_says(
            &factory.called("implement", &["--issue", "TODO-2"]).done().stdout,
            &["TODO-2 landed as ", " on main"],
        );
        let planned = factory.called("plan", &["TODO-3"]).done();
        assert_says(&planned.stdout, &["TODO-3 awaits the review of its plan: plans/TODO-3.md on main, "]);
        assert_says(&planned.stderr, &["to approve it: `acf issues transition TODO-3 'Plan Approved'`"]);
        assert_says(
            &factory.acf(&["implement", "TODO-3"]).refused(3),
            &[
                "TODO-3 is not taken:\n  ✘ status Awaiting Plan Review  → read its plan and approve it: `acf issues ",
            ],
        );
        assert_says(&factory.sandbox().todo_text(), &["- [ ] a\n", "- [x] b\n", "- [?] c [needs-plan]\n"]);
    }

    #[test]
    fn implement_tells_why_a_run_failed() {
        let factory = Factory::with_todo("- [ ] a\n  @none\n");
        let told = factory.acf(&["implement", "TODO-1"]);
        assert_eq!(
            (told.code, told.stdout.as_str()),
            (Some(1), "TODO-1 was given back: the agent changed nothing\n")
        );
    }

    /// The original `task-manager`, by flags and by words, with a repository and without.
    #[test]
    fn task_manager_keeps_its_output_and_its_exit_codes() {
        let todo = "- [ ] a [bug] now\n  Its text.\n- [ ] b [needs-plan]\n";
        let with = Factory::with_todo(todo).without("PROJECT").without("AGENT");
        let without = Factory::with_todo(todo).without("PROJECT").without("AGENT").without("GIT_REPO_URL");
        for factory in [with, without] {
            let path = factory.sandbox().todo().display().to_string();
            let tool =
                |args: &[&str]| factory.called("task-manager", &[args, &["--project", &path]].concat());
            let a = json!({"key": "TODO-1", "summary": "a [bug] now", "description": "Its text."});

            assert_eq!(tool(&["auth"]).done().stdout, "acf\n");
            assert_eq!(tool(&["list"]).done().json(), json!([a]));
            assert_eq!(keys(&tool(&["list", "--for-planning"]).done().json()), ["TODO-2"]);
            assert_eq!(tool(&["view", "TODO-1"]).done().json(), a);
            assert_eq!(tool(&["claim", "--account-id", "ann"]).done().json(), a);
            assert_eq!(tool(&["claim", "--account-id", "ann"]).code, Some(2), "nothing is eligible");
            assert_eq!(tool(&["claim", "--for-planning"]).done().json()["summary"], "b [needs-plan]");
            tool(&["assign", "TODO-2", "--account-id", "bob"]).done();
            tool(&["comment", "--issue", "TODO-1", "--comment", "Said."]).done();
            tool(&["transition", "TODO-1", "Done"]).done();
            let expected = "- [x] a [bug] now\n  - Assignee: ann\n  Its text.\n  - Note: Said.\n- [~] b [needs-plan]\n  - Assignee: bob\n";
            assert_eq!(factory.sandbox().todo_text(), expected);
            assert_says(&tool(&["view", "TODO-3"]).refused(1), &["TODO-3"]);
        }
    }

    #[test]
    fn task_manager_exits_2_only_where_there_is_nothing_to_claim() {
        let factory = Factory::with_todo("- [x] a\n").without("AGENT");
        let code = |args: &[&str]| factory.called("task-manager", args).code;
        assert_eq!(code(&["claim"]), Some(2));
        assert_eq!(code(&["claim", "--for-planning"]), Some(2));
        assert_eq!(code(&["--help"]), Some(0));
        for wrong in
            [&[][..], &["clam"], &["claim", "--for-plannig"], &["view"], &["view", "../x"], &["comment", "1"]]
        {
            assert_eq!(code(wrong), Some(1), "{wrong:?}");
        }
        let factory = factory.with("MAX_ATTEMPTS", "many");
        for args in [&["claim"][..], &["list"], &["auth"]] {
            let told = factory.called("task-manager", args).refused(1);
            assert_says(&told, &["MAX_ATTEMPTS"]);
        }
        factory.acf(&["issues", "list"]).refused(2);
    }

    #[test]
    fn agent_needs_no_tracker_and_no_repository() {
        let factory =
            Factory::with_todo("").without("PROJECT").without("GIT_REPO_URL").without("TASK_MANAGER");
        factory.called("agent", &["init"]).done();
        let directory = factory.sandbox().root().display();
        let prompt = format!("@write {directory}/said.txt hello");
        factory.called("agent", &["run", &prompt]).done();
        let said = std::fs::read_to_string(factory.sandbox().root().join("said.txt")).unwrap();
        assert_eq!(said, "hello\n");
    }

    #[test]
    fn task_manager_finds_the_file_by_its_variable() {
        let factory =
            Factory::with_todo("- [ ] a\n").without("PROJECT").without("AGENT").without("GIT_REPO_URL");
        assert_says(&factory.called("task-manager", &["list"]).refused(1), &["PROJECT"]);
        let path = factory.sandbox().todo().display().to_string();
        let factory = factory.with("TODO_FILE", path).with("TODO_ASSIGNEE", "eve");
        assert_eq!(keys(&factory.called("task-manager", &["list"]).done().json()), ["TODO-1"]);
        factory.called("task-manager", &["claim"]).done();
        assert_eq!(factory.sandbox().todo_text(), "- [>] a\n  - Assignee: eve\n");
    }

    #[test]
    fn agent_is_the_configured_one_by_hand() {
        let factory = Factory::with_todo("");
        let agent = factory.program(
            "agent",
            "case $1 in init) echo prepared;; run) echo \"told: $2\"; printf \"$GIT_TOKEN\"; exit 3;; esac",
        );
        let factory =
            factory.with("AGENT", "command").with("AGENT_COMMAND", agent).with("GIT_TOKEN", "canary");
        assert_says(&factory.called("agent", &["init"]).done().stderr, &["agent command is ready"]);
        let told = factory.called("agent", &["run", "--do $(this)"]);
        assert_eq!((told.code, told.stdout.as_str()), (Some(1), "told: --do $(this)\n"));
        let factory = factory.with("AGENT_COMMAND", "no-such-agent");
        assert_says(&factory.called("agent", &["init"]).refused(1), &["no-such-agent", "PATH"]);
    }

    #[test]
    fn agent_is_a_verb_of_acf_too_and_takes_its_prompt_from_standard_input() {
        let factory = Factory::with_todo("");
        let agent = factory.program("agent", "case $1 in run) printf 'told: %s\\n' \"$2\";; esac");
        let factory = factory.with("AGENT", "command").with("AGENT_COMMAND", agent);
        let with_input = |text: &str| -> Told {
            let prompt = factory.sandbox().root().join("prompt");
            fs::write(&prompt, text).unwrap();
            let mut command = factory.command("acf");
            command.args(["agent", "run", "-"]).stdin(fs::File::open(&prompt).unwrap());
            command.output().unwrap().into()
        };
        assert_says(&factory.acf(&["agent", "init"]).done().stderr, &["agent command is ready"]);
        assert_eq!(factory.acf(&["agent", "run", "do it"]).done().stdout, "told: do it\n");
        assert_eq!(with_input("one\ntwo").done().stdout, "told: one\ntwo\n");
        assert_says(&with_input(" \n").refused(1), &["standard input holds no prompt"]);
    }

    #[test]
    fn factory_looks_after_workers() {
        let factory = Factory::with_todo("- [ ] a\n");
        let told = factory.called("factory", &["status", "--json"]).done().json();
        assert_eq!(told["workers"], json!([]));
        assert_says(&factory.called("factory", &["logs", "w-none"]).refused(1), &["no worker `w-none`"]);
        assert_says(&factory.called("worker-builder", &["claude"]).refused(2), &["worker-builder"]);
    }
}

mod workers {
    use super::*;

    #[test]
    fn in_the_background_drain_the_file_and_stop_with_all_that_they_started() {
        let sandbox = Sandbox::builder()
            .todo("- [ ] a\n- [ ] b\n- [ ] c [needs-plan]\n- [ ] d\n  @print at it\n  @hang\n")
            .build();
        let factory = Factory::of(sandbox).with("NO_ISSUES_WAIT", "1");
        let started = factory.acf(&["workers", "2", "--json"]).done().json();
        assert_eq!(started["started"].as_array().unwrap().len(), 2, "{started}");
        factory.acf(&["add", "1", "--pool", "planners"]).done();

        let of_d = factory.waits_for("all but d done", || {
            let todo = factory.sandbox().todo_text();
            let done =
                ["- [x] a\n", "- [x] b\n", "- [?] c", "- [>] d"].iter().all(|line| todo.contains(line));
            let status = factory.acf(&["status", "--json"]).done().json();
            let busy = status["workers"]
                .as_array()
                .unwrap()
                .iter()
                .find(|row| row["run"]["issue"] == "TODO-4")
                .cloned();
            busy.filter(|row| done && row["run"]["step"] == "agent")
        });
        let id = of_d["id"].as_str().unwrap();
        assert_says(&factory.acf(&["status"]).done().stdout, &["workers", "planners", "TODO-4"]);
        factory.waits_for("the agent's words", || {
            factory.acf(&["logs", id]).done().stdout.contains("agent: at it").then_some(())
        });

        factory.acf(&["stop", "--all", "--grace", "20s"]).done();

        assert_eq!(factory.left_running(), NOTHING);
        assert_eq!(factory.claims(), NOTHING);
        assert_says(&factory.sandbox().todo_text(), &["- [ ] d\n  @print at it\n  @hang\n"]);
        assert_eq!(factory.acf(&["status", "--json"]).done().json()["workers"], json!([]));
        assert_eq!(
            factory.acf(&["status", "--all", "--json"]).done().json()["workers"].as_array().unwrap().len(),
            3
        );
        let runs = factory.runs("TODO-4");
        assert_eq!(runs[0]["outcome"], "interrupted");
        fs::remove_dir_all(factory.sandbox().root().join("work")).unwrap();
    }

    #[test]
    fn are_started_with_a_warning_where_agents_are_given_what_acf_acts_by() {
        let factory = Factory::with_todo("").with("AGENT_ENV", "JIRA_TOKEN").with("JIRA_TOKEN", "canary-1");
        for args in [&["worker", "--exit-when-idle"][..], &["workers", "1"]] {
            let told = factory.acf(args).done().stderr;
            assert_says(&told, &["warning: AGENT_ENV gives agents JIRA_TOKEN, which acf acts by"]);
        }
        factory.acf(&["stop", "--all"]).done();
    }

    #[test]
    fn are_not_started_where_their_settings_are_wrong() {
        let factory = Factory::with_todo("- [ ] a\n").with("MAX_ATTEMPTS", "none");
        for args in [&["workers", "2"][..], &["planners", "1"], &["add", "1"]] {
            assert_says(&factory.acf(args).refused(2), &["MAX_ATTEMPTS"]);
        }
        factory.acf(&["workers", "0"]).done();
        factory.acf(&["stop", "--all"]).done();
        assert_eq!(factory.left_running(), NOTHING);
    }
}

#[test]
fn an_agent_by_itself_needs_neither_tracker_nor_repository() {
    let factory = Factory::with_todo("").without("TASK_MANAGER").without("PROJECT").without("GIT_REPO_URL");
    for (name, arguments) in [("acf", &["agent", "init"][..]), ("agent", &["init"])] {
        let said = factory.called(name, arguments).done();
        assert!(said.stderr.contains("agent script is ready"), "{}", said.stderr);
    }
}

#[test]
fn config_is_shown_with_what_is_wrong_with_it() {
    let factory = Factory::with_todo("").with("MAX_ATTEMPTS", "many").with("FACTORY_ENV_FILE", "/nowhere");
    for arguments in [&["config"][..], &["config", "--json"]] {
        let said = factory.acf(arguments);
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        assert!(said.stdout.contains("MAX_ATTEMPTS") && said.stdout.contains("many"), "{}", said.stdout);
        for wrong in ["MAX_ATTEMPTS", "/nowhere"] {
            assert!(said.stderr.contains(wrong), "{wrong}: {}", said.stderr);
        }
    }
    Factory::with_todo("").without("PROJECT").acf(&["config"]).done();
}
