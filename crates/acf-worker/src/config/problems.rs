//! What is wrong with the configuration, all of it in one message.

use std::fmt;

use acf_core::mask::Mask;

/// Whether a setting is missing or says something that it cannot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// It is not set and has to be.
    Missing,
    /// It is set and cannot be used.
    Wrong,
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether it is about something missing.
    pub kind: ProblemKind,
    /// The variable, or the file and line.
    pub name: String,
    /// What was found, and where.
    pub found: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    pub(super) fn missing(name: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(ProblemKind::Missing, name, found, remedy)
    }

    pub(super) fn wrong(name: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(ProblemKind::Wrong, name, found, remedy)
    }

    fn new(kind: ProblemKind, name: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { kind, name: name.to_owned(), found: found.into(), remedy: remedy.into() }
    }
}

/// Everything that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    problems: Vec<Problem>,
    tracker: Option<&'static str>,
}

impl std::error::Error for Problems {}

impl Problems {
    /// Gathers the problems, with every known secret masked. `tracker` is the one that is configured,
    /// where the command needs one.
    pub(super) fn new(problems: Vec<Problem>, tracker: Option<&'static str>, mask: &Mask) -> Self {
        let masked = |text: &str| mask.apply(text).into_owned();
        let problems = problems
            .into_iter()
            .map(|problem| Problem {
                found: masked(&problem.found),
                remedy: masked(&problem.remedy),
                ..problem
            })
            .collect();
        Self { problems, tracker }
    }

    /// Returns the problems, in the order of the reference.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.problems
    }

    /// Returns the problems without what is only missing; `None` where nothing else is wrong.
    pub(super) fn of_values_only(mut self) -> Option<Self> {
        self.problems.retain(|problem| problem.kind == ProblemKind::Wrong);
        (!self.problems.is_empty()).then_some(self)
    }

    /// Returns what a person can do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        "`acf config` shows where each value comes from"
    }

    fn headline(&self) -> String {
        let count = self.problems.len();
        let (noun, verb) = if count == 1 { ("setting", "is") } else { ("settings", "are") };
        let is_missing = |problem: &Problem| problem.kind == ProblemKind::Missing;
        let missing = self.problems.iter().filter(|problem| is_missing(problem)).count();
        let what = match missing {
            0 => return format!("{count} {noun} cannot be used"),
            _ if missing == count => "missing",
            _ => "missing or cannot be used",
        };
        match self.tracker {
            Some(tracker) => format!("{count} {noun} {verb} {what} for tracker {tracker}"),
            None => format!("{count} {noun} {verb} {what}"),
        }
    }
}

/// Columns wider than this no longer push the ones after them to the right.
const WIDEST_COLUMN: usize = 36;

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: fn(&Problem) -> &str| {
            let widths = self.problems.iter().map(|problem| column(problem).chars().count());
            widths.filter(|width| *width <= WIDEST_COLUMN).max().unwrap_or(0)
        };
        let name_width = width(|problem| &problem.name);
        let found_width = width(|problem| &problem.found);
        f.write_str(&self.headline())?;
        for Problem { name, found, remedy, .. } in &self.problems {
            write!(f, "\n  {name:name_width$}   {found:found_width$}   {remedy}")?;
        }
        Ok(())
    }
}

/// Quotes a value for a message: on one line, and cut where it is long.
pub(super) fn quoted(value: &str) -> String {
    const LONGEST: usize = 40;
    let mut shown: String = value.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if value.chars().count() > LONGEST {
        shown.push('…');
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn the_message_has_the_form_of_a_table() {
        let problems = vec![
            Problem::missing("JIRA_TOKEN", "not set", "create one in your Atlassian account"),
            Problem::missing(
                "GIT_REPO_URL",
                "empty in .env.factory:7",
                "e.g. https://github.com/acme/shop.git",
            ),
        ];
        insta::assert_snapshot!(Problems::new(problems, Some("jira"), &Mask::default()), @r"
        2 settings are missing for tracker jira
          JIRA_TOKEN     not set                   create one in your Atlassian account
          GIT_REPO_URL   empty in .env.factory:7   e.g. https://github.com/acme/shop.git
        ");
    }

    #[test]
    fn the_headline_tells_missing_from_wrong() {
        let headline = |problems: &[Problem]| {
            Problems::new(problems.to_vec(), Some("todo"), &Mask::default()).headline()
        };
        let missing = Problem::missing("A", "", "");
        let wrong = Problem::wrong("B", "", "");
        assert_eq!(headline(std::slice::from_ref(&missing)), "1 setting is missing for tracker todo");
        assert_eq!(headline(std::slice::from_ref(&wrong)), "1 setting cannot be used");
        assert_eq!(headline(&[missing, wrong]), "2 settings are missing or cannot be used for tracker todo");
    }

    #[test]
    fn one_long_value_does_not_push_the_others_away() {
        let problems =
            vec![Problem::wrong("A", "x".repeat(60), "long"), Problem::wrong("B", "not set", "short")];
        let shown = Problems::new(problems, None, &Mask::default()).to_string();
        assert!(shown.ends_with("  B   not set   short"), "{shown}");
    }

    #[test]
    fn secrets_are_masked_in_every_column_that_quotes() {
        let mask = Mask::new([("GIT_TOKEN".into(), SecretString::from("hunter22"))]);
        let problems = Problems::new(vec![Problem::wrong("A", "`hunter22`", "not hunter22")], None, &mask);
        assert_eq!(problems.to_string(), "1 setting cannot be used\n  A   `***`   not ***");
        assert!(!format!("{problems:?}").contains("hunter22"));
    }

    #[test]
    fn quoted_values_stay_short_and_on_one_line() {
        assert_eq!(quoted("a\nb\u{1b}[31m"), "`a\\nb\\u{1b}[31m`");
        assert_eq!(quoted(&"é".repeat(41)), format!("`{}…`", "é".repeat(40)));
    }
}
