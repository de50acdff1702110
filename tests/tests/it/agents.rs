//! Agents that misbehave, and workers that are stopped while theirs are at work: each run ends with its
//! reason, what was done is kept, and nothing is left behind.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

mod stopped;
mod with_secrets;

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
        let factory = told_with(&policy, &edit).with("FEATURE_BRANCHES", "true").with("RETRY_BACKOFF", "1h");
        factory.drain().refused(1);
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
