//! Runs one round of an agent below a guard, and tells what came of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::sync::LazyLock;
use std::time::Duration;

use acf_core::agent::{
    Agent, AgentCommand, AgentEvent, AgentExit, AgentLimits, AgentOutcome, AgentRequest, Signals, Trouble,
};
use acf_core::prices::Prices;
use acf_core::receipt::Usage;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::home::{self, Renewals};
use crate::plain_file;
use crate::process::{self, End, GuardedCommand, Output, Place, Tail, Until};

/// How much of the end of an agent's output is kept.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: usize = 2 * 1024;
/// The exit code that shells give to a program that is not there.
const NOT_FOUND: i32 = 127;
/// The exit code that shells give to a program that cannot be started.
const NOT_STARTED: i32 = 126;

/// What came of one round.
#[derive(Clone, Debug)]
pub struct RoundReport {
    /// How it ended; where the agent has no last words of its own, the end of its output stands for them.
    pub outcome: AgentOutcome,
    /// What it used.
    pub usage: Usage,
    /// Whether it has done anything: used a tool, or tokens.
    pub has_acted: bool,
    /// Its session, if it told one: the next round can resume it.
    pub session: Option<String>,
    /// Its version, if it told one.
    pub version: Option<String>,
    /// The model, if it told one.
    pub model: Option<String>,
    /// How long it took.
    pub elapsed: Duration,
    /// The end of what it wrote, for people.
    pub tail: String,
}

/// Runs one round of an agent; each line that people may want to read goes to `log`. Where it tells tokens
/// and no cost, that is estimated by `prices`. One that goes on after it has used what the round may use
/// is killed, whether it knows of the limit or not: with time to end well it would go on using more.
///
/// # Errors
/// Where the guard does not work; whatever goes wrong with the agent is an outcome.
pub async fn round(
    agent: &dyn Agent,
    request: &AgentRequest<'_>,
    prices: &Prices,
    place: Place<'_>,
    stop: &CancellationToken,
    log: &mut (dyn FnMut(&str) + Send),
) -> io::Result<RoundReport> {
    let begun = Instant::now();
    // Ends the round only; `stop` ends the run.
    let enough = CancellationToken::new();
    let mut notes = Notes {
        limits: request.limits,
        before: request.session_usage,
        prices,
        enough: enough.clone(),
        ..Notes::new(log)
    };
    let mut on_line = |output, line: &str| match output {
        Output::Stdout => agent.parse(line).into_iter().for_each(|event| notes.note(event)),
        Output::Stderr => agent.parse_error(line).into_iter().for_each(|event| notes.note(event)),
    };
    if let Some(report) = request.report {
        // That of an earlier round would be counted again.
        let _absent = fs::remove_file(place.dir.join(report));
    }
    let dir = place.dir;
    let (exit, complaint) =
        run(agent.command(request), place, Until { stop, kill: &enough }, &mut on_line).await?;
    let has_run = complaint.is_none();
    if let Some(complaint) = complaint {
        notes.say(&complaint);
    }
    if let Some(report) = request.report.and_then(|report| plain_file::read(dir, report)) {
        agent.parse_report(&report).into_iter().for_each(|event| notes.note(event));
    }
    let tail = notes.tail.text();
    let outcome = match (exit, notes.over.take()) {
        // Whether it was quick enough to end by itself is chance.
        (_, Some(trouble)) if !stop.is_cancelled() => AgentOutcome::Trouble(trouble),
        _ => with_last_words(agent.judge(exit, &notes.signals), &tail),
    };
    let mut usage = notes.used();
    usage.cost_is_incomplete |=
        has_run && !agent.is_free() && tells_no_cost(&usage, &outcome, notes.has_acted);
    Ok(RoundReport {
        outcome,
        usage,
        has_acted: notes.has_acted,
        session: notes.session,
        version: notes.version,
        model: notes.model,
        elapsed: begun.elapsed(),
        tail,
    })
}

