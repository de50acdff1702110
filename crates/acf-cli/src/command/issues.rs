//! `acf issues`: what is in the tracker, why an issue is taken or not, and changes by hand.

use std::sync::Arc;

use acf_core::claim::ClaimStore;
use acf_core::clock::Clock as _;
use acf_core::eligibility::{Finding, Verdict, Whereabouts, judge_issue};
use acf_core::issue::{Issue, IssueKey, IssueRef, Stage};
use acf_core::run::{RunId, WorkerId};
use acf_core::runtime::WorkerState;
use acf_core::tracker::{Applied, Change, Condition, Tracker};
use acf_worker::assembly::OpenTracker;
use acf_worker::clock::SystemClock;
use acf_worker::config::{self, Need, Settings};
use acf_worker::worker::{Orders, explain, explain_budget, hand_out};
use serde::Serialize;

use crate::args::{
    AssignArgs, ClaimArgs, CommentArgs, ExplainArgs, IssuesCommand, ListArgs, ShowArgs, TransitionArgs,
};
use crate::context::{Context, with_hint};
use crate::error::{Attempt, Exit, of_tracker};
use crate::process::Sight;
use crate::ui::{Out, Table, harmless, one_line, say};

/// How wide a summary may be in a list.
const SUMMARY_WIDTH: usize = 48;

/// Does what was asked with issues.
///
/// # Errors
/// When the tracker cannot be used, or does not know the issue.
pub async fn run(command: &IssuesCommand, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    match command {
        IssuesCommand::List(args) => list(args, context, out).await,
        IssuesCommand::Show(args) => show(args, context, out).await,
        IssuesCommand::Explain(args) => explain_one(args, context, out).await,
        IssuesCommand::Claim(args) => claim(args, context, out).await,
        IssuesCommand::Assign(args) => assign(args, context).await,
        IssuesCommand::Comment(CommentArgs { key, text }) => {
            let change = Change::Comment { marker: None, body: text.clone() };
            change_one(key, change, context, "commented on").await
        }
        IssuesCommand::Transition(TransitionArgs { key, status }) => {
            change_one(key, Change::Transition(status.clone()), context, &format!("moved to {status}:")).await
        }
    }
}

async fn list(args: &ListArgs, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    let settings = context.settings(Need::Tracker)?;
    let tracker = context.tracker(&settings).await?.port;
    let failed = |error| of_tracker(error, Attempt::List, &settings.tracker);
    let issues = match args.stage {
        Some(stage) => {
            let candidates = tracker.candidates(stage).await.map_err(failed)?;
            let wanted = |issue: &Issue| judge_issue(issue, stage, &settings.rules).is_eligible();
            candidates.into_iter().filter(wanted).collect()
        }
        None => tracker.list().await.map_err(failed)?,
    };
    if args.output.json {
        out.json(&issues)?;
    } else if issues.is_empty() {
        say("no open issues");
    } else {
        out.line(table_of(&issues))?;
    }
    Ok(Exit::Done)
}

fn table_of(issues: &[Issue]) -> String {
    let mut table = Table::new(["issue", "status", "assignee", "summary"]);
    for issue in issues {
        let labels: String = issue.labels.iter().map(|label| format!(" [{label}]")).collect();
        let summary = one_line(&issue.summary, SUMMARY_WIDTH) + &labels;
        let assignee = issue.assignee.as_deref().unwrap_or("—");
        table.row([issue.key.to_string(), issue.status.to_string(), one_line(assignee, 16), summary]);
    }
    table.render()
}

