//! Rounds of the agents `script` and `command`, run as the worker runs them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use acf_core::agent::{Agent, AgentCommand, AgentEvent, AgentLimits, AgentOutcome, AgentRequest, Trouble};
use acf_core::issue::{Issue, Stage};
use acf_core::prices::Prices;
use acf_core::receipt::Usage;
use acf_worker::agent::{Command, RoundReport, Script, prepare, round};
use acf_worker::process::{Guard, Limits, Place};
use tokio_util::sync::CancellationToken;

use crate::family::Family;

pub(crate) const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(60),
    stall: Some(Duration::from_secs(60)),
    grace: Duration::from_millis(200),
};

fn issue(description: &str) -> Issue {
    Issue { description: description.into(), ..Issue::new("TODO-3".parse().unwrap(), "Say hello") }
}

/// An agent at work in a checkout.
struct Bench {
    family: Family,
    agent: Box<dyn Agent>,
    limits: Limits,
    stop: CancellationToken,
    log: Vec<String>,
}

impl Bench {
    fn of(agent: impl Agent + 'static) -> Self {
        let (family, stop) = (Family::new(), CancellationToken::new());
        Self { family, agent: Box::new(agent), limits: LIMITS, stop, log: Vec::new() }
    }

    fn script() -> Self {
        Self::of(Script::new().unwrap())
    }

    /// Runs a round, sure that nothing of it is left afterwards.
    async fn round(&mut self, request: &AgentRequest<'_>) -> RoundReport {
        let guard = Guard::at(env!("CARGO_BIN_EXE_acf-worker"));
        let env = Family::env_of(self.family.dir());
        let place = Place { guard: &guard, dir: self.family.dir(), env: &env, limits: self.limits };
        let log = &mut |line: &str| self.log.push(line.to_owned());
        let report = round(&*self.agent, request, &Prices::default(), place, &self.stop, log).await.unwrap();
        assert_eq!(self.family.alive(), [""; 0]);
        report
    }

    /// Runs a round of the implementation on an issue with that description.
    async fn implements(&mut self, description: &str, round: u32, session: Option<&str>) -> RoundReport {
        let issue = issue(description);
        let stage = Stage::Implementation;
        self.round(&AgentRequest {
            prompt: "the prompt",
            issue: &issue,
            stage,
            round,
            session,
            session_usage: Usage::default(),
            limits: AgentLimits::default(),
            report: None,
        })
        .await
    }

    async fn plans(&mut self, description: &str) -> RoundReport {
        let issue = issue(description);
        let stage = Stage::Planning;
        self.round(&AgentRequest {
            prompt: "the prompt",
            issue: &issue,
            stage,
            round: 0,
            session: None,
            session_usage: Usage::default(),
            limits: AgentLimits::default(),
            report: None,
        })
        .await
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.family.dir().join(path)).ok()
    }

    fn is_untouched(&self) -> bool {
        fs::read_dir(self.family.dir()).unwrap().next().is_none()
    }
}

fn crashed(exit_code: Option<i32>, message: &str) -> AgentOutcome {
    AgentOutcome::Crashed { exit_code, message: Some(message.into()) }
}

#[tokio::test]
async fn a_script_writes_appends_and_deletes() {
    let mut bench = Bench::script();
    let description =
        "@write a/b.txt one\\ntwo\n@append a/b.txt three\n@append c.txt c\n@write d.txt d\n@delete d.txt";
    let report = bench.implements(description, 0, None).await;
    assert_eq!(report.outcome, AgentOutcome::Finished);
    assert_eq!(bench.read("a/b.txt").unwrap(), "one\ntwo\nthree\n");
    assert_eq!(bench.read("c.txt").unwrap(), "c\n");
    assert_eq!(bench.read("d.txt"), None);
    assert_eq!(bench.read("TODO-3.txt"), None);
    assert_eq!(bench.log[..2], ["> write a/b.txt", "> write a/b.txt"]);
}

#[tokio::test]
async fn without_directives_the_summary_is_implemented_and_planned() {
    let mut bench = Bench::script();
    bench.implements("Please.", 0, None).await;
    assert_eq!(bench.read("TODO-3.txt").unwrap(), "Say hello\n");
    bench.plans("Please.").await;
    assert!(bench.read("plans/TODO-3.md").unwrap().starts_with("# Plan: Say hello\n"));
}

