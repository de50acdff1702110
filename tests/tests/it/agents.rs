//! Agents that misbehave, and workers that are stopped while theirs are at work: each run ends with its
//! reason, what was done is kept, and nothing is left behind.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::fs;

use acf_tests::factory::Factory;
use acf_tests::sandbox::{PolicyFile, Sandbox};
use rustix::process::Signal;

const NOTHING: [&str; 0] = [];

/// Returns a factory whose one issue tells the scripted agent what to do, and that is tried once.
fn told(directives: &[&str]) -> Factory {
    told_with(&PolicyFile::new(), directives)
}

fn told_with(policy: &PolicyFile, directives: &[&str]) -> Factory {
    let lines: String = directives.iter().map(|line| format!("  {line}\n")).collect();
    let sandbox = Sandbox::builder().policy(policy).todo(&format!("- [ ] a\n{lines}")).build();
    Factory::of(sandbox).with("MAX_ATTEMPTS", "1")
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not said in:\n{text}");
    }
}

/// Checks that a failed run has given its issue back and has left nothing: no claim, checkout, process.
#[track_caller]
fn assert_given_back(factory: &Factory, reason: &str) {
    let todo = factory.sandbox().todo_text();
    assert!(todo.starts_with("- [ ] a [acf-blocked]\n"), "{todo}");
    assert_says(&todo, &[&format!("- Note: acf gave this back: {reason}.")]);
    assert_eq!(factory.sandbox().log(), ["First commit"]);
    assert_nothing_left(factory);
}

#[track_caller]
fn assert_nothing_left(factory: &Factory) {
    assert_eq!(factory.claims(), NOTHING);
    assert_eq!(factory.left_running(), NOTHING);
    let checkouts: Vec<_> = fs::read_dir(factory.checkouts()).into_iter().flatten().flatten().collect();
    assert!(checkouts.is_empty(), "{checkouts:?}");
}

/// Checks that the only issue is done, and returns the files of its commit.
#[track_caller]
fn assert_landed(factory: &Factory) -> Vec<String> {
    let todo = factory.sandbox().todo_text();
    assert!(todo.starts_with("- [x] a\n"), "{todo}");
    assert_eq!(factory.sandbox().log(), ["[TODO-1] a", "First commit"]);
    assert_nothing_left(factory);
    factory
        .sandbox()
        .git(&["-c", "core.quotePath=true", "diff-tree", "-r", "--name-only", "main^", "main"])
        .lines()
        .map(str::to_owned)
        .collect()
}

mod failing {
    use super::*;

    #[test]
    fn one_that_is_not_on_path_is_refused_before_any_claim() {
        let factory = told(&[]).with("AGENT", "command").with("AGENT_COMMAND", "no-such-agent --fast");

        let said = factory.drain().refused(1);

        assert_says(&said, &["`no-such-agent`", "PATH", "hint: install the agent"]);
        assert_eq!(factory.sandbox().todo_text(), "- [ ] a\n");
        assert_eq!(factory.sandbox().refs("refs/"), ["refs/heads/main"]);
    }

    #[test]
    fn one_that_cannot_be_prepared_is_refused_before_any_claim() {
        let factory = told(&[]);
        let agent = factory.program("agent", "echo 'no licence' >&2; exit 4");
        let factory = factory.with("AGENT", "command").with("AGENT_COMMAND", agent);

        let said = factory.drain();

        assert_eq!(said.code, Some(1));
        assert_says(&said.stderr, &["cannot prepare the agent", "exit code 4", "no licence"]);
        assert_eq!(factory.sandbox().todo_text(), "- [ ] a\n");
        assert_eq!(factory.claims(), NOTHING);
    }

    #[test]
    fn one_that_hangs_is_ended_when_it_was_silent_for_too_long() {
        let factory =
            told_with(&PolicyFile::new().timeout("stall", "300ms"), &["@write half.txt x", "@hang"]);
        factory.drain().done();
        assert_eq!(factory.failure("TODO-1").0, "agent_stalled");
        assert_given_back(
            &factory,
            "the agent was silent for too long. That was attempt 1 of 1: \
            remove the label acf-blocked to have it tried again",
        );
        assert_eq!(factory.kept("half.txt").as_deref(), Some("x\n"));
    }

