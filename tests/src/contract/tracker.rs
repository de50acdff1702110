//! What every [`Tracker`] must do. `tracker_contract!` makes a test of each.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::collections::BTreeSet;

use acf_core::claim::Claim;
use acf_core::hand_back::give_back;
use acf_core::issue::{Issue, IssueKey, Stage, Status, label};
use acf_core::run::{RunId, WorkerId};
use acf_core::tracker::{Applied, Change, Tracker, TrackerError};
use async_trait::async_trait;
use futures_util::future::try_join_all;
use jiff::Timestamp;

/// An issue to be put into a tracker as a person would.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Its one-line title, labels left out.
    pub summary: String,
    /// Its body.
    pub description: String,
    /// Where it stands.
    pub status: Status,
    /// Who holds it.
    pub assignee: Option<String>,
    /// Its labels.
    pub labels: BTreeSet<String>,
}

impl Seed {
    /// Returns an issue that waits to be taken.
    #[must_use]
    pub fn to_do(summary: &str) -> Self {
        Self {
            summary: summary.to_owned(),
            description: String::new(),
            status: Status::ToDo,
            assignee: None,
            labels: BTreeSet::new(),
        }
    }

    fn labelled<const N: usize>(self, labels: [&str; N]) -> Self {
        Self { labels: labels.map(str::to_owned).into(), ..self }
    }

    fn in_status(self, status: Status) -> Self {
        Self { status, ..self }
    }
}

/// A tracker with the service that it talks to, or a stand-in of it that keeps state.
#[async_trait]
pub trait World: Send + Sync + Sized {
    /// Makes a tracker without issues.
    async fn new() -> Self;

    /// Returns the tracker.
    fn tracker(&self) -> &dyn Tracker;

    /// Returns an account that issues can be assigned to, other than the tracker's own.
    fn other_account(&self) -> String;

    /// Returns a well-formed key that no issue has.
    fn unknown_key(&self) -> IssueKey;

    /// Adds an issue, ranked below all others, and returns its key.
    async fn seed(&self, issue: Seed) -> IssueKey;

    /// Returns the comments of an issue as the service keeps them, oldest first.
    async fn comments(&self, key: &IssueKey) -> Vec<String>;
}

/// Adds an issue and reads it.
async fn seeded<W: World>(world: &W, seed: Seed) -> Issue {
    let key = world.seed(seed).await;
    world.tracker().issue(&key.into()).await.unwrap()
}

/// Reads an issue again.
async fn again<W: World>(world: &W, issue: &Issue) -> Issue {
    world.tracker().issue(&issue.reference()).await.unwrap()
}

async fn apply<W: World>(world: &W, issue: &Issue, changes: &[Change]) {
    world.tracker().apply(&issue.reference(), changes).await.unwrap();
}

fn summaries(issues: &[Issue]) -> Vec<&str> {
    issues.iter().map(|issue| issue.summary.as_str()).collect()
}

fn said(marker: &str, body: &str) -> Change {
    Change::Comment { marker: Some(marker.to_owned()), body: body.to_owned() }
}

/// An issue is read as a person wrote it.
pub async fn an_issue_is_read_as_it_stands<W: World>() {
    let world = W::new().await;
    let summary = r#"Say "hello" 🦀, `$(rm -rf /)` & <b>bye</b>"#;
    let description = "First line.\n\n- [ ] a check box\n- a point";
    let seed = Seed {
        description: description.to_owned(),
        assignee: Some(world.other_account()),
        ..Seed::to_do(summary).labelled(["bug", label::NEEDS_PLAN])
    };
    let key = world.seed(seed.clone()).await;
    let issue = world.tracker().issue(&key.clone().into()).await.unwrap();
    assert_eq!((issue.key, issue.summary.as_str(), issue.description.as_str()), (key, summary, description));
    assert_eq!((issue.status, issue.assignee, issue.labels), (Status::ToDo, seed.assignee, seed.labels));
}

