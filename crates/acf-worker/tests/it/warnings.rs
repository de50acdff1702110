//! What the program `acf-worker` warns of before it begins.

use std::process::Command;

#[test]
fn what_the_settings_warn_of_is_said_at_the_start() {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_acf-worker"))
        .env_clear()
        .env("HOME", home.path())
        .env("PROJECT", "git:TODO.md")
        .env("GIT_REPO_URL", home.path().join("no-repository"))
        .env("GIT_TOKEN", "t-git")
        .env("AGENT", "script")
        .env("AGENT_ENV", "GIT_TOKEN")
        .current_dir(home.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("warning: AGENT_ENV gives agents GIT_TOKEN, which acf acts by"), "{said}");
    assert!(!said.contains("t-git"), "{said}");
}
