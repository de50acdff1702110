//! What keeps an agent from going on, told by its own signals and never by words: each is met in its own
//! way, what was done is kept, and nothing is spent beyond what may be.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

mod the_gate;

use acf_tests::factory::{Factory, Told};
use acf_tests::sandbox::{PolicyFile, Sandbox};
use serde_json::Value;

/// Returns a factory whose issues tell the scripted agent what to do, each tried once.
fn told(issues: &[&[&str]]) -> Factory {
    told_with(&PolicyFile::new(), issues)
}

fn told_with(policy: &PolicyFile, issues: &[&[&str]]) -> Factory {
    let lines = |issue: &&[&str]| issue.iter().map(|line| format!("  {line}\n")).collect::<String>();
    let todo: String = issues.iter().map(|issue| format!("- [ ] a\n{}", lines(issue))).collect();
    Factory::of(Sandbox::builder().policy(policy).todo(&todo).build()).with("MAX_ATTEMPTS", "1")
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not said in:\n{text}");
    }
}

/// Returns how an issue's runs ended: `landed`, or the kind of the failure.
#[track_caller]
fn ends(factory: &Factory, key: &str) -> Vec<String> {
    let end = |run: &Value| match &run["outcome"] {
        failed if failed == "failed" => run["kind"].as_str().unwrap().to_owned(),
        outcome => outcome.as_str().unwrap().to_owned(),
    };
    factory.runs(key).iter().map(end).collect()
}

#[track_caller]
fn kept(factory: &Factory, path: &str) -> Option<String> {
    factory.kept(path)
}

/// Makes the scripted agent do half of its work the first time, and then report what a shell command
/// prints; whoever finds the half finishes it.
fn half_then(event: &str) -> String {
    format!("@sh test -e half.txt || {{ echo half > half.txt; echo {event}; exit 1; }}")
}

mod rate_limits {
    use super::*;

    #[test]
    fn are_waited_out_in_the_same_session_under_a_claim_that_is_renewed() {
        let factory = told(&[&["@write half.txt x", "@rate-limit 3", "@write whole.txt W"]]);
        let factory = factory.with("ACF_CLAIM_TTL", "6s");
        let mut worker = factory.start("w-waits", &["--exit-when-idle"]);
        worker.is_at("waiting");
        let generation = || {
            let claim = factory.sandbox().git(&["log", "-1", "--format=%B", "refs/acf/claims/TODO-1"]);
            serde_json::from_str::<Value>(&claim).unwrap()["generation"].as_u64().unwrap()
        };
        let before = generation();
        factory.waits_for("a renewal", || (generation() > before).then_some(()));

        let said = worker.ended().done();

        assert_says(&said.stderr, &["rate limited, going on in 3 s", "round 2 of the session"]);
        assert_eq!(ends(&factory, "TODO-1"), ["landed"]);
        assert_eq!(factory.sandbox().file_at("main", "whole.txt").as_deref(), Some("W\n"));
        assert_eq!(factory.runs("TODO-1")[0]["receipt"]["fix_rounds"], 0);
    }

    #[test]
    fn are_shown_while_they_are_waited_out() {
        let factory = told(&[&["@rate-limit 600"]]);
        let worker = factory.acf(&["workers", "1"]);
        worker.done();
        let status = factory.waits_for("the wait", || {
            let status = factory.acf(&["status"]).done().stdout;
            status.contains("waiting").then_some(status)
        });
        assert_says(&status, &["TODO-1", "rate limited, going on in "]);
        let status = factory.acf(&["status", "--json"]).done().json();
        assert_eq!(status["workers"][0]["run"]["step"], "waiting");
        factory.acf(&["stop", "--all"]).done();
    }