/// Prepares an agent once per worker, before its first round: puts its files into its home and runs its
/// preparation. `None` where there is nothing to run.
///
/// # Errors
/// Where a file cannot be written, or the guard does not work.
pub async fn prepare(
    agent: &dyn Agent,
    renewals: Option<&Renewals>,
    place: Place<'_>,
    stop: &CancellationToken,
    log: &mut (dyn FnMut(&str) + Send),
) -> io::Result<Option<AgentOutcome>> {
    home::settle(agent, place, renewals).await?;
    let Some(command) = agent.preparation() else { return Ok(None) };
    let mut notes = Notes::new(log);
    let until = Until { stop, kill: &CancellationToken::new() };
    let (exit, complaint) = run(command, place, until, &mut |_, line: &str| notes.say(line)).await?;
    if let Some(complaint) = complaint {
        notes.say(&complaint);
    }
    let outcome = acf_core::agent::judge(exit, &Signals::default());
    Ok(Some(with_last_words(outcome, &notes.tail.text())))
}

/// Runs the command; where it could not even be started, says so.
async fn run(
    command: AgentCommand,
    place: Place<'_>,
    until: Until<'_>,
    on_line: &mut process::OnLine<'_>,
) -> io::Result<(AgentExit, Option<String>)> {
    let program = command.program.display().to_string();
    let own = command.env.iter().map(|(name, value)| (name.into(), value.expose_secret().into()));
    let env: Vec<(OsString, OsString)> = place.env.iter().cloned().chain(own).collect();
    let command = GuardedCommand {
        program: command.program.into(),
        args: command.args.into_iter().map(Into::into).collect(),
        env,
        dir: place.dir.to_owned(),
        stdin: command.stdin,
    };
    let exit = match process::run_until(place.guard, command, place.limits, until, on_line).await? {
        End::Exited(code) => AgentExit::Exited(Some(code)),
        End::Killed(_) => AgentExit::Exited(None),
        End::TimedOut => AgentExit::TimedOut,
        End::Stalled => AgentExit::Stalled,
        End::Stopped => AgentExit::Stopped,
        End::NotFound => {
            let complaint = format!("the agent's program `{program}` is not on PATH");
            return Ok((AgentExit::Exited(Some(NOT_FOUND)), Some(complaint)));
        }
        End::NotStarted(error) => {
            let complaint = format!("cannot start the agent's program `{program}`: {error}");
            return Ok((AgentExit::Exited(Some(NOT_STARTED)), Some(complaint)));
        }
    };
    Ok((exit, None))
}

fn with_last_words(outcome: AgentOutcome, tail: &str) -> AgentOutcome {
    match outcome {
        AgentOutcome::Crashed { exit_code, message: None } if !tail.is_empty() => {
            AgentOutcome::Crashed { exit_code, message: Some(tail.into()) }
        }
        outcome => outcome,
    }
}

static NO_PRICES: LazyLock<Prices> = LazyLock::new(Prices::default);

/// What is gathered while an agent runs.
struct Notes<'a> {
    signals: Signals,
    /// What was used with its cost told.
    priced: Usage,
    /// What was used without.
    unpriced: Usage,
    /// What the turns used, until the agent tells it of all together.
    turns: BTreeMap<String, Usage>,
    limits: AgentLimits,
    /// What the session had used before this round.
    before: Usage,
    prices: &'a Prices,
    /// The limit that was passed.
    over: Option<Trouble>,
    enough: CancellationToken,
    has_acted: bool,
    session: Option<String>,
    version: Option<String>,
    model: Option<String>,
    tail: Tail,
    log: &'a mut (dyn FnMut(&str) + Send),
}

impl<'a> Notes<'a> {
    fn new(log: &'a mut (dyn FnMut(&str) + Send)) -> Self {
        Self {
            signals: Signals::default(),
            priced: Usage::default(),
            unpriced: Usage::default(),
            turns: BTreeMap::new(),
            limits: AgentLimits::default(),
            before: Usage::default(),
            prices: &NO_PRICES,
            over: None,
            enough: CancellationToken::new(),
            has_acted: false,
            session: None,
            version: None,
            model: None,
            tail: Tail::new(TAIL_LINES, TAIL_BYTES),
            log,
        }
    }

