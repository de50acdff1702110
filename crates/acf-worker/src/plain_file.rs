//! Reading files where an agent may have left something else under their names.

use std::fs;
use std::path::Path;

/// Reads a regular file below a directory; a link is none, and leads to none, as it could lead out of
/// the checkout or around the protection of a path.
pub(crate) fn read(root: &Path, path: impl AsRef<Path>) -> Option<String> {
    let path = path.as_ref();
    let is_plain_directory =
        |above: &Path| fs::symlink_metadata(root.join(above)).is_ok_and(|metadata| metadata.is_dir());
    let is_file = fs::symlink_metadata(root.join(path)).is_ok_and(|metadata| metadata.is_file());
    let is_plain = is_file && path.ancestors().skip(1).all(is_plain_directory);
    let bytes = is_plain.then(|| fs::read(root.join(path)).ok()).flatten()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
