//! Progress events, appended to a file as JSON lines for whoever watches this worker.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use acf_core::clock::Clock;
use acf_core::progress::{Event, Observer, What};
use acf_core::run::WorkerId;

/// Appends events to a file; without one, it takes no notes.
pub struct EventFile {
    file: Option<File>,
    worker: WorkerId,
    clock: Arc<dyn Clock>,
}

impl EventFile {
    /// Opens the file to append to.
    ///
    /// # Errors
    /// When the file cannot be opened for writing.
    pub fn open(path: Option<&Path>, worker: WorkerId, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let file =
            path.map(|path| File::options().create(true).append(true).mode(0o600).open(path)).transpose()?;
        Ok(Self { file, worker, clock })
    }
}

impl Observer for EventFile {
    fn note(&self, what: What) {
        let Some(mut file) = self.file.as_ref() else { return };
        let event = Event { at: self.clock.now(), worker: self.worker.clone(), what };
        // One write for a whole line: readers never see half of one. A disk that is full costs the
        // watchers their view, not the worker its run.
        if let Ok(mut line) = serde_json::to_vec(&event) {
            line.push(b'\n');
            let _ = file.write_all(&line);
        }
    }
}