    #[test]
    fn that_do_not_end_give_the_issue_back_without_an_attempt() {
        let factory = told(&[&["@rate-limit 7200"]]);
        let said = factory.drain().refused(1);
        assert_eq!(ends(&factory, "TODO-1"), ["rate_limited"]);
        let run = &factory.runs("TODO-1")[0];
        let at = |field: &str| run[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let refused_for = at("until").duration_since(at("ended_at")).as_secs();
        assert!((7190..=7200).contains(&refused_for), "{refused_for} s");
        assert_says(&said, &["no issue is taken: the agent's service refuses for too many requests"]);
        assert!(factory.sandbox().todo_text().starts_with("- [ ] a\n"), "it is not blocked");
    }

    #[test]
    fn are_not_found_in_words() {
        const WORDS: &str = "429 Too Many Requests: rate limit exceeded, quota exhausted, 401 unauthorized";
        let print = format!("@print {WORDS}");
        let sh = format!("@sh echo '{WORDS}' | tee limits.txt; echo '{WORDS}' >&2");
        let factory = told(&[&[&print, &sh], &[&print, &sh, "@fail 1"]]);

        let said = factory.drain().done();

        assert_eq!(ends(&factory, "TODO-1"), ["landed"]);
        assert_eq!(ends(&factory, "TODO-2"), ["agent_crashed"]);
        assert!(!said.stderr.contains("going on in"), "{}", said.stderr);
        assert!(!said.stderr.contains("no issue is taken"), "{}", said.stderr);
    }
}

mod quota {
    use super::*;

    const UNTIL_SOON: &str =
        r#""{\"event\":\"quota_exhausted\",\"resets_at\":\"$(date -u -d '+3 seconds' +%FT%TZ)\"}""#;

    #[test]
    fn is_awaited_with_the_work_kept_and_the_issue_free_for_others() {
        let factory = told(&[&[&half_then(UNTIL_SOON), "@write whole.txt W"]]);
        let mut worker = factory.start("w-rests", &["--max-issues", "2"]);
        worker.says("no issue is taken: the agent's account has no quota left; waiting until ");
        assert_eq!(factory.claims(), [""; 0]);
        assert_eq!(kept(&factory, "half.txt").as_deref(), Some("half\n"));
        let todo = factory.sandbox().todo_text();
        assert!(todo.starts_with("- [ ] a\n"), "{todo}");
        assert_says(&todo, &["has no quota left until 20", "does not count as an attempt"]);

        let said = worker.ended().done();

        assert_eq!(ends(&factory, "TODO-1"), ["quota_exhausted", "landed"]);
        assert_eq!(factory.runs("TODO-1")[1]["receipt"]["resumed"], true);
        assert_eq!(factory.runs("TODO-1")[1]["receipt"]["attempt"], 1);
        assert_eq!(said.stderr.matches("no issue is taken").count(), 1, "{}", said.stderr);
    }

    #[test]
    fn keeps_a_worker_from_the_other_issues_too_and_the_status_says_until_when() {
        let factory = told(&[&["@quota 7200"], &["@write b.txt B"]]);
        factory.acf(&["workers", "1"]).done();
        let status = factory.waits_for("the rest", || {
            let status = factory.acf(&["status"]).done().stdout;
            status.contains("resting until ").then_some(status)
        });
        assert_says(&status, &["the agent's account has no"]);
        factory.acf(&["stop", "--all"]).done();
        assert_eq!(ends(&factory, "TODO-2"), [""; 0]);
    }

    #[test]
    fn is_not_awaited_by_a_worker_that_is_to_end_when_idle() {
        let factory = told(&[&["@quota"]]);
        let said = factory.drain().refused(1);
        assert_says(&said, &["no quota left; asking again at 20", "as no service named a time"]);
        assert_eq!(ends(&factory, "TODO-1"), ["quota_exhausted"]);
    }
}

mod credentials {
    use super::*;

    #[test]
    fn that_are_refused_stop_the_worker_and_burn_no_queue() {
        let factory = told(&[&["@write a.txt A", "@not-authenticated 401 invalid x-api-key"], &[]]);

        let said = factory.drain().refused(1);

        assert_says(
            &said,
            &[
                "error: the worker cannot go on",
                "the agent's service does not accept its credentials: `script` with its own login: 401 invalid x-api-key",
                "hint: give the agent credentials",
            ],
        );
        assert_eq!(ends(&factory, "TODO-1"), ["not_authenticated"]);
        assert_eq!(ends(&factory, "TODO-2"), [""; 0]);
        let todo = factory.sandbox().todo_text();
        assert!(todo.starts_with("- [ ] a\n") && todo.ends_with("- [ ] a\n"), "given back: {todo}");
        assert_eq!(kept(&factory, "a.txt").as_deref(), Some("A\n"));

        factory.drain().refused(1);
        let again = factory.sandbox().todo_text();
        assert_eq!(again.matches("does not accept").count(), 1, "it is said once: {again}");
    }
}

mod limits {
    use super::*;

