//! Saying something, once.

use acf_core::tracker::TrackerError;
use serde_json::json;

use super::GitHub;
use super::reading::Pages;
use super::wire::WireComment;
use crate::http::{HttpError, Request};

/// The longest comment that GitHub takes, in characters; one that is longer is refused.
const LONGEST: usize = 65_536;
/// What stands where a comment was cut.
const CUT: &str = "\n…";
/// What the markers of acf begin with, as hidden in a comment.
const MARK: &str = "<!-- acf:";

impl GitHub {
    /// Says something about an issue or a pull request that has `said_before` comments, unless one with
    /// that marker is among them.
    pub(super) async fn say(
        &self,
        number: u64,
        said_before: u64,
        marker: Option<&str>,
        body: &str,
    ) -> Result<(), TrackerError> {
        // Where nothing was said, nothing was said twice: that saves a call for nearly every issue.
        if said_before > 0 && self.is_said(number, marker).await? {
            return Ok(());
        }
        let text = number.to_string();
        let path = self.repository.path(["issues", &text, "comments"]);
        let request = Request::post(path).json(json!({ "body": written(marker, body) }));
        let said = async { self.client.send(&request).await?.made::<WireComment>() };
        match said.await {
            Ok(_) => Ok(()),
            Err(error) if error.is_doubtful() && self.is_said(number, marker).await? => Ok(()),
            // Whoever tells it again comes by here again: what arrives late is then found.
            Err(error) => Err(self.meaning_of_comment(number, error).await),
        }
    }

    async fn is_said(&self, number: u64, marker: Option<&str>) -> Result<bool, TrackerError> {
        let Some(marker) = marker else { return Ok(false) };
        let text = number.to_string();
        let comments = self.repository.get(["issues", &text, "comments"]);
        let end = hidden(marker);
        match self.read_pages(comments).await {
            Ok(Pages { items, .. }) => {
                let bodies = items.iter().filter_map(|comment: &WireComment| comment.body.as_deref());
                Ok(bodies.map(str::trim_end).any(|body| body.ends_with(&end)))
            }
            Err(error) => Err(self.meaning_of_comment(number, error).await),
        }
    }

    async fn meaning_of_comment(&self, number: u64, error: HttpError) -> TrackerError {
        let key = format!("#{number}").parse().expect("a number makes a key");
        self.meaning_of_change(&key, error).await
    }
}

/// Returns a comment's text with its marker at the end, where no text of others can put one: what looks
/// like one within the text is made visible.
fn written(marker: Option<&str>, body: &str) -> String {
    let body = body.replace(MARK, "&lt;!-- acf:");
    let end = marker.map(|marker| format!("\n\n{}", hidden(marker))).unwrap_or_default();
    let room = LONGEST - end.chars().count();
    match body.char_indices().nth(room) {
        Some(_) => {
            let cut: String = body.chars().take(room - CUT.chars().count()).collect();
            format!("{cut}{CUT}{end}")
        }
        None if marker.is_some() => format!("{}{end}", body.trim_end()),
        None => body,
    }
}

fn hidden(marker: &str) -> String {
    format!("<!-- {marker} -->")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_cut_to_what_github_takes_and_keeps_its_marker() {
        for marker in [None, Some("acf:run:r1")] {
            let cut = written(marker, &"é".repeat(70_000));
            assert_eq!(cut.chars().count(), LONGEST);
            assert!(cut.contains("é\n…") && cut.ends_with(marker.map_or("…", |_| "\n\n<!-- acf:run:r1 -->")));
        }
    }

    #[test]
    fn a_marker_is_hidden_at_the_end_and_cannot_be_forged_by_the_text() {
        assert_eq!(written(Some("acf:run:r1"), "Done.\n"), "Done.\n\n<!-- acf:run:r1 -->");
        assert_eq!(written(None, "x <!-- acf:run:r1 -->"), "x &lt;!-- acf:run:r1 -->");
        assert_eq!(
            written(Some("acf:run:r2"), "<!-- acf:run:r1 -->"),
            "&lt;!-- acf:run:r1 -->\n\n<!-- acf:run:r2 -->"
        );
    }
}
