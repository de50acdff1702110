//! The program as people and scripts call it: exit codes, streams, names.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

/// Returns `acf` under that name, with an empty environment and a home of its own.
fn called(name: &str, home: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acf"));
    command.arg0(name).env_clear().env("HOME", home.path()).current_dir(home.path()).stdin(Stdio::null());
    command
}

fn run(name: &str, args: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    called(name, &home).args(args).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn the_version_is_data() {
    let output = run("acf", &["--version"]);
    assert_eq!(stdout(&output), concat!("acf ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}

#[test]
fn wrong_usage_exits_2_and_says_so_on_stderr() {
    for args in [&["wrokers"][..], &[], &["stop"], &["status", "--colour"]] {
        let output = run("acf", args);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""), "{args:?}");
        assert!(stderr(&output).contains("Usage: acf"), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_symlinks_name_decides_which_tool_it_is() {
    let output = run("/usr/local/bin/task-manager", &["--help"]);
    assert!(stdout(&output).contains("Usage: task-manager"), "{}", stdout(&output));
    let output = run("worker-builder", &["claude"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("comes with `acf image build`"), "{}", stderr(&output));
}

#[test]
fn a_failure_is_told_with_a_hint_and_without_colour_in_a_pipe() {
    let output = run("acf", &["logs", "3f9c"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    let told = "error: no worker `3f9c`\nhint: `acf status --all` lists all that are remembered\n";
    assert_eq!(stderr(&output), told);
}

#[test]
fn colour_is_used_when_it_is_asked_for() {
    let output = run("acf", &["--color", "always", "status"]);
    assert!(stdout(&output).contains('\u{1b}'), "{}", stdout(&output));
    assert!(!stdout(&run("acf", &["status"])).contains('\u{1b}'));
}

#[test]
fn without_a_home_it_is_said_what_to_set() {
    let home = tempfile::tempdir().unwrap();
    let output = called("acf", &home).env_remove("HOME").arg("status").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("HOME"), "{}", stderr(&output));
}

#[test]
fn looking_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    for args in [&["status"][..], &["workers"], &["stop", "--all"], &["status", "--json"]] {
        let output = called("acf", &home).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let home = tempfile::tempdir().unwrap();
    for args in [&["completions", "bash"][..], &["status"], &["--help"], &["no-such-verb"]] {
        let mut command = called("acf", &home);
        // Both ends of a pipe, the reading one closed before anything is written.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let is_help = args == ["--help"] || args == ["no-such-verb"];
        command.args(args).stdout(writer.try_clone().unwrap()).stderr(Stdio::piped());
        if is_help {
            command.stderr(writer);
        }
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        if let Some(stderr) = &mut child.stderr {
            stderr.read_to_string(&mut said).unwrap();
        }
        let code = child.wait().unwrap().code();
        assert!(code.is_some_and(|code| code == 0 || is_help && code == 2), "{args:?}: {code:?}");
        assert_eq!(said, "", "{args:?}");
    }
}

const EXPIRES_AT: i64 = 4_102_444_800_000; // the year 2100

fn tokens(expires_at: i64) -> String {
    format!(
        r#"{{"claudeAiOauth":{{"accessToken":"access-7919","refreshToken":"refresh-7919","expiresAt":{expires_at},"scopes":[],"subscriptionType":"max"}}}}"#
    )
}

/// Imports what Claude Code keeps in that home into its file `factory.env`.
fn imported(home: &tempfile::TempDir, credentials: Option<&str>) -> Output {
    let kept = home.path().join(".claude");
    fs::create_dir_all(&kept).unwrap();
    if let Some(credentials) = credentials {
        fs::write(kept.join(".credentials.json"), credentials).unwrap();
    }
    called("acf", home).args(["import-claude-credentials", "--env-file", "factory.env"]).output().unwrap()
}

#[test]
fn the_tokens_of_claude_come_into_the_env_file_for_its_owner_only() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("factory.env");
    fs::write(&file, "# mine\nAGENT=claude\nexport CLAUDE_REFRESH_TOKEN=old\n").unwrap();
    let output = imported(&home, Some(&tokens(EXPIRES_AT)));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let expected = "# mine\nAGENT=claude\nexport CLAUDE_REFRESH_TOKEN=refresh-7919\nCLAUDE_ACCESS_TOKEN=access-7919\n\
                    CLAUDE_TOKEN_EXPIRES_AT=4102444800000\nCLAUDE_SUBSCRIPTION_TYPE=max\n";
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!format!("{}{}", stdout(&output), stderr(&output)).contains("7919"));
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn an_access_token_that_cannot_be_renewed_is_taken_with_a_warning_and_no_refresh_token_stays() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("factory.env");
    fs::write(&file, "CLAUDE_REFRESH_TOKEN=of-another-login\n").unwrap();
    for without in [r#""""#, "null"] {
        let output = imported(&home, Some(&tokens(EXPIRES_AT).replace(r#""refresh-7919""#, without)));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let warning = "the access token ends on 2100-01-01T00:00:00Z and cannot be renewed";
        assert!(stderr(&output).contains(warning), "{}", stderr(&output));
        let written = fs::read_to_string(&file).unwrap();
        assert!(written.starts_with("CLAUDE_REFRESH_TOKEN=\n"), "{written}");
        assert!(written.contains("\nCLAUDE_ACCESS_TOKEN=access-7919\n"), "{written}");
    }
}

#[test]
fn tokens_are_not_put_behind_a_quote_that_does_not_end() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("factory.env");
    fs::write(&file, "AGENT=claude\nX='open\n").unwrap();
    let output = imported(&home, Some(&tokens(EXPIRES_AT)));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("in line 2: "), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), "AGENT=claude\nX='open\n");
}

#[test]
fn tokens_that_are_missing_malformed_or_expired_are_told_and_change_nothing() {
    let whole = tokens(EXPIRES_AT);
    for (credentials, told) in [
        (None, "Claude Code is not signed in here: there is no "),
        (Some("{"), "is malformed: it is no JSON"),
        (Some(r#"{"mcpOAuth":{}}"#), "holds no tokens of a Claude subscription"),
        (
            Some(r#"{"claudeAiOauth":{"accessToken":"access-7919"}}"#),
            "is malformed: its claudeAiOauth has no expiresAt",
        ),
        (Some(&whole.replace("access-7919", "")), "is malformed: its claudeAiOauth has no accessToken"),
        (Some(&whole.replace("4102444800000", "9223372036854775807")), "says no time at which"),
        (Some(&tokens(1_700_000_000_000)), "has expired, on 2023-11-14T22:13:20Z"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let output = imported(&home, credentials);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(told) && said.contains("\nhint: ") && !said.contains("7919"), "{said}");
        assert!(!home.path().join("factory.env").exists());
    }
    let expired = tokens(1_700_000_000_000).replace("refresh-7919", "");
    let said = stderr(&imported(&tempfile::tempdir().unwrap(), Some(&expired))).to_owned();
    assert!(said.contains("hint: there is nothing to renew it with"), "{said}");
    let output = run("acf", &["import-claude-credentials"]);
    assert!(
        stderr(&output).contains("hint: name it: acf import-claude-credentials --env-file"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn tokens_are_imported_from_a_file_into_a_file_and_from_or_into_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::write(at("tokens.json"), tokens(EXPIRES_AT)).unwrap();
    fs::create_dir(at("directory")).unwrap();
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let told = |into: &str, from: &str| {
        let mut command = called("acf", &home);
        command.args(["import-claude-credentials", "--env-file", into, "--from", from]);
        // A pipe that nobody closes: whoever reads from it waits.
        let (reader, _writer) = std::io::pipe().unwrap();
        let output = command.stdin(reader).output().unwrap();
        assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
        stderr(&output).to_owned()
    };
    for (wrong, what) in [
        ("directory", "a directory"),
        ("pipe", "a pipe"),
        ("socket", "a socket"),
        ("/dev/stdin", "a pipe"),
        ("/dev/null", "a device"),
    ] {
        let refusal = format!("error: {wrong} is {what}, and has to be a file\nhint: name ");
        for told in [told(wrong, "tokens.json"), told("factory.env", wrong)] {
            assert!(told.starts_with(&refusal), "{told}");
        }
    }
    assert!(!at("factory.env").exists());
    let output = called("acf", &home)
        .env("FACTORY_ENV_FILE", "pipe")
        .args(["import-claude-credentials", "--from", "tokens.json"])
        .output()
        .unwrap();
    assert!(stderr(&output).starts_with("error: pipe is a pipe"), "{}", stderr(&output));
}
