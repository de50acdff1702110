//! Changing an issue: every change but comments is one `PATCH`.

use acf_core::issue::Status;
use acf_core::tracker::{Change, TrackerError};
use serde_json::{Map, Value, json};

use super::wire::WireIssue;
use super::{GitHub, holdable, status};
use crate::http::Request;

/// What an issue is to be, as far as it differs from what it is.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    /// All its labels.
    labels: Option<Vec<String>>,
    /// Who is to hold it; nobody is an empty list.
    assignees: Option<Vec<String>>,
    /// Whether it is to be open.
    open: Option<bool>,
}

impl Wanted {
    /// Plays the changes through on what was found; `own` is the account that acf assigns issues to.
    fn of(found: &WireIssue, changes: &[Change], own: Option<&str>) -> Self {
        let before: Vec<String> = found.labels().map(str::to_owned).collect();
        let mut labels = before.clone();
        let mut assignees: Vec<String> = found.assignees().map(str::to_owned).collect();
        let mut open = found.is_open();
        for change in changes {
            match change {
                Change::Assign(account) => assignees = vec![account.clone()],
                Change::Unassign => {
                    let is_own = |login: &String| own.is_some_and(|own| is_same(own, login));
                    let is_shared = assignees.iter().any(is_own);
                    assignees.retain(|login| is_shared && !is_own(login));
                }
                Change::UnassignFrom(account) => assignees.retain(|login| !is_same(login, account)),
                Change::Transition(to) => {
                    open = *to != Status::Done;
                    let label = status::label_of(to);
                    labels.retain(|name| {
                        !status::is_status(name) || label.is_some_and(|kept| is_same(kept, name))
                    });
                    label.into_iter().for_each(|label| add(&mut labels, label));
                }
                Change::AddLabel(label) => add(&mut labels, label),
                Change::RemoveLabel(label) => labels.retain(|name| !is_same(label, name)),
                Change::Comment { .. } => {}
            }
        }
        let is_assigned_so = found.assignees().count() == assignees.len()
            && found.assignees().zip(&assignees).all(|(now, wanted)| is_same(now, wanted));
        Self {
            labels: (labels != before).then_some(labels),
            assignees: (!is_assigned_so).then_some(assignees),
            open: (open != found.is_open()).then_some(open),
        }
    }

    /// Returns the body of the `PATCH`; `None` where nothing is to be changed.
    fn patch(&self) -> Option<Value> {
        let mut patch = Map::new();
        if let Some(labels) = &self.labels {
            patch.insert("labels".to_owned(), json!(labels));
        }
        if let Some(assignees) = &self.assignees {
            patch.insert("assignees".to_owned(), json!(assignees));
        }
        if let Some(open) = self.open {
            let (state, reason) = if open { ("open", "reopened") } else { ("closed", "completed") };
            patch.insert("state".to_owned(), json!(state));
            patch.insert("state_reason".to_owned(), json!(reason));
        }
        (!patch.is_empty()).then_some(Value::Object(patch))
    }
}

impl GitHub {
    /// Makes all the changes to an issue that was just read. Words come first: an issue that has moved on
    /// without them would leave people wondering.
    pub(super) async fn change(&self, found: &WireIssue, changes: &[Change]) -> Result<(), TrackerError> {
        for change in changes {
            if let Change::Transition(status) = change {
                holdable(status)?;
            }
        }
        let mut said_before = found.comments;
        for change in changes {
            if let Change::Comment { marker, body } = change {
                self.say(found.number, said_before, marker.as_deref(), body).await?;
                said_before += 1;
            }
        }
        let wanted = Wanted::of(found, changes, self.own_share(found, changes).await?.as_deref());
        let Some(patch) = wanted.patch() else { return Ok(()) };
        let new_labels =
            wanted.labels.iter().flatten().filter(|name| !found.labels().any(|known| known == *name));
        for label in new_labels {
            self.ensure_label(label).await?;
        }
        let changed = self.patch(found.number, patch).await?;
        self.check(&wanted, &changed)
    }

    /// Returns the account that is to leave an issue that others have too, which may take a call.
    async fn own_share(&self, found: &WireIssue, changes: &[Change]) -> Result<Option<String>, TrackerError> {
        let is_shared = found.assignees().nth(1).is_some();
        if is_shared && changes.contains(&Change::Unassign) {
            return self.account().await.map(Some);
        }
        Ok(self.account.known().map(str::to_owned))
    }

