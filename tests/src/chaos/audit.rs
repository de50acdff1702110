//! The audit: whether TODO file, branches, run records and claims tell one and the same story.

use std::collections::{BTreeMap, BTreeSet};

use acf_core::issue::{IssueRef, Stage};
use acf_core::run::{Outcome, RunRecord, Target};

use super::backlog::{Item, Kind};
use super::ground::{Ground, Landed};
use crate::sandbox::MAIN;

/// What acf writes at the end of a note.
const MARKER: (&str, &str) = ("<!-- acf:run:", " -->");

/// Returns everything that is wrong with what a fleet left, once it is done.
///
/// # Panics
/// Where the repository cannot be read.
#[must_use]
pub fn audit(ground: &Ground) -> Vec<String> {
    let text = ground.todo_text();
    let mut wrong = Vec::new();
    wrong.extend(ground.claims().into_iter().map(|claim| format!("{claim} is left")));
    if without_acf(ground, &text) != ground.backlog.to_text() {
        wrong.push(format!("the TODO file was changed where it is none of acf's business:\n{text}"));
    }
    let told = Told::read(&text);
    let trunk = ground.landed_on(MAIN);
    let chains = chains(ground, &mut wrong);
    for item in &ground.backlog.items {
        let records = chains.get(&item.key).map(Vec::as_slice).unwrap_or_default();
        let branch = format!("feature/{}", item.key);
        let landed: Vec<_> = trunk.iter().filter(|landed| landed.issue == item.key).collect();
        let case = Case { ground, item, records, landed, branch, told: &told };
        wrong.extend(case.problems().into_iter().map(|problem| format!("{}: {problem}", item.key)));
    }
    let known: BTreeSet<_> = ground.backlog.items.iter().map(|item| item.key.as_str()).collect();
    let strangers = trunk.iter().filter(|landed| !known.contains(landed.issue.as_str()));
    wrong.extend(strangers.map(|landed| format!("{landed:?} is for no issue")));
    let fsck =
        ground.sandbox.git_output(&ground.sandbox.remote(), &["fsck", "--no-dangling", "--no-progress"]);
    if !fsck.status.success() {
        wrong.push(format!("the repository is damaged: {}", String::from_utf8_lossy(&fsck.stderr)));
    }
    wrong
}

/// Takes out of a TODO file what acf may have put into it.
fn without_acf(ground: &Ground, text: &str) -> String {
    let mut original = String::new();
    for line in text.split_inclusive('\n') {
        let is_note = line.starts_with("  - Note: ") && line.contains(MARKER.0);
        let is_assignee = line.starts_with("  - Assignee: ");
        if is_note || is_assignee {
            continue;
        }
        let item = ground.backlog.items.iter().find(|item| line.contains(&item.headline));
        match item {
            Some(_) if line.starts_with("- [") => {
                let (_, rest) = line.split_once(']').unwrap_or_default();
                let rest = rest.replace(" [acf-blocked]", "").replace(" [in-review]", "");
                original.push_str("- [ ]");
                original.push_str(&rest);
            }
            _ => original.push_str(line),
        }
    }
    // The last line has no ending, whichever line that is.
    let ends_without_newline = !text.ends_with('\n');
    if ends_without_newline { original.trim_end_matches('\n').to_owned() } else { original }
}

/// What the TODO file tells of runs.
struct Told {
    /// For each key, its check-box line.
    lines: BTreeMap<String, String>,
    /// For each key, the runs that have a note below it.
    notes: BTreeMap<String, Vec<String>>,
    /// For each key, whether somebody has it.
    assigned: BTreeSet<String>,
}

impl Told {
    fn read(text: &str) -> Self {
        let mut told = Self { lines: BTreeMap::new(), notes: BTreeMap::new(), assigned: BTreeSet::new() };
        let mut key = String::new();
        let mut is_code = false;
        for line in text.lines() {
            is_code ^= line.starts_with("```");
            if line.starts_with("- [") && !is_code {
                key = format!("TODO-{}", told.lines.len() + 1);
                told.lines.insert(key.clone(), line.to_owned());
            }
            let marker = line.split_once(MARKER.0).and_then(|(_, rest)| rest.split_once(MARKER.1));
            if let Some((run, _)) = marker {
                told.notes.entry(key.clone()).or_default().push(run.to_owned());
            }
            if line.starts_with("  - Assignee: ") {
                told.assigned.insert(key.clone());
            }
        }
        told
    }
}

