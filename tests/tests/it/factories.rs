//! Whole factories: three workers and a planner of one account drain thirty issues of every kind, and
//! every issue ends where it should.

mod cost;
mod desk;
mod github;
mod interruptions;
mod jira;
mod jira_workflows;
mod serving;
mod starts;
mod todo;
mod unreachable;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use acf_tests::factory::{Factory, Running};
use acf_tests::sandbox::{PolicyFile, Sandbox};
use rustix::process::Signal;

use self::desk::{Desk, Standing};

/// How long a factory may take for all of its issues.
const PATIENCE: Duration = Duration::from_secs(240);
/// At most so many calls of its tracker are to be made for a finished issue, re-reads apart.
const AIM: usize = 8;
/// The label that every issue has to carry to be taken.
const REQUIRED: &str = "acf";

/// Where an issue is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Implemented on the trunk.
    Done,
    /// Implemented on its own branch.
    InReview,
    /// Planned, approved, then implemented on the trunk.
    PlannedAndDone,
    /// Planned, approved, then implemented on its own branch.
    PlannedAndInReview,
    /// Given back for good after its attempts.
    Blocked,
    /// As it was.
    Untouched,
}

/// One issue of a backlog.
struct Item {
    labels: &'static [&'static str],
    description: &'static str,
    /// The account that has it from the start.
    assignee: Option<&'static str>,
    end: End,
}

const fn item(end: End, labels: &'static [&'static str]) -> Item {
    Item { labels, description: "", assignee: None, end }
}

/// Thirty issues of every kind.
fn backlog() -> Vec<Item> {
    let mut items = Vec::new();
    items.extend((0..11).map(|_| item(End::Done, &[REQUIRED])));
    items.push(item(End::Done, &[REQUIRED, "skip-plan", "needs-plan"]));
    items.extend((0..6).map(|_| item(End::InReview, &[REQUIRED, "needs-branch"])));
    items.push(item(End::Done, &[REQUIRED, "needs-branch", "skip-branch"]));
    items.extend((0..4).map(|_| item(End::PlannedAndDone, &[REQUIRED, "needs-plan"])));
    items.push(item(End::PlannedAndInReview, &[REQUIRED, "needs-plan", "needs-branch"]));
    let none = Item { description: "@none", ..item(End::Blocked, &[REQUIRED]) };
    let fails = Item { description: "@fail 3", ..item(End::Blocked, &[REQUIRED]) };
    let fixes = "@write bad.txt no\n\n@fix delete bad.txt\n\n@fix write mended.txt yes";
    items.extend([none, fails, Item { description: fixes, ..item(End::Done, &[REQUIRED]) }]);
    items.push(item(End::Untouched, &[]));
    items.push(Item { assignee: Some("ada"), ..item(End::Untouched, &[REQUIRED]) });
    items.push(item(End::Untouched, &[REQUIRED, "acf-blocked"]));
    assert_eq!(items.len(), 30);
    items
}

fn sandbox() -> acf_tests::sandbox::SandboxBuilder {
    Sandbox::builder().policy(&PolicyFile::new().verify("test ! -e bad.txt"))
}

/// Gives a sandbox the settings of a factory that finds out soon what others did.
fn factory(sandbox: Sandbox, desk: &dyn Desk) -> Factory {
    let settings = [
        ("REQUIRED_LABELS", REQUIRED),
        ("MAX_ATTEMPTS", "2"),
        ("NO_ISSUES_WAIT", "200ms"),
        ("ISSUE_RECHECK", "2s"),
        ("ACF_CLAIM_TTL", "20s"),
    ];
    let factory =
        settings.into_iter().fold(Factory::of(sandbox), |factory, (name, value)| factory.with(name, value));
    desk.settings().into_iter().fold(factory, |factory, (name, value)| factory.with(&name, value))
}

/// Lets three workers and a planner work until every issue is where it is to end, approving plans as a
/// person does; then checks everything that they left. Returns what the workers logged.
fn drain(desk: &dyn Desk, factory: &Factory, ends: &BTreeMap<String, End>) -> String {
    let mut crew: Vec<Running> = ["w-1", "w-2", "w-3"].map(|id| factory.start(id, &[])).into();
    crew.push(factory.start("p-1", &["--stage", "planning"]));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let standings = desk.standings();
        for (key, standing) in &standings {
            if standing.status == "Awaiting Plan Review" {
                desk.approve(key);
            }
        }
        let unfinished: Vec<_> =
            ends.iter().filter(|(key, end)| !has_ended(&standings[*key], **end)).collect();
        if unfinished.is_empty() && factory.claims().is_empty() {
            break;
        }
        if Instant::now() > deadline {
            let logs: String = crew.iter().map(Running::log).collect();
            panic!("not done in time: {unfinished:#?}\n{standings:#?}\n{logs}");
        }
        pause();
    }
    let mut logs = String::new();
    for worker in crew {
        worker.signal(Signal::TERM);
        let told = worker.ended();
        assert_eq!(told.code, Some(0), "{}", told.stderr);
        logs += &told.stderr;
    }
    assert_eq!(factory.left_running(), [""; 0]);
    let wrong = wrongs(desk, factory, ends);
    assert!(wrong.is_empty(), "{wrong:#?}\n{logs}");
    logs
}