    #[test]
    fn that_the_agent_reports_end_the_run_and_the_next_goes_on_with_its_work() {
        for kind in ["out_of_turns", "out_of_budget"] {
            let event = format!(r#""{{\"event\":\"{kind}\"}}""#);
            let factory = told(&[&[&half_then(&event), "@write whole.txt W"]]).with("MAX_ATTEMPTS", "2");
            factory.drain().done();
            assert_eq!(ends(&factory, "TODO-1"), [kind, "landed"]);
            let second = &factory.runs("TODO-1")[1]["receipt"];
            assert_eq!((&second["resumed"], &second["attempt"]), (&true.into(), &2.into()));
        }
        let factory = told(&[&["@write a.txt A", "@out-of-turns"], &["@out-of-budget"]]);
        factory.drain().done();
        assert_eq!(ends(&factory, "TODO-1"), ["out_of_turns"]);
        assert_eq!(ends(&factory, "TODO-2"), ["out_of_budget"]);
        assert_eq!(kept(&factory, "a.txt").as_deref(), Some("A\n"));
    }

    #[test]
    fn hold_for_an_agent_that_knows_nothing_of_them() {
        let factory = told(&[&["@usage 1 1 2.5", "@write a.txt A", "@sleep 60"]]);
        factory.with("AGENT_BUDGET_USD", "2").drain_to("out_of_budget");
        let factory = told(&[&["@usage 1 1 0", "@usage 1 1 0", "@write a.txt A", "@sleep 60"]]);
        factory.with("AGENT_MAX_TURNS", "1").drain_to("out_of_turns");
        // A million tokens of this model cost more than a dollar, by the table.
        let factory = told(&[&["@model gpt-5-codex", "@usage 1000000 0", "@write a.txt A", "@sleep 60"]]);
        factory.with("AGENT_BUDGET_USD", "1").drain_to("out_of_budget");
    }

    #[test]
    fn are_those_of_the_run_and_not_of_each_round() {
        let policy = PolicyFile::new().verify("test -e fixed.txt");
        let rounds: [&[&str]; 1] = [&["@usage 1 1 3", "@fix usage 1 1 3", "@fix write fixed.txt F"]];
        let factory = told_with(&policy, &rounds).with("AGENT_BUDGET_USD", "2");
        factory.drain().done();
        assert_eq!(ends(&factory, "TODO-1"), ["out_of_budget"]);
        assert_eq!(factory.runs("TODO-1")[0]["receipt"]["usage"]["cost_usd"], 3.0);

        let factory = told_with(&policy, &rounds).with("AGENT_BUDGET_USD", "4");
        factory.drain().done();
        assert_eq!(ends(&factory, "TODO-1"), ["out_of_budget"], "its second round passed it");
        let factory = told_with(&policy, &rounds).with("AGENT_BUDGET_USD", "10");
        factory.drain().done();
        assert_eq!(ends(&factory, "TODO-1"), ["landed"]);
    }

    #[test]
    fn of_time_can_be_the_operators_too() {
        told(&[&["@hang"]]).with("AGENT_STALL_TIMEOUT", "300ms").drain_to("agent_stalled");
        let talk = "@sh while :; do echo .; sleep 0.05; done";
        told(&[&[talk]]).with("AGENT_TIMEOUT", "500ms").drain_to("agent_timed_out");
        let policy = PolicyFile::new().timeout("stall", "300ms");
        told_with(&policy, &[&["@hang"]]).with("AGENT_STALL_TIMEOUT", "10m").drain_to("agent_stalled");
    }

    #[test]
    fn of_time_are_those_of_the_run_and_not_of_each_round() {
        let policy = PolicyFile::new().verify("test -e fixed.txt");
        let rounds: [&[&str]; 1] = [&["@every sleep 1.5", "@write a.txt A", "@fix write fixed.txt F"]];
        told_with(&policy, &rounds).with("AGENT_TIMEOUT", "2s").drain_to("agent_timed_out");
        told_with(&policy, &rounds).with("AGENT_TIMEOUT", "1m").drain_to("landed");
    }

    trait Drains {
        fn drain_to(self, kind: &str);
    }

    impl Drains for Factory {
        /// Runs a worker, and checks that its only run ended so.
        #[track_caller]
        fn drain_to(self, kind: &str) {
            self.drain().done();
            assert_eq!(ends(&self, "TODO-1"), [kind]);
        }
    }
}

mod the_days_budget {
    use super::*;

