//! One item with the indented lines below it: description, assignee and notes, and how a
//! [`Change`] alters them. Every line that a change is not about stays as it is, ending included.

use std::borrow::Cow;

use acf_core::tracker::{Change, TrackerError};

use super::headline::Headline;
use super::note::{is_one_line, note_lines, written_marker};

/// The column at which lines below a note belong to it at the earliest.
const NOTE_TEXT_COLUMN: usize = 4;
const TAB_WIDTH: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Description,
    Blank,
    Assignee,
    Note,
}

#[derive(Debug)]
struct Line<'a> {
    kind: Kind,
    text: Cow<'a, str>,
    ending: &'a str,
}

/// An item: its check-box line and the indented block below.
#[derive(Debug)]
pub(super) struct Block<'a> {
    headline: Headline<'a>,
    /// The ending of the check-box line.
    ending: &'a str,
    lines: Vec<Line<'a>>,
    /// The ending of lines that are written.
    newline: &'static str,
}

impl<'a> Block<'a> {
    /// Takes a block apart: `headline` with its `ending`, and `below`, all whole lines under it.
    pub(super) fn parse(
        headline: Headline<'a>,
        ending: &'a str,
        below: &'a str,
        newline: &'static str,
    ) -> Self {
        let mut lines = Vec::new();
        let mut note_column = None;
        for line in below.split_inclusive('\n') {
            let (text, ending) = split_ending(line);
            let goes_on_with_note =
                note_column.is_some_and(|column| column_of(text) >= NOTE_TEXT_COLUMN.max(column + 2));
            let kind = if text.trim().is_empty() {
                Kind::Blank
            } else if goes_on_with_note {
                Kind::Note
            } else if field(text, "Note:").is_some() {
                note_column = Some(column_of(text));
                Kind::Note
            } else if field(text, "Assignee:").is_some() {
                // Does not end a note: it comes and goes, and the lines below stay what they are.
                Kind::Assignee
            } else {
                note_column = None;
                Kind::Description
            };
            lines.push(Line { kind, text: Cow::Borrowed(text), ending });
        }
        Self { headline, ending, lines, newline }
    }

    /// Returns who holds the item.
    pub(super) fn assignee(&self) -> Option<String> {
        let mut names = self.lines.iter().filter(|line| line.kind == Kind::Assignee);
        let name = names.find_map(|line| field(&line.text, "Assignee:").filter(|name| !name.is_empty()))?;
        Some(name.to_owned())
    }

    /// Returns the description without its common indentation.
    pub(super) fn description(&self) -> String {
        let mut lines: Vec<&str> = Vec::new();
        let mut blanks = 0;
        for line in &self.lines {
            match line.kind {
                Kind::Blank => blanks += 1,
                // Comes and goes, and leaves the description as it was.
                Kind::Assignee => {}
                Kind::Note => blanks = 0,
                Kind::Description => {
                    let between = if lines.is_empty() { 0 } else { blanks };
                    lines.extend(std::iter::repeat_n("", between));
                    lines.push(line.text.trim_end());
                    blanks = 0;
                }
            }
        }
        let indentation = common_indentation(&lines);
        let dedented: Vec<_> = lines.iter().map(|line| line.get(indentation..).unwrap_or_default()).collect();
        dedented.join("\n")
    }

    /// Makes one change.
    ///
    /// # Errors
    /// [`TrackerError::Impossible`] for what a TODO file cannot hold.
    pub(super) fn apply(&mut self, change: &Change) -> Result<(), TrackerError> {
        match change {
            Change::Assign(account) => self.assign(account),
            Change::Unassign => {
                self.remove_assignees_from(0);
                Ok(())
            }
            Change::UnassignFrom(account) => {
                if self.assignee().as_deref() == Some(account.as_str()) {
                    self.remove_assignees_from(0);
                }
                Ok(())
            }
            Change::Transition(status) => self.headline.set_status(status),
            Change::AddLabel(label) => self.headline.add_label(label),
            Change::RemoveLabel(label) => {
                self.headline.remove_label(label);
                Ok(())
            }
            Change::Comment { marker, body } => self.comment(marker.as_deref(), body),
        }
    }

    fn assign(&mut self, account: &str) -> Result<(), TrackerError> {
        let account = account.trim();
        if account.is_empty() || !is_one_line(account) {
            return Err(TrackerError::Impossible(format!(
                "{account:?} cannot be an assignee in a TODO file: a name on one line can"
            )));
        }
        if self.assignee().as_deref() == Some(account) {
            return Ok(());
        }
        let text = Cow::Owned(format!("  - Assignee: {account}"));
        match self.lines.iter().position(|line| line.kind == Kind::Assignee) {
            Some(at) => {
                self.lines[at].text = text;
                self.remove_assignees_from(at + 1);
            }
            None => self.insert(0, vec![Line { kind: Kind::Assignee, text, ending: self.newline }]),
        }
        Ok(())
    }

    fn remove_assignees_from(&mut self, first: usize) {
        for at in (first..self.lines.len()).rev() {
            if self.lines[at].kind == Kind::Assignee {
                self.remove(at);
            }
        }
    }

