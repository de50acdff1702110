//! Addresses of services that acf talks to with a token.

use url::{Host, Url};

const HTTPS: &str = "write an address that begins with https://";

/// Reads the address of a service: HTTP over TLS, or in the clear for one that runs on this machine.
///
/// # Errors
/// Says what to write instead; never quotes the address, as it may hold a password.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| HTTPS.to_owned())?;
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let is_safe = match url.scheme() {
        "https" => url.host().is_some(),
        // Tokens go along with every request.
        "http" => is_loopback,
        _ => false,
    };
    if !is_safe {
        Err(HTTPS.to_owned())
    } else if !url.username().is_empty() || url.password().is_some() {
        Err("write it without user and password; tokens have variables of their own".to_owned())
    } else if url.query().is_some() || url.fragment().is_some() {
        Err("write it without ? and #".to_owned())
    } else {
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_without_credentials_or_questions() {
        for text in ["https://api.github.com", "https://code.acme.example/api/v3", "https://acme.example/"] {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in
            ["api.github.com", "ftp://h/", "https://me:hunter22@h/", "https://h/?q=1", "https://h/#x", ""]
        {
            let refusal = parse(text).unwrap_err();
            assert!(!refusal.contains("hunter22"), "{refusal}");
        }
    }

    #[test]
    fn tokens_go_in_the_clear_to_this_machine_only() {
        for near in ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"] {
            assert!(parse(near).is_ok(), "{near}");
        }
        assert_eq!(parse("http://code.acme.example/api/v3"), Err(HTTPS.to_owned()));
    }
}
