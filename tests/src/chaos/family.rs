//! All processes that a test has started, directly or not: a mark in their environment finds them.

use std::path::Path;
use std::time::{Duration, Instant};

/// The variable that carries the mark. Workers hand it on to agents, gates and git, as it is none of theirs.
const NAME: &str = "CHAOS_FAMILY";
/// How often is looked whether something has come true.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The processes of one test.
#[derive(Clone, Debug)]
pub struct Family {
    mark: String,
}

impl Family {
    /// Makes a family whose mark is that path, which no other test has.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        Self { mark: root.display().to_string() }
    }

    /// Returns the variable that makes a process, and all that it starts, one of the family.
    #[must_use]
    pub fn variable(&self) -> (&'static str, &str) {
        (NAME, &self.mark)
    }

    /// Returns the command lines of those that live.
    ///
    /// # Panics
    /// Where there is no `/proc`.
    #[must_use]
    pub fn alive(&self) -> Vec<String> {
        let mark = format!("{NAME}={}", self.mark);
        let processes = std::fs::read_dir("/proc").expect("list /proc").flatten();
        let members = processes.filter(|process| {
            // A process that is gone, or a zombie, has no environment.
            let environ = std::fs::read(process.path().join("environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        });
        let told = members.map(|process| {
            let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            format!("{} {command}", process.file_name().display())
        });
        told.collect()
    }

    /// Returns the command lines of those that still live after `patience`.
    #[must_use]
    pub fn outliving(&self, patience: Duration) -> Vec<String> {
        let _ = holds_within(patience, || self.alive().is_empty());
        self.alive()
    }
}

/// Waits until something has come true, and tells whether it has.
#[must_use]
pub fn holds_within(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        // Other processes are waited for, which nothing here is told about.
        std::thread::park_timeout(LOOK_EVERY);
    }
}