    #[test]
    fn is_that_of_all_workers_and_when_it_is_spent_no_issue_is_taken() {
        let factory = told(&[&["@usage 10 10 5", "@write a.txt A"], &["@write b.txt B"]]);
        let factory = factory.with("FACTORY_BUDGET_USD_PER_DAY", "4");
        let why = "no issue is taken: the day's budget of $4.00 is spent; waiting until ";

        for _ in 0..2 {
            assert_says(&factory.drain().refused(1), &[why]);
        }
        assert_eq!((ends(&factory, "TODO-1"), ends(&factory, "TODO-2")), (vec!["landed".into()], vec![]));
        let one = factory.acf(&["implement", "TODO-2"]);
        assert_eq!(one.code, Some(3), "{}", one.stderr);
        assert_says(&one.stderr, &["TODO-2 is not taken: the day's budget of $4.00 is spent"]);
        let explain = |args: &[&str]| factory.acf(&[&["issues", "explain", "TODO-2"], args].concat()).done();
        assert_says(
            &explain(&[]).stdout,
            &[
                "TODO-2 \"a\" would not be taken",
                "  ✔ attempt 1 of 1, no backoff\n  ✘ the day's budget of $4.00 is spent  → wait until ",
            ],
        );
        let told = explain(&["--json"]).json();
        let last = told["findings"].as_array().unwrap().last().unwrap();
        assert_eq!((&told["eligible"], &last["ok"]), (&false.into(), &false.into()));

        factory.acf(&["workers", "1"]).done();
        factory.waits_for("the rest", || {
            let status = factory.acf(&["status", "--json"]).done().json();
            let why = status["workers"][0]["resting"]["why"].as_str()?;
            why.starts_with("the day's budget of $4.00 is spent").then_some(())
        });
        factory.acf(&["stop", "--all"]).done();

        let factory = factory.with("FACTORY_BUDGET_USD_PER_DAY", "6");
        assert_says(
            &factory.acf(&["issues", "explain", "TODO-2"]).done().stdout,
            &["would be taken", "✔ the day's budget of $6.00 is not spent: $5.00 spent\n"],
        );
        factory.drain().done();
        assert_eq!(ends(&factory, "TODO-2"), ["landed"]);
    }
}

mod costs {
    use super::*;

    fn cost(factory: &Factory) -> (Value, String, Told) {
        let said = factory.drain().done();
        let usage = factory.runs("TODO-1")[0]["receipt"]["usage"].clone();
        (usage, factory.acf(&["runs", "TODO-1"]).done().stdout, said)
    }

    const TOKENS: [&str; 3] = ["@model gpt-5-codex", "@usage 1000000 100000", "@write a.txt A"];

    #[test]
    fn are_estimated_by_the_table_and_marked_as_estimates() {
        let factory = told(&[&TOKENS]);
        let (usage, shown, _) = cost(&factory);
        assert_eq!((&usage["cost_usd"], &usage["cost_is_estimated"]), (&2.25.into(), &true.into()));
        assert_says(&shown, &["script 0.1.0, gpt-5-codex · 1 turn · 1000k in, 100k out · $2.25 (estimated)"]);
        assert_says(&factory.acf(&["runs", "--by", "day"]).done().stdout, &["$2.25 (estimated)"]);
    }