    #[test]
    fn one_that_talks_for_ever_is_ended_at_its_time_limit() {
        let policy = PolicyFile::new().timeout("agent", "500ms");
        let factory = told_with(&policy, &["@sh while :; do echo .; sleep 0.05; done"]);
        factory.drain().done();
        assert_eq!(factory.failure("TODO-1").0, "agent_timed_out");
        assert_given_back(
            &factory,
            "the agent took longer in all its rounds than AGENT_TIMEOUT or the repository allows. That was attempt 1 of 1: \
            remove the label acf-blocked to have it tried again",
        );
    }

    #[test]
    fn one_that_ignores_sigterm_is_killed() {
        let policy = PolicyFile::new().timeout("stall", "300ms");
        let factory = told_with(&policy, &["@ignore-term", "@hang"]).with("STOP_GRACE", "1s");
        factory.drain().done();
        assert_eq!(factory.failure("TODO-1").0, "agent_stalled");
        assert_nothing_left(&factory);
    }

    #[test]
    fn one_that_crashes_or_fails_is_told_with_its_last_words() {
        let factory = told(&["@print about to fail", "@fail 3"]);
        factory.drain().done();
        let (kind, reason) = factory.failure("TODO-1");
        assert_eq!(kind, "agent_crashed");
        assert_eq!(reason, "the agent exited with code 3: failing with exit code 3, as told");
        assert_says(
            &factory.sandbox().todo_text(),
            &["gave this back: the agent exited with code 3: failing"],
        );
        assert_says(&factory.acf(&["runs", "TODO-1"]).done().stdout, &["about to fail"]);
        assert_nothing_left(&factory);

        let factory = told(&["@crash"]);
        factory.drain().done();
        assert_eq!(factory.failure("TODO-1").1, "the agent was ended by a signal");
        assert_nothing_left(&factory);
    }

    #[test]
    fn one_that_changes_nothing_has_not_succeeded() {
        let factory = told(&["@none"]);
        factory.drain().done();
        assert_eq!(factory.failure("TODO-1").0, "no_change");
        assert_given_back(
            &factory,
            "the agent changed nothing. That was attempt 1 of 1: \
            remove the label acf-blocked to have it tried again",
        );
    }

    #[test]
    fn one_whose_service_limits_it_goes_on_in_its_session() {
        let factory = told(&["@rate-limit 0.1", "@write a.txt A"]);
        let said = factory.drain().done();
        assert_eq!(assert_landed(&factory), ["a.txt"]);
        assert_says(&said.stderr, &["rate limited"]);
    }

    #[test]
    fn one_that_deletes_its_directory_fails_its_run_and_not_the_worker() {
        for command in ["rm -rf ../tree", "cd .. && rm -rf tree index"] {
            let factory = told(&[&format!("@sh {command}")]);
            factory.drain().done();
            assert_eq!(factory.runs("TODO-1")[0]["outcome"], "failed", "{command}");
            assert!(factory.sandbox().todo_text().starts_with("- [ ] a [acf-blocked]\n"));
            assert_nothing_left(&factory);
        }
    }
}

mod leaving_things {
    use super::*;

    #[test]
    fn daemons_end_with_the_round() {
        let factory = told(&[
            "@sh env -i setsid sh -c 'echo $$ > ../daemon; exec sleep 300' > /dev/null 2>&1 &",
            "@sh setsid nohup sleep 300 > /dev/null 2>&1 &",
            "@sh while ! [ -s ../daemon ]; do sleep 0.01; done; cp ../daemon a.txt",
        ]);
        factory.drain().done();
        assert_eq!(assert_landed(&factory), ["a.txt"]);
        let daemon = factory.sandbox().file_at("main", "a.txt").unwrap();
        let command = fs::read(format!("/proc/{}/cmdline", daemon.trim())).unwrap_or_default();
        assert!(!command.starts_with(b"sleep"), "the daemon still runs");
    }

    #[test]
    fn a_flood_of_output_leaves_a_bounded_log() {
        let factory = told(&["@flood 1000000000", "@write a.txt A"]);
        let said = factory.drain().done();
        assert_eq!(assert_landed(&factory), ["a.txt"]);
        assert!(said.stderr.len() < 24 * 1024 * 1024, "{} bytes", said.stderr.len());
        assert!(
            factory
                .sandbox()
                .git(&["cat-file", "-s", &factory.sandbox().refs("refs/acf/runs/")[0]])
                .parse::<u32>()
                .unwrap()
                < 10_000
        );
    }

    #[test]
    fn a_huge_file_lands_where_the_host_takes_it() {
        let factory = told(&["@sh head -c 8000000 /dev/urandom > big.bin"]);
        factory.drain().done();
        assert_eq!(assert_landed(&factory), ["big.bin"]);
    }

