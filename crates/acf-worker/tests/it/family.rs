//! Finds the processes of a test by a mark in their environment, which daemons inherit, too.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const NAME: &str = "ACF_TEST_FAMILY";

/// A mark of its own for the processes of one test.
pub(crate) struct Family {
    dir: tempfile::TempDir,
}

impl Family {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Returns a directory for the test, removed with this value.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the whole environment of a member of the family that has that directory.
    pub(crate) fn env_of(dir: &Path) -> Vec<(OsString, OsString)> {
        vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()), (NAME.into(), dir.into())]
    }

    /// Returns the command lines of those that live.
    pub(crate) fn alive(&self) -> Vec<String> {
        self.members().iter().map(|process| command_line(process)).collect()
    }

    /// Returns the directories in `/proc` of those that live.
    pub(crate) fn members(&self) -> Vec<PathBuf> {
        let mark = format!("{NAME}={}\0", self.dir().display());
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let members = processes.filter(|process| {
            let environ = std::fs::read(process.path().join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environ).contains(&mark)
        });
        members.map(|process| process.path()).collect()
    }

    /// Waits until all have ended.
    pub(crate) async fn all_end(&self) {
        self.wait_until(<[String]>::is_empty).await;
    }

    /// Waits until those that live are so. One that is just being replaced (`execve`) shows no environment for
    /// a moment, and is not seen then.
    pub(crate) async fn wait_until(&self, is_so: impl Fn(&[String]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut poll = tokio::time::interval(Duration::from_millis(5));
        loop {
            let alive = self.alive();
            if is_so(&alive) {
                break;
            }
            assert!(Instant::now() < deadline, "alive: {alive:?}");
            poll.tick().await;
        }
    }
}

/// Returns a process's command line, by its directory in `/proc`.
pub(crate) fn command_line(process: &Path) -> String {
    let command = std::fs::read(process.join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).replace('\0', " ")
}
