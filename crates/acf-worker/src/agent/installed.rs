//! Finds an agent's program before an issue is claimed for it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use acf_core::agent::{Agent, AgentError};

/// The most of a program that is read to find its interpreter: what Linux itself reads.
const FIRST_LINE: u64 = 256;

/// Checks that the agent's program is there, on `path`, the `PATH` that the agent will have, and can be started.
///
/// # Errors
/// [`AgentError::NotInstalled`], [`AgentError::Unusable`].
pub fn check_installed(agent: &dyn Agent, path: &OsStr) -> Result<(), AgentError> {
    let program = agent.program();
    let shown = || program.display().to_string();
    let unusable = |why| AgentError::Unusable { program: shown(), why };
    let has_directory = program.components().count() > 1;
    let found = if has_directory {
        match program.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(unusable("does not exist".to_owned()));
            }
            Err(error) => return Err(unusable(format!("cannot be looked at: {error}"))),
            Ok(metadata) if !metadata.is_file() => return Err(unusable("is no file".to_owned())),
            Ok(_) if !is_executable(program) => {
                return Err(unusable("is not executable: chmod +x makes it so".to_owned()));
            }
            Ok(_) => program.to_owned(),
        }
    } else {
        let mut candidates = std::env::split_paths(path).map(|directory| directory.join(program));
        let found = candidates.find(|candidate| is_executable(candidate));
        found.ok_or_else(|| AgentError::NotInstalled { program: shown() })?
    };
    match interpreter(&found) {
        Some(missing) if !Path::new(&missing).exists() => {
            Err(unusable(format!("is a script for {missing:?}, which does not exist")))
        }
        _ => Ok(()),
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Returns the interpreter that a script names in its first line.
fn interpreter(program: &Path) -> Option<String> {
    let mut start = Vec::new();
    File::open(program).ok()?.take(FIRST_LINE).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    // A carriage return belongs to the name, as the system sees it.
    Some(line.trim_start_matches([' ', '\t']).split([' ', '\t']).next()?.to_owned())
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
    fn a_program_by_its_path_that_cannot_be_started_is_told_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let told = |name: &str| {
            let path = dir.path().join(name);
            let error = check_installed(&Command::new(path, Vec::new(), Access::default()), "".as_ref());
            error.unwrap_err().to_string()
        };
        assert!(told("missing").ends_with("/missing` does not exist"), "{}", told("missing"));
        std::fs::write(dir.path().join("agent"), "#!/bin/nosh\r\n").unwrap();
        assert!(told("agent").contains("` is not executable"), "{}", told("agent"));
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path().join("agent"), executable).unwrap();
        let words = r#"is a script for "/bin/nosh\r", which does not exist"#;
        assert!(told("agent").ends_with(words), "{}", told("agent"));
    }

    #[test]
    fn the_scripted_agent_is_always_there() {
        check_installed(&Script::new().unwrap(), "".as_ref()).unwrap();
    }
}