    #[test]
    fn a_huge_file_that_the_host_refuses_fails_the_run_and_holds_no_claim() {
        let factory = told(&["@sh head -c 3000000 /dev/urandom > big.bin"]);
        factory.sandbox().git(&["config", "receive.maxInputSize", "1m"]);
        let said = factory.drain();
        let todo = factory.sandbox().todo_text();
        assert!(todo.starts_with("- [ ] a [acf-blocked]\n"), "{todo}\n{}", said.stderr);
        assert_nothing_left(&factory);
        assert_says(&factory.failure("TODO-1").1, &["exceeds maximum allowed size"]);
    }

    #[test]
    fn a_huge_file_that_the_host_refuses_does_not_cost_the_claim_while_the_agent_is_at_work() {
        let factory = told(&[
            "@sh head -c 3000000 /dev/urandom > big.bin; while ! [ -e \"$GO\" ]; do sleep 0.05; done; rm big.bin",
            "@write a.txt A",
        ]);
        factory.sandbox().git(&["config", "receive.maxInputSize", "1m"]);
        let go = factory.sandbox().root().join("go");
        let factory = factory.with("GO", go.to_str().unwrap()).with("ACF_CLAIM_TTL", "3s");
        let mut worker = factory.start("w-1", &["--exit-when-idle"]);
        worker.says("cannot save the work in progress");
        let claim = || factory.sandbox().git(&["rev-parse", "refs/acf/claims/TODO-1"]);
        let before = claim();
        worker.waits_for("a renewed claim", |_| (claim() != before).then_some(()));
        fs::write(go, "").unwrap();
        assert_eq!(worker.ended().code, Some(0));
        assert_eq!(assert_landed(&factory), ["a.txt"]);
    }

    #[test]
    fn what_the_repository_ignores_is_not_published() {
        let sandbox = Sandbox::builder()
            .file(".gitignore", "junk/\n")
            .todo("- [ ] a\n  @sh mkdir junk && cd junk && seq 2000 | xargs touch\n  @write a.txt A\n")
            .build();
        let factory = Factory::of(sandbox);
        factory.drain().done();
        assert_eq!(assert_landed(&factory), ["a.txt"]);
    }

    #[test]
    fn odd_files_and_names_are_published_as_they_are() {
        let factory = told(&[
            "@sh ln -s loop loop; ln -s . self; ln -s ../../../.. up; mkfifo pipe",
            r#"@sh touch -- -n ':(exclude)b' 'two words' "$(printf 'line\nbreak')" "$(printf 'not\377text')""#,
        ]);
        fs::write(factory.sandbox().home().join("precious"), "kept").unwrap();
        factory.drain().done();
        let landed = assert_landed(&factory);
        let expected =
            ["-n", ":(exclude)b", "\"line\\nbreak\"", "loop", "\"not\\377text\"", "self", "two words", "up"];
        assert_eq!(landed, expected);
        assert_eq!(fs::read_to_string(factory.sandbox().home().join("precious")).unwrap(), "kept");
    }

    #[test]
    fn what_it_made_unreadable_is_published_all_the_same() {
        let factory = told(&[
            "@write a/b.txt B",
            "@write c/d/e.txt E",
            "@write f.txt F",
            "@sh chmod 000 f.txt a; chmod 555 c/d c",
        ]);
        factory.drain().done();
        assert_eq!(assert_landed(&factory), ["a/b.txt", "c/d/e.txt", "f.txt"]);
    }

    #[test]
    fn what_it_made_unreadable_is_saved_and_removed_when_it_fails() {
        let factory =
            told(&["@write a/b.txt B", "@write c/d/e.txt E", "@sh chmod 000 a; chmod 555 c/d c", "@fail 1"]);
        factory.drain().done();
        assert_eq!(factory.failure("TODO-1").0, "agent_crashed");
        assert_nothing_left(&factory);
        let wip = |path| factory.kept(path);
        assert_eq!(wip("a/b.txt").as_deref(), Some("B\n"));
        assert_eq!(wip("c/d/e.txt").as_deref(), Some("E\n"));
    }

