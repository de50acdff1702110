//! Which tracker issues come from, and what it needs.

use std::path::{Component, Path, PathBuf};

use acf_core::issue::IssueKey;

use super::github::{self, Access};
use super::jira;
use super::reader::Reader;
use super::sources::{Found, Layers, Origin};
use super::variables::{PROJECT, TASK_MANAGER, TODO_ASSIGNEE, TODO_FILE, TRACKERS, Variable};

/// Where issues come from.
#[derive(Clone, Debug)]
pub enum Tracker {
    /// A TODO file.
    Todo(Todo),
    /// The issues of a repository on GitHub.
    GitHub(acf_trackers::github::Settings),
    /// A project in Jira Cloud.
    Jira(Box<acf_trackers::jira::Settings>),
}

/// A TODO file, and the account that its issues are taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Todo {
    /// Where the file is.
    pub location: TodoLocation,
    /// The account that workers take issues for.
    pub assignee: String,
}

/// Where a TODO file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TodoLocation {
    /// At that absolute path of this machine.
    Local(PathBuf),
    /// At that path in the target repository: relative, and never leaving it.
    InRepository(String),
}

#[derive(Clone, Copy)]
enum Kind {
    Todo,
    GitHub,
    Jira,
}

impl Tracker {
    /// Returns what people call the service.
    #[must_use]
    pub fn service(&self) -> &'static str {
        match self {
            Self::Todo(_) => "the TODO file",
            Self::GitHub(_) => "GitHub",
            Self::Jira(_) => "Jira",
        }
    }

    /// Returns which of the service's trackers it is: a file, a repository, a project.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Todo(Todo { location: TodoLocation::Local(path), .. }) => path.display().to_string(),
            Self::Todo(Todo { location: TodoLocation::InRepository(path), .. }) => format!("git:{path}"),
            Self::GitHub(github) => github.repository.to_string(),
            Self::Jira(jira) => jira.project.clone(),
        }
    }

    /// Returns the key as this tracker writes it. A person need only type the number: the `#` of GitHub begins a
    /// comment in a shell, and what stands before the number elsewhere is known. Its case does not matter either.
    #[must_use]
    pub fn key(&self, typed: &IssueKey) -> IssueKey {
        let before = match self {
            Self::Todo(_) => "TODO-".to_owned(),
            Self::GitHub(_) => "#".to_owned(),
            Self::Jira(jira) => format!("{}-", jira.project),
        };
        let slug = typed.slug();
        let has_it = slug.get(..before.len()).is_some_and(|start| start.eq_ignore_ascii_case(&before));
        let number = if has_it { &slug[before.len()..] } else { slug };
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let meant = is_number.then(|| format!("{before}{number}").parse().ok()).flatten();
        meant.unwrap_or_else(|| typed.clone())
    }

    /// Returns the name of the tracker that is chosen, or that of the default.
    pub(super) fn chosen_name(layers: &Layers) -> &'static str {
        let chosen = layers.lookup(&TASK_MANAGER).found;
        let is_chosen = |name: &&str| chosen.as_ref().is_some_and(|found| found.value.trim() == *name);
        TRACKERS.iter().copied().find(is_chosen).unwrap_or(TRACKERS[0])
    }

    /// Tells whether the tracker that is chosen is one at all.
    pub(super) fn is_known(layers: &Layers) -> bool {
        layers.lookup(&TASK_MANAGER).found.is_none_or(|found| TRACKERS.contains(&found.value.trim()))
    }

    pub(super) fn read(reader: &mut Reader<'_>, access: &Access) -> Option<Self> {
        let kinds = [("todo", Kind::Todo), ("github", Kind::GitHub), ("jira", Kind::Jira)];
        match reader.choice(&TASK_MANAGER, &kinds)? {
            Kind::GitHub => github::read(reader, access).map(Self::GitHub),
            Kind::Jira => jira::read(reader).map(Box::new).map(Self::Jira),
            Kind::Todo => {
                let location = location(reader);
                let assignee = reader.parse(&TODO_ASSIGNEE, account);
                Some(Self::Todo(Todo { location: location?, assignee: assignee? }))
            }
        }
    }
}

