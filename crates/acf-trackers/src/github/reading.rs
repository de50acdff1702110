//! Reading issues, for as little of the rate limit as can be.
//!
//! What was read is kept with its ETag, and asked for again with `If-None-Match`: GitHub then answers 304
//! where nothing has changed, which does not count against the primary rate limit
//! (<https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api>). It is
//! GitHub that says so each time; nothing is ever taken from here without asking.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use acf_core::issue::{Issue, IssueKey};
use acf_core::tracker::TrackerError;
use reqwest::header::{ETAG, HeaderValue, IF_NONE_MATCH, LINK};
use serde::de::DeserializeOwned;
use url::Url;

use super::wire::{WireBlocker, WireIssue};
use super::{GitHub, number};
use crate::http::{Answer, HttpError, Request, Trouble};

/// The most that GitHub puts on a page.
const PAGE: usize = 100;
/// Answers that are kept; pages of the list and the issues that are being worked on are far fewer.
const MOST_KEPT: usize = 64;

/// What was read before.
#[derive(Debug, Default)]
pub(super) struct Reader {
    answers: Mutex<HashMap<String, Arc<Answer>>>,
    /// The issues of each list, as last told: what they are blocked by took further calls.
    lists: Mutex<HashMap<String, Vec<Issue>>>,
}

/// An answer, and whether it differs from the one before.
struct Read {
    answer: Arc<Answer>,
    is_new: bool,
}

impl Reader {
    fn kept(&self, name: &str) -> Option<Arc<Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn keep(&self, name: String, answer: &Arc<Answer>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST_KEPT && !answers.contains_key(&name) {
            answers.clear();
        }
        answers.insert(name, Arc::clone(answer));
    }

    fn list(&self, name: &str) -> Option<Vec<Issue>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn keep_list(&self, name: String, issues: Vec<Issue>) {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).insert(name, issues);
    }
}

impl GitHub {
    /// Lists the open issues of all pages, the oldest first; of that assignee only, where one is given.
    pub(super) async fn open_issues(&self, assignee: Option<&str>) -> Result<Vec<Issue>, TrackerError> {
        let mut request = self.repository.get(["issues"]).query("state", "open");
        if let Some(assignee) = assignee {
            request = request.query("assignee", assignee);
        }
        request = request.query("sort", "created").query("direction", "asc");
        let name = request.name();
        let pages: Pages<WireIssue> =
            self.read_pages(request).await.map_err(|error| self.meaning_of_the_list(error))?;
        if let Some(issues) = self.reader.list(&name).filter(|_| !pages.are_new) {
            return Ok(issues);
        }
        let mut issues = Vec::new();
        for found in pages.items.iter().filter(|found| found.is_issue()) {
            issues.push(self.told(found).await?);
        }
        self.reader.keep_list(name, issues.clone());
        Ok(issues)
    }

    /// Reads an issue as it is now.
    pub(super) async fn read_issue(&self, key: &IssueKey) -> Result<WireIssue, TrackerError> {
        let text = number(key)?.to_string();
        let read = async {
            let read = self.read(self.repository.get(["issues", &text])).await?;
            read.answer.json::<WireIssue>()
        };
        match read.await {
            Ok(found) if found.is_issue() => Ok(found),
            Ok(_) => Err(TrackerError::NotFound(format!("{key}: it is a pull request"))),
            Err(error) => Err(self.meaning_for_issue(key, error).await),
        }
    }

    /// Tells what an issue is in acf's words; that takes a further call where something blocks it.
    pub(super) async fn told(&self, found: &WireIssue) -> Result<Issue, TrackerError> {
        let is_blocked =
            found.issue_dependencies_summary.as_ref().is_some_and(|summary| summary.blocked_by > 0);
        let blocked_by =
            if is_blocked && found.is_open() { self.blockers(found.number).await? } else { Vec::new() };
        found.told(self.account.known(), blocked_by)
    }