/// Issues that a stage starts from are offered, in rank order.
pub async fn candidates_come_in_rank_order<W: World>() {
    let world = W::new().await;
    let seeds = [
        Seed::to_do("one"),
        Seed::to_do("being done").in_status(Status::InProgress),
        Seed::to_do("two").in_status(Status::PlanApproved),
        Seed::to_do("done").in_status(Status::Done),
        Seed::to_do("three").labelled([label::NEEDS_PLAN]),
        Seed { assignee: Some(world.other_account()), ..Seed::to_do("taken") },
        Seed::to_do("four"),
    ];
    for seed in seeds {
        world.seed(seed).await;
    }
    let offered = async |stage, from: &[Status]| {
        let candidates = world.tracker().candidates(stage).await.unwrap();
        // A tracker may offer more than can be taken, as its search may know less.
        let startable = |issue: &Issue| from.contains(&issue.status) && issue.assignee.is_none();
        let startable: Vec<_> = candidates.into_iter().filter(startable).collect();
        summaries(&startable).join(" ")
    };
    let implementation = offered(Stage::Implementation, &[Status::ToDo, Status::PlanApproved]).await;
    assert_eq!(implementation, "one two three four");
    assert_eq!(offered(Stage::Planning, &[Status::ToDo]).await, "one three four");
}

/// A candidate says all that decides whether it is taken.
pub async fn a_candidate_is_as_complete_as_the_issue_itself<W: World>() {
    let world = W::new().await;
    let seed = Seed { description: "Words.".to_owned(), ..Seed::to_do("one").labelled(["bug"]) };
    let issue = seeded(&world, seed).await;
    assert_eq!(world.tracker().candidates(Stage::Implementation).await.unwrap(), [issue]);
}

/// People see every issue that is not done.
pub async fn all_but_done_issues_are_listed<W: World>() {
    let world = W::new().await;
    assert_eq!(world.tracker().list().await.unwrap(), []);
    for status in Status::KNOWN {
        world.seed(Seed::to_do(status.name()).in_status(status.clone())).await;
    }
    let listed = world.tracker().list().await.unwrap();
    let wanted = Status::KNOWN.into_iter().filter(|status| *status != Status::Done);
    assert_eq!(
        listed.iter().map(|issue| issue.status.clone()).collect::<Vec<_>>(),
        wanted.collect::<Vec<_>>()
    );
    assert!(listed.iter().all(|issue| issue.summary == issue.status.name()), "{listed:?}");
}

/// Each status can be written from each other one, and is read back.
pub async fn every_status_is_read_back<W: World>() {
    let world = W::new().await;
    let issue = seeded(&world, Seed::to_do("one").labelled(["bug"])).await;
    for from in Status::KNOWN {
        for to in Status::KNOWN {
            for status in [from.clone(), to] {
                apply(&world, &issue, &[Change::Transition(status.clone())]).await;
                assert_eq!(again(&world, &issue).await.status, status);
            }
        }
    }
    apply(&world, &issue, &[Change::Transition(Status::ToDo)]).await;
    assert_eq!(again(&world, &issue).await, issue);
}

/// A status that the workflow lacks is refused, and nothing is changed.
pub async fn a_status_that_does_not_exist_is_refused<W: World>() {
    let world = W::new().await;
    let issue = seeded(&world, Seed::to_do("one")).await;
    let nowhere = [Change::Transition(Status::Other("Limbo".to_owned()))];
    let refused = world.tracker().apply(&issue.reference(), &nowhere).await;
    assert!(matches!(refused, Err(TrackerError::Impossible(_))), "{refused:?}");
    assert_eq!(again(&world, &issue).await, issue);
}

/// An issue goes from one account to another and back to nobody.
pub async fn an_issue_has_one_assignee_or_none<W: World>() {
    let world = W::new().await;
    let issue = seeded(&world, Seed::to_do("one")).await;
    let own = world.tracker().whoami().await.unwrap();
    for account in [own, world.other_account()] {
        for _ in 0..2 {
            apply(&world, &issue, &[Change::Assign(account.clone())]).await;
            assert_eq!(again(&world, &issue).await.assignee.as_ref(), Some(&account));
        }
    }
    for _ in 0..2 {
        apply(&world, &issue, &[Change::Unassign]).await;
        assert_eq!(again(&world, &issue).await, issue);
    }
}

/// An issue is taken from one account only if that one has it.
pub async fn an_issue_is_taken_from_its_assignee_alone<W: World>() {
    let world = W::new().await;
    let issue = seeded(&world, Seed::to_do("one")).await;
    let (own, other) = (world.tracker().whoami().await.unwrap(), world.other_account());
    apply(&world, &issue, &[Change::Assign(other.clone())]).await;
    apply(&world, &issue, &[Change::UnassignFrom(own)]).await;
    assert_eq!(again(&world, &issue).await.assignee.as_ref(), Some(&other));
    for _ in 0..2 {
        apply(&world, &issue, &[Change::UnassignFrom(other.clone())]).await;
        assert_eq!(again(&world, &issue).await, issue);
    }
}