    #[test]
    fn can_be_estimated_by_a_table_of_the_operators() {
        let factory = told(&[&TOKENS]);
        let prices = factory.sandbox().root().join("prices.toml");
        let table =
            "[models.gpt-5-codex]\ninput = 1\noutput = 1\nsource = \"contract\"\nread = \"2026-01-01\"\n";
        std::fs::write(&prices, table).unwrap();
        let factory = factory.with("AGENT_PRICES_FILE", prices.to_str().unwrap());
        assert_eq!(cost(&factory).0["cost_usd"], 1.1);

        std::fs::write(&prices, "[models.x]\ninput = 1\n").unwrap();
        let said = told(&[]).with("AGENT_PRICES_FILE", prices.to_str().unwrap()).drain().refused(1);
        assert_says(&said, &["cannot use AGENT_PRICES_FILE", "missing field"]);
    }

    #[test]
    fn that_nobody_knows_are_not_invented() {
        let factory = told(&[&["@model unheard-of", "@usage 10 5", "@write a.txt A"]]);
        let factory = factory.with("AGENT_BUDGET_USD", "2");
        let (usage, shown, said) = cost(&factory);
        assert_eq!(usage["cost_usd"], Value::Null);
        assert_says(&shown, &["10 in, 5 out · cost not known"]);
        assert_eq!(usage["cost_is_incomplete"], true);
        assert_says(
            &said.stderr,
            &["not known, and AGENT_BUDGET_USD cannot count it: model unheard-of has no price"],
        );
        assert_says(&factory.acf(&["runs", "--by", "issue"]).done().stdout, &["TODO-1", "not known"]);
    }

    #[test]
    fn of_an_agent_that_tells_nothing_are_not_known() {
        let factory = Factory::with_todo("- [ ] a\n").agent("echo A > a.txt");
        let (usage, shown, said) = cost(&factory);
        assert_eq!((&usage["cost_usd"], &usage["cost_is_incomplete"]), (&Value::Null, &true.into()));
        assert_says(&shown, &["agent    command · cost not known\n"]);
        assert!(!said.stderr.contains("has no price"), "{}", said.stderr);
        let sums = factory.acf(&["runs", "--by", "agent", "--json"]).done().json();
        assert_eq!(sums[0]["cost_unknown"], 1);
    }

    #[test]
    fn are_summed_by_issue_agent_and_day() {
        let factory = told(&[&["@usage 10 20 0.5", "@write a.txt A"], &["@usage 1 2 0.25", "@none"]]);
        factory.drain().done();
        let sums = |by| factory.acf(&["runs", "--by", by, "--json"]).done().json();
        let issues = sums("issue");
        assert_eq!((&issues[0]["of"], &issues[0]["cost_usd"]), (&"TODO-1".into(), &0.5.into()));
        assert_eq!((&issues[1]["of"], &issues[1]["failed"]), (&"TODO-2".into(), &1.into()));
        let agents = sums("agent");
        assert_eq!((&agents[0]["of"], &agents[0]["output_tokens"]), (&"script".into(), &22.into()));
        assert_eq!(sums("day")[0]["runs"], 2);
        assert_says(&factory.acf(&["runs", "--by", "agent"]).done().stdout, &["script", "$0.75"]);
        assert_says(&factory.acf(&["runs", "--by", "week"]).refused(2), &["write issue, agent or day"]);
    }
}

mod fallbacks {
    use super::*;

    /// An agent that finishes what it finds half done, and keeps its prompt.
    const FINISHES: &str = "[ \"$1\" = run ] || exit 0\nprintf %s \"$2\" > \"$PROMPT\"\n\
        if [ -e half.txt ]; then echo W > whole.txt; else echo N > new.txt; fi";

    fn with_fallback(issues: &[&[&str]]) -> Factory {
        with_fallback_under(&PolicyFile::new(), issues)
    }

