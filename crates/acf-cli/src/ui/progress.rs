//! Progress of something that takes long: a moving line on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::say;

/// Progress over a known number of things.
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins to show how many of `total` things are done.
    ///
    /// # Panics
    /// Never: the template is fixed.
    #[must_use]
    pub fn start(what: &str, total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {pos}/{len} {elapsed}")
                .expect("the template is valid");
            let bar = ProgressBar::new(total as u64).with_style(style).with_message(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar }
    }

    /// Says something above the moving line, and counts one thing more as done.
    pub fn done(&self, text: &str) {
        match &self.bar {
            Some(bar) => {
                bar.suspend(|| say(text));
                bar.inc(1);
            }
            None => say(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
