//! What `acf config` shows: each variable's value, where it comes from, and what it is for.
//!
//! A report is made of any layers, however wrong their values are, so that it can help to mend them.

use acf_core::mask::{MASKED, Mask};
use serde::Serialize;

use super::repository_url;
use super::sources::{Layers, Origin};
use super::variables::{self, Default, GIT_REPO_URL, GIT_TOKEN, GIT_USERNAME, Kind, Topic, Variable};

/// What is known of one variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Its value as it may be shown: secrets are `***`. `None` where there is none.
    pub value: Option<String>,
    /// Where the value comes from, as `acf.toml:3` or `default`; or `not set`.
    pub origin: String,
    /// Whether somebody set it.
    pub is_set: bool,
    /// What it is for.
    pub doc: &'static str,
}

/// Reports on every variable, in the order of the reference; on internal ones only if they are set.
#[must_use]
pub fn report(layers: &Layers) -> Vec<Entry> {
    let mask = layers.mask();
    variables::ALL
        .iter()
        .map(|variable| (variable.topic, entry(layers, variable, &mask)))
        .filter(|(topic, entry)| *topic != Topic::Internal || entry.is_set)
        .map(|(_, entry)| entry)
        .collect()
}

fn entry(layers: &Layers, variable: &Variable, mask: &Mask) -> Entry {
    let lookup = layers.lookup(variable);
    let is_set = lookup.found.as_ref().is_some_and(|found| found.origin != Origin::Default);
    if !is_set && let Some((value, origin)) = in_address(layers, variable, mask) {
        return Entry { name: variable.name, value: Some(value), origin, is_set: true, doc: variable.doc };
    }
    let (value, origin) = match (&lookup.found, variable.default) {
        (Some(found), _) => (Some(shown(variable, &found.value, mask)), found.origin.to_string()),
        (None, Default::Described(words)) => (Some(format!("({words})")), Origin::Default.to_string()),
        (None, Default::None | Default::Value(_)) => (None, lookup.absence()),
    };
    Entry { name: variable.name, value, origin, is_set, doc: variable.doc }
}

/// Returns what the repository's address says of the variable: it may hold credentials.
fn in_address(layers: &Layers, variable: &Variable, mask: &Mask) -> Option<(String, String)> {
    let found = layers.lookup(&GIT_REPO_URL).found?;
    let address = repository_url::parse(found.value.trim()).ok()?;
    let value = match variable.name {
        name if name == GIT_USERNAME.name => mask.apply(&address.username?).into_owned(),
        name if name == GIT_TOKEN.name => address.token.map(|_| MASKED.to_owned())?,
        _ => return None,
    };
    Some((value, format!("GIT_REPO_URL {}", found.origin.phrase())))
}

fn shown(variable: &Variable, value: &str, mask: &Mask) -> String {
    if variable.secret {
        MASKED.to_owned()
    } else if variable.kind == Kind::Address {
        mask.apply(&repository_url::shown(value.trim())).into_owned()
    } else {
        mask.apply(value).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sources::tests::Place;
    use crate::config::variables::PROJECT;

    fn shown(place: Place) -> String {
        let lines = report(&place.layers()).into_iter().map(|entry| {
            format!("{:22} {:35} {}\n", entry.name, entry.value.as_deref().unwrap_or("—"), entry.origin)
        });
        lines.collect()
    }

    #[test]
    fn every_value_is_told_with_its_origin() {
        let place = Place::new(&[("AGENT", "script"), ("ACF_WORKER_ID", "w1")])
            .env_file("GIT_TOKEN=abc\nGIT_TRUNK=\nGIT_REPO_URL=https://me:hunter22@h/r.git\n")
            .config_file("max_attempts = 5\n")
            .flag(&PROJECT, "--project", "git:TODO.md");
        insta::assert_snapshot!(shown(place));
    }

    #[test]
    fn credentials_in_the_address_are_told_where_they_are() {
        let layers = Place::new(&[("GIT_REPO_URL", "https://me:hunter22@h/r.git")]).layers();
        let report = report(&layers);
        let told = |name: &str| {
            let entry = report.iter().find(|entry| entry.name == name).unwrap();
            (entry.value.clone().unwrap(), entry.origin.clone())
        };
        let origin = || "GIT_REPO_URL in the environment".to_owned();
        assert_eq!(told("GIT_USERNAME"), ("me".into(), origin()));
        assert_eq!(told("GIT_TOKEN"), ("***".into(), origin()));
    }

    #[test]
    fn a_wrong_configuration_can_be_reported_and_leaks_no_secret() {
        let place = Place::new(&[
            ("TASK_MANAGER", "nonsense"),
            ("GIT_TOKEN", "hunter22"),
            ("PROJECT", "hunter22/TODO.md"),
            ("GIT_REPO_URL", "htps://me:tr0ub4dor@h/r"),
        ])
        .config_file("git_token = \"misplaced\"\nbroken = [");
        let report = serde_json::to_string(&report(&place.layers())).unwrap();
        for secret in ["hunter22", "tr0ub4dor", "misplaced"] {
            assert!(!report.contains(secret), "{report}");
        }
        assert!(
            report.contains(r#""name":"TASK_MANAGER","value":"nonsense","origin":"environment""#),
            "{report}"
        );
        assert!(report.contains(r#""value":"***/TODO.md""#), "{report}");
    }
}
