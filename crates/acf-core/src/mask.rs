//! Keeps known secrets out of everything that people or agents read.
//!
//! A secret is known in its usual encodings too: a proxy that tells what it was sent tells
//! `Authorization: Basic` and a user's name and token in Base64, or an address with its query.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

/// What stands in a text where a secret stood.
pub const MASKED: &str = "***";

/// A value shorter than this is not masked: it would blot out ordinary words.
const SHORTEST_SECRET: usize = 6;

/// Fewer digits of Base64 than this are not masked: they may be a part of something else.
const SHORTEST_IN_BASE64: usize = 10;

/// The known secret values, to be replaced in any text that leaves the process.
///
/// What one learns, all its clones know.
#[derive(Clone, Default)]
pub struct Mask {
    /// Replaced as a whole, so that nobody waits for whoever reads them.
    secrets: Arc<RwLock<Arc<[Secret]>>>,
}

#[derive(Clone)]
struct Secret {
    /// What people know it by.
    name: String,
    value: SecretString,
    /// How it looks in an address, where that differs.
    in_addresses: Vec<SecretString>,
    /// What is sure to be there of it where it is a part of a text in Base64.
    in_base64: Vec<SecretString>,
}

impl Secret {
    fn new(name: String, value: SecretString) -> Self {
        let secrets = |texts: BTreeSet<String>| texts.into_iter().map(SecretString::from).collect();
        let text = value.expose_secret();
        Self {
            name,
            in_addresses: secrets(percent_encoded(text)),
            in_base64: secrets(parts_of_base64(text.as_bytes())),
            value,
        }
    }

    fn text(&self) -> &str {
        self.value.expose_secret()
    }
}

/// Returns how a text is written in an address, if that is another way: with digits of either case.
fn percent_encoded(text: &str) -> BTreeSet<String> {
    let with = |escape: fn(u8) -> String| {
        let written = |byte: u8| match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => escape(byte),
        };
        text.bytes().map(written).collect::<String>()
    };
    let written = [with(|byte| format!("%{byte:02X}")), with(|byte| format!("%{byte:02x}"))];
    written.into_iter().filter(|written| written != text).collect()
}

/// Returns the digits of Base64 that stand for those bytes alone, whatever comes before and after them:
/// three bytes are four digits, so that there are three ways to begin.
fn parts_of_base64(bytes: &[u8]) -> BTreeSet<String> {
    let mut parts = BTreeSet::new();
    for before in 0..3 {
        let text = [&[0; 2][..before], bytes].concat();
        let (begin, end) = ((before * 8).div_ceil(6), text.len() * 8 / 6);
        for digits in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            let part = digits.get(begin..end).filter(|part| part.len() >= SHORTEST_IN_BASE64);
            parts.extend(part.map(str::to_owned));
        }
    }
    parts
}

/// Replaces every text in Base64 that holds that part, with what else is in it.
fn hide_base64(text: &str, part: &str) -> String {
    let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
    let (mut hidden, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(part) {
        let before = rest[..at].trim_end_matches(is_digit);
        hidden += before;
        hidden += MASKED;
        rest = rest[at + part.len()..].trim_start_matches(is_digit).trim_start_matches('=');
    }
    hidden + rest
}

/// Puts the longest first: a secret that contains another one must not leave its rest behind.
fn in_order(mut secrets: Vec<Secret>) -> Arc<[Secret]> {
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.text().len()));
    secrets.into()
}

