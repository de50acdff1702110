//! Every word that acf says in a tracker and on a git host, and what it does to an issue along with it.

use std::fmt::Write as _;
use std::time::Duration;

use crate::claim::Claim;
use crate::git_host::{NewPullRequest, PullRequest};
use crate::hand_back::give_back;
use crate::issue::{Status, label};
use crate::money::cost;
use crate::receipt::Receipt;
use crate::run::{Failure, FailureKind, Outcome, RunId, RunRecord, Target};
use crate::tracker::Change;

/// The longest title of a pull request, in characters; GitHub takes 256.
const LONGEST_TITLE: usize = 250;

/// Where work on a feature branch waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Review {
    /// In the pull request at that URL.
    PullRequest(String),
    /// On the branch alone: the host refused a pull request, for that reason.
    Refused(String),
    /// On the branch alone: acf opens no pull requests on that host.
    NoPullRequests,
}

/// What a report leads its readers to, besides what the run's record says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leads {
    /// The page of the run's plan, where the repository's host has pages.
    pub plan_page: Option<String>,
    /// Where the run's work waits for a person, if it is on a feature branch.
    pub review: Option<Review>,
    /// Whether the issue's readers were told the very same of the run before: what withdraws one run after
    /// the other, an automation of the tracker, say, is told once.
    pub is_said: bool,
}

/// What marks a run's comment, so that it is never said twice.
#[must_use]
pub fn marker(run: &RunId) -> String {
    format!("acf:run:{run}")
}

/// Returns the changes that tell the tracker of a run's end.
///
/// The issue is moved first: whether it can be is then known before anything is said. `max_attempts` is the
/// cap that the issue was tried under.
#[must_use]
pub fn report(record: &RunRecord, claim: &Claim, max_attempts: u32, leads: &Leads) -> Vec<Change> {
    let mut changes = moves(record, claim);
    changes.extend(words(record, max_attempts, leads));
    if record.blocked {
        changes.push(Change::AddLabel(label::BLOCKED.into()));
    }
    changes
}

/// Returns the changes that tell of a run's end where the tracker does not move the issue on, for that
/// reason. The label keeps workers from it until a person has moved it.
#[must_use]
pub fn report_unmoved(
    record: &RunRecord,
    claim: &Claim,
    max_attempts: u32,
    leads: &Leads,
    why: &str,
) -> Vec<Change> {
    let to = moves(record, claim).into_iter().find_map(|change| match change {
        Change::Transition(to) => Some(format!(" to {to}")),
        _ => None,
    });
    let unmoved = format!(
        "acf could not move this issue{}: {why}; move it by hand. No worker takes it until the label {} is removed.",
        to.unwrap_or_default(),
        label::BLOCKED
    );
    let body = match words(record, max_attempts, leads) {
        Some(Change::Comment { body, .. }) => {
            let (headline, rest) = body.split_once("\n\n").unwrap_or((&body, ""));
            format!("{headline} {unmoved}\n\n{rest}")
        }
        _ => format!("acf stopped working on this, and what was done is kept. {unmoved}"),
    };
    // This befell this very issue, whatever else befalls every run alike.
    let said = Change::Comment { marker: Some(marker(&record.run)), body };
    vec![said, Change::AddLabel(label::BLOCKED.into())]
}

/// Returns the changes that put an issue where its run's end leads it.
fn moves(record: &RunRecord, claim: &Claim) -> Vec<Change> {
    match &record.outcome {
        Outcome::Landed { plan: Some(_), .. } => {
            vec![Change::Transition(Status::AwaitingPlanReview), Change::Unassign]
        }
        Outcome::Landed { target: Target::Trunk, .. } => vec![Change::Transition(Status::Done)],
        Outcome::Landed { target: Target::Feature, .. } => vec![Change::Transition(Status::InReview)],
        Outcome::Failed(_) | Outcome::Interrupted | Outcome::Withdrawn { .. } => give_back(claim).into(),
    }
}