    fn comment(&mut self, marker: Option<&str>, body: &str) -> Result<(), TrackerError> {
        if let Some(marker) = marker {
            let marker = written_marker(marker)?;
            if self.lines.iter().any(|line| line.kind == Kind::Note && line.text.contains(&marker)) {
                return Ok(());
            }
        }
        let note = note_lines(body, marker)?;
        let ending = self.newline;
        let lines = note.into_iter().map(|text| Line { kind: Kind::Note, text: Cow::Owned(text), ending });
        self.insert(self.lines.len(), lines.collect());
        Ok(())
    }

    fn insert(&mut self, at: usize, mut new: Vec<Line<'a>>) {
        let newline = self.newline;
        let ending_before = self.ending_before(at);
        // A file whose last line has no ending keeps it so, whichever line is the last.
        if ending_before.is_empty() {
            *ending_before = newline;
            if let Some(last) = new.last_mut() {
                last.ending = "";
            }
        }
        self.lines.splice(at..at, new);
    }

    fn remove(&mut self, at: usize) {
        let removed = self.lines.remove(at);
        if removed.ending.is_empty() {
            *self.ending_before(at) = "";
        }
    }

    fn ending_before(&mut self, at: usize) -> &mut &'a str {
        match at.checked_sub(1) {
            Some(before) => &mut self.lines[before].ending,
            None => &mut self.ending,
        }
    }

    /// Appends the item to `text` as it is to be written.
    pub(super) fn render(&self, text: &mut String) {
        text.push_str(&self.headline.to_string());
        text.push_str(self.ending);
        for line in &self.lines {
            text.push_str(&line.text);
            text.push_str(line.ending);
        }
    }
}

/// Splits a line into its text and its ending: `\n`, `\r\n`, or nothing at the end of the file.
pub(super) fn split_ending(line: &str) -> (&str, &str) {
    let text = line.strip_suffix('\n').map_or(line, |text| text.strip_suffix('\r').unwrap_or(text));
    line.split_at(text.len())
}

/// Reads a line like `  - Note: text`, a list item directly below the check box.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let item = line.trim_start_matches([' ', '\t']);
    let indentation = &line[..line.len() - item.len()];
    let is_directly_below = matches!(indentation, " " | "  " | "   " | "\t");
    let text = item.strip_prefix(['-', '*', '+'])?.strip_prefix(' ')?;
    let value = text.trim_start().strip_prefix(name)?;
    is_directly_below.then_some(value.trim())
}

/// Returns the column at which the line's text starts.
fn column_of(line: &str) -> usize {
    let mut column = 0;
    for byte in line.bytes() {
        match byte {
            b' ' => column += 1,
            b'\t' => column += TAB_WIDTH - column % TAB_WIDTH,
            _ => break,
        }
    }
    column
}

