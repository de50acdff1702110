//! The target repository's own policy: `.acf/config.toml`, read from the base commit of a run.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;

/// Where the policy lies in the repository.
pub const POLICY_PATH: &str = ".acf/config.toml";

/// When work is checked again after it was rebased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Regate {
    /// Always.
    Always,
    /// When what came in touches files that the work touches too.
    #[default]
    Overlap,
    /// Never.
    Never,
}

/// Where the gate's commands find what is kept in a home: tools, caches, settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateHome {
    /// In the home of the worker's user; in a new one where agents run as another user.
    #[default]
    Worker,
    /// In a new and empty one for each gate: nothing that lies in another one is there.
    New,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Each set-up command.
    pub setup: Duration,
    /// Each verify command.
    pub verify: Duration,
    /// All rounds of the agent in a run, where the repository says it.
    pub agent: Option<Duration>,
    /// Silence of the agent, where the repository says it.
    pub stall: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { setup: minutes(10), verify: minutes(20), agent: None, stall: None }
    }
}

impl Timeouts {
    /// Returns how long the rounds of the agent may take in a run, where the operator may have said it too: an
    /// hour, if nobody has.
    #[must_use]
    pub fn of_agent(&self, operators: Option<Duration>) -> Duration {
        shorter(self.agent, operators).unwrap_or(minutes(60))
    }

    /// Returns how long the agent may be silent, where the operator may have said it too: ten minutes, if
    /// nobody has.
    #[must_use]
    pub fn of_silence(&self, operators: Option<Duration>) -> Duration {
        shorter(self.stall, operators).unwrap_or(minutes(10))
    }
}

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    [one, other].into_iter().flatten().min()
}

/// What a repository says about how work on it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Commands that make a fresh checkout ready, in order.
    pub setup: Vec<String>,
    /// The gate: commands that all have to exit 0, in order.
    pub verify: Vec<String>,
    /// How often a failure goes back to the agent.
    pub max_fixes: u32,
    /// When work is checked again after a rebase.
    pub regate: Regate,
    /// Which home the gate has.
    pub gate_home: GateHome,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            setup: Vec::new(),
            verify: Vec::new(),
            max_fixes: 2,
            regate: Regate::default(),
            gate_home: GateHome::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// The policy's file says something that it cannot say.
#[derive(Debug, thiserror::Error)]
#[error("{POLICY_PATH} of the base commit is not valid: {why}")]
pub struct InvalidPolicy {
    why: String,
    /// The lines that show where, if there are any.
    shown: Option<String>,
}