/// Returns the comment on a run's end, if there is anything to be said.
fn words(record: &RunRecord, max_attempts: u32, leads: &Leads) -> Option<Change> {
    let mut of_whom = marker(&record.run);
    let body = match &record.outcome {
        Outcome::Landed { .. } => landed(record, leads),
        Outcome::Failed(failure) => {
            if !failure.kind.counts() {
                // It befalls every run alike: said once, however often it is met.
                of_whom = format!("acf:{}", failure.kind.name());
            }
            failed(record, failure, max_attempts)
        }
        Outcome::Withdrawn { why } if !leads.is_said => withdrawn(record, why),
        Outcome::Withdrawn { .. } | Outcome::Interrupted => return None,
    };
    Some(Change::Comment { marker: Some(of_whom), body })
}

fn landed(record: &RunRecord, leads: &Leads) -> String {
    let Outcome::Landed { commit, branch, diverted, plan, .. } = &record.outcome else {
        return String::new();
    };
    let commit = commit.short();
    let headline = match plan {
        Some(path) => {
            let plan = leads.plan_page.as_ref().map_or(path.clone(), |page| format!("[{path}]({page})"));
            format!(
                "acf wrote a plan: {plan} in {commit} on {branch}. To approve it, move the issue to Plan Approved or \
                 add the label {}.",
                label::PLAN_APPROVED
            )
        }
        None => format!("acf implemented this in {commit} on {branch}."),
    };
    let why = diverted.as_ref().map(|why| format!(" It is not on the trunk: {why}.")).unwrap_or_default();
    let review = leads.review.as_ref().map(waiting).unwrap_or_default();
    format!("{headline}{why}{review}\n\n{}", receipt_table(&record.receipt, record, Some(commit)))
}

/// Says where work waits for a person.
fn waiting(review: &Review) -> String {
    match review {
        Review::PullRequest(url) => format!(" It waits for review: {url}"),
        Review::Refused(why) => {
            format!(" No pull request could be opened: {why}. Please open one from that branch.")
        }
        Review::NoPullRequests => {
            " acf opens no pull requests on this host: please open one from that branch.".to_owned()
        }
    }
}

fn withdrawn(record: &RunRecord, why: &str) -> String {
    let table = receipt_table(&record.receipt, record, None);
    format!("acf stopped working on this: {why}. Nothing was pushed; the work so far is kept.\n\n{table}")
}

/// Returns the pull request for landed work on a feature branch; `None` for any other run.
///
/// `issue_page` is where people read the issue, `base` the branch that the work is to be merged into.
#[must_use]
pub fn pull_request(record: &RunRecord, issue_page: Option<&str>, base: &str) -> Option<NewPullRequest> {
    let Outcome::Landed { commit, branch, target: Target::Feature, plan: None, .. } = &record.outcome else {
        return None;
    };
    let key = &record.issue;
    let mut title = format!("[{key}] {}", record.summary);
    if let Some((end, _)) = title.char_indices().nth(LONGEST_TITLE) {
        title.truncate(end);
        title.push('…');
    }
    let issue = issue_page.map_or_else(|| key.to_string(), |page| format!("[{key}]({page})"));
    let commit = commit.short();
    let table = receipt_table(&record.receipt, record, Some(commit));
    // Markdown hides it, and whoever tells of the run again finds by it whose the pull request is.
    let hidden = hidden_marker(&record.run);
    let body = format!("acf implemented {issue} in {commit}.\n\n{table}\n{hidden}");
    Some(NewPullRequest { branch: branch.clone(), base: base.to_owned(), title, body })
}

fn hidden_marker(run: &RunId) -> String {
    format!("<!-- {} -->", marker(run))
}

/// Tells whether that very run has opened the pull request, which then says all there is to be said.
#[must_use]
pub fn is_opened_by(pull_request: &PullRequest, run: &RunId) -> bool {
    pull_request.body.contains(&hidden_marker(run))
}