#[tokio::test]
async fn what_only_delays_or_reports_does_not_take_the_place_of_the_work() {
    let mut bench = Bench::script();
    let report = bench.implements("@sleep 0.01\n@usage 100 20 0.25\n@usage 1 2 0.5", 0, None).await;
    let usage =
        Usage { turns: 2, input_tokens: 101, output_tokens: 22, cost_usd: Some(0.75), ..Usage::default() };
    assert_eq!(report.usage, usage);
    assert!(report.elapsed >= Duration::from_millis(10));
    assert_eq!(report.version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(bench.read("TODO-3.txt").unwrap(), "Say hello\n");
}

#[tokio::test]
async fn a_script_can_change_nothing_and_plan_nothing() {
    let mut bench = Bench::script();
    assert_eq!(bench.implements("@none", 0, None).await.outcome, AgentOutcome::Finished);
    assert_eq!(bench.plans("@planning none").await.outcome, AgentOutcome::Finished);
    assert_eq!(bench.implements("", 1, None).await.outcome, AgentOutcome::Finished);
    assert!(bench.is_untouched());
}

#[tokio::test]
async fn a_plan_can_be_told_and_is_not_for_the_implementation() {
    let mut bench = Bench::script();
    bench.plans("@plan 1. One\\n2. Two\n@write a.txt a").await;
    assert_eq!(bench.read("plans/TODO-3.md").unwrap(), "1. One\n2. Two\n");
    assert_eq!(bench.read("a.txt"), None);
}

#[tokio::test]
async fn a_fix_round_resumes_the_session_and_mends() {
    let mut bench = Bench::script();
    let description = "@write a.txt broken\n@fix write a.txt mended";
    let first = bench.implements(description, 0, None).await;
    assert_eq!(bench.read("a.txt").unwrap(), "broken\n");
    assert!(bench.agent.resumes());
    let second = bench.implements(description, 1, first.session.as_deref()).await;
    assert_eq!(bench.read("a.txt").unwrap(), "mended\n");
    assert_eq!(second.tail.lines().last(), Some("round 2 of the session"));
    assert_ne!(first.session, second.session);
}

#[tokio::test]
async fn a_rate_limit_is_told_once_in_a_session() {
    let mut bench = Bench::script();
    let first = bench.implements("@rate-limit 1.5", 0, None).await;
    let limited =
        AgentOutcome::Trouble(Trouble::RateLimited { retry_after: Some(Duration::from_millis(1500)) });
    assert_eq!(first.outcome, limited);
    assert!(bench.is_untouched());
    let again = bench.implements("@rate-limit 1.5", 0, first.session.as_deref()).await;
    assert_eq!(again.outcome, AgentOutcome::Finished);
    assert!(bench.read("TODO-3.txt").is_some());
}

#[tokio::test]
async fn failures_and_crashes_are_told_with_the_last_words() {
    let mut bench = Bench::script();
    let failed = bench.implements("@print so far\n@fail 3\n@write a.txt a", 0, None).await;
    assert_eq!(failed.outcome, crashed(Some(3), "so far\nfailing with exit code 3, as told"));
    let killed = bench.implements("@print so far\n@crash", 0, None).await;
    assert_eq!(killed.outcome, crashed(None, "so far"));
    let shell = bench.implements("@sh echo no such file >&2; exit 7", 0, None).await;
    let AgentOutcome::Crashed { exit_code: Some(7), message: Some(message) } = shell.outcome else {
        panic!("{:?}", shell.outcome)
    };
    assert!(message.contains("no such file"), "{message}");
    let mistyped = bench.implements("@wriet a.txt a", 0, None).await;
    let complaint = "error: `@wriet a.txt a`: there is no such directive";
    assert_eq!(mistyped.outcome, crashed(Some(2), complaint));
    assert!(bench.is_untouched());
}

#[tokio::test]
async fn a_script_that_hangs_stalls_and_one_that_ignores_sigterm_is_killed() {
    let mut bench = Bench::script();
    bench.limits.stall = Some(Duration::from_millis(200));
    let report = bench.implements("@ignore-term\n@print here\n@hang", 0, None).await;
    assert_eq!(report.outcome, AgentOutcome::Stalled);
    assert_eq!(report.tail, "here");
    bench.limits = Limits { stall: None, timeout: Duration::from_millis(200), ..LIMITS };
    assert_eq!(bench.implements("@hang", 0, None).await.outcome, AgentOutcome::TimedOut);
    bench.stop.cancel();
    assert_eq!(bench.implements("@hang", 0, None).await.outcome, AgentOutcome::Stopped);
}

#[tokio::test]
async fn one_that_has_used_its_turns_is_killed_and_gets_no_time_to_go_on() {
    let mut bench = Bench::script();
    bench.limits.grace = Duration::from_secs(60);
    let issue = issue("@ignore-term\n@usage 1 1 0\n@usage 1 1 0\n@sleep 2\n@write late.txt x\n@hang");
    let request = AgentRequest {
        prompt: "the prompt",
        issue: &issue,
        stage: Stage::Implementation,
        round: 0,
        session: None,
        session_usage: Usage::default(),
        limits: AgentLimits { max_turns: Some(1), budget_usd: None },
        report: None,
    };
    let report = bench.round(&request).await;
    assert_eq!(report.outcome, AgentOutcome::Trouble(Trouble::OutOfTurns));
    assert_eq!(bench.read("late.txt"), None);
}

/// A program of the shell that leaves the tokens that it used in its report.
struct Reporting(&'static str);

impl Agent for Reporting {
    fn name(&self) -> &'static str {
        "reporting"
    }

    fn program(&self) -> &Path {
        Path::new("sh")
    }

    fn command(&self, _: &AgentRequest<'_>) -> AgentCommand {
        AgentCommand { program: "sh".into(), args: vec!["-c".into(), self.0.into()], ..Default::default() }
    }

    fn parse_report(&self, report: &str) -> Vec<AgentEvent> {
        let input_tokens = report.trim().parse().unwrap();
        vec![AgentEvent::Usage(Usage { input_tokens, ..Usage::default() })]
    }
}

#[tokio::test]
async fn the_report_of_an_earlier_round_is_not_counted_again() {
    let issue = issue("");
    let request = AgentRequest {
        prompt: "the prompt",
        issue: &issue,
        stage: Stage::Implementation,
        round: 0,
        session: None,
        session_usage: Usage::default(),
        limits: AgentLimits::default(),
        report: Some(Path::new("report")),
    };
    let mut bench = Bench::of(Reporting("echo 7 > report"));
    assert_eq!(bench.round(&request).await.usage.input_tokens, 7);
    bench.agent = Box::new(Reporting("true"));
    assert_eq!(bench.round(&request).await.usage.input_tokens, 0);
}

#[tokio::test]
async fn a_flood_does_not_drown_what_comes_after_it() {
    let mut bench = Bench::script();
    let report = bench.implements("@flood 100000000\n@sh echo\n@usage 1 2 0.5", 0, None).await;
    assert_eq!(report.outcome, AgentOutcome::Finished);
    assert_eq!(report.usage.turns, 1);
    assert_eq!(bench.log.iter().filter(|line| line.contains("left out")).count(), 1);
    assert!(report.tail.len() <= 2048);
}

/// Puts a program next to the checkout that keeps the contract of the agent `command`.
fn own_agent(bench: &Family, script: &str) -> Command {
    let path = bench.dir().join("agent.sh");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Command::new(path, vec!["--flag".into()], acf_worker::agent::Access::default())
}

#[tokio::test]
async fn any_program_is_prepared_and_run_by_the_contract() {
    let own = Family::new();
    let agent = own_agent(&own, "echo \"$1 $2 <$3>\"; [ \"$3\" = - ] && wc -c; exit 0");
    let mut bench = Bench::of(agent.clone());
    let guard = Guard::at(env!("CARGO_BIN_EXE_acf-worker"));
    let env = Family::env_of(own.dir());
    let place = Place { guard: &guard, dir: own.dir(), env: &env, limits: LIMITS };
    let mut said = Vec::new();
    let log = &mut |line: &str| said.push(line.to_owned());
    let outcome = prepare(&agent, None, place, &CancellationToken::new(), log).await.unwrap();
    assert_eq!(outcome, Some(AgentOutcome::Finished));
    assert_eq!(said, ["--flag init <>"]);

    let report = bench.implements("", 0, None).await;
    assert_eq!((report.outcome, report.tail.as_str()), (AgentOutcome::Finished, "--flag run <the prompt>"));
    let (issue, prompt) = (issue(""), "x".repeat(200_000));
    let request = AgentRequest {
        prompt: &prompt,
        issue: &issue,
        stage: Stage::Implementation,
        round: 0,
        session: None,
        session_usage: Usage::default(),
        limits: AgentLimits::default(),
        report: None,
    };
    assert_eq!(bench.round(&request).await.tail, "--flag run <->\n200000");
}

#[tokio::test]
async fn of_any_program_the_exit_code_alone_counts() {
    let own = Family::new();
    let mut bench = Bench::of(own_agent(&own, "echo 'error: 429 rate limit, I crashed'"));
    assert_eq!(bench.implements("", 0, None).await.outcome, AgentOutcome::Finished);
    let mut bench = Bench::of(own_agent(&own, "echo 'all is well'; exit 9"));
    assert_eq!(bench.implements("", 0, None).await.outcome, crashed(Some(9), "all is well"));
}

#[tokio::test]
async fn a_program_that_has_vanished_is_named() {
    let mut bench =
        Bench::of(Command::new("no-such-agent".into(), Vec::new(), acf_worker::agent::Access::default()));
    let message = "the agent's program `no-such-agent` is not on PATH";
    assert_eq!(bench.implements("", 0, None).await.outcome, crashed(Some(127), message));
}
