//! What Jira's refusals mean, in words that say what to do.

use acf_core::tracker::TrackerError;

use crate::http::{Answer, HttpError, Refusal, Trouble};

/// What a call is for: what it takes, and what its failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    FindingOut,
    ReadingProject,
    Searching,
    Reading,
    Commenting,
    Moving,
    Assigning,
    Labelling,
}

impl Doing {
    fn words(self) -> &'static str {
        match self {
            Self::FindingOut => "find out whom the credentials belong to",
            Self::ReadingProject => "read the project",
            Self::Searching => "search for issues",
            Self::Reading => "read issues",
            Self::Commenting => "comment on issues",
            Self::Moving => "move issues",
            Self::Assigning => "assign issues",
            Self::Labelling => "label issues",
        }
    }

    /// The scope that a token with scopes needs:
    /// <https://developer.atlassian.com/cloud/jira/platform/scopes-for-oauth-2-3LO-and-forge-apps/>.
    fn scope(self) -> &'static str {
        match self {
            Self::FindingOut => "read:jira-user",
            Self::ReadingProject | Self::Searching | Self::Reading => "read:jira-work",
            Self::Commenting | Self::Moving | Self::Assigning | Self::Labelling => "write:jira-work",
        }
    }

    /// Tells whether the call writes to one issue. What is refused there says nothing of any other issue: a
    /// workflow, a security level or a field may hold back this one alone.
    fn writes_to_an_issue(self) -> bool {
        matches!(self, Self::Commenting | Self::Moving | Self::Assigning | Self::Labelling)
    }

    /// The permission that the account needs in the project.
    fn permission(self) -> &'static str {
        match self {
            Self::FindingOut | Self::ReadingProject | Self::Searching | Self::Reading => "Browse Projects",
            Self::Commenting => "Add Comments",
            Self::Moving => "Transition Issues",
            Self::Assigning => "Assign Issues",
            Self::Labelling => "Edit Issues",
        }
    }
}

/// Makes a tracker's error of a call that failed. Credentials that are not accepted, and a scope that the token
/// lacks, are [`TrackerError::Unauthorized`] wherever they show; any other 403 is so only where the call is not
/// about one issue. What a 404 means, and a 400, is for the caller to say
/// before, where it knows more.
pub(super) fn meaning(error: HttpError, doing: Doing) -> TrackerError {
    if let Trouble::Redirected { .. } = &*error.trouble {
        return TrackerError::Impossible(format!(
            "a page for people, mostly one to log in, comes instead of Jira's API: JIRA_SITE has to be a site of Jira \
             Cloud, and JIRA_API_URL its API, without anything that follows in a browser's address ({error})"
        ));
    }
    let Some(refusal) = error.refusal() else { return error.into() };
    let attempt = doing.words();
    match refusal.status {
        401 | 403 if refusal.message.to_lowercase().contains("scope") => TrackerError::Unauthorized(format!(
            "Jira does not let the token {attempt}: it lacks the scope {} ({error})",
            doing.scope()
        )),
        401 => TrackerError::Unauthorized(format!("{BAD_CREDENTIALS} ({error})")),
        403 if denied_login(refusal.header(LOGIN_HEADER)) => {
            TrackerError::Unauthorized(format!("{BAD_CREDENTIALS} ({error})"))
        }
        403 if doing.writes_to_an_issue() => TrackerError::Impossible(format!(
            "Jira does not let the account {attempt} here: for this issue it lacks the permission {}, or the token \
             lacks the scope {} ({error})",
            doing.permission(),
            doing.scope()
        )),
        403 => TrackerError::Unauthorized(format!(
            "Jira does not let the account {attempt}: it lacks the permission {}, or the token the scope {} ({error})",
            doing.permission(),
            doing.scope()
        )),
        404 if matches!(doing, Doing::FindingOut | Doing::Searching) => TrackerError::Impossible(format!(
            "there is no Jira at that address: check JIRA_SITE and JIRA_API_URL ({error})"
        )),
        _ => error.into(),
    }
}

