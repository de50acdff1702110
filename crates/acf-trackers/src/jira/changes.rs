//! Making changes: in the fewest calls, none of them twice.

use std::collections::BTreeSet;

use acf_core::issue::{IssueRef, label};
use acf_core::tracker::{Change, TrackerError};

use super::Jira;
use super::answers::{RawIssue, Transition};
use super::api::gone;
use super::status_names::same;
use super::trouble::Doing;
use super::workflow::{Move, Workflow};
use crate::http::HttpError;

/// How often a transition is begun whose end is not known, or that met another writer.
const TRIES: u32 = 3;

impl Jira {
    /// Makes all changes to an issue that was just read. Of several transitions the last one counts.
    ///
    /// Labels are changed in one call before the transition, as the status is what tells other workers that
    /// nothing more is to come; only the labels that stood for the former status go after it.
    pub(super) async fn make(
        &self,
        issue: &IssueRef,
        read: &RawIssue,
        workflow: &Workflow,
        changes: &[Change],
    ) -> Result<(), TrackerError> {
        let present = read.labels();
        let last = changes.iter().rposition(|change| matches!(change, Change::Transition(_)));
        let mut edit = LabelEdit::of(changes);
        let mut after = LabelEdit::default();
        let mut transition = None;
        if let Some((at, Change::Transition(to))) =
            last.and_then(|at| changes.get(at).map(|change| (at, change)))
        {
            let Move { add, remove_first, transition: name, remove_last } =
                workflow.moves(&read.place(&read.canonical_labels()), to);
            edit.add(add);
            edit.remove(remove_first);
            after.remove(remove_last);
            // What is impossible is told before anything is changed.
            let choice = name.map(|name| choose(issue, read, &name)).transpose()?;
            transition = choice.map(|choice| (at, choice));
        }
        // Whether the labels are taken has to be known before anything is said of them.
        let is_label = |change: &Change| matches!(change, Change::AddLabel(_) | Change::RemoveLabel(_));
        let labels_at = last.or_else(|| changes.iter().position(is_label)).unwrap_or(changes.len());
        for (at, change) in changes.iter().enumerate() {
            if at == labels_at {
                self.label(issue, &edit, &present).await?;
                if let Some((_, choice)) = &transition {
                    self.transition(issue, choice).await?;
                }
                self.label(issue, &after, &present).await?;
            }
            match change {
                Change::Comment { marker, body } => self.say(issue, marker.as_deref(), body).await?,
                Change::Assign(account) => self.assign(issue, read, Some(account)).await?,
                Change::Unassign => self.assign(issue, read, None).await?,
                Change::UnassignFrom(account) => {
                    let now = read.fields.assignee.as_ref();
                    if now.is_some_and(|now| now.account_id == *account) {
                        self.assign(issue, read, None).await?;
                    }
                }
                Change::Transition(_) | Change::AddLabel(_) | Change::RemoveLabel(_) => {}
            }
        }
        if labels_at == changes.len() {
            self.label(issue, &edit, &present).await?;
        }
        Ok(())
    }

    async fn label(
        &self,
        issue: &IssueRef,
        edit: &LabelEdit,
        present: &BTreeSet<String>,
    ) -> Result<(), TrackerError> {
        let add: Vec<_> =
            edit.on.iter().filter(|label| !present.contains(*label)).map(String::as_str).collect();
        let is_off = |name: &&String| edit.off.contains(label::canonical(name));
        let remove: Vec<_> = present.iter().filter(is_off).map(String::as_str).collect();
        if add.is_empty() && remove.is_empty() {
            return Ok(());
        }
        self.api.label(issue, &add, &remove).await
    }

    async fn assign(
        &self,
        issue: &IssueRef,
        read: &RawIssue,
        account: Option<&str>,
    ) -> Result<(), TrackerError> {
        let has_it = read.fields.assignee.as_ref().map(|account| account.account_id.as_str());
        if has_it == account { Ok(()) } else { self.api.assign(issue, account).await }
    }

    /// Says something; with a marker, once. Where nobody knows whether it was said, it is looked up, and if
    /// it is not there (yet), that is an error: whoever tries again looks first.
    async fn say(&self, issue: &IssueRef, marker: Option<&str>, body: &str) -> Result<(), TrackerError> {
        if let Some(marker) = marker
            && self.api.has_comment(issue, marker).await?
        {
            return Ok(());
        }
        match (self.api.comment(issue, marker, body).await, marker) {
            (Ok(()), _) => Ok(()),
            (Err(error), Some(marker)) if error.is_doubtful() => {
                if self.api.has_comment(issue, marker).await? {
                    return Ok(());
                }
                Err(error.into())
            }
            (Err(error), _) => Err(gone(error, issue, Doing::Commenting)),
        }
    }

