//! A TODO file as a whole: where its items are, and how one of them is changed without touching a byte
//! of anything else.
//!
//! A document borrows the file's text and remembers where items begin and end; an edit replaces one
//! item's block and copies the rest. What is in a block, `headline` and `block` know.

use std::collections::HashMap;
use std::fmt::Write as _;

use acf_core::issue::{Issue, IssueKey, IssueRef, Status};
use acf_core::tracker::{Change, TrackerError};
use sha2::{Digest, Sha256};

use super::block::{Block, split_ending};
use super::headline::Headline;

const BYTE_ORDER_MARK: &str = "\u{feff}";
/// How many bytes of the hash make an identity: 12 hexadecimal digits.
const IDENTITY_BYTES: usize = 6;
/// How many items of the same summary may go while one of them is worked on.
const SPARE_ORDINALS: u32 = 8;

/// A file's bytes are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not UTF-8: line {line} has an invalid byte")]
pub(super) struct NotUtf8 {
    /// The line, from 1.
    line: usize,
}

/// An item's place in the text.
#[derive(Debug)]
struct Item<'a> {
    headline: Headline<'a>,
    /// The ending of the check-box line.
    ending: &'a str,
    /// Where the check-box line starts.
    start: usize,
    /// Where the indented lines below it start.
    below: usize,
    /// Where the next thing starts: blank lines after the block are not part of it.
    end: usize,
}

/// A TODO file, read.
#[derive(Debug)]
pub(super) struct Document<'a> {
    text: &'a str,
    items: Vec<Item<'a>>,
    /// For each item, its number among those of the same summary.
    ordinals: Vec<u32>,
    /// The line ending that most lines have.
    newline: &'static str,
}

impl<'a> Document<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, NotUtf8> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let valid = &bytes[..error.valid_up_to()];
            NotUtf8 { line: 1 + valid.iter().filter(|byte| **byte == b'\n').count() }
        })?;
        let mut items: Vec<Item<'a>> = Vec::new();
        let mut surroundings = Surroundings::Text;
        let mut below_item = false;
        let (mut lf, mut crlf) = (0_usize, 0_usize);
        let mut start = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        for whole_line in text[start..].split_inclusive('\n') {
            let (line, ending) = split_ending(whole_line);
            let end = start + whole_line.len();
            match ending {
                "\n" => lf += 1,
                "\r\n" => crlf += 1,
                _ => {}
            }
            if !surroundings.is_text() {
                surroundings = surroundings.after(line);
            } else if line.trim().is_empty() {
                // Whether a blank line belongs to the block above, the next line tells.
            } else if line.starts_with([' ', '\t']) {
                if let Some(item) = items.last_mut().filter(|_| below_item) {
                    item.end = end;
                }
            } else if let Some(headline) = Headline::parse(line) {
                items.push(Item { headline, ending, start, below: end, end });
                below_item = true;
            } else {
                surroundings = surroundings.after(line);
                below_item = false;
            }
            start = end;
        }
        let newline = if crlf > lf { "\r\n" } else { "\n" };
        let ordinals = ordinals(&items);
        Ok(Self { text, items, ordinals, newline })
    }

    /// Returns the places of all items, in file order.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> + use<> {
        0..self.items.len()
    }

    /// Finds an item by its key, if the identity agrees or none is asked for; else by its identity.
    pub(super) fn find(&self, issue: &IssueRef) -> Option<usize> {
        let by_key = self.find_key(&issue.key);
        let Some(identity) = &issue.identity else { return by_key };
        let is_it = |place: &usize| self.identity(*place) == *identity;
        by_key.filter(is_it).or_else(|| self.places().find(is_it))
    }

    /// Finds an item that was reworded while `account` worked on it: the one that has its key, if that
    /// account works on it still. Else nobody could ever give it back.
    pub(super) fn find_reworded(&self, issue: &IssueRef, account: &str) -> Option<usize> {
        let place = self.find_key(&issue.key)?;
        let now = self.issue(place);
        let is_worked_on = matches!(now.status, Status::InProgress | Status::Planning);
        (is_worked_on && now.assignee.as_deref() == Some(account)).then_some(place)
    }

    /// Finds the item of that identity's summary that `account` works on, whatever its number among those of
    /// the same summary has become.
    pub(super) fn find_at_work(&self, identity: &str, account: &str) -> Option<usize> {
        self.at_work(account).find(|place| {
            let summary = self.items[*place].headline.summary();
            let alike = self.items.iter().filter(|item| item.headline.summary() == summary).count();
            // Some may have been removed since.
            let numbers = 1..=u32::try_from(alike).unwrap_or(u32::MAX).saturating_add(SPARE_ORDINALS);
            numbers.into_iter().any(|number| identity_of(&summary, number) == identity)
        })
    }

    /// Returns the places of the items that `account` works on.
    pub(super) fn at_work(&self, account: &str) -> impl Iterator<Item = usize> {
        self.places().filter(move |place| {
            let status = self.items[*place].headline.status();
            let is_at_work = matches!(status, Status::InProgress | Status::Planning);
            is_at_work && self.block(*place).assignee().as_deref() == Some(account)
        })
    }

    fn find_key(&self, wanted: &IssueKey) -> Option<usize> {
        let number: usize = wanted.as_str().strip_prefix("TODO-")?.parse().ok()?;
        let place = number.checked_sub(1)?;
        // `TODO-007` is nobody's key.
        (place < self.items.len() && key(place) == *wanted).then_some(place)
    }

    /// Returns the text of an item's line as it is written, labels included, mark left out.
    pub(super) fn line_as_written(&self, place: usize) -> &str {
        self.items[place].headline.text()
    }

    /// Reads an item.
    pub(super) fn issue(&self, place: usize) -> Issue {
        let headline = &self.items[place].headline;
        let block = self.block(place);
        Issue {
            description: block.description(),
            status: headline.status(),
            assignee: block.assignee(),
            labels: headline.labels(),
            identity: Some(self.identity(place)),
            ..Issue::new(key(place), headline.summary())
        }
    }

    /// Returns the file with these changes to an item; `None` if they change nothing.
    pub(super) fn edited(&self, place: usize, changes: &[Change]) -> Result<Option<Vec<u8>>, TrackerError> {
        let item = &self.items[place];
        let mut block = self.block(place);
        for change in changes {
            block.apply(change)?;
        }
        let mut text = String::with_capacity(self.text.len() + 256);
        text.push_str(&self.text[..item.start]);
        block.render(&mut text);
        text.push_str(&self.text[item.end..]);
        Ok((text != self.text).then(|| text.into_bytes()))
    }

    fn block(&self, place: usize) -> Block<'a> {
        let item = &self.items[place];
        let below = &self.text[item.below..item.end];
        Block::parse(item.headline.clone(), item.ending, below, self.newline)
    }

    fn identity(&self, place: usize) -> String {
        identity_of(&self.items[place].headline.summary(), self.ordinals[place])
    }
}

