//! Addresses of repositories: which ones are taken, and how credentials are split off them.
//!
//! An address is passed to git, so anything that git would take for an option, a helper to run or a
//! password in the clear is refused here.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;

const SCHEMES: [&str; 5] = ["https", "http", "ssh", "git", "file"];

/// How the tokens of well-known hosts begin: one in the place of a user is no user.
const TOKEN_BEGINNINGS: [&str; 7] = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"];

/// What an address says.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) place: Place,
    /// The user that stood in an address over HTTP.
    pub(super) username: Option<String>,
    /// The password or token that stood in the address, and nowhere else now.
    pub(super) token: Option<SecretString>,
}

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At that URL, which holds no credentials.
    Url(String),
    /// At that path of this machine.
    Path(String),
}

/// Takes an address apart.
///
/// # Errors
/// Says why git is not to be given the address; never quotes it, as it may hold a password.
pub(super) fn parse(text: &str) -> Result<Address, &'static str> {
    let plain = |place| Ok(Address { place, username: None, token: None });
    if text.starts_with('-') || text.chars().any(char::is_control) {
        return Err("an address does not begin with `-` or hold control characters");
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return with_scheme(scheme, rest);
    }
    if text.contains("::") {
        return Err("remote helpers (`name::address`) are not supported");
    }
    match text.split_once(':') {
        // git itself takes `host:path` for SSH only if no slash comes before the colon.
        Some((host, path)) if !host.contains('/') => {
            if path.contains('@') {
                Err("credentials need an address that begins with https://")
            } else {
                plain(Place::Url(text.to_owned()))
            }
        }
        _ => plain(Place::Path(text.to_owned())),
    }
}

fn with_scheme(scheme: &str, rest: &str) -> Result<Address, &'static str> {
    let scheme = scheme.to_ascii_lowercase();
    if !SCHEMES.contains(&scheme.as_str()) {
        return Err("an address begins with https://, http://, ssh://, git:// or file://, or is a path");
    }
    if rest.contains(char::is_whitespace) {
        return Err("an address holds no white space; write %20");
    }
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let (userinfo, host) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
    if host.is_empty() && scheme != "file" {
        return Err("the address names no host");
    }
    let port = host.rsplit_once(']').map_or(host, |(_, after)| after).split_once(':').map(|(_, port)| port);
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("the port is no number; in a password, write %2F for /");
    }
    if host.is_empty() && path.is_empty() {
        return Err("the address names no path");
    }
    let url = |authority: &str| Place::Url(format!("{scheme}://{authority}{path}"));
    let Some(userinfo) = userinfo else {
        return Ok(Address { place: url(host), username: None, token: None });
    };
    let (user, password) = match userinfo.split_once(':') {
        Some((user, password)) => (decoded(user)?, Some(decoded(password)?)),
        None => (decoded(userinfo)?, None),
    };
    if scheme == "ssh" {
        // The user is part of the address over SSH; a password there is of no use to git.
        let place = if user.is_empty() { url(host) } else { url(&format!("{user}@{host}")) };
        return Ok(Address { place, username: None, token: secret(password) });
    }
    let user_is_token = match password.as_deref() {
        Some("x-oauth-basic") => true,
        None | Some("") => is_token_like(&user),
        Some(_) => false,
    };
    let (username, token) =
        if user_is_token { (None, Some(user)) } else { ((!user.is_empty()).then_some(user), password) };
    Ok(Address { place: url(host), username, token: secret(token) })
}

fn secret(text: Option<String>) -> Option<SecretString> {
    text.filter(|text| !text.is_empty()).map(SecretString::from)
}

fn decoded(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| "the credentials are not UTF-8")?;
    if decoded.chars().any(char::is_control) {
        return Err("the credentials hold control characters");
    }
    Ok(decoded.into_owned())
}

/// Returns every piece of the text that may be a password: as written and as it is meant. It does so
/// for addresses that [`parse`] refuses too, and rather finds too much there.
pub(super) fn secrets_in(text: &str) -> Vec<SecretString> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    // The second reading is for a password with a bare slash in it, which no host would understand.
    let readings = if parse(text).is_ok() { vec![authority] } else { vec![authority, rest] };
    let mut pieces = BTreeSet::new();
    for (userinfo, _) in readings.into_iter().filter_map(|reading| reading.rsplit_once('@')) {
        let written = match userinfo.split_once(':') {
            Some((user, "x-oauth-basic")) => user,
            Some((user, "")) => token_like(user),
            Some((_, password)) => password,
            None => token_like(userinfo),
        };
        pieces.extend([written.to_owned(), percent_decode_str(written).decode_utf8_lossy().into_owned()]);
    }
    pieces.into_iter().filter(|piece| !piece.is_empty()).map(SecretString::from).collect()
}

fn is_token_like(text: &str) -> bool {
    TOKEN_BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
}

fn token_like(text: &str) -> &str {
    if is_token_like(text) { text } else { "" }
}