    fn note(&mut self, event: AgentEvent) {
        let event = match event {
            AgentEvent::SessionUsage(total) => AgentEvent::Usage(self.new_of(total)),
            event => event,
        };
        self.signals.note(&event);
        let goes_on = match event {
            AgentEvent::Tool { .. } => true,
            AgentEvent::Usage(usage) | AgentEvent::Turn { usage, .. } => usage != Usage::default(),
            _ => false,
        };
        self.has_acted |= goes_on;
        // What an agent tells of its use at its end is no going on.
        let goes_on = goes_on && self.signals.finished.is_none();
        // The last dollar is the agent's own.
        let is_spent = |budget| self.used().cost_usd.is_some_and(|cost| cost >= budget);
        if goes_on && self.limits.budget_usd.is_some_and(is_spent) {
            self.end(Trouble::OutOfBudget);
        }
        match event {
            AgentEvent::Text(text) => self.say(&text),
            AgentEvent::Tool { summary } => self.say(&format!("> {summary}")),
            AgentEvent::Trouble(trouble) => self.say(&told(&trouble)),
            AgentEvent::Finished { message, .. } => {
                if let Some(message) = message {
                    self.say(&message);
                }
            }
            AgentEvent::Usage(usage) | AgentEvent::SessionUsage(usage) => {
                self.turns.clear();
                if usage.cost_usd.is_some() {
                    self.priced += usage;
                } else {
                    self.unpriced += usage;
                }
            }
            AgentEvent::Turn { id, usage } => drop(self.turns.insert(id, usage)),
            AgentEvent::Session(session) => self.session = Some(session),
            AgentEvent::About { version, model } => {
                self.version = version.or(self.version.take());
                self.model = model.or(self.model.take());
            }
        }
        if goes_on && self.limits.max_turns.is_some_and(|max| self.used().turns > u64::from(max)) {
            self.end(Trouble::OutOfTurns);
        }
    }

    /// Ends the round, as a limit was passed.
    fn end(&mut self, passed: Trouble) {
        if self.over.is_none() {
            self.say(&format!("ended: {}", told(&passed)));
            self.over = Some(passed);
            self.enough.cancel();
        }
    }

    /// Returns the tokens of a session that nothing has told of yet.
    fn new_of(&self, total: Usage) -> Usage {
        let mut told = self.before;
        told += self.priced;
        told += self.unpriced;
        Usage {
            input_tokens: total.input_tokens.saturating_sub(told.input_tokens),
            cached_tokens: total.cached_tokens.saturating_sub(told.cached_tokens),
            output_tokens: total.output_tokens.saturating_sub(told.output_tokens),
            ..Usage::default()
        }
    }

    /// Returns what was used, with a cost where it is told or can be estimated. A cost that is told counts
    /// for the whole round: agents tell it once, at the end.
    fn used(&self) -> Usage {
        let mut used = self.priced;
        let mut unpriced = self.unpriced;
        self.turns.values().for_each(|turn| unpriced += *turn);
        used += match (self.priced.cost_usd, self.model.as_deref()) {
            (Some(_), _) => Usage { cost_usd: Some(0.0), cost_is_incomplete: false, ..unpriced },
            (None, Some(model)) => match self.prices.estimate(model, &unpriced) {
                None => unpriced,
                cost_usd => {
                    Usage { cost_usd, cost_is_estimated: true, cost_is_incomplete: false, ..unpriced }
                }
            },
            (None, None) => unpriced,
        };
        used
    }

    fn say(&mut self, text: &str) {
        for line in text.lines() {
            self.tail.push(line);
            (self.log)(line);
        }
    }
}

