//! What a site calls the statuses that acf knows, and the labels that stand for those it lacks.

use acf_core::issue::{Status, label};

/// The names of a site's statuses. Case does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusNames {
    /// Waiting to be taken.
    pub to_do: String,
    /// A planning run works on it.
    pub planning: String,
    /// The plan waits for a person's approval.
    pub awaiting_plan_review: String,
    /// The plan was approved.
    pub plan_approved: String,
    /// An implementation run works on it.
    pub in_progress: String,
    /// The work waits for a person's review.
    pub in_review: String,
    /// Finished.
    pub done: String,
}

impl Default for StatusNames {
    fn default() -> Self {
        let name = |status: Status| status.name().to_owned();
        Self {
            to_do: name(Status::ToDo),
            planning: name(Status::Planning),
            awaiting_plan_review: name(Status::AwaitingPlanReview),
            plan_approved: name(Status::PlanApproved),
            in_progress: name(Status::InProgress),
            in_review: name(Status::InReview),
            done: name(Status::Done),
        }
    }
}

impl FromIterator<(Status, String)> for StatusNames {
    /// Takes the names of the statuses that are given, and acf's own for the others.
    fn from_iter<T: IntoIterator<Item = (Status, String)>>(given: T) -> Self {
        let mut names = Self::default();
        for (status, name) in given {
            let place = match status {
                Status::ToDo => &mut names.to_do,
                Status::Planning => &mut names.planning,
                Status::AwaitingPlanReview => &mut names.awaiting_plan_review,
                Status::PlanApproved => &mut names.plan_approved,
                Status::InProgress => &mut names.in_progress,
                Status::InReview => &mut names.in_review,
                Status::Done => &mut names.done,
                // It is called what it is called.
                Status::Other(_) => continue,
            };
            *place = name;
        }
        names
    }
}

impl StatusNames {
    /// Returns what the site calls a status.
    pub(super) fn name<'a>(&'a self, status: &'a Status) -> &'a str {
        match status {
            Status::ToDo => &self.to_do,
            Status::Planning => &self.planning,
            Status::AwaitingPlanReview => &self.awaiting_plan_review,
            Status::PlanApproved => &self.plan_approved,
            Status::InProgress => &self.in_progress,
            Status::InReview => &self.in_review,
            Status::Done => &self.done,
            Status::Other(name) => name,
        }
    }

    /// Returns the status that the site calls so.
    pub(super) fn status(&self, name: &str) -> Option<Status> {
        Status::KNOWN.into_iter().find(|status| same(self.name(status), name))
    }

    /// Returns a name that two statuses share, or that is empty: reading could not tell them apart.
    pub(super) fn ambiguous(&self) -> Option<&str> {
        let names = [
            &self.to_do,
            &self.planning,
            &self.awaiting_plan_review,
            &self.plan_approved,
            &self.in_progress,
            &self.in_review,
            &self.done,
        ];
        let shared = |at: usize, name: &str| names[..at].iter().any(|other| same(other, name));
        let mut numbered = names.iter().enumerate();
        numbered.find(|(at, name)| name.trim().is_empty() || shared(*at, name)).map(|(_, name)| name.as_str())
    }
}

/// Returns the variable that says what the site calls a status.
pub(super) fn variable(status: &Status) -> String {
    format!("JIRA_STATUS_{}", status.name().to_uppercase().replace(' ', "_"))
}

/// Returns the label that stands for a status where the workflow has none of its name; `None` for those
/// that nothing can stand for.
pub(super) fn label_of(status: &Status) -> Option<&'static str> {
    match status {
        Status::Planning => Some("in-planning"),
        Status::AwaitingPlanReview => Some("awaiting-plan-review"),
        Status::PlanApproved => Some(label::PLAN_APPROVED),
        Status::InProgress => Some("in-progress"),
        Status::InReview => Some(label::IN_REVIEW),
        Status::ToDo | Status::Done | Status::Other(_) => None,
    }
}

/// Tells whether two names mean the same status.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_site_whatever_the_case() {
        let names = StatusNames { to_do: "Zu erledigen".into(), ..StatusNames::default() };
        assert_eq!(names.status("ZU ERLEDIGEN "), Some(Status::ToDo));
        assert_eq!(names.status("To Do"), None);
        assert_eq!(names.status("done"), Some(Status::Done));
        assert_eq!(names.name(&Status::ToDo), "Zu erledigen");
        let all = Status::KNOWN.map(|status| (status.clone(), format!("our {status}")));
        let names: StatusNames = all.iter().cloned().collect();
        assert!(all.iter().all(|(status, name)| names.name(status) == name));
    }

    #[test]
    fn the_variable_of_a_status_is_called_like_it() {
        assert_eq!(variable(&Status::ToDo), "JIRA_STATUS_TO_DO");
        assert_eq!(variable(&Status::AwaitingPlanReview), "JIRA_STATUS_AWAITING_PLAN_REVIEW");
    }

    #[test]
    fn names_that_two_statuses_share_are_found() {
        assert_eq!(StatusNames::default().ambiguous(), None);
        let shared = StatusNames { planning: "in progress".into(), ..StatusNames::default() };
        assert_eq!(shared.ambiguous(), Some("In Progress"));
        let empty = StatusNames { done: " ".into(), ..StatusNames::default() };
        assert_eq!(empty.ambiguous(), Some(" "));
    }
}