async fn show(args: &ShowArgs, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    let settings = context.settings(Need::Tracker)?;
    let issue = read(context, &settings, &args.key).await?;
    if args.output.json {
        out.json(&issue)?;
        return Ok(Exit::Done);
    }
    let labels: Vec<_> = issue.labels.iter().map(String::as_str).collect();
    let mut text =
        format!("{} \"{}\"\n  status    {}\n", issue.key, one_line(&issue.summary, usize::MAX), issue.status);
    text += &format!("  assignee  {}\n", issue.assignee.as_deref().unwrap_or("nobody"));
    text += &format!("  labels    {}\n", if labels.is_empty() { "none".into() } else { labels.join(", ") });
    if !issue.blocked_by.is_empty() {
        text += &format!("  waits for {}\n", issue.blocked_by.join(", "));
    }
    if let Some(url) = &issue.url {
        text += &format!("  url       {url}\n");
    }
    if !issue.description.trim().is_empty() {
        text += &format!("\n{}\n", harmless(issue.description.trim_end()));
    }
    out.line(text.trim_end())?;
    Ok(Exit::Done)
}

/// Reads an issue.
async fn read(context: &Context, settings: &Settings, key: &IssueKey) -> anyhow::Result<Issue> {
    let tracker = context.tracker(settings).await?;
    let key = settings.tracker.key(key);
    let read = tracker.port.issue(&key.clone().into()).await;
    read.map_err(|error| of_tracker(error, Attempt::Read(&key), &settings.tracker))
}

/// Returns the account that the tracker's issues are assigned to.
async fn account(tracker: &OpenTracker, settings: &Settings) -> anyhow::Result<String> {
    let account = tracker.port.whoami().await;
    account.map_err(|error| of_tracker(error, Attempt::FindAccount, &settings.tracker))
}

/// Whether a worker would take an issue, for scripts.
#[derive(Serialize)]
struct Explanation<'a> {
    issue: &'a IssueKey,
    stage: Stage,
    eligible: bool,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

/// Judges an issue as a worker would; claims and past runs only where there is a repository.
async fn judged(
    context: &Context,
    settings: &Settings,
    key: &IssueKey,
    stage: Stage,
) -> anyhow::Result<(Issue, Verdict)> {
    let issue = read(context, settings, key).await?;
    let rules = &settings.rules;
    let verdict = match context.repository(settings).await? {
        Some(repository) => {
            let (claims, clock) = (&*repository.claims, SystemClock::default());
            let known = context.runtime_for(settings)?.known()?;
            let place = |worker: &WorkerId| known.get(worker).copied().unwrap_or(Whereabouts::Elsewhere);
            let mut verdict = explain(claims, &issue, stage, rules, &clock, &place).await?;
            if let Some(budget) = settings.daily_budget_usd {
                verdict.findings.push(explain_budget(claims, budget, clock.now()).await?);
            }
            verdict
        }
        None => judge_issue(&issue, stage, rules),
    };
    Ok((issue, verdict))
}

async fn explain_one(args: &ExplainArgs, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    let settings = context.settings(Need::Tracker)?;
    let stage = args.stage;
    let (issue, verdict) = judged(context, &settings, &args.key, stage).await?;
    if args.output.json {
        let eligible = verdict.is_eligible();
        out.json(&Explanation { issue: &issue.key, stage, eligible, verdict: &verdict })?;
        return Ok(Exit::Done);
    }
    out.line(explained(&issue, stage, &verdict))?;
    for rest in rests(context, &settings, stage).await {
        say(rest);
    }
    if settings.repository.is_none() {
        say("claims and past runs were not looked at: GIT_REPO_URL is not set");
    }
    Ok(Exit::Done)
}

/// Says which workers of this machine on this repository take no issue for now, whichever it is, and why. What
/// cannot be seen of them is no reason not to explain an issue.
async fn rests(context: &Context, settings: &Settings, stage: Stage) -> Vec<String> {
    let Ok(runtime) = context.runtime_for(settings) else { return Vec::new() };
    let sights = runtime.sights().await.unwrap_or_default();
    let of_stage = sights.iter().filter(|sight| {
        sight.is_on_project && sight.view.pool.stage() == stage && sight.view.state == WorkerState::Running
    });
    let rest = |sight: &Sight| {
        let why = &sight.activity.resting.as_ref()?.why;
        Some(format!("worker {} of this machine takes no issue for now: {why}", sight.view.id))
    };
    of_stage.filter_map(rest).collect()
}

