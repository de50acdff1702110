//! What an agent is given of the operator's: the model that it is to use, and its credentials.

use std::path::PathBuf;

use acf_core::agent::AgentCommand;
use secrecy::{ExposeSecret as _, SecretString};

/// What an agent is given of the operator's.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The model, as the CLI names it; its own choice if `None`.
    pub model: Option<String>,
    /// The variables that it sees and no other program of a run does: its credentials, above all.
    pub env: Vec<(String, SecretString)>,
}

// Two configurations are the same if they would start the same agent; secrets are compared for that only.
impl PartialEq for Access {
    fn eq(&self, other: &Self) -> bool {
        let exposed = |access: &Self| {
            let pairs =
                access.env.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned()));
            pairs.collect::<Vec<_>>()
        };
        self.model == other.model && exposed(self) == exposed(other)
    }
}

impl Access {
    /// Tells whether it holds that variable.
    pub(super) fn has(&self, name: &str) -> bool {
        self.env.iter().any(|(held, _)| held == name)
    }

    /// Returns those of the variables that it holds.
    pub(super) fn held<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        names.iter().copied().filter(|name| self.has(name)).collect()
    }

    /// Returns the names of all variables that it holds.
    pub(super) fn names(&self) -> Vec<&str> {
        self.env.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Makes the command of a CLI that reads its prompt from its standard input.
    pub(super) fn command(
        &self,
        program: &str,
        args: Vec<String>,
        prompt: &str,
        settings: &[(&str, &str)],
    ) -> AgentCommand {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), SecretString::from(*value)));
        AgentCommand {
            program: PathBuf::from(program),
            args,
            env: settings.chain(self.env.iter().cloned()).collect(),
            stdin: Some(prompt.to_owned()),
        }
    }
}