/// Tells whether an agent that has run has told nothing by which to know what that cost. One that its service
/// refused before it did anything has used nothing.
fn tells_no_cost(used: &Usage, outcome: &AgentOutcome, has_acted: bool) -> bool {
    let refused = match outcome {
        AgentOutcome::Trouble(Trouble::OutOfTurns | Trouble::OutOfBudget) => false,
        AgentOutcome::Trouble(_) => !has_acted,
        _ => false,
    };
    used.cost_usd.is_none() && !used.has_tokens() && !refused
}

fn told(trouble: &Trouble) -> String {
    match trouble {
        Trouble::RateLimited { retry_after: None } => "rate limited".to_owned(),
        Trouble::RateLimited { retry_after: Some(wait) } => {
            format!("rate limited for {}", acf_core::receipt_text::duration(*wait))
        }
        Trouble::Unavailable { message } => format!("service unavailable: {message}"),
        Trouble::QuotaExhausted { resets_at: None } => "no quota left".to_owned(),
        Trouble::QuotaExhausted { resets_at: Some(at) } => format!("no quota left until {at:.0}"),
        Trouble::NotAuthenticated { message } => format!("not authenticated: {message}"),
        Trouble::OutOfTurns => "out of turns".to_owned(),
        Trouble::OutOfBudget => "out of budget".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "[models.m]\ninput = 1\noutput = 10\nsource = \"https://example.org\"\nread = \"2026-11-24\"";

    /// Lets an agent say those things, and returns what it has used and whether it was ended.
    fn noted(limits: AgentLimits, events: &[AgentEvent]) -> (Usage, Option<Trouble>) {
        let prices = Prices::parse(TABLE).unwrap();
        let mut log = |_: &str| {};
        let mut notes = Notes { limits, prices: &prices, ..Notes::new(&mut log) };
        events.iter().for_each(|event| notes.note(event.clone()));
        assert_eq!(notes.enough.is_cancelled(), notes.over.is_some());
        (notes.used(), notes.over)
    }

    fn about(model: &str) -> AgentEvent {
        AgentEvent::About { version: None, model: Some(model.into()) }
    }

    fn million_out(cost_usd: Option<f64>) -> AgentEvent {
        AgentEvent::Usage(Usage { turns: 1, output_tokens: 1_000_000, cost_usd, ..Usage::default() })
    }

    #[test]
    fn a_cost_that_is_not_told_is_estimated_and_marked_and_one_that_is_told_is_believed() {
        let cost = |events: &[AgentEvent]| {
            let (used, _) = noted(AgentLimits::default(), events);
            (used.cost_usd, used.cost_is_estimated)
        };
        assert_eq!(cost(&[million_out(None), about("m")]), (Some(10.0), true));
        assert_eq!(cost(&[about("m"), million_out(Some(3.0))]), (Some(3.0), false));
        assert_eq!(cost(&[about("m"), million_out(Some(3.0)), million_out(None)]), (Some(3.0), false));
        assert_eq!(cost(&[about("unheard-of"), million_out(None)]), (None, false));
        assert_eq!(cost(&[million_out(None)]), (None, false));
    }

    #[test]
    fn what_turns_used_counts_where_the_round_was_ended_before_it_told() {
        let turn = |id: &str, input_tokens| AgentEvent::Turn {
            id: id.into(),
            usage: Usage { turns: 1, input_tokens, ..Usage::default() },
        };
        let told = Usage { turns: 2, input_tokens: 170, ..Usage::default() };
        let turns = [turn("a", 90), turn("a", 100), turn("b", 60)];
        let (used, _) = noted(AgentLimits::default(), &turns);
        assert_eq!((used.turns, used.input_tokens), (2, 160));
        let (used, _) =
            noted(AgentLimits::default(), &[turns.as_slice(), &[AgentEvent::Usage(told)]].concat());
        assert_eq!((used.turns, used.input_tokens), (told.turns, told.input_tokens));
        let limits = AgentLimits { max_turns: Some(1), budget_usd: None };
        assert_eq!(noted(limits, &turns).1, Some(Trouble::OutOfTurns));
    }

    #[test]
    fn what_has_no_cost_of_its_own_is_known_where_the_round_has_one_and_unknown_elsewhere() {
        let is_unknown = |events: &[AgentEvent]| noted(AgentLimits::default(), events).0.cost_is_unknown();
        assert!(!is_unknown(&[million_out(None), million_out(None), about("m")]));
        assert!(!is_unknown(&[about("m"), million_out(None), million_out(Some(3.0))]));
        assert!(is_unknown(&[million_out(None), about("unheard-of")]));
    }

    #[test]
    fn an_agent_that_tells_nothing_has_an_unknown_cost_unless_its_service_refused_it() {
        let nothing = Usage::default();
        let refused = AgentOutcome::Trouble(Trouble::RateLimited { retry_after: None });
        let crashed = AgentOutcome::Crashed { exit_code: None, message: None };
        for outcome in [AgentOutcome::Finished, AgentOutcome::Stalled, crashed] {
            assert!(tells_no_cost(&nothing, &outcome, false), "{outcome:?}");
        }
        assert!(!tells_no_cost(&nothing, &refused, false));
        assert!(tells_no_cost(&nothing, &refused, true), "it had acted before");
        assert!(!tells_no_cost(&Usage { cost_usd: Some(0.0), ..nothing }, &AgentOutcome::Finished, true));
    }

    #[test]
    fn the_tokens_of_a_session_count_once() {
        let mut log = |_: &str| {};
        let tokens = |input_tokens, output_tokens| Usage { input_tokens, output_tokens, ..Usage::default() };
        let mut notes = Notes { before: tokens(200, 20), ..Notes::new(&mut log) };
        for total in [tokens(300, 30), tokens(300, 30), tokens(450, 31)] {
            notes.note(AgentEvent::SessionUsage(total));
        }
        assert_eq!(notes.used(), Usage { cost_is_incomplete: true, ..tokens(250, 11) });
    }

    #[test]
    fn an_agent_that_goes_on_with_its_budget_spent_or_its_turns_used_is_ended() {
        let tool = AgentEvent::Tool { summary: "Bash".into() };
        let finished = AgentEvent::Finished { ok: true, message: None };
        let ended = |limits, events: &[AgentEvent]| noted(limits, events).1;
        let budget = AgentLimits { budget_usd: Some(10.0), max_turns: None };
        let spent = [about("m"), million_out(None)];
        assert_eq!(
            ended(budget, &[spent.as_slice(), std::slice::from_ref(&tool)].concat()),
            Some(Trouble::OutOfBudget)
        );
        assert_eq!(
            ended(budget, &[spent.as_slice(), &[million_out(None)]].concat()),
            Some(Trouble::OutOfBudget)
        );
        assert_eq!(ended(budget, &[spent.as_slice(), std::slice::from_ref(&finished)].concat()), None);
        assert_eq!(ended(budget, &[&[finished], spent.as_slice()].concat()), None, "it has finished");
        assert_eq!(ended(budget, &[about("m"), tool.clone()]), None);

        let turns = AgentLimits { max_turns: Some(1), budget_usd: None };
        assert_eq!(ended(turns, &[million_out(None), tool.clone()]), None, "its last turn is its own");
        assert_eq!(ended(turns, &[million_out(None), million_out(None), tool]), Some(Trouble::OutOfTurns));
    }

    #[test]
    fn the_end_of_the_output_stands_for_last_words_that_are_missing() {
        let crashed = |message: Option<&str>| AgentOutcome::Crashed {
            exit_code: Some(1),
            message: message.map(Into::into),
        };
        assert_eq!(with_last_words(crashed(None), "boom"), crashed(Some("boom")));
        assert_eq!(with_last_words(crashed(None), ""), crashed(None));
        assert_eq!(with_last_words(crashed(Some("own")), "boom"), crashed(Some("own")));
        assert_eq!(with_last_words(AgentOutcome::Stalled, "boom"), AgentOutcome::Stalled);
    }
}
