//! Plans, and TODO files that people edit while workers use them: the right item always gets what is its.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::fs;

use acf_tests::factory::{Factory, Running};
use acf_tests::git_http::GitHttp;
use acf_tests::sandbox::{PolicyFile, Sandbox};

const NOTHING: [&str; 0] = [];

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not said in:\n{text}");
    }
}

/// Edits the TODO file as a person does: without asking anybody.
fn edit(factory: &Factory, change: impl Fn(&str) -> String) {
    let todo = factory.sandbox().todo_text();
    let edited = change(&todo);
    assert_ne!(todo, edited, "nothing was edited");
    fs::write(factory.sandbox().todo(), edited).unwrap();
}

/// Gives a factory an agent that keeps its prompts, as `prompts/0` and so on, and changes something.
fn recording(factory: Factory) -> Factory {
    let prompts = factory.sandbox().root().join("prompts");
    fs::create_dir(&prompts).unwrap();
    let script = "printf '%s' \"$prompt\" > \"$PROMPTS/$(ls \"$PROMPTS\" | wc -l)\"; echo done >> done.txt";
    factory.agent(script).with("PROMPTS", prompts.to_str().unwrap())
}

fn prompt(factory: &Factory, n: u32) -> String {
    fs::read_to_string(factory.sandbox().root().join(format!("prompts/{n}"))).unwrap()
}

mod plans {
    use super::*;

    const ISSUE: &str = "- [ ] a [needs-plan]\n  @plan First this.\\nThen that.\n";

    #[test]
    fn a_plan_is_committed_and_waits_for_a_person() {
        let factory = Factory::with_todo(ISSUE);

        factory.plan().done();

        let sandbox = factory.sandbox();
        assert_eq!(sandbox.log(), ["[TODO-1] Plan: a", "First commit"]);
        assert_says(&sandbox.file_at("main", "plans/TODO-1.md").unwrap(), &["First this.\nThen that.\n"]);
        let todo = sandbox.todo_text();
        assert!(todo.starts_with("- [?] a [needs-plan]\n"), "{todo}");
        assert_says(&todo, &["- Note: acf wrote a plan: plans/TODO-1.md", "add the label plan-approved"]);
        assert!(!todo.contains("Assignee"), "{todo}");
        assert_says(&factory.drain().done().stderr, &["nothing to do"]);
        assert_says(
            &factory.acf(&["issues", "explain", "TODO-1"]).done().stdout,
            &["✘ status Awaiting Plan Review"],
        );
        assert_eq!(factory.claims(), NOTHING);
    }

    #[test]
    fn a_plan_is_linked_where_its_repository_has_pages() {
        let plan_on = |git_trunk: &str| {
            let sandbox = Sandbox::builder().todo(ISSUE).build();
            sandbox.git(&["branch", "release/2", "main"]);
            let server = GitHttp::start(sandbox.root(), "worker", "correct horse");
            let url = server.url("remote.git");
            // The host of the API is what says that this one is a GitHub Enterprise.
            let factory = Factory::of(sandbox)
                .with("GIT_REPO_URL", &url)
                .with("GIT_USERNAME", "worker")
                .with("GIT_TOKEN", "correct horse")
                .with("GIT_TRUNK", git_trunk)
                .with("GITHUB_API_URL", "http://127.0.0.1:1/api/v3");
            factory.plan().done();
            (factory.sandbox().todo_text(), url.trim_end_matches(".git").to_owned())
        };
        for trunk in ["main", "release/2"] {
            let (todo, repository) = plan_on(trunk);
            let link = format!("[plans/TODO-1.md]({repository}/blob/{trunk}/plans/TODO-1.md)");
            assert_says(&todo, &[&format!("acf wrote a plan: {link} in ")]);
        }
    }

    #[test]
    fn every_issue_is_planned_by_default_but_those_that_are_not_to_be() {
        let factory = Factory::with_todo("- [ ] a\n- [ ] b [skip-plan]\n").with("PLAN_BY_DEFAULT", "true");
        factory.plan().done();
        factory.drain().done();
        let todo = factory.sandbox().todo_text();
        assert!(todo.starts_with("- [?] a\n") && todo.contains("\n- [x] b [skip-plan]\n"), "{todo}");
    }