    async fn patch(&self, number: u64, patch: Value) -> Result<WireIssue, TrackerError> {
        let text = number.to_string();
        // It says how the issue is to be, not what is to be done to it: twice is as good as once.
        let request = Request::patch(self.repository.path(["issues", &text])).json(patch).repeatable();
        let patched = async { self.client.send(&request).await?.json::<WireIssue>() };
        match patched.await {
            Ok(changed) => Ok(changed),
            Err(error) => {
                let key = format!("#{number}").parse().expect("a number makes a key");
                Err(self.meaning_of_change(&key, error).await)
            }
        }
    }

    /// Finds what GitHub left out: it drops accounts that cannot be assigned, and labels that the token's
    /// owner may not set, without a word.
    fn check(&self, wanted: &Wanted, changed: &WireIssue) -> Result<(), TrackerError> {
        let is_there = |login: &str| changed.assignees().any(|now| is_same(now, login));
        if let Some(missing) = wanted.assignees.iter().flatten().find(|login| !is_there(login)) {
            return Err(self.not_assignable(missing));
        }
        let has = |label: &str| changed.labels().any(|now| is_same(now, label));
        if wanted.labels.iter().flatten().all(|label| has(label)) {
            return Ok(());
        }
        let repository = &self.repository;
        let says = format!(
            "GitHub does not change the labels of #{}: the token's owner needs the role Write in {repository}",
            changed.number
        );
        Err(TrackerError::Unauthorized(says))
    }
}

/// Labels and logins that differ only in case are the same on GitHub.
fn is_same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn add(labels: &mut Vec<String>, label: &str) {
    if !labels.iter().any(|name| is_same(name, label)) {
        labels.push(label.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(state: &str, labels: &[&str], assignees: &[&str]) -> WireIssue {
        let logins: Vec<_> = assignees.iter().map(|login| json!({ "login": login })).collect();
        let names: Vec<_> = labels.iter().map(|name| json!({ "name": name })).collect();
        serde_json::from_value(json!({
            "number": 1, "title": "one", "body": null, "state": state, "labels": names,
            "assignees": logins, "html_url": "https://github.com/acme/shop/issues/1", "comments": 0
        }))
        .unwrap()
    }

    fn patch(found: &WireIssue, changes: &[Change]) -> Option<Value> {
        Wanted::of(found, changes, Some("bot")).patch()
    }

    #[test]
    fn taking_an_issue_is_one_patch() {
        let found = issue("open", &["bug", "plan-approved", "Awaiting-Plan-Review"], &[]);
        let changes = [Change::Transition(Status::InProgress), Change::Assign("bot".into())];
        let wanted = json!({ "labels": ["bug", "in-progress"], "assignees": ["bot"] });
        assert_eq!(patch(&found, &changes), Some(wanted));
    }

    #[test]
    fn only_what_differs_is_sent() {
        let found = issue("open", &["In-Progress"], &["Bot"]);
        let same = [Change::Transition(Status::InProgress), Change::Assign("bot".into())];
        assert_eq!(patch(&found, &same), None);
        let done = [Change::Transition(Status::Done)];
        let wanted = json!({ "labels": [], "state": "closed", "state_reason": "completed" });
        assert_eq!(patch(&found, &done), Some(wanted));
        assert_eq!(patch(&found, &[Change::Unassign]), Some(json!({ "assignees": [] })));
    }

    #[test]
    fn an_issue_that_others_have_too_is_left_to_them() {
        let shared = issue("open", &[], &["Bot", "ada", "bob"]);
        assert_eq!(patch(&shared, &[Change::Unassign]), Some(json!({ "assignees": ["ada", "bob"] })));
        for theirs in [&["ada"][..], &["ada", "bob"]] {
            let patched = patch(&issue("open", &[], theirs), &[Change::Unassign]);
            assert_eq!(patched, Some(json!({ "assignees": [] })), "a person takes it from those who have it");
        }
        assert_eq!(patch(&issue("open", &[], &[]), &[Change::Unassign]), None);
    }

    #[test]
    fn labels_are_the_same_whatever_their_case() {
        let found = issue("open", &["Acf-Blocked"], &[]);
        assert_eq!(patch(&found, &[Change::AddLabel("acf-blocked".into())]), None);
        assert_eq!(
            patch(&found, &[Change::RemoveLabel("acf-blocked".into())]),
            Some(json!({ "labels": [] }))
        );
    }
}
