//! The calls that acf makes of Jira, one function each.

use std::sync::atomic::{AtomicBool, Ordering};

use acf_core::issue::IssueRef;
use acf_core::mask::Mask;
use acf_core::tracker::TrackerError;
use serde_json::{Value, json};

use super::adf::from_markdown;
use super::answers::{
    Account, Comment, CommentList, CommentPage, FIELDS, Permissions, RawIssue, Said, SearchPage, Transition,
    Transitions, TypeStatuses, Unreadable,
};
use super::trouble::{self, Doing};
use crate::http::{Client, HttpError, Request};

/// How many issues or comments are asked for at once; Jira may give fewer.
const PAGE: u32 = 100;
/// More comments than Jira lets an issue have (5,000).
const MOST_COMMENT_PAGES: u64 = 60;
/// The longest text that is said, in characters: Jira refuses comments of more than 32,767.
const LONGEST_COMMENT: usize = 30_000;
/// The permissions that acf needs in the project: what Jira calls each in its API, and what people read.
const PERMISSIONS: [(&str, &str); 5] = [
    ("BROWSE_PROJECTS", "Browse Projects"),
    ("ASSIGN_ISSUES", "Assign Issues"),
    ("TRANSITION_ISSUES", "Transition Issues"),
    ("ADD_COMMENTS", "Add Comments"),
    ("EDIT_ISSUES", "Edit Issues"),
];

/// The order of the backlog.
const BY_RANK: &str = "rank ASC";
/// The order of a site that ranks nothing.
const BY_AGE: &str = "created ASC";

pub(super) struct Api {
    http: Client,
    /// Whether the site was found to rank nothing: only Jira Software does.
    is_unranked: AtomicBool,
}

impl Api {
    pub(super) fn new(http: Client) -> Self {
        Self { http, is_unranked: AtomicBool::default() }
    }

    /// Keeps other secrets than the token out of errors too.
    pub(super) fn masked_by(self, mask: &Mask) -> Self {
        Self { http: self.http.masked_by(mask), ..self }
    }

    /// Returns how many requests were sent, repeated ones included.
    pub(super) fn calls(&self) -> u64 {
        self.http.calls()
    }

    /// Returns the account that the credentials belong to.
    pub(super) async fn myself(&self) -> Result<Account, TrackerError> {
        let answer = self.http.send(&get(&["myself"])).await;
        let answer = answer.map_err(|error| trouble::meaning(error, Doing::FindingOut))?;
        trouble::refuse_anonymous(&answer)?;
        Ok(answer.json()?)
    }

    /// Returns the statuses of each type of issue.
    pub(super) async fn statuses(&self, project: &str) -> Result<Vec<TypeStatuses>, TrackerError> {
        let answer = self.http.send(&get(&["project", project, "statuses"])).await;
        let answer = answer.map_err(|error| match error.refused_with() {
            Some(404) => trouble::no_project(project),
            _ => trouble::meaning(error, Doing::ReadingProject),
        })?;
        trouble::refuse_anonymous(&answer)?;
        Ok(answer.json()?)
    }

