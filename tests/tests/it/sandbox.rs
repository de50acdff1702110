//! The sandbox itself: what every other end-to-end test takes for granted.

use std::time::Duration;

use acf_core::policy::Policy;
use acf_tests::sandbox::{PolicyFile, Sandbox};

#[test]
fn a_remote_begins_with_the_given_files_on_main() {
    let sandbox = Sandbox::builder()
        .file("check", "#!/bin/sh\nexit 0\n")
        .file("docs/a b.md", "two words\n")
        .todo("- [ ] an issue\n")
        .build();

    assert_eq!(sandbox.log(), ["First commit"]);
    assert_eq!(sandbox.refs("refs/"), ["refs/heads/main"]);
    assert_eq!(sandbox.file_at("main", "docs/a b.md").as_deref(), Some("two words\n"));
    assert_eq!(sandbox.file_at("main", "TODO.md"), None);
    assert_eq!(sandbox.todo_text(), "- [ ] an issue\n");
    assert!(sandbox.git(&["ls-tree", "main", "check"]).starts_with("100755 "));
}

#[test]
fn commands_see_the_sandbox_and_not_the_machine() {
    let sandbox = Sandbox::builder().build();

    let output = sandbox.command("env").output().unwrap();

    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<_> = text.lines().filter_map(|line| line.split('=').next()).collect();
    let unexpected: Vec<_> = names
        .iter()
        .filter(|name| !(["PATH", "HOME", "LC_ALL"].contains(name) || name.starts_with("GIT_")))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    assert!(text.contains(&format!("HOME={}\n", sandbox.home().display())), "{text}");
}

#[test]
fn a_clone_pushes_to_the_remote() {
    let sandbox = Sandbox::builder().build();
    let clone = sandbox.clone_to("clone");

    sandbox.git_in(&clone, &["commit", "--quiet", "--allow-empty", "--message=Second commit"]);
    sandbox.git_in(&clone, &["push", "--quiet", "origin", "HEAD:main"]);

    assert_eq!(sandbox.log(), ["Second commit", "First commit"]);
}

#[test]
fn the_policy_file_is_read_as_it_was_written() {
    let file = PolicyFile::new()
        .setup("npm ci")
        .verify(r#"test "$(cat state)" = 'a\b'"#)
        .max_fixes(7)
        .regate("never")
        .timeout("agent", "90s");

    let policy = Policy::parse(&file.to_toml()).unwrap();

    assert_eq!(policy.setup, ["npm ci"]);
    assert_eq!(policy.verify, [r#"test "$(cat state)" = 'a\b'"#]);
    assert_eq!(policy.max_fixes, 7);
    assert_eq!(policy.timeouts.agent, Some(Duration::from_secs(90)));
    assert_eq!(Policy::parse(&PolicyFile::new().to_toml()).unwrap(), Policy::default());
}
