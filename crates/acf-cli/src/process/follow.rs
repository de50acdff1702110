//! Reads a worker's log, and goes on reading while it grows.

use std::collections::VecDeque;
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use acf_core::run::WorkerId;
use acf_core::runtime::{LogLine, LogStream, RuntimeError};
use futures_util::stream;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::record::WorkerDir;

/// How often a log is looked at for more.
const POLL: Duration = Duration::from_millis(100);
/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// A longer line is cut into several, so that output without line ends cannot fill the memory.
const LONGEST_LINE_BYTES: usize = 256 * 1024;

/// Streams the lines of a worker's log; with `follow`, until the worker has ended and all is read.
pub(super) fn lines(dir: WorkerDir, worker: WorkerId, follow: bool) -> LogStream {
    let tail = Tail { dir, follow, file: None, splitter: Splitter::default() };
    Box::pin(stream::try_unfold((tail, worker), async |(mut tail, worker)| {
        let line = tail.next_line().await.map_err(|error| RuntimeError::Other {
            attempt: format!("cannot read the log of {worker}"),
            cause: error.into(),
        })?;
        Ok(line.map(|text| (LogLine { worker: worker.clone(), text }, (tail, worker))))
    }))
}

struct Tail {
    dir: WorkerDir,
    follow: bool,
    file: Option<Open>,
    splitter: Splitter,
}

struct Open {
    file: File,
    inode: u64,
    position: u64,
}

impl Tail {
    async fn next_line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(line) = self.splitter.next() {
                return Ok(Some(line));
            }
            // Asked before reading: all that the worker ever wrote is there once it has ended.
            let is_all = !self.follow || self.dir.has_ended();
            if self.read_more().await? {
                continue;
            }
            if self.start_over_if_replaced().await? {
                continue;
            }
            if is_all {
                return Ok(self.splitter.rest());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Reads a piece more, and tells whether there was any.
    async fn read_more(&mut self) -> io::Result<bool> {
        if self.file.is_none() {
            self.file = Open::new(&self.dir.log()).await?;
        }
        let Some(open) = &mut self.file else { return Ok(false) };
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let read = (&mut open.file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk).await?;
        open.position += read as u64;
        self.splitter.push(&chunk);
        Ok(read > 0)
    }

    /// Notices that the log was rotated or cut off, and reads what is there now from its beginning.
    async fn start_over_if_replaced(&mut self) -> io::Result<bool> {
        let Some(open) = &mut self.file else { return Ok(false) };
        let Ok(there) = tokio::fs::metadata(self.dir.log()).await else { return Ok(false) };
        let rotated = there.ino() != open.inode;
        let cut_off = there.len() < open.position;
        if rotated {
            // What came between the last look at the old file and its end.
            while self.read_more().await? {}
            self.file = None;
        } else if cut_off {
            open.file.seek(SeekFrom::Start(0)).await?;
            open.position = 0;
        }
        if rotated || cut_off {
            self.splitter.end_line();
        }
        Ok(rotated || cut_off)
    }
}

impl Open {
    async fn new(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let inode = file.metadata().await?.ino();
        Ok(Some(Self { file, inode, position: 0 }))
    }
}

/// Makes lines out of pieces.
#[derive(Default)]
struct Splitter {
    lines: VecDeque<String>,
    partial: Vec<u8>,
}

impl Splitter {
    fn push(&mut self, chunk: &[u8]) {
        for piece in chunk.split_inclusive(|&byte| byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() >= LONGEST_LINE_BYTES {
                self.end_line();
            }
        }
    }

    fn next(&mut self) -> Option<String> {
        self.lines.pop_front()
    }

    /// Takes what is there as a line, though its end is not.
    fn end_line(&mut self) {
        if self.partial.is_empty() {
            return;
        }
        let line = self.partial.strip_suffix(b"\n").unwrap_or(&self.partial);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.lines.push_back(String::from_utf8_lossy(line).into_owned());
        self.partial.clear();
    }

