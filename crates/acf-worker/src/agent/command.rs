//! The agent `command`: any program that keeps the contract `CMD init` and `CMD run PROMPT`.
//!
//! `CMD` is the setting `AGENT_COMMAND`. `init` runs once per worker and `run` once per round, both in an
//! environment with nothing of acf's but what `AGENT_ENV` names. The exit code alone says how it went; the output is for people. A prompt that is too long for an argument comes
//! over standard input instead, and the argument is then `-`.

use std::path::{Path, PathBuf};

use acf_core::agent::{Agent, AgentCommand, AgentRequest};

use super::Access;

/// The longest prompt that is an argument, in bytes; Linux takes no argument of 128 KiB or more.
const MAX_ARGUMENT_BYTES: usize = 100 * 1024;

/// Any program that keeps the contract.
#[derive(Clone, Debug)]
pub struct Command {
    program: PathBuf,
    args: Vec<String>,
    access: Access,
}

impl Command {
    /// Names the program, and its arguments that come before acf's.
    #[must_use]
    pub fn new(program: PathBuf, args: Vec<String>, access: Access) -> Self {
        Self { program, args, access }
    }

    fn with(&self, more: &[&str], stdin: Option<&str>) -> AgentCommand {
        let mut args = self.args.clone();
        args.extend(more.iter().map(|&arg| arg.into()));
        AgentCommand {
            program: self.program.clone(),
            args,
            stdin: stdin.map(Into::into),
            env: self.access.env.clone(),
        }
    }
}

impl Agent for Command {
    fn name(&self) -> &str {
        "command"
    }

    fn program(&self) -> &Path {
        &self.program
    }

    fn preparation(&self) -> Option<AgentCommand> {
        Some(self.with(&["init"], None))
    }

    fn command(&self, request: &AgentRequest<'_>) -> AgentCommand {
        if request.prompt.len() <= MAX_ARGUMENT_BYTES {
            self.with(&["run", request.prompt], None)
        } else {
            self.with(&["run", "-"], Some(request.prompt))
        }
    }
}

#[cfg(test)]
mod tests {
    use acf_core::agent::AgentLimits;
    use acf_core::issue::{Issue, Stage};
    use acf_core::receipt::Usage;

    use super::*;

    fn issue() -> Issue {
        Issue::new("TODO-1".parse().unwrap(), String::new())
    }

    fn agent(command_line: &str) -> Command {
        let mut words = command_line.split(' ').map(str::to_owned);
        Command::new(words.next().unwrap().into(), words.collect(), Access::default())
    }

    fn round(command_line: &str, prompt: &str) -> AgentCommand {
        let issue = issue();
        let request = AgentRequest {
            prompt,
            issue: &issue,
            stage: Stage::Implementation,
            round: 0,
            session: None,
            session_usage: Usage::default(),
            limits: AgentLimits::default(),
            report: None,
        };
        agent(command_line).command(&request)
    }

    #[test]
    fn the_prompt_is_one_argument_whatever_is_in_it() {
        let command = round("my-agent --model big", "do $(this)\n\"now\"");
        assert_eq!(command.program, PathBuf::from("my-agent"));
        assert_eq!(command.args, ["--model", "big", "run", "do $(this)\n\"now\""]);
        assert_eq!(command.stdin, None);
    }

    #[test]
    fn a_prompt_too_long_for_an_argument_comes_over_standard_input() {
        let prompt = "x".repeat(MAX_ARGUMENT_BYTES + 1);
        let command = round("my-agent", &prompt);
        assert_eq!(command.args, ["run", "-"]);
        assert_eq!(command.stdin.as_deref(), Some(prompt.as_str()));
        assert_eq!(round("my-agent", &prompt[1..]).args, ["run", &prompt[1..]]);
    }

    #[test]
    fn it_is_prepared_with_init() {
        let preparation = agent("my-agent -v").preparation().unwrap();
        assert_eq!(preparation.args, ["-v", "init"]);
    }
}