/// Says in a pull request that is open already what its branch holds now.
#[must_use]
pub fn pull_request_updated(record: &RunRecord) -> String {
    let commit = match &record.outcome {
        Outcome::Landed { commit, .. } => Some(commit.short()),
        _ => None,
    };
    let table = receipt_table(&record.receipt, record, commit);
    format!(
        "acf implemented {} anew: this branch now holds {}.\n\n{table}",
        record.issue,
        commit.unwrap_or("its work")
    )
}

fn failed(record: &RunRecord, failure: &Failure, max_attempts: u32) -> String {
    let attempt = record.receipt.attempt;
    let consequence = if failure.kind == FailureKind::RepositoryFault {
        "That says nothing of this issue and does not count as an attempt; it will be tried again when the \
         repository has changed, or after a while"
            .to_owned()
    } else if !failure.kind.counts() {
        "That does not count as an attempt; what was done is kept, and it will be tried again".to_owned()
    } else if record.blocked {
        format!(
            "That was attempt {attempt} of {max_attempts}: remove the label acf-blocked to have it tried again"
        )
    } else {
        format!("That was attempt {attempt} of {max_attempts}; it will be tried again")
    };
    let mut body = format!("acf gave this back: {}. {consequence}.", failure.reason);
    if let Some(evidence) = &failure.evidence {
        let _ = write!(body, "\n\n{}", crate::prompt::fence(evidence));
    }
    format!("{body}\n\n{}", receipt_table(&record.receipt, record, None))
}

/// Renders a receipt as the Markdown table that a tracker shows.
fn receipt_table(receipt: &Receipt, record: &RunRecord, commit: Option<&str>) -> String {
    let mut table = format!("| | |\n|---|---|\n| agent | {} |\n", cell(&agent_line(receipt)));
    if let Some(gate) = gate_line(record) {
        let on = commit.filter(|_| !receipt.gate.is_empty());
        let on = on.map(|commit| format!(", on a clean checkout of {commit}")).unwrap_or_default();
        let _ = writeln!(table, "| gate | {}{on} |", cell(&gate));
    }
    let _ = writeln!(
        table,
        "| run | {} attempt, {}, worker {}{}{} |",
        ordinal(receipt.attempt),
        duration(Duration::from_millis(receipt.duration_ms)),
        cell(record.worker.as_str()),
        match receipt.fix_rounds {
            0 => String::new(),
            1 => " · 1 fix round".into(),
            n => format!(" · {n} fix rounds"),
        },
        if receipt.resumed { " · took up interrupted work" } else { "" },
    );
    table
}

/// Writes a text so that it stays in one cell of a table: a `|` ends a cell, within code as well.
///
/// Source: <https://github.github.com/gfm/#example-200>.
fn cell(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ").replace('|', r"\|")
}

/// Writes a text as code within a line, whatever backticks it holds.
fn code(text: &str) -> String {
    let longest_run = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let ticks = "`".repeat(longest_run + 1);
    // A backtick next to those around it would be one of them.
    let room = if longest_run > 0 { " " } else { "" };
    format!("{ticks}{room}{text}{room}{ticks}")
}

/// Says in one line which agent ran and what it used.
#[must_use]
pub fn agent_line(receipt: &Receipt) -> String {
    let usage = receipt.usage;
    let mut line = agents(receipt);
    match usage.turns {
        0 => {}
        1 => line.push_str(" · 1 turn"),
        turns => {
            let _ = write!(line, " · {turns} turns");
        }
    }
    if usage.has_tokens() {
        let _ = write!(line, " · {} in, {} out", tokens(usage.input_tokens), tokens(usage.output_tokens));
    }
    if let Some(cost) = cost(&usage) {
        let _ = write!(line, " · {cost}");
    }
    line
}

