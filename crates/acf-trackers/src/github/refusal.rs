//! What GitHub's refusals mean, in words that say what to do.

use acf_core::issue::IssueKey;
use acf_core::tracker::TrackerError;

use super::GitHub;
use crate::http::{HttpError, Refusal, Trouble};

impl GitHub {
    /// Gives an error of a call about the repository its meaning.
    pub(super) fn meaning(&self, error: HttpError) -> TrackerError {
        let Some(refusal) = error.refusal() else { return error.into() };
        if refusal.status == 401 {
            let says = "GitHub does not accept the token: it is wrong, expired or revoked";
            return TrackerError::Unauthorized(format!("{says} ({error})"));
        }
        if let Some(missing) = missing_right(refusal) {
            return TrackerError::Unauthorized(format!("{missing} ({error})"));
        }
        match refusal.status {
            404 => {
                let repository = &self.repository;
                let says =
                    format!("repository {repository} does not exist, or the token does not see it ({error})");
                TrackerError::Impossible(says)
            }
            _ => error.into(),
        }
    }

    /// Gives an error of a change of an issue its meaning. Where GitHub refuses it for no right that the token
    /// lacks, that is the issue's own: it is locked, say, or its author has blocked the account.
    pub(super) async fn meaning_of_change(&self, key: &IssueKey, error: HttpError) -> TrackerError {
        match error.refusal() {
            Some(refusal) if is_locked(refusal) => {
                TrackerError::Impossible(format!("the conversation of {key} is locked ({error})"))
            }
            Some(refusal) if is_of_the_issue(refusal) => TrackerError::Impossible(format!(
                "GitHub does not let the token's owner change {key}: the account may need the role Write in {} ({error})",
                self.repository
            )),
            _ => self.meaning_for_issue(key, error).await,
        }
    }

    /// Gives an error of reading an issue its meaning.
    pub(super) async fn meaning_for_issue(&self, key: &IssueKey, error: HttpError) -> TrackerError {
        let gone = match &*error.trouble {
            Trouble::Refused(refusal)
                if matches!(refusal.status, 404 | 410) && missing_right(refusal).is_none() =>
            {
                // GitHub answers the same where it is the whole repository that the token does not see.
                match self.client.send(&self.repository.get([])).await {
                    Err(error) if error.refused_with() == Some(404) => return self.meaning(error),
                    _ => format!("{key} in {}", self.repository),
                }
            }
            // GitHub answers the same when the issue or when the whole repository is elsewhere by now.
            Trouble::Redirected { location, .. } => match self.client.send(&self.repository.get([])).await {
                Ok(_) => format!("{key} in {}: it was transferred to `{location}`", self.repository),
                Err(error) => return self.meaning(error),
            },
            _ => return self.meaning(error),
        };
        TrackerError::NotFound(gone)
    }
}

/// Says which right the token lacks, where GitHub tells.
///
/// For fine-grained tokens and apps, 403 comes with what would do in `X-Accepted-GitHub-Permissions`
/// (<https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api>). Classic tokens are
/// told their own scopes and those that would do with every answer, and 404 where they do not suffice.
fn missing_right(refusal: &Refusal) -> Option<String> {
    let Refusal { status: status @ (403 | 404), .. } = refusal else { return None };
    // The header comes with other answers, too; these words, with missing permissions alone.
    let is_permission = *status == 403 && refusal.message.contains("Resource not accessible");
    if let Some(permissions) = refusal.header("x-accepted-github-permissions").filter(|_| is_permission) {
        return Some(format!("the token lacks a permission: {}", permissions.replace("; ", " or ")));
    }
    let accepted =
        refusal.header("x-accepted-oauth-scopes").filter(|accepted| !accepted.trim().is_empty())?;
    let own = refusal.header("x-oauth-scopes")?;
    let scopes = |list: &'_ str| list.split(',').map(|scope| scope.trim().to_owned()).collect::<Vec<_>>();
    let suffices = scopes(own).iter().any(|scope| scopes(accepted).contains(scope));
    let own = if own.trim().is_empty() { "none" } else { own };
    (!suffices).then(|| format!("the token lacks a scope: it takes one of `{accepted}`, and it has: {own}"))
}

/// Tells whether a refused change says nothing of the token: it has the rights, and its single sign-on is not what
/// is missing, of which GitHub tells in a header
/// (<https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api>).
fn is_of_the_issue(refusal: &Refusal) -> bool {
    refusal.status == 403 && missing_right(refusal).is_none() && refusal.header("x-github-sso").is_none()
}

/// Tells whether a conversation is locked: GitHub answers "Unable to create comment because issue is locked."
/// with 403 (<https://docs.github.com/en/communities/moderating-comments-and-conversations/locking-conversations>).
fn is_locked(refusal: &Refusal) -> bool {
    refusal.status == 403 && refusal.message.contains("is locked")
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    fn refusal(status: u16, headers: &[(&'static str, &'static str)]) -> Refusal {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers: HeaderMap = headers.iter().map(pair).collect();
        let message = "Resource not accessible by personal access token".to_owned();
        Refusal { status, message, headers }
    }

    #[test]
    fn the_missing_right_is_named_where_github_names_it() {
        let says = |status, headers: &[_]| missing_right(&refusal(status, headers));
        let fine_grained = ("x-accepted-github-permissions", "issues=write; pull_requests=write");
        assert_eq!(
            says(403, &[fine_grained]).unwrap(),
            "the token lacks a permission: issues=write or pull_requests=write"
        );
        let accepted = ("x-accepted-oauth-scopes", "public_repo, repo");
        assert_eq!(
            says(404, &[accepted, ("x-oauth-scopes", "")]).unwrap(),
            "the token lacks a scope: it takes one of `public_repo, repo`, and it has: none"
        );
        assert!(
            says(403, &[accepted, ("x-oauth-scopes", "gist, read:org")]).unwrap().ends_with("gist, read:org")
        );
    }

    #[test]
    fn a_right_that_is_there_is_not_called_missing() {
        let says = |status, headers: &[_]| missing_right(&refusal(status, headers));
        let accepted = ("x-accepted-oauth-scopes", "public_repo, repo");
        assert_eq!(says(404, &[accepted, ("x-oauth-scopes", "gist, repo")]), None);
        assert_eq!(says(404, &[("x-accepted-github-permissions", "issues=read")]), None);
        assert_eq!(says(403, &[]), None);
        let fine_grained = refusal(403, &[("x-accepted-github-permissions", "issues=write")]);
        let locked =
            Refusal { message: "Unable to create comment because issue is locked.".into(), ..fine_grained };
        assert_eq!((missing_right(&locked), is_locked(&locked)), (None, true));
        let refused = |headers: &[_]| {
            is_of_the_issue(&Refusal { message: "Forbidden".into(), ..refusal(403, headers) })
        };
        assert!(refused(&[]) && refused(&[("x-accepted-github-permissions", "issues=write")]));
        assert!(!refused(&[("x-github-sso", "required; url=https://github.com/orgs/acme/sso")]));
        assert!(!refused(&[accepted, ("x-oauth-scopes", "")]));
        assert_eq!(says(422, &[accepted, ("x-oauth-scopes", "")]), None);
    }
}
