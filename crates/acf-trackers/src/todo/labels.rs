//! The labels of a headline: which words in brackets are labels, and how they are cut out.
//!
//! One word in brackets that stands apart is a label wherever it stands. In the brackets that end a headline
//! there may be several, with commas between them, and no space need stand between one pair of brackets and
//! the next. acf's own labels are the same in any case, and need no space before them either: a plan or a
//! branch that a person asked for must not be missed for the sake of a space.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use acf_core::issue::label;

/// Returns all labels; acf's own as acf writes them.
pub(super) fn of(body: &str) -> BTreeSet<&str> {
    groups(body).into_iter().flat_map(|group| group.names).map(label::canonical).collect()
}

/// Tells whether a text can be a label.
pub(super) fn is_label(text: &str) -> bool {
    let has_letter = text.contains(|c: char| c.is_ascii_alphabetic());
    has_letter && text.chars().all(is_label_char)
}

fn is_label_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-')
}

/// One pair of brackets with labels in it.
struct Group<'a> {
    /// Where it stands, brackets included.
    place: Range<usize>,
    names: Vec<&'a str>,
}

impl<'a> Group<'a> {
    /// Reads the brackets that open there: `[a]`, `[a,b]` or `[a, b]`.
    fn at(body: &'a str, start: usize) -> Option<Self> {
        let inside = body[start..].strip_prefix('[')?;
        let inside = &inside[..inside.find(']')?];
        let name = |(place, text): (usize, &'a str)| match place {
            0 => text,
            _ => text.strip_prefix(' ').unwrap_or(text),
        };
        let names: Vec<_> = inside.split(',').enumerate().map(name).collect();
        let place = start..start + inside.len() + 2;
        names.iter().all(|name| is_label(name)).then_some(Self { place, names })
    }

    fn holds_one_of_acfs(&self) -> bool {
        self.names.iter().any(|name| label::ALL.contains(&label::canonical(name)))
    }
}

/// Finds the labels.
///
/// `[text](link)`, `[text]: link` and the `a[i]` of program text are none, nor is `[text][link]` within a
/// headline.
fn groups(body: &str) -> Vec<Group<'_>> {
    let end = end_of_words(body);
    let mut found: Vec<Group<'_>> = Vec::new();
    for (start, _) in body.match_indices('[') {
        let Some(group) = Group::at(body, start) else { continue };
        let before = &body[..start];
        let stands_apart = before.ends_with(char::is_whitespace);
        let is_label = if start >= end {
            let follows_label = found.last().is_some_and(|last| last.place.end == start);
            let ends_a_word = before.ends_with(|c: char| c.is_alphanumeric() || ".,;:!?)]'\"".contains(c));
            stands_apart || follows_label || (ends_a_word && group.holds_one_of_acfs())
        } else {
            let after = &body[group.place.end..];
            let is_more = after.starts_with(['(', '[', ':']) || after.starts_with(char::is_alphanumeric);
            group.names.len() == 1 && stands_apart && !is_more
        };
        if is_label {
            found.push(group);
        }
    }
    found
}

/// Returns where the last words end, and nothing but brackets with what could be labels follows.
fn end_of_words(body: &str) -> usize {
    let mut end = body.len();
    loop {
        let words = body[..end].trim_end();
        match words.rfind('[') {
            Some(start) if Group::at(words, start).is_some_and(|group| group.place.end == words.len()) => {
                end = start;
            }
            _ => return end,
        }
    }
}

/// Cuts labels out, each with the space before it.
///
/// What follows a label may follow any other, and an open bracket is kept apart from what would close
/// it, so that cutting one never makes or unmakes another, and the summary is the same before and after.
pub(super) fn without_labels(body: &str, unwanted: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let mut kept = String::new();
    let mut kept_up_to = 0;
    // Whether `kept` ends with the beginning of labels: `[`, `[bu` or `[bug, `.
    let mut is_open = false;
    for Group { place, names } in groups(body) {
        let left: Vec<_> = names.iter().copied().filter(|name| !unwanted(label::canonical(name))).collect();
        if left.len() == names.len() {
            continue;
        }
        let between = &body[kept_up_to..place.start];
        kept_up_to = place.end;
        if !left.is_empty() {
            kept.push_str(between);
            // One of acf's own may have been what let it do without the space.
            let space = if between.ends_with(char::is_whitespace) { "" } else { " " };
            kept.push_str(&format!("{space}[{}]", left.join(", ")));
            is_open = false;
            continue;
        }
        let before = between.trim_end();
        let before_names = before.trim_end_matches(|c| is_label_char(c) || matches!(c, ',' | ' '));
        is_open = if before_names.is_empty() { is_open } else { before_names.ends_with('[') };
        kept.push_str(before);
        let after = &body[kept_up_to..];
        let ends_name = kept.ends_with(',');
        let goes_on = after.starts_with(|c: char| c == ']' || c == ',' || is_label_char(c))
            || (ends_name && after.starts_with(char::is_whitespace));
        if is_open && goes_on {
            // `[a [bug]]` must not become `[a]`, nor `[a, [bug] b]` become `[a, b]`: those are labels.
            kept.push_str(if ends_name { "  " } else { " " });
            is_open = false;
        } else if after.starts_with('[') {
            // `x [bug][y]` must not become `x[y]`, which is none.
            kept.push(' ');
        }
    }
    if kept_up_to == 0 {
        return Cow::Borrowed(body);
    }
    kept.push_str(&body[kept_up_to..]);
    Cow::Owned(kept)
}
