//! A TODO file on this machine, shared by its workers: locked, and replaced as a whole.
//!
//! Next to `TODO.md` lie `.TODO.md.acf-lock`, which stays, as deleting it would let two writers in, and,
//! after a writer was killed, `.TODO.md.acf-new`, which the next writer removes. Both may be deleted when
//! no worker runs, and belong into `.gitignore`.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use acf_core::tracker::TrackerError;
use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::file::{Edit, TodoFile};

/// A writer holds the lock for milliseconds; one that holds it so much longer is stuck.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);
/// How often an edit is made anew because a program that knows no lock wrote to the file meanwhile.
const MAX_EDITS: usize = 20;

/// A TODO file by its path.
#[derive(Clone, Debug)]
pub struct LocalFile {
    path: PathBuf,
}

impl LocalFile {
    /// Names a file. It is looked at only when it is read.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

#[async_trait]
impl TodoFile for LocalFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn place(&self) -> String {
        fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone()).display().to_string()
    }

    async fn read(&self) -> Result<Vec<u8>, TrackerError> {
        let path = self.path.clone();
        let reading = spawn_blocking(move || Place::of(&path)?.read());
        reading.await.map_err(|panic| TrackerError::other(cannot("read", &self.path), panic))?
    }

    /// See [`TodoFile::update`]. The message is not kept: the file has no history.
    async fn update(&self, _message: &str, edit: Edit<'_>) -> Result<(), TrackerError> {
        // One blocking thread takes the lock, reads and writes, and asks here for the edit in between.
        // So the holder of the lock never waits for a thread that those who wait for the lock occupy.
        let (offer, mut offers) = mpsc::channel(1);
        let (answer, answers) = mpsc::channel(1);
        let path = self.path.clone();
        let writing = spawn_blocking(move || edit_under_lock(&path, &offer, answers));
        let held_too_long = |_| {
            let cause = format!("another program holds the lock for more than {} s", LOCK_PATIENCE.as_secs());
            TrackerError::other(cannot("lock", &self.path), cause)
        };
        loop {
            let offered = tokio::time::timeout(LOCK_PATIENCE, offers.recv()).await.map_err(held_too_long)?;
            let Some(contents) = offered else { break };
            let contents: Vec<u8> = contents;
            let Some(edited) = edit(&contents)? else { return Ok(()) };
            // A writer that has gone says why in its result.
            let _ = answer.send(edited).await;
        }
        writing.await.map_err(|panic| TrackerError::other(cannot("write", &self.path), panic))?
    }
}

/// Reads the file, offers its contents, and writes what is answered; all of it under the lock, which
/// falls when this returns. No answer means that nothing is to be written.
fn edit_under_lock(
    path: &Path,
    offer: &mpsc::Sender<Vec<u8>>,
    mut answers: mpsc::Receiver<Vec<u8>>,
) -> Result<(), TrackerError> {
    let place = Place::of(path)?;
    let _lock = place.lock()?;
    for _ in 0..MAX_EDITS {
        let found = place.read()?;
        if offer.blocking_send(found.clone()).is_err() {
            return Ok(());
        }
        let Some(edited) = answers.blocking_recv() else { return Ok(()) };
        place.prepare(&edited).map_err(|cause| TrackerError::other(cannot("write", path), cause))?;
        // An editor that saves just now knows nothing of the lock; what it saved must not be lost.
        if place.read()? == found {
            return place.replace();
        }
    }
    Err(TrackerError::other(cannot("write", path), "another program keeps writing to it"))
}

fn cannot(verb: &str, path: &Path) -> String {
    format!("cannot {verb} TODO file `{}`", path.display())
}

/// Where the file and what belongs to it really are.
struct Place {
    /// The path as it was given, for messages.
    path: PathBuf,
    /// The file itself, behind all links: so a link stays a link, and all its names share one lock.
    target: PathBuf,
    directory: PathBuf,
    lock: PathBuf,
    new: PathBuf,
}