/// Names the agents of a run: `claude 2.1, sonnet`; where several took part, each with its own model:
/// `claude 2.1 (sonnet), then codex`.
fn agents(receipt: &Receipt) -> String {
    if receipt.parts.is_empty() {
        let model = receipt.model.as_ref().map(|model| format!(", {model}")).unwrap_or_default();
        return format!("{}{model}", receipt.agent);
    }
    let parts = receipt.parts.iter().map(|part| match &part.model {
        Some(model) => format!("{} ({model})", part.agent),
        None => part.agent.clone(),
    });
    parts.collect::<Vec<_>>().join(", then ")
}

/// What a receipt says of work that landed unchecked.
pub const NO_GATE: &str = "none: the repository has no checks in .acf/config.toml";

/// Says in one line what the gate's commands showed, or that work landed without any; nothing where none were due.
#[must_use]
pub fn gate_line(record: &RunRecord) -> Option<String> {
    let checks = record.receipt.gate.iter().map(|check| {
        let exit = check.exit_code.map_or("was ended".into(), |code| format!("exit {code}"));
        format!("{} {exit} ({})", code(&check.command), duration(Duration::from_millis(check.duration_ms)))
    });
    let line = checks.collect::<Vec<_>>().join(", ");
    let has_landed = matches!(record.outcome, Outcome::Landed { plan: None, .. });
    let is_unchecked = record.receipt.gate.is_empty() && has_landed;
    if is_unchecked { Some(NO_GATE.to_owned()) } else { (!line.is_empty()).then_some(line) }
}

/// Writes a number of tokens the short way: `612`, `41k`.
#[must_use]
pub fn tokens(count: u64) -> String {
    if count < 1000 { count.to_string() } else { format!("{}k", (count + 500) / 1000) }
}

/// Writes a duration as people read it: `0.3 s`, `12 s`, `6 min 04 s`, `1 h 02 min`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{secs} s"),
        60..3600 => format!("{} min {:02} s", secs / 60, secs % 60),
        _ => format!("{} h {:02} min", secs / 3600, secs % 3600 / 60),
    }
}

