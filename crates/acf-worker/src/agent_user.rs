//! The unprivileged user as whom agents, and the repository's commands that run their code, can be run.
//!
//! Agents then cannot touch the worker, its guards, its mirror and its credentials by the operating
//! system's own rules. What they work in is given to that user; their home is a new one.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, openat};
use rustix::process::geteuid;

use crate::held_directory::HeldDirectory;
use crate::process::UserIds;

/// The deepest directory that is looked into; each level takes an open file.
const DEEPEST: usize = 200;

/// Why agents cannot be run as that user.
#[derive(Debug, thiserror::Error)]
pub enum AgentUserError {
    /// There is no such user.
    #[error("ACF_AGENT_USER: there is no user `{0}` on this machine")]
    Unknown(String),
    /// The user is not an unprivileged one.
    #[error("ACF_AGENT_USER: `{0}` is root, and agents are to run without privileges")]
    Root(String),
    /// The worker may not change users.
    #[error("ACF_AGENT_USER: a worker that is not root cannot run agents as `{0}`")]
    NoRight(String),
    /// The user cannot get to where agents work.
    #[error("ACF_AGENT_USER: `{user}` cannot enter {}", directory.display())]
    NoEntry {
        /// The user.
        user: String,
        /// Where it would have to work.
        directory: PathBuf,
    },
}

/// A user as whom agents run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentUser {
    /// Its name.
    pub name: String,
    /// Its user and group.
    pub ids: UserIds,
}

impl AgentUser {
    /// Looks a user up, by `id` from coreutils, which knows every way in which a machine can have users.
    ///
    /// # Errors
    /// [`AgentUserError`] where there is no such user, it is root, or this process is not.
    pub fn named(name: &str) -> Result<Self, AgentUserError> {
        let unknown = || AgentUserError::Unknown(name.to_owned());
        let id = |which: &str| -> Option<u32> {
            let output = Command::new("id").args([which, "--", name]).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            output.status.success().then_some(text)?.trim().parse().ok()
        };
        let ids = UserIds { uid: id("-u").ok_or_else(unknown)?, gid: id("-g").ok_or_else(unknown)? };
        if ids.uid == 0 || ids.gid == 0 {
            return Err(AgentUserError::Root(name.to_owned()));
        }
        if !geteuid().is_root() {
            return Err(AgentUserError::NoRight(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), ids })
    }

    /// Gives everything in a directory that belongs to this process's user to the agents' one.
    ///
    /// No link is followed, and no file is given away that has another name elsewhere: an agent must not
    /// get at a file of root's by leaving a link to it.
    ///
    /// # Errors
    /// Where something cannot be read or given.
    pub fn own(&self, directory: &Path) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let top = openat(CWD, directory, flags, Mode::empty())?;
        self.own_below(top.as_fd(), 0)
    }

    fn own_below(&self, entry: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
        let found = fstat(entry)?;
        let is_directory = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        if found.st_uid == geteuid().as_raw() && (is_directory || found.st_nlink == 1) {
            let (uid, gid) = (Uid::from_raw(self.ids.uid), Gid::from_raw(self.ids.gid));
            chownat(entry, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        }
        if !is_directory {
            return Ok(());
        }
        if depth == DEEPEST {
            return Err(io::Error::other("the directories are nested too deeply"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(entry, ".", flags, Mode::empty())?;
        for name in Dir::read_from(&directory)? {
            let name = name?;
            let name = name.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(&directory, name, flags, Mode::empty()) {
                Ok(below) => self.own_below(below.as_fd(), depth + 1)?,
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The home of a worker's agents where they have a user of their own: made for the worker, and removed
/// with it. One that a killed worker left is removed like an abandoned checkout.
#[derive(Debug)]
pub struct AgentHome(HeldDirectory);

impl AgentHome {
    /// Makes a new home in a directory, for nobody but its owner.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn make(directory: &Path, whose: &str) -> io::Result<Self> {
        let home = Self(HeldDirectory::make(directory, &format!("home-{whose}"))?);
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700))?;
        Ok(home)
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for AgentHome {
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
            tracing::warn!(%error, "cannot remove {}; the next start will", self.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// Returns somebody to give files to: `nobody` where the tests run as root, else whoever runs them.
    fn somebody() -> AgentUser {
        let ids = if geteuid().is_root() {
            UserIds { uid: 65534, gid: 65534 }
        } else {
            UserIds { uid: geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
        };
        AgentUser { name: "somebody".into(), ids }
    }

    #[test]
    fn what_is_in_a_directory_is_given_and_nothing_that_links_lead_to() {
        let room = tempfile::tempdir().unwrap();
        let (outside, tree) = (room.path().join("outside"), room.path().join("tree"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        for file in [outside.join("secret"), outside.join("linked"), tree.join("a/b/file")] {
            fs::write(file, "").unwrap();
        }
        std::os::unix::fs::symlink(outside.join("secret"), tree.join("symbolic")).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("directory")).unwrap();
        fs::hard_link(outside.join("linked"), tree.join("hard")).unwrap();

        let user = somebody();
        user.own(&tree).unwrap();

        let owner = |path: PathBuf| fs::symlink_metadata(path).unwrap().uid();
        for given in ["", "a", "a/b", "a/b/file", "symbolic", "directory"] {
            assert_eq!(owner(tree.join(given)), user.ids.uid, "{given}");
        }
        for kept in [tree.join("hard"), outside.join("linked"), outside.join("secret"), outside] {
            assert_eq!(owner(kept.clone()), geteuid().as_raw(), "{}", kept.display());
        }
    }

    #[test]
    fn a_home_is_for_its_owner_only_and_goes_with_its_worker() {
        let room = tempfile::tempdir().unwrap();
        let home = AgentHome::make(room.path(), "w-1").unwrap();
        assert_eq!(fs::metadata(home.path()).unwrap().mode() & 0o777, 0o700);
        assert!(AgentHome::make(room.path(), "w-2").is_ok());
        drop(home);
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0);
    }

    #[test]
    fn who_cannot_be_an_agents_user_is_refused_by_name() {
        let refused = |name| AgentUser::named(name).unwrap_err().to_string();
        assert_eq!(
            refused("no-such-user"),
            "ACF_AGENT_USER: there is no user `no-such-user` on this machine"
        );
        assert_eq!(
            refused("root"),
            "ACF_AGENT_USER: `root` is root, and agents are to run without privileges"
        );
        assert!(refused("--help").contains("no user `--help`"));
    }
}
