//! GitHub: as the tracker, as the host of pull requests, and as what the repository's settings follow from.

use acf_trackers::github::{Repository, Settings};
use secrecy::SecretString;
use url::Url;

use crate::git::pages::Location;

use super::reader::Reader;
use super::service_url;
use super::variables::{GH_ASSIGNEE, GH_TOKEN, GITHUB_API_URL, GITHUB_REPO, PROJECT};

/// What the configuration says of GitHub whichever tracker is used.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) api_url: Option<Url>,
    pub(super) token: Option<SecretString>,
}

impl Access {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let api_url = reader.url(&GITHUB_API_URL, service_url::parse);
        Self { api_url, token: reader.parse(&GH_TOKEN, token).map(SecretString::from) }
    }

    /// Returns the name of the host whose repositories the API is about: `github.com` of `api.github.com`,
    /// and the API's own for a GitHub Enterprise.
    ///
    /// Source: <https://docs.github.com/enterprise-server/rest/quickstart>, and for `*.ghe.com`
    /// <https://docs.github.com/enterprise-cloud@latest/admin/data-residency>.
    pub(super) fn host(&self) -> Option<String> {
        let host = self.api_url.as_ref()?.host_str()?;
        Some(host.strip_prefix("api.").unwrap_or(host).to_lowercase())
    }

    /// Returns the token for a repository, if that is on GitHub; no other host is to see it.
    pub(super) fn token_for(&self, repository_url: &str) -> Option<SecretString> {
        let host = Location::of(repository_url)?.host;
        // Where the API is reached in the clear, the token goes over the network like that anyway.
        let is_as_safe = repository_url.starts_with("https:") || self.api_url.as_ref()?.scheme() == "http";
        self.token.clone().filter(|_| is_as_safe && self.host().is_some_and(|github| github == host))
    }

    /// Returns the address from which a repository is cloned.
    fn clone_url(&self, repository: &Repository) -> Option<String> {
        let api_url = self.api_url.as_ref()?;
        let port = api_url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{}://{}{port}/{repository}.git", api_url.scheme(), self.host()?))
    }
}

/// Reads the tracker's settings. What is missing is noted.
pub(super) fn read(reader: &mut Reader<'_>, access: &Access) -> Option<Settings> {
    let repository = repository(reader);
    let assignee = reader.parse(&GH_ASSIGNEE, account);
    if access.token.is_none() && reader.found(&GH_TOKEN).is_none() {
        reader.missing(
            &GH_TOKEN,
            "create one in your GitHub account's developer settings; docs/github.md says which",
        );
    }
    Some(Settings {
        api_url: access.api_url.clone()?,
        repository: repository?,
        token: access.token.clone()?,
        assignee,
    })
}

/// Returns the address that the repository has unless another one is given.
pub(super) fn default_repository_url(reader: &Reader<'_>, access: &Access) -> Option<String> {
    let name = reader.text(&PROJECT).or_else(|| reader.text(&GITHUB_REPO))?;
    access.clone_url(&name.parse().ok()?)
}

fn repository(reader: &mut Reader<'_>) -> Option<Repository> {
    // Both are parsed, so that a slip in the one that is not used is told too.
    let project = reader.found(&PROJECT).map(|_| reader.parse(&PROJECT, repository_name));
    let other = reader.found(&GITHUB_REPO).map(|_| reader.parse(&GITHUB_REPO, repository_name));
    if project.is_none() && other.is_none() {
        reader.missing(&PROJECT, "the repository whose issues are taken, e.g. acme/shop");
    }
    if let (Some(Some(project)), Some(Some(other))) = (&project, &other)
        && project != other
    {
        reader.warn(format!("PROJECT is {project}, so GITHUB_REPO is not used: {other}"));
    }
    project.or(other).flatten()
}

fn repository_name(text: &str) -> Result<Repository, String> {
    text.parse().map_err(|_| "write the owner and the repository, as acme/shop".to_owned())
}

fn account(text: &str) -> Result<String, String> {
    let name = text.strip_prefix('@').unwrap_or(text);
    // `acf[bot]` is how the account of a GitHub App is called.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '[' | ']');
    if !name.is_empty() && name.chars().all(is_plain) {
        Ok(name.to_owned())
    } else {
        Err("write an account's login name".to_owned())
    }
}

fn token(text: &str) -> Result<String, String> {
    // It becomes an HTTP header.
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("a token is one word of plain letters, digits and signs".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(api_url: &str) -> Access {
        Access { api_url: Some(api_url.parse().unwrap()), token: Some("ghp_hunter22".into()) }
    }

    #[test]
    fn repositories_are_cloned_from_the_host_that_the_api_belongs_to() {
        for (api_url, clone_url) in [
            ("https://api.github.com", "https://github.com/acme/shop.git"),
            ("https://code.acme.example/api/v3", "https://code.acme.example/acme/shop.git"),
            ("https://api.acme.ghe.com", "https://acme.ghe.com/acme/shop.git"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/acme/shop.git"),
        ] {
            assert_eq!(access(api_url).clone_url(&"acme/shop".parse().unwrap()).as_deref(), Some(clone_url));
        }
    }

    #[test]
    fn the_token_goes_to_repositories_of_its_own_host_only() {
        let gets = |api_url: &str, url: &str| access(api_url).token_for(url).is_some();
        let github = "https://api.github.com";
        assert!(gets(github, "https://github.com/acme/shop.git"));
        for other in [
            "https://gitlab.com/acme/shop.git",
            "https://github.com.evil.example/acme/shop.git",
            "http://github.com/acme/shop.git",
            "git@github.com:acme/shop.git",
            "file:///srv/shop.git",
            "/srv/shop.git",
        ] {
            assert!(!gets(github, other), "{other}");
        }
        assert!(!gets("https://code.acme.example/api/v3", "https://github.com/acme/shop.git"));
        assert!(gets("http://127.0.0.1:8080", "http://127.0.0.1:9090/acme/shop.git"));
    }

    #[test]
    fn accounts_are_login_names_with_or_without_the_at_sign() {
        assert_eq!(account("@ada"), Ok("ada".to_owned()));
        assert_eq!(account("acf[bot]"), Ok("acf[bot]".to_owned()));
        assert!(account("Ada Lovelace").is_err());
        assert!(account("@").is_err());
    }
}
