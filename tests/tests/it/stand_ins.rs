//! Programs that stand in for the agents' own, and show what acf gives them: their credentials, and their words
//! when they go on. What the real ones do with it is tested with the real ones.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use acf_tests::factory::Factory;
use serde_json::{Value, json};

/// A factory of one issue, whose agent is that program; what it keeps is kept in the directory `$KEPT`.
fn with(agent: &str, script: &str) -> Factory {
    let factory = Factory::with_todo("- [ ] Say hello\n");
    let kept = factory.sandbox().root().join("kept");
    std::fs::create_dir(&kept).unwrap();
    // Programs are asked for their version first.
    let script = format!("[ \"$1\" != --version ] || exit 0\n{script}");
    let factory = factory.installed(agent, &script).with("AGENT", agent).with("IS_SANDBOX", "1");
    factory.with("KEPT", kept.display().to_string()).with("MAX_ATTEMPTS", "1")
}

#[track_caller]
fn kept(factory: &Factory, name: &str) -> String {
    std::fs::read_to_string(factory.sandbox().root().join("kept").join(name)).unwrap()
}

#[test]
fn claude_finds_the_tokens_of_its_subscription_in_its_home() {
    let script = r#"cat > /dev/null; cp -p "$HOME/.claude/.credentials.json" "$KEPT/tokens"; echo A > a.txt
        env > "$KEPT/env""#;
    let factory = with("claude", script)
        .with("CLAUDE_ACCESS_TOKEN", "access-7919")
        .with("CLAUDE_REFRESH_TOKEN", "refresh-7919")
        .with("CLAUDE_TOKEN_EXPIRES_AT", "4102444800000")
        .with("CLAUDE_SUBSCRIPTION_TYPE", "max");

    factory.drain().done();

    assert_eq!(factory.runs("TODO-1")[0]["outcome"], "landed");
    let tokens: Value = serde_json::from_str(&kept(&factory, "tokens")).unwrap();
    let oauth = &tokens["claudeAiOauth"];
    assert_eq!(
        ["accessToken", "refreshToken", "expiresAt", "subscriptionType"].map(|field| oauth[field].clone()),
        [json!("access-7919"), json!("refresh-7919"), json!(4_102_444_800_000_i64), json!("max")]
    );
    assert!(!kept(&factory, "env").contains("7919"), "they are in its file, and nowhere else");
}

#[test]
fn a_token_that_claude_has_renewed_during_a_run_is_neither_published_nor_told() {
    // Each round it writes what it has renewed into the checkout, and says it once it is done.
    let script = r#"cat > /dev/null
        token=renewed-token-$(ls "$KEPT" | wc -l)-7919; touch "$KEPT/$token"
        echo "{\"claudeAiOauth\":{\"accessToken\":\"$token\",\"expiresAt\":4102444800001}}" > "$HOME/.claude/.credentials.json"
        echo "token = $token" > settings.txt
        echo "{\"type\":\"result\",\"is_error\":$FAILS,\"result\":\"cannot use $token\"}""#;
    let factory = |fails: &str| {
        let factory = with("claude", script)
            .with("CLAUDE_ACCESS_TOKEN", "access-7919")
            .with("CLAUDE_TOKEN_EXPIRES_AT", "4102444800000")
            .with("FAILS", fails);
        factory.drain().done();
        factory
    };

    let failing = factory("true");
    assert_eq!(failing.failure("TODO-1").0, "agent_crashed");
    let runs = failing.acf(&["runs", "TODO-1"]).done().stdout;
    assert!(runs.contains("cannot use ***"), "{runs}");
    assert_eq!(failing.kept("settings.txt"), None, "nothing with a token in it is kept");

    let publishing = factory("false");
    let (kind, reason) = publishing.failure("TODO-1");
    assert_eq!(kind, "unpublishable", "{reason}");
    assert!(reason.contains("a token in ~/.claude/.credentials.json"), "{reason}");
    assert_eq!(publishing.sandbox().log(), ["First commit"]);
}

#[test]
fn temporary_files_of_an_agent_go_with_its_run() {
    let script = r#"cat > /dev/null; echo left > "$TMPDIR/left"; cp "$TMPDIR/left" a.txt; echo "$TMPDIR" > "$KEPT/place""#;
    let factory = with("claude", script);
    // Where a path is too long for sockets in it, the system's own place is used.
    let work = tempfile::tempdir_in("/tmp").unwrap();
    let factory = factory.with("LOOP_WORK_DIR", work.path().to_str().unwrap());
    factory.drain().done();
    assert_eq!(factory.sandbox().file_at("main", "a.txt").as_deref(), Some("left\n"));
    let place = kept(&factory, "place");
    assert!(std::path::Path::new(&place).starts_with(work.path()), "{place}");
    assert!(!std::path::Path::new(place.trim()).exists());
}

#[test]
fn copilot_is_given_the_trackers_token_where_it_has_none_and_no_other_credential() {
    let token = |more: &[(&str, &str)]| {
        let factory = with("copilot", r#"cat > /dev/null; env > "$KEPT/env"; echo A > a.txt"#);
        let factory = factory.with("GH_TOKEN", "ghp_acf");
        let factory = more.iter().fold(factory, |factory, (name, value)| factory.with(name, *value));
        factory.drain().done();
        let env = kept(&factory, "env");
        assert!(!env.contains("\nGH_TOKEN="), "{env}");
        env.lines().find_map(|line| Some(line.strip_prefix("COPILOT_GITHUB_TOKEN=")?.to_owned()))
    };
    assert_eq!(token(&[]).as_deref(), Some("ghp_acf"));
    assert_eq!(token(&[("COPILOT_GITHUB_TOKEN", "ghp_own")]).as_deref(), Some("ghp_own"));
    assert_eq!(token(&[("COPILOT_PROVIDER_API_KEY", "sk-other")]), None);
}

/// Keeps its words of each round, and is refused by its service in the first one: before that it does `$first`.
fn refused_once(first: &str) -> Factory {
    let script = format!(
        r#"round=$(ls "$KEPT" | wc -l); cat > "$KEPT/$round"
        echo '{{"type":"step_start","sessionID":"s1"}}'
        [ "$round" = 0 ] || {{ echo A > a.txt; exit; }}
        {first}
        echo '{{"type":"error","error":{{"data":{{"statusCode":429,"responseHeaders":{{"retry-after":"0"}}}}}}}}'
        exit 1"#
    );
    let factory = with("opencode", &script);
    factory.drain().done();
    assert_eq!(factory.runs("TODO-1")[0]["outcome"], "landed");
    factory
}

#[test]
fn a_session_in_which_nothing_was_done_is_told_everything_again_and_one_that_began_is_told_to_go_on() {
    let factory = refused_once("");
    let whole = kept(&factory, "0");
    assert!(whole.contains("Say hello"), "{whole}");
    assert_eq!(kept(&factory, "1"), whole);

    let tool = r#"{"type":"tool_use","part":{"tool":"bash","state":{"input":{"command":"ls"}}}}"#;
    let factory = refused_once(&format!("echo '{tool}'"));
    assert_eq!(kept(&factory, "1"), "Go on.");
}
