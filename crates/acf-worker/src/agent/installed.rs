//! Finds an agent's program before an issue is claimed for it.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use acf_core::agent::{Agent, AgentError};

/// Checks that the agent's program is there, on `path`, the `PATH` that the agent will have.
///
/// # Errors
/// [`AgentError::NotInstalled`] if it is not, or cannot be executed.
pub fn check_installed(agent: &dyn Agent, path: &OsStr) -> Result<(), AgentError> {
    let program = agent.program();
    let has_directory = program.components().count() > 1;
    let found = if has_directory {
        is_executable(program)
    } else {
        std::env::split_paths(path).any(|directory| is_executable(&directory.join(program)))
    };
    if found { Ok(()) } else { Err(AgentError::NotInstalled { program: program.display().to_string() }) }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::super::{Access, Command, Script};
    use super::*;

    fn is_installed(command_line: &str, path: &str) -> bool {
        check_installed(&Command::new(command_line.into(), Vec::new(), Access::default()), path.as_ref())
            .is_ok()
    }

    #[test]
    fn a_program_is_looked_for_on_the_agents_path_and_not_elsewhere() {
        assert!(is_installed("sh", "/nowhere:/bin"));
        assert!(!is_installed("sh", "/nowhere"));
        assert!(!is_installed("sh", ""));
        assert!(is_installed("/bin/sh", ""));
    }

    #[test]
    fn what_cannot_be_executed_is_no_program() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("notes"), "").unwrap();
        std::fs::create_dir(dir.path().join("directory")).unwrap();
        for name in ["notes", "directory"] {
            assert!(!is_installed(name, dir.path().to_str().unwrap()), "{name}");
        }
    }

    #[test]
    fn a_missing_program_is_named() {
        let missing = Command::new("no-such-agent".into(), Vec::new(), Access::default());
        let error = check_installed(&missing, "/bin".as_ref()).unwrap_err();
        assert_eq!(error.to_string(), "the agent's program `no-such-agent` is not on PATH");
    }

    #[test]
    fn the_scripted_agent_is_always_there() {
        check_installed(&Script::new().unwrap(), "".as_ref()).unwrap();
    }
}
