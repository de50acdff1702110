//! Addresses of services that acf talks to with a token.

use url::Url;

/// Reads the address of a service: HTTP over TLS, or in the clear for one that runs nearby.
///
/// # Errors
/// Says what to write instead; never quotes the address, as it may hold a password.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "write an address that begins with https://".to_owned())?;
    let is_http = matches!(url.scheme(), "https" | "http") && url.host().is_some();
    if !is_http {
        Err("write an address that begins with https://".to_owned())
    } else if !url.username().is_empty() || url.password().is_some() {
        Err("write it without user and password; tokens have variables of their own".to_owned())
    } else if url.query().is_some() || url.fragment().is_some() {
        Err("write it without ? and #".to_owned())
    } else {
        Ok(url)
    }
}

/// Tells whether a token would go over the network in the clear.
pub(super) fn is_in_the_clear(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !is_loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_without_credentials_or_questions() {
        for text in ["https://api.github.com", "http://127.0.0.1:8080/api/v3", "https://acme.example/"] {
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
    fn only_this_machine_is_near_enough_for_tokens_in_the_clear() {
        let is = |text| is_in_the_clear(&parse(text).unwrap());
        assert!(is("http://code.acme.example/api/v3"));
        for near in
            ["https://code.acme.example", "http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"]
        {
            assert!(!is(near), "{near}");
        }
    }
}
