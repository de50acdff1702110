//! The check-box line of an item: its mark, its labels and its summary, and how they are changed.
//!
//! Lines below it are `block`'s; which line is a check box at top level at all, `document` decides.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use acf_core::issue::{Status, label};
use acf_core::tracker::TrackerError;

use super::labels::{self, without_labels};

/// The marks that acf writes. In Review has none of its own: it is `>` and the label `in-review`.
const MARKS: [(char, Status); 6] = [
    (' ', Status::ToDo),
    ('~', Status::Planning),
    ('?', Status::AwaitingPlanReview),
    ('p', Status::PlanApproved),
    ('>', Status::InProgress),
    ('x', Status::Done),
];

/// What an open check box without words is called: a placeholder, which no worker is to take.
const NO_SUMMARY: &str = "no summary";

/// A line such as `- [>] Say hello [needs-plan]`.
#[derive(Clone, Debug)]
pub(super) struct Headline<'a> {
    /// Everything before the mark: `- [`.
    lead: &'a str,
    mark: char,
    /// Everything after the bracket that closes the mark: ` Say hello [needs-plan]`.
    body: Cow<'a, str>,
}

impl<'a> Headline<'a> {
    /// Reads a line without its ending; `None` if it is no check box at column 0.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let after_bullet = line.strip_prefix(['-', '*', '+'])?;
        let bracketed = after_bullet.trim_start_matches(' ');
        let spaces = after_bullet.len() - bracketed.len();
        let inside = bracketed.strip_prefix('[')?;
        let mark = inside.chars().next()?;
        let body = inside[mark.len_utf8()..].strip_prefix(']')?;

        // Five spaces make an indented code block, and `[x](…)` is a link.
        let is_list_item = (1..=4).contains(&spaces);
        let is_mark = !matches!(mark, '[' | ']') && !mark.is_control();
        let is_box = is_mark && (body.is_empty() || body.starts_with([' ', '\t']));
        let lead = &line[..line.len() - inside.len()];
        (is_list_item && is_box).then_some(Self { lead, mark, body: Cow::Borrowed(body) })
    }

    /// Returns the text after the mark as it is written, labels included.
    pub(super) fn text(&self) -> &str {
        self.body.trim()
    }

    /// Returns the text without labels.
    pub(super) fn summary(&self) -> String {
        without_labels(&self.body, |_| true).trim().to_owned()
    }

    pub(super) fn labels(&self) -> BTreeSet<String> {
        labels::of(&self.body).into_iter().map(str::to_owned).collect()
    }

    fn has_label(&self, wanted: &str) -> bool {
        labels::of(&self.body).contains(label::canonical(wanted))
    }

    pub(super) fn status(&self) -> Status {
        let is_placeholder = || without_labels(&self.body, |_| true).trim().is_empty();
        match self.mark {
            '>' if self.has_label(label::IN_REVIEW) => Status::InReview,
            ' ' if is_placeholder() => Status::Other(NO_SUMMARY.to_owned()),
            'X' => Status::Done,
            mark => MARKS
                .into_iter()
                .find(|(known, _)| *known == mark)
                .map_or_else(|| Status::Other(mark.to_string()), |(_, status)| status),
        }
    }

    /// Writes the mark of that status.
    ///
    /// # Errors
    /// [`TrackerError::Impossible`] for a status without a mark.
    pub(super) fn set_status(&mut self, status: &Status) -> Result<(), TrackerError> {
        let marked_as = if *status == Status::InReview { &Status::InProgress } else { status };
        let mark = MARKS.into_iter().find(|(_, known)| known == marked_as).map(|(mark, _)| mark);
        let Some(mark) = mark else {
            let possible = Status::KNOWN.map(|status| status.name().to_owned()).join(", ");
            return Err(TrackerError::Impossible(format!(
                "a TODO file has no status {status:?}; possible are {possible}",
                status = status.name()
            )));
        };
        if self.status() == *status {
            return Ok(());
        }
        self.mark = mark;
        if *status == Status::InReview {
            self.add_label(label::IN_REVIEW)
        } else {
            self.remove_label(label::IN_REVIEW);
            Ok(())
        }
    }

    /// Appends a label, unless it is there.
    ///
    /// # Errors
    /// [`TrackerError::Impossible`] for a text that would not be read back as a label.
    pub(super) fn add_label(&mut self, label: &str) -> Result<(), TrackerError> {
        if !labels::is_label(label) {
            return Err(TrackerError::Impossible(format!(
                "{label:?} cannot be a label in a TODO file: letters, digits and `.`, `_`, `/`, `-` can"
            )));
        }
        if !self.has_label(label) {
            let end = self.body.trim_end().len();
            self.body.to_mut().insert_str(end, &format!(" [{label}]"));
        }
        Ok(())
    }

    /// Removes a label wherever it stands; one that is not there is no error.
    pub(super) fn remove_label(&mut self, unwanted: &str) {
        if !self.has_label(unwanted) {
            return;
        }
        let unwanted = label::canonical(unwanted);
        let mut body = without_labels(&self.body, |label| label == unwanted).into_owned();
        // `- [ ] [bug], later` must not become `- [ ], later`, which is no check box.
        if !body.is_empty() && !body.starts_with([' ', '\t']) {
            body.insert(0, ' ');
        }
        self.body = Cow::Owned(body);
    }
}