    /// Returns which of the permissions that acf needs the account has for no issue of the project. One that it
    /// has may still be missing for some issues: that is told when such an issue is changed.
    pub(super) async fn missing_permissions(&self, project: &str) -> Result<Vec<&'static str>, TrackerError> {
        let keys: Vec<_> = PERMISSIONS.iter().map(|(key, _)| *key).collect();
        let request =
            get(&["mypermissions"]).query("projectKey", project).query("permissions", keys.join(","));
        let answer = self.http.send(&request).await;
        let answer = answer.map_err(|error| match error.refused_with() {
            Some(404) => trouble::no_project(project),
            _ => trouble::meaning(error, Doing::ReadingProject),
        })?;
        let Permissions { permissions } = answer.json()?;
        let is_missing = |key: &str| permissions.get(key).is_some_and(|permission| !permission.have);
        Ok(PERMISSIONS.iter().filter(|(key, _)| is_missing(key)).map(|(_, name)| *name).collect())
    }

    /// Tells whether issues of the project can be assigned to the account.
    pub(super) async fn is_assignable(&self, project: &str, account: &str) -> Result<bool, TrackerError> {
        let request =
            get(&["user", "assignable", "search"]).query("project", project).query("accountId", account);
        let answer = match self.http.send(&request).await {
            Err(error) if error.refused_with() == Some(404) => return Ok(false),
            answer => answer.map_err(|error| trouble::meaning(error, Doing::FindingOut))?,
        };
        let accounts: Vec<Account> = answer.json()?;
        Ok(accounts.iter().any(|found| found.account_id == account))
    }

    /// Returns all issues for which a condition holds, the first of the backlog first, and those of them that
    /// cannot be read. Where the site has no ranks, the oldest comes first.
    pub(super) async fn search(
        &self,
        condition: &str,
        project: &str,
    ) -> Result<(Vec<RawIssue>, Vec<Unreadable>), TrackerError> {
        let mut found: Vec<RawIssue> = Vec::new();
        let mut unreadable = Vec::new();
        let mut token: Option<String> = None;
        let mut order = if self.is_unranked.load(Ordering::Relaxed) { BY_AGE } else { BY_RANK };
        loop {
            let jql = format!("{condition} ORDER BY {order}");
            let mut body = json!({ "jql": jql, "fields": FIELDS, "maxResults": PAGE });
            if let Some(token) = &token {
                body["nextPageToken"] = json!(token);
            }
            let request = post(&["search", "jql"]).json(body).repeatable();
            let answer = match self.http.send(&request).await {
                Err(error) if order == BY_RANK && trouble::is_about_rank(&error) => {
                    if !self.is_unranked.swap(true, Ordering::Relaxed) {
                        tracing::warn!("this Jira ranks no issues: the oldest comes first ({error})");
                    }
                    order = BY_AGE;
                    continue;
                }
                answer => answer.map_err(|error| trouble::of_search(error, project))?,
            };
            trouble::refuse_anonymous(&answer)?;
            let SearchPage { issues, next_page_token } = answer.json()?;
            // An issue that is ranked anew meanwhile may stand on two pages.
            for issue in issues {
                match RawIssue::found(&issue) {
                    Ok(issue) if found.iter().any(|known| known.key == issue.key) => {}
                    Ok(issue) => found.push(issue),
                    Err(issue) => unreadable.push(issue),
                }
            }
            match next_page_token {
                Some(next) if token.as_ref() == Some(&next) => {
                    let says = "the answer's next page is the same page";
                    return Err(TrackerError::other("cannot search for issues", says));
                }
                Some(next) => token = Some(next),
                None => return Ok((found, unreadable)),
            }
        }
    }

    /// Reads an issue, with the transitions that can be made of it if they are wanted.
    pub(super) async fn issue(&self, issue: &IssueRef, transitions: bool) -> Result<RawIssue, TrackerError> {
        let mut request = get(&["issue", issue.key.as_str()]).query("fields", FIELDS.join(","));
        if transitions {
            request = request.query("expand", "transitions");
        }
        let answer = self.http.send(&request).await.map_err(|error| gone(error, issue, Doing::Reading))?;
        trouble::refuse_anonymous(&answer)?;
        let read: RawIssue = answer.json()?;
        // Jira finds an issue by its former key, too.
        if !read.key.eq_ignore_ascii_case(issue.key.as_str()) {
            return Err(TrackerError::NotFound(format!(
                "{issue} any more: it was moved, and is now {}",
                read.key
            )));
        }
        Ok(read)
    }

    /// Reads a transition with the fields of its screen.
    pub(super) async fn screen(
        &self,
        issue: &IssueRef,
        id: &str,
    ) -> Result<Option<Transition>, TrackerError> {
        let request = get(&["issue", issue.key.as_str(), "transitions"])
            .query("expand", "transitions.fields")
            .query("transitionId", id);
        let answer = self.http.send(&request).await.map_err(|error| gone(error, issue, Doing::Moving))?;
        let Transitions { transitions } = answer.json()?;
        Ok(transitions.into_iter().find(|transition| transition.id == id))
    }

    /// Makes a transition. It is not repeated: the second time it may lead elsewhere.
    pub(super) async fn transition(&self, issue: &IssueRef, id: &str) -> Result<(), HttpError> {
        let request = post(&["issue", issue.key.as_str(), "transitions"]);
        self.change(request.json(json!({ "transition": { "id": id } }))).await
    }

    /// Gives the issue to an account, or to nobody.
    pub(super) async fn assign(&self, issue: &IssueRef, account: Option<&str>) -> Result<(), TrackerError> {
        let request = Request::put(path(&["issue", issue.key.as_str(), "assignee"]));
        let sent = self.change(request.json(json!({ "accountId": account }))).await;
        sent.map_err(|error| match error.refused_with() {
            Some(404) => gone(error, issue, Doing::Assigning),
            _ => trouble::of_assignment(error, account),
        })
    }

    /// Puts labels on and takes labels off.
    pub(super) async fn label(
        &self,
        issue: &IssueRef,
        add: &[&str],
        remove: &[&str],
    ) -> Result<(), TrackerError> {
        let adding = add.iter().map(|label| json!({ "add": label }));
        let removing = remove.iter().map(|label| json!({ "remove": label }));
        let operations: Vec<Value> = adding.chain(removing).collect();
        let request = Request::put(path(&["issue", issue.key.as_str()]));
        let sent = self.change(request.json(json!({ "update": { "labels": operations } }))).await;
        sent.map_err(|error| match error.refused_with() {
            Some(400) => trouble::of_labels(error),
            _ => gone(error, issue, Doing::Labelling),
        })
    }

    /// Tells whether the issue has a comment with that marker.
    pub(super) async fn has_comment(&self, issue: &IssueRef, marker: &str) -> Result<bool, TrackerError> {
        let mut seen = 0_u64;
        for _ in 0..MOST_COMMENT_PAGES {
            let request = get(&["issue", issue.key.as_str(), "comment"])
                .query("startAt", seen.to_string())
                .query("maxResults", PAGE.to_string())
                .query("orderBy", "-created")
                .query("expand", "properties");
            let answer =
                self.http.send(&request).await.map_err(|error| gone(error, issue, Doing::Reading))?;
            let CommentPage { comments, total } = answer.json()?;
            let untold: Vec<_> = comments.iter().filter_map(Comment::id_to_ask_for).collect();
            let told = if untold.is_empty() { Vec::new() } else { self.comments(issue, &untold).await? };
            if comments.iter().chain(&told).any(|comment| comment.carries(marker)) {
                return Ok(true);
            }
            seen += comments.len() as u64;
            if comments.is_empty() || seen >= total {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Reads comments with their properties. The list of an issue's comments tells them, too, but that it
    /// does is not promised in Jira's description.
    async fn comments(&self, issue: &IssueRef, ids: &[u64]) -> Result<Vec<Comment>, TrackerError> {
        let request = post(&["comment", "list"]).query("expand", "properties").json(json!({ "ids": ids }));
        let answer = self.http.send(&request.repeatable()).await;
        let CommentList { values } = answer.map_err(|error| gone(error, issue, Doing::Reading))?.json()?;
        Ok(values)
    }

    /// Says something. It is not repeated: it would be said twice.
    pub(super) async fn comment(
        &self,
        issue: &IssueRef,
        marker: Option<&str>,
        markdown: &str,
    ) -> Result<(), HttpError> {
        let mut body = json!({ "body": from_markdown(&shortened(markdown)) });
        if let Some(marker) = marker {
            body["properties"] = json!([{ "key": super::MARKER_PROPERTY, "value": { "marker": marker } }]);
        }
        let request = post(&["issue", issue.key.as_str(), "comment"]).json(body);
        self.http.send(&request).await?.made::<Said>().map(|_| ())
    }

    /// Sends a change of an issue, which Jira confirms with 204.
    async fn change(&self, request: Request) -> Result<(), HttpError> {
        self.http.send(&request).await?.done()
    }
}

/// Makes an error of a call about an issue, which may be gone.
pub(super) fn gone(error: HttpError, issue: &IssueRef, doing: Doing) -> TrackerError {
    match error.refused_with() {
        Some(404) => TrackerError::NotFound(issue.to_string()),
        _ => trouble::meaning(error, doing),
    }
}

fn path(segments: &[&str]) -> Vec<String> {
    ["rest", "api", "3"].iter().chain(segments).map(|&segment| segment.to_owned()).collect()
}

fn get(segments: &[&str]) -> Request {
    Request::get(path(segments))
}

fn post(segments: &[&str]) -> Request {
    Request::post(path(segments))
}

/// Leaves out the middle of a text that Jira would refuse as a whole.
fn shortened(markdown: &str) -> String {
    let count = markdown.chars().count();
    if count <= LONGEST_COMMENT {
        return markdown.to_owned();
    }
    let half = LONGEST_COMMENT / 2;
    let begin: String = markdown.chars().take(half).collect();
    let end: String = markdown.chars().skip(count - half).collect();
    format!("{begin}\n\n… {} characters left out …\n\n{end}", count - 2 * half)
}