    async fn blockers(&self, number: u64) -> Result<Vec<String>, TrackerError> {
        let number = number.to_string();
        let request = self.repository.get(["issues", &number, "dependencies", "blocked_by"]);
        match self.read_pages::<WireBlocker>(request).await {
            Ok(pages) => {
                let repository = self.repository.to_string();
                Ok(pages.items.iter().filter_map(|blocker| blocker.name(&repository)).collect())
            }
            // The issue says that something blocks it, and the host does not say what.
            Err(error) if matches!(error.refused_with(), Some(404 | 410)) => {
                Ok(vec!["an issue that the token does not see".to_owned()])
            }
            Err(error) => Err(self.meaning(error)),
        }
    }

    /// Reads all pages of a list.
    pub(super) async fn read_pages<T: DeserializeOwned>(
        &self,
        first: Request,
    ) -> Result<Pages<T>, HttpError> {
        let mut pages = Pages { items: Vec::new(), are_new: false };
        let mut next = Some(first.query("per_page", PAGE.to_string()));
        while let Some(request) = next {
            let Read { answer, is_new } = self.read(request).await?;
            pages.items.extend(answer.json::<Vec<T>>()?);
            pages.are_new |= is_new;
            next = next_page(&answer).map(Request::follow);
        }
        Ok(pages)
    }

    /// Reads something, or learns that it is as it was.
    async fn read(&self, request: Request) -> Result<Read, HttpError> {
        let name = request.name();
        let kept = self.reader.kept(&name).filter(|answer| !is_full_last_page(answer));
        let etag = kept.as_ref().and_then(|answer| HeaderValue::from_str(answer.header(ETAG.as_str())?).ok());
        let request = match etag {
            Some(etag) => request.header(IF_NONE_MATCH, etag),
            None => request,
        };
        let answer = self.client.send(&request).await?;
        match kept {
            Some(kept) if answer.status() == 304 => Ok(Read { answer: kept, is_new: false }),
            _ => {
                let answer = Arc::new(answer);
                self.reader.keep(name, &answer);
                Ok(Read { answer, is_new: true })
            }
        }
    }
}

/// The items of all pages of a list.
pub(super) struct Pages<T> {
    /// In the list's order.
    pub(super) items: Vec<T>,
    /// Whether any page differs from what was read before.
    are_new: bool,
}

/// Tells whether a page is full and nothing follows it. A 304 says nothing of a page that follows by now,
/// so such a one is read anew.
fn is_full_last_page(answer: &Answer) -> bool {
    let count = answer.json::<Vec<serde::de::IgnoredAny>>().map_or(0, |items| items.len());
    count >= PAGE && next_page(answer).is_none()
}

/// Returns the address of the next page, from the `Link` header: `<https://…>; rel="next", <…>; rel="last"`.
fn next_page(answer: &Answer) -> Option<Url> {
    next_link(answer.header(LINK.as_str())?)
}

fn next_link(header: &str) -> Option<Url> {
    header.split(',').find_map(|link| {
        let (address, about) = link.trim().split_once(';')?;
        let is_next = about.split(';').any(|about| about.trim() == r#"rel="next""#);
        let address = address.trim().strip_prefix('<')?.strip_suffix('>')?;
        is_next.then(|| Url::parse(address).ok())?
    })
}

impl GitHub {
    /// Gives an error of the list its meaning: there, 404 is about the repository.
    fn meaning_of_the_list(&self, error: HttpError) -> TrackerError {
        let repository = &self.repository;
        let says = match (error.refused_with(), &*error.trouble) {
            (Some(410), _) => format!("issues are turned off in {repository} ({error})"),
            (_, Trouble::Redirected { .. }) => {
                format!("{repository} was renamed or moved; give its new name ({error})")
            }
            _ => return self.meaning(error),
        };
        TrackerError::Impossible(says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_wherever_it_stands() {
        let next = |header| next_link(header).map(String::from);
        let header = r#"<https://x/i?page=1>; rel="prev", <https://x/i?page=3>; rel="next""#;
        assert_eq!(next(header).unwrap(), "https://x/i?page=3");
        for header in ["", r#"<https://x/i?page=1>; rel="last""#, r#"x; rel="next""#, r#"<no>; rel="next""#] {
            assert_eq!(next(header), None, "{header}");
        }
    }
}
