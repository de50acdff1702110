//! What matters of a check's output: the first lines that tell of errors, and the end.
//!
//! A check may write gigabytes; what goes back to the agent, and to people, is a few kilobytes of it.

use std::fmt::Write as _;

use crate::process::{Tail, plain};

/// How many lines after one that tells of an error belong to it.
const AFTERMATH: usize = 3;
/// What is kept of one line, in bytes.
const LONGEST_LINE: usize = 400;

/// What programs of many kinds begin their complaints with or have in them, in lower case.
const TELLING: [&str; 16] = [
    "error:",
    "error[",
    "error ",
    "errors:",
    "fatal:",
    "panicked at",
    "assertion",
    "exception",
    "traceback",
    "failed",
    "failure",
    "not ok ",
    "undefined reference",
    "cannot find",
    "✗",
    "✘",
];
/// Complaints that are none: what programs say when nothing is wrong.
const HARMLESS: [&str; 6] = ["0 failed", "0 errors", "0 failures", "no errors", "error-free", "failed: 0"];

/// Keeps what matters of an output, within bounds, line by line.
#[derive(Debug)]
pub(super) struct Excerpt {
    /// The first lines that tell of errors, with their numbers.
    errors: Vec<(usize, String)>,
    error_bytes: usize,
    max_error_bytes: usize,
    /// How many of the next lines belong to an error.
    aftermath: usize,
    end: Tail,
    lines: usize,
}

impl Excerpt {
    /// Makes an empty excerpt that keeps at most so many bytes of errors, and lines and bytes of the end.
    pub(super) fn new(max_error_bytes: usize, max_end_lines: usize, max_end_bytes: usize) -> Self {
        Self {
            errors: Vec::new(),
            error_bytes: 0,
            max_error_bytes,
            aftermath: 0,
            end: Tail::new(max_end_lines, max_end_bytes),
            lines: 0,
        }
    }

    /// Takes the next line.
    pub(super) fn push(&mut self, line: &str) {
        let line = plain(line);
        if tells_of_an_error(&line) {
            self.aftermath = AFTERMATH + 1;
        }
        if self.aftermath > 0 {
            self.aftermath -= 1;
            let kept: String = line.chars().take(LONGEST_LINE).collect();
            if self.error_bytes + kept.len() < self.max_error_bytes {
                self.error_bytes += kept.len() + 1;
                self.errors.push((self.lines, kept));
            } else {
                // Later complaints mostly follow from the first ones.
                self.error_bytes = self.max_error_bytes;
            }
        }
        self.end.push(&line);
        self.lines += 1;
    }

    /// Returns the excerpt; what is left out is counted where it stood.
    pub(super) fn text(&self) -> String {
        let end_begins = self.lines - self.end.len();
        let mut text = String::new();
        let mut next = 0;
        for (number, line) in self.errors.iter().filter(|(number, _)| *number < end_begins) {
            left_out(&mut text, number - next);
            let _ = writeln!(text, "{line}");
            next = number + 1;
        }
        left_out(&mut text, end_begins.saturating_sub(next));
        text.push_str(&self.end.text());
        text.trim().to_owned()
    }
}

fn left_out(text: &mut String, lines: usize) {
    match lines {
        0 => {}
        1 => text.push_str("[… 1 line]\n"),
        _ => {
            let _ = writeln!(text, "[… {lines} lines]");
        }
    }
}

/// Tells whether a line looks like a complaint. A guess, on which nothing rests but what is shown.
fn tells_of_an_error(line: &str) -> bool {
    let line = line.to_lowercase();
    TELLING.iter().any(|word| line.contains(word)) && !HARMLESS.iter().any(|words| line.contains(words))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn excerpt(lines: impl IntoIterator<Item = String>) -> String {
        let mut excerpt = Excerpt::new(200, 3, 100);
        lines.into_iter().for_each(|line| excerpt.push(&line));
        excerpt.text()
    }

    fn numbered(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
        range.map(|n| format!("line {n}"))
    }

    #[test]
    fn a_short_output_is_kept_whole() {
        assert_eq!(excerpt(["one", "error: two"].map(String::from)), "one\nerror: two");
        assert_eq!(excerpt([]), "");
    }

    #[test]
    fn of_a_long_output_the_first_errors_and_the_end_are_kept_and_the_rest_is_counted() {
        let error = ["error[E0308]: mismatched types".to_owned(), "  --> src/lib.rs:3".to_owned()];
        let lines = numbered(0..50).chain(error).chain(numbered(52..100));
        assert_eq!(
            excerpt(lines),
            "[… 50 lines]\nerror[E0308]: mismatched types\n  --> src/lib.rs:3\nline 52\nline 53\n[… 43 lines]\n\
             line 97\nline 98\nline 99"
        );
    }

    #[test]
    fn an_error_at_the_end_is_not_told_twice() {
        let lines = numbered(0..10).chain(["FAILED tests/a.py".to_owned()]);
        assert_eq!(excerpt(lines), "[… 8 lines]\nline 8\nline 9\nFAILED tests/a.py");
    }

    #[test]
    fn of_many_errors_the_first_are_kept() {
        let text = excerpt((0..1000).map(|n| format!("error: number {n}")));
        assert!(text.starts_with("error: number 0\nerror: number 1\n"), "{text}");
        assert!(text.ends_with("error: number 999"), "{text}");
        assert!(!text.contains("number 500"), "{text}");
    }

    #[test]
    fn complaints_of_many_programs_are_known_and_good_news_is_not_taken_for_one() {
        for line in [
            "src/a.c:3: error: expected ';'",
            "thread 'main' panicked at src/main.rs:2",
            "E   AssertionError: assert 1 == 2",
            "Traceback (most recent call last):",
            "--- FAIL: TestSum (0.00s) failed",
            "not ok 3 - adds up",
            "fatal: not a git repository",
            "Uncaught TypeError: x is not a function; Error: y",
        ] {
            assert!(tells_of_an_error(line), "{line}");
        }
        for line in ["test result: ok. 12 passed; 0 failed", "found 0 errors", "compiling errors v1", "done"]
        {
            assert!(!tells_of_an_error(line), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_output_is_shown_beyond_the_bounds(lines in prop::collection::vec("(error: )?[a-zä ]{0,60}", 0..200)) {
            let text = excerpt(lines);
            // Errors and end, and at most one remark for each line that is kept.
            prop_assert!(text.len() <= 200 + 100 + 20 * 40, "{} bytes", text.len());
        }
    }
}