    fn with_fallback_under(policy: &PolicyFile, issues: &[&[&str]]) -> Factory {
        let factory = told_with(policy, issues);
        let prompt = factory.sandbox().root().join("prompt");
        let agent = factory.program("agent", FINISHES);
        let factory = factory.with("PROMPT", prompt.to_str().unwrap());
        factory.with("AGENT", "script,command").with("AGENT_COMMAND", agent)
    }

    #[test]
    fn go_on_in_the_same_checkout_and_the_receipt_names_both() {
        let factory = with_fallback(&[&["@usage 10 20 0.5", "@write half.txt x", "@quota 7200"]]);

        let said = factory.drain().done();

        assert_eq!(ends(&factory, "TODO-1"), ["landed"]);
        assert_eq!(factory.sandbox().file_at("main", "whole.txt").as_deref(), Some("W\n"));
        assert_says(&said.stderr, &["no quota left; `command` goes on"]);
        let prompt = std::fs::read_to_string(factory.sandbox().root().join("prompt")).unwrap();
        assert_says(
            &prompt,
            &["Another agent began with this", "Issue TODO-1", "+++ b/half.txt\n", "\n+x\n"],
        );

        let receipt = &factory.runs("TODO-1")[0]["receipt"];
        assert_eq!(receipt["agent"], "script 0.1.0, then command");
        assert_eq!(receipt["usage"]["cost_usd"], 0.5);
        let shown = factory.acf(&["runs", "TODO-1"]).done().stdout;
        assert_says(
            &shown,
            &[
                "    1. script 0.1.0 · 1 turn · 10 in, 20 out · $0.50\n",
                "    2. command · cost not known\n",
                "· at least $0.50",
            ],
        );
        let sums = factory.acf(&["runs", "--by", "agent", "--json"]).done().json();
        assert_eq!((&sums[0]["of"], &sums[1]["of"]), (&"command".into(), &"script".into()));
        assert_eq!(sums[1]["cost_usd"], 0.5);
    }

    #[test]
    fn go_on_where_the_credentials_of_the_first_are_not_accepted() {
        let factory =
            with_fallback(&[&["@write half.txt x", "@not-authenticated 401 invalid x-api-key"], &[]]);
        let said = factory.drain().done();
        assert_eq!(ends(&factory, "TODO-1"), ["landed"]);
        assert_eq!(factory.runs("TODO-1")[0]["receipt"]["agent"], "script 0.1.0, then command");
        assert_eq!(factory.runs("TODO-2")[0]["receipt"]["agent"], "command");
        assert_eq!(factory.sandbox().file_at("main", "whole.txt").as_deref(), Some("W\n"));
        let warning = "credentials are not accepted: `script` with its own login: 401 invalid x-api-key";
        assert_eq!(
            said.stderr.matches(warning).count(),
            1,
            "the second issue is not begun by it: {}",
            said.stderr
        );
        assert_says(&said.stderr, &["its credentials are not accepted; `command` goes on"]);
    }

    #[test]
    fn stop_the_worker_only_where_all_are_refused() {
        let refused = |agent: &str, script: &str, variable: &str| {
            let factory = told(&[&["@not-authenticated 401 of the script"]]);
            let factory = factory.installed(agent, script).with("AGENT", format!("script,{agent}"));
            let factory = factory.with(variable, "own-key-7919");
            factory.drain().refused(1)
        };
        let script = r#"echo '{"type":"turn.failed","error":{"message":"unexpected status 401 Unauthorized"}}'; exit 1"#;
        assert_says(
            &refused("codex", script, "OPENAI_API_KEY"),
            &[
                "`script` with its own login: 401 of the script; `codex` with CODEX_API_KEY, OPENAI_API_KEY: unexpected status 401",
            ],
        );
    }

    #[test]
    fn begin_the_next_issue_as_long_as_the_service_of_the_first_refuses() {
        let factory = with_fallback(&[&["@rate-limit 7200"], &["@rate-limit 7200"]]);
        let said = factory.drain().done();
        assert_eq!(said.stderr.matches("`command` goes on").count(), 1, "{}", said.stderr);
        let agent = |key| factory.runs(key)[0]["receipt"]["agent"].clone();
        assert_eq!(
            (agent("TODO-1"), agent("TODO-2")),
            ("script 0.1.0, then command".into(), "command".into())
        );
    }

