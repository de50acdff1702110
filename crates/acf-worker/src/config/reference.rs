//! The reference of all variables, rendered as Markdown from the table: `docs/configuration.md`.

use std::fmt::Write;

use super::child_environment::PREFIXES;
use super::variables::{self, Default, Kind, Topic, Variable};

const INTRODUCTION: &str = "\
# Configuration

<!-- Made from the table of variables: `acf config --reference > docs/configuration.md`. -->

acf is configured by variables. Each is looked for in this order, and the first place that has it counts:

1. a flag, such as `--project`
2. the environment
3. the env file that `--env-file` or `FACTORY_ENV_FILE` names; none is read unasked
4. `acf.toml` in the current directory
5. the default

An empty value counts as not set. Everything is checked before anything is done, and all problems are
told at once. `acf config` shows each value and where it comes from, with secrets masked.

**Env files** hold lines of `NAME=value`, with or without `export`. A value in `'single quotes'` is taken
as it is; in `\"double quotes\"` a backslash quotes `\"`, `\\`, `$` and `` ` ``; both may span lines. A bare
value ends at the end of the line, or at a `#` after white space. Nothing is expanded. Names that acf does
not know are ignored with a warning, unless they look like a slip.

**`acf.toml`** holds what is not secret, under the names in lower case; unknown keys are errors:

```toml
project = \"git:TODO.md\"
git_repo_url = \"https://github.com/acme/shop.git\"
agent = \"command\"
agent_command = \"./agent.sh\"
required_labels = [\"acf\"]
max_attempts = 5
```

**Paths** are relative to the current directory, those in `acf.toml` to that file; `~/` is the home
directory. **Durations** are written as `90s`, `30m` or `1h 30m`; a plain number is seconds.

**Agents** and the repository's own commands see none of these variables, and no variable at all whose
value holds a known secret; the last section lists what else is kept from them.
";

/// Renders the reference.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for topic in Topic::ALL {
        let (title, remark) = heading(topic);
        let _ = write!(
            page,
            "\n## {title}\n{remark}\n| variable | what it is for | value | default |\n|---|---|---|---|\n"
        );
        for variable in variables::ALL.iter().filter(|variable| variable.topic == topic) {
            page.push_str(&row(variable));
        }
    }
    let foreign = backticked(variables::FOREIGN.iter().map(|foreign| foreign.name));
    let prefixes = backticked(PREFIXES);
    let _ = write!(
        page,
        "\n## Kept from agents\n\nAgents see no variable of this page, none that begins with {prefixes},\n\
         no `SSH_AUTH_SOCK`, and none of these, of which the secret ones are masked wherever they might show:\n\
         {foreign}.\n\nNone of these has to be set. `GH_USERNAME` is accepted and not needed: the token tells whose it is.\n"
    );
    page
}

fn heading(topic: Topic) -> (&'static str, &'static str) {
    match topic {
        Topic::Tracker => ("Tracker: where issues come from", ""),
        Topic::Repository => ("Repository: where work goes", ""),
        Topic::Agent => ("Agent: who does the work", ""),
        Topic::Rules => ("Rules: which issues are taken", ""),
        Topic::Worker => ("Worker: how it behaves", ""),
        Topic::Factory => ("Factory: where workers run", ""),
        Topic::Internal => ("Internal", "\nSet by acf for the workers that it starts.\n"),
    }
}

fn row(variable: &Variable) -> String {
    let mut doc = variable.doc.to_owned();
    if let Some(choice) = variable.only_with {
        let _ = write!(doc, " Only with `{choice}`.");
    }
    if variable.secret {
        doc.push_str(" **Secret.**");
    }
    // Secrets and internal variables say so already.
    if !variable.in_config_file && !variable.secret && variable.topic != Topic::Internal {
        doc.push_str(" Not in `acf.toml`.");
    }
    let default = match variable.default {
        Default::None => "—".to_owned(),
        Default::Value(value) => format!("`{value}`"),
        Default::Described(words) => words.to_owned(),
    };
    format!("| `{}` | {doc} | {} | {default} |\n", variable.name, kind(variable.kind))
}

fn backticked(words: impl IntoIterator<Item = &'static str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Choice(words) => backticked(words.iter().copied()).replace(", ", " or "),
        Kind::Choices(words) => format!("one or more of {}", backticked(words.iter().copied())),
        Kind::Path => "path".to_owned(),
        Kind::Project => "the tracker's name for it, or a path".to_owned(),
        Kind::Address => "URL or path".to_owned(),
        Kind::Url => "URL".to_owned(),
        Kind::Program => "program or path".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Number => "number".to_owned(),
        Kind::Dollars => "US dollars".to_owned(),
        Kind::Switch => "`true` or `false`".to_owned(),
        Kind::List => "list with commas".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::config_file;

    #[test]
    fn the_page_on_disk_is_the_one_that_the_table_makes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let on_disk = std::fs::read_to_string(path).unwrap_or_default();
        let regenerate =
            "docs/configuration.md is out of date: acf config --reference > docs/configuration.md";
        assert!(on_disk == reference(), "{regenerate}");
    }

    #[test]
    fn every_variable_has_a_row() {
        let page = reference();
        for variable in variables::ALL {
            assert_eq!(page.matches(&format!("\n| `{}` |", variable.name)).count(), 1, "{}", variable.name);
        }
    }

    #[test]
    fn the_example_is_a_valid_file() {
        let example =
            INTRODUCTION.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let file = config_file::parse(example, "acf.toml");
        assert_eq!(file.problems, []);
        assert_eq!(file.entries.len(), example.lines().count());
    }
}
