//! Conditions in Jira's query language; in which order the issues come is told with the search.

use acf_core::issue::{Stage, Status};

use super::status_names::{StatusNames, label_of};
use super::workflow::Workflow;

/// Returns the condition for what a stage might take. It names only statuses that the project has: Jira
/// refuses a query with any other.
pub(super) fn candidates(project: &str, stage: Stage, names: &StatusNames, workflow: &Workflow) -> String {
    let starts: &[Status] = match stage {
        Stage::Planning => &[Status::ToDo],
        // The plan of an issue that awaits review may be approved by label.
        Stage::Implementation => &[Status::ToDo, Status::PlanApproved, Status::AwaitingPlanReview],
    };
    let statuses = starts.iter().filter(|status| workflow.has(status)).map(|status| names.name(status));
    let statuses = list(statuses);
    let elsewhere: Vec<_> = [Status::Planning, Status::InProgress, Status::InReview]
        .iter()
        .filter(|status| !workflow.has(status))
        .filter_map(label_of)
        .collect();
    let labels = match elsewhere.as_slice() {
        [] => String::new(),
        labels => format!(" AND (labels IS EMPTY OR labels NOT IN ({}))", list(labels.iter().copied())),
    };
    let project = quoted(project);
    format!("project = {project} AND assignee IS EMPTY AND status IN ({statuses}){labels}")
}

/// Returns the condition for all that is not done.
pub(super) fn all_open(project: &str) -> String {
    format!("project = {} AND statusCategory != Done", quoted(project))
}

fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.map(quoted).collect::<Vec<_>>().join(", ")
}

/// Writes a text as a JQL string. Quotes and backslashes are escaped:
/// <https://confluence.atlassian.com/jirasoftwarecloud/advanced-searching-764478330.html>; control
/// characters, which no name holds, become blanks.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(stage: Stage, statuses: &[&str]) -> String {
        let names = StatusNames { to_do: r#"To "Do"\"#.into(), ..StatusNames::default() };
        let statuses = statuses.iter().map(|&name| name.to_owned()).collect();
        let workflow = Workflow::new(names.clone(), [("1".to_owned(), statuses)]);
        candidates("A\"CF\n", stage, &names, &workflow)
    }

    #[test]
    fn only_statuses_that_exist_are_asked_for_and_labels_stand_for_the_others() {
        let full = [
            r#"To "Do"\"#,
            "Planning",
            "Plan Approved",
            "Awaiting Plan Review",
            "In Progress",
            "In Review",
            "Done",
        ];
        insta::assert_snapshot!(query(Stage::Implementation, &full), @r#"project = "A\"CF " AND assignee IS EMPTY AND status IN ("To \"Do\"\\", "Plan Approved", "Awaiting Plan Review")"#);
        insta::assert_snapshot!(query(Stage::Planning, &full), @r#"project = "A\"CF " AND assignee IS EMPTY AND status IN ("To \"Do\"\\")"#);
        insta::assert_snapshot!(query(Stage::Implementation, &[r#"TO "Do"\"#, "In Progress"]), @r#"project = "A\"CF " AND assignee IS EMPTY AND status IN ("To \"Do\"\\") AND (labels IS EMPTY OR labels NOT IN ("in-planning", "in-review"))"#);
        assert_eq!(all_open("ACF"), r#"project = "ACF" AND statusCategory != Done"#);
    }
}