/// Reads the chains of run records, and finds those that are none.
fn chains(ground: &Ground, wrong: &mut Vec<String>) -> BTreeMap<String, Vec<RunRecord>> {
    let mut chains = BTreeMap::new();
    for name in ground.sandbox.refs("refs/acf/runs/") {
        let text = ground.sandbox.git(&["log", "--reverse", "--format=%T%x1f%P%x1f%B%x1e", &name]);
        let mut records: Vec<RunRecord> = Vec::new();
        for commit in text.split('\u{1e}').map(str::trim).filter(|commit| !commit.is_empty()) {
            let fields: Vec<_> = commit.splitn(3, '\u{1f}').collect();
            let [tree, parents, message] = fields[..] else {
                wrong.push(format!("{name}: {commit:?} cannot be read"));
                continue;
            };
            if parents.split_whitespace().count() != usize::from(!records.is_empty()) {
                wrong.push(format!("{name}: a record has the parents {parents:?}"));
            }
            if !tree.starts_with("4b825dc6") {
                wrong.push(format!("{name}: a record has files"));
            }
            match serde_json::from_str(message) {
                Ok(record) => records.push(record),
                Err(error) => wrong.push(format!("{name}: {error} in {message:?}")),
            }
        }
        let Some(first) = records.first().map(issue_ref) else { continue };
        if !records.iter().all(|record| issue_ref(record) == first) {
            wrong.push(format!("{name}: it holds the records of several issues"));
        }
        if name.trim_start_matches("refs/acf/runs/") != first.record_name() {
            wrong.push(format!("{name}: it holds the records of {}", first.record_name()));
        }
        chains.insert(first.key.as_str().to_owned(), records);
    }
    chains
}

fn issue_ref(record: &RunRecord) -> IssueRef {
    IssueRef { key: record.issue.clone(), identity: record.identity.clone() }
}

/// One issue, with all that is known of it.
struct Case<'a> {
    ground: &'a Ground,
    item: &'a Item,
    records: &'a [RunRecord],
    landed: Vec<&'a Landed>,
    branch: String,
    told: &'a Told,
}

