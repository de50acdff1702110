//! The end of an output, kept small: what people are shown when a command fails.

use std::collections::VecDeque;

/// The last lines of an output, free of colours, cursor movements and overwritten progress bars.
#[derive(Clone, Debug)]
pub struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
    max_lines: usize,
    max_bytes: usize,
}

impl Tail {
    /// Makes an empty tail that keeps at most so many lines and bytes.
    #[must_use]
    pub fn new(max_lines: usize, max_bytes: usize) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, max_lines, max_bytes }
    }

    /// Adds a line; the oldest make room for it.
    pub fn push(&mut self, line: &str) {
        let line = last_bytes(&plain(line), self.max_bytes.saturating_sub(1)).to_owned();
        self.bytes += line.len() + 1;
        self.lines.push_back(line);
        while self.lines.len() > self.max_lines || self.bytes > self.max_bytes {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.len() + 1;
        }
    }

    /// Counts the lines that are kept.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Returns the lines as one text, without white space around it.
    #[must_use]
    pub fn text(&self) -> String {
        let lines: Vec<_> = self.lines.iter().map(String::as_str).collect();
        lines.join("\n").trim().to_owned()
    }
}

/// Returns the line as a terminal would leave it standing.
pub(crate) fn plain(line: &str) -> String {
    let stripped = anstream::adapter::strip_str(line).to_string();
    let line = stripped.trim_end_matches('\r');
    let standing = line.rsplit_once('\r').map_or(line, |(_overwritten, standing)| standing);
    standing.chars().filter(|&c| c == '\t' || !c.is_control()).collect()
}

fn last_bytes(text: &str, max_bytes: usize) -> &str {
    let mut start = text.len().saturating_sub(max_bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail_of(lines: &[&str], max_lines: usize, max_bytes: usize) -> String {
        let mut tail = Tail::new(max_lines, max_bytes);
        lines.iter().for_each(|line| tail.push(line));
        tail.text()
    }

    #[test]
    fn the_last_lines_are_kept_within_both_bounds() {
        assert_eq!(tail_of(&["a", "b", "c"], 2, 100), "b\nc");
        assert_eq!(tail_of(&["aaaa", "bbbb", "cc"], 9, 8), "bbbb\ncc");
        assert_eq!(tail_of(&[], 2, 100), "");
    }

    #[test]
    fn of_an_endless_line_its_end_is_kept() {
        assert_eq!(tail_of(&["before", &"ä".repeat(50)], 9, 8), "äää");
    }

    #[test]
    fn colours_progress_bars_and_control_characters_are_gone() {
        let lines = ["\x1b[31merror\x1b[0m: x", "10 %\r50 %\r100 %\r", "bell\x07\tnull\0"];
        assert_eq!(tail_of(&lines, 9, 100), "error: x\n100 %\nbell\tnull");
    }
}