    #[test]
    fn only_an_approved_plan_is_implemented_and_the_agent_is_told_it() {
        let approve: [fn(&Factory); 3] = [
            |factory| edit(factory, |todo| todo.replace("- [?] a", "- [p] a")),
            |factory| edit(factory, |todo| todo.replace("[needs-plan]", "[needs-plan] [plan-approved]")),
            |factory| _ = factory.acf(&["issues", "transition", "TODO-1", "plan approved"]).done(),
        ];
        for approve in approve {
            let factory = Factory::with_todo(ISSUE);
            factory.plan().done();
            approve(&factory);
            assert_says(&factory.plan().done().stderr, &["nothing to do"]);

            let factory = recording(factory);
            factory.drain().done();

            assert_says(
                &prompt(&factory, 0),
                &["A person has approved this plan (plans/TODO-1.md)", "First this.\nThen that."],
            );
            assert!(factory.sandbox().todo_text().starts_with("- [x] a [needs-plan]"));
            assert_eq!(factory.sandbox().log().len(), 3);
        }
    }

    #[test]
    fn a_person_may_edit_the_plan_before_approving_it() {
        let factory = Factory::with_todo(ISSUE);
        factory.plan().done();
        let clone = factory.sandbox().clone_to("clone");
        let path = clone.join("plans/TODO-1.md");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("Then that.", "Never that.")).unwrap();
        factory.sandbox().git_in(&clone, &["commit", "--quiet", "--all", "--message=Mend the plan"]);
        factory.sandbox().git_in(&clone, &["push", "--quiet", "origin", "HEAD:main"]);
        edit(&factory, |todo| todo.replace("- [?] a", "- [p] a"));

        let factory = recording(factory);
        factory.drain().done();

        assert_says(&prompt(&factory, 0), &["First this.\nNever that."]);
    }

    #[test]
    fn an_empty_plan_is_refused() {
        for planning in
            ["@planning none", "@planning write plans/TODO-1.md", "@planning sh mkdir -p plans/TODO-1.md"]
        {
            let factory = Factory::with_todo(&format!("- [ ] a [needs-plan]\n  {planning}\n"))
                .with("MAX_ATTEMPTS", "1");
            factory.plan().done();
            assert_eq!(
                factory.failure("TODO-1"),
                ("empty_plan".into(), "the agent wrote no plan".into()),
                "{planning}"
            );
            assert!(factory.sandbox().todo_text().starts_with("- [ ] a [needs-plan] [acf-blocked]\n"));
            assert_eq!(factory.sandbox().log(), ["First commit"]);
        }
    }

    #[test]
    fn an_earlier_plan_is_not_a_new_one_and_can_be_edited() {
        let factory = Factory::with_todo("- [ ] a [needs-plan]\n").with("MAX_ATTEMPTS", "1");
        let factory = factory.agent("mkdir -p plans; echo step >> plans/TODO-1.md");
        let plan = |factory: &Factory| factory.sandbox().file_at("main", "plans/TODO-1.md").unwrap();
        let again = |factory| edit(factory, |todo| todo.replace("- [?] a", "- [ ] a"));
        factory.plan().done();
        let once = plan(&factory);
        again(&factory);
        factory.plan().done();
        assert_eq!(plan(&factory), format!("{once}step\n"));

        again(&factory);
        let factory = factory.agent("exit 0");
        factory.plan().done();
        assert_eq!(factory.runs("TODO-1").last().unwrap()["kind"], "empty_plan");
    }

    #[test]
    fn a_planner_changes_nothing_but_the_plan() {
        let factory =
            Factory::with_todo("- [ ] a [needs-plan]\n  @planning write README.md gone\n  @plan A plan.\n");
        factory.plan().done();
        assert_eq!(
            factory.sandbox().git(&["diff-tree", "-r", "--name-only", "main^", "main"]),
            "plans/TODO-1.md"
        );
    }

    #[test]
    fn an_approval_without_a_plan_fails_the_run_and_says_what_is_missing() {
        let factory = Factory::with_todo("- [p] a [needs-plan]\n").with("MAX_ATTEMPTS", "1");
        factory.drain().done();
        let (kind, reason) = factory.failure("TODO-1");
        assert_eq!(kind, "setup");
        assert_says(&reason, &["there is no plan of it in plans/TODO-1.md"]);
        assert!(factory.sandbox().todo_text().starts_with("- [p] a [needs-plan] [acf-blocked]\n"));
    }

    #[test]
    fn a_plan_belongs_to_its_item_also_when_another_one_was_put_above() {
        let factory = Factory::with_todo(ISSUE);
        factory.plan().done();
        edit(&factory, |todo| format!("- [ ] b\n{}", todo.replace("- [?] a", "- [p] a")));

        let factory = recording(factory);
        factory.drain().done();

        let prompts = [prompt(&factory, 0), prompt(&factory, 1)];
        let of = |key: &str| prompts.iter().find(|text| text.contains(&format!("Issue {key}\n"))).unwrap();
        assert_says(of("TODO-2"), &["First this.\nThen that."]);
        assert!(!of("TODO-1").contains("First this."), "{}", of("TODO-1"));
        assert_says(&factory.sandbox().todo_text(), &["- [x] a", "- [x] b"]);
    }

    #[test]
    fn two_plans_for_the_same_key_are_both_kept() {
        let factory = Factory::with_todo(ISSUE);
        factory.plan().done();
        edit(&factory, |todo| format!("- [ ] b [needs-plan]\n  @plan Another one.\n{todo}"));
        factory.plan().done();
        edit(&factory, |todo| todo.replace("- [?]", "- [p]"));

        let factory = recording(factory);
        factory.drain().done();

        let prompts = [prompt(&factory, 0), prompt(&factory, 1)];
        let of = |key: &str| prompts.iter().find(|text| text.contains(&format!("Issue {key}\n"))).unwrap();
        assert_says(of("TODO-2"), &["(plans/TODO-1.md)"]);
        assert_says(of("TODO-1"), &["approved this plan", "\nAnother one."]);
        assert_says(of("TODO-2"), &["approved this plan", "\nFirst this.\nThen that."]);
    }
}

