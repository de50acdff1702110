//! Cuts a stream of bytes into lines, in bounded memory and without drowning whoever reads them.

use tokio::time::Instant;

/// The longest line that is passed on; the rest of it is counted.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// How much is passed on at once.
const BURST_BYTES: u64 = 8 * 1024 * 1024;
/// How much is passed on for long: more than any log wants, and far less than a runaway program writes.
const BYTES_PER_SEC: u64 = 256 * 1024;
/// How much of the latest output is held while nothing is passed on; at least a longest line.
const HELD_BYTES: usize = 2 * MAX_LINE_BYTES;

/// One output stream of a command on its way into lines.
///
/// A flood beyond the budget is not passed on; but its end is, because the reason why a program
/// failed, or its result, stands there.
pub(super) struct Lines {
    line: Vec<u8>,
    cut_bytes: usize,
    budget: Budget,
    held: Vec<u8>,
    left_out_bytes: u64,
}

impl Lines {
    pub(super) fn new(now: Instant) -> Self {
        let budget = Budget { bytes: BURST_BYTES, filled_at: now };
        Self { line: Vec::new(), cut_bytes: 0, budget, held: Vec::new(), left_out_bytes: 0 }
    }

    /// Takes in what was read, and passes on the lines that it completes.
    pub(super) fn push(&mut self, bytes: &[u8], now: Instant, on_line: &mut dyn FnMut(&str)) {
        let wanted = self.held.len() + bytes.len();
        if self.budget.take(wanted as u64, now) {
            self.release(on_line);
            self.split(bytes, on_line);
        } else {
            self.hold(bytes);
        }
    }

    /// Passes on what is still there at the end of the stream.
    pub(super) fn finish(&mut self, on_line: &mut dyn FnMut(&str)) {
        self.release(on_line);
        if !self.line.is_empty() {
            self.pass_on(on_line);
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        // Twice the size, so that the bytes kept are not moved each time.
        if self.held.len() > 2 * HELD_BYTES {
            let excess = self.held.len() - HELD_BYTES;
            self.held.drain(..excess);
            self.left_out_bytes += excess as u64;
        }
    }

    fn release(&mut self, on_line: &mut dyn FnMut(&str)) {
        let held = std::mem::take(&mut self.held);
        if self.left_out_bytes == 0 {
            return self.split(&held, on_line);
        }
        if !self.line.is_empty() {
            self.pass_on(on_line);
        }
        // What is held begins in the middle of a line.
        let whole_lines = held.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let left_out = self.left_out_bytes + whole_lines as u64;
        self.left_out_bytes = 0;
        on_line(&format!("[… {left_out} bytes of output left out …]"));
        self.split(&held[whole_lines..], on_line);
    }

    fn split(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(&str)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, complete) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let room = MAX_LINE_BYTES - self.line.len();
            let (kept, cut) = text.split_at(room.min(text.len()));
            self.line.extend_from_slice(kept);
            self.cut_bytes += cut.len();
            if complete {
                self.pass_on(on_line);
            }
        }
    }

    fn pass_on(&mut self, on_line: &mut dyn FnMut(&str)) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let text = String::from_utf8_lossy(line);
        match self.cut_bytes {
            0 => on_line(&text),
            cut_bytes => on_line(&format!("{text} [… {cut_bytes} bytes cut]")),
        }
        self.line.clear();
        self.cut_bytes = 0;
    }
}

/// A token bucket.
struct Budget {
    bytes: u64,
    filled_at: Instant,
}

impl Budget {
    fn take(&mut self, wanted: u64, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.filled_at).as_millis() as u64 * BYTES_PER_SEC / 1000;
        if earned > 0 {
            self.bytes = BURST_BYTES.min(self.bytes + earned);
            self.filled_at = now;
        }
        let enough = self.bytes >= wanted;
        if enough {
            self.bytes -= wanted;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Feeds the chunks, each with the seconds since the start, and returns the lines.
    fn lines_of<'a>(chunks: impl IntoIterator<Item = (u64, &'a [u8])>) -> Vec<String> {
        let start = Instant::now();
        let mut lines = Lines::new(start);
        let mut passed_on = Vec::new();
        let mut on_line = |line: &str| passed_on.push(line.to_owned());
        for (secs, chunk) in chunks {
            lines.push(chunk, start + Duration::from_secs(secs), &mut on_line);
        }
        lines.finish(&mut on_line);
        passed_on
    }

    #[test]
    fn lines_are_put_together_across_reads_and_the_last_needs_no_end() {
        let chunks = [(0, &b"on"[..]), (0, b"e\ntwo\r\n\nth"), (0, b"ree")];
        assert_eq!(lines_of(chunks), ["one", "two", "", "three"]);
        assert_eq!(lines_of([(0, &b"one\n"[..])]), ["one"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(lines_of([(0, &b"a\xffb\n"[..])]), ["a\u{fffd}b"]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let long = vec![b'x'; 100_000];
        let lines = lines_of([(0, long.as_slice()), (0, b"yz\nnext\n")]);
        assert_eq!(lines[0], format!("{} [… 34466 bytes cut]", "x".repeat(MAX_LINE_BYTES)));
        assert_eq!(lines[1..], ["next"]);
    }

    #[test]
    fn of_a_flood_the_beginning_and_the_end_are_passed_on() {
        let chunk = b"0123456\n".repeat(8 * 1024);
        let flood = std::iter::repeat_n((0, chunk.as_slice()), 1000);
        let lines = lines_of(flood.chain([(0, &b"the reason\n"[..])]));
        let notice = lines.iter().position(|line| line.contains("left out")).unwrap();
        assert_eq!(notice as u64, BURST_BYTES / 8);
        assert!(lines.iter().enumerate().all(|(n, line)| n == notice || !line.is_empty()));
        let after = &lines[notice + 1..];
        assert!(after.len() < 40_000 && after[..after.len() - 1].iter().all(|line| line == "0123456"));
        assert_eq!(after.last().unwrap(), "the reason");
        let left_out: usize = lines[notice].split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(left_out + (lines.len() - 2) * 8, 1000 * chunk.len());
    }

    #[test]
    fn after_a_flood_the_budget_fills_again() {
        let chunk = b"0123456\n".repeat(8 * 1024);
        let flood = std::iter::repeat_n((0, chunk.as_slice()), 1000);
        let lines = lines_of(flood.chain([(60, &b"calm\n"[..]), (60, b"again\n")]));
        assert_eq!(lines.iter().filter(|line| line.contains("left out")).count(), 1);
        assert_eq!(lines[lines.len() - 2..], ["calm", "again"]);
    }
}
