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
    secrets: Arc<[SecretString]>,
}

impl Mask {
    /// Makes a mask over those values; empty and very short ones are left out.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        let mut secrets: Vec<_> =
            secrets.into_iter().filter(|secret| secret.expose_secret().len() >= SHORTEST_SECRET).collect();
        // The longest first: a secret that contains another one must not leave its rest behind.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        Self { secrets: secrets.into() }
    }

    /// Returns the text with every known secret replaced by `***`.
    #[must_use]
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut masked = Cow::Borrowed(text);
        for secret in self.secrets.iter() {
            if masked.contains(secret.expose_secret()) {
                masked = Cow::Owned(masked.replace(secret.expose_secret(), MASKED));
            }
        }
        masked
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
        Mask::new(secrets.iter().map(|&secret| SecretString::from(secret)))
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
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", mask(&["hunter22"])), "Mask(1 secrets)");
    }
}