#[expect(clippy::disallowed_methods, reason = "what other processes do can only be looked at again")]
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

fn has_ended(standing: &Standing, end: End) -> bool {
    let is_blocked = standing.labels.contains("acf-blocked");
    match end {
        End::Done | End::PlannedAndDone => standing.status == "Done",
        End::InReview | End::PlannedAndInReview => standing.status == "In Review",
        End::Blocked => is_blocked && standing.status == "To Do" && standing.assignee.is_none(),
        End::Untouched => standing.status == "To Do",
    }
}

/// Says what is not as it should be.
fn wrongs(desk: &dyn Desk, factory: &Factory, ends: &BTreeMap<String, End>) -> Vec<String> {
    let mut wrong = Vec::new();
    let sandbox = factory.sandbox();
    let (standings, subjects) = (desk.standings(), sandbox.log());
    for (key, end) in ends {
        let standing = &standings[key];
        let count = |text: &str| standing.comments.iter().filter(|comment| comment.contains(text)).count();
        let told = (count("acf wrote a plan"), count("acf implemented this"), count("acf gave this back"));
        let runs = factory.runs(key);
        let failed = runs.iter().filter(|run| run["outcome"] == "failed").count();
        let (planned, implemented) = match end {
            End::Done | End::InReview => (0, 1),
            End::PlannedAndDone | End::PlannedAndInReview => (1, 1),
            End::Blocked | End::Untouched => (0, 0),
        };
        // A worker that could not reach the tracker leaves its issue to the next one, as a failed attempt.
        let expected = (planned, implemented, failed);
        if told != expected || standing.comments.len() != planned + implemented + failed {
            wrong.push(format!("{key}: told {told:?} instead of {expected:?}: {:#?}", standing.comments));
        }
        if *end == End::Blocked && failed != 2 {
            wrong.push(format!("{key}: blocked after {failed} attempts"));
        }
        let slug = key.trim_start_matches('#');
        let on_trunk = subjects.iter().filter(|subject| subject.starts_with(&format!("[{key}] "))).count();
        let on_branch = sandbox.refs("refs/heads/feature").contains(&format!("refs/heads/feature/{slug}"));
        let is_reviewed = matches!(end, End::InReview | End::PlannedAndInReview);
        let trunk_expected = planned + usize::from(implemented == 1 && !is_reviewed);
        if (on_trunk, on_branch) != (trunk_expected, is_reviewed) {
            wrong.push(format!("{key}: {on_trunk} commits on the trunk, branch: {on_branch}"));
        }
        let pulls = desk.pull_requests(&format!("feature/{slug}"));
        if let Some(pulls) = pulls
            && pulls != usize::from(is_reviewed)
        {
            wrong.push(format!("{key}: {pulls} pull requests"));
        }
    }
    wrong
}

/// Prints what the tracker was asked, in all and for each finished issue, and checks that it is within the aim.
///
/// Apart from it are polls, which many issues share, calls that a fault struck, and reads of an issue and its
/// comments, which nobody can tell from re-reads here. Three of these are counted in for each run: before the
/// issue is taken, before its end is told, and whether it was told already.
fn print_calls(name: &str, calls: &BTreeMap<String, usize>, ends: &BTreeMap<String, End>) {
    let sum: usize = calls.values().sum();
    let finished = ends.values().filter(|end| **end != End::Untouched).count();
    let is_own = |call: &str| {
        let [method, path, status] = call.split(' ').collect::<Vec<_>>()[..] else { return false };
        let is_poll = matches!(path, "/issues" | "/search/jql");
        let is_read = method == "GET" && path.contains("/KEY");
        // A service's own word that something was made is 201 or 204; of a change on GitHub, 200.
        let is_struck = !matches!(status, "200" | "201" | "204" | "304" | "404")
            || method == "POST" && status == "200"
            || method == "PUT" && status == "200";
        !is_poll && !is_read && !is_struck
    };
    let own: usize = calls.iter().filter(|(call, _)| is_own(call)).map(|(_, count)| count).sum();
    // A blocked issue takes both its attempts, a planned one a run for its plan.
    let runs_of = |end: &End| match end {
        End::Untouched => 0,
        End::Done | End::InReview => 1,
        End::PlannedAndDone | End::PlannedAndInReview | End::Blocked => 2,
    };
    let runs: usize = ends.values().map(runs_of).sum();
    let each = 3 + own.div_ceil(runs);
    let mut text = format!(
        "{name}: {sum} calls for {finished} finished issues in {runs} runs, {each} for each run, polls, \
         re-reads and faults apart\n"
    );
    for (call, count) in calls {
        let _ = writeln!(text, "{count:>6}  {call}");
    }
    #[expect(clippy::print_stdout, reason = "the numbers are for whoever runs this with --no-capture")]
    {
        println!("{text}");
    }
    assert!(each <= AIM, "{text}");
}
