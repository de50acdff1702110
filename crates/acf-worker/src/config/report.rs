//! What `acf config` shows: each variable's value, where it comes from, and what it is for.
//!
//! A report is made of any layers, however wrong their values are, so that it can help to mend them.

use acf_core::mask::{MASKED, Mask};
use serde::Serialize;

use super::github::{Access, default_repository_url};
use super::reader::Reader;
use super::repository_url;
use super::sources::{Layers, Origin};
use super::tracker::Tracker;
use super::variables::{
    self, Default, GH_TOKEN, GIT_REPO_URL, GIT_TOKEN, GIT_USERNAME, GITHUB_REPO, Kind, PROJECT, Topic,
    Variable,
};

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

/// Reports on every variable, in the order of the reference; on internal ones, and those of a tracker that
/// is not chosen, only if they are set.
#[must_use]
pub fn report(layers: &Layers) -> Vec<Entry> {
    let (mask, tracker) = (layers.mask(), Tracker::chosen_name(layers));
    variables::ALL
        .iter()
        .map(|variable| (variable, entry(layers, variable, &mask)))
        .filter(|(variable, entry)| entry.is_set || matters(variable, tracker))
        .map(|(_, entry)| entry)
        .collect()
}

fn matters(variable: &Variable, tracker: &str) -> bool {
    let other_tracker = variable.only_with.and_then(|choice| choice.strip_prefix("TASK_MANAGER="));
    variable.topic != Topic::Internal && other_tracker.is_none_or(|other| other == tracker)
}

fn entry(layers: &Layers, variable: &Variable, mask: &Mask) -> Entry {
    let lookup = layers.lookup(variable);
    let is_set = lookup.found.as_ref().is_some_and(|found| found.origin != Origin::Default);
    let elsewhere = || in_address(layers, variable, mask).or_else(|| from_github(layers, variable));
    if !is_set && let Some((value, origin)) = elsewhere() {
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

/// Returns what follows for the variable from what is set for GitHub.
fn from_github(layers: &Layers, variable: &Variable) -> Option<(String, String)> {
    let mut reader = Reader::new(layers);
    let access = Access::read(&mut reader);
    let from = |source: &Variable| {
        layers.lookup(source).found.map(|found| format!("{} {}", source.name, found.origin.phrase()))
    };
    let own_url = || match Tracker::chosen_name(layers) {
        "github" => default_repository_url(&reader, &access),
        _ => None,
    };
    match variable.name {
        name if name == GIT_REPO_URL.name => {
            Some((own_url()?, from(&PROJECT).or_else(|| from(&GITHUB_REPO))?))
        }
        name if name == GIT_TOKEN.name => {
            let url = layers.lookup(&GIT_REPO_URL).found.map(|found| found.value.trim().to_owned());
            access.token_for(&url.or_else(own_url)?)?;
            Some((MASKED.to_owned(), from(&GH_TOKEN)?))
        }
        _ => None,
    }
}

fn shown(variable: &Variable, value: &str, mask: &Mask) -> String {
    if variable.secret {
        MASKED.to_owned()
    } else if matches!(variable.kind, Kind::Address | Kind::Url) {
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
    fn what_follows_from_a_project_on_github_is_told_with_where_it_comes_from() {
        let least = [("TASK_MANAGER", "github"), ("PROJECT", "acme/shop"), ("GH_TOKEN", "ghp_hunter22")];
        let told = |more: &[(&str, &str)], name: &str| {
            let report = report(&Place::new(&[&least, more].concat()).layers());
            let entry = report.into_iter().find(|entry| entry.name == name).unwrap();
            (entry.value, entry.origin)
        };
        let is = |value: &str, origin: &str| (Some(value.to_owned()), origin.to_owned());
        let url = "https://github.com/acme/shop.git";
        assert_eq!(told(&[], "GIT_REPO_URL"), is(url, "PROJECT in the environment"));
        assert_eq!(told(&[], "GIT_TOKEN"), is("***", "GH_TOKEN in the environment"));
        let elsewhere = [("GIT_REPO_URL", "https://gitlab.com/acme/shop.git")];
        let described = "(for a repository on GitHub `GH_TOKEN`)";
        assert_eq!(told(&elsewhere, "GIT_TOKEN"), is(described, "default"));
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
