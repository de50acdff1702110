//! Which statuses a project's workflows have, and what stands for those that they lack.
//!
//! A status that an issue's workflow lacks is a label on an issue that lies in another status, its *home*:
//! In Review lies in In Progress, the others in To Do. A label counts at home only, so that one which was
//! left over, or that a person put there, means nothing elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use acf_core::issue::{Status, label};

use super::status_names::{StatusNames, label_of, same};

/// The statuses of a project, for each type of issue.
#[derive(Clone, Debug)]
pub(super) struct Workflow {
    names: StatusNames,
    /// The names of the statuses as Jira writes them, by the id of the issue type.
    by_type: BTreeMap<String, BTreeSet<String>>,
}

/// Where an issue lies, as Jira tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The id of its type.
    pub(super) issue_type: &'a str,
    /// The name of its status.
    pub(super) status: &'a str,
    /// Whether that status is of the category of what is done.
    pub(super) is_done: bool,
    pub(super) labels: &'a BTreeSet<String>,
}

/// How an issue gets to a status.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Move {
    /// The label that has to be there, before the transition.
    pub(super) add: Option<&'static str>,
    /// The labels that have to go before the transition.
    pub(super) remove_first: Vec<&'static str>,
    /// The name of the status that it has to go to.
    pub(super) transition: Option<String>,
    /// The labels that have to go after the transition.
    pub(super) remove_last: Vec<&'static str>,
}

impl Workflow {
    /// Makes a workflow of the statuses' names for each id of an issue type.
    pub(super) fn new(names: StatusNames, by_type: impl IntoIterator<Item = (String, Vec<String>)>) -> Self {
        let by_type = by_type.into_iter().map(|(id, names)| (id, names.into_iter().collect())).collect();
        Self { names, by_type }
    }

    /// Tells whether some type of issue has the status.
    pub(super) fn has(&self, status: &Status) -> bool {
        self.by_type.values().any(|names| self.is_among(names, status))
    }

    /// Returns the names of all statuses, as Jira writes them.
    pub(super) fn all(&self) -> BTreeSet<&str> {
        self.by_type.values().flatten().map(String::as_str).collect()
    }

    /// Returns the known statuses that no type of issue has.
    pub(super) fn missing(&self) -> Vec<Status> {
        Status::KNOWN.into_iter().filter(|status| !self.has(status)).collect()
    }

    /// Returns the status that an issue is in.
    pub(super) fn status(&self, place: &Place<'_>) -> Status {
        let Some(status) = self.names.status(place.status) else {
            return if place.is_done { Status::Done } else { Status::Other(place.status.to_owned()) };
        };
        // What comes last in the workflow is what happened last; but a plan is not approved while it is
        // being written.
        let by_label = [
            Status::InReview,
            Status::InProgress,
            Status::Planning,
            Status::PlanApproved,
            Status::AwaitingPlanReview,
        ];
        let counts = |wanted: &Status| {
            let is_home = status == self.home(wanted, place.issue_type) || status == Status::ToDo;
            let is_on = label_of(wanted).is_some_and(|label| place.labels.contains(label));
            is_home && is_on && self.lacks(wanted, place.issue_type)
        };
        by_label.into_iter().find(counts).unwrap_or(status)
    }

    /// Returns what it takes to bring an issue to a status.
    pub(super) fn moves(&self, place: &Place<'_>, to: &Status) -> Move {
        let label = label_of(to).filter(|_| self.lacks(to, place.issue_type));
        let home = if label.is_some() { self.home(to, place.issue_type) } else { to.clone() };
        let name = self.names.name(&home);
        // Another status of those that are done is as good as the one called Done.
        let is_there = same(place.status, name)
            || *to == Status::Done && place.is_done && self.names.status(place.status).is_none();
        // An approval is a person's word; it stays for the record once the issue is past it.
        let is_kept = |label: &str| label == label::PLAN_APPROVED && home != Status::ToDo;
        let remove = Status::KNOWN.iter().filter(|status| self.lacks(status, place.issue_type));
        let remove = remove.filter_map(label_of).filter(|other| Some(*other) != label && !is_kept(other));
        let remove = remove.filter(|label| place.labels.contains(*label)).collect();
        // Until the transition, the issue shows where it was; after it, where it is to go. In To Do every
        // label counts, elsewhere those of where it comes from may.
        let counts_there = is_there || home == Status::ToDo;
        let (remove_first, remove_last) =
            if counts_there { (remove, Vec::new()) } else { (Vec::new(), remove) };
        Move {
            add: label.filter(|label| !place.labels.contains(*label)),
            remove_first,
            transition: (!is_there).then(|| name.to_owned()),
            remove_last,
        }
    }

    fn lacks(&self, status: &Status, issue_type: &str) -> bool {
        match self.by_type.get(issue_type) {
            Some(names) => !self.is_among(names, status),
            None => !self.has(status),
        }
    }

    fn is_among(&self, names: &BTreeSet<String>, status: &Status) -> bool {
        names.iter().any(|name| same(name, self.names.name(status)))
    }

