//! The name of a repository.

use std::fmt;
use std::str::FromStr;

use crate::http::Request;

/// The name of a repository: `acme/shop`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    owner: String,
    name: String,
}

/// A text is no name of a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no repository; it is written as owner/name, e.g. acme/shop")]
pub struct InvalidRepository(String);

impl Repository {
    /// Returns the account or organisation that it belongs to.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns the path of something in it.
    pub(super) fn path<'a>(&'a self, rest: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        ["repos", &self.owner, &self.name].into_iter().chain(rest).collect()
    }

    /// Makes a `GET` of something in it.
    pub(super) fn get<'a>(&'a self, rest: impl IntoIterator<Item = &'a str>) -> Request {
        Request::get(self.path(rest))
    }
}

impl FromStr for Repository {
    type Err = InvalidRepository;

    fn from_str(text: &str) -> Result<Self, InvalidRepository> {
        let is_name = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !part.is_empty() && part.chars().all(known) && part != "." && part != ".."
        };
        match text.split_once('/') {
            Some((owner, name)) if is_name(owner) && is_name(name) => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(InvalidRepository(text.chars().take(100).collect())),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_an_owner_and_a_name() {
        let repository: Repository = "acme/shop.rs".parse().unwrap();
        assert_eq!((repository.owner(), repository.to_string().as_str()), ("acme", "acme/shop.rs"));
        for text in
            ["", "shop", "acme/", "/shop", "a/b/c", "acme/..", "a b/c", "https://github.com/acme/shop"]
        {
            assert!(text.parse::<Repository>().is_err(), "{text}");
        }
    }
}
