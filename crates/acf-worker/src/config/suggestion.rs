//! "Did you mean": the known word that a mistyped one is closest to.

/// Returns the known word that is only a slip of the keyboard away from `word`.
pub(super) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words leave room for more slips; of short ones two slips make any other.
    let slips = (word.chars().count() / 4).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["todo", "github", "jira"];
        assert_eq!(closest("tood", known), Some("todo"));
        assert_eq!(closest("gihtub", known), Some("github"));
        assert_eq!(closest("linear", known), None);
        assert_eq!(closest("", known), None);
    }

    #[test]
    fn the_closest_of_several_is_meant() {
        assert_eq!(closest("GIT_TOKEM", ["GIT_TOKENS", "GIT_TOKEN"]), Some("GIT_TOKEN"));
    }
}
