//! The port by which the tracker reads and changes its file, wherever that is.

use async_trait::async_trait;

use acf_core::tracker::TrackerError;

/// Says what the file is to hold instead; `None` to leave it as it is.
///
/// It may be called several times, each time with what the file holds now; only what the last call
/// says counts.
pub type Edit<'a> = &'a mut (dyn FnMut(&[u8]) -> Result<Option<Vec<u8>>, TrackerError> + Send);

/// A TODO file that several workers read and change.
#[async_trait]
pub trait TodoFile: Send + Sync {
    /// Returns what messages call the file: a path, `git:TODO.md`.
    fn name(&self) -> String;

    /// Returns where the file is, whatever name it was given by.
    fn place(&self) -> String;

    /// Returns the file's bytes as they are now.
    ///
    /// # Errors
    /// [`TrackerError::Unreadable`] where there is no such file, `Other` where it cannot be read.
    async fn read(&self) -> Result<Vec<u8>, TrackerError>;

    /// Changes the file such that no other change is lost: nothing is written between the bytes that
    /// `edit` last saw and those that it returned. `message` says in a line what is changed.
    ///
    /// `edit` is called at least once before this returns `Ok`.
    ///
    /// # Errors
    /// Those of `edit`, as they are, with nothing changed; and those of [`TodoFile::read`].
    async fn update(&self, message: &str, edit: Edit<'_>) -> Result<(), TrackerError>;
}