/// `PROJECT` says where the file is; `TODO_FILE` does where there is no `PROJECT`.
fn location(reader: &mut Reader<'_>) -> Option<TodoLocation> {
    let project = reader.found(&PROJECT);
    let todo_file = reader.found(&TODO_FILE);
    match (project, todo_file) {
        (Some(project), None) => location_of(reader, &PROJECT, &project),
        (None, Some(todo_file)) => location_of(reader, &TODO_FILE, &todo_file),
        (Some(project), Some(todo_file)) => {
            let used = location_of(reader, &PROJECT, &project);
            let unused = location_of(reader, &TODO_FILE, &todo_file);
            if used.is_some() && unused.is_some() && used != unused {
                let shown = reader.show(&PROJECT, &project);
                if matches!(project.origin, Origin::Flag(_)) {
                    let todo_file = reader.show(&TODO_FILE, &todo_file);
                    reader.warn(format!("PROJECT is {shown}, so TODO_FILE is not used: {todo_file}"));
                } else {
                    reader.wrong(&TODO_FILE, &todo_file, format!("PROJECT is {shown}; set one of them only"));
                }
            }
            used
        }
        (None, None) => {
            reader.missing(&PROJECT, "e.g. TODO.md, or git:TODO.md for the file in the target repository");
            None
        }
    }
}

fn location_of(reader: &mut Reader<'_>, variable: &Variable, found: &Found) -> Option<TodoLocation> {
    let Some(path) = found.value.trim().strip_prefix("git:") else {
        return Some(TodoLocation::Local(reader.layers().path(found)));
    };
    match path_in_repository(path) {
        Ok(path) => Some(TodoLocation::InRepository(path)),
        Err(remedy) => {
            reader.wrong(variable, found, remedy);
            None
        }
    }
}

fn path_in_repository(path: &str) -> Result<String, &'static str> {
    if path.contains(['\\', ':']) || path.chars().any(char::is_control) {
        return Err("write git: and a plain path in the repository, e.g. git:TODO.md");
    }
    let mut parts = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err("the path has to stay in the repository, e.g. git:TODO.md");
            }
        }
    }
    if parts.is_empty() || path.ends_with('/') {
        return Err("name a file in the repository, e.g. git:TODO.md");
    }
    if parts.iter().any(|part| part.eq_ignore_ascii_case(".git")) {
        return Err("git keeps its own files there; name another one");
    }
    Ok(parts.join("/"))
}

fn account(text: &str) -> Result<String, String> {
    // The file keeps accounts in its lines.
    if text.chars().any(char::is_control) {
        Err("write it on one line".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sources::tests::Place;
    use crate::config::{Need, load};

    #[test]
    fn a_key_may_be_typed_as_its_number_and_in_any_case() {
        let todo = Place::new(&[("PROJECT", "TODO.md")]);
        let github =
            Place::new(&[("TASK_MANAGER", "github"), ("PROJECT", "acme/shop"), ("GH_TOKEN", "ghp_1")]);
        let jira = Place::new(&[
            ("TASK_MANAGER", "jira"),
            ("PROJECT", "SHOP"),
            ("JIRA_SITE", "acme.atlassian.net"),
            ("JIRA_EMAIL", "bot@acme.example"),
            ("JIRA_TOKEN", "t"),
            ("JIRA_ASSIGNEE_ACCOUNT_ID", "712020:1"),
        ]);
        for (place, cases) in [
            (todo, [("12", "TODO-12"), ("#12", "TODO-12"), ("todo-12", "TODO-12"), ("x-12", "x-12")]),
            (github, [("12", "#12"), ("#12", "#12"), ("x12", "x12"), ("#x", "#x")]),
            (jira, [("12", "SHOP-12"), ("shop-12", "SHOP-12"), ("OTHER-1", "OTHER-1"), ("shop-", "shop-")]),
        ] {
            let tracker = load(&place.layers(), Need::Tracker).unwrap().tracker;
            for (typed, meant) in cases {
                assert_eq!(tracker.key(&typed.parse().unwrap()).as_str(), meant);
            }
        }
    }

    #[test]
    fn a_path_in_the_repository_stays_in_it() {
        assert_eq!(path_in_repository("TODO.md"), Ok("TODO.md".into()));
        assert_eq!(path_in_repository("./docs//TODO é.md"), Ok("docs/TODO é.md".into()));
        for path in [
            "",
            ".",
            "../x",
            "a/../../x",
            "/etc/passwd",
            "a/",
            ".git/config",
            "a/.GIT/x",
            "a\\b",
            "a\nb",
            "a:b",
        ] {
            assert!(path_in_repository(path).is_err(), "{path:?} was accepted");
        }
    }
}
