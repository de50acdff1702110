//! What comes of each CLI in each situation, held against the table in docs/agents.md.

use std::fs;
use std::path::Path;

use acf_tests::factory::Factory;
use acf_tests::model_server::{Conduct, ModelServer};
use acf_tests::sandbox::PolicyFile;
use rustix::process::Signal;

use super::{Cli, NOTHING, WORK, factory, refusing, working};

/// How long an agent may be silent that is to do something.
const PATIENT: &str = "55s";
/// How long one may be silent that would try again by itself for many minutes.
const IMPATIENT: &str = "20s";

/// One row of the table.
struct Situation {
    /// What the row begins with.
    row: &'static str,
    conduct: Conduct,
    policy: PolicyFile,
    settings: Vec<(&'static str, &'static str)>,
    /// Whether nobody listens where the service should be.
    is_gone: bool,
    /// Whether the CLI is given nothing to sign in with.
    is_nobody: bool,
}

impl Situation {
    fn new(row: &'static str, conduct: Conduct) -> Self {
        let policy = PolicyFile::new().verify("test ! -e hello.txt || grep -q hello hello.txt");
        Self {
            row,
            conduct,
            policy,
            settings: vec![("AGENT_STALL_TIMEOUT", PATIENT)],
            is_gone: false,
            is_nobody: false,
        }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.settings.push((name, value));
        self
    }

    /// Makes silence count soon.
    fn impatient(self) -> Self {
        self.with("AGENT_STALL_TIMEOUT", IMPATIENT)
    }
}

const ALWAYS: usize = usize::MAX;

fn works() -> Situation {
    Situation::new("does the work", working(&[WORK]))
}

fn works_for_long() -> Situation {
    Situation::new("a command runs for 5 s", working(&["sleep 5; echo hello > hello.txt"]))
}

fn changes_nothing() -> Situation {
    Situation::new("changes nothing", working(&["true"]))
}

fn fails_the_gate_once() -> Situation {
    Situation::new("fails the gate once", working(&["echo first > hello.txt", WORK]))
}

fn fails_the_gate_always() -> Situation {
    Situation::new("fails the gate every time", working(&["date +%N > hello.txt"]))
}

fn leaves_a_process() -> Situation {
    let command = "echo hello > hello.txt; nohup sleep 1000 > /dev/null 2>&1 &";
    Situation::new("leaves a process running", working(&[command]))
}

fn writes_outside() -> Situation {
    let command =
        "echo hello > hello.txt; for place in .. ../.. \"$HOME\"; do echo x > $place/outside.txt; done; true";
    Situation::new("writes outside the checkout", working(&[command]))
}

fn is_refused() -> Situation {
    Situation::new("401: the key is wrong", refusing(ALWAYS, 401, 1))
}

fn is_forbidden() -> Situation {
    Situation::new("403: the key may not", refusing(ALWAYS, 403, 1))
}

fn is_limited_once() -> Situation {
    Situation::new("429 once", refusing(1, 429, 1))
}

fn is_limited_always() -> Situation {
    Situation::new("429 every time", refusing(ALWAYS, 429, 1)).impatient()
}

fn is_limited_for_long() -> Situation {
    Situation::new("429 every time, `Retry-After: 300`", refusing(ALWAYS, 429, 300)).impatient()
}

fn meets_a_500_once() -> Situation {
    Situation::new("500 once", refusing(1, 500, 1))
}

fn meets_a_503_always() -> Situation {
    Situation::new("503 every time", refusing(ALWAYS, 503, 1)).impatient()
}

fn meets_a_529_always() -> Situation {
    Situation::new("529 every time", refusing(ALWAYS, 529, 1)).impatient()
}

fn is_cut_off_once() -> Situation {
    Situation::new("an answer is cut off once", Conduct { cuts: 1, ..working(&[WORK]) })
}

fn is_cut_off_always() -> Situation {
    Situation::new("every answer is cut off", Conduct { cuts: ALWAYS, ..working(&[WORK]) }).impatient()
}

fn is_not_answered() -> Situation {
    Situation::new("no answer at all", Conduct { is_silent: true, ..Conduct::default() }).impatient()
}

fn has_no_credentials() -> Situation {
    Situation { is_nobody: true, ..Situation::new("no credentials", refusing(ALWAYS, 401, 1)) }
}

fn has_no_quota() -> Situation {
    Situation::new("no quota left", Conduct { is_exhausted: true, ..Conduct::default() }).impatient()
}