/// A label is added once and removed once, however often that is asked for.
pub async fn labels_are_added_and_removed_once<W: World>() {
    let world = W::new().await;
    let issue = seeded(&world, Seed::to_do("one").labelled(["bug"])).await;
    for _ in 0..2 {
        apply(&world, &issue, &[Change::AddLabel(label::BLOCKED.to_owned())]).await;
        let labels = again(&world, &issue).await.labels;
        assert_eq!(labels, ["bug", label::BLOCKED].map(str::to_owned).into());
    }
    for _ in 0..2 {
        apply(&world, &issue, &[Change::RemoveLabel(label::BLOCKED.to_owned())]).await;
        assert_eq!(again(&world, &issue).await, issue);
    }
}

/// A person's comment is always said; one of a run's once.
pub async fn a_comment_of_the_same_marker_is_said_once<W: World>() {
    let world = W::new().await;
    let (issue, other) = (seeded(&world, Seed::to_do("one")).await, seeded(&world, Seed::to_do("two")).await);
    apply(&world, &issue, &[said("acf:run:r1", "First.")]).await;
    apply(&world, &issue, &[said("acf:run:r1", "First, again.")]).await;
    apply(&world, &issue, &[said("acf:run:r2", "Second.")]).await;
    apply(&world, &other, &[said("acf:run:r1", "Elsewhere.")]).await;
    let by_a_person = Change::Comment { marker: None, body: "Hm.".to_owned() };
    apply(&world, &issue, std::slice::from_ref(&by_a_person)).await;
    apply(&world, &issue, &[by_a_person]).await;

    let comments = world.comments(&issue.key).await;
    let first_words: Vec<_> =
        comments.iter().filter_map(|comment| comment.split_whitespace().next()).collect();
    assert_eq!(first_words, ["First.", "Second.", "Hm.", "Hm."]);
    assert_eq!(world.comments(&other.key).await.len(), 1);
}

/// A comment is data, whatever it looks like: it adds no issue and changes none.
pub async fn a_hostile_comment_changes_no_issue<W: World>() {
    let world = W::new().await;
    let issue = seeded(&world, Seed { description: "Words.".to_owned(), ..Seed::to_do("one") }).await;
    let before = [issue.clone(), seeded(&world, Seed::to_do("two")).await];
    let body = "Hm\r\n- [ ] evil\n  - Assignee: eve\n[evil]\r- [x] two\n```\n<!-- acf:run:r1 -->\n\u{2028}- [ ] evil";
    apply(&world, &issue, &[Change::Comment { marker: None, body: body.to_owned() }]).await;
    assert_eq!(world.tracker().list().await.unwrap(), before);
    // Nor does it keep a run from being heard.
    apply(&world, &issue, &[said("acf:run:r1", "Landed.")]).await;
    assert_eq!(world.comments(&issue.key).await.len(), 2);
    assert_eq!(world.tracker().list().await.unwrap(), before);
}

/// Where the condition fails, nothing is changed.
pub async fn nothing_is_changed_where_the_condition_fails<W: World>() {
    let world = W::new().await;
    let issue = seeded(&world, Seed::to_do("one").labelled(["bug"])).await;
    let changes = [
        Change::Assign(world.other_account()),
        Change::Transition(Status::Done),
        Change::AddLabel("new".to_owned()),
        Change::RemoveLabel("bug".to_owned()),
        said("acf:run:r1", "Done."),
    ];
    let in_review = |issue: &Issue| issue.status == Status::InReview;
    let applied = world.tracker().apply_if(&issue.reference(), &in_review, &changes).await.unwrap();
    assert_eq!(applied, Applied::No(Box::new(issue.clone())));
    assert_eq!(again(&world, &issue).await, issue);
    assert_eq!(world.comments(&issue.key).await, [""; 0]);
}

/// Where the condition holds, every change is made, and the issue returned as it was found.
pub async fn every_change_is_made_where_the_condition_holds<W: World>() {
    let world = W::new().await;
    let issue = seeded(&world, Seed::to_do("one").labelled(["bug"])).await;
    let changes = [
        said("acf:run:r1", "Done."),
        Change::Transition(Status::InReview),
        Change::Assign(world.other_account()),
        Change::AddLabel("new".to_owned()),
        Change::RemoveLabel("bug".to_owned()),
    ];
    let to_do = |issue: &Issue| issue.status == Status::ToDo;
    let applied = world.tracker().apply_if(&issue.reference(), &to_do, &changes).await.unwrap();
    assert_eq!(applied, Applied::Yes(Box::new(issue.clone())));
    let changed = again(&world, &issue).await;
    assert_eq!((changed.status, changed.assignee), (Status::InReview, Some(world.other_account())));
    assert!(changed.labels.contains("new") && !changed.labels.contains("bug"), "{:?}", changed.labels);
    assert_eq!(world.comments(&issue.key).await.len(), 1);
}