/// Makes an error of a search that was refused.
pub(super) fn of_search(error: HttpError, project: &str) -> TrackerError {
    // "The value 'X' does not exist for the field 'project'." is what Jira also says of one that is hidden.
    let is_about_project = |refusal: &Refusal| refusal.status == 400 && refusal.message.contains("'project'");
    if error.refusal().is_some_and(is_about_project) {
        return no_project(project);
    }
    meaning(error, Doing::Searching)
}

/// Tells whether a search was refused for its order: "Field 'rank' does not exist or you do not have permission to
/// view it." One that was answered to nobody says nothing of the site.
pub(super) fn is_about_rank(error: &HttpError) -> bool {
    error.refusal().is_some_and(|refusal| {
        refusal.status == 400
            && refusal.message.to_lowercase().contains("'rank'")
            && !denied_login(refusal.header(LOGIN_HEADER))
    })
}

pub(super) fn no_project(project: &str) -> TrackerError {
    TrackerError::Impossible(format!(
        "Jira shows this account no project `{project}`: check PROJECT, which is the key before the dash of an \
         issue, the account's permission Browse Projects, and that JIRA_API_URL is set if the token has scopes"
    ))
}

/// Makes an error of an assignment that was refused.
pub(super) fn of_assignment(error: HttpError, account: Option<&str>) -> TrackerError {
    match (error.refused_with(), account) {
        (Some(400), Some(account)) => not_assignable(account, &error.to_string()),
        _ => meaning(error, Doing::Assigning),
    }
}

/// Makes an error of labels that were refused. Jira sets a field only where it is on the screen for editing:
/// "Field 'labels' cannot be set. It is not on the appropriate screen, or unknown."
pub(super) fn of_labels(error: HttpError) -> TrackerError {
    let is_hidden = error
        .refusal()
        .is_some_and(|refusal| refusal.message.contains("labels") && refusal.message.contains("screen"));
    if is_hidden {
        return TrackerError::Impossible(format!(
            "the field Labels is not on the screen by which issues of that type are edited; put it there ({error})"
        ));
    }
    meaning(error, Doing::Labelling)
}

/// Makes an error of permissions that the account has for no issue of the project.
pub(super) fn lacks_permissions(missing: &[&str], project: &str) -> TrackerError {
    let word = if missing.len() == 1 { "permission" } else { "permissions" };
    TrackerError::Unauthorized(format!(
        "the account lacks the {word} {} in the project `{project}`: give it a role there that has what docs/jira.md \
         lists",
        missing.join(", ")
    ))
}

pub(super) fn not_assignable(account: &str, cause: &str) -> TrackerError {
    TrackerError::Impossible(format!(
        "issues of the project cannot be assigned to the account `{account}`: check JIRA_ASSIGNEE_ACCOUNT_ID, and \
         give the account the permission Assignable User ({cause})"
    ))
}

/// Refuses an answer that was given to nobody: where Jira does not take credentials, some calls are answered
/// as if there were none, with nothing to be seen instead of an error.
///
/// # Errors
/// [`TrackerError::Unauthorized`].
pub(super) fn refuse_anonymous(answer: &Answer) -> Result<(), TrackerError> {
    if denied_login(answer.header(LOGIN_HEADER)) {
        return Err(TrackerError::Unauthorized(BAD_CREDENTIALS.to_owned()));
    }
    Ok(())
}

const BAD_CREDENTIALS: &str = "Jira does not accept the credentials: JIRA_EMAIL or JIRA_TOKEN is wrong, or the token \
                               has expired or was revoked; a token with scopes works at JIRA_API_URL alone";

/// Where Jira says what became of the login:
/// <https://developer.atlassian.com/cloud/jira/platform/basic-auth-for-rest-apis/>.
const LOGIN_HEADER: &str = "x-seraph-loginreason";

fn denied_login(reason: Option<&str>) -> bool {
    reason.is_some_and(|reason| {
        reason.contains("AUTHENTICATED_FAILED") || reason.contains("AUTHENTICATION_DENIED")
    })
}
