//! Writes data to stdout and talk to stderr, with colour where it is wanted, and ends quietly when
//! the reader has gone.

use std::io::{self, Write};

use anstream::AutoStream;
use anyhow::Context as _;
use serde::Serialize;

use crate::args::Color;
use crate::error::OutputClosed;

/// Where a command's data goes.
pub struct Out {
    writer: Box<dyn Write + Send>,
}

impl Out {
    /// Returns the standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::to(AutoStream::auto(io::stdout()))
    }

    /// Returns an output to anything else; colour is written as it comes.
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self { writer: Box::new(writer) }
    }

    /// Writes one line, or several, and their end.
    ///
    /// # Errors
    /// [`OutputClosed`] when nobody reads any more, and whatever else keeps it from being written.
    pub fn line(&mut self, text: impl AsRef<str>) -> anyhow::Result<()> {
        let text = text.as_ref();
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let written = write!(self.writer, "{text}{end}").and_then(|()| self.writer.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(OutputClosed.into()),
            written => written.context("cannot write the output"),
        }
    }

    /// Writes a value as indented JSON.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        self.line(serde_json::to_string_pretty(value)?)
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn json_line(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        self.line(serde_json::to_string(value)?)
    }
}

/// Says something to whoever watches, on stderr. That nobody listens is no error.
pub fn say(text: impl AsRef<str>) {
    let _ = writeln!(AutoStream::auto(io::stderr()), "{}", text.as_ref());
}

/// Sets when colour is used, for all that is printed from now on.
pub fn set_color(color: Color) {
    let choice = match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Exit, exit};

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let error = Out::to(Closed).line("text").unwrap_err();
        assert_eq!(exit(&error), Exit::Done);
    }
}