    /// Returns where an issue lies whose status is but a label.
    fn home(&self, status: &Status, issue_type: &str) -> Status {
        match status {
            Status::InReview if !self.lacks(&Status::InProgress, issue_type) => Status::InProgress,
            _ => Status::ToDo,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workflow(statuses: &[&str]) -> Workflow {
        let statuses = statuses.iter().map(|&name| name.to_owned()).collect();
        Workflow::new(StatusNames::default(), [("1".to_owned(), statuses)])
    }

    fn labels(labels: &[&str]) -> BTreeSet<String> {
        labels.iter().map(|&label| label.to_owned()).collect()
    }

    fn place<'a>(status: &'a str, labels: &'a BTreeSet<String>) -> Place<'a> {
        Place { issue_type: "1", status, is_done: status == "Done" || status == "Closed", labels }
    }

    const SHORT: [&str; 3] = ["To Do", "In Progress", "Done"];

    #[test]
    fn labels_stand_for_missing_statuses_at_home_only() {
        let short = workflow(&SHORT);
        for (status, on, wanted) in [
            ("To Do", &[][..], Status::ToDo),
            ("to do", &["in-planning"], Status::Planning),
            ("To Do", &["awaiting-plan-review"], Status::AwaitingPlanReview),
            ("To Do", &["awaiting-plan-review", "plan-approved"], Status::PlanApproved),
            ("To Do", &["in-progress"], Status::ToDo),
            ("In Progress", &["plan-approved", "in-planning"], Status::InProgress),
            ("In Progress", &["in-review"], Status::InReview),
            ("Done", &["in-review"], Status::Done),
            ("Closed", &["in-review"], Status::Done),
            ("Backlog", &["in-review"], Status::Other("Backlog".into())),
        ] {
            assert_eq!(short.status(&place(status, &labels(on))), wanted, "{status} {on:?}");
        }
        let full = workflow(&Status::KNOWN.each_ref().map(Status::name));
        assert_eq!(full.status(&place("To Do", &labels(&["in-review", "in-planning"]))), Status::ToDo);
        assert_eq!(full.missing(), []);
    }

    #[test]
    fn another_type_of_issue_may_have_another_workflow() {
        let mut both = workflow(&SHORT);
        both.by_type.insert("2".into(), ["to do".into(), "in review".into()].into());
        let on = labels(&["in-review"]);
        assert_eq!(both.status(&place("To Do", &on)), Status::InReview);
        assert_eq!(both.status(&Place { issue_type: "2", ..place("To Do", &on) }), Status::ToDo);
        assert!(both.has(&Status::InReview));
    }

    #[test]
    fn every_move_ends_where_it_is_to_end_and_shows_nothing_else_on_the_way() {
        let workflows =
            [workflow(&SHORT), workflow(&["To Do", "Done"]), workflow(&["To Do", "Planning", "Done"])];
        let all_labels =
            labels(&["in-planning", "awaiting-plan-review", "plan-approved", "in-progress", "in-review"]);
        for workflow in &workflows {
            for from in ["To Do", "In Progress", "Planning", "Done"]
                .into_iter()
                .filter(|name| workflow.all().contains(name))
            {
                for on in [
                    labels(&[]),
                    labels(&["in-planning", "bug"]),
                    labels(&["plan-approved"]),
                    all_labels.clone(),
                ] {
                    for to in Status::KNOWN {
                        let start = place(from, &on);
                        let Move { add, remove_first, transition, remove_last } = workflow.moves(&start, &to);
                        let mut now = on.clone();
                        now.extend(add.map(str::to_owned));
                        now.retain(|label| !remove_first.contains(&label.as_str()));
                        let status = transition.as_deref().unwrap_or(from);
                        let between =
                            [workflow.status(&place(from, &now)), workflow.status(&place(status, &now))];
                        now.retain(|label| !remove_last.contains(&label.as_str()));
                        assert_eq!(workflow.status(&place(status, &now)), to, "{from} {on:?}");
                        if on.len() < 2 {
                            let shown = [workflow.status(&start), to.clone()];
                            assert!(
                                between.iter().all(|status| shown.contains(status)),
                                "{from} {on:?} {to}: {between:?}"
                            );
                        }
                        assert_eq!(now.contains("bug"), on.contains("bug"));
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_there_already_takes_no_call() {
        let none = labels(&[]);
        let nothing = Move { add: None, remove_first: Vec::new(), transition: None, remove_last: Vec::new() };
        assert_eq!(workflow(&SHORT).moves(&place("TO DO", &none), &Status::ToDo), nothing);
        assert_eq!(workflow(&SHORT).moves(&place("Closed", &none), &Status::Done), nothing);
        let approved = labels(&["plan-approved"]);
        let taken = workflow(&SHORT).moves(&place("To Do", &approved), &Status::InProgress);
        assert_eq!(taken, Move { transition: Some("In Progress".into()), ..nothing });
    }
}