impl Case<'_> {
    fn problems(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        wrong.extend(self.end());
        wrong.extend(self.records_and_notes());
        wrong.extend(self.records_and_commits());
        wrong.extend(self.order_of_records());
        wrong
    }

    fn line(&self) -> &str {
        self.told.lines.get(&self.item.key).map_or("", String::as_str)
    }

    fn is_blocked(&self) -> bool {
        self.line().ends_with(" [acf-blocked]")
    }

    fn landings(&self, stage: Stage) -> Vec<&RunRecord> {
        let is_landing =
            |record: &&RunRecord| record.stage == stage && matches!(record.outcome, Outcome::Landed { .. });
        self.records.iter().filter(is_landing).collect()
    }

    /// Work that was meant for the trunk is done there, or it says why it waits on a branch.
    fn mark_of_landed(&self) -> char {
        let diverted =
            |record: &&RunRecord| matches!(&record.outcome, Outcome::Landed { diverted: Some(_), .. });
        if self.records.last().as_ref().is_some_and(diverted) { '>' } else { 'x' }
    }

    /// Every issue has come to an end that befits it, or is blocked and says why.
    fn end(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let (mark, planned, implemented) = match self.item.kind {
            _ if self.is_blocked() => {
                let last = self.records.last();
                if !last.is_some_and(|record| record.blocked) {
                    wrong.push(format!("it is blocked after {last:?}"));
                }
                (if self.landings(Stage::Planning).is_empty() { ' ' } else { 'p' }, None, 0)
            }
            Kind::Plain | Kind::SecondTry => (self.mark_of_landed(), Some(0), 1),
            Kind::Planned => (self.mark_of_landed(), Some(1), 1),
            Kind::Awaiting => ('?', Some(1), 0),
            Kind::Branch => ('>', Some(0), 1),
            Kind::Doomed => ('!', Some(0), 0),
        };
        if !self.line().starts_with(&format!("- [{mark}]")) {
            wrong.push(format!("it ended as {:?}", self.line()));
        }
        let is_taken = self.told.assigned.contains(&self.item.key);
        if is_taken && matches!(mark, ' ' | 'p' | '?') {
            wrong.push("it is given back, and yet somebody has it".to_owned());
        }
        let counts = (self.landings(Stage::Planning).len(), self.landings(Stage::Implementation).len());
        if planned.is_some_and(|planned| planned != counts.0) || implemented != counts.1 {
            wrong.push(format!("it landed {counts:?} times (planned, implemented)"));
        }
        let wip =
            self.records.first().map(|record| format!("refs/acf/wip/{}", issue_ref(record).record_name()));
        if mark == 'x' && wip.is_some_and(|wip| self.ground.sandbox.refs(&wip).contains(&wip)) {
            wrong.push("it is done, and yet unfinished work of it is kept".to_owned());
        }
        wrong
    }

    /// Every run that ended is told once, and nothing else is.
    fn records_and_notes(&self) -> Vec<String> {
        let notes = self.told.notes.get(&self.item.key).map(Vec::as_slice).unwrap_or_default();
        let recorded = self.records.iter().filter(|record| record.outcome != Outcome::Interrupted);
        let mut recorded: Vec<_> = recorded.map(|record| record.run.as_str()).collect();
        let mut noted: Vec<_> = notes.iter().map(String::as_str).collect();
        recorded.sort_unstable();
        noted.sort_unstable();
        if recorded == noted {
            Vec::new()
        } else {
            vec![format!("there are records of the runs {recorded:?} and notes of {noted:?}")]
        }
    }

    /// Every commit is that of one record, and every record that says so has its commit.
    fn records_and_commits(&self) -> Vec<String> {
        let (mut on_trunk, mut on_branch) = (Vec::new(), Vec::new());
        for record in self.records {
            if let Outcome::Landed { commit, target, .. } = &record.outcome {
                let pair = (commit.as_str(), record.run.as_str());
                match target {
                    Target::Trunk => on_trunk.push(pair),
                    Target::Feature => on_branch.push(pair),
                }
            }
        }
        let is_branch = !self.ground.sandbox.refs(&format!("refs/heads/{}", self.branch)).is_empty();
        let branch = if is_branch { self.ground.landed_on(&self.branch) } else { Vec::new() };
        let mut wrong = Vec::new();
        for (place, recorded, landed) in [
            ("the trunk", &mut on_trunk, self.landed.clone()),
            ("its branch", &mut on_branch, branch.iter().collect()),
        ] {
            let mut landed: Vec<_> =
                landed.iter().map(|landed| (landed.commit.as_str(), landed.run.as_str())).collect();
            landed.sort_unstable();
            recorded.sort_unstable();
            if *recorded != landed {
                wrong.push(format!("{place} holds {landed:?}, and the records tell of {recorded:?}"));
            }
        }
        let is_there = self.ground.sandbox.file_at(MAIN, &self.item.path).is_some();
        let is_wanted = on_trunk.len() > self.landings(Stage::Planning).len();
        if is_there != is_wanted {
            wrong.push(format!("{} is on the trunk: {is_there}; its work: {is_wanted}", self.item.path));
        }
        wrong
    }

    /// The records follow one another as runs do: no two at once, attempts counted up.
    fn order_of_records(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut runs = BTreeSet::new();
        let mut failed =
            BTreeMap::from([(Stage::Planning.to_string(), 0), (Stage::Implementation.to_string(), 0)]);
        for record in self.records {
            let failed = failed.entry(record.stage.to_string()).or_default();
            if record.issue.as_str() != self.item.key || !runs.insert(record.run.as_str()) {
                wrong.push(format!("a record does not belong here: {record:?}"));
            }
            // Work that landed counts as of the poll, which others may have been quicker than.
            let is_failed = matches!(record.outcome, Outcome::Failed(_));
            let attempt = record.receipt.attempt;
            let is_counted = if is_failed { attempt == *failed + 1 } else { attempt <= *failed + 1 };
            if !is_counted || record.ended_at < record.started_at {
                wrong.push(format!("after {failed} failures there is {record:?}"));
            }
            *failed += u32::from(is_failed);
        }
        for pair in self.records.windows(2) {
            if pair[1].started_at < pair[0].started_at {
                wrong.push(format!("{:?} is recorded after {:?}", pair[1], pair[0]));
            }
        }
        wrong
    }
}