    /// Makes a transition. Where its end is not known, the issue is read again.
    async fn transition(&self, issue: &IssueRef, first: &Transition) -> Result<(), TrackerError> {
        let to = &first.to.name;
        let mut choice = first.clone();
        let mut attempt = 1;
        loop {
            let Err(error) = self.api.transition(issue, &choice.id).await else { return Ok(()) };
            let refused = error.refused_with();
            let may_pass = error.is_doubtful() || refused == Some(409);
            if !may_pass && refused != Some(400) {
                return Err(gone(error, issue, Doing::Moving));
            }
            let read = self.api.issue(issue, true).await?;
            if same(&read.fields.status.name, to) {
                return Ok(());
            }
            if !may_pass {
                return Err(self.explained(issue, &choice, error).await);
            }
            if attempt == TRIES {
                return Err(error.into());
            }
            choice = choose(issue, &read, to)?;
            attempt += 1;
        }
    }

    /// Says why Jira refuses a transition that it offers: mostly fields that have to be filled in.
    async fn explained(&self, issue: &IssueRef, choice: &Transition, error: HttpError) -> TrackerError {
        let Transition { id, name, to, .. } = choice;
        let screen = match self.api.screen(issue, id).await {
            Ok(screen) => screen,
            Err(error) => return error,
        };
        let fields = screen.map(|screen| screen.required_fields()).unwrap_or_default();
        let why = if fields.is_empty() {
            error.to_string()
        } else {
            let fields = fields.join(", ");
            format!(
                "its screen requires {fields}; make them optional, or give them a default value ({error})"
            )
        };
        TrackerError::Impossible(format!(
            "cannot move {issue} to `{}` by the transition `{name}`: {why}",
            to.name
        ))
    }
}

/// Chooses the transition that leads to a status, whatever it is called; one that asks for nothing before
/// others.
fn choose(issue: &IssueRef, read: &RawIssue, to: &str) -> Result<Transition, TrackerError> {
    let possible = || read.transitions.iter().filter(|transition| transition.can_be_made());
    let leading = possible().filter(|transition| same(&transition.to.name, to));
    leading.min_by_key(|transition| transition.has_screen()).cloned().ok_or_else(|| {
        let ways: Vec<_> = possible().map(|way| format!("`{}` to `{}`", way.name, way.to.name)).collect();
        let ways = if ways.is_empty() {
            "none is possible: the account may lack the permission Transition Issues".to_owned()
        } else {
            format!("possible are {}", ways.join(", "))
        };
        let from = &read.fields.status.name;
        TrackerError::Impossible(format!("no transition leads {issue} from `{from}` to `{to}`; {ways}"))
    })
}

/// Labels to be put on and taken off; of two changes to one label the later counts.
#[derive(Default)]
struct LabelEdit {
    on: BTreeSet<String>,
    off: BTreeSet<String>,
}

impl LabelEdit {
    fn of(changes: &[Change]) -> Self {
        let mut edit = Self::default();
        for change in changes {
            match change {
                Change::AddLabel(label) => edit.add([label.as_str()]),
                Change::RemoveLabel(label) => edit.remove([label.as_str()]),
                _ => {}
            }
        }
        edit
    }

    fn add<'a>(&mut self, labels: impl IntoIterator<Item = &'a str>) {
        for label in labels {
            self.off.remove(label);
            self.on.insert(label.to_owned());
        }
    }

    fn remove<'a>(&mut self, labels: impl IntoIterator<Item = &'a str>) {
        for label in labels {
            self.on.remove(label);
            self.off.insert(label.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use acf_core::issue::Status;

    use super::*;

    #[test]
    fn of_two_changes_to_a_label_the_later_counts() {
        let label = |name: &str| name.to_owned();
        let edit = LabelEdit::of(&[
            Change::AddLabel(label("a")),
            Change::RemoveLabel(label("a")),
            Change::RemoveLabel(label("b")),
            Change::AddLabel(label("b")),
            Change::Transition(Status::Done),
        ]);
        assert_eq!((edit.on, edit.off), ([label("b")].into(), [label("a")].into()));
    }
}
