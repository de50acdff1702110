//! Which prompt template a run uses, and what the template is given.

use serde::Serialize;

use crate::issue::Stage;

/// Where a template came from, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The variable `IMPLEMENTATION_PROMPT` or `PLANNING_PROMPT`.
    Setting(&'static str),
    /// `.acf/implement.md` or `.acf/plan.md` of the base commit.
    Repository(&'static str),
    /// acf's own.
    BuiltIn,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Setting(name) => write!(f, "the variable {name}"),
            Self::Repository(path) => write!(f, "{path} of the base commit"),
            Self::BuiltIn => f.write_str("acf's built-in prompt"),
        }
    }
}

/// Returns the name of the variable that can hold the stage's template.
#[must_use]
pub fn setting_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Planning => "PLANNING_PROMPT",
        Stage::Implementation => "IMPLEMENTATION_PROMPT",
    }
}

/// Returns the path at which a repository can keep the stage's template.
#[must_use]
pub fn repository_path(stage: Stage) -> &'static str {
    match stage {
        Stage::Planning => ".acf/plan.md",
        Stage::Implementation => ".acf/implement.md",
    }
}

/// Chooses the template: the operator's setting, else the repository's file, else the built-in one.
/// One that holds nothing but white space counts as not there.
#[must_use]
pub fn select<'a>(
    stage: Stage,
    setting: Option<&'a str>,
    repository: Option<&'a str>,
    built_in: &'a str,
) -> (&'a str, Origin) {
    let is_there = |text: &&str| !text.trim().is_empty();
    if let Some(text) = setting.filter(is_there) {
        (text, Origin::Setting(setting_name(stage)))
    } else if let Some(text) = repository.filter(is_there) {
        (text, Origin::Repository(repository_path(stage)))
    } else {
        (built_in, Origin::BuiltIn)
    }
}

/// What a template can use, under `issue`, `plan`, `plan_path`, `checks` and `resumed`.
#[derive(Clone, Debug, Serialize)]
pub struct PromptValues<'a> {
    /// The issue.
    pub issue: PromptIssue<'a>,
    /// The approved plan's text; empty where there is none.
    pub plan: &'a str,
    /// Where the plan lies, or where a planner is to write it.
    pub plan_path: &'a str,
    /// The gate's commands.
    pub checks: &'a [String],
    /// Whether interrupted work of an earlier run is in the checkout.
    pub resumed: bool,
}

/// The issue, as templates see it.
#[derive(Clone, Debug, Serialize)]
pub struct PromptIssue<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its summary; untrusted.
    pub summary: &'a str,
    /// Its description; untrusted.
    pub description: &'a str,
    /// Its address, or nothing.
    pub url: &'a str,
    /// All of its text between fences that the text cannot close, announced as untrusted data.
    pub fenced: &'a str,
}

/// Puts text from outside between fences that it cannot close itself.
///
/// The fence is a run of backticks longer than any in the text, as CommonMark defines it.
#[must_use]
pub fn fence(text: &str) -> String {
    let longest_run = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest_run.max(3) + 1);
    format!("{fence}text\n{}\n{fence}", text.trim_end_matches('\n'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_operator_wins_over_the_repository_and_that_over_the_built_in() {
        let chosen = |setting, repository| select(Stage::Planning, setting, repository, "built in");
        assert_eq!(chosen(Some("mine"), Some("theirs")), ("mine", Origin::Setting("PLANNING_PROMPT")));
        assert_eq!(chosen(Some(" \n"), Some("theirs")), ("theirs", Origin::Repository(".acf/plan.md")));
        assert_eq!(chosen(None, Some("")), ("built in", Origin::BuiltIn));
        let implementation = select(Stage::Implementation, None, Some("theirs"), "");
        assert_eq!(implementation.1, Origin::Repository(".acf/implement.md"));
        assert_eq!(setting_name(Stage::Implementation), "IMPLEMENTATION_PROMPT");
    }

    #[test]
    fn origins_are_told_in_words() {
        assert_eq!(Origin::Setting("PLANNING_PROMPT").to_string(), "the variable PLANNING_PROMPT");
        assert_eq!(Origin::Repository(".acf/plan.md").to_string(), ".acf/plan.md of the base commit");
        assert_eq!(Origin::BuiltIn.to_string(), "acf's built-in prompt");
    }

    #[test]
    fn a_plain_text_gets_a_plain_fence() {
        assert_eq!(fence("hello\n"), "````text\nhello\n````");
    }

    proptest! {
        #[test]
        fn no_text_closes_its_own_fence(text in "[`a\\n ]{0,60}") {
            let fenced = fence(&text);
            let fence = fenced.lines().last().unwrap();
            let inner = fenced.strip_suffix(fence).unwrap().split_once('\n').unwrap().1;
            prop_assert!(!inner.contains(fence), "{}", fenced);
        }
    }
}