    fn rest(&mut self) -> Option<String> {
        self.end_line();
        self.next()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use acf_core::runtime::{Pool, WorkerSpec};
    use futures_util::{FutureExt, StreamExt, TryStreamExt};
    use jiff::Timestamp;

    use super::super::record::{Order, Record};
    use super::*;
    use acf_worker::process::Identity;

    /// A worker that is taken for running until it is ended: this process plays it.
    struct Worker {
        dir: tempfile::TempDir,
    }

    impl Worker {
        fn running() -> Self {
            let worker = Self { dir: tempfile::tempdir().unwrap() };
            let this_process = Identity::of(std::process::id()).unwrap();
            let spec = WorkerSpec::of(Pool::Workers);
            let order = Order::new(WorkerId::new("w-1"), &spec, Timestamp::UNIX_EPOCH);
            let record = Record { order, worker: this_process.clone(), keeper: this_process };
            worker.place().write_record(&record).unwrap();
            worker
        }

        fn ended() -> Self {
            let worker = Self::running();
            worker.end();
            worker
        }

        fn end(&self) {
            self.place().write_exit(0).unwrap();
        }

        fn place(&self) -> WorkerDir {
            WorkerDir::new(self.dir.path())
        }

        fn write(&self, bytes: impl AsRef<[u8]>) {
            let mut log = fs::File::options().append(true).create(true).open(self.place().log()).unwrap();
            log.write_all(bytes.as_ref()).unwrap();
        }

        fn lines(&self, follow: bool) -> futures_util::stream::BoxStream<'static, String> {
            lines(self.place(), WorkerId::new("w-1"), follow).map(|line| line.unwrap().text).boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_is_read_to_its_end_with_a_last_line_that_has_none() {
        let worker = Worker::running();
        worker.write("one\r\n\ntwo \u{fffd}\nthr");
        let all: Vec<_> = worker.lines(false).collect().await;
        assert_eq!(all, ["one", "", "two \u{fffd}", "thr"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_wrote_nothing_has_an_empty_log() {
        assert_eq!(Worker::running().lines(false).collect::<Vec<_>>().await.len(), 0);
        assert_eq!(Worker::ended().lines(true).collect::<Vec<_>>().await.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_are_no_text_are_shown_as_far_as_they_are() {
        let worker = Worker::ended();
        worker.write(b"a\xff\xfeb\n");
        assert_eq!(worker.lines(true).next().await.unwrap(), "a\u{fffd}\u{fffd}b");
    }

    #[tokio::test(start_paused = true)]
    async fn following_waits_for_the_rest_of_a_line_and_ends_with_the_worker() {
        let worker = Worker::running();
        worker.write("one\ntw");
        let mut lines = worker.lines(true);
        assert_eq!(lines.next().await.unwrap(), "one");
        assert_eq!(lines.next().now_or_never(), None, "half a line was shown");
        worker.write("o\nthree");
        assert_eq!(lines.next().await.unwrap(), "two");
        worker.end();
        assert_eq!(lines.next().await.unwrap(), "three");
        assert_eq!(lines.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn following_finds_a_log_that_is_not_there_yet() {
        let worker = Worker::running();
        let mut lines = worker.lines(true);
        assert_eq!(lines.next().now_or_never(), None);
        worker.write("late\n");
        assert_eq!(lines.next().await.unwrap(), "late");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_lost_when_the_log_is_rotated_or_cut_off() {
        let worker = Worker::running();
        worker.write("one\n");
        let mut lines = worker.lines(true);
        assert_eq!(lines.next().await.unwrap(), "one");
        worker.write("two\nhalf");
        fs::rename(worker.place().log(), worker.dir.path().join("log.1")).unwrap();
        worker.write("three\n");
        for expected in ["two", "half", "three"] {
            assert_eq!(lines.next().await.unwrap(), expected);
        }
        fs::write(worker.place().log(), "4\n").unwrap();
        assert_eq!(lines.next().await.unwrap(), "4");
    }

    #[tokio::test(start_paused = true)]
    async fn output_without_line_ends_is_cut_and_nothing_of_it_lost() {
        let worker = Worker::ended();
        let long = "x".repeat(3 * LONGEST_LINE_BYTES + 7);
        worker.write(&long);
        let all: Vec<LogLine> =
            lines(worker.place(), WorkerId::new("w-1"), true).try_collect().await.unwrap();
        assert!(all.len() > 1);
        assert_eq!(all.into_iter().map(|line| line.text).collect::<String>(), long);
    }
}