mod edits_meanwhile {
    use super::*;

    /// Starts a worker whose agent waits for the test, and works on the item called `a`.
    fn at_work(todo: &str) -> (Factory, Running) {
        let factory = Factory::with_todo(todo);
        let go = factory.sandbox().root().join("go");
        let factory = factory
            .agent("echo A > a.txt; echo ready; while ! [ -e \"$GO\" ]; do sleep 0.02; done; [ -e \"$GO.fails\" ] && exit 1; exit 0")
            .with("GO", go.to_str().unwrap());
        let mut worker = factory.start("w-1", &["--max-issues", "1"]);
        worker.says("agent: ready");
        (factory, worker)
    }

    fn go(factory: &Factory, worker: Running) -> String {
        fs::write(factory.sandbox().root().join("go"), "").unwrap();
        let said = worker.ended();
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        assert_eq!(factory.claims(), NOTHING);
        said.stderr
    }

    #[test]
    fn items_put_above_do_not_misdirect_a_run() {
        let (factory, worker) = at_work("- [ ] a\n- [ ] z\n");
        edit(&factory, |todo| format!("# Urgent\n- [ ] new\n  With text.\n- [x] old\n\n{todo}"));

        go(&factory, worker);

        let todo = factory.sandbox().todo_text();
        assert!(todo.starts_with("# Urgent\n- [ ] new\n  With text.\n- [x] old\n\n- [x] a\n"), "{todo}");
        assert!(todo.ends_with("\n- [ ] z\n"), "{todo}");
    }

    #[test]
    fn an_item_with_the_same_words_put_above_does_not_take_its_place() {
        let (factory, worker) = at_work("- [ ] a\n");
        edit(&factory, |todo| todo.replace("- [>] a\n", "- [>] a\n  More words about it.\n"));

        go(&factory, worker);

        let todo = factory.sandbox().todo_text();
        assert!(todo.starts_with("- [x] a\n"), "{todo}");
        assert_says(&todo, &["  More words about it.\n"]);
    }

    #[test]
    fn an_item_that_is_gone_is_told_nothing() {
        let (factory, worker) = at_work("- [ ] a\n- [ ] z\n");
        fs::write(factory.sandbox().todo(), "- [ ] z\n").unwrap();

        let said = go(&factory, worker);

        assert_eq!(factory.sandbox().todo_text(), "- [ ] z\n");
        assert_says(&said, &["issue `TODO-1`: the issue is gone", "issue `TODO-1` is gone; nobody to tell"]);
        assert_eq!(factory.sandbox().log(), ["First commit"]);
    }