fn explained(issue: &Issue, stage: Stage, verdict: &Verdict) -> String {
    let would = if verdict.is_eligible() { "would be taken" } else { "would not be taken" };
    let article = if stage.worker_word().starts_with('i') { "an" } else { "a" };
    let summary = one_line(&issue.summary, SUMMARY_WIDTH);
    let mut text = format!("{} {summary:?} {would} by {article} {}:", issue.key, stage.worker_word());
    for finding in &verdict.findings {
        text += &found(finding);
    }
    text
}

fn found(finding: &Finding) -> String {
    let mark = if finding.ok { '✔' } else { '✘' };
    let remedy = finding.remedy.as_ref().map(|remedy| format!("  → {remedy}")).unwrap_or_default();
    format!("\n  {mark} {}{remedy}", finding.says)
}

/// Says why an issue is not what was asked for (`cannot be claimed`), in the words of `acf issues explain`.
pub(super) async fn why_not(
    what: &str,
    context: &Context,
    key: &IssueKey,
    stage: Stage,
) -> anyhow::Result<String> {
    // It has warned already.
    let settings = config::load(context.layers(), Need::Tracker)?;
    let (issue, verdict) = judged(context, &settings, key, stage).await?;
    let reasons: String = verdict.findings.iter().filter(|finding| !finding.ok).map(found).collect();
    Ok(match &*reasons {
        "" => format!("{} was taken by another one just now", issue.key),
        reasons => format!("{} {what}:{reasons}", issue.key),
    })
}

async fn claim(args: &ClaimArgs, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    let claimed = claim_next(context, args.key.as_ref(), args.stage, args.account.as_deref()).await?;
    match claimed {
        None => {
            match &args.key {
                Some(key) => say(why_not("cannot be claimed", context, key, args.stage).await?),
                None => say("there is no issue to claim"),
            }
            Ok(Exit::NothingToDo)
        }
        Some((issue, _)) if args.output.json => {
            out.json(&issue)?;
            Ok(Exit::Done)
        }
        Some((issue, _)) => {
            out.line(format!("{} {}", issue.key, issue.summary))?;
            Ok(Exit::Done)
        }
    }
}

/// Claims an issue for an account: that one, or the next that is eligible. Returns it as it was found,
/// and its line as it is written in a TODO file, or its summary in another tracker.
///
/// With a repository configured, the claim is taken there, so that it excludes workers of other
/// machines; without one, a TODO file's own lock guards it.
pub(super) async fn claim_next(
    context: &Context,
    key: Option<&IssueKey>,
    stage: Stage,
    account: Option<&str>,
) -> anyhow::Result<Option<(Issue, String)>> {
    let settings = context.settings(Need::Tracker)?;
    let repository = context.repository(&settings).await?;
    let tracker = with_hint(acf_worker::assembly::open_tracker(&settings, repository.as_ref()))?;
    let key = key.map(|typed| settings.tracker.key(typed));
    let account = match account {
        Some(account) => account.to_owned(),
        None => self::account(&tracker, &settings).await?,
    };
    let rules = &settings.rules;
    let is_wanted = |issue: &Issue| {
        key.as_ref().is_none_or(|key| *key == issue.key) && judge_issue(issue, stage, rules).is_eligible()
    };
    let claimed = match (repository, &tracker.todo) {
        (None, Some(todo)) => return Ok(todo.claim_next(stage, &account, &is_wanted).await?),
        (None, None) => assign_next(&*tracker.port, stage, &account, &is_wanted).await?,
        (Some(repository), _) => {
            let candidates = tracker.port.candidates(stage).await;
            let mut candidates =
                candidates.map_err(|error| of_tracker(error, Attempt::List, &settings.tracker))?;
            candidates.retain(|issue| key.as_ref().is_none_or(|key| *key == issue.key));
            let orders = orders(&settings, stage, account, &repository.trunk);
            let claims: Arc<dyn ClaimStore> = repository.claims;
            let clock = SystemClock::default();
            let run = RunId::new(format!("{}-{}", orders.worker, clock.now().as_millisecond()));
            hand_out(candidates, &claims, &tracker.port, &clock, run, &orders).await?
        }
    };
    let Some(issue) = claimed else { return Ok(None) };
    let line = line_of(&tracker, &issue).await?;
    Ok(Some((issue, line)))
}

