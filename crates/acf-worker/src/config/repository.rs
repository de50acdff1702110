//! Where work goes: the target repository, and how git is used on it.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::directories;
use super::github;
use super::reader::Reader;
use super::repository_url::{self, Place};
use super::sources::{Found, Layers, Origin};
use super::variables::{
    ACF_GIT_TIMEOUT, ACF_REF_PREFIX, GIT_AUTHOR_EMAIL, GIT_AUTHOR_NAME, GIT_REPO_URL, GIT_TOKEN, GIT_TRUNK,
    GIT_USERNAME, LOOP_WORK_DIR,
};

/// The target repository, and how git is used on it.
#[derive(Clone, Debug)]
pub struct Repository {
    /// A URL without credentials, or an absolute path.
    pub url: String,
    /// The user that goes with the token.
    pub username: String,
    /// The token or password, if one is needed.
    pub token: Option<SecretString>,
    /// The branch that work lands on; the remote's default branch, if `None`.
    pub trunk: Option<String>,
    /// The namespace of claims and run records: below `refs/`, with a slash at its end.
    pub ref_prefix: String,
    /// Who commits.
    pub author: Author,
    /// How long one git command may take.
    pub timeout: Duration,
    /// Where repositories are cached and checked out.
    pub work_dir: PathBuf,
}

/// Who commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The name.
    pub name: String,
    /// The mail address.
    pub email: String,
}

/// What a repository is wanted for.
pub(super) struct Wanted {
    /// Whether there has to be one.
    pub(super) needed: bool,
    /// Whether the tracker is a file in it.
    pub(super) holds_tracker: bool,
    /// Its address where none is given.
    pub(super) default_url: DefaultUrl,
}

/// The address of a repository for which none is given.
pub(super) enum DefaultUrl {
    /// There is none.
    None,
    /// That of the tracker's own project; `None` where the project is missing or wrong, which has been
    /// noted.
    Project(Option<String>),
}

impl Repository {
    /// Reads the repository's settings; with an address missing there is no repository, which is a
    /// problem where one is needed or the tracker is in it.
    pub(super) fn read(reader: &mut Reader<'_>, wanted: Wanted, access: &github::Access) -> Option<Self> {
        let address = address(reader, wanted, access);
        let trunk = reader.parse(&GIT_TRUNK, branch);
        let ref_prefix = reader.parse(&ACF_REF_PREFIX, ref_prefix);
        let name = reader.parse(&GIT_AUTHOR_NAME, author_part);
        let email = reader.parse(&GIT_AUTHOR_EMAIL, author_part);
        let timeout = reader.limit(&ACF_GIT_TIMEOUT);
        if let (Some(trunk), Some(prefix)) = (&trunk, &ref_prefix)
            && format!("refs/heads/{trunk}/").starts_with(prefix.as_str())
            && let Some(found) = reader.found(&ACF_REF_PREFIX)
        {
            reader.wrong(&ACF_REF_PREFIX, &found, format!("GIT_TRUNK={trunk} lies in it; choose another"));
        } else if let (Some(trunk), Some(prefix)) = (&trunk, &ref_prefix)
            && prefix.starts_with(&format!("refs/heads/{trunk}/"))
            && let Some(found) = reader.found(&ACF_REF_PREFIX)
        {
            let remedy = format!("git cannot keep refs below a branch, and GIT_TRUNK is {trunk}");
            reader.wrong(&ACF_REF_PREFIX, &found, remedy);
        }
        let address = address?;
        let work_dir = work_dir(reader);
        Some(Self {
            url: address.url,
            username: address.username,
            token: address.token,
            trunk,
            ref_prefix: ref_prefix?,
            author: Author { name: name?, email: email? },
            timeout: timeout?,
            work_dir: work_dir?,
        })
    }
}

fn work_dir(reader: &mut Reader<'_>) -> Option<PathBuf> {
    if let Some(given) = reader.path(&LOOP_WORK_DIR) {
        return Some(given);
    }
    match directories::cache_directory(reader.layers().environment()) {
        Ok(cache) => Some(cache.join("work")),
        Err(problem) => {
            reader.note(problem);
            None
        }
    }
}

/// The address, with its credentials apart.
struct Address {
    url: String,
    username: String,
    token: Option<SecretString>,
}