    #[test]
    fn what_a_killed_worker_left_unreadable_does_not_keep_the_next_from_starting() {
        let factory =
            told(&["@write a/b.txt B", "@sh chmod 555 a; chmod 000 a/b.txt", "@print ready", "@hang"]);
        let mut worker = factory.start("w-killed", &[]);
        worker.says("agent: ready");
        worker.signal(Signal::KILL);
        assert_eq!(worker.ended().code, None);
        assert_eq!(factory.left_running(), NOTHING);

        factory.drain().done();

        factory.acf(&["sweep", "--dead", "w-killed"]).done();
        assert_nothing_left(&factory);
    }
}

mod with_git {
    use super::*;

    const COMMIT: &str = "git add -A && git -c user.name=x -c user.email=x@example.invalid commit --quiet";

    #[test]
    fn commits_of_its_own_become_one_that_says_what_they_said() {
        let factory = told(&[
            &format!("@sh echo A > a.txt && {COMMIT} -m 'Add a'"),
            &format!("@sh echo B > b.txt && {COMMIT} -m 'Add b' -m 'Because of c.'"),
            "@write c.txt C",
        ]);
        factory.drain().done();
        assert_eq!(assert_landed(&factory), ["a.txt", "b.txt", "c.txt"]);
        let message = factory.sandbox().git(&["log", "-1", "--format=%B", "main"]);
        assert!(
            message.starts_with("[TODO-1] a\n\nAdd a\n\nAdd b\n\nBecause of c.\n\nAcf-Issue: TODO-1\n"),
            "{message}"
        );
    }

    #[test]
    fn history_that_it_rewrites_is_not_published() {
        for rewrite in [
            format!("echo A > a.txt && {COMMIT} --amend -m 'There never was a first commit'"),
            format!("git checkout --quiet --orphan new && echo A > a.txt && {COMMIT} -m 'A new beginning'"),
            "git update-ref -d HEAD; git branch -D main; rm .git/index; echo A > a.txt".to_owned(),
        ] {
            let factory = told(&[&format!("@sh {rewrite}; true")]);
            let first = factory.sandbox().git(&["rev-parse", "main"]);
            factory.drain().done();
            assert_eq!(assert_landed(&factory), ["a.txt"]);
            assert_eq!(factory.sandbox().git(&["rev-parse", "main^"]), first);
        }
    }

    #[test]
    fn its_repository_does_not_matter() {
        for damage in [
            "rm -rf .git",
            "rm -rf .git && echo 'gitdir: /nowhere' > .git",
            "rm -rf .git && ln -s /etc .git",
            "git config core.bare true; git config core.fsmonitor 'touch pwned'; git config core.worktree /",
            "printf 'a.txt\\n' > .git/info/exclude; touch .git/index.lock",
        ] {
            let factory = told(&[&format!("@sh echo A > a.txt; {damage}")]);
            factory.drain().done();
            assert_eq!(assert_landed(&factory), ["a.txt"], "{damage}");
        }
    }

    #[test]
    fn its_hooks_and_filters_are_not_run_by_acf() {
        let factory = told(&[
            "@sh mkdir -p .git/hooks && printf '#!/bin/sh\\ntouch \"$PWNED\"\\n' > .git/hooks/pre-push \
            && chmod +x .git/hooks/pre-push && cp .git/hooks/pre-push .git/hooks/post-index-change",
            "@sh git config filter.x.clean 'touch \"$PWNED\"; cat' && echo '* filter=x' > .gitattributes",
            "@write a.txt A",
        ]);
        let pwned = factory.sandbox().root().join("pwned");
        let factory = factory.with("PWNED", pwned.to_str().unwrap());
        factory.drain().done();
        assert_eq!(assert_landed(&factory), [".gitattributes", "a.txt"]);
        assert!(!pwned.exists());
    }

    #[test]
    fn a_repository_within_the_repository_is_not_published_and_its_files_are_kept() {
        let nested = "git init --quiet sub && echo S > sub/s.txt";
        for (make, why) in [
            (nested.to_owned(), "without a commit"),
            (format!("{nested} && cd sub && {COMMIT} -m s"), "with one"),
        ] {
            let factory =
                told_with(&PolicyFile::new().max_fixes(1), &[&format!("@sh {make}"), "@write a.txt A"]);
            factory.drain().done();
            let (kind, reason) = factory.failure("TODO-1");
            assert_eq!(kind, "unpublishable", "{why}");
            assert_says(&reason, &["a git repository within the repository, in `sub`"]);
            assert_eq!(factory.runs("TODO-1")[0]["receipt"]["fix_rounds"], 1);
            assert_eq!(factory.sandbox().log(), ["First commit"]);
            let wip = |path| factory.kept(path);
            assert_eq!(
                (wip("sub/s.txt").as_deref(), wip("a.txt").as_deref()),
                (Some("S\n"), Some("A\n")),
                "{why}"
            );
            assert_nothing_left(&factory);
        }
    }

