//! Canaries: secrets that a test plants, and the search for them wherever they might come out.
//!
//! It looks at what a sandbox's processes leave: every file, every git object, every command line while
//! they run. What they say on their own outputs is up to the test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::sandbox::Sandbox;

/// The pause between two looks at all command lines.
const PAUSE: Duration = Duration::from_millis(2);

/// What addresses escape: all but what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Secrets to be looked for, as they are and as they look in an address and within a text in Base64.
#[derive(Clone, Debug)]
pub struct Canaries(Vec<String>);

impl Canaries {
    /// Makes canaries of those secrets.
    #[must_use]
    pub fn new(secrets: &[&str]) -> Self {
        let forms = |&secret: &&str| {
            let in_address = utf8_percent_encode(secret, ESCAPED).to_string();
            // Four digits are three bytes, so there are three ways to begin; at both ends, a digit may hold
            // bits of what stands beside.
            let in_base64 = (0..3).map(|before| {
                let digits = STANDARD_NO_PAD.encode(format!("{}{secret}", &"::"[..before]));
                digits[4..digits.len() - 2].to_owned()
            });
            [secret.to_owned(), in_address].into_iter().chain(in_base64).collect::<Vec<_>>()
        };
        Self(secrets.iter().flat_map(forms).collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Returns the canaries that are in a text.
    #[must_use]
    pub fn in_text(&self, text: &[u8]) -> Vec<&str> {
        let is_in = |secret: &&String| text.windows(secret.len()).any(|window| window == secret.as_bytes());
        self.0.iter().filter(is_in).map(String::as_str).collect()
    }

    /// Returns the places on a sandbox's disk where a canary is: in files, and in the objects of the git
    /// repositories.
    ///
    /// # Panics
    /// Where the disk or git refuses.
    #[must_use]
    pub fn on_disk(&self, sandbox: &Sandbox) -> Vec<String> {
        let mut places = Vec::new();
        for file in files_below(sandbox.root()) {
            let contents = fs::read(&file).unwrap_or_default();
            for secret in self.in_text(&contents) {
                places.push(format!("{secret} in {}", file.display()));
            }
            let is_repository = file.ends_with("HEAD") && file.with_file_name("objects").is_dir();
            if is_repository && let Some(repository) = file.parent() {
                let mut git = sandbox.git_command(repository);
                git.args(["cat-file", "--batch-all-objects", "--batch"]).stderr(Stdio::null());
                let objects = git.output().expect("start git").stdout;
                let found = self.in_text(&objects);
                places.extend(
                    found.iter().map(|secret| format!("{secret} in objects of {}", repository.display())),
                );
            }
        }
        places
    }

    /// Begins to watch the command lines of all processes of this machine.
    #[must_use]
    pub fn watch_command_lines(&self) -> Watch {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let (canaries, stopped, notes) = (self.clone(), stop.clone(), seen.clone());
        let watcher = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                canaries.look_at_command_lines(&notes);
                pause();
            }
        });
        Watch { stop, seen, watcher: Some(watcher) }
    }

    fn look_at_command_lines(&self, seen: &Mutex<Seen>) {
        for process in fs::read_dir("/proc").expect("read /proc").flatten() {
            let Ok(line) = fs::read(process.path().join("cmdline")) else { continue };
            let mut seen = noted(seen);
            if !self.in_text(&line).is_empty() {
                seen.with_canary.insert(String::from_utf8_lossy(&line).replace('\0', " "));
            }
            if line.starts_with(b"git\0") || line.windows(5).any(|window| window == b"/git\0") {
                seen.git = true;
            }
        }
    }
}

/// What a watch has seen.
#[derive(Debug, Default)]
struct Seen {
    with_canary: BTreeSet<String>,
    git: bool,
}

/// A watch over command lines, ended when dropped.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    watcher: Option<JoinHandle<()>>,
}

impl Watch {
    /// Returns the command lines seen so far that held a canary.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        noted(&self.seen).with_canary.iter().cloned().collect()
    }

    /// Ends the watch, and returns the command lines that held a canary.
    ///
    /// # Panics
    /// Where it has not seen even one git, and so cannot have watched well.
    #[must_use]
    pub fn ended(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.watcher.take().expect("it is ended once").join().expect("the watch does not panic");
        assert!(noted(&self.seen).git, "the watch saw no git at all");
        self.seen()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn noted(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
}

#[expect(clippy::disallowed_methods, reason = "what other processes are called can only be looked at again")]
fn pause() {
    std::thread::sleep(PAUSE);
}
