//! The pages on which people look at a repository's files in a browser.
//!
//! It knows the forms of GitHub, GitLab and Bitbucket Cloud, and rather gives no link than one that
//! leads nowhere. Whether a page can be seen by whoever follows a link is up to the host.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in a path: the unreserved characters of RFC 3986, and the slash.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Where a repository lies on a host: what its address says, whichever way it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The host's name, in lower case and without a port.
    pub host: String,
    /// The path on the host, without slashes around it and without `.git`.
    pub path: String,
    /// The beginning of the host's pages: `https://github.com`.
    origin: String,
}

impl Location {
    /// Reads an address without credentials; `None` for a path or a `file:` URL, which have no host.
    #[must_use]
    pub fn of(address: &str) -> Option<Self> {
        let (scheme, authority, path) = match address.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_once('/')?;
                (scheme, authority, path)
            }
            // What git itself takes for SSH: no slash comes before the colon.
            None => {
                let (authority, path) = address.split_once(':')?;
                (!authority.contains('/')).then_some(("ssh", authority, path))?
            }
        };
        let place = authority.rsplit_once('@').map_or(authority, |(_user, place)| place);
        let has_port = |(_, port): &(&str, &str)| port.bytes().all(|byte| byte.is_ascii_digit());
        let host = place.rsplit_once(':').filter(has_port).map_or(place, |(host, _)| host).to_lowercase();
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        if host.is_empty() || path.is_empty() {
            return None;
        }
        // The port of SSH is not that of the pages.
        let origin = match scheme {
            "https" | "http" => format!("{scheme}://{}", place.to_lowercase()),
            _ => format!("https://{host}"),
        };
        Some(Self { host, path: path.to_owned(), origin })
    }
}

/// The pages of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    /// What comes before the branch: `https://github.com/acme/shop/blob`.
    before_branch: String,
    /// Whether the branch is one segment, its own slashes encoded.
    branch_is_segment: bool,
    /// What comes before the branches that are compared, on GitHub: `https://github.com/acme/shop/compare`.
    before_compared: Option<String>,
}

impl Pages {
    /// Returns the pages of a repository; `None` on a host whose form is not known. `github` is the host
    /// that the configuration says is GitHub, whatever its name.
    #[must_use]
    pub fn of(repository: &Location, github: &str) -> Option<Self> {
        let Location { host, path, origin } = repository;
        let is_named = |name: &str| host.split('.').any(|label| label == name);
        let path = utf8_percent_encode(path, IN_PATH);
        let is_github = host == github || is_named("github");
        let (middle, branch_is_segment) = if is_github {
            ("blob", false)
        } else if is_named("gitlab") {
            ("-/blob", false)
        } else if host == "bitbucket.org" {
            ("src", true)
        } else {
            return None;
        };
        Some(Self {
            before_branch: format!("{origin}/{path}/{middle}"),
            branch_is_segment,
            before_compared: is_github.then(|| format!("{origin}/{path}/compare")),
        })
    }

    /// Returns the page on which a person opens a pull request of a branch, filled in as far as the host can; `None`
    /// on hosts other than GitHub
    /// (<https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/proposing-changes-to-your-work-with-pull-requests/using-query-parameters-to-create-a-pull-request>).
    #[must_use]
    pub fn new_pull_request(&self, base: &str, branch: &str) -> Option<String> {
        let encoded = |branch| utf8_percent_encode(branch, IN_PATH);
        let before = self.before_compared.as_ref()?;
        Some(format!("{before}/{}...{}?expand=1", encoded(base), encoded(branch)))
    }

    /// Returns the page of a file as it is on a branch.
    #[must_use]
    pub fn file(&self, branch: &str, path: &str) -> String {
        let mut branch = utf8_percent_encode(branch, IN_PATH).to_string();
        if self.branch_is_segment {
            branch = branch.replace('/', "%2F");
        }
        format!("{}/{branch}/{}", self.before_branch, utf8_percent_encode(path, IN_PATH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, page: Option<&str>) {
        let pages = Location::of(address).and_then(|location| Pages::of(&location, "code.acme.example"));
        assert_eq!(pages.map(|pages| pages.file("main", "plans/12.md")).as_deref(), page, "{address}");
    }

    #[test]
    fn each_host_has_its_own_form_however_the_address_is_written() {
        let github = Some("https://github.com/acme/shop/blob/main/plans/12.md");
        for address in [
            "https://github.com/acme/shop.git",
            "https://GitHub.com/acme/shop",
            "https://github.com/acme/shop/",
            "git@github.com:acme/shop.git",
            "ssh://git@github.com:22/acme/shop.git",
        ] {
            check(address, github);
        }
        check("https://gitlab.com/a/b/shop.git", Some("https://gitlab.com/a/b/shop/-/blob/main/plans/12.md"));
        check(
            "https://gitlab.acme.example:8443/a/shop.git",
            Some("https://gitlab.acme.example:8443/a/shop/-/blob/main/plans/12.md"),
        );
        check(
            "git@bitbucket.org:acme/shop.git",
            Some("https://bitbucket.org/acme/shop/src/main/plans/12.md"),
        );
    }

    #[test]
    fn a_pull_request_is_opened_by_hand_on_the_page_that_compares_the_branches() {
        let page = |address: &str| {
            let pages = Pages::of(&Location::of(address).unwrap(), "code.acme.example").unwrap();
            pages.new_pull_request("main", "feature/SHOP-1 #")
        };
        for (address, host) in [
            ("git@github.com:acme/shop.git", "https://github.com"),
            ("https://code.acme.example/acme/shop.git", "https://code.acme.example"),
        ] {
            let wanted = format!("{host}/acme/shop/compare/main...feature/SHOP-1%20%23?expand=1");
            assert_eq!(page(address), Some(wanted));
        }
        assert_eq!(page("https://gitlab.com/acme/shop.git"), None);
    }

    #[test]
    fn a_github_enterprise_is_known_by_its_name_or_by_the_configuration() {
        let page = Some("https://code.acme.example/acme/shop/blob/main/plans/12.md");
        check("https://code.acme.example/acme/shop.git", page);
        check("git@code.acme.example:acme/shop.git", page);
        check(
            "https://github.acme.example/a/b",
            Some("https://github.acme.example/a/b/blob/main/plans/12.md"),
        );
    }

    #[test]
    fn where_there_is_no_page_there_is_no_link() {
        for address in [
            "file:///srv/shop.git",
            "/srv/shop.git",
            "../shop.git",
            "https://git.example/acme/shop.git",
            "https://notgithub.com/acme/shop.git",
            "https://github.com/",
            "https://github.com",
        ] {
            check(address, None);
        }
    }

    #[test]
    fn branches_and_paths_are_encoded() {
        let file = |address: &str| {
            let pages = Pages::of(&Location::of(address).unwrap(), "").unwrap();
            pages.file("release/2 #1", "plans/é?.md")
        };
        assert_eq!(
            file("https://github.com/acme/shop"),
            "https://github.com/acme/shop/blob/release/2%20%231/plans/%C3%A9%3F.md"
        );
        assert_eq!(
            file("https://bitbucket.org/acme/shop"),
            "https://bitbucket.org/acme/shop/src/release%2F2%20%231/plans/%C3%A9%3F.md"
        );
    }

    #[test]
    fn an_ipv6_host_keeps_its_brackets_and_its_port_goes() {
        let location = Location::of("http://[::1]:8080/acme/shop.git").unwrap();
        assert_eq!((location.host.as_str(), location.path.as_str()), ("[::1]", "acme/shop"));
        assert_eq!(location.origin, "http://[::1]:8080");
    }
}
