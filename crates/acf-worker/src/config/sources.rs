//! Where values come from: flag before environment before env file before `acf.toml` before default.
//!
//! Values are texts here; what they mean is the business of [`super::load`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use acf_core::mask::Mask;
use secrecy::SecretString;

use super::config_file::{self, ConfigFile};
use super::env_file;
use super::problems::{Problem, quoted};
use super::repository_url;
use super::suggestion::closest;
use super::variables::{self, ACF_MASKED, Default, FACTORY_ENV_FILE, Kind, Variable};

/// The name of the configuration file in the current directory.
pub const CONFIG_FILE: &str = "acf.toml";

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line, by that flag.
    Flag(&'static str),
    /// In the environment of the process.
    Environment,
    /// In the env file, on that line.
    EnvFile {
        /// The file, as people name it.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// In `acf.toml`, on that line.
    ConfigFile {
        /// The file, as people name it.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// Nowhere: it is the default.
    Default,
}

impl Origin {
    /// Returns the origin as it ends a sentence: `in the environment`.
    #[must_use]
    pub fn phrase(&self) -> String {
        match self {
            Self::Flag(flag) => format!("given by {flag}"),
            Self::Environment => "in the environment".to_owned(),
            Self::EnvFile { .. } | Self::ConfigFile { .. } => format!("in {self}"),
            Self::Default => "by default".to_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.pad(flag),
            Self::Environment => f.pad("environment"),
            Self::EnvFile { file, line } | Self::ConfigFile { file, line } => {
                f.pad(&format!("{file}:{line}"))
            }
            Self::Default => f.pad("default"),
        }
    }
}

/// The values that the command line gave.
#[derive(Default)]
pub struct Flags {
    values: BTreeMap<&'static str, (&'static str, String)>,
}

impl Flags {
    /// Adds the value of a flag such as `--project`, if there is one.
    #[must_use]
    pub fn with(mut self, variable: &Variable, flag: &'static str, value: Option<String>) -> Self {
        if let Some(value) = value {
            self.values.insert(variable.name, (flag, value));
        }
        self
    }
}

/// A value, and where it was found.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// The value; never empty.
    pub value: String,
    /// Where it was found.
    pub origin: Origin,
}

/// What the layers say of one variable.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Lookup {
    /// The value that counts; the default's where there is one.
    pub(super) found: Option<Found>,
    /// The highest layer that has the variable with nothing in it.
    pub(super) empty_in: Option<Origin>,
}

impl Lookup {
    /// Says what was found where no value was.
    pub(super) fn absence(&self) -> String {
        match &self.empty_in {
            Some(origin) => format!("empty {}", origin.phrase()),
            None => "not set".to_owned(),
        }
    }
}