    #[test]
    fn are_shown_changes_in_which_every_secret_is_masked_before_they_are_cut() {
        // With the secret in it, what was changed is too long for a prompt; without, it is not.
        let secret = "k".repeat(400);
        let write =
            "@sh s=$(printf 'k%.0s' $(seq 400)); for n in $(seq 60); do echo \"$n $s\"; done > half.txt";
        let factory = with_fallback(&[&[write, "@quota 7200"]]).with("GIT_TOKEN", secret);
        factory.drain().done();
        let prompt = std::fs::read_to_string(factory.sandbox().root().join("prompt")).unwrap();
        assert_says(&prompt, &["\n+1 ***", "\n+60 ***"]);
        assert!(!prompt.contains("kkkk") && !prompt.contains("more bytes]"), "{prompt}");
    }

    #[test]
    fn in_a_fix_round_are_told_what_is_to_be_mended() {
        let policy = PolicyFile::new().verify("test -e whole.txt || { echo error: no whole; exit 3; }");
        let factory = with_fallback_under(&policy, &[&["@write half.txt x", "@fix quota 7200"]]);
        factory.drain().done();
        assert_eq!(ends(&factory, "TODO-1"), ["landed"]);
        let run = &factory.runs("TODO-1")[0]["receipt"];
        assert_eq!((&run["fix_rounds"], &run["parts"][1]["agent"]), (&1.into(), &"command".into()));
        let prompt = std::fs::read_to_string(factory.sandbox().root().join("prompt")).unwrap();
        assert_says(
            &prompt,
            &["does not pass the checks", "error: no whole", "Issue TODO-1", "+++ b/half.txt\n"],
        );
    }

    #[test]
    fn begin_the_next_issue_as_long_as_the_first_has_no_quota() {
        let factory = with_fallback(&[&["@quota 7200"], &["@quota 7200"]]);
        let said = factory.drain().done();
        assert_eq!(said.stderr.matches("no quota left; `command` goes on").count(), 1, "{}", said.stderr);
        assert_eq!(factory.runs("TODO-1")[0]["receipt"]["agent"], "script 0.1.0, then command");
        assert_eq!(factory.runs("TODO-2")[0]["receipt"]["agent"], "command");
        assert_eq!(factory.sandbox().file_at("main", "new.txt").as_deref(), Some("N\n"));
    }

    #[test]
    fn are_looked_for_before_any_claim() {
        let factory = told(&[&[]]).with("AGENT", "script,command").with("AGENT_COMMAND", "no-such-agent");
        assert_says(&factory.drain().refused(1), &["`no-such-agent`"]);
        assert_eq!(factory.claims(), [""; 0]);
    }
}

mod fix_rounds {
    use super::*;

    #[test]
    fn of_an_agent_without_sessions_come_with_the_task_the_diff_and_what_matters_of_the_output() {
        let verify = "seq 5000; echo 'src/a.c:3: error: no such thing'; seq 5000; test -e fixed.txt";
        let factory = told_with(&PolicyFile::new().verify(verify), &[&["Say hello, please."]]);
        let prompt = factory.sandbox().root().join("prompt");
        let factory = factory.with("PROMPT", prompt.to_str().unwrap()).agent(
            "printf %s \"$prompt\" > \"$PROMPT\"\n\
             if [ -e first.txt ]; then echo F > fixed.txt; else seq 100000 > first.txt; fi",
        );

        factory.drain().done();

        assert_eq!(ends(&factory, "TODO-1"), ["landed"]);
        let prompt = std::fs::read_to_string(prompt).unwrap();
        assert_says(
            &prompt,
            &[
                "Your work does not pass the checks",
                "[… 5000 lines]\nsrc/a.c:3: error: no such thing\n",
                "\n5000\n",
                "Say hello, please.",
                "+++ b/first.txt\n",
                "more bytes]",
            ],
        );
        assert!(prompt.len() < 32 * 1024, "{} bytes", prompt.len());
    }
}
