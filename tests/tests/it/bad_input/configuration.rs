//! Settings, policies and prompts that cannot be meant, and agents that cannot be started.

use super::*;

#[test]
fn everything_that_is_missing_is_told_in_one_message() {
    let factory = Factory::with_todo("- [ ] a\n")
        .without("PROJECT")
        .without("AGENT")
        .with("GIT_REPO_URL", "")
        .without("RETRY_BACKOFF");

    let told = factory.drain().refused(2);

    assert_says(
        &told,
        &["error: 3 settings are missing for tracker todo", "PROJECT ", "AGENT ", "GIT_REPO_URL "],
    );
    assert_says(&told, &["not set", "empty in the environment", "hint: `acf config`"]);
}

#[test]
fn an_env_file_is_named_with_the_line() {
    let factory = Factory::with_todo("- [ ] a\n").without("GIT_REPO_URL");
    let env_file = factory.sandbox().root().join("factory.env");
    fs::write(&env_file, "# mine\nGIT_REPO_URL=\nMAX_ATTEMPTS=many\n").unwrap();

    let told = factory.acf(&["--env-file", "factory.env", "worker", "--exit-when-idle"]).refused(2);

    assert_says(&told, &["GIT_REPO_URL", "factory.env:2", "MAX_ATTEMPTS", "`many`", "factory.env:3"]);
}

#[test]
fn unknown_choices_list_the_known_ones_all_at_once() {
    let factory = Factory::with_todo("- [ ] a\n")
        .with("TASK_MANAGER", "trello")
        .with("AGENT", "cloude")
        .with("FACTORY_RUNTIME", "mainframe");

    let told = factory.acf(&["workers", "1"]).refused(2);

    assert_says(&told, &["error: 3 settings cannot be used"]);
    assert_says(&told, &["TASK_MANAGER", "`trello`", "todo"]);
    assert_says(&told, &["AGENT", "`cloude`", "script", "command"]);
    assert_says(&told, &["FACTORY_RUNTIME", "`mainframe`", "process"]);
    assert_eq!(factory.left_running(), [""; 0]);
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_done() {
    let cases = [
        ("MAX_ATTEMPTS", "0", "MAX_ATTEMPTS"),
        ("ACF_CLAIM_TTL", "-1m", "ACF_CLAIM_TTL"),
        ("FEATURE_BRANCHES", "perhaps", "FEATURE_BRANCHES"),
        ("ACF_REF_PREFIX", "../x/", "ACF_REF_PREFIX"),
        ("ACF_LOG", "[[", "ACF_LOG"),
        ("PROJECT", "git:../TODO.md", "PROJECT"),
        ("GIT_TRUNK", "..", "GIT_TRUNK"),
        ("AGENT_COMMAND", "unended 'quote", "AGENT_COMMAND"),
    ];
    for (name, value, named) in cases {
        let factory = Factory::with_todo("- [ ] a\n").with("AGENT", "command").with("AGENT_COMMAND", "true");
        let factory = factory.with(name, value);
        let told = factory.drain().refused(2);
        assert_says(&told, &["1 setting cannot be used", named]);
        assert_eq!(factory.sandbox().todo_text(), "- [ ] a\n");
        assert_eq!(factory.sandbox().refs("refs/"), ["refs/heads/main"]);
    }
}

#[test]
fn a_contradiction_is_told() {
    let factory = Factory::with_todo("- [ ] a\n").with("AGENT", "command");
    assert_says(&factory.drain().refused(2), &["AGENT_COMMAND", "AGENT=command"]);

    let factory = factory.with("AGENT", "script").with("GIT_TOKEN", "two\nlines-of-secret");
    let told = factory.drain().refused(2);
    assert_says(&told, &["GIT_TOKEN"]);
    assert!(!told.contains("lines-of-secret"), "{told}");
}

#[test]
fn what_only_agents_need_keeps_nobody_from_looking() {
    let factory = Factory::with_todo("- [ ] a\n").with("AGENT", "command").with("AGENT_TIMEOUT", "long");
    for args in
        [&["issues", "list"][..], &["issues", "explain", "1"], &["runs"], &["sweep"], &["status"], &["logs"]]
    {
        let told = factory.acf(args);
        assert!(!told.stderr.contains("AGENT"), "{told:?}");
        assert!(told.code != Some(2) || args == ["logs"], "{told:?}");
    }
    for args in [&["worker"][..], &["workers", "1"], &["implement", "1"], &["agent", "init"]] {
        assert_says(&factory.acf(args).refused(2), &["AGENT_COMMAND", "not set"]);
    }
}

#[test]
fn a_worker_does_not_start_where_another_runtime_is_meant() {
    let factory = Factory::with_todo("- [ ] a\n").with("FACTORY_RUNTIME", "mainframe");
    assert_says(&factory.drain().refused(2), &["1 setting cannot be used", "FACTORY_RUNTIME", "process"]);
    factory.acf(&["issues", "list"]).done();
}

#[test]
fn an_agents_program_that_cannot_be_started_is_told_before_any_claim() {
    let mut factory = Factory::with_todo("- [ ] a\n").with("AGENT", "command");
    let root = factory.sandbox().root().to_owned();
    let script = |name: &str, text: &str| {
        fs::write(root.join(name), text).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("bare.sh", "echo hello\n");
    script("env.sh", "#!/usr/bin/env no-such-shell\n");
    script("empty.sh", "#!\n");
    script("an agent.sh", "#!/bin/sh\n");
    for (command, words) in [
        ("./bare.sh", "begin its first line with #!, as in #!/bin/sh"),
        ("./env.sh", "is a script for \"no-such-shell\", which is not on PATH"),
        ("./empty.sh", "names nothing that runs it after its #!"),
        (
            "bare.sh",
            "the agent's program `bare.sh` is in the current directory, but not on PATH: write ./bare.sh",
        ),
    ] {
        factory = factory.with("AGENT_COMMAND", command);
        let told = factory.drain().refused(1);
        assert_says(&told, &[words, "hint: "]);
    }
    factory = factory.with("AGENT_COMMAND", "./an agent.sh");
    let told = factory.drain().refused(2);
    assert_says(&told, &["put quotes around a path with spaces: \"'./an agent.sh'\""]);
    factory = factory.with("AGENT_COMMAND", "'./an agent.sh'");
    factory.acf(&["worker", "--max-issues", "1"]).done();
    assert_eq!(factory.runs("TODO-1").len(), 1);
}

#[test]
fn detached_workers_do_not_start_where_their_agent_cannot() {
    let factory = Factory::with_todo("- [ ] a\n").with("AGENT", "command").with("AGENT_COMMAND", "nothere");
    for verb in [["workers", "2"], ["add", "1"]] {
        assert_says(&factory.acf(&verb).refused(1), &["`nothere`", "hint: "]);
    }
    assert_eq!(factory.acf(&["status", "--all", "--json"]).done().json()["workers"], serde_json::json!([]));
}

#[test]
fn an_unknown_key_of_the_file_is_an_error() {
    let factory = Factory::with_todo("- [ ] a\n");
    fs::write(factory.sandbox().root().join("acf.toml"), "agnet = \"script\"\n").unwrap();

    assert_says(&factory.drain().refused(2), &["acf.toml", "agnet"]);
}
