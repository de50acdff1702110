//! Keeps known secrets out of everything that people or agents read.

use std::borrow::Cow;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

/// What stands in a text where a secret stood.
pub const MASKED: &str = "***";

/// A value shorter than this is not masked: it would blot out ordinary words.
const SHORTEST_SECRET: usize = 6;

/// The known secret values, to be replaced in any text that leaves the process.
#[derive(Clone, Default)]
pub struct Mask {
    secrets: Arc<[Secret]>,
}

struct Secret {
    /// What people know it by.
    name: String,
    value: SecretString,
}

impl Secret {
    fn text(&self) -> &str {
        self.value.expose_secret()
    }
}

impl Mask {
    /// Makes a mask over those values, each with the name that people know it by (that of its variable);
    /// empty and very short ones are left out.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = (String, SecretString)>) -> Self {
        let secrets = secrets.into_iter().map(|(name, value)| Secret { name, value });
        let mut secrets: Vec<_> = secrets.filter(|secret| secret.text().len() >= SHORTEST_SECRET).collect();
        // The longest first: a secret that contains another one must not leave its rest behind.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.text().len()));
        Self { secrets: secrets.into() }
    }

    /// Returns the text with every known secret replaced by `***`.
    #[must_use]
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut masked = Cow::Borrowed(text);
        for secret in self.secrets.iter() {
            if masked.contains(secret.text()) {
                masked = Cow::Owned(masked.replace(secret.text(), MASKED));
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
    pub fn named_in(&self, bytes: &[u8]) -> Option<&str> {
        let holds = |secret: &&Secret| {
            let text = secret.text().as_bytes();
            bytes.windows(text.len()).any(|window| window == text)
        };
        self.secrets.iter().find(holds).map(|secret| &*secret.name)
    }

    /// Returns a line of each known secret, to search files for; `None` where no secret is known.
    #[must_use]
    pub fn lines(&self) -> Option<SecretString> {
        let longest_line =
            |secret: &Secret| secret.text().lines().max_by_key(|line| line.len()).map(str::to_owned);
        let lines: Vec<_> = self
            .secrets
            .iter()
            .filter_map(longest_line)
            .filter(|line| line.len() >= SHORTEST_SECRET)
            .collect();
        (!lines.is_empty()).then(|| lines.join("\n").into())
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({} secrets)", self.secrets.len())
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
        assert_eq!(mask.named_in(b"\xff\0 tr0ub4dor"), Some("NAME_OF_tr0ub4dor"));
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
