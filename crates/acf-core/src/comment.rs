//! Every word that acf says in a tracker and on a git host, and what it does to an issue along with it.

use std::fmt::Write as _;

use crate::claim::Claim;
use crate::git_host::{NewPullRequest, PullRequest};
use crate::hand_back::give_back;
use crate::issue::{Status, label};
use crate::receipt_text;
use crate::run::{Failure, Outcome, RunId, RunRecord, Target};
use crate::tracker::Change;

/// The longest title of a pull request, in characters; GitHub takes 256.
const LONGEST_TITLE: usize = 250;

/// Where work on a feature branch waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Review {
    /// In the pull request at that URL.
    PullRequest(String),
    /// On the branch alone: the host refused a pull request.
    Refused {
        /// Why it did.
        why: String,
        /// The page on which a person opens one, if the host has such a page.
        by_hand: Option<String>,
    },
    /// On the branch alone: acf opens no pull requests on that host, or has no token for it.
    NoPullRequests {
        /// The page on which a person opens one, if the host has such a page.
        by_hand: Option<String>,
    },
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
/// The issue is moved and labelled first: whether it can be is then known before anything is said. `max_attempts` is the
/// cap that the issue was tried under.
#[must_use]
pub fn report(record: &RunRecord, claim: &Claim, max_attempts: u32, leads: &Leads) -> Vec<Change> {
    let mut changes = moves(record, claim);
    if record.blocked {
        changes.push(Change::AddLabel(label::BLOCKED.into()));
    }
    changes.extend(words(record, max_attempts, leads, true));
    changes
}

/// What a tracker did not do to an issue at the end of its run, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// It does not put the issue where the run's end leads it. The label is to keep workers from it until a person
    /// has moved it.
    pub move_on: Option<String>,
    /// It does not take the label that keeps workers from the issue.
    pub label: Option<String>,
}

/// Returns the comment on a run's end that says what the tracker did not do along with it, if there is anything to
/// be said.
#[must_use]
pub fn report_in_part(
    record: &RunRecord,
    claim: &Claim,
    max_attempts: u32,
    leads: &Leads,
    undone: &Undone,
) -> Option<Change> {
    let is_labelled = undone.label.is_none();
    let said = words(record, max_attempts, leads, is_labelled);
    let told = undone.told(record, claim);
    if told.is_empty() {
        return said;
    }
    let body = match said {
        Some(Change::Comment { body, .. }) => {
            let (headline, rest) = body.split_once("\n\n").unwrap_or((&body, ""));
            // What ends with an address ends with no full stop: the next sentence begins a paragraph.
            let gap = if headline.ends_with('.') { " " } else { "\n\n" };
            format!("{headline}{gap}{told}\n\n{rest}")
        }
        _ => format!("acf stopped working on this, and what was done is kept. {told}"),
    };
    // This befell this very issue, whatever else befalls every run alike.
    Some(Change::Comment { marker: Some(marker(&record.run)), body })
}

impl Undone {
    fn told(&self, record: &RunRecord, claim: &Claim) -> String {
        let blocked = label::BLOCKED;
        let mut sentences = Vec::new();
        if let Some(why) = &self.move_on {
            let to = moves(record, claim).into_iter().find_map(|change| match change {
                Change::Transition(to) => Some(format!(" to {to}")),
                _ => None,
            });
            let to = to.unwrap_or_default();
            let why = without_stop(why);
            sentences.push(format!("acf could not move this issue{to}: {why}; move it by hand."));
            sentences.push(match self.label {
                None => format!("No worker takes it until the label {blocked} is removed."),
                Some(_) => format!("No worker takes it as long as it is {}.", claim.stage.working_status()),
            });
        }
        if let Some(why) = &self.label {
            let why = without_stop(why);
            sentences.push(format!("acf could not put the label {blocked} on this issue: {why}."));
        }
        sentences.join(" ")
    }
}

