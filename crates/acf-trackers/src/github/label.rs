//! The labels of acf: how they look where it creates them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use acf_core::issue::label;
use acf_core::tracker::TrackerError;
use serde_json::json;

use super::GitHub;
use super::wire::WireName;
use crate::http::Request;

/// Name, colour and description. GitHub takes at most 100 characters of description.
const LOOKS: [(&str, &str, &str); 10] = [
    ("in-progress", "1d76db", "An acf worker is implementing this"),
    ("in-planning", "5319e7", "An acf planner is writing a plan for this"),
    (label::IN_REVIEW, "fbca04", "acf has done this on a branch; a person is to review it"),
    ("awaiting-plan-review", "fbca04", "acf has written a plan; add plan-approved to have it implemented"),
    (label::PLAN_APPROVED, "0e8a16", "The plan is approved; acf may implement it"),
    (label::BLOCKED, "d93f0b", "Every attempt of acf failed; remove this to have it tried again"),
    (label::NEEDS_PLAN, "c5def5", "acf is to write a plan first, for a person to approve"),
    (label::SKIP_PLAN, "c5def5", "acf is to implement this without a plan"),
    (label::NEEDS_BRANCH, "c5def5", "acf is to open a pull request for this"),
    (label::SKIP_BRANCH, "c5def5", "acf is to push this to the trunk"),
];

/// The colour of a label that acf has no words for.
const PLAIN: &str = "ededed";

/// The labels that the repository is known to have. It is not read again: a label that somebody deletes
/// meanwhile comes back with the first issue that gets it, only without its colour.
#[derive(Debug, Default)]
pub(super) struct KnownLabels(Mutex<BTreeSet<String>>);

impl KnownLabels {
    fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    fn add(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }
}

impl GitHub {
    /// Sees to it that the repository has that label. An issue can be given labels that do not exist yet,
    /// but they would be grey and unexplained.
    pub(super) async fn ensure_label(&self, name: &str) -> Result<(), TrackerError> {
        if self.labels.has(name) {
            return Ok(());
        }
        let read =
            async { self.client.send(&self.repository.get(["labels", name])).await?.json::<WireName>() };
        match read.await {
            Ok(_) => {}
            Err(error) if error.refused_with() == Some(404) => self.create_label(name).await?,
            Err(error) => return Err(self.meaning(error)),
        }
        self.labels.add(name);
        Ok(())
    }

    async fn create_label(&self, name: &str) -> Result<(), TrackerError> {
        let look = LOOKS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
        let body = match look {
            Some((_, color, description)) => {
                json!({ "name": name, "color": color, "description": description })
            }
            None => json!({ "name": name, "color": PLAIN }),
        };
        // Names are unique: of two workers that create one, or of two attempts, the later is told 422.
        let create = Request::post(self.repository.path(["labels"])).json(body).repeatable();
        let created = async { self.client.send(&create).await?.made::<WireName>() };
        match created.await {
            Ok(_) => Ok(()),
            Err(error)
                if error.refusal().is_some_and(|refusal| refusal.message.contains("already_exists")) =>
            {
                Ok(())
            }
            Err(error) => Err(self.meaning(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::github::status;

    #[test]
    fn every_label_of_acf_has_a_look_that_github_takes() {
        let known: BTreeSet<_> = LOOKS.iter().map(|(name, ..)| *name).collect();
        let statuses = acf_core::issue::Status::KNOWN;
        assert!(statuses.iter().filter_map(status::label_of).all(|name| known.contains(name)));
        assert_eq!(known.len(), LOOKS.len());
        for (name, color, description) in LOOKS {
            assert!(description.chars().count() <= 100, "{name}");
            assert!(color.len() == 6 && color.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
        }
    }
}