impl fmt::Display for Headline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}]{}", self.lead, self.mark, self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headline(line: &str) -> Headline<'_> {
        Headline::parse(line).unwrap_or_else(|| panic!("{line:?} is no check box"))
    }

    fn labels_of(line: &str) -> Vec<String> {
        headline(line).labels().into_iter().collect()
    }

    #[test]
    fn check_boxes_are_told_from_other_lines() {
        for line in ["- [ ] a", "* [x] a", "+ [>] a", "- [ ]", "- [ ] ", "-   [ ] a", "- [é] a", "- [ ]\ta"]
        {
            assert_eq!(headline(line).to_string(), line);
        }
        for line in [
            "",
            "-",
            "- a",
            " - [ ] a",
            "\t- [ ] a",
            "-[ ] a",
            "- [] a",
            "- [xx] a",
            "- [x](a)",
            "- [x]a",
            "- [x]: a",
            "1. [ ] a",
            "- [",
            "- [ ",
            "-     [ ] a",
            "> - [ ] a",
            "- []] a",
            "- [\u{1b}] a",
        ] {
            assert!(Headline::parse(line).is_none(), "{line:?} is a check box");
        }
    }

    #[test]
    fn marks_are_statuses() {
        let status = |mark| headline(&format!("- [{mark}] a")).status();
        assert_eq!(status(' '), Status::ToDo);
        assert_eq!(status('~'), Status::Planning);
        assert_eq!(status('?'), Status::AwaitingPlanReview);
        assert_eq!(status('p'), Status::PlanApproved);
        assert_eq!(status('>'), Status::InProgress);
        assert_eq!((status('x'), status('X')), (Status::Done, Status::Done));
        assert_eq!(status('!'), Status::Other("!".into()));
        assert_eq!(headline("- [>] a [in-review]").status(), Status::InReview);
        assert_eq!(headline("- [ ] a [in-review]").status(), Status::ToDo);
    }

    #[test]
    fn an_open_box_without_words_is_not_to_do() {
        for line in ["- [ ]", "- [ ] ", "- [ ] [needs-plan]"] {
            assert_eq!(headline(line).status(), Status::Other("no summary".into()));
        }
    }

    #[test]
    fn words_in_brackets_that_stand_alone_are_labels() {
        assert_eq!(
            labels_of("- [ ] [bug] Fix it [needs-plan] [v1.2/x_y]."),
            ["bug", "needs-plan", "v1.2/x_y"]
        );
        for (line, labels) in [
            ("- [ ] x [needs-plan][urgent]", vec!["needs-plan", "urgent"]),
            ("- [ ] x [needs-plan, urgent,v2] ", vec!["needs-plan", "urgent", "v2"]),
            ("- [ ] b[needs-plan]", vec!["needs-plan"]),
            ("- [ ] b[needs-plan][a] [c,d]", vec!["a", "c", "d", "needs-plan"]),
            ("- [ ] see [docs](x)[needs-plan]", vec!["needs-plan"]),
            ("- [ ] set a[i][needs-plan]", vec!["needs-plan"]),
            ("- [ ] x [Needs-Plan] [BUG]", vec!["BUG", "needs-plan"]),
            ("- [ ] x [bug],[needs-plan]", vec!["bug", "needs-plan"]),
        ] {
            assert_eq!(labels_of(line), labels, "{line}");
        }
        for line in [
            "- [ ] see [docs](http://x)",
            "- [ ] see [docs][manual] again",
            "- [ ] swap [a, b] in place",
            "- [ ] x[needs-plan] and more",
            "- [ ] say `[needs-plan]`",
            "- [ ] say \\[needs-plan]",
            "- [ ] x [needs-plan](http://x)",
            "- [ ] [a,]",
            "- [ ] [a, b c]",
            "- [ ] [ a]",
            "- [ ] see [docs][1]",
            "- [ ] [docs]: x",
            "- [ ] a[i] b",
            "- [ ] [1]",
            "- [ ] [a b]",
            "- [ ] [é]",
            "- [ ] [",
            "- [ ] [a",
            "- [ ] []",
            "- [ ] the [i]th",
            "- [ ] [[a]]",
        ] {
            assert_eq!(labels_of(line), [""; 0], "{line}");
        }
    }

    #[test]
    fn the_summary_leaves_mark_and_labels_out() {
        assert_eq!(headline("- [ ]  [bug] Fix  it [needs-plan], now [x] ").summary(), "Fix  it, now");
        for line in ["- [ ] x [needs-plan][urgent]", "- [ ] x[needs-plan]", "- [ ] x [needs-plan, urgent]"] {
            assert_eq!(headline(line).summary(), "x");
        }
        assert_eq!(headline("- [ ]  [bug] Fix it [x] ").text(), "[bug] Fix it [x]");
        assert_eq!(headline(r#"- [ ] "$(rm)" 🦀 `a` [ab](c)"#).summary(), r#""$(rm)" 🦀 `a` [ab](c)"#);
    }

    #[test]
    fn statuses_are_written_as_marks_and_in_review_with_its_label() {
        let mut line = headline("* [ ] a [bug]  ");
        let mut written = |status| {
            line.set_status(&status).unwrap();
            assert_eq!(line.status(), status);
            line.to_string()
        };
        assert_eq!(written(Status::InReview), "* [>] a [bug] [in-review]  ");
        assert_eq!(written(Status::InProgress), "* [>] a [bug]  ");
        assert_eq!(written(Status::Planning), "* [~] a [bug]  ");
        assert_eq!(written(Status::AwaitingPlanReview), "* [?] a [bug]  ");
        assert_eq!(written(Status::PlanApproved), "* [p] a [bug]  ");
        assert_eq!(written(Status::Done), "* [x] a [bug]  ");
        assert_eq!(written(Status::ToDo), "* [ ] a [bug]  ");
    }

    #[test]
    fn a_status_that_is_so_already_is_not_written() {
        let mut line = headline("- [X] a");
        line.set_status(&Status::Done).unwrap();
        assert_eq!(line.to_string(), "- [X] a");
    }

    #[test]
    fn a_reopened_item_that_kept_its_review_label_can_be_started() {
        let mut line = headline("- [ ] a [in-review]");
        line.set_status(&Status::InProgress).unwrap();
        assert_eq!((line.to_string().as_str(), line.status()), ("- [>] a", Status::InProgress));
    }

    #[test]
    fn a_status_without_a_mark_is_refused_with_the_possible_ones() {
        let refused = headline("- [ ] a").set_status(&Status::Other("Backlog".into())).unwrap_err();
        insta::assert_snapshot!(refused, @r#"a TODO file has no status "Backlog"; possible are To Do, Planning, Awaiting Plan Review, Plan Approved, In Progress, In Review, Done"#);
    }

    #[test]
    fn labels_come_and_go_without_a_trace() {
        for line in ["- [ ] a", "- [ ] a  ", "- [ ]", "- [ ] ", "- [ ] [bug] a [x](y)", "- [ ] a:"] {
            let mut edited = headline(line);
            edited.add_label("needs-plan").unwrap();
            edited.add_label("needs-plan").unwrap();
            assert_eq!(edited.to_string().matches("needs-plan").count(), 1, "{edited}");
            assert!(headline(&edited.to_string()).has_label("needs-plan"), "{edited}");
            edited.remove_label("needs-plan");
            edited.remove_label("needs-plan");
            assert_eq!(edited.to_string(), line);
        }
    }

    #[test]
    fn removing_a_label_leaves_a_check_box_and_its_summary() {
        for (line, expected) in [
            ("- [ ] [bug], later", "- [ ] , later"),
            ("- [ ] [bug] [x] a", "- [ ] [x] a"),
            ("- [ ] a [bug] b [bug]", "- [ ] a b"),
            ("- [ ] [bug]", "- [ ]"),
            ("- [ ] [a [bug]]", "- [ ] [a ]"),
            ("- [ ] [a [bug].]", "- [ ] [a .]"),
            ("- [ ] [ [bug]-a]", "- [ ] [ -a]"),
            ("- [ ] [a [bug] [x].]", "- [ ] [a [x].]"),
            ("- [ ] [a [bug] b]", "- [ ] [a b]"),
            ("- [ ] a [x][bug][y]", "- [ ] a [x] [y]"),
            ("- [ ] a [bug][y] ", "- [ ] a [y] "),
            ("- [ ] a [x, bug,y]", "- [ ] a [x, y]"),
            ("- [ ] [a, [bug] b]", "- [ ] [a,   b]"),
            ("- [ ] [a, [bug].b]", "- [ ] [a,  .b]"),
            ("- [ ] [a [bug], b]", "- [ ] [a , b]"),
            ("- [ ] [a [bug]", "- [ ] [a"),
        ] {
            let mut edited = headline(line);
            let (summary, mut labels) = (edited.summary(), edited.labels());
            edited.remove_label("bug");
            labels.remove("bug");
            assert_eq!(edited.to_string(), expected);
            assert_eq!(headline(&edited.to_string()).summary(), summary);
            assert_eq!(headline(&edited.to_string()).labels(), labels);
        }
    }

    #[test]
    fn acfs_own_labels_are_the_same_in_any_case() {
        let mut line = headline("- [>] a [Needs-Plan, urgent][IN-REVIEW]");
        assert_eq!(line.status(), Status::InReview);
        line.add_label("needs-plan").unwrap();
        assert_eq!(line.to_string(), "- [>] a [Needs-Plan, urgent][IN-REVIEW]");
        line.set_status(&Status::InProgress).unwrap();
        assert_eq!(line.to_string(), "- [>] a [Needs-Plan, urgent]");
        line.remove_label("needs-plan");
        assert_eq!(line.to_string(), "- [>] a [urgent]");
    }

    #[test]
    fn texts_that_are_no_labels_are_refused() {
        for label in ["", "a b", "a\n- [ ] b", "a]", "1", "a](x", "é"] {
            let mut edited = headline("- [ ] a");
            assert!(matches!(edited.add_label(label), Err(TrackerError::Impossible(_))), "{label:?}");
            edited.remove_label(label);
            assert_eq!(edited.to_string(), "- [ ] a");
        }
    }
}