    #[test]
    fn an_item_that_a_person_finished_meanwhile_stays_finished_when_the_run_fails() {
        let (factory, worker) = at_work("- [ ] a\n");
        edit(&factory, |todo| todo.replace("- [>] a", "- [x] a"));
        fs::write(factory.sandbox().root().join("go.fails"), "").unwrap();

        go(&factory, worker);

        let todo = factory.sandbox().todo_text();
        assert!(todo.starts_with("- [x] a\n"), "{todo}");
        assert_says(&todo, &["acf gave this back: the agent exited with code 1"]);
    }
}

mod in_the_repository {
    use super::*;

    fn factory(todo: &str, policy: &PolicyFile) -> Factory {
        let sandbox = Sandbox::builder().todo_in_repository(todo).policy(policy).build();
        Factory::of(sandbox).with("PROJECT", "git:TODO.md")
    }

    fn todo(factory: &Factory) -> String {
        factory.sandbox().file_at("main", "TODO.md").unwrap()
    }

    #[test]
    fn marks_and_work_are_commits_of_the_trunk() {
        let factory = factory("- [ ] a\n  @write a.txt A\n", &PolicyFile::new().verify("test -f a.txt"));

        factory.drain().done();

        assert_eq!(
            factory.sandbox().log(),
            ["TODO-1: Done", "[TODO-1] a", "TODO-1: In Progress", "First commit"]
        );
        assert!(
            todo(&factory).starts_with("- [x] a\n  - Assignee: acf\n  @write a.txt A\n"),
            "{}",
            todo(&factory)
        );
        assert_eq!(factory.sandbox().file_at("main", "a.txt").as_deref(), Some("A\n"));
        assert_eq!(factory.sandbox().file_at("main^", "TODO.md").unwrap().lines().next(), Some("- [>] a"));
    }

    #[test]
    fn a_failed_run_is_given_back_by_a_commit() {
        let factory = factory("- [ ] a\n  @none\n", &PolicyFile::new()).with("MAX_ATTEMPTS", "1");
        factory.drain().done();
        assert_says(
            &todo(&factory),
            &["- [ ] a [acf-blocked]\n", "acf gave this back: the agent changed nothing."],
        );
        assert_eq!(factory.sandbox().log(), ["TODO-1: To Do", "TODO-1: In Progress", "First commit"]);
    }

    #[test]
    fn plans_go_through_the_same_file() {
        let factory = factory("- [ ] a [needs-plan]\n  @plan A plan.\n", &PolicyFile::new());
        factory.plan().done();
        assert!(todo(&factory).starts_with("- [?] a [needs-plan]\n"), "{}", todo(&factory));
        factory.acf(&["issues", "transition", "TODO-1", "plan-approved"]).done();
        let factory = recording(factory);
        factory.drain().done();
        assert_says(&prompt(&factory, 0), &["approved this plan", "A plan."]);
        assert!(todo(&factory).starts_with("- [x] a [needs-plan]\n"), "{}", todo(&factory));
    }

    #[test]
    fn two_workers_share_it_and_nothing_is_done_twice() {
        let issues: String = (1..=6).map(|n| format!("- [ ] item {n}\n")).collect();
        let factory = factory(&issues, &PolicyFile::new());
        let workers = ["w-1", "w-2"].map(|id| factory.start(id, &["--exit-when-idle"]));
        for worker in workers {
            let said = worker.ended();
            assert_eq!(said.code, Some(0), "{}", said.stderr);
        }
        // One may have ended while the other still worked on what it had seen as taken.
        factory.drain().done();

        assert_eq!(todo(&factory).matches("- [x] item").count(), 6, "{}", todo(&factory));
        let log = factory.sandbox().log();
        for n in 1..=6 {
            let subject = format!("[TODO-{n}] item {n}");
            assert_eq!(log.iter().filter(|line| **line == subject).count(), 1, "{log:#?}");
            assert_eq!(factory.runs(&format!("TODO-{n}")).len(), 1);
        }
        assert_eq!(factory.claims(), NOTHING);
        assert_eq!(factory.left_running(), NOTHING);
    }
}
