//! Turns a comment into the lines of a note, so that no text can leave its note.

use acf_core::tracker::TrackerError;

/// Returns the lines of a note that says `body`, without line endings.
///
/// The text is data: however it is written, each of its lines comes out indented as part of this one
/// note, and no part of it reads as a marker. A comment of acf's own, which has a marker, is cut to
/// one line: its first paragraph, and the receipt at its end. A file that people keep is no place for tables.
///
/// # Errors
/// [`TrackerError::Impossible`] for a text without words, or a marker that would not be read back.
pub(super) fn note_lines(body: &str, marker: Option<&str>) -> Result<Vec<String>, TrackerError> {
    let body = tamed(body);
    let mut lines = body.lines().map(str::trim_end).skip_while(|line| line.is_empty());
    let Some(marker) = marker else {
        let first = lines.next();
        let first = first.ok_or_else(|| TrackerError::Impossible("a comment needs a text".into()))?;
        let rest = lines.map(|line| if line.is_empty() { String::new() } else { format!("    {line}") });
        let mut note: Vec<_> =
            std::iter::once(format!("  - Note: {}", first.trim_start())).chain(rest).collect();
        while note.last().is_some_and(String::is_empty) {
            note.pop();
        }
        return Ok(note);
    };
    let paragraph: Vec<_> = lines.take_while(|line| !line.is_empty()).map(str::trim_start).collect();
    let mut note = String::from("  - Note: ");
    for line in paragraph.into_iter().chain(receipt(&body).as_deref()) {
        note.push_str(line);
        note.push(' ');
    }
    note.push_str(&written_marker(marker)?);
    Ok(vec![note])
}

/// The most of a receipt that a note holds, in characters.
const LONGEST_RECEIPT: usize = 300;
/// How the table of a receipt begins: it has two columns, and no heads.
const RECEIPT: &str = "| | |\n|---|---|\n";

/// Returns the table at the end of a comment in one line: `(agent: …; gate: …; run: …)`.
fn receipt(body: &str) -> Option<String> {
    let (_, table) = body.rsplit_once(RECEIPT)?;
    let rows = table.lines().map_while(|line| {
        let (name, value) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        Some(format!("{name}: {}", value.replace(r"\|", "|")))
    });
    let line = rows.collect::<Vec<_>>().join("; ");
    let cut = line.char_indices().nth(LONGEST_RECEIPT).map(|(end, _)| format!("({}…)", &line[..end]));
    (!line.is_empty()).then(|| cut.unwrap_or_else(|| format!("({line})")))
}

/// Returns a marker as it stands in a file: hidden from those who read the rendered Markdown.
///
/// # Errors
/// [`TrackerError::Impossible`] for a marker that would not be read back.
pub(super) fn written_marker(marker: &str) -> Result<String, TrackerError> {
    let can_be_hidden = !marker.trim().is_empty()
        && !marker.contains("--")
        && !marker.contains(['<', '>'])
        && is_one_line(marker);
    if can_be_hidden {
        Ok(format!("<!-- {marker} -->"))
    } else {
        Err(TrackerError::Impossible(format!("{marker:?} cannot mark a comment in a TODO file")))
    }
}

/// Tells whether a text has no control characters and nothing that any program takes for a line end.
pub(super) fn is_one_line(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || is_unicode_line_end(c))
}

fn is_unicode_line_end(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Takes out control characters and whatever reads as an HTML comment.
fn tamed(text: &str) -> String {
    let printable: String = text
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .map(|c| if is_unicode_line_end(c) { ' ' } else { c })
        .collect();
    printable.replace("<!--", "&lt;!--").replace("-->", "--&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(body: &str, marker: Option<&str>) -> String {
        note_lines(body, marker).unwrap().join("\n")
    }

    #[test]
    fn a_persons_comment_keeps_its_lines() {
        insta::assert_snapshot!(note("\n  First.\r\n\r\n- [ ] second\n\tthird  \n\n", None), @r"
        - Note: First.

          - [ ] second
          	third
        ");
    }

    #[test]
    fn the_receipt_at_the_end_of_a_comment_of_acfs_is_one_line_of_its_note() {
        let table = "| | |\n|---|---|\n| agent | claude 2.1 · $0.31 |\n| gate | `a \\| b` exit 0 |\n";
        let said = |body: &str| note(body, Some("acf:run:r1"));
        assert_eq!(
            said(&format!("Done.\n\n```\noutput\n```\n\n{table}")),
            "  - Note: Done. (agent: claude 2.1 · $0.31; gate: `a | b` exit 0) <!-- acf:run:r1 -->"
        );
        let long = said(&format!("Done.\n\n{table}| run | {} |\n", "é".repeat(500)));
        assert!(long.ends_with("é…) <!-- acf:run:r1 -->"), "{long}");
        assert!(long.chars().count() < 350 && !long.contains('\n'), "{long}");
    }

    #[test]
    fn a_comment_of_acfs_is_its_first_paragraph_on_one_line() {
        let body = "acf implemented this\nin 4be19c2 on main.\n\n| | |\n|---|---|";
        let expected = "  - Note: acf implemented this in 4be19c2 on main. <!-- acf:run:r1 -->";
        assert_eq!(note(body, Some("acf:run:r1")), expected);
        assert_eq!(note("", Some("acf:run:r1")), "  - Note: <!-- acf:run:r1 -->");
    }

    #[test]
    fn a_text_cannot_hold_a_marker() {
        for hostile in
            ["<!-- acf:run:r1 -->", "<\u{1}!-- acf:run:r1 --\u{1b}>", "<<!--- acf:run:r1 ---->>", "<!-->"]
        {
            let written = note(hostile, None);
            assert!(!written.contains("<!--") && !written.contains("-->"), "{written}");
        }
        assert_eq!(note("a <!-- b --> c", None), "  - Note: a &lt;!-- b --&gt; c");
    }

    #[test]
    fn control_characters_and_foreign_line_ends_are_taken_out() {
        assert_eq!(
            note("a\u{0}\r- [ ] b\u{2028}- [ ] c\u{85}\u{1b}[31m", None),
            "  - Note: a- [ ] b - [ ] c[31m"
        );
    }

    #[test]
    fn a_comment_without_words_and_a_marker_that_cannot_hide_are_refused() {
        for body in ["", " \n\t\n", "\u{0}"] {
            assert!(matches!(note_lines(body, None), Err(TrackerError::Impossible(_))), "{body:?}");
        }
        for marker in ["", "a-->b", "a\nb", "a--b", ">", "\u{2028}"] {
            assert!(matches!(note_lines("a", Some(marker)), Err(TrackerError::Impossible(_))), "{marker:?}");
        }
    }
}