/// Returns the changes that put an issue where its run's end leads it.
#[must_use]
pub fn moves(record: &RunRecord, claim: &Claim) -> Vec<Change> {
    match record.outcome.leads_to() {
        Some(Status::AwaitingPlanReview) => {
            vec![Change::Transition(Status::AwaitingPlanReview), Change::Unassign]
        }
        Some(to) => vec![Change::Transition(to)],
        None => give_back(claim).into(),
    }
}

/// Returns the comment on a run's end, if there is anything to be said. An issue whose attempts are used up has
/// the label that says so, unless the tracker does not take it.
fn words(record: &RunRecord, max_attempts: u32, leads: &Leads, is_labelled: bool) -> Option<Change> {
    let mut of_whom = marker(&record.run);
    let body = match &record.outcome {
        Outcome::Landed { .. } => landed(record, leads),
        Outcome::Failed(failure) => {
            if !failure.kind.counts() {
                // It befalls every run alike: said once, however often it is met.
                of_whom = format!("acf:{}", failure.kind.name());
            }
            failed(record, failure, max_attempts, is_labelled)
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
    format!("{headline}{why}{review}\n\n{}", receipt_text::table(record, Some(commit)))
}

/// Says where work waits for a person.
fn waiting(review: &Review) -> String {
    match review {
        Review::PullRequest(url) => format!(" It waits for review: {url}"),
        Review::Refused { why, by_hand } => {
            format!(
                " No pull request could be opened: {}. Please open one from that branch{}",
                without_stop(why),
                at(by_hand)
            )
        }
        Review::NoPullRequests { by_hand: None } => {
            " acf opens no pull requests on this host: please open one from that branch.".to_owned()
        }
        Review::NoPullRequests { by_hand } => {
            format!(
                " acf opens no pull requests here, as GH_TOKEN or GITHUB_API_URL is not set for this host. \
                 Please open one from that branch{}",
                at(by_hand)
            )
        }
    }
}

/// Returns a service's words as they go into a sentence of acf's.
fn without_stop(why: &str) -> &str {
    why.trim_end_matches('.')
}

/// Says at the end of a sentence where to go.
fn at(page: &Option<String>) -> String {
    page.as_ref().map_or_else(|| ".".to_owned(), |page| format!(": {page}"))
}

fn withdrawn(record: &RunRecord, why: &str) -> String {
    let table = receipt_text::table(record, None);
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
    let table = receipt_text::table(record, Some(commit));
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
    let table = receipt_text::table(record, commit);
    format!(
        "acf implemented {} anew: this branch now holds {}.\n\n{table}",
        record.issue,
        commit.unwrap_or("its work")
    )
}

fn failed(record: &RunRecord, failure: &Failure, max_attempts: u32, is_labelled: bool) -> String {
    let attempt = record.receipt.attempt;
    let consequence = if failure.kind.is_fault_of_repository() {
        "That says nothing of this issue and does not count as an attempt; it will be tried again when the \
         repository has changed, or after a while"
            .to_owned()
    } else if !failure.kind.counts() {
        "That does not count as an attempt; anything done so far is kept, and it will be tried again"
            .to_owned()
    } else if record.blocked && !is_labelled {
        format!("That was attempt {attempt} of {max_attempts}: no worker takes it for a day")
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
    format!("{body}\n\n{}", receipt_text::table(record, None))
}

#[cfg(test)]
mod tests {

    use std::time::Duration;

    use jiff::Timestamp;

    use crate::run::FailureKind;

    use super::*;
    use crate::issue::{Issue, Stage};
    use crate::receipt::Receipt;
    use crate::receipt_text::NO_GATE;
    use crate::receipt_text::tests::receipt;
    use crate::run::WorkerId;
    use crate::run::tests::{landed as landed_record, record};

    fn claim() -> Claim {
        let issue =
            Issue { status: Status::PlanApproved, ..Issue::new("TODO-3".parse().unwrap(), "Say hello") };
        let (worker, run) = (WorkerId::new("w1"), RunId::new("r1"));
        Claim::new(&issue, Stage::Implementation, worker, run, Timestamp::UNIX_EPOCH, Duration::from_secs(60))
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
            told(Review::Refused { why: "the token may not.".into(), by_hand: None }),
            format!(
                "{headline} No pull request could be opened: the token may not. Please open one from that branch."
            )
        );
        assert_eq!(
            told(Review::NoPullRequests { by_hand: None }),
            format!("{headline} acf opens no pull requests on this host: please open one from that branch.")
        );
        let page = "https://h.example/acme/shop/compare/main...feature/TODO-3?expand=1".to_owned();
        let ends_with_page = format!(" Please open one from that branch: {page}");
        let refused = Review::Refused { why: "the token may not".into(), by_hand: Some(page.clone()) };
        let without_token = Review::NoPullRequests { by_hand: Some(page) };
        for told in [told(refused), told(without_token)] {
            assert!(told.ends_with(&ends_with_page), "{told}");
        }
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

    fn told_in_part(record: &RunRecord, undone: &Undone) -> String {
        let said = report_in_part(record, &claim(), 3, &Leads::default(), undone);
        let Some(Change::Comment { marker: Some(marker), body }) = said else { panic!("{said:?}") };
        assert_eq!(marker, "acf:run:r1");
        body.lines().next().unwrap().to_owned()
    }

    #[test]
    fn no_label_is_promised_that_the_tracker_did_not_take() {
        let undone = Undone { move_on: None, label: Some("it has no field for labels".to_owned()) };
        let failure = Failure::new(FailureKind::NoChange, "the agent changed nothing");
        let failed = RunRecord { blocked: true, ..record(Outcome::Failed(failure), 5) };
        assert_eq!(
            told_in_part(&failed, &undone),
            "acf gave this back: the agent changed nothing. That was attempt 0 of 3: no worker takes it for a day. acf \
             could not put the label acf-blocked on this issue: it has no field for labels."
        );
        let undone = Undone { move_on: Some("no way there".to_owned()), ..undone };
        assert_eq!(
            told_in_part(&landed_record(5), &undone),
            "acf implemented this in 4be19c2 on main. acf could not move this issue to Done: no way there; move it by \
             hand. No worker takes it as long as it is In Progress. acf could not put the label acf-blocked on this issue: \
             it has no field for labels."
        );
    }

    #[test]
    fn where_all_but_the_comment_is_done_the_comment_is_the_usual_one() {
        let record = landed_record(5);
        let usual = report(&record, &claim(), 3, &Leads::default()).pop();
        assert_eq!(report_in_part(&record, &claim(), 3, &Leads::default(), &Undone::default()), usual);
        let interrupted = self::record(Outcome::Interrupted, 5);
        let said = report_in_part(&interrupted, &claim(), 3, &Leads::default(), &Undone::default());
        assert_eq!(said, None);
    }

    #[test]
    fn an_issue_that_cannot_be_moved_on_says_so_and_is_kept_from_workers() {
        let why = "no transition leads there";
        let undone = Undone { move_on: Some(why.to_owned()), label: None };
        let unmoved = |record: &RunRecord| told_in_part(record, &undone);
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
             account has no quota left. That does not count as an attempt; anything done so far is kept, and it will be \
             tried again.\n"
        ));
    }

    #[test]
    fn the_last_failure_blocks_the_issue() {
        let failure = Failure::new(FailureKind::NoChange, "the agent changed nothing");
        let told = told(RunRecord { blocked: true, ..record(Outcome::Failed(failure), 5) });
        assert!(
            told.contains("That was attempt 2 of 3: remove the label acf-blocked to have it tried again.")
        );
        assert!(told.contains("AddLabel(\"acf-blocked\")\ncomment (acf:run:r1):\n"), "{told}");
    }

    #[test]
    fn an_interrupted_run_says_nothing() {
        assert_eq!(told(record(Outcome::Interrupted, 5)), "Unassign\nTransition(PlanApproved)\n");
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
}
