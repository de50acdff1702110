//! The account that issues are assigned to.

use acf_core::tracker::TrackerError;
use tokio::sync::OnceCell;

use super::GitHub;
use super::wire::WireUser;
use crate::http::Request;

/// The account that issues are assigned to, once it is known to be one.
#[derive(Debug)]
pub(super) struct Account {
    configured: Option<String>,
    checked: OnceCell<String>,
}

impl Account {
    pub(super) fn new(configured: Option<String>) -> Self {
        Self { configured, checked: OnceCell::new() }
    }

    /// Returns the login as far as it is known without asking: once it was checked, or as configured.
    pub(super) fn known(&self) -> Option<&str> {
        self.checked.get().or(self.configured.as_ref()).map(String::as_str)
    }
}

impl GitHub {
    pub(super) async fn account(&self) -> Result<String, TrackerError> {
        let checked = self.account.checked.get_or_try_init(|| async {
            let login = match &self.account.configured {
                Some(login) => login.clone(),
                None => self.owner_of_the_token().await?,
            };
            self.ensure_assignable(&login).await?;
            Ok(login)
        });
        checked.await.cloned()
    }

    async fn owner_of_the_token(&self) -> Result<String, TrackerError> {
        let user = async { self.client.send(&Request::get(["user"])).await?.json::<WireUser>() };
        match user.await {
            Ok(user) => Ok(user.login),
            // An app's installation is nobody.
            Err(error) if error.refused_with() == Some(403) => {
                let says =
                    "the token belongs to no account; say in GH_ASSIGNEE whom issues are to be assigned to";
                Err(TrackerError::Unauthorized(format!("{says} ({error})")))
            }
            Err(error) => Err(self.meaning(error)),
        }
    }

    async fn ensure_assignable(&self, login: &str) -> Result<(), TrackerError> {
        let checked = async { self.client.send(&self.repository.get(["assignees", login])).await?.done() };
        match checked.await {
            Ok(()) => Ok(()),
            Err(error) if error.refused_with() == Some(404) => {
                // The same answer comes where the repository itself is not seen.
                self.client.send(&self.repository.get([])).await.map_err(|error| self.meaning(error))?;
                Err(self.not_assignable(login))
            }
            Err(error) => Err(self.meaning(error)),
        }
    }

    pub(super) fn not_assignable(&self, login: &str) -> TrackerError {
        TrackerError::Impossible(format!(
            "issues of {} cannot be assigned to `{login}`: the account needs access to the repository",
            self.repository
        ))
    }
}
