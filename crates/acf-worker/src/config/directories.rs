//! The user's directories, as the XDG Base Directory Specification places them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::problems::Problem;

/// Returns where acf keeps what it can make again: `$XDG_CACHE_HOME/acf`.
///
/// # Errors
/// A [`Problem`] when neither that variable nor `HOME` says where it is.
pub fn cache_directory(environment: &BTreeMap<String, String>) -> Result<PathBuf, Problem> {
    directory(environment, "XDG_CACHE_HOME", ".cache")
}

/// Returns where acf keeps what it has to remember: `$XDG_STATE_HOME/acf`.
///
/// # Errors
/// A [`Problem`] when neither that variable nor `HOME` says where it is.
pub fn state_directory(environment: &BTreeMap<String, String>) -> Result<PathBuf, Problem> {
    directory(environment, "XDG_STATE_HOME", ".local/state")
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
        // The same whichever is asked for: a worker needs the one, and looking after workers the other.
        let remedy = "set it, or XDG_CACHE_HOME and XDG_STATE_HOME, to an absolute path";
        Problem::missing("HOME", found, remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> (Result<PathBuf, Problem>, Result<PathBuf, Problem>) {
        let environment = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        (cache_directory(&environment), state_directory(&environment))
    }

    #[test]
    fn they_lie_below_home_unless_xdg_says_otherwise() {
        let home = of(&[("HOME", "/home/ann")]);
        assert_eq!(home, (Ok("/home/ann/.cache/acf".into()), Ok("/home/ann/.local/state/acf".into())));
        let xdg = of(&[("XDG_CACHE_HOME", "/c"), ("XDG_STATE_HOME", "/s")]);
        assert_eq!(xdg, (Ok("/c/acf".into()), Ok("/s/acf".into())));
    }

    #[test]
    fn a_relative_xdg_directory_is_ignored() {
        let (cache, _) = of(&[("HOME", "/h"), ("XDG_CACHE_HOME", "cache")]);
        assert_eq!(cache, Ok("/h/.cache/acf".into()));
    }

    #[test]
    fn without_any_home_it_says_what_to_set() {
        let (cache, state) = of(&[("XDG_CACHE_HOME", "/c")]);
        assert_eq!(cache, Ok("/c/acf".into()), "what needs no more has enough");
        let problem = state.unwrap_err();
        assert_eq!((problem.name.as_str(), problem.found.as_str()), ("HOME", "not set"));
        assert_eq!(problem.remedy, "set it, or XDG_CACHE_HOME and XDG_STATE_HOME, to an absolute path");
        let found = |home: &str| of(&[("HOME", home)]).0.unwrap_err().found;
        assert_eq!(found(""), "empty in the environment");
        assert_eq!(found("x"), "not an absolute path");
    }
}