    #[test]
    fn a_repository_within_the_repository_can_be_mended() {
        let factory = told(&["@sh git init --quiet sub && echo S > sub/s.txt", "@fix sh rm -rf sub/.git"]);
        factory.drain().done();
        assert_eq!(assert_landed(&factory), ["sub/s.txt"]);
    }
}

mod with_the_gate {
    use super::*;

    #[test]
    fn the_policy_cannot_be_edited() {
        let policy = PolicyFile::new().verify("test -f wanted.txt").max_fixes(1);
        let factory = told_with(&policy, &["@sh echo 'verify = []' > .acf/config.toml", "@write a.txt A"]);
        factory.drain().done();
        let (kind, reason) = factory.failure("TODO-1");
        assert_eq!(kind, "unpublishable");
        assert_says(&reason, &["it changes `.acf/config.toml`, by which this repository's work is checked"]);
        assert_eq!(factory.sandbox().log(), ["First commit"]);
        assert_nothing_left(&factory);
    }

    #[test]
    fn a_policy_cannot_be_brought_in_by_a_link_or_another_way() {
        for way in [
            "mkdir p && echo 'setup = [\"touch pwned\"]' > p/config.toml && ln -s p .acf",
            "echo x > .acf",
            "mkdir .acf && echo > .acf/config.toml",
        ] {
            let sandbox = Sandbox::builder().todo(&format!("- [ ] a\n  @sh {way}\n")).build();
            let factory = Factory::of(sandbox).with("MAX_ATTEMPTS", "1");
            factory.drain().done();
            assert_eq!(factory.failure("TODO-1").0, "unpublishable", "{way}");
            assert_eq!(factory.sandbox().log(), ["First commit"]);
        }
    }

    #[test]
    fn on_a_branch_a_person_sees_the_policy_changed_and_the_old_one_counts() {
        let policy = PolicyFile::new().verify("test -f wanted.txt").max_fixes(0);
        let edit = ["@sh echo 'verify = []' > .acf/config.toml"];
        let factory = told_with(&policy, &edit).with("FEATURE_BRANCHES", "true");
        factory.drain().done();
        assert_eq!(factory.failure("TODO-1").0, "base_fails_gate");

        let factory = told_with(&policy, &[edit[0], "@write wanted.txt W"]).with("FEATURE_BRANCHES", "true");
        factory.drain().done();
        assert!(factory.sandbox().todo_text().starts_with("- [>] a [in-review]\n"));
        assert_eq!(
            factory.sandbox().file_at("feature/TODO-1", ".acf/config.toml").as_deref(),
            Some("verify = []\n")
        );
    }

    #[test]
    fn a_failing_gate_is_shown_to_the_agent_and_mended() {
        let factory = told_with(
            &PolicyFile::new().verify("test -f wanted.txt"),
            &["@write a.txt A", "@fix write wanted.txt W"],
        );
        factory.drain().done();
        assert_eq!(assert_landed(&factory), ["a.txt", "wanted.txt"]);
        assert_eq!(factory.runs("TODO-1")[0]["receipt"]["fix_rounds"], 1);
    }

    #[test]
    fn three_failures_block_an_issue_until_a_person_removes_the_label() {
        let policy = PolicyFile::new()
            .verify("echo nothing there; test ! -e a.txt || test -f \"$WANTED\"")
            .max_fixes(0);
        let factory = told_with(&policy, &["@append a.txt A"]).with("MAX_ATTEMPTS", "3");
        let wanted = factory.sandbox().root().join("wanted");
        let factory = factory.with("WANTED", wanted.to_str().unwrap());

        factory.drain().done();

        assert_eq!(factory.runs("TODO-1").len(), 3);
        let todo = factory.sandbox().todo_text();
        assert!(todo.starts_with("- [ ] a [acf-blocked]\n"), "{todo}");
        assert_says(
            &todo,
            &["That was attempt 1 of 3; it will be tried again", "That was attempt 3 of 3: remove the label"],
        );
        assert_eq!(todo.matches("- Note: ").count(), 3, "{todo}");
        assert_says(
            &factory.acf(&["runs", "TODO-1"]).done().stdout,
            &["blocked: `echo nothing there", "    nothing there"],
        );
        assert_says(
            &factory.acf(&["issues", "explain", "TODO-1"]).done().stdout,
            &["would not be taken", "✘ label acf-blocked: every attempt failed"],
        );
        factory.drain().done();
        assert_eq!(factory.runs("TODO-1").len(), 3, "a blocked issue is left alone");

        fs::write(&wanted, "").unwrap();
        fs::write(factory.sandbox().todo(), todo.replace(" [acf-blocked]", "")).unwrap();
        factory.drain().done();
        assert_eq!(assert_landed(&factory), ["a.txt"]);
        assert_eq!(factory.runs("TODO-1")[3]["receipt"]["attempt"], 1);
        assert_eq!(factory.sandbox().refs("refs/acf/wip"), NOTHING);
    }
}