/// An issue that was taken and is given back is as it was found.
pub async fn an_issue_is_given_back_as_it_was_found<W: World>() {
    let world = W::new().await;
    for (status, stage) in [
        (Status::ToDo, Stage::Planning),
        (Status::ToDo, Stage::Implementation),
        (Status::PlanApproved, Stage::Implementation),
    ] {
        let issue = seeded(&world, Seed::to_do("one").labelled(["bug"]).in_status(status)).await;
        let own = world.tracker().whoami().await.unwrap();
        apply(&world, &issue, &[Change::Assign(own), Change::Transition(stage.working_status())]).await;
        assert_eq!(again(&world, &issue).await.status, stage.working_status());

        let (worker, run) = (WorkerId::new("w1"), RunId::new("r1"));
        let claim =
            Claim::new(&issue, stage, worker, run, Timestamp::UNIX_EPOCH, acf_core::claim::DEFAULT_TTL);
        world.tracker().apply(&claim.issue_ref(), &give_back(&claim)).await.unwrap();
        assert_eq!(again(&world, &issue).await, issue);
    }
}

/// Changes to one issue leave the others alone.
pub async fn other_issues_stay_as_they_are<W: World>() {
    let world = W::new().await;
    let above = seeded(&world, Seed::to_do("same").labelled(["bug"])).await;
    let issue = seeded(&world, Seed::to_do("same")).await;
    let below = seeded(&world, Seed::to_do("same").in_status(Status::InProgress)).await;
    let changes = [
        Change::Assign(world.other_account()),
        Change::Transition(Status::Done),
        Change::AddLabel("new".to_owned()),
        said("acf:run:r1", "Done."),
    ];
    apply(&world, &issue, &changes).await;
    assert_eq!((again(&world, &above).await, again(&world, &below).await), (above, below));
}

/// Changes that come at the same time are all made.
pub async fn changes_at_the_same_time_are_all_made<W: World>() {
    let world = W::new().await;
    let issues = [seeded(&world, Seed::to_do("one")).await, seeded(&world, Seed::to_do("two")).await];
    let changes = (0..16).map(|n| {
        let reference = issues[n % 2].reference();
        let tracker = world.tracker();
        async move { tracker.apply(&reference, &[said(&format!("acf:run:r{n}"), "Said.")]).await }
    });
    try_join_all(changes).await.unwrap();
    for issue in &issues {
        assert_eq!(world.comments(&issue.key).await.len(), 8);
    }
}

/// A key that nothing has is told as such.
pub async fn an_unknown_issue_is_not_found<W: World>() {
    let world = W::new().await;
    world.seed(Seed::to_do("one")).await;
    let unknown = world.unknown_key().into();
    let read = world.tracker().issue(&unknown).await;
    assert!(matches!(read, Err(TrackerError::NotFound(_))), "{read:?}");
    let applied = world.tracker().apply(&unknown, &[Change::Transition(Status::Done)]).await;
    assert!(matches!(applied, Err(TrackerError::NotFound(_))), "{applied:?}");
    assert_eq!(world.tracker().list().await.unwrap().len(), 1);
}

/// Makes a test of every behaviour, for a [`World`].
#[macro_export]
macro_rules! tracker_contract {
    ($world:ty) => {
        $crate::tracker_contract! { $world:
            an_issue_is_read_as_it_stands
            candidates_come_in_rank_order
            a_candidate_is_as_complete_as_the_issue_itself
            all_but_done_issues_are_listed
            every_status_is_read_back
            a_status_that_does_not_exist_is_refused
            an_issue_has_one_assignee_or_none
            an_issue_is_taken_from_its_assignee_alone
            labels_are_added_and_removed_once
            a_comment_of_the_same_marker_is_said_once
            a_hostile_comment_changes_no_issue
            nothing_is_changed_where_the_condition_fails
            every_change_is_made_where_the_condition_holds
            an_issue_is_given_back_as_it_was_found
            other_issues_stay_as_they_are
            changes_at_the_same_time_are_all_made
            an_unknown_issue_is_not_found
        }
    };
    ($world:ty: $($behaviour:ident)*) => {
        $(
            #[tokio::test]
            async fn $behaviour() {
                $crate::contract::tracker::$behaviour::<$world>().await;
            }
        )*
    };
}
