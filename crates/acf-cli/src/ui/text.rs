//! How numbers, lengths of time and foreign lines are written.

use std::time::Duration;

/// Returns a length of time as people read it: `0.3s`, `41s`, `6m 02s`, `3h 07m`, `2d 01h`.
#[must_use]
pub fn elapsed(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..10 => format!("{secs}.{}s", duration.subsec_millis() / 100),
        10..60 => format!("{secs}s"),
        60..3600 => format!("{}m {:02}s", secs / 60, secs % 60),
        3600..86_400 => format!("{}h {:02}m", secs / 3600, secs % 3600 / 60),
        _ => format!("{}d {:02}h", secs / 86_400, secs % 86_400 / 3600),
    }
}

/// Returns a number with its noun: `1 worker`, `3 workers`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Returns foreign text as a single line of at most `width` characters, without escape sequences or
/// control characters.
#[must_use]
pub fn one_line(text: &str, width: usize) -> String {
    let plain = anstream::adapter::strip_str(text).to_string();
    let words: Vec<_> = plain.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if line.chars().count() <= width {
        return line;
    }
    let kept: String = line.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Returns a text as it can be shown on a terminal: without colour, and without what would move the cursor.
#[must_use]
pub fn harmless(text: &str) -> String {
    let plain = anstream::adapter::strip_str(text).to_string();
    plain.chars().filter(|&c| c == '\n' || c == '\t' || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_their_two_largest_units() {
        for (millis, text) in [
            (0, "0.0s"),
            (349, "0.3s"),
            (9_999, "9.9s"),
            (10_000, "10s"),
            (59_999, "59s"),
            (60_000, "1m 00s"),
            (362_000, "6m 02s"),
            (3_600_000, "1h 00m"),
            (86_399_000, "23h 59m"),
            (90_000_000, "1d 01h"),
        ] {
            assert_eq!(elapsed(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn nouns_follow_their_number() {
        assert_eq!(count(0, "worker"), "0 workers");
        assert_eq!(count(1, "worker"), "1 worker");
    }

    #[test]
    fn foreign_text_cannot_leave_its_line() {
        assert_eq!(one_line("\u{1b}[31mred\u{1b}[0m\r\nnext\tcell\u{7}", 80), "red next cell");
        assert_eq!(harmless("\u{1b}[2J\u{1b}]0;title\u{7}a\r\n\tb\u{9b}1m\0"), "a\n\tb1m");
        assert_eq!(one_line("123456789", 5), "1234…");
        assert_eq!(one_line("12345", 5), "12345");
    }
}