mod with_secrets {
    use super::*;

    const CANARIES: [&str; 5] =
        ["GIT_TOKEN", "JIRA_TOKEN", "AWS_SECRET_ACCESS_KEY", "GH_TOKEN", "INNOCENT_NAME"];

    #[test]
    fn no_secret_of_the_environment_is_anywhere() {
        let factory = told_with(
            &PolicyFile::new().setup("env").verify("env; cat /proc/$PPID/environ; test -f fixed.txt"),
            &[
                "@sh env | tee env.txt; env >&2; cat /proc/$PPID/environ /proc/self/environ > environ.txt",
                "@fix sh env; cp env.txt fixed.txt",
            ],
        );
        // The innocent name holds the same secret as the token.
        let value = |name: &str| {
            format!("canary-{}-{}", if name == "INNOCENT_NAME" { "GIT_TOKEN" } else { name }, 7919)
        };
        let factory = CANARIES.iter().fold(factory, |factory, name| factory.with(name, value(name)));

        let said = factory.drain().done();

        assert_eq!(assert_landed(&factory), ["env.txt", "environ.txt", "fixed.txt"]);
        assert_says(&factory.sandbox().file_at("main", "env.txt").unwrap(), &["PATH=", "HOME="]);
        let shown = [&["config"][..], &["config", "--json"], &["runs", "--json"], &["runs", "TODO-1"]];
        let mut told = vec![said.stderr, factory.sandbox().todo_text()];
        told.extend(shown.map(|verb| factory.acf(verb).done().stdout));
        let objects =
            factory.sandbox().git(&["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
        told.extend(objects.lines().map(|object| {
            let output =
                factory.sandbox().git_output(&factory.sandbox().remote(), &["cat-file", "-p", object]);
            String::from_utf8_lossy(&output.stdout).into_owned()
        }));
        for text in &told {
            assert!(!text.contains("canary-"), "{text}");
        }
        assert_eq!(files_with("canary-", factory.sandbox().root()), NOTHING);
    }

    /// Says what an agent says that has found the token, though nobody told it.
    const FOUND: &str = "printf '%s-%s' canary 7919";

    fn agent_that_found_the_token(script: &str) -> Factory {
        Factory::with_todo("- [ ] a\n")
            .agent(script)
            .with("GIT_TOKEN", "canary-7919")
            .with("MAX_ATTEMPTS", "1")
    }

    #[track_caller]
    fn assert_unpublishable(factory: &Factory, path: &str) {
        factory.drain().done();
        let (kind, reason) = factory.failure("TODO-1");
        let expected = format!("`{path}` holds the value of GIT_TOKEN, which is a secret");
        assert_eq!((kind.as_str(), reason.contains(&expected)), ("unpublishable", true), "{reason}");
        assert_eq!(factory.sandbox().refs("refs/acf/wip/"), NOTHING, "not even kept");
        assert_eq!(files_with("canary-7919", factory.sandbox().root()), NOTHING);
        assert_nothing_left(factory);
    }

    #[test]
    fn one_that_writes_a_token_into_a_file_publishes_nothing() {
        for path in ["sub dir/leak.txt", "*"] {
            let script =
                format!("mkdir -p 'sub dir'; echo fine > fine.txt; (echo; {FOUND}; echo) > '{path}'");
            assert_unpublishable(&agent_that_found_the_token(&script), path);
        }
    }

    #[test]
    fn one_that_lets_a_link_lead_to_a_token_publishes_nothing() {
        assert_unpublishable(&agent_that_found_the_token(&format!("ln -sfn /x/$({FOUND}) link")), "link");
    }

    #[test]
    fn one_that_names_a_file_by_a_token_publishes_nothing() {
        assert_unpublishable(&agent_that_found_the_token(&format!("touch x-$({FOUND})")), "x-***");
    }

    #[test]
    fn one_whose_interrupted_work_holds_a_token_keeps_nothing() {
        let script = format!("{FOUND} > leak.txt; echo ready; sleep 60");
        let factory = agent_that_found_the_token(&script);
        let mut worker = factory.start("w-stopped", &[]);
        worker.says("agent: ready");
        worker.signal(Signal::TERM);
        let said = worker.ended().done();
        assert_says(
            &said.stderr,
            &["does not keep the work in progress: `leak.txt` holds the value of GIT_TOKEN"],
        );
        assert_eq!(factory.sandbox().refs("refs/acf/wip/"), NOTHING);
    }

    #[test]
    fn commit_messages_of_the_agents_own_and_recorded_errors_are_masked() {
        let script = format!(
            "echo A > a.txt; git add -A; git -c user.name=a -c user.email=a@b commit -qm \"by $({FOUND})\""
        );
        let factory = agent_that_found_the_token(&script);
        factory.drain().done();
        assert_says(&factory.sandbox().git(&["log", "-1", "--format=%B", "main"]), &["by ***"]);

        let factory =
            Factory::with_todo("- [ ] say canary-7919\n").agent("true").with("GIT_TOKEN", "canary-7919");
        factory.drain().done();
        assert_eq!(factory.runs("TODO-1")[0]["summary"], "say ***");
    }

    #[test]
    fn a_token_that_the_repository_holds_already_stops_nobody() {
        let sandbox = Sandbox::builder().file("old.txt", "canary-7919\n").todo("- [ ] a\n").build();
        let factory = Factory::of(sandbox).agent("echo more >> old.txt").with("GIT_TOKEN", "canary-7919");
        factory.drain().done();
        assert_eq!(assert_landed(&factory), ["old.txt"]);
    }

    /// Returns the files below a directory that hold that text.
    fn files_with(text: &str, directory: &std::path::Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                found.extend(files_with(text, &entry.path()));
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).unwrap();
                if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                    found.push(entry.path().display().to_string());
                }
            }
        }
        found
    }

    #[test]
    fn a_secret_that_an_agent_finds_is_masked_where_acf_passes_it_on() {
        let factory = told(&["@print my canary-7919 said so", "@sh echo the canary-7919 >&2; exit 3"])
            .with("GIT_TOKEN", "canary-7919");
        let said = factory.drain().done();
        assert_says(&said.stderr, &["my *** said so"]);
        let runs = factory.acf(&["runs", "--json"]).done().stdout;
        let notes =
            factory.sandbox().todo_text().lines().filter(|line| line.contains("Note:")).collect::<String>();
        assert_says(&runs, &["the ***"]);
        for text in [&said.stderr, &runs, &notes] {
            assert!(!text.contains("canary-7919"), "{text}");
        }
    }
}

