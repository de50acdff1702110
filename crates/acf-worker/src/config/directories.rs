//! The user's directories, as the XDG Base Directory Specification places them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::problems::Problem;

/// Where acf keeps what it can make again, and what it has to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    /// What can be made again: `$XDG_CACHE_HOME/acf`.
    pub cache: PathBuf,
    /// What has to be remembered: `$XDG_STATE_HOME/acf`.
    pub state: PathBuf,
}

impl Directories {
    /// Derives the directories from the environment; none is made.
    ///
    /// # Errors
    /// A [`Problem`] when neither `HOME` nor the XDG variables say where they are.
    pub fn of(environment: &BTreeMap<String, String>) -> Result<Self, Problem> {
        Ok(Self {
            cache: directory(environment, "XDG_CACHE_HOME", ".cache")?,
            state: directory(environment, "XDG_STATE_HOME", ".local/state")?,
        })
    }
}

/// Returns the cache directory alone, for those who need no more.
pub(super) fn cache(environment: &BTreeMap<String, String>) -> Result<PathBuf, Problem> {
    directory(environment, "XDG_CACHE_HOME", ".cache")
}

fn directory(
    environment: &BTreeMap<String, String>,
    xdg: &str,
    below_home: &str,
) -> Result<PathBuf, Problem> {
    // The specification has relative paths ignored.
    let absolute = |name: &str| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(xdg).or_else(|| absolute("HOME").map(|home| home.join(below_home)));
    base.map(|base| base.join("acf")).ok_or_else(|| {
        let found = match environment.get("HOME") {
            None => "not set",
            Some(home) if home.is_empty() => "empty in the environment",
            Some(_) => "not an absolute path",
        };
        Problem::missing("HOME", found, format!("set it, or {xdg}, to an absolute path"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Directories, Problem> {
        Directories::of(&pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn they_lie_below_home_unless_xdg_says_otherwise() {
        let home = of(&[("HOME", "/home/ann")]).unwrap();
        assert_eq!(home.cache, PathBuf::from("/home/ann/.cache/acf"));
        assert_eq!(home.state, PathBuf::from("/home/ann/.local/state/acf"));
        let xdg = of(&[("XDG_CACHE_HOME", "/c"), ("XDG_STATE_HOME", "/s")]).unwrap();
        assert_eq!(xdg, Directories { cache: "/c/acf".into(), state: "/s/acf".into() });
    }

    #[test]
    fn a_relative_xdg_directory_is_ignored() {
        let directories = of(&[("HOME", "/h"), ("XDG_CACHE_HOME", "cache")]).unwrap();
        assert_eq!(directories.cache, PathBuf::from("/h/.cache/acf"));
    }

    #[test]
    fn without_any_home_it_says_what_to_set() {
        let problem = of(&[("XDG_CACHE_HOME", "/c")]).unwrap_err();
        assert_eq!((problem.name.as_str(), problem.found.as_str()), ("HOME", "not set"));
        assert_eq!(problem.remedy, "set it, or XDG_STATE_HOME, to an absolute path");
        assert_eq!(of(&[("HOME", "")]).unwrap_err().found, "empty in the environment");
        assert_eq!(of(&[("HOME", "x")]).unwrap_err().found, "not an absolute path");
    }
}