/// All values, by layer, as they were found. It has no `Debug`: most of it may be secret.
pub struct Layers {
    flags: Flags,
    environment: BTreeMap<String, String>,
    env_file: BTreeMap<String, Found>,
    config_file: ConfigFile,
    config_path: String,
    directory: PathBuf,
    config_directory: PathBuf,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Layers {
    /// Reads the files that belong to the layers: `acf.toml` in `directory`, or that other file, and
    /// the env file, if the flags or the environment name one.
    ///
    /// What is wrong with the files is kept, and told by whoever loads settings from the layers.
    #[must_use]
    pub fn read(
        flags: Flags,
        environment: BTreeMap<String, String>,
        directory: &Path,
        config_file: Option<&Path>,
    ) -> Self {
        // Paths are to mean the same wherever they are used.
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        let mut layers = Self {
            flags,
            config_directory: directory.clone(),
            directory,
            ..Self::of_environment(environment)
        };
        layers.read_config_file(config_file);
        layers.read_env_file();
        layers
    }

    fn read_config_file(&mut self, given: Option<&Path>) {
        let path = self.directory.join(given.unwrap_or(Path::new(CONFIG_FILE)));
        if let Some(given) = given {
            self.config_path = given.display().to_string();
            self.config_directory = path.parent().unwrap_or(&self.directory).to_owned();
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => self.config_file = config_file::parse(&text, &self.config_path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && given.is_none() => {}
            Err(error) => {
                self.problems.push(Problem::wrong(&self.config_path, "cannot be read", error.to_string()));
            }
        }
        self.problems.append(&mut self.config_file.problems);
    }

    fn read_env_file(&mut self) {
        let Some(given) = self.lookup(&FACTORY_ENV_FILE).found else { return };
        let file = given.value.clone();
        let text = match std::fs::read_to_string(self.path(&given)) {
            Ok(text) => text,
            Err(error) => {
                let found = format!("{} {}", quoted(&file), given.origin.phrase());
                let remedy = format!("cannot be read: {error}");
                self.problems.push(Problem::wrong(FACTORY_ENV_FILE.name, found, remedy));
                return;
            }
        };
        let read = env_file::parse(&text);
        for bad in read.bad_lines {
            self.problems.push(Problem::wrong(&format!("{file}:{}", bad.line), bad.found, bad.remedy));
        }
        for assignment in read.assignments {
            let origin = Origin::EnvFile { file: file.clone(), line: assignment.line };
            self.judge_env_file_name(&assignment.name, &origin);
            self.env_file.insert(assignment.name, Found { value: assignment.value, origin });
        }
    }

    /// Env files may hold what is for other programs; what looks like a slip is refused all the same.
    fn judge_env_file_name(&mut self, name: &str, origin: &Origin) {
        if name == FACTORY_ENV_FILE.name {
            self.warnings.push(format!("{name} at {origin} has no effect: an env file names no other"));
            return;
        }
        let is_foreign = variables::FOREIGN.iter().any(|foreign| foreign.name == name);
        if variables::find(name).is_some() || is_foreign {
            return;
        }
        match closest(name, variables::ALL.iter().map(|variable| variable.name)) {
            Some(meant) => {
                let found = format!("unknown {}", origin.phrase());
                self.problems.push(Problem::wrong(name, found, format!("did you mean {meant}?")));
            }
            None => self.warnings.push(format!("{name} at {origin} has no effect: acf does not know it")),
        }
    }

    /// Finds a variable's value: the first layer that has one which is not empty, else the default.
    pub(super) fn lookup(&self, variable: &Variable) -> Lookup {
        let name = variable.name;
        let flag = self.flags.values.get(name).map(|(flag, value)| (value.clone(), Origin::Flag(flag)));
        let environment = || self.environment.get(name).map(|value| (value.clone(), Origin::Environment));
        let env_file = || self.env_file.get(name).map(|found| (found.value.clone(), found.origin.clone()));
        let config_file = || {
            let entry = self.config_file.entries.get(name)?;
            let origin = Origin::ConfigFile { file: self.config_path.clone(), line: entry.line };
            Some((entry.value.clone(), origin))
        };
        let default = || match variable.default {
            Default::Value(value) => Some((value.to_owned(), Origin::Default)),
            Default::None | Default::Described(_) => None,
        };
        let mut empty_in = None;
        let layers = [flag, environment(), env_file(), config_file(), default()];
        for (value, origin) in layers.into_iter().flatten() {
            if !value.trim().is_empty() {
                return Lookup { found: Some(Found { value, origin }), empty_in };
            }
            empty_in.get_or_insert(origin);
        }
        Lookup { found: None, empty_in }
    }

    /// Makes an absolute path of a value: relative ones count from the file that they stand in if that
    /// is `acf.toml`, else from the current directory; `~/` is the user's home.
    pub(super) fn path(&self, found: &Found) -> PathBuf {
        let value = found.value.trim();
        if let (Some(rest), Some(home)) = (value.strip_prefix("~/"), self.environment.get("HOME")) {
            return Path::new(home).join(rest);
        }
        let base = match found.origin {
            Origin::ConfigFile { .. } => &self.config_directory,
            _ => &self.directory,
        };
        let path = base.join(value);
        // `.` and doubled slashes go; `..` stays, as links may make it mean something else.
        path.components().collect()
    }

    /// Returns the environment of the process, which takes part in the layers.
    #[must_use]
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// Returns what masks every secret value in any layer, those that do not count included.
    #[must_use]
    pub fn mask(&self) -> Mask {
        Mask::new(self.secrets())
    }

    /// Returns every secret value in any layer, with the name of the variable that holds it.
    pub(super) fn secrets(&self) -> Vec<(String, SecretString)> {
        let declared = variables::ALL.iter().filter(|variable| variable.secret).map(|variable| variable.name);
        let foreign = variables::FOREIGN.iter().filter(|foreign| foreign.secret).map(|foreign| foreign.name);
        let values = declared.chain(foreign).flat_map(|name| {
            self.values(name).map(move |value| (name.to_owned(), SecretString::from(value.trim())))
        });
        let addresses =
            variables::ALL.iter().filter(|variable| matches!(variable.kind, Kind::Address | Kind::Url));
        let in_addresses = addresses.flat_map(|variable| {
            let secrets = self.values(variable.name).flat_map(repository_url::secrets_in);
            secrets.map(|secret| (variable.name.to_owned(), secret))
        });
        let misplaced = self.config_file.misplaced_secrets.iter().cloned();
        values.chain(in_addresses).chain(misplaced).chain(self.handed_on()).collect()
    }

    /// Returns the secrets that whoever started this worker knows of.
    fn handed_on(&self) -> impl Iterator<Item = (String, SecretString)> {
        let list = self.environment.get(ACF_MASKED.name);
        let pairs = list.and_then(|list| serde_json::from_str::<Vec<(String, String)>>(list).ok());
        pairs.unwrap_or_default().into_iter().map(|(name, value)| (name, value.into()))
    }

    /// Returns layers of nothing but an environment.
    pub(super) fn of_environment(environment: BTreeMap<String, String>) -> Self {
        Self {
            flags: Flags::default(),
            environment,
            env_file: BTreeMap::new(),
            config_file: ConfigFile::default(),
            config_path: CONFIG_FILE.to_owned(),
            config_directory: PathBuf::new(),
            directory: PathBuf::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Returns the value of a variable that is not acf's own: the environment's, or the env file's.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.values(name).next().map(str::to_owned)
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let flag = self.flags.values.get(name).map(|(_, value)| value.as_str());
        let environment = self.environment.get(name).map(String::as_str);
        let env_file = self.env_file.get(name).map(|found| found.value.as_str());
        let config_file = self.config_file.entries.get(name).map(|entry| entry.value.as_str());
        [flag, environment, env_file, config_file].into_iter().flatten()
    }

    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::variables::{AGENT, GIT_TOKEN, MAX_ATTEMPTS, PROJECT};

    /// A directory with an `acf.toml` and an env file in it, and an environment that names the latter.
    pub(crate) struct Place {
        pub(crate) directory: tempfile::TempDir,
        environment: BTreeMap<String, String>,
        flags: Flags,
    }

    impl Place {
        pub(crate) fn new(environment: &[(&str, &str)]) -> Self {
            let mut place = Self {
                directory: tempfile::tempdir().unwrap(),
                environment: BTreeMap::new(),
                flags: Flags::default(),
            };
            place.environment.insert("HOME".into(), "/home/ann".into());
            for (name, value) in environment {
                place.environment.insert((*name).into(), (*value).into());
            }
            place
        }

        pub(crate) fn without_home(mut self) -> Self {
            self.environment.remove("HOME");
            self
        }

        pub(crate) fn env_file(mut self, text: &str) -> Self {
            std::fs::write(self.directory.path().join(".env.factory"), text).unwrap();
            self.environment.insert("FACTORY_ENV_FILE".into(), ".env.factory".into());
            self
        }

        pub(crate) fn config_file(self, text: &str) -> Self {
            std::fs::write(self.directory.path().join(CONFIG_FILE), text).unwrap();
            self
        }

        pub(crate) fn flag(mut self, variable: &Variable, flag: &'static str, value: &str) -> Self {
            self.flags = self.flags.with(variable, flag, Some(value.to_owned()));
            self
        }

        pub(crate) fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        pub(crate) fn layers(self) -> Layers {
            self.layers_and_directory().0
        }

        pub(crate) fn layers_and_directory(self) -> (Layers, tempfile::TempDir) {
            (Layers::read(self.flags, self.environment, self.directory.path(), None), self.directory)
        }
    }

    fn found(layers: &Layers, variable: &Variable) -> (String, String) {
        let found = layers.lookup(variable).found.unwrap();
        (found.value, found.origin.to_string())
    }

    #[test]
    fn the_higher_layer_wins_and_is_named() {
        let place = || {
            Place::new(&[])
                .config_file("# c\nproject = \"from-file\"\nmax_attempts = 7\n")
                .env_file("A_FOREIGN_NAME=1\nPROJECT=from-env-file\n")
        };
        let expect = |layers: &Layers, value: &str, origin: &str| {
            assert_eq!(found(layers, &PROJECT), (value.to_owned(), origin.to_owned()));
        };
        let mut with_environment = place();
        with_environment.environment.insert("PROJECT".into(), "from-environment".into());
        expect(&with_environment.layers(), "from-environment", "environment");
        let with_flag = place().flag(&PROJECT, "--project", "from-flag").layers();
        expect(&with_flag, "from-flag", "--project");
        let layers = place().layers();
        expect(&layers, "from-env-file", ".env.factory:2");
        assert_eq!(found(&layers, &MAX_ATTEMPTS), ("7".into(), "acf.toml:3".into()));
        let nothing = Place::new(&[]).layers();
        assert_eq!(found(&nothing, &MAX_ATTEMPTS), ("3".into(), "default".into()));
        assert!(nothing.lookup(&AGENT).found.is_none());
    }

    #[test]
    fn an_empty_value_counts_as_not_set_and_is_told_as_empty() {
        let layers = Place::new(&[("PROJECT", ""), ("AGENT", " ")])
            .env_file("\nGIT_TOKEN=\n")
            .config_file("project = \"TODO.md\"")
            .layers();
        assert_eq!(found(&layers, &PROJECT), ("TODO.md".into(), "acf.toml:1".into()));
        assert_eq!(layers.lookup(&AGENT).absence(), "empty in the environment");
        assert_eq!(layers.lookup(&GIT_TOKEN).absence(), "empty in .env.factory:2");
        assert_eq!(Place::new(&[]).layers().lookup(&AGENT).absence(), "not set");
    }

    #[test]
    fn an_env_file_is_read_only_if_it_is_named() {
        let mut place = Place::new(&[]).env_file("PROJECT=x");
        place.environment.remove("FACTORY_ENV_FILE");
        assert!(place.layers().lookup(&PROJECT).found.is_none());
    }

    #[test]
    fn the_flag_for_the_env_file_wins_over_the_environment() {
        let place = Place::new(&[("FACTORY_ENV_FILE", "missing")]);
        std::fs::write(place.path("other.env"), "PROJECT=x").unwrap();
        let layers = place.flag(&FACTORY_ENV_FILE, "--env-file", "other.env").layers();
        assert_eq!(found(&layers, &PROJECT), ("x".into(), "other.env:1".into()));
        assert_eq!(layers.problems(), []);
    }

    #[test]
    fn files_that_are_named_and_missing_are_problems() {
        let place = Place::new(&[("FACTORY_ENV_FILE", "nowhere.env")]);
        let directory = place.directory.path().to_owned();
        let layers =
            Layers::read(place.flags, place.environment, &directory, Some(Path::new("nowhere.toml")));
        let named: Vec<_> = layers.problems().iter().map(|problem| problem.name.as_str()).collect();
        assert_eq!(named, ["nowhere.toml", "FACTORY_ENV_FILE"]);
        assert!(layers.problems()[1].found.contains("`nowhere.env` in the environment"));
    }

    #[test]
    fn a_slip_in_an_env_file_is_a_problem_and_a_foreign_name_a_warning() {
        let layers = Place::new(&[])
            .env_file("GIT_TOKN=x\nJIRA_TOKEN=y\nSOMETHING_ELSE=z\nFACTORY_ENV_FILE=w\n")
            .layers();
        assert_eq!(layers.problems().len(), 1);
        assert_eq!(layers.problems()[0].name, "GIT_TOKN");
        assert_eq!(layers.problems()[0].remedy, "did you mean GIT_TOKEN?");
        assert_eq!(
            layers.warnings(),
            [
                "SOMETHING_ELSE at .env.factory:3 has no effect: acf does not know it",
                "FACTORY_ENV_FILE at .env.factory:4 has no effect: an env file names no other",
            ]
        );
    }

    #[test]
    fn paths_count_from_the_file_that_they_stand_in() {
        let place = Place::new(&[]);
        let directory = place.directory.path().to_owned();
        std::fs::create_dir(directory.join("conf")).unwrap();
        std::fs::write(directory.join("conf/a.toml"), "project = \"./x/TODO.md\"").unwrap();
        let layers =
            Layers::read(Flags::default(), place.environment, &directory, Some(Path::new("conf/a.toml")));
        let found = layers.lookup(&PROJECT).found.unwrap();
        assert_eq!(found.origin.to_string(), "conf/a.toml:1");
        assert_eq!(layers.path(&found), directory.join("conf/x/TODO.md"));
        let given = |value: &str| Found { value: value.into(), origin: Origin::Environment };
        assert_eq!(layers.path(&given("TODO.md")), directory.join("TODO.md"));
        assert_eq!(layers.path(&given("/abs")), PathBuf::from("/abs"));
        assert_eq!(layers.path(&given("~/x")), PathBuf::from("/home/ann/x"));
    }

    #[test]
    fn the_mask_knows_the_secrets_of_every_layer() {
        let layers = Place::new(&[
            ("GIT_TOKEN", "environment-token"),
            ("JIRA_TOKEN", "jira-token"),
            ("GIT_REPO_URL", "https://me:p%61ssword@h/r"),
        ])
        .env_file("GIT_TOKEN='env-file-token'\nANTHROPIC_API_KEY=agent-key\n")
        .config_file("git_token = \"misplaced\"\ngit_repo_url = \"https://me:in-toml@h/r\"\n")
        .layers();
        let mask = layers.mask();
        let secrets = [
            "environment-token",
            "jira-token",
            "p%61ssword",
            "password",
            "env-file-token",
            "agent-key",
            "misplaced",
            "in-toml",
        ];
        for secret in secrets {
            assert_eq!(mask.apply(secret), "***", "{secret}");
        }
        assert_eq!(mask.apply("https://h/r"), "https://h/r");
    }
}
