//! `acf.toml`: what is not secret, under the variables' names in lower case.

use std::collections::BTreeMap;

use secrecy::SecretString;
use toml::{Spanned, Value};

use super::problems::Problem;
use super::repository_url::secrets_in;
use super::suggestion::closest;
use super::variables::{self, Kind, Topic, Variable};

/// A value of the file, as the text that the variable would have.
pub(super) struct Entry {
    pub(super) value: String,
    /// The line on which its key stands, from 1.
    pub(super) line: usize,
}

/// What the file says.
#[derive(Default)]
pub(super) struct ConfigFile {
    pub(super) entries: BTreeMap<&'static str, Entry>,
    /// Values that should never have been there, to be masked wherever they might show.
    pub(super) misplaced_secrets: Vec<(String, SecretString)>,
    pub(super) problems: Vec<Problem>,
}

/// Reads the file's text; `path` is how people name the file.
pub(super) fn parse(text: &str, path: &str) -> ConfigFile {
    let mut file = ConfigFile::default();
    let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
    let table = match toml::from_str::<BTreeMap<Spanned<String>, Spanned<Value>>>(text) {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(span.start));
            // The error's own display quotes the line, which may hold a secret.
            let found = error.message().lines().next().unwrap_or("not TOML").to_owned();
            file.problems.push(Problem::wrong(&format!("{path}:{line}"), found, "write key = \"value\""));
            return file;
        }
    };
    let mut keys: Vec<_> = table.into_iter().collect();
    keys.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in keys {
        let line = line_of(key.span().start);
        match entry(key.get_ref(), value.into_inner(), &mut file.misplaced_secrets) {
            Ok((variable, value)) => {
                file.entries.insert(variable.name, Entry { value, line });
            }
            Err((found, remedy)) => {
                let place = format!("{found} in {path}:{line}");
                file.problems.push(Problem::wrong(key.get_ref(), place, remedy));
            }
        }
    }
    file
}

fn entry(
    key: &str,
    value: Value,
    misplaced_secrets: &mut Vec<(String, SecretString)>,
) -> Result<(&'static Variable, String), (&'static str, String)> {
    let Some(variable) = variables::ALL.iter().find(|variable| variable.config_key() == key) else {
        let keys: Vec<_> = allowed().map(Variable::config_key).collect();
        let remedy = match closest(&key.to_ascii_lowercase(), keys.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "remove it".to_owned(),
        };
        return Err(("unknown key", remedy));
    };
    let name = variable.name;
    if variable.secret {
        misplaced_secrets.extend(value.as_str().map(|value| (name.to_owned(), value.into())));
        return Err(("a secret", format!("move it to {name} in an env file or the environment")));
    }
    if variable.topic == Topic::Internal || !variable.in_config_file {
        return Err(("not a key of this file", format!("set {name} in the environment")));
    }
    let value = text_of(value, variable).map_err(|remedy| ("wrong type", remedy))?;
    if variable.kind == Kind::Address {
        let secrets = secrets_in(&value);
        if !secrets.is_empty() {
            misplaced_secrets.extend(secrets.into_iter().map(|secret| (name.to_owned(), secret)));
            return Err(("a password", "take it out of the address, and set GIT_TOKEN elsewhere".to_owned()));
        }
    }
    Ok((variable, value))
}

/// Returns the variables that may stand in the file.
pub(super) fn allowed() -> impl Iterator<Item = &'static Variable> {
    variables::ALL.iter().filter(|variable| variable.in_config_file)
}

fn text_of(value: Value, variable: &Variable) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(switch) => Ok(switch.to_string()),
        Value::Float(number) if variable.kind == Kind::Dollars => Ok(number.to_string()),
        Value::Array(words) if matches!(variable.kind, Kind::List | Kind::Choices(_)) => {
            let words: Option<Vec<_>> =
                words.iter().map(|word| word.as_str().filter(|word| !word.contains(','))).collect();
            words.map(|words| words.join(",")).ok_or("write an array of words without commas".to_owned())
        }
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            Err("write a string, a whole number, true or false".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn values_of_every_fitting_type_are_read_with_their_lines() {
        let file = parse(
            "project = \"TODO.md\"\n\nmax_attempts = 5\nfeature_branches = true\nrequired_labels = [\"a\", \"b\"]\n",
            "acf.toml",
        );
        let seen: Vec<_> =
            file.entries.iter().map(|(name, entry)| (*name, entry.value.as_str(), entry.line)).collect();
        assert_eq!(
            seen,
            [
                ("FEATURE_BRANCHES", "true", 4),
                ("MAX_ATTEMPTS", "5", 3),
                ("PROJECT", "TODO.md", 1),
                ("REQUIRED_LABELS", "a,b", 5)
            ]
        );
        assert_eq!(file.problems, []);
    }

    #[test]
    fn every_bad_key_is_told_at_once() {
        let text = "porject = \"x\"\nGIT_TRUNK = \"main\"\ngit_token = \"hunter22\"\nacf_worker_id = \"w\"\n\
                    required_labels = [\"a,b\"]\nmax_attempts = 1.5\nfactory_env_file = \"x\"\ngit_repo_url = \"https://me:tr0ub4dor@h/r\"\n[pools]\nworkers = 3\n";
        let file = parse(text, "acf.toml");
        let told: Vec<_> = file
            .problems
            .iter()
            .map(|problem| format!("{} | {} | {}", problem.name, problem.found, problem.remedy))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
        let misplaced: Vec<_> =
            file.misplaced_secrets.iter().map(|(_, secret)| secret.expose_secret()).collect();
        assert_eq!(misplaced, ["hunter22", "tr0ub4dor"]);
        assert!(file.entries.is_empty());
    }

    #[test]
    fn a_syntax_error_is_placed_and_does_not_quote_the_line() {
        let file = parse("a = 1\ngit_token = \"hunter22\n", "acf.toml");
        let problem = &file.problems[0];
        assert_eq!(problem.name, "acf.toml:2");
        assert!(!format!("{problem:?}").contains("hunter22"), "{problem:?}");
    }
}