impl Mask {
    /// Makes a mask over those values, each with the name that people know it by (that of its variable);
    /// empty and very short ones are left out.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = (String, SecretString)>) -> Self {
        let secrets = secrets.into_iter().filter(|(_, value)| value.expose_secret().len() >= SHORTEST_SECRET);
        Self::of(secrets.map(|(name, value)| Secret::new(name, value)).collect())
    }

    fn of(secrets: Vec<Secret>) -> Self {
        Self { secrets: Arc::new(RwLock::new(in_order(secrets))) }
    }

    fn secrets(&self) -> Arc<[Secret]> {
        self.secrets.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a secret that came up only now, such as a token that an agent has renewed. Short and known ones
    /// are left out.
    pub fn learn(&self, name: &str, value: SecretString) {
        let mut known = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        let text = value.expose_secret();
        if text.len() >= SHORTEST_SECRET && known.iter().all(|secret| secret.text() != text) {
            let learned = Secret::new(name.to_owned(), value);
            *known = in_order(known.iter().cloned().chain([learned]).collect());
        }
    }

    /// Returns a mask over the secrets of both, as they are known now.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self::of(self.secrets().iter().chain(&*other.secrets()).cloned().collect())
    }

    /// Returns the text with every known secret replaced by `***`, in whichever encoding it stands there.
    #[must_use]
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut masked = Cow::Borrowed(text);
        for secret in self.secrets().iter() {
            for plain in std::iter::once(&secret.value).chain(&secret.in_addresses) {
                let plain = plain.expose_secret();
                if masked.contains(plain) {
                    masked = Cow::Owned(masked.replace(plain, MASKED));
                }
            }
            for part in &secret.in_base64 {
                if masked.contains(part.expose_secret()) {
                    masked = Cow::Owned(hide_base64(&masked, part.expose_secret()));
                }
            }
        }
        masked
    }

    /// Replaces every known secret in the text by `***`.
    pub fn hide_in(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.apply(text) {
            *text = masked;
        }
    }

    /// Returns the name of a known secret that those bytes hold, if they hold one.
    #[must_use]
    pub fn named_in(&self, bytes: &[u8]) -> Option<String> {
        let holds = |secret: &&Secret| {
            let text = secret.text().as_bytes();
            bytes.windows(text.len()).any(|window| window == text)
        };
        self.secrets().iter().find(holds).map(|secret| secret.name.clone())
    }

    /// Returns a line of each known secret, to search files for; `None` where no secret is known.
    #[must_use]
    pub fn lines(&self) -> Option<SecretString> {
        let longest_line =
            |secret: &Secret| secret.text().lines().max_by_key(|line| line.len()).map(str::to_owned);
        let lines: Vec<_> = self
            .secrets()
            .iter()
            .filter_map(longest_line)
            .filter(|line| line.len() >= SHORTEST_SECRET)
            .collect();
        (!lines.is_empty()).then(|| lines.join("\n").into())
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({} secrets)", self.secrets().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        Mask::new(secrets.iter().map(|&secret| (format!("NAME_OF_{secret}"), secret.into())))
    }

    #[test]
    fn a_secret_in_a_file_is_known_by_its_name() {
        let mask = mask(&["hunter22", "tr0ub4dor"]);
        assert_eq!(mask.named_in(b"\xff\0 tr0ub4dor"), Some("NAME_OF_tr0ub4dor".to_owned()));
        assert_eq!(mask.named_in(b"hunter2 2"), None);
        assert_eq!(Mask::default().named_in(b""), None);
    }

    #[test]
    fn files_are_searched_for_the_longest_line_of_each_secret() {
        let lines = |secrets: &[&str]| mask(secrets).lines().map(|lines| lines.expose_secret().to_owned());
        assert_eq!(
            lines(&["tr0ub4dor", "-----\nmost of it\n\nrest"]).as_deref(),
            Some("most of it\ntr0ub4dor")
        );
        assert_eq!(lines(&["a\nb\nc\nd"]), None);
        assert_eq!(lines(&[]), None);
    }

    #[test]
    fn every_occurrence_of_every_secret_goes() {
        let mask = mask(&["hunter22", "tr0ub4dor"]);
        assert_eq!(mask.apply("a hunter22 b tr0ub4dor c hunter22"), "a *** b *** c ***");
        assert_eq!(mask.apply("nothing here"), "nothing here");
    }

    #[test]
    fn a_secret_within_a_longer_one_leaves_no_rest() {
        assert_eq!(mask(&["secret", "secret-longer"]).apply("secret-longer"), "***");
    }

    #[test]
    fn short_values_do_not_blot_out_words_and_six_bytes_do_count() {
        assert_eq!(mask(&["", "abcde"]).apply("abcde"), "abcde");
        assert_eq!(mask(&["abcdef"]).apply("abcdef"), "***");
    }

    #[test]
    fn a_secret_goes_in_base64_whatever_stands_around_it() {
        let mask = mask(&["tr0ub4dor&3>?~~"]);
        for before in ["", "a", "ab", "abc", "bot@acme.test:", "x-access-token:"] {
            for after in ["", "\n", "yz"] {
                let text = format!("{before}tr0ub4dor&3>?~~{after}");
                for digits in [
                    base64::engine::general_purpose::STANDARD.encode(&text),
                    STANDARD_NO_PAD.encode(&text),
                    URL_SAFE_NO_PAD.encode(&text),
                ] {
                    let told = format!("Authorization: Basic {digits}, then {digits}\n");
                    assert_eq!(mask.apply(&told), "Authorization: Basic ***, then ***\n", "{text}");
                }
            }
        }
        let other = STANDARD_NO_PAD.encode("tr0ub4dor&2>?~~");
        assert_eq!(mask.apply(&other), other);
    }

    #[test]
    fn a_secret_goes_in_an_address() {
        let mask = mask(&["a+secret/of=mine"]);
        for written in ["a+secret/of=mine", "a%2Bsecret%2Fof%3Dmine", "a%2bsecret%2fof%3dmine"] {
            assert_eq!(mask.apply(&format!("/login?token={written}&x=1")), "/login?token=***&x=1");
        }
    }

    #[test]
    fn two_masks_make_one() {
        let both = mask(&["secret"]).and(&mask(&["secret-longer"]));
        assert_eq!(both.apply("secret secret-longer"), "*** ***");
    }

    #[test]
    fn what_one_learns_all_its_clones_know() {
        let mask = mask(&["secret"]);
        let clone = mask.clone();
        for value in ["secret-longer", "secret-longer", "short", "secret"] {
            mask.learn("~/.claude/.credentials.json", value.into());
        }
        assert_eq!(clone.apply("secret secret-longer short"), "*** *** short");
        assert_eq!(clone.named_in(b"secret-longer").as_deref(), Some("~/.claude/.credentials.json"));
        assert_eq!(format!("{clone:?}"), "Mask(2 secrets)");
    }

    #[test]
    fn a_text_without_secrets_stays_what_it_is() {
        let mut text = "plain hunter22".to_owned();
        mask(&["hunter22"]).hide_in(&mut text);
        assert_eq!(text, "plain ***");
        mask(&["hunter22"]).hide_in(&mut text);
        assert_eq!(text, "plain ***");
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", mask(&["hunter22"])), "Mask(1 secrets)");
    }
}