fn finds_nobody() -> Situation {
    let situation = Situation::new("no connection", Conduct::default()).with("AGENT_TIMEOUT", "45s");
    Situation { is_gone: true, ..situation }
}

fn may_take_one_turn() -> Situation {
    Situation::new("`AGENT_MAX_TURNS=1`", working(&[WORK])).with("AGENT_MAX_TURNS", "1")
}

fn may_cost_next_to_nothing() -> Situation {
    Situation::new("`AGENT_BUDGET_USD=0.0001`", working(&[WORK])).with("AGENT_BUDGET_USD", "0.0001")
}

/// Runs the CLI in that situation, and returns what the table is to say of it.
#[track_caller]
fn observe(factory: &Factory) -> String {
    let mut worker = factory.start("w-observed", &["--max-issues", "1"]);
    let waits = worker.waits_for("an end, or a wait", |worker| {
        if worker.has_been_at("waiting") { Some(true) } else { worker.has_ended().then_some(false) }
    });
    if waits {
        worker.signal(Signal::TERM);
    }
    let said = worker.ended();
    let runs = factory.runs("TODO-1");
    assert_eq!(runs.len(), 1, "{runs:#?}\n{}", said.stderr);
    assert_eq!(factory.claims(), NOTHING);
    assert_eq!(factory.left_running(), NOTHING);
    assert!(!said.stderr.contains("own-key-7919"), "{}", said.stderr);
    let text = |field: &str| runs[0][field].as_str().unwrap_or_default().to_owned();
    match (&*text("outcome"), waits) {
        ("landed", false) => {
            let rounds = runs[0]["receipt"]["fix_rounds"].as_u64().unwrap_or_default();
            let more = if rounds > 0 { format!(", {rounds} fix round") } else { String::new() };
            let files = factory.sandbox().git(&["ls-tree", "-r", "--name-only", "main"]);
            assert!(!files.contains("outside"), "{files}");
            format!("landed{more}")
        }
        ("interrupted", true) => "waits".to_owned(),
        ("failed", false) => format!("`{}`", text("kind")),
        other => panic!("{other:?}: {runs:#?}\n{}", said.stderr),
    }
}

/// Returns what the table says; `None` where it has no such row or column.
fn documented(row: &str, cli: Cli) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/agents.md");
    let text = fs::read_to_string(path).expect("the page on agents is there");
    let cells = |line: &str| -> Vec<String> { line.split('|').map(|cell| cell.trim().to_owned()).collect() };
    let find =
        |first: &str| text.lines().map(cells).find(|cells| cells.get(1).is_some_and(|cell| cell == first));
    let column = find("situation")?.iter().position(|cell| cell == cli.name())?;
    find(row)?.get(column).cloned()
}

#[track_caller]
fn check(cli: Cli, situation: Situation) {
    let server = ModelServer::start(situation.conduct);
    let Some(mut factory) = factory(cli, &server, &situation.policy) else { return };
    if situation.is_nobody {
        factory = cli.credentials().iter().fold(factory, |factory, name| factory.without(name));
    }
    let factory =
        situation.settings.iter().fold(factory, |factory, (name, value)| factory.with(name, *value));
    let _server = (!situation.is_gone).then_some(server);
    let seen = observe(&factory);
    let (agent, row) = (cli.name(), situation.row);
    assert_eq!(documented(row, cli), Some(seen), "docs/agents.md, `{row}`, {agent}");
}

macro_rules! situations {
    ($($situation:ident),* $(,)?) => {
        situations! { @each claude Claude [$($situation)*] }
        situations! { @each codex Codex [$($situation)*] }
        situations! { @each copilot Copilot [$($situation)*] }
        situations! { @each gemini Gemini [$($situation)*] }
        situations! { @each opencode Opencode [$($situation)*] }
    };
    (@each $module:ident $cli:ident [$($situation:ident)*]) => {
        mod $module {
            $(
                #[test]
                fn $situation() {
                    super::check(super::Cli::$cli, super::$situation());
                }
            )*
        }
    };
}

situations! {
    works,
    works_for_long,
    changes_nothing,
    fails_the_gate_once,
    fails_the_gate_always,
    leaves_a_process,
    writes_outside,
    has_no_credentials,
    is_refused,
    is_forbidden,
    has_no_quota,
    is_limited_once,
    is_limited_always,
    is_limited_for_long,
    meets_a_500_once,
    meets_a_503_always,
    meets_a_529_always,
    is_cut_off_once,
    is_cut_off_always,
    is_not_answered,
    finds_nobody,
    may_take_one_turn,
    may_cost_next_to_nothing,
}
