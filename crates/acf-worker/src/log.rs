//! The log: readable lines on standard error, with every known secret masked.

use std::io::{self, IsTerminal as _, Write};

use acf_core::mask::Mask;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry;

/// Makes `tracing` write to standard error, masked.
///
/// Calling it a second time in a process does nothing.
pub fn init(filter: Targets, mask: Mask) {
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_timer(Utc)
        .with_writer(MaskedStderr { mask });
    let _ = tracing::subscriber::set_global_default(registry().with(lines).with(filter));
}

/// Writes times as `2026-01-02T03:04:05Z`.
struct Utc;

impl tracing_subscriber::fmt::time::FormatTime for Utc {
    fn format_time(&self, writer: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        let now = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default();
        write!(writer, "{now}")
    }
}

struct MaskedStderr {
    mask: Mask,
}

impl<'a> MakeWriter<'a> for MaskedStderr {
    type Writer = MaskedLine<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        MaskedLine { mask: &self.mask, line: Vec::new() }
    }
}

/// Collects one event's output and writes it, masked, at its end.
struct MaskedLine<'a> {
    mask: &'a Mask,
    line: Vec<u8>,
}

impl Write for MaskedLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for MaskedLine<'_> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.line);
        // Nobody is left to be told that standard error is gone.
        let _ = io::stderr().write_all(self.mask.apply(&text).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_masked_as_a_whole_even_if_written_in_parts() {
        let mask = Mask::new([("GIT_TOKEN".into(), "hunter22".into())]);
        let mut line = MaskedLine { mask: &mask, line: Vec::new() };
        line.write_all(b"token=hunt").unwrap();
        line.write_all(b"er22\n").unwrap();
        let text = String::from_utf8(std::mem::take(&mut line.line)).unwrap();
        assert_eq!(mask.apply(&text), "token=***\n");
    }
}