fn address(reader: &mut Reader<'_>, wanted: Wanted, access: &github::Access) -> Option<Address> {
    // git's credential protocol is made of lines.
    let given_username = reader.parse(&GIT_USERNAME, one_line);
    let given_token = reader.parse(&GIT_TOKEN, one_line).map(SecretString::from);
    let Some(found) = reader.found(&GIT_REPO_URL) else {
        return match wanted.default_url {
            DefaultUrl::Project(url) => {
                let url = url?;
                let token = given_token.or_else(|| access.token_for(&url));
                Some(Address { url, username: given_username?, token })
            }
            DefaultUrl::None => {
                if wanted.holds_tracker {
                    reader.missing(&GIT_REPO_URL, "the repository that the TODO file is in (PROJECT=git:…)");
                } else if wanted.needed {
                    reader.missing(&GIT_REPO_URL, "e.g. https://github.com/acme/shop.git");
                }
                None
            }
        };
    };
    let address = match repository_url::parse(found.value.trim()) {
        Ok(address) => address,
        Err(remedy) => {
            let shown = Found { value: repository_url::shown(found.value.trim()), ..found };
            reader.wrong(&GIT_REPO_URL, &shown, remedy);
            return None;
        }
    };
    if let (Some(given), Some(in_url)) = (&given_token, &address.token)
        && given.expose_secret() != in_url.expose_secret()
        && let Some(token_found) = reader.found(&GIT_TOKEN)
    {
        let remedy = "differs from the password in GIT_REPO_URL; keep one of them";
        reader.wrong(&GIT_TOKEN, &token_found, remedy);
    }
    let username = username(reader, given_username?, address.username);
    let url = place(reader.layers(), &found, address.place);
    let token = given_token.or(address.token).or_else(|| access.token_for(&url));
    Some(Address { url, username: username?, token })
}

/// The user of the address, unless `GIT_USERNAME` says another one; that both do is a contradiction.
fn username(reader: &mut Reader<'_>, given: String, in_url: Option<String>) -> Option<String> {
    let found = reader.found(&GIT_USERNAME)?;
    match in_url {
        Some(in_url) if found.origin != Origin::Default && in_url != given => {
            reader.wrong(&GIT_USERNAME, &found, "differs from the user in GIT_REPO_URL; keep one of them");
            None
        }
        Some(in_url) => Some(in_url),
        None => Some(given),
    }
}

fn place(layers: &Layers, found: &Found, place: Place) -> String {
    match place {
        Place::Url(url) => url,
        Place::Path(path) => {
            let path = layers.path(&Found { value: path, origin: found.origin.clone() });
            path.to_string_lossy().into_owned()
        }
    }
}

fn branch(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("refs/heads/").unwrap_or(text);
    if is_ref_path(name) && !name.starts_with('-') && name != "HEAD" {
        Ok(name.to_owned())
    } else {
        Err("write a branch's name, such as main".to_owned())
    }
}

fn ref_prefix(text: &str) -> Result<String, String> {
    let below_refs = text.strip_prefix("refs/");
    let path = below_refs.and_then(|path| path.strip_suffix('/'));
    match (below_refs, path) {
        (None, _) => Err("has to begin with refs/, such as refs/acf/".to_owned()),
        (Some(_), None) => Err(format!("has to end with a slash: {text}/")),
        (Some(_), Some(path)) if !is_ref_path(path) => {
            Err("git does not take such a name; e.g. refs/acf/".to_owned())
        }
        // Claims would mingle with everybody's branches, or with those that the work goes to.
        (Some(_), Some("heads" | "tags" | "remotes" | "heads/feature")) => {
            Err("other refs lie there; write one more level, such as refs/heads/acf/".to_owned())
        }
        (Some(_), Some(_)) => Ok(text.to_owned()),
    }
}

/// The rules of `git check-ref-format` for what stands below `refs/`.
fn is_ref_path(path: &str) -> bool {
    let is_component = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && !part.ends_with(".lock")
    };
    let is_refused = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    path.split('/').all(is_component)
        && !path.contains(is_refused)
        && !path.contains("..")
        && !path.contains("@{")
        && path != "@"
}

fn author_part(text: &str) -> Result<String, String> {
    if text.contains(['<', '>']) { Err("write it without < and >".to_owned()) } else { one_line(text) }
}

fn one_line(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        Err("write it on one line, without control characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_prefix_lies_below_refs_and_ends_with_a_slash() {
        for prefix in ["refs/acf/", "refs/heads/acf/", "refs/a/b/"] {
            assert_eq!(ref_prefix(prefix), Ok(prefix.to_owned()));
        }
        assert_eq!(ref_prefix("refs/acf"), Err("has to end with a slash: refs/acf/".to_owned()));
        for prefix in [
            "acf/",
            "refs/",
            "refs//",
            "refs/a//b/",
            "refs/../x/",
            "refs/.a/",
            "refs/a.lock/",
            "refs/a b/",
            "refs/a*/",
            "refs/a./",
            "refs/heads/",
            "refs/tags/",
            "refs/heads/feature/",
            "/refs/acf/",
        ] {
            assert!(ref_prefix(prefix).is_err(), "{prefix} was accepted");
        }
    }

    #[test]
    fn a_trunk_is_a_branch_with_or_without_its_full_name() {
        assert_eq!(branch("main"), Ok("main".to_owned()));
        assert_eq!(branch("refs/heads/release/2"), Ok("release/2".to_owned()));
        for text in ["-f", "a..b", "HEAD", "a b", "a:b", "@", "/a", "a/"] {
            assert!(branch(text).is_err(), "{text} was accepted");
        }
    }
}
