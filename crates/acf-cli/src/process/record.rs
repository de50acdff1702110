//! What is kept of one worker on disk: its directory, its record, and the state that they tell.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use acf_core::run::WorkerId;
use acf_core::runtime::{Pool, WorkerSpec, WorkerState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use acf_worker::process::Identity;

/// What is known of a worker from its start on: `worker.json`. Its environment is not: that holds
/// secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) order: Order,
    /// The worker's process.
    pub(super) worker: Identity,
    /// The process that stands by until the worker has ended.
    pub(super) keeper: Identity,
}

/// What a keeper is told of the worker that it is to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) id: WorkerId,
    pub(super) pool: Pool,
    pub(super) max_issues: Option<u32>,
    pub(super) exit_when_idle: bool,
    pub(super) started_at: Timestamp,
    /// Which project it works on, by a hash of its addresses.
    #[serde(default)]
    pub(super) project: Option<String>,
}

impl Order {
    pub(super) fn new(id: WorkerId, spec: &WorkerSpec, started_at: Timestamp) -> Self {
        Self {
            id,
            pool: spec.pool,
            max_issues: spec.max_issues,
            exit_when_idle: spec.exit_when_idle,
            started_at,
            project: None,
        }
    }
}

/// The directory of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WorkerDir {
    path: PathBuf,
}

impl WorkerDir {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the worker's output goes.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where the worker tells what it does, one event a line.
    pub(super) fn events(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    fn record_file(&self) -> PathBuf {
        self.path.join("worker.json")
    }

    fn exit_file(&self) -> PathBuf {
        self.path.join("exit")
    }

    fn stopping_file(&self) -> PathBuf {
        self.path.join("stopping")
    }

    /// Reads the record; `None` if there is none, or none that is understood.
    pub(super) fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.record_file()).ok()?).ok()
    }

    pub(super) fn write_record(&self, record: &Record) -> io::Result<()> {
        self.write(&self.record_file(), &serde_json::to_vec(record)?)
    }

    pub(super) fn write_exit(&self, exit_code: i32) -> io::Result<()> {
        self.write(&self.exit_file(), exit_code.to_string().as_bytes())
    }

    /// Returns the exit code, once the worker has ended and its keeper has noted it.
    fn exit_code(&self) -> Option<i32> {
        fs::read_to_string(self.exit_file()).ok()?.trim().parse().ok()
    }

    /// Notes that the worker was told to stop.
    pub(super) fn note_stopping(&self) -> io::Result<()> {
        self.write(&self.stopping_file(), b"")
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping_file().exists()
    }

    fn swept_file(&self) -> PathBuf {
        self.path.join("swept")
    }

    /// Notes that whatever the worker left has been settled since it ended.
    pub(super) fn note_swept(&self) -> io::Result<()> {
        self.write(&self.swept_file(), b"")
    }

    pub(super) fn is_swept(&self) -> bool {
        self.swept_file().exists()
    }

    /// Returns when the worker ended, as far as its files tell.
    pub(super) fn ended_at(&self) -> Option<Timestamp> {
        let files = [self.exit_file(), self.log(), self.record_file(), self.path.clone()];
        let modified = files.iter().find_map(|file| fs::metadata(file).ok()?.modified().ok())?;
        Timestamp::try_from(modified).ok()
    }

    /// Returns whether the worker of that record runs.
    pub(super) fn state(&self, record: &Record) -> WorkerState {
        // In this order: the keeper notes the exit code before it goes.
        let alive = record.keeper.is_alive() || record.worker.is_alive();
        match self.exit_code() {
            Some(exit_code) => WorkerState::Ended { exit_code: Some(exit_code) },
            None if !alive => WorkerState::Ended { exit_code: None },
            None if self.is_stopping() => WorkerState::Stopping,
            None => WorkerState::Running,
        }
    }

    /// Tells whether the worker has ended; it has, too, when its directory is gone.
    pub(super) fn has_ended(&self) -> bool {
        self.record().is_none_or(|record| matches!(self.state(&record), WorkerState::Ended { .. }))
    }

    /// Writes a file as a whole or not at all, whoever reads or dies meanwhile.
    fn write(&self, file: &Path, contents: &[u8]) -> io::Result<()> {
        let mut new = tempfile::NamedTempFile::new_in(&self.path)?;
        new.write_all(contents)?;
        new.persist(file)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> (tempfile::TempDir, WorkerDir, Record) {
        let dir = tempfile::tempdir().unwrap();
        let this_process = Identity::of(std::process::id()).unwrap();
        let order = Order::new(WorkerId::new("w-1"), &WorkerSpec::of(Pool::Workers), Timestamp::UNIX_EPOCH);
        let record = Record { order, worker: this_process.clone(), keeper: this_process };
        let worker = WorkerDir::new(dir.path());
        (dir, worker, record)
    }

    fn dead() -> Identity {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        child.wait().unwrap();
        identity
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_never_in_half() {
        let (_dir, worker, record) = worker();
        assert_eq!(worker.record(), None);
        worker.write_record(&record).unwrap();
        assert_eq!(worker.record(), Some(record));
        let whole = fs::read_to_string(worker.record_file()).unwrap();
        fs::write(worker.record_file(), &whole[..whole.len() / 2]).unwrap();
        assert_eq!(worker.record(), None);
    }

    #[test]
    fn a_worker_whose_processes_are_gone_without_a_word_has_ended() {
        let (_dir, worker, record) = worker();
        assert_eq!(worker.state(&record), WorkerState::Running);
        let lost = Record { worker: dead(), keeper: dead(), ..record };
        assert_eq!(worker.state(&lost), WorkerState::Ended { exit_code: None });
    }

    #[test]
    fn a_worker_outlives_its_keeper_and_waits_for_its_word() {
        let (_dir, worker, record) = worker();
        let without_keeper = Record { keeper: dead(), ..record.clone() };
        assert_eq!(worker.state(&without_keeper), WorkerState::Running);
        let not_yet_noted = Record { worker: dead(), ..record };
        assert_eq!(worker.state(&not_yet_noted), WorkerState::Running);
    }

    #[test]
    fn an_exit_code_outweighs_all_else() {
        let (_dir, worker, record) = worker();
        worker.note_stopping().unwrap();
        assert_eq!(worker.state(&record), WorkerState::Stopping);
        worker.write_exit(7).unwrap();
        assert_eq!(worker.state(&record), WorkerState::Ended { exit_code: Some(7) });
    }
}