mod stopped {
    use super::*;

    /// An agent that takes its time at first, and finishes what it finds half done.
    const SLOW: &str = "if [ -f half.txt ]; then echo whole > whole.txt; else echo half > half.txt; echo ready; sleep 60; fi";

    #[track_caller]
    fn assert_interrupted(factory: &Factory, found: &str) {
        assert_eq!(factory.sandbox().todo_text(), found, "the issue is given back as it was found");
        assert_eq!(factory.runs("TODO-1")[0]["outcome"], "interrupted");
        assert_nothing_left(factory);
    }

    #[test]
    fn during_the_agent_its_work_is_saved_and_the_next_worker_finishes_it() {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let factory = told(&[]).agent(SLOW);
            let found = factory.sandbox().todo_text();
            let mut worker = factory.start("w-stopped", &[]);
            worker.says("agent: ready");
            worker.signal(signal);
            let said = worker.ended();

            assert_eq!(said.code, Some(0), "{}", said.stderr);
            assert_interrupted(&factory, &found);
            assert_eq!(factory.kept("half.txt").as_deref(), Some("half\n"));

            factory.drain().done();
            assert_eq!(assert_landed(&factory), ["half.txt", "whole.txt"]);
            let runs = factory.runs("TODO-1");
            assert_eq!(
                (&runs[1]["receipt"]["resumed"], &runs[1]["receipt"]["attempt"]),
                (&true.into(), &1.into())
            );
            assert_eq!(factory.sandbox().refs("refs/acf/wip"), NOTHING);
        }
    }

    /// Waits for ever the first time, and passes from then on.
    const FIRST_TIME: &str = "test -e \"$SEEN\" || { touch \"$SEEN\"; echo ready; sleep 60; }";

    fn slow_first_time(policy: &PolicyFile) -> Factory {
        let factory = told_with(policy, &["@write a.txt A"]);
        let seen = factory.sandbox().root().join("seen");
        factory.with("SEEN", seen.to_str().unwrap())
    }

    #[test]
    fn during_the_gate_the_work_is_saved_and_lands_later() {
        let factory = slow_first_time(&PolicyFile::new().verify(FIRST_TIME));
        let found = factory.sandbox().todo_text();
        let mut worker = factory.start("w-stopped", &[]);
        worker.says("gate: ready");
        worker.signal(Signal::TERM);
        let said = worker.ended();

        assert_eq!(said.code, Some(0), "{}", said.stderr);
        assert_interrupted(&factory, &found);
        assert_eq!(factory.kept("a.txt").as_deref(), Some("A\n"));
        factory.drain().done();
        assert_eq!(assert_landed(&factory), ["a.txt"]);
    }

    #[test]
    fn during_the_set_up_the_issue_is_given_back() {
        let factory = slow_first_time(&PolicyFile::new().setup(FIRST_TIME));
        let found = factory.sandbox().todo_text();
        let mut worker = factory.start("w-stopped", &[]);
        worker.says("gate: ready");
        worker.signal(Signal::TERM);
        let said = worker.ended();

        assert_eq!(said.code, Some(0), "{}", said.stderr);
        assert_interrupted(&factory, &found);
        assert_eq!(factory.sandbox().refs("refs/acf/wip"), NOTHING);
        factory.drain().done();
        assert_eq!(assert_landed(&factory), ["a.txt"]);
    }

    #[test]
    fn while_it_waits_for_a_limit_to_pass_it_need_not_wait() {
        let factory = told(&["@write half.txt x", "@rate-limit 600", "@write a.txt A"]);
        let found = factory.sandbox().todo_text();
        let mut worker = factory.start("w-stopped", &[]);
        worker.is_at("waiting");
        worker.signal(Signal::TERM);
        assert_eq!(worker.ended().code, Some(0));
        assert_interrupted(&factory, &found);
    }

    #[test]
    fn while_it_is_idle_it_ends_at_once() {
        let factory = Factory::with_todo("- [x] a\n");
        let mut worker = factory.start("w-stopped", &[]);
        worker.says("nothing to do");
        worker.signal(Signal::TERM);
        assert_eq!(worker.ended().code, Some(0));
    }

    #[test]
    fn an_agent_that_ignores_it_costs_the_grace_and_nothing_more() {
        let factory =
            told(&["@write half.txt x", "@ignore-term", "@print ready", "@hang"]).with("STOP_GRACE", "3s");
        let found = factory.sandbox().todo_text();
        let mut worker = factory.start("w-stopped", &[]);
        worker.says("agent: ready");
        worker.signal(Signal::TERM);
        let said = worker.ended();

        assert_eq!(said.code, Some(0), "{}", said.stderr);
        assert_interrupted(&factory, &found);
        assert_eq!(factory.kept("half.txt").as_deref(), Some("x\n"));
    }

    #[test]
    fn a_second_signal_ends_it_at_once_and_what_it_left_is_settled() {
        let factory = told(&["@ignore-term", "@print ready", "@hang"])
            .with("STOP_GRACE", "10m")
            .with("MAX_ATTEMPTS", "2");
        let found = factory.sandbox().todo_text();
        let mut worker = factory.start("w-stopped", &[]);
        worker.says("agent: ready");
        worker.signal(Signal::TERM);
        worker.says("told to stop:");
        worker.signal(Signal::TERM);
        let said = worker.ended();

        assert_eq!(said.code, Some(128 + 15), "{}", said.stderr);
        assert_eq!(factory.left_running(), NOTHING);
        assert_eq!(factory.claims(), ["refs/acf/claims/TODO-1"]);
        let settled = factory.acf(&["sweep", "--dead", "w-stopped", "--json"]).done().json();
        assert_eq!(
            (&settled[0]["dead"], &settled[0]["record"]["kind"]),
            (&"w-stopped".into(), &"worker_died".into())
        );
        let todo = factory.sandbox().todo_text();
        assert!(todo.starts_with(&found), "{todo}");
        assert_says(&todo, &["worker w-stopped died or vanished during the run"]);
        assert_eq!(factory.claims(), NOTHING);
    }
}
