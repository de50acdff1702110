//! Directories that live as long as the process that holds them. A locked file beside each, `NAME.lock`,
//! tells whether anybody still does: what a killed process left is held by nobody, and can be removed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A directory that nobody else uses or removes while this value lives.
#[derive(Debug)]
pub struct HeldDirectory {
    path: PathBuf,
    // Locked for as long as the directory is in use.
    _lock: File,
}

impl HeldDirectory {
    /// Makes a new directory in `parent`, which is made too if need be. What an earlier holder left under
    /// that name is removed.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn make(parent: &Path, name: &str) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        let path = parent.join(name);
        // The lock comes first: a directory without a held lock is taken for abandoned.
        let lock = hold(&lock_of(&path))?;
        remove_tree(&path)?;
        fs::create_dir(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with all that is in it.
    ///
    /// # Errors
    /// Where something in it cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        remove_tree(&self.path)?;
        fs::remove_file(lock_of(&self.path)).or_else(absent_is_fine)
    }
}

fn lock_of(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Locks a file, which whoever held it before may remove at the last moment.
fn hold(path: &Path) -> io::Result<File> {
    loop {
        let lock = open(path)?;
        lock.lock()?;
        if is_still_there(&lock, path)? {
            return Ok(lock);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

/// Tells whether a file that was opened by that path is the one that lies there now.
fn is_still_there(file: &File, path: &Path) -> io::Result<bool> {
    let inode = file.metadata()?.ino();
    Ok(fs::symlink_metadata(path).is_ok_and(|found| found.ino() == inode))
}

/// Removes what killed workers left: the directories in `parent` that no process holds. What cannot be
/// removed is only litter, and stays for the next start: what a killed worker had started may write for a
/// moment longer.
pub fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for directory in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        if let Err(error) = remove_if_abandoned(&directory) {
            tracing::warn!(%error, "cannot remove {}, which an earlier worker left", directory.display());
        }
    }
}

fn remove_if_abandoned(directory: &Path) -> io::Result<()> {
    // Another worker that starts up may be at it too, and be first at any step.
    let lock = lock_of(directory);
    let held = open(&lock)?;
    if held.try_lock().is_err() || !is_still_there(&held, &lock)? {
        return Ok(());
    }
    remove_tree(directory)?;
    fs::remove_file(&lock).or_else(absent_is_fine)
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Removes a directory, if it is there, and also what an agent or a tool made read-only in it.
pub(crate) fn remove_tree(directory: &Path) -> io::Result<()> {
    let removed = fs::remove_dir_all(directory).or_else(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            make_accessible(directory);
            fs::remove_dir_all(directory)
        }
        _ => Err(error),
    });
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Lets the owner read and write everything in a directory. What cannot be changed belongs to somebody
/// else, and whoever needs it will say so.
pub(crate) fn make_accessible(directory: &Path) {
    const READ_AND_WRITE: u32 = 0o600;
    const ENTER: u32 = 0o100;
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let is_directory = metadata.is_dir();
        if !is_directory && !metadata.is_file() {
            continue;
        }
        let wanted = if is_directory { READ_AND_WRITE | ENTER } else { READ_AND_WRITE };
        let mode = metadata.permissions().mode();
        if mode & wanted != wanted {
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(mode | wanted));
        }
        if is_directory {
            open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_start_together_clean_up_together() {
        let work_dir = tempfile::tempdir().unwrap();
        for n in 0..100 {
            let tree = work_dir.path().join(format!("TODO-{n}-abc/tree"));
            fs::create_dir_all(&tree).unwrap();
            fs::write(tree.join("file"), "left").unwrap();
        }
        std::thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| remove_abandoned(work_dir.path()))));
        });
        assert_eq!(fs::read_dir(work_dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_checkout_that_is_held_is_not_abandoned() {
        let work_dir = tempfile::tempdir().unwrap();
        let directory = work_dir.path().join("TODO-1-abc");
        fs::create_dir_all(&directory).unwrap();
        let held = File::create(directory.with_extension("lock")).unwrap();
        held.lock().unwrap();
        remove_abandoned(work_dir.path());
        assert!(directory.is_dir());
        drop(held);
        remove_abandoned(work_dir.path());
        assert!(!directory.exists());
    }

    #[test]
    fn only_what_is_absent_counts_as_removed() {
        assert!(absent_is_fine(io::ErrorKind::NotFound.into()).is_ok());
        assert!(absent_is_fine(io::ErrorKind::DirectoryNotEmpty.into()).is_err());
    }

    #[test]
    fn what_an_earlier_holder_left_is_gone_from_a_new_one() {
        let parent = tempfile::tempdir().unwrap();
        let held = HeldDirectory::make(parent.path(), "w-1").unwrap();
        fs::write(held.path().join("file"), "left").unwrap();
        drop(held);
        let held = HeldDirectory::make(parent.path(), "w-1").unwrap();
        assert_eq!(fs::read_dir(held.path()).unwrap().count(), 0);
        held.remove().unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_is_removed_as_it_is_made_is_never_taken_from_its_new_holder() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let held = HeldDirectory::make(parent.path(), "w-1").unwrap();
                        fs::write(held.path().join("file"), "mine").unwrap();
                        remove_abandoned(parent.path());
                        assert!(held.path().join("file").exists());
                        held.remove().unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn what_is_read_only_is_removed_too() {
        let parent = tempfile::tempdir().unwrap();
        let held = HeldDirectory::make(parent.path(), "w-1").unwrap();
        let deep = held.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "").unwrap();
        for path in [deep.as_path(), deep.parent().unwrap()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o500)).unwrap();
        }
        held.remove().unwrap();
        assert!(!deep.exists());
    }
}
