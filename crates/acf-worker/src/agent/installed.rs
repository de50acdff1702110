//! Finds an agent's program before an issue is claimed for it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use acf_core::agent::{Agent, AgentError};

/// The most of a program that is read to find its interpreter: what Linux itself reads.
const FIRST_LINE: u64 = 256;
/// What a program that was compiled begins with.
const ELF: &[u8] = b"\x7fELF";

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
        let candidates = || std::env::split_paths(path).map(|directory| directory.join(program));
        let is_here = agent.name() == "command" && program.is_file();
        match candidates().find(|candidate| is_executable(candidate)) {
            Some(found) => found,
            None if is_here => {
                let why = format!("is in the current directory, but not on PATH: write ./{}", shown());
                return Err(unusable(why));
            }
            None => match candidates().find(|candidate| candidate.is_file()) {
                Some(file) => {
                    let file = file.display();
                    return Err(unusable(format!("is at {file}, but not executable: chmod +x makes it so")));
                }
                None => return Err(AgentError::NotInstalled { program: shown() }),
            },
        }
    };
    match why_no_script(&found, path) {
        Some(why) => Err(unusable(why)),
        None => Ok(()),
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Says why a script cannot be started, if that is what a program is and what will happen to it.
fn why_no_script(program: &Path, path: &OsStr) -> Option<String> {
    let mut start = Vec::new();
    File::open(program).ok()?.take(FIRST_LINE).read_to_end(&mut start).ok()?;
    let Some(line) = start.strip_prefix(b"#!") else {
        // Other kinds of programs may be known to the system; none of them is text.
        let is_program = start.starts_with(ELF) || start.contains(&0);
        let why = "is a script that does not say what runs it: begin its first line with #!, as in #!/bin/sh";
        return (!is_program).then(|| why.to_owned());
    };
    let line = String::from_utf8_lossy(line.split(|&byte| byte == b'\n').next()?);
    // A carriage return belongs to the name, as the system sees it.
    let line = line.trim_matches([' ', '\t']);
    let (interpreter, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    if interpreter.is_empty() {
        return Some("names nothing that runs it after its #!: write it like #!/bin/sh".to_owned());
    }
    if !Path::new(interpreter).exists() {
        return Some(format!("is a script for {interpreter:?}, which does not exist"));
    }
    let is_env = Path::new(interpreter).file_name().is_some_and(|name| name == "env");
    let name = argument.trim_start_matches([' ', '\t']);
    if !is_env || name.is_empty() || name.starts_with('-') || name.contains(['=', '/']) {
        return None;
    }
    let is_there = std::env::split_paths(path).any(|directory| is_executable(&directory.join(name)));
    // All that stands behind `env` is one argument.
    let hint = if name.contains([' ', '\t']) { "; #!/usr/bin/env -S takes arguments, too" } else { "" };
    (!is_there).then(|| format!("is a script for {name:?}, which is not on PATH{hint}"))
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
        let told = |name: &str| {
            let agent = Command::new(name.into(), Vec::new(), Access::default());
            check_installed(&agent, dir.path().as_ref()).unwrap_err().to_string()
        };
        let notes = dir.path().join("notes");
        let expected = format!("`notes` is at {}, but not executable: chmod +x makes it so", notes.display());
        assert_eq!(told("notes"), format!("the agent's program {expected}"));
        assert_eq!(told("directory"), "the agent's program `directory` is not on PATH");
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
        std::fs::write(dir.path().join("agent"), "").unwrap();
        assert!(told("agent").contains("` is not executable"), "{}", told("agent"));
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path().join("agent"), executable).unwrap();
        for (start, words) in [
            ("#!/bin/nosh\r\n", r#"is a script for "/bin/nosh\r", which does not exist"#),
            ("#!/usr/bin/env nosh\n", r#"is a script for "nosh", which is not on PATH"#),
            (
                "#!/usr/bin/env sh -e\n",
                r#"is a script for "sh -e", which is not on PATH; #!/usr/bin/env -S takes arguments, too"#,
            ),
            ("#!\necho\n", "names nothing that runs it after its #!: write it like #!/bin/sh"),
            ("echo hello\n", "begin its first line with #!, as in #!/bin/sh"),
            ("", "begin its first line with #!, as in #!/bin/sh"),
        ] {
            std::fs::write(dir.path().join("agent"), start).unwrap();
            assert!(told("agent").ends_with(words), "{}", told("agent"));
        }
    }

    #[test]
    fn scripts_that_can_be_started_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        for start in [
            "#!/bin/sh\n",
            "#! /bin/sh -e",
            "#!/usr/bin/env sh\n",
            "#!/usr/bin/env -S sh -e\n",
            "\x7fELF",
            "MZ\0",
        ] {
            std::fs::write(dir.path().join("agent"), start).unwrap();
            let executable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(dir.path().join("agent"), executable).unwrap();
            let agent = Command::new(dir.path().join("agent"), Vec::new(), Access::default());
            check_installed(&agent, "/bin".as_ref()).unwrap_or_else(|error| panic!("{start}: {error}"));
        }
    }

    #[test]
    fn the_scripted_agent_is_always_there() {
        check_installed(&Script::new().unwrap(), "".as_ref()).unwrap();
    }
}