fn ordinal(n: u32) -> String {
    let suffix = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;

    use super::*;
    use crate::issue::{Issue, Stage};
    use crate::receipt::{CheckResult, Part, Usage};
    use crate::run::WorkerId;
    use crate::run::tests::{landed as landed_record, record};

    fn claim() -> Claim {
        let issue = Issue {
            key: "TODO-3".parse().unwrap(),
            summary: "Say hello".into(),
            description: String::new(),
            status: Status::PlanApproved,
            assignee: None,
            labels: BTreeSet::new(),
            url: None,
            blocked_by: Vec::new(),
            identity: None,
        };
        let (worker, run) = (WorkerId::new("w1"), RunId::new("r1"));
        Claim::new(&issue, Stage::Implementation, worker, run, Timestamp::UNIX_EPOCH, Duration::from_secs(60))
    }

    fn receipt() -> Receipt {
        Receipt {
            agent: "claude 2.1".into(),
            model: Some("sonnet".into()),
            usage: Usage {
                turns: 14,
                input_tokens: 41_200,
                output_tokens: 612,
                cost_usd: Some(0.31),
                ..Usage::default()
            },
            parts: Vec::new(),
            gate: vec![CheckResult { command: "make check".into(), exit_code: Some(0), duration_ms: 12_400 }],
            resumed: false,
            fix_rounds: 1,
            attempt: 2,
            agent_ms: 300_000,
            duration_ms: 364_000,
        }
    }

    fn told(record: RunRecord) -> String {
        told_with(record, &Leads::default())
    }

    fn told_with(record: RunRecord, leads: &Leads) -> String {
        let mut text = String::new();
        for change in report(&RunRecord { receipt: receipt(), ..record }, &claim(), 3, leads) {
            match change {
                Change::Comment { marker, body } => {
                    let _ = writeln!(text, "comment ({}):\n{body}", marker.unwrap());
                }
                other => {
                    let _ = writeln!(text, "{other:?}");
                }
            }
        }
        text
    }

    #[test]
    fn landed_work_is_told_with_its_receipt_and_done() {
        insta::assert_snapshot!(told(landed_record(5)), @r"
        Transition(Done)
        comment (acf:run:r1):
        acf implemented this in 4be19c2 on main.

        | | |
        |---|---|
        | agent | claude 2.1, sonnet · 14 turns · 41k in, 612 out · $0.31 |
        | gate | `make check` exit 0 (12 s), on a clean checkout of 4be19c2 |
        | run | 2nd attempt, 6 min 04 s, worker w1 · 1 fix round |
        ");
    }

    #[test]
    fn a_command_stays_in_its_cell_whatever_it_holds() {
        let commands = ["make test | tee log", r"grep 'a\|b' x", "echo `date`", "printf '``|'", "a &&\nb"];
        let check =
            |&command: &&str| CheckResult { command: command.into(), exit_code: Some(0), duration_ms: 100 };
        let receipt = Receipt { gate: commands.iter().map(check).collect(), ..receipt() };
        let record = RunRecord { receipt: receipt.clone(), ..landed_record(5) };
        let table = receipt_table(&receipt, &record, None);
        insta::assert_snapshot!(table, @r"
        | | |
        |---|---|
        | agent | claude 2.1, sonnet · 14 turns · 41k in, 612 out · $0.31 |
        | gate | `make test \| tee log` exit 0 (0.1 s), `grep 'a\\|b' x` exit 0 (0.1 s), `` echo `date` `` exit 0 (0.1 s), ``` printf '``\|' ``` exit 0 (0.1 s), `a && b` exit 0 (0.1 s) |
        | run | 2nd attempt, 6 min 04 s, worker w1 · 1 fix round |
        ");
    }

    fn landed_on(target: Target, diverted: Option<&str>, plan: Option<&str>) -> RunRecord {
        let outcome = Outcome::Landed {
            commit: crate::run::CommitId::new("4be19c2aa"),
            branch: if target == Target::Trunk { "main" } else { "feature/TODO-3" }.into(),
            target,
            diverted: diverted.map(Into::into),
            plan: plan.map(Into::into),
        };
        record(outcome, 5)
    }

    #[test]
    fn diverted_work_goes_to_review_and_says_why() {
        let told = told(landed_on(Target::Feature, Some("the trunk moved 5 times"), None));
        assert!(
            told.contains("in 4be19c2 on feature/TODO-3. It is not on the trunk: the trunk moved 5 times.\n")
        );
        assert!(told.starts_with("Transition(InReview)\n"));
    }

    #[test]
    fn work_on_a_feature_branch_says_where_it_waits() {
        let told = |review| {
            let leads = Leads { review: Some(review), ..Leads::default() };
            told_with(landed_on(Target::Feature, None, None), &leads).lines().nth(2).unwrap().to_owned()
        };
        let headline = "acf implemented this in 4be19c2 on feature/TODO-3.";
        let url = "https://h.example/acme/shop/pull/5".to_owned();
        assert_eq!(told(Review::PullRequest(url.clone())), format!("{headline} It waits for review: {url}"));
        assert_eq!(
            told(Review::Refused("the token may not".into())),
            format!(
                "{headline} No pull request could be opened: the token may not. Please open one from that branch."
            )
        );
        assert_eq!(
            told(Review::NoPullRequests),
            format!("{headline} acf opens no pull requests on this host: please open one from that branch.")
        );
    }

    #[test]
    fn a_pull_request_names_the_issue_and_shows_the_receipt() {
        let record = RunRecord { receipt: receipt(), ..landed_on(Target::Feature, None, None) };
        let new = pull_request(&record, Some("https://t.example/TODO-3"), "main").unwrap();
        insta::assert_snapshot!(format!("{} -> {}\n{}\n\n{}", new.branch, new.base, new.title, new.body), @r"
        feature/TODO-3 -> main
        [TODO-3] Rate-limit the export endpoint

        acf implemented [TODO-3](https://t.example/TODO-3) in 4be19c2.

        | | |
        |---|---|
        | agent | claude 2.1, sonnet · 14 turns · 41k in, 612 out · $0.31 |
        | gate | `make check` exit 0 (12 s), on a clean checkout of 4be19c2 |
        | run | 2nd attempt, 6 min 04 s, worker w1 · 1 fix round |

        <!-- acf:run:r1 -->
        ");
        let opened = PullRequest { number: 5, url: String::new(), body: new.body };
        assert!(is_opened_by(&opened, &record.run) && !is_opened_by(&opened, &RunId::new("r2")));
        assert!(
            pull_request_updated(&record)
                .starts_with("acf implemented TODO-3 anew: this branch now holds 4be19c2.\n")
        );
    }

    #[test]
    fn a_pull_request_is_for_implementations_on_feature_branches_only() {
        let plan = landed_on(Target::Feature, None, Some("plans/TODO-3.md"));
        for record in [plan, landed_on(Target::Trunk, None, None), record(Outcome::Interrupted, 5)] {
            assert_eq!(pull_request(&record, None, "main"), None);
        }
        let long = RunRecord { summary: "é".repeat(300), ..landed_on(Target::Feature, None, None) };
        let title = pull_request(&long, None, "main").unwrap().title;
        assert_eq!(title.chars().count(), LONGEST_TITLE + 1);
        assert!(title.ends_with("é…"));
    }

    #[test]
    fn a_withdrawn_run_says_why_once_and_gives_back_what_nobody_else_took() {
        let told = told(record(Outcome::Withdrawn { why: "the issue was moved to Done".into() }, 5));
        assert!(told.contains(
            "acf stopped working on this: the issue was moved to Done. Nothing was pushed; the work so far is kept.\n"
        ));
        assert!(told.starts_with("Unassign\nTransition(PlanApproved)\n"), "{told}");
    }

    #[test]
    fn what_withdraws_one_run_after_the_other_is_said_once() {
        let leads = Leads { is_said: true, ..Leads::default() };
        let withdrawn = record(Outcome::Withdrawn { why: "the issue was moved to To Do".into() }, 5);
        assert_eq!(told_with(withdrawn, &leads), "Unassign\nTransition(PlanApproved)\n");
    }

    #[test]
    fn an_issue_that_cannot_be_moved_on_says_so_and_is_kept_from_workers() {
        let why = "no transition leads there";
        let unmoved = |record: &RunRecord| {
            let changes = report_unmoved(record, &claim(), 3, &Leads::default(), why);
            let [Change::Comment { marker: Some(marker), body }, Change::AddLabel(label)] = &changes[..]
            else {
                panic!("{changes:?}")
            };
            assert_eq!((marker.as_str(), label.as_str()), ("acf:run:r1", "acf-blocked"));
            body.lines().next().unwrap().to_owned()
        };
        let by_hand = "no transition leads there; move it by hand. No worker takes it until the label acf-blocked is \
                       removed.";
        assert_eq!(
            unmoved(&landed_record(5)),
            format!(
                "acf implemented this in 4be19c2 on main. acf could not move this issue to Done: {by_hand}"
            )
        );
        let failure = Failure::new(FailureKind::NoChange, "the agent changed nothing");
        let failed = RunRecord { blocked: true, ..record(Outcome::Failed(failure), 5) };
        assert_eq!(
            unmoved(&failed),
            format!(
                "acf gave this back: the agent changed nothing. That was attempt 0 of 3: remove the label acf-blocked \
                 to have it tried again. acf could not move this issue to Plan Approved: {by_hand}"
            )
        );
        assert_eq!(
            unmoved(&record(Outcome::Interrupted, 5)),
            format!(
                "acf stopped working on this, and what was done is kept. acf could not move this issue to Plan \
                 Approved: {by_hand}"
            )
        );
    }

    #[test]
    fn a_plan_is_linked_where_its_host_has_a_page_for_it() {
        let page = "https://h.example/acme/shop/blob/main/plans/TODO-3.md".to_owned();
        let leads = Leads { plan_page: Some(page.clone()), ..Leads::default() };
        let told = told_with(landed_on(Target::Trunk, None, Some("plans/TODO-3.md")), &leads);
        assert!(told.contains(&format!("acf wrote a plan: [plans/TODO-3.md]({page}) in 4be19c2 on main. ")));
    }

    #[test]
    fn a_plan_asks_for_its_approval() {
        let told = told(landed_on(Target::Trunk, None, Some("plans/TODO-3.md")));
        assert!(told.contains(
            "acf wrote a plan: plans/TODO-3.md in 4be19c2 on main. To approve it, move the issue to Plan Approved \
             or add the label plan-approved."
        ));
        assert!(told.starts_with("Transition(AwaitingPlanReview)\nUnassign\n"));
    }

    #[test]
    fn a_failure_gives_the_issue_back_as_it_was_found() {
        let failure = Failure::new(FailureKind::GateFailed, "`make check` exit 2").with_evidence("boom");
        insta::assert_snapshot!(told(record(Outcome::Failed(failure), 5)), @r"
        Unassign
        Transition(PlanApproved)
        comment (acf:run:r1):
        acf gave this back: `make check` exit 2. That was attempt 2 of 3; it will be tried again.

        ````text
        boom
        ````

        | | |
        |---|---|
        | agent | claude 2.1, sonnet · 14 turns · 41k in, 612 out · $0.31 |
        | gate | `make check` exit 0 (12 s) |
        | run | 2nd attempt, 6 min 04 s, worker w1 · 1 fix round |
        ");
    }

    #[test]
    fn what_befell_the_agents_account_is_said_once_for_all_runs() {
        let failure = Failure::new(FailureKind::QuotaExhausted, "the agent's account has no quota left");
        let told = told(record(Outcome::Failed(failure), 5));
        assert!(told.starts_with(
            "Unassign\nTransition(PlanApproved)\ncomment (acf:quota_exhausted):\nacf gave this back: the agent's \
             account has no quota left. That does not count as an attempt; what was done is kept, and it will be \
             tried again.\n"
        ));
    }

    #[test]
    fn each_of_several_agents_is_named_with_its_own_model() {
        let part = |agent: &str, model: Option<&str>| Part {
            agent: agent.into(),
            model: model.map(Into::into),
            usage: Usage { turns: 7, cost_usd: Some(0.25), ..Usage::default() },
            agent_ms: 0,
        };
        let parts = [
            part("claude 2.1.331", Some("claude-sonnet-4-6")),
            part("codex", Some("gpt-5-codex")),
            part("command", None),
        ];
        let line = |parts| agent_line(&Receipt::default().by(parts));
        assert_eq!(
            line(&parts),
            "claude 2.1.331 (claude-sonnet-4-6), then codex (gpt-5-codex), then command · 21 turns · $0.75"
        );
        assert_eq!(line(&parts[..1]), "claude 2.1.331, claude-sonnet-4-6 · 7 turns · $0.25");
    }

    #[test]
    fn a_part_whose_cost_nobody_knows_makes_the_cost_of_the_whole_a_lower_bound() {
        let part = |agent: &str, usage| Part { agent: agent.into(), usage, ..Part::default() };
        let priced = Usage { input_tokens: 5, cost_usd: Some(0.25), ..Usage::default() };
        let unpriced = Usage { input_tokens: 5, ..Usage::default() };
        let silent = Usage { cost_is_incomplete: true, ..Usage::default() };
        let line = |parts: &[Part]| agent_line(&Receipt::default().by(parts));
        assert_eq!(
            line(&[part("claude", priced), part("codex", unpriced)]),
            "claude, then codex · 10 in, 0 out · at least $0.25"
        );
        assert_eq!(
            line(&[part("claude", priced), part("command", silent)]),
            "claude, then command · 5 in, 0 out · at least $0.25"
        );
        assert_eq!(line(&[part("command", silent)]), "command · cost not known");
    }

    #[test]
    fn an_estimated_cost_is_marked_as_one() {
        let usage = Usage { cost_usd: Some(0.314), cost_is_estimated: true, ..Usage::default() };
        let receipt = Receipt { agent: "codex".into(), usage, ..Receipt::default() };
        assert_eq!(agent_line(&receipt), "codex · $0.31 (estimated)");
    }

    #[test]
    fn the_last_failure_blocks_the_issue() {
        let failure = Failure::new(FailureKind::NoChange, "the agent changed nothing");
        let told = told(RunRecord { blocked: true, ..record(Outcome::Failed(failure), 5) });
        assert!(
            told.contains("That was attempt 2 of 3: remove the label acf-blocked to have it tried again.")
        );
        assert!(told.ends_with("AddLabel(\"acf-blocked\")\n"), "{told}");
    }

    #[test]
    fn an_interrupted_run_says_nothing() {
        assert_eq!(told(record(Outcome::Interrupted, 5)), "Unassign\nTransition(PlanApproved)\n");
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        let durations = [0, 340, 9_999, 10_000, 59_900, 60_000, 364_000, 3_600_000, 3_725_000];
        let written = durations.map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(
            written,
            [
                "0.0 s",
                "0.3 s",
                "10.0 s",
                "10 s",
                "59 s",
                "1 min 00 s",
                "6 min 04 s",
                "1 h 00 min",
                "1 h 02 min"
            ]
        );
        let ordinals = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(ordinal);
        assert_eq!(ordinals, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]);
        assert_eq!([0, 999, 1000, 1499, 1500].map(tokens), ["0", "999", "1k", "1k", "2k"]);
    }

    #[test]
    fn work_that_landed_unchecked_is_said_to_have_none() {
        let unchecked = RunRecord { receipt: Receipt::default(), ..landed_record(1) };
        let changes = report(&unchecked, &claim(), 3, &Leads::default());
        let says = format!("| gate | {NO_GATE} |\n");
        let is_said =
            |change: &Change| matches!(change, Change::Comment { body, .. } if body.contains(&says));
        assert!(changes.iter().any(is_said), "{changes:?}");
    }

    #[test]
    fn a_receipt_leaves_out_what_is_not_known() {
        let bare = Receipt { agent: "script".into(), ..Receipt::default() };
        assert_eq!(agent_line(&bare), "script");
        let with = |outcome: Outcome, receipt: &Receipt| RunRecord {
            receipt: receipt.clone(),
            ..record(outcome, 1)
        };
        assert_eq!(gate_line(&with(Outcome::Interrupted, &bare)), None);
        let landed = landed_record(1).outcome;
        assert_eq!(gate_line(&with(landed.clone(), &bare)).as_deref(), Some(NO_GATE));
        let ended = CheckResult { command: "make".into(), exit_code: None, duration_ms: 0 };
        let ended = Receipt { gate: vec![ended], ..bare };
        assert_eq!(gate_line(&with(landed, &ended)).unwrap(), "`make` was ended (0.0 s)");
    }

    #[test]
    fn tokens_are_told_even_where_they_went_one_way_only() {
        let used = |input_tokens, output_tokens| {
            let usage = Usage { input_tokens, output_tokens, ..Usage::default() };
            agent_line(&Receipt { agent: "script".into(), usage, ..Receipt::default() })
        };
        assert_eq!(used(0, 612), "script · 0 in, 612 out · cost not known");
        assert_eq!(used(612, 0), "script · 612 in, 0 out · cost not known");
    }
}