/// Assigns the first issue that is wanted, with nothing but the tracker to keep others from it: two who do
/// this in the same moment may both be told the same issue.
async fn assign_next(
    tracker: &dyn Tracker,
    stage: Stage,
    account: &str,
    is_wanted: Condition<'_>,
) -> anyhow::Result<Option<Issue>> {
    let changes = [Change::Transition(stage.working_status()), Change::Assign(account.to_owned())];
    for issue in tracker.candidates(stage).await?.into_iter().filter(|issue| is_wanted(issue)) {
        if let Applied::Yes(found) = tracker.apply_if(&issue.reference(), is_wanted, &changes).await? {
            return Ok(Some(*found));
        }
    }
    Ok(None)
}

fn orders(settings: &Settings, stage: Stage, account: String, trunk: &str) -> Orders {
    Orders {
        worker: config::new_worker_id(),
        stage,
        account,
        rules: settings.rules.clone(),
        claim_ttl: settings.worker.claim_ttl,
        daily_budget_usd: None,
        issue_recheck: settings.worker.issue_recheck,
        trunk: trunk.to_owned(),
    }
}

/// Returns what the original tools call an issue's summary: in a TODO file, its line as it is written.
pub(super) async fn line_of(tracker: &OpenTracker, issue: &Issue) -> anyhow::Result<String> {
    match &tracker.todo {
        Some(todo) => Ok(todo.line_as_written(&issue.reference()).await?),
        None => Ok(issue.summary.clone()),
    }
}

async fn assign(args: &AssignArgs, context: &Context) -> anyhow::Result<Exit> {
    if args.nobody {
        return unassign(&args.key, context).await;
    }
    let account = match &args.account {
        Some(account) => account.clone(),
        None => {
            let settings = context.settings(Need::Tracker)?;
            self::account(&context.tracker(&settings).await?, &settings).await?
        }
    };
    let told = format!("assigned to {account}:");
    change_one(&args.key, Change::Assign(account), context, &told).await
}

/// Takes an issue from whoever has it.
async fn unassign(key: &IssueKey, context: &Context) -> anyhow::Result<Exit> {
    let settings = context.settings(Need::Tracker)?;
    let tracker = context.tracker(&settings).await?.port;
    let issue = IssueRef::from(settings.tracker.key(key));
    // Where the own account has it together with others, the first time leaves it to them.
    for _ in 0..2 {
        if tracker.issue(&issue).await?.assignee.is_some() {
            tracker.apply(&issue, &[Change::Unassign]).await?;
        }
    }
    say(format!("assigned to nobody: {issue}"));
    Ok(Exit::Done)
}

/// Makes one change to an issue.
pub(super) async fn change_one(
    key: &IssueKey,
    change: Change,
    context: &Context,
    told: &str,
) -> anyhow::Result<Exit> {
    let settings = context.settings(Need::Tracker)?;
    let tracker = context.tracker(&settings).await?;
    let key = settings.tracker.key(key);
    let changed = tracker.port.apply(&IssueRef::from(key.clone()), &[change]).await;
    changed.map_err(|error| of_tracker(error, Attempt::Change(&key), &settings.tracker))?;
    say(format!("{told} {key}"));
    Ok(Exit::Done)
}
