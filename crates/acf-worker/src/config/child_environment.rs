//! What the programs that acf starts see of its environment.
//!
//! Each kind of program gets its own: an agent nothing that acf acts by, git what it needs to reach the
//! remote, and a worker everything.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use acf_core::mask::Mask;
use secrecy::{ExposeSecret as _, SecretString};

use super::sources::{Found, Layers, Origin};
use super::tracker::Tracker;
use super::variables::{self, ACF_MASKED, AGENT_ENV, FACTORY_ENV_FILE, Kind, Topic};

/// Variables that begin like this belong to acf, its trackers, its remote or its cloud.
pub(super) const PREFIXES: [&str; 9] =
    ["AWS_", "ECS_", "ACF_", "FACTORY_", "GIT_", "JIRA_", "GH_", "GITHUB_", "TODO_"];

/// Names an agent that could sign in elsewhere in the user's name.
const SSH_AGENT: &str = "SSH_AUTH_SOCK";

/// What git itself reads and an operator may have set on purpose: how to reach the remote, and tracing.
fn git_may_keep(name: &str) -> bool {
    matches!(name, "GIT_SSH" | "GIT_SSH_COMMAND")
        || name.starts_with("GIT_SSL_")
        || name.starts_with("GIT_TRACE2")
}

/// Returns the environment of agents, and of the repository's own commands: without anything that acf
/// acts by, and without any value that holds a known secret under whatever name.
#[must_use]
pub fn for_agent(environment: &BTreeMap<String, String>, mask: &Mask) -> BTreeMap<String, String> {
    let is_ours = |name: &str| {
        is_acted_by(name)
            || variables::find(name).is_some()
            || variables::FOREIGN.iter().any(|foreign| foreign.name == name)
    };
    let holds_secret = |value: &str| matches!(mask.apply(value), Cow::Owned(_));
    environment
        .iter()
        .filter(|(name, value)| !is_ours(name) && !holds_secret(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Tells whether acf, its tracker, its remote or its cloud is used by that variable, and not an agent.
pub(super) fn is_acted_by(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || variables::find(name).is_some_and(|variable| variable.topic != Topic::Agent)
        || name == SSH_AGENT
}

/// Changes an agent's environment into that of another user with another home: nothing in it leads to the
/// directories of the worker's own user.
pub fn move_to(environment: &mut BTreeMap<String, String>, user: &str, home: &Path) {
    environment.retain(|name, _| name != "TMPDIR" && !name.starts_with("XDG_"));
    for (name, value) in [("HOME", home.to_string_lossy().as_ref()), ("USER", user), ("LOGNAME", user)] {
        environment.insert(name.to_owned(), value.to_owned());
    }
}

/// Returns the environment of git: its language fixed, so that its output can be parsed; no question to
/// a person; and nothing in it that would make it act on another repository or as another author.
#[must_use]
pub fn for_git(environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_kept = |name: &str| {
        let is_ours = variables::find(name).is_some() || name == "SSH_ASKPASS";
        !is_ours && (!name.starts_with("GIT_") || git_may_keep(name))
    };
    let mut kept: BTreeMap<_, _> = environment
        .iter()
        .filter(|(name, _)| is_kept(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    kept.insert("LC_ALL".into(), "C".into());
    kept.insert("GIT_TERMINAL_PROMPT".into(), "0".into());
    kept
}

/// Returns the environment of a worker that is to act by the same settings, wherever it is started: the
/// values of all layers in one, with absolute paths.
#[must_use]
pub fn for_worker(layers: &Layers) -> BTreeMap<String, String> {
    let mut environment = layers.environment().clone();
    for variable in variables::ALL {
        environment.remove(variable.name);
        let Some(found) = layers.lookup(variable).found else { continue };
        // The env file's values are in the environment now; reading it again could change them.
        if found.origin != Origin::Default && variable.name != FACTORY_ENV_FILE.name {
            environment.insert(variable.name.to_owned(), independent_of_place(layers, variable.kind, found));
        }
    }
    // What its agent gets may stand in the env file, too.
    for name in layers.lookup(&AGENT_ENV).found.iter().flat_map(|found| found.value.split(',')) {
        if let Some(value) = layers.value(name.trim()) {
            environment.insert(name.trim().to_owned(), value);
        }
    }
    let masked = secrets_unknown_to(&environment, layers);
    if !masked.is_empty() {
        let list = serde_json::to_string(&masked).expect("a list holds nothing but texts");
        environment.insert(ACF_MASKED.name.to_owned(), list);
    }
    environment
}

/// Returns the secrets of the layers that nobody could tell from the environment alone: those that belong
/// to other programs, and those that do not count.
fn secrets_unknown_to(environment: &BTreeMap<String, String>, layers: &Layers) -> Vec<(String, String)> {
    let mut environment = environment.clone();
    environment.remove(ACF_MASKED.name);
    let pair = |(name, secret): (String, SecretString)| (name, secret.expose_secret().to_owned());
    let known: Vec<_> = Layers::of_environment(environment).secrets().into_iter().map(pair).collect();
    let all = layers.secrets().into_iter().filter(|(name, _)| name != ACF_MASKED.name).map(pair);
    let unknown: BTreeSet<_> = all.filter(|secret| !known.contains(secret)).collect();
    unknown.into_iter().collect()
}

fn independent_of_place(layers: &Layers, kind: Kind, found: Found) -> String {
    let is_path = match kind {
        Kind::Path => true,
        Kind::Project => Tracker::chosen_name(layers) == "todo" && !found.value.trim().starts_with("git:"),
        Kind::Program => return program_line(layers, found),
        Kind::Address => {
            use super::repository_url::{Place, parse};
            parse(found.value.trim()).is_ok_and(|address| matches!(address.place, Place::Path(_)))
        }
        Kind::Url
        | Kind::Text
        | Kind::Choice(_)
        | Kind::Choices(_)
        | Kind::Duration
        | Kind::Number
        | Kind::Dollars
        | Kind::Switch
        | Kind::List => false,
    };
    if is_path { layers.path(&found).to_string_lossy().into_owned() } else { found.value }
}

/// Makes the program's path absolute, and leaves its arguments as they are.
fn program_line(layers: &Layers, found: Found) -> String {
    let Ok(mut words) = shell_words::split(&found.value) else { return found.value };
    match words.first_mut() {
        Some(program) if program.contains('/') => {
            let path = Found { value: program.clone(), origin: found.origin };
            *program = layers.path(&path).to_string_lossy().into_owned();
            shell_words::join(words)
        }
        _ => found.value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sources::tests::Place;
    use crate::config::variables::{ALL, FOREIGN, PROJECT};

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn another_users_agent_has_a_home_of_its_own_and_no_way_to_the_workers() {
        let mut moved = environment(&[
            ("HOME", "/root"),
            ("PATH", "/bin"),
            ("TMPDIR", "/root/tmp"),
            ("XDG_CACHE_HOME", "/root/.cache"),
        ]);
        move_to(&mut moved, "agent", Path::new("/work/home"));
        let expected = [("HOME", "/work/home"), ("LOGNAME", "agent"), ("PATH", "/bin"), ("USER", "agent")];
        assert_eq!(moved, environment(&expected));
    }

    fn names(environment: &BTreeMap<String, String>) -> Vec<&str> {
        environment.keys().map(String::as_str).collect()
    }

    #[test]
    fn an_agent_sees_no_variable_that_acf_declares() {
        let declared = ALL.iter().map(|variable| variable.name);
        let foreign = FOREIGN.iter().map(|foreign| foreign.name);
        let mut everything: BTreeMap<_, _> =
            declared.chain(foreign).map(|name| (name.to_owned(), "x".to_owned())).collect();
        everything.insert("PATH".into(), "/bin".into());
        assert_eq!(names(&for_agent(&everything, &Mask::default())), ["PATH"]);
    }

    #[test]
    fn an_agent_sees_nothing_of_the_cloud_the_remote_or_the_tracker() {
        let everything = environment(&[
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2"),
            ("ECS_AGENT_URI", "http://169.254.170.2"),
            ("ACF_ANYTHING", "x"),
            ("FACTORY_ANYTHING", "x"),
            ("GIT_CONFIG_COUNT", "1"),
            ("JIRA_ANYTHING", "x"),
            ("GH_ENTERPRISE_TOKEN", "x"),
            ("GITHUB_ACTIONS", "true"),
            ("TODO_ANYTHING", "x"),
            ("SSH_AUTH_SOCK", "/run/ssh"),
            ("HOME", "/home/ann"),
            ("GITTER", "kept"),
            ("AWS", "kept"),
        ]);
        assert_eq!(names(&for_agent(&everything, &Mask::default())), ["AWS", "GITTER", "HOME"]);
    }

    #[test]
    fn an_agent_sees_no_secret_under_another_name_or_within_another_value() {
        let mask = Mask::new([("GIT_TOKEN".into(), SecretString::from("hunter22"))]);
        let everything = environment(&[
            ("COPY", "hunter22"),
            ("DATABASE_URL", "postgres://me:hunter22@h/d"),
            ("HUNTER", "hunter"),
        ]);
        assert_eq!(names(&for_agent(&everything, &mask)), ["HUNTER"]);
    }

    #[test]
    fn git_sees_how_to_reach_the_remote_and_nothing_that_diverts_it() {
        let everything = environment(&[
            ("PATH", "/bin"),
            ("SSH_AUTH_SOCK", "/run/ssh"),
            ("SSH_ASKPASS", "/bin/dialog"),
            ("GIT_SSH", "ssh"),
            ("GIT_SSH_COMMAND", "ssh -p 22"),
            ("GIT_SSL_CAINFO", "/ca.pem"),
            ("GIT_TRACE2_EVENT", "/trace"),
            ("GIT_DIR", "/elsewhere"),
            ("GIT_TRACE", "1"),
            ("GIT_ASKPASS", "/bin/ask"),
            ("GIT_TOKEN", "hunter22"),
            ("GIT_AUTHOR_NAME", "Ann"),
            ("GIT_TERMINAL_PROMPT", "1"),
            ("PROJECT", "x"),
            ("LC_ALL", "de_DE.UTF-8"),
            ("https_proxy", "http://proxy"),
        ]);
        assert_eq!(
            for_git(&everything),
            environment(&[
                ("PATH", "/bin"),
                ("SSH_AUTH_SOCK", "/run/ssh"),
                ("GIT_SSH", "ssh"),
                ("GIT_SSH_COMMAND", "ssh -p 22"),
                ("GIT_SSL_CAINFO", "/ca.pem"),
                ("GIT_TRACE2_EVENT", "/trace"),
                ("GIT_TERMINAL_PROMPT", "0"),
                ("LC_ALL", "C"),
                ("https_proxy", "http://proxy"),
            ])
        );
    }

    #[test]
    fn a_worker_gets_the_values_of_all_layers_with_absolute_paths() {
        let (layers, directory) = Place::new(&[("PROJECT", "overridden"), ("AGENT", ""), ("PATH", "/bin")])
            .env_file("GIT_TOKEN=hunter22\n")
            .config_file("git_repo_url = \"../shop.git\"\nagent_command = \"./agent.sh --fast 'a b'\"\nmax_attempts = 5\n")
            .flag(&PROJECT, "--project", "TODO.md")
            .layers_and_directory();
        let at = |name: &str| directory.path().join(name).display().to_string();
        assert_eq!(
            for_worker(&layers),
            environment(&[
                ("AGENT_COMMAND", &format!("{} --fast 'a b'", at("agent.sh"))),
                ("GIT_REPO_URL", &at("../shop.git")),
                ("GIT_TOKEN", "hunter22"),
                ("HOME", "/home/ann"),
                ("MAX_ATTEMPTS", "5"),
                ("PATH", "/bin"),
                ("PROJECT", &at("TODO.md")),
            ])
        );
    }

    #[test]
    fn a_worker_masks_what_whoever_starts_it_masks() {
        let (layers, _directory) = Place::new(&[("GIT_TOKEN", "hunter22"), ("GIT_REPO_URL", "https://h/r")])
            .env_file(
                "AWS_SECRET_ACCESS_KEY=cloudy-key\nGITHUB_TOKEN=ghp-of-another\nGIT_TOKEN=an-old-token\n\
                 GIT_REPO_URL=https://ann:in-an-address@h/r\nJIRA_TOKEN=known-anyway\n",
            )
            .layers_and_directory();
        let environment = for_worker(&layers);
        let everything = "hunter22 cloudy-key ghp-of-another an-old-token in-an-address known-anyway";
        let worker = Layers::of_environment(environment.clone());
        assert_eq!(worker.mask().apply(everything), "*** *** *** *** *** ***");
        assert_eq!(worker.mask().named_in(b"a cloudy-key").as_deref(), Some("AWS_SECRET_ACCESS_KEY"));
        assert!(!environment.contains_key("AWS_SECRET_ACCESS_KEY"), "it is nothing to act by");
        assert!(!environment["ACF_MASKED"].contains("known-anyway"), "{}", environment["ACF_MASKED"]);
        assert_eq!(for_worker(&worker), environment, "it could start one itself");
    }

    #[test]
    fn a_workers_agent_gets_what_the_env_file_has_for_it() {
        let (layers, _directory) = Place::new(&[("AGENT_ENV", "NPM_TOKEN, MISSING")])
            .env_file("NPM_TOKEN=for-the-agent\nOTHER=x\n")
            .layers_and_directory();
        let environment = for_worker(&layers);
        assert_eq!(environment.get("NPM_TOKEN").map(String::as_str), Some("for-the-agent"));
        assert_eq!(environment.get("OTHER"), None);
    }

    #[test]
    fn a_project_that_is_no_file_and_a_service_are_handed_on_as_they_are() {
        for (tracker, project) in [("github", "acme/shop"), ("jira", "ACF")] {
            let (layers, _directory) = Place::new(&[
                ("TASK_MANAGER", tracker),
                ("PROJECT", project),
                ("JIRA_SITE", "acme.atlassian.net"),
                ("GITHUB_API_URL", "https://code.acme.example/api/v3"),
            ])
            .layers_and_directory();
            let environment = for_worker(&layers);
            assert_eq!(environment["PROJECT"], project);
            assert_eq!(environment["JIRA_SITE"], "acme.atlassian.net");
            assert_eq!(environment["GITHUB_API_URL"], "https://code.acme.example/api/v3");
        }
    }

    #[test]
    fn a_project_in_the_repository_and_an_address_are_handed_on_as_they_are() {
        let (layers, _directory) = Place::new(&[
            ("PROJECT", "git:TODO.md"),
            ("GIT_REPO_URL", "https://h/r"),
            ("AGENT_COMMAND", "agent"),
        ])
        .layers_and_directory();
        let environment = for_worker(&layers);
        assert_eq!(environment["PROJECT"], "git:TODO.md");
        assert_eq!(environment["GIT_REPO_URL"], "https://h/r");
        assert_eq!(environment["AGENT_COMMAND"], "agent");
    }
}