/// Returns the address as it may be shown.
pub(super) fn shown(text: &str) -> String {
    match parse(text) {
        Ok(Address { place: Place::Url(shown) | Place::Path(shown), .. }) => shown,
        Err(_) if text.contains('@') => acf_core::mask::MASKED.to_owned(),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn parts(text: &str) -> (String, Option<String>, Option<String>) {
        let address = parse(text).unwrap();
        let (Place::Url(place) | Place::Path(place)) = address.place;
        (place, address.username, address.token.map(|token| token.expose_secret().to_owned()))
    }

    #[track_caller]
    fn check(text: &str, place: &str, username: Option<&str>, token: Option<&str>) {
        let expected = (place.to_owned(), username.map(str::to_owned), token.map(str::to_owned));
        assert_eq!(parts(text), expected, "{text}");
    }

    #[test]
    fn credentials_leave_the_address() {
        let clean = "https://h.example/acme/shop.git";
        check("https://h.example/acme/shop.git", clean, None, None);
        check("https://me:hunter22@h.example/acme/shop.git", clean, Some("me"), Some("hunter22"));
        check("https://me:p%40ss%2Fword@h.example/acme/shop.git", clean, Some("me"), Some("p@ss/word"));
        check("https://me:p@ss@h.example/acme/shop.git", clean, Some("me"), Some("p@ss"));
        check("https://:hunter22@h.example/acme/shop.git", clean, None, Some("hunter22"));
        check("https://me@h.example/acme/shop.git", clean, Some("me"), None);
        check("HTTPS://me:@h.example/acme/shop.git", clean, Some("me"), None);
        check("http://u:p@[::1]:8080/r?x=a@b", "http://[::1]:8080/r?x=a@b", Some("u"), Some("p"));
    }

    #[test]
    fn a_token_in_the_place_of_the_user_is_a_token() {
        let clean = "https://github.com/a/b";
        check("https://ghp_abcdef@github.com/a/b", clean, None, Some("ghp_abcdef"));
        check("https://glpat-abc:@github.com/a/b", clean, None, Some("glpat-abc"));
        check("https://abcdef:x-oauth-basic@github.com/a/b", clean, None, Some("abcdef"));
    }

    #[test]
    fn ssh_keeps_its_user_and_never_a_password() {
        check("git@github.com:acme/shop.git", "git@github.com:acme/shop.git", None, None);
        check("ssh://git@h:22/acme/shop.git", "ssh://git@h:22/acme/shop.git", None, None);
        check("ssh://git:hunter22@h/shop.git", "ssh://git@h/shop.git", None, Some("hunter22"));
    }

    #[test]
    fn paths_are_paths_even_with_a_colon_after_a_slash() {
        for path in ["/srv/shop.git", "../shop", "shop.git", "./a:b", "/srv/a:b"] {
            assert_eq!(parse(path).unwrap().place, Place::Path(path.to_owned()));
        }
        check("file:///srv/shop.git", "file:///srv/shop.git", None, None);
    }

    #[test]
    fn what_git_would_take_for_something_else_is_refused() {
        for text in [
            "--upload-pack=touch /tmp/x",
            "ext::sh -c touch% /tmp/x",
            "htps://h/r",
            "https:///r",
            "https://me:pw@/r",
            "file://",
            "https://h/r\nurl=x",
            "https://a%0Ab:c@h/r",
            "https://h/a b",
            "https://me:hunter22/x@h/r",
            "https://h:/r",
            "me:hunter22@h.example/r",
        ] {
            let refusal = parse(text).unwrap_err();
            assert!(!refusal.contains("hunter22"), "{refusal}");
        }
    }

    #[test]
    fn secrets_are_found_in_addresses_that_are_refused_too() {
        let found = |text: &str| -> Vec<String> {
            secrets_in(text).iter().map(|secret| secret.expose_secret().to_owned()).collect()
        };
        assert_eq!(found("htps://me:hunter%32%32@h/r"), ["hunter%32%32", "hunter22"]);
        assert_eq!(found("me:hunter22@h/r"), ["hunter22"]);
        assert_eq!(found("https://ghp_abc:@h/r"), ["ghp_abc"]);
        assert_eq!(found("git@h:r"), Vec::<String>::new());
        assert_eq!(found("https://me:hunter22/x@h/r"), ["hunter22/x"]);
        assert_eq!(found("https://me:hunter22@h:80/@scope/r"), ["hunter22"]);
        assert_eq!(found("https://h/@scope:a@b/r"), Vec::<String>::new());
        assert_eq!(found("https://h/r"), Vec::<String>::new());
    }

    #[test]
    fn no_address_is_shown_with_a_password() {
        assert_eq!(shown("https://me:hunter22@h/r"), "https://h/r");
        assert_eq!(shown("htps://me:hunter22@h/r"), "***");
        assert_eq!(shown("me:hunter22@h/r"), "***");
        assert_eq!(shown("https://me:hunter22/x@h/r"), "***");
        assert_eq!(shown("htps://h/r"), "htps://h/r");
    }
}