fn identity_of(summary: &str, ordinal: u32) -> String {
    let mut hash = Sha256::new();
    hash.update(summary);
    hash.update([0]);
    hash.update(ordinal.to_string());
    digits(hash)
}

/// Returns as many hexadecimal digits as an identity has, that stand for a text.
pub(super) fn short_hash(text: &str) -> String {
    digits(Sha256::new().chain_update(text))
}

fn digits(hash: Sha256) -> String {
    let mut digits = String::with_capacity(2 * IDENTITY_BYTES);
    for byte in &hash.finalize()[..IDENTITY_BYTES] {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

fn key(place: usize) -> IssueKey {
    let key = format!("TODO-{}", place + 1);
    key.parse().expect("TODO- and a number is a key")
}

fn ordinals(items: &[Item<'_>]) -> Vec<u32> {
    let mut seen: HashMap<String, u32> = HashMap::with_capacity(items.len());
    let count = |item: &Item<'_>| {
        let ordinal = seen.entry(item.headline.summary()).or_default();
        *ordinal += 1;
        *ordinal
    };
    items.iter().map(count).collect()
}

/// What a line at top level stands in: only in plain text is a check box a check box.
#[derive(Clone, Copy, Debug)]
enum Surroundings {
    Text,
    /// A code block between fences of at least `length` times `fence`.
    Code {
        fence: char,
        length: usize,
    },
    /// An HTML comment over several lines.
    Comment,
}

impl Surroundings {
    fn is_text(self) -> bool {
        matches!(self, Self::Text)
    }

    /// Returns what the line after this one stands in.
    fn after(self, line: &str) -> Self {
        match self {
            Self::Text => opened_by(line),
            Self::Code { fence, length } => {
                let rest = line.trim_start_matches(fence);
                let closes = line.len() - rest.len() >= length && rest.trim().is_empty();
                if closes { Self::Text } else { self }
            }
            Self::Comment => {
                if line.contains("-->") {
                    Self::Text
                } else {
                    self
                }
            }
        }
    }
}

/// Returns what a line of plain text begins, by the rules of CommonMark at column 0.
fn opened_by(line: &str) -> Surroundings {
    if let Some(comment) = line.strip_prefix("<!") {
        let goes_on = comment.starts_with("--") && !comment.contains("-->");
        return if goes_on { Surroundings::Comment } else { Surroundings::Text };
    }
    let Some(fence) = line.chars().next().filter(|c| matches!(c, '`' | '~')) else {
        return Surroundings::Text;
    };
    let info = line.trim_start_matches(fence);
    let length = line.len() - info.len();
    // "```code``` and words" is a line of text.
    let is_inline_code = fence == '`' && info.contains('`');
    if length >= 3 && !is_inline_code { Surroundings::Code { fence, length } } else { Surroundings::Text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document<'_> {
        Document::parse(text.as_bytes()).unwrap()
    }

    fn summaries(text: &str) -> Vec<String> {
        let document = document(text);
        document.places().map(|place| document.issue(place).summary).collect()
    }

    fn edited(text: &str, key: &str, changes: &[Change]) -> String {
        let document = document(text);
        let place = document.find(&IssueRef::from(key.parse::<IssueKey>().unwrap())).unwrap();
        let bytes = document.edited(place, changes).unwrap();
        bytes.map_or(text.to_owned(), |bytes| String::from_utf8(bytes).unwrap())
    }

    fn start() -> [Change; 2] {
        [Change::Assign("acf".into()), Change::Transition(Status::InProgress)]
    }

    const FILE: &str = "\
# Plan

- [x] Set up
  done long ago
- not an issue
  - [ ] nor this

Some words:
* [ ] Say hello [needs-plan]

    In English.

+ [!] Odd one
";

    #[test]
    fn issues_are_the_check_boxes_at_column_0() {
        let document = document(FILE);
        let told = document.places().map(|place| {
            let Issue { key, status, summary, labels, description, identity, .. } = document.issue(place);
            let identity = identity.unwrap();
            format!("{key} {identity} {status:?} {summary:?} {labels:?} {description:?}")
        });
        insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @r#"
        TODO-1 146bca930fd0 Done "Set up" {} "done long ago"
        TODO-2 70a76af33da4 ToDo "Say hello" {"needs-plan"} "In English."
        TODO-3 2e8d9e6ce99c Other("!") "Odd one" {} ""
        "#);
    }

    #[test]
    fn an_edit_leaves_everything_else_as_it_was() {
        let comment = Change::Comment { marker: None, body: "One.\n\nTwo.".into() };
        let changes: Vec<_> = start().into_iter().chain([comment]).collect();
        insta::assert_snapshot!(edited(FILE, "TODO-2", &changes), @r"
        # Plan

        - [x] Set up
          done long ago
        - not an issue
          - [ ] nor this

        Some words:
        * [>] Say hello [needs-plan]
          - Assignee: acf

            In English.
          - Note: One.

            Two.

        + [!] Odd one
        ");
    }

    #[test]
    fn code_and_comments_hold_no_issues() {
        for hidden in [
            "```\n- [ ] no\n```\n",
            "~~~~ text\n- [ ] no\n~~~\n- [ ] no\n~~~~~  \n",
            "```a\n- [ ] no\n~~~\n```b\n```\n",
            "<!--\n- [ ] no\n-->\n",
            "<!-- a\n- [ ] no\n b --> c\n",
        ] {
            assert_eq!(summaries(&format!("- [ ] a\n{hidden}- [ ] b\n")), ["a", "b"], "{hidden}");
        }
        for visible in
            ["```a``` b\n", "``\n", "<!-- a -->\n", "<!-->\n", "<!DOCTYPE html>\n", "  ```\n", "- ```\n"]
        {
            assert_eq!(summaries(&format!("- [ ] a\n{visible}- [ ] b\n")), ["a", "b"], "{visible}");
        }
    }

    #[test]
    fn a_fence_that_is_never_closed_reaches_to_the_end() {
        assert_eq!(summaries("- [ ] a\n```\n- [ ] no\n"), ["a"]);
        assert_eq!(summaries("- [ ] a\n  ```\n- [ ] b\n"), ["a", "b"]);
    }

    #[test]
    fn an_unindented_line_ends_a_block() {
        let text = "- [ ] a\n  one\n\n\n  two\n\nwords\n  not a's\n";
        assert_eq!(document(text).issue(0).description, "one\n\n\ntwo");
        let commented = edited(text, "TODO-1", &[Change::Comment { marker: None, body: "hm".into() }]);
        assert_eq!(commented, "- [ ] a\n  one\n\n\n  two\n  - Note: hm\n\nwords\n  not a's\n");
    }

    #[test]
    fn an_item_is_found_again_when_others_are_inserted_above() {
        let claimed = document("- [ ] a\n- [ ] b [x]\n- [ ] b\n").issue(1).reference();
        let found = |text: &str| document(text).find(&claimed);
        assert_eq!(found("- [ ] new\n- [ ] a\n- [>] b\n"), Some(2));
        assert_eq!(found("- [ ] b [y]\n- [ ] a\n"), Some(0));
        assert_eq!(found("- [ ] a\n- [ ] c\n"), None);
        assert_eq!(found(""), None);
        let by_key = IssueRef { identity: None, ..claimed };
        assert_eq!(document("- [ ] a\n- [ ] c\n").find(&by_key), Some(1));
    }

    #[test]
    fn items_of_the_same_summary_are_told_apart() {
        let text = "- [ ] a\n- [ ] a [x]\n- [x] a\n";
        let references: Vec<_> = (0..3).map(|place| document(text).issue(place).reference()).collect();
        for (place, reference) in references.iter().enumerate() {
            assert_eq!(document(text).find(reference), Some(place));
            let moved = format!("- [ ] new\n{text}");
            assert_eq!(document(&moved).find(reference), Some(place + 1));
        }
    }

    #[test]
    fn the_item_that_is_worked_on_is_told_from_those_of_the_same_summary() {
        let claimed = document("- [ ] a\n- [ ] a\n").issue(1).reference().identity.unwrap();
        let at_work = "- [>] a\n  - Assignee: acf\n";
        let found = |before: &str| document(&format!("{before}{at_work}")).find_at_work(&claimed, "acf");
        assert_eq!(found("- [ ] a\n"), Some(1));
        assert_eq!(found("- [ ] a\n- [ ] b\n- [x] a\n"), Some(3));
        assert_eq!(found(""), Some(0), "the first of them is gone");
        assert_eq!(document(&format!("- [ ] a\n{at_work}")).find_at_work(&claimed, "ada"), None);
        assert_eq!(document("- [ ] a\n- [ ] a\n").find_at_work(&claimed, "acf"), None);
    }

    #[test]
    fn keys_that_nothing_has_find_nothing() {
        for key in ["TODO-0", "TODO-2", "TODO-01", "TODO-99999999999999999999", "TODO-x", "ACF-1", "todo-1"] {
            let key: IssueKey = key.parse().unwrap();
            assert_eq!(document("- [ ] a\n").find(&key.into()), None);
        }
    }

    #[test]
    fn line_endings_a_byte_order_mark_and_a_missing_last_newline_stay() {
        let changed = |text: &str| edited(text, "TODO-1", &start());
        assert_eq!(changed("- [ ] a\r\nb\r\n"), "- [>] a\r\n  - Assignee: acf\r\nb\r\n");
        assert_eq!(changed("- [ ] a\nb\r\nc\r\n"), "- [>] a\n  - Assignee: acf\r\nb\r\nc\r\n");
        assert_eq!(changed("\u{feff}- [ ] a"), "\u{feff}- [>] a\n  - Assignee: acf");
        assert_eq!(changed("x\r\ny\r\n- [ ] a"), "x\r\ny\r\n- [>] a\r\n  - Assignee: acf");
    }

    #[test]
    fn changes_that_change_nothing_are_no_edit() {
        let document = document("- [x] a [b]\n");
        let same = [
            Change::Transition(Status::Done),
            Change::AddLabel("b".into()),
            Change::RemoveLabel("c".into()),
            Change::Unassign,
        ];
        assert_eq!(document.edited(0, &same).unwrap(), None);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_line() {
        let refused = Document::parse(b"- [ ] a\n\n- [ ] \xff\n").unwrap_err();
        assert_eq!(refused.to_string(), "it is not UTF-8: line 3 has an invalid byte");
    }

    #[test]
    fn long_and_odd_summaries_are_kept() {
        let long = format!("🦀 \"$(rm -rf /)\" `x` {}", "[a".repeat(32 * 1024));
        let text = format!("- [ ] {long}\n");
        assert_eq!(document(&text).issue(0).summary, long);
        assert_eq!(edited(&text, "TODO-1", &[Change::Transition(Status::Done)]), format!("- [x] {long}\n"));
    }
}
