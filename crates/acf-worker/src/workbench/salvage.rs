//! Saving a run's work in progress, while its agent is at work and at the run's end.

use std::sync::Arc;

use acf_core::agent::Agent;
use acf_core::run::CommitId;
use async_trait::async_trait;

use super::GitWorkbench;
use crate::git::checkout::{Checkout, CheckoutError, WipNote};
use crate::worker::{Salvage, SaveFor};

/// The work of a run, as it lies in its checkout.
pub(super) struct CheckoutSalvage {
    pub(super) checkout: Arc<Checkout>,
    pub(super) with: GitWorkbench,
    /// Who is at work.
    pub(super) agent: Arc<dyn Agent>,
    /// Whose it is.
    pub(super) note: WipNote,
}

#[async_trait]
impl Salvage for CheckoutSalvage {
    async fn save(&self, purpose: SaveFor) -> Option<CommitId> {
        if purpose == SaveFor::Meanwhile
            && let Err(failure) = self.with.learn_tokens(&*self.agent).await
        {
            tracing::debug!(issue.key = %self.note.issue, "does not save the work just now: {}", failure.reason);
            return None;
        }
        let note = WipNote { restore: purpose != SaveFor::LookingAt, ..self.note.clone() };
        let saving = async {
            if purpose != SaveFor::Meanwhile {
                self.checkout.flatten().await?;
            }
            let snapshot = match purpose {
                SaveFor::Meanwhile => self.checkout.snapshot().await?,
                SaveFor::GoingOn | SaveFor::LookingAt => self.checkout.last_snapshot().await?,
            };
            if snapshot.changes.paths.is_empty() {
                return Ok(None);
            }
            if let Some(leak) = self.checkout.leak(&snapshot, &self.with.mask).await? {
                tracing::warn!(issue.key = %self.note.issue, "does not keep the work in progress: {leak}");
                return Ok(None);
            }
            self.checkout.wip_commit(&snapshot.tree, &note).await.map(Some)
        };
        saving.await.unwrap_or_else(|error: CheckoutError| {
            tracing::debug!(issue.key = %self.note.issue, %error, "cannot save the work in progress just now");
            None
        })
    }
}