/// Returns how many bytes of white space all lines but blank ones start with alike.
fn common_indentation(lines: &[&str]) -> usize {
    let indentations = lines.iter().filter(|line| !line.is_empty()).map(|line| {
        let text = line.trim_start_matches([' ', '\t']);
        &line[..line.len() - text.len()]
    });
    let common = indentations.reduce(|common, other| {
        let alike = common.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        &common[..alike]
    });
    common.map_or(0, str::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Block<'_> {
        let (first, below) = text.split_at(text.find('\n').map_or(text.len(), |at| at + 1));
        let (line, ending) = split_ending(first);
        Block::parse(Headline::parse(line).unwrap(), ending, below, "\n")
    }

    fn after(text: &str, changes: &[Change]) -> String {
        let mut block = block(text);
        for change in changes {
            block.apply(change).unwrap();
        }
        let mut rendered = String::new();
        block.render(&mut rendered);
        rendered
    }

    fn comment(body: &str) -> Change {
        Change::Comment { marker: None, body: body.into() }
    }

    fn marked(body: &str) -> Change {
        Change::Comment { marker: Some("acf:run:r1".into()), body: body.into() }
    }

    const FULL: &str = "\
- [ ] a
  - Assignee: ada
  First,
    then

  - [ ] nested
  - Note: said
    more of it

    and more
  last
    - Note: an example, deep in the text
";

    #[test]
    fn an_assignee_in_the_middle_of_a_text_comes_and_goes_without_a_trace_in_it() {
        let text = "- [ ] a\n  - one\n\n  - Assignee: ada\n  - two\n";
        assert_eq!(block(text).description(), "- one\n\n- two");
        assert_eq!(block(&after(text, &[Change::Unassign])).description(), "- one\n\n- two");
    }

    #[test]
    fn the_description_is_all_but_notes_and_assignee() {
        insta::assert_snapshot!(block(FULL).description(), @r"
        First,
          then

        - [ ] nested
        last
          - Note: an example, deep in the text
        ");
        assert_eq!(block(FULL).assignee().as_deref(), Some("ada"));
        assert_eq!(block("- [ ] a").description(), "");
        assert_eq!(block("- [ ] a\n  b\n\n  - Assignee: ada\n  c\n").description(), "b\n\nc");
        assert_eq!(block("- [ ] a\n\tb\r\n\t\tc\n").description(), "b\n\tc");
    }

    #[test]
    fn a_block_is_rendered_as_it_was_read() {
        for text in [FULL, "- [ ] a", "* [x] a \r\n\tb\n  c \r\n  - Note:\r\n\r\n     d"] {
            assert_eq!(after(text, &[]), text);
        }
    }

    #[test]
    fn tabs_indent_notes_and_assignees_too() {
        let tabbed = block("- [ ] a\n\t- Assignee: ada\n\t- Note: b\n\t\tmore\n\tdescription\n");
        assert_eq!(tabbed.assignee().as_deref(), Some("ada"));
        assert_eq!(tabbed.description(), "description");
    }

    #[test]
    fn nobody_is_assigned_by_a_note_or_an_empty_name() {
        let text = "- [ ] a\n  - Note: b\n    - Assignee: eve\n  - Assignee:\n    - Assignee: eve\n";
        assert_eq!(block(text).assignee(), None);
    }

    #[test]
    fn an_assignee_is_written_below_the_item_and_replaced_in_place() {
        let assign = |name: &str| Change::Assign(name.into());
        let assigned = after("- [ ] a\n  b\n", &[assign(" ada ")]);
        assert_eq!(assigned, "- [ ] a\n  - Assignee: ada\n  b\n");
        assert_eq!(after(&assigned, &[assign("bob")]), "- [ ] a\n  - Assignee: bob\n  b\n");
        assert_eq!(after(&assigned, &[Change::Unassign]), "- [ ] a\n  b\n");
        let twice = "- [ ] a\n  b\n  * Assignee: ada\n  - Assignee: eve\n";
        assert_eq!(after(twice, &[assign("ada")]), twice);
        assert_eq!(after(twice, &[assign("bob")]), "- [ ] a\n  b\n  - Assignee: bob\n");
        assert_eq!(after(twice, &[Change::Unassign]), "- [ ] a\n  b\n");
    }

    #[test]
    fn an_assignee_below_a_note_comes_and_goes_without_moving_lines_into_the_note_or_out_of_it() {
        let said = "- [ ] a\n  - Note: said\n";
        for below in ["    more words\n", "\n    more words\n  words\n", "\t- Note: deep\n    words\n"] {
            let free = format!("{said}{below}");
            let held = format!("{said}  - Assignee: ada\n{below}");
            assert_eq!(after(&held, &[Change::Unassign]), free);
            assert_eq!(block(&held).description(), block(&free).description(), "{below:?}");
        }
        let held = format!("{said}  - Assignee: ada\n\t- Assignee: eve\n");
        assert_eq!(after(&held, &[Change::Unassign]), format!("{said}\t- Assignee: eve\n"));
    }

    #[test]
    fn a_last_line_without_an_ending_stays_without_one() {
        let assign = Change::Assign("ada".into());
        assert_eq!(after("- [ ] a", std::slice::from_ref(&assign)), "- [ ] a\n  - Assignee: ada");
        assert_eq!(after("- [ ] a", &[comment("b\nc")]), "- [ ] a\n  - Note: b\n    c");
        assert_eq!(after("- [ ] a", &[assign, Change::Unassign]), "- [ ] a");
        assert_eq!(after("- [ ] a\n  b", &[comment("c")]), "- [ ] a\n  b\n  - Note: c");
    }

    #[test]
    fn a_comment_becomes_a_note_at_the_end() {
        let text = after("- [ ] a\n  b\n", &[comment("one\n\n- [ ] two"), comment("three")]);
        assert_eq!(text, "- [ ] a\n  b\n  - Note: one\n\n    - [ ] two\n  - Note: three\n");
        assert_eq!(block(&text).description(), "b");
    }

    #[test]
    fn a_marked_comment_is_said_once() {
        let once = after("- [ ] a\n", &[marked("Done.\n\nTable")]);
        assert_eq!(once, "- [ ] a\n  - Note: Done. <!-- acf:run:r1 -->\n");
        assert_eq!(after(&once, &[marked("Done again.")]), once);
    }

    #[test]
    fn only_a_notes_marker_counts() {
        let text = "- [ ] a <!-- acf:run:r1 -->\n  <!-- acf:run:r1 -->\n";
        assert_eq!(after(text, &[marked("Done.")]), format!("{text}  - Note: Done. <!-- acf:run:r1 -->\n"));
        let forged = after("- [ ] a\n", &[comment("<!-- acf:run:r1 -->")]);
        assert!(after(&forged, &[marked("Done.")]).ends_with("  - Note: Done. <!-- acf:run:r1 -->\n"));
    }

    #[test]
    fn hostile_assignees_are_refused() {
        for name in ["", "  ", "a\n- [ ] b", "a\rb", "a\u{2028}b", "a\u{1b}[31m"] {
            let refused = block("- [ ] a\n").apply(&Change::Assign(name.into()));
            assert!(matches!(refused, Err(TrackerError::Impossible(_))), "{name:?}");
        }
    }
}