impl InvalidPolicy {
    fn in_text(text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().lines().next().unwrap_or_default();
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1));
        let why = format!("{}{message}", line.unwrap_or_default());
        Self { why, shown: Some(error.to_string().trim_end().to_owned()) }
    }

    /// Returns the lines that show where the file is wrong; they are for a fixed-width font.
    #[must_use]
    pub fn shown(&self) -> Option<&str> {
        self.shown.as_deref()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    setup: Vec<String>,
    #[serde(default)]
    verify: Vec<String>,
    max_fixes: Option<u32>,
    #[serde(default)]
    regate: Regate,
    #[serde(default)]
    gate_home: GateHome,
    #[serde(default)]
    timeouts: FileTimeouts,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTimeouts {
    setup: Option<SignedDuration>,
    verify: Option<SignedDuration>,
    agent: Option<SignedDuration>,
    stall: Option<SignedDuration>,
}

impl Policy {
    /// Parses the file's text.
    ///
    /// # Errors
    /// [`InvalidPolicy`] for anything unknown, of the wrong type, or a time limit of zero or less.
    pub fn parse(text: &str) -> Result<Self, InvalidPolicy> {
        let file: File = toml::from_str(text).map_err(|error| InvalidPolicy::in_text(text, &error))?;
        let defaults = Self::default();
        let limits = defaults.timeouts;
        Ok(Self {
            setup: file.setup,
            verify: file.verify,
            max_fixes: file.max_fixes.unwrap_or(defaults.max_fixes),
            regate: file.regate,
            gate_home: file.gate_home,
            timeouts: Timeouts {
                setup: limit("setup", file.timeouts.setup)?.unwrap_or(limits.setup),
                verify: limit("verify", file.timeouts.verify)?.unwrap_or(limits.verify),
                agent: limit("agent", file.timeouts.agent)?,
                stall: limit("stall", file.timeouts.stall)?,
            },
        })
    }
}

fn limit(name: &str, given: Option<SignedDuration>) -> Result<Option<Duration>, InvalidPolicy> {
    let Some(given) = given else { return Ok(None) };
    match Duration::try_from(given) {
        Ok(duration) if !duration.is_zero() => Ok(Some(duration)),
        _ => Err(InvalidPolicy { why: format!("timeouts.{name} must be more than zero"), shown: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(Policy::parse("").unwrap(), Policy::default());
    }

    #[test]
    fn every_setting_is_read() {
        let text = r#"
            setup   = ["npm ci"]
            verify  = ["npm test", "npm run lint"]
            max_fixes = 5
            regate  = "always"
            gate_home = "new"
            [timeouts]
            setup = "1m"
            verify = "2m"
            agent = "1h 30m"
            stall = "90s"
        "#;
        let expected = Policy {
            setup: vec!["npm ci".into()],
            verify: vec!["npm test".into(), "npm run lint".into()],
            max_fixes: 5,
            regate: Regate::Always,
            gate_home: GateHome::New,
            timeouts: Timeouts {
                setup: Duration::from_secs(60),
                verify: Duration::from_secs(120),
                agent: Some(Duration::from_secs(5400)),
                stall: Some(Duration::from_secs(90)),
            },
        };
        assert_eq!(Policy::parse(text).unwrap(), expected);
    }

    #[test]
    fn of_what_repository_and_operator_allow_the_agent_the_shorter_holds() {
        let timeouts = |agent, stall| Timeouts { agent, stall, ..Timeouts::default() };
        let (one, two) = (Some(minutes(1)), Some(minutes(2)));
        assert_eq!(timeouts(None, None).of_agent(None), minutes(60));
        assert_eq!(timeouts(None, None).of_silence(None), minutes(10));
        assert_eq!(timeouts(None, None).of_agent(Some(minutes(120))), minutes(120));
        assert_eq!(timeouts(two, one).of_agent(one), minutes(1));
        assert_eq!(timeouts(two, one).of_silence(two), minutes(1));
        assert_eq!(timeouts(two, one).of_agent(None), minutes(2));
    }

    #[test]
    fn what_is_unknown_or_senseless_is_refused_by_name() {
        let cases = [
            ("verfy = []", "verfy"),
            ("[timeouts]\ngate = \"1m\"", "gate"),
            ("[timeouts]\nagent = \"-1m\"", "timeouts.agent"),
            ("[timeouts]\nstall = \"0s\"", "timeouts.stall"),
            ("regate = \"sometimes\"", "sometimes"),
            ("verify = \"make\"", "verify"),
            ("= 3", "config.toml"),
        ];
        for (text, named) in cases {
            let refusal = Policy::parse(text).unwrap_err();
            let told = format!("{refusal}\n{}", refusal.shown().unwrap_or_default());
            assert!(told.contains(named), "{text}: {told}");
            assert_eq!(refusal.to_string().lines().count(), 1, "{refusal}");
        }
    }

    #[test]
    fn a_refusal_shows_the_line_that_is_wrong() {
        let refusal = Policy::parse("max_fixes = 1\nverfy = [\"x\"]\n").unwrap_err();
        assert!(refusal.to_string().contains("not valid: line 2: unknown field `verfy`"), "{refusal}");
        let shown = refusal.shown().unwrap();
        assert!(
            shown.contains("at line 2, column 1\n") && shown.contains("\n2 | verfy = [\"x\"]\n"),
            "{shown}"
        );
    }
}