impl Place {
    fn of(path: &Path) -> Result<Self, TrackerError> {
        let metadata = fs::metadata(path).and_then(|metadata| Ok((metadata, fs::canonicalize(path)?)));
        let (metadata, target) = metadata.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                TrackerError::Unreadable(format!("there is no TODO file `{}`", path.display()))
            }
            _ => TrackerError::other(cannot("read", path), error),
        })?;
        // Reading a pipe or a device could take forever.
        let name = target.file_name().filter(|_| metadata.is_file());
        let (Some(name), Some(directory)) = (name, target.parent()) else {
            let what = if metadata.is_dir() { "a directory" } else { "not a regular file" };
            return Err(TrackerError::Impossible(format!(
                "`{}` is {what}; a TODO file is expected",
                path.display()
            )));
        };
        let beside = |suffix: &str| {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(suffix);
            directory.join(hidden)
        };
        Ok(Self {
            path: path.to_owned(),
            lock: beside(".acf-lock"),
            new: beside(".acf-new"),
            directory: directory.to_owned(),
            target,
        })
    }

    /// Waits for the lock and holds it as long as the file that is returned.
    fn lock(&self) -> Result<File, TrackerError> {
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&self.lock);
        let locked = opened.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|cause| {
            let attempt = format!("{} with `{}`", cannot("lock", &self.path), self.lock.display());
            TrackerError::other(attempt, cause)
        })
    }

    fn read(&self) -> Result<Vec<u8>, TrackerError> {
        fs::read(&self.target).map_err(|cause| TrackerError::other(cannot("read", &self.path), cause))
    }

    /// Writes what is to become the file next to it, to the disk. Only the holder of the lock may. What cannot
    /// be written as a whole, as on a full disk, does not stay there.
    fn prepare(&self, contents: &[u8]) -> io::Result<()> {
        self.write_new(contents).inspect_err(|_| _ = fs::remove_file(&self.new))
    }

    fn write_new(&self, contents: &[u8]) -> io::Result<()> {
        match fs::remove_file(&self.new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let found = fs::metadata(&self.target)?;
        let mut new = OpenOptions::new().write(true).create_new(true).open(&self.new)?;
        new.write_all(contents)?;
        let own = new.metadata()?;
        if (own.uid(), own.gid()) != (found.uid(), found.gid()) {
            // Only root may give files away; for anybody else the file is theirs from now on.
            let _ = fchown(&new, Some(found.uid()), Some(found.gid()));
        }
        new.set_permissions(found.permissions())?;
        new.sync_all()
    }

    /// Puts what was prepared in the file's place, for good.
    fn replace(&self) -> Result<(), TrackerError> {
        let replaced = fs::rename(&self.new, &self.target)
            .and_then(|()| File::open(&self.directory))
            .and_then(|directory| directory.sync_all());
        replaced.map_err(|cause| match cause.kind() {
            io::ErrorKind::ResourceBusy => TrackerError::Impossible(format!(
                "TODO file `{}` is a mount of its own and cannot be replaced; mount its directory instead",
                self.path.display()
            )),
            _ => TrackerError::other(cannot("replace", &self.path), cause),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn file_with(contents: &str) -> (tempfile::TempDir, LocalFile) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("TODO.md");
        fs::write(&path, contents).unwrap();
        (directory, LocalFile::new(path))
    }

    async fn append(file: &LocalFile, text: &str) -> Result<(), TrackerError> {
        file.update("", &mut |found| Ok(Some([found, text.as_bytes()].concat()))).await
    }

    fn words(error: &TrackerError, directory: &Path) -> String {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}").replace(&directory.display().to_string(), "DIR")
    }

    #[tokio::test]
    async fn an_edit_replaces_the_file_and_keeps_its_permissions() {
        let (directory, file) = file_with("a");
        let path = directory.path().join("TODO.md");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        append(&file, "b").await.unwrap();
        assert_eq!(file.read().await.unwrap(), b"ab");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[tokio::test]
    async fn no_edit_and_a_failed_edit_leave_the_file_alone() {
        let (directory, file) = file_with("a");
        let inode = || fs::metadata(directory.path().join("TODO.md")).unwrap().ino();
        let before = inode();
        file.update("", &mut |_| Ok(None)).await.unwrap();
        let refused = file.update("", &mut |_| Err(TrackerError::NotFound("x".into()))).await;
        assert!(matches!(refused, Err(TrackerError::NotFound(_))));
        assert_eq!((file.read().await.unwrap().as_slice(), inode()), (b"a".as_slice(), before));
        append(&file, "b").await.unwrap();
        assert_eq!(file.read().await.unwrap(), b"ab");
    }

    #[tokio::test]
    async fn a_link_stays_a_link() {
        let (directory, file) = file_with("a");
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("link.md");
        symlink(directory.path().join("TODO.md"), &link).unwrap();
        append(&LocalFile::new(&link), "b").await.unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(file.read().await.unwrap(), b"ab");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_a_killed_writer_left_is_harmless() {
        let (directory, file) = file_with("a");
        let left = directory.path().join(".TODO.md.acf-new");
        fs::write(&left, "half of somet").unwrap();
        fs::write(directory.path().join(".TODO.md.acf-lock"), "").unwrap();
        append(&file, "b").await.unwrap();
        assert_eq!(file.read().await.unwrap(), b"ab");
        assert!(!left.exists());
    }

    #[tokio::test]
    async fn what_another_program_writes_during_an_edit_is_not_lost() {
        let (directory, file) = file_with("a");
        let path = directory.path().join("TODO.md");
        let mut calls = 0;
        let mut edit = |found: &[u8]| {
            calls += 1;
            if calls == 1 {
                fs::write(&path, "edited ").unwrap();
            }
            Ok(Some([found, b"b"].concat()))
        };
        file.update("", &mut edit).await.unwrap();
        assert_eq!(file.read().await.unwrap(), b"edited b");
        assert_eq!(calls, 2);
    }

    #[tokio::test]
    async fn a_program_that_never_stops_writing_is_told_of() {
        let (directory, file) = file_with("a");
        let mut calls = 0;
        let mut edit = |found: &[u8]| {
            calls += 1;
            fs::write(directory.path().join("TODO.md"), calls.to_string()).unwrap();
            Ok(Some([found, b"b"].concat()))
        };
        let error = file.update("", &mut edit).await.unwrap_err();
        insta::assert_snapshot!(words(&error, directory.path()), @"cannot write TODO file `DIR/TODO.md`: another program keeps writing to it");
    }

    #[tokio::test]
    async fn a_path_that_is_no_todo_file_is_named() {
        let (directory, _) = file_with("a");
        symlink("gone.md", directory.path().join("dangling.md")).unwrap();
        let told = async |name: &str| {
            let file = LocalFile::new(directory.path().join(name));
            let read = words(&file.read().await.unwrap_err(), directory.path());
            let updated = words(&append(&file, "b").await.unwrap_err(), directory.path());
            assert_eq!(read, updated);
            read
        };
        assert_eq!(told("missing.md").await, "there is no TODO file `DIR/missing.md`");
        assert_eq!(told("dangling.md").await, "there is no TODO file `DIR/dangling.md`");
        assert_eq!(told(".").await, "`DIR/.` is a directory; a TODO file is expected");
        assert_eq!(
            told("TODO.md/x").await,
            "cannot read TODO file `DIR/TODO.md/x`: Not a directory (os error 20)"
        );
    }

    #[tokio::test]
    async fn a_device_is_not_read() {
        let error = LocalFile::new("/dev/zero").read().await.unwrap_err();
        assert_eq!(error.to_string(), "`/dev/zero` is not a regular file; a TODO file is expected");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_is_never_given_up_is_told_of() {
        let (directory, file) = file_with("a");
        let held = Place::of(&directory.path().join("TODO.md")).unwrap().lock().unwrap();
        let wait = async {
            tokio::task::yield_now().await;
            tokio::time::advance(LOCK_PATIENCE).await;
        };
        let (waited, ()) = tokio::join!(append(&file, "b"), wait);
        drop(held);
        let error = words(&waited.unwrap_err(), directory.path());
        insta::assert_snapshot!(error, @"cannot lock TODO file `DIR/TODO.md`: another program holds the lock for more than 60 s");
    }

    #[test]
    fn eight_threads_lose_no_edit() {
        let (directory, file) = file_with("");
        let path = directory.path().join("TODO.md");
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let file = LocalFile::new(&path);
                scope.spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                    for edit in 0..50 {
                        runtime.block_on(append(&file, &format!("{thread}.{edit}\n"))).unwrap();
                    }
                });
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let written = String::from_utf8(runtime.block_on(file.read()).unwrap()).unwrap();
        let mut lines: Vec<_> = written.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!((written.lines().count(), lines.len()), (400, 400));
    }
}
