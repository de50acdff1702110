//! The real coding CLIs, from claim to pushed commit, against a scripted model server.
//!
//! `ACF_AGENTS_BIN` names the folder with their programs; without it each test says that it was skipped.

use std::fs;

use acf_tests::factory::{Factory, Told};
use acf_tests::model_server::{Conduct, ModelServer};
use acf_tests::sandbox::{PolicyFile, Sandbox};
use serde_json::Value;

mod situations;

const NOTHING: [&str; 0] = [];

/// Writes the file, and what the agent sees of others' secrets.
const WORK: &str = "echo hello > hello.txt; env | grep -c foreign- > seen.txt || true";

/// One of the CLIs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cli {
    Claude,
    Codex,
    Copilot,
    Gemini,
    Opencode,
}

impl Cli {
    fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Copilot => "copilot",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
        }
    }

    /// The model as the receipt tells it.
    fn model(self) -> &'static str {
        match self {
            Self::Claude => "claude-sonnet-4-6",
            Self::Codex => "gpt-5-codex",
            Self::Copilot => "gpt-5-mini",
            Self::Gemini => "gemini-2.5-flash",
            Self::Opencode => "m1",
        }
    }

    /// The variables without which it knows no way to sign in.
    fn credentials(self) -> &'static [&'static str] {
        match self {
            Self::Claude => &["ANTHROPIC_API_KEY"],
            Self::Codex => &["CODEX_API_KEY"],
            Self::Copilot => {
                &["COPILOT_PROVIDER_API_KEY", "COPILOT_PROVIDER_BASE_URL", "COPILOT_OFFLINE", "COPILOT_MODEL"]
            }
            Self::Gemini => &["GEMINI_API_KEY"],
            Self::Opencode => &["OPENAI_API_KEY"],
        }
    }

    /// Points the CLI at the server, with a key of its own.
    fn set_up(self, factory: Factory, server: &ModelServer) -> Factory {
        let url = server.url();
        let home = factory.sandbox().home();
        let write = |path: &str, text: String| {
            let path = home.join(path);
            fs::create_dir_all(path.parent().expect("files lie in directories")).expect("make a directory");
            fs::write(&path, text).expect("write a file of the agent's");
            path.to_str().expect("paths are text").to_owned()
        };
        match self {
            Self::Claude => factory
                .with("ANTHROPIC_API_KEY", "own-key-7919")
                .with("ANTHROPIC_BASE_URL", url)
                .with("CLAUDE_CODE_MAX_RETRIES", "1")
                // It refuses to run unattended as root elsewhere.
                .with("IS_SANDBOX", "1")
                .with("CLAUDE_MODEL", self.model()),
            Self::Codex => {
                let provider = "[model_providers.scripted]\nname = \"scripted\"\nenv_key = \"CODEX_API_KEY\"\n\
                    wire_api = \"responses\"\nrequest_max_retries = 1\nstream_max_retries = 1";
                let config = format!("model_provider = \"scripted\"\n{provider}\nbase_url = \"{url}/v1\"\n");
                write(".codex/config.toml", config);
                factory.with("CODEX_API_KEY", "own-key-7919").with("AGENT_MODEL", self.model())
            }
            Self::Copilot => factory
                .with("COPILOT_PROVIDER_API_KEY", "own-key-7919")
                .with("COPILOT_PROVIDER_BASE_URL", format!("{url}/v1"))
                .with("COPILOT_OFFLINE", "true")
                .with("COPILOT_MODEL", self.model()),
            Self::Gemini => factory
                .with("GEMINI_API_KEY", "own-key-7919")
                .with("GOOGLE_GEMINI_BASE_URL", url)
                .with("AGENT_MODEL", self.model()),
            Self::Opencode => {
                let options =
                    serde_json::json!({ "baseURL": format!("{url}/v1"), "apiKey": "{env:OPENAI_API_KEY}" });
                let provider = serde_json::json!({
                    "npm": "@ai-sdk/openai-compatible", "options": options, "models": { "m1": {} },
                });
                let config = serde_json::json!({ "provider": { "scripted": provider } });
                let config = write("opencode.json", config.to_string());
                factory
                    .with("OPENAI_API_KEY", "own-key-7919")
                    .with("OPENCODE_CONFIG", config)
                    .with("OPENCODE_MODEL", "scripted/m1")
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "where the programs are is the test runner's to say")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A factory of one issue and the CLI; `None` where the CLIs are not there.
fn factory(cli: Cli, server: &ModelServer, policy: &PolicyFile) -> Option<Factory> {
    let Some(bin) = variable("ACF_AGENTS_BIN") else {
        eprintln!("SKIPPED: ACF_AGENTS_BIN is not set: {} was not run", cli.name());
        return None;
    };
    let sandbox = Sandbox::builder().policy(policy).todo("- [ ] Say hello\n").build();
    let path = format!("{bin}:{}", variable("PATH").expect("there is a PATH"));
    let factory = Factory::of(sandbox)
        .with("PATH", path)
        .with("AGENT", cli.name())
        .with("MAX_ATTEMPTS", "1")
        .with("GIT_TOKEN", "foreign-git-7919")
        .with("JIRA_TOKEN", "foreign-jira-7919")
        .with("AWS_SECRET_ACCESS_KEY", "foreign-aws-7919")
        .with("OPENROUTER_API_KEY", if cli == Cli::Opencode { "" } else { "foreign-key-7919" });
    Some(cli.set_up(factory, server))
}

fn working(commands: &[&str]) -> Conduct {
    Conduct { commands: commands.iter().map(|&command| command.into()).collect(), ..Conduct::default() }
}

fn refusing(times: usize, status: u16, retry_after: u64) -> Conduct {
    Conduct { refusals: Some((times, status)), retry_after: Some(retry_after), ..working(&[WORK]) }
}

#[track_caller]
fn only_run(factory: &Factory) -> Value {
    let runs = factory.runs("TODO-1");
    assert_eq!(runs.len(), 1, "{runs:#?}");
    runs[0].clone()
}

#[track_caller]
fn assert_landed(factory: &Factory, said: &Told) -> Value {
    let run = only_run(factory);
    assert_eq!(run["outcome"], "landed", "{run:#}\n{}", said.stderr);
    assert_eq!(factory.sandbox().log()[0], "[TODO-1] Say hello");
    assert_eq!(factory.claims(), NOTHING);
    assert_eq!(factory.left_running(), NOTHING);
    run["receipt"].clone()
}

fn an_issue_lands(cli: Cli) {
    let server = ModelServer::start(working(&[WORK]));
    let Some(factory) = factory(cli, &server, &PolicyFile::new().verify("grep -q hello hello.txt")) else {
        return;
    };
    let said = factory.acf(&["worker", "--max-issues", "1"]).done();
    let receipt = assert_landed(&factory, &said);
    assert_eq!(factory.sandbox().file_at("main", "hello.txt").as_deref(), Some("hello\n"));
    assert_eq!(
        factory.sandbox().file_at("main", "seen.txt").as_deref(),
        Some("0\n"),
        "no foreign secret is seen"
    );
    let version = receipt["agent"].as_str().and_then(|agent| agent.strip_prefix(cli.name()));
    assert!(version.is_some_and(|version| version.contains('.')), "{receipt:#}");
    assert_eq!(receipt["model"], cli.model(), "{receipt:#}");
    assert_eq!(receipt["gate"][0]["exit_code"], 0, "{receipt:#}");
    let tokens = (&receipt["usage"]["input_tokens"], &receipt["usage"]["output_tokens"]);
    assert_eq!(tokens, (&200.into(), &20.into()), "{receipt:#}");
    let asked = server.asked();
    assert!(asked[0].body.contains("Say hello"), "the issue is in the prompt");
    assert!(asked.iter().all(|asked| asked.credentials.contains("own-key-7919")), "its own key is used");
}

fn one_that_is_refused_stops_the_worker(cli: Cli) {
    let server = ModelServer::start(refusing(usize::MAX, 401, 1));
    let Some(factory) = factory(cli, &server, &PolicyFile::new()) else { return };
    let said = factory.acf(&["worker", "--exit-when-idle"]);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    let run = only_run(&factory);
    assert_eq!(run["kind"], "not_authenticated", "{run:#}\n{}", said.stderr);
    assert!(
        factory.sandbox().todo_text().starts_with("- [ ] Say hello\n"),
        "{}",
        factory.sandbox().todo_text()
    );
    assert!(!said.stderr.contains("own-key-7919"), "{}", said.stderr);
    assert_eq!(factory.claims(), NOTHING);
}

fn a_fix_round_goes_on_in_the_session(cli: Cli) {
    let server = ModelServer::start(working(&["echo first-try > hello.txt", "echo hello > hello.txt"]));
    let policy = PolicyFile::new().verify("grep hello hello.txt || { echo no-greeting-found; exit 1; }");
    let Some(factory) = factory(cli, &server, &policy) else { return };
    let said = factory.acf(&["worker", "--max-issues", "1"]).done();
    let receipt = assert_landed(&factory, &said);
    assert_eq!(receipt["fix_rounds"], 1, "{receipt:#}");
    assert_eq!(receipt["usage"]["input_tokens"], 400, "{receipt:#}");
    let last = server.asked().last().map(|asked| asked.body.clone()).unwrap_or_default();
    for told in ["Say hello", "first-try", "no-greeting-found"] {
        assert!(last.contains(told), "{told:?} is not in the conversation: {last}");
    }
}

macro_rules! with_the_real_cli {
    ($($module:ident: $cli:expr),* $(,)?) => {$(
        mod $module {
            use super::Cli;

            const CLI: Cli = $cli;

            #[test]
            fn an_issue_lands() {
                super::an_issue_lands(CLI);
            }

            #[test]
            fn one_that_is_refused_stops_the_worker() {
                super::one_that_is_refused_stops_the_worker(CLI);
            }

            #[test]
            fn a_fix_round_goes_on_in_the_session() {
                super::a_fix_round_goes_on_in_the_session(CLI);
            }
        }
    )*};
}

with_the_real_cli! {
    claude: Cli::Claude,
    codex: Cli::Codex,
    copilot: Cli::Copilot,
    gemini: Cli::Gemini,
    opencode: Cli::Opencode,
}

#[test]
fn without_quota_the_next_agent_goes_on() {
    let exhausted = ModelServer::start(Conduct { is_exhausted: true, ..Conduct::default() });
    let server = ModelServer::start(working(&[WORK]));
    let Some(factory) = factory(Cli::Codex, &exhausted, &PolicyFile::new()) else { return };
    let factory = Cli::Claude.set_up(factory, &server).with("AGENT", "codex,claude");
    let said = factory.acf(&["worker", "--max-issues", "1"]).done();
    let receipt = assert_landed(&factory, &said);
    let agents: Vec<_> =
        receipt["parts"].as_array().expect("two agents").iter().map(|part| &part["agent"]).collect();
    assert_eq!(agents.len(), 2, "{receipt:#}");
    for (agent, name) in agents.iter().zip(["codex ", "claude "]) {
        assert!(agent.as_str().is_some_and(|agent| agent.starts_with(name)), "{receipt:#}");
    }
}

#[test]
fn a_subscription_signs_claude_in() {
    let server = ModelServer::start(working(&[WORK]));
    let Some(factory) = factory(Cli::Claude, &server, &PolicyFile::new()) else { return };
    let factory = factory
        .without("ANTHROPIC_API_KEY")
        .with("CLAUDE_ACCESS_TOKEN", "own-access-7919")
        .with("CLAUDE_REFRESH_TOKEN", "own-refresh-7919")
        .with("CLAUDE_TOKEN_EXPIRES_AT", "4102444800000")
        .with("CLAUDE_SUBSCRIPTION_TYPE", "max");
    let said = factory.acf(&["worker", "--max-issues", "1"]).done();
    assert_landed(&factory, &said);
    assert!(server.asked().iter().all(|asked| asked.credentials.ends_with("Bearer own-access-7919")));
}

#[test]
fn claude_is_not_started_as_root_where_it_would_refuse() {
    let server = ModelServer::start(working(&[WORK]));
    let Some(factory) = factory(Cli::Claude, &server, &PolicyFile::new()) else { return };
    let said = factory.without("IS_SANDBOX").acf(&["worker", "--max-issues", "1"]);
    if rustix::process::geteuid().is_root() {
        let said = said.refused(1);
        assert!(said.contains("`claude` refuses to run unattended as root"), "{said}");
        assert!(said.contains("IS_SANDBOX=1 if this machine is a sandbox"), "{said}");
        assert!(server.asked().is_empty());
    } else {
        said.done();
    }
}

#[test]
fn claude_keeps_to_its_turns_and_its_budget() {
    for (variable, limit, kind) in
        [("AGENT_MAX_TURNS", "1", "out_of_turns"), ("AGENT_BUDGET_USD", "0.0001", "out_of_budget")]
    {
        let server = ModelServer::start(working(&[WORK]));
        let Some(factory) = factory(Cli::Claude, &server, &PolicyFile::new()) else { return };
        let factory = factory.with(variable, limit);
        factory.acf(&["worker", "--max-issues", "1"]);
        assert_eq!(factory.failure("TODO-1").0, kind);
        // A budget that is spent may end it before it has used the tool.
        if variable == "AGENT_MAX_TURNS" {
            assert_eq!(
                factory.kept("hello.txt").as_deref(),
                Some("hello\n"),
                "the work is kept for going on"
            );
        }
    }
}

#[test]
fn opencode_does_not_go_on_once_it_has_used_its_turns() {
    let commands: Vec<_> = (0..12).map(|n| format!("echo {n} > turn-{n}.txt")).collect();
    let commands: Vec<_> = commands.iter().map(String::as_str).collect();
    let server = ModelServer::start(Conduct { is_tireless: true, ..working(&commands) });
    let Some(factory) = factory(Cli::Opencode, &server, &PolicyFile::new()) else { return };
    let factory = factory.with("AGENT_MAX_TURNS", "2").with("STOP_GRACE", "60s");
    factory.acf(&["worker", "--max-issues", "1"]);
    assert_eq!(factory.failure("TODO-1").0, "out_of_turns");
    // It is told of when it is over, so the third turn was taken, and a fourth may have begun.
    let turns = (0..12).take_while(|n| factory.kept(&format!("turn-{n}.txt")).is_some()).count();
    assert!((3..=5).contains(&turns), "{turns} turns");
}
