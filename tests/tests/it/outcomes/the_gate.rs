//! What the gate lets pass, and what not.

use super::*;

#[test]
fn that_does_not_exist_is_warned_of_once_and_stands_in_the_receipt() {
    let none = "none: the repository has no checks in .acf/config.toml";
    for sandbox in [Sandbox::builder(), Sandbox::builder().policy(&PolicyFile::new())] {
        let factory = Factory::of(sandbox.todo("- [ ] a\n- [ ] b\n").build());
        let said = factory.drain().done().stderr;
        assert_eq!(said.matches("work lands unchecked: ").count(), 1, "{said}");
        assert_says(&factory.acf(&["runs", "TODO-1"]).done().stdout, &[&format!("  gate     {none}\n")]);
    }
}

#[track_caller]
fn assert_not_passed(verify: &str, directives: &[&str]) {
    let policy = PolicyFile::new().verify(verify).max_fixes(0);
    let lines: String = directives.iter().map(|line| format!("  {line}\n")).collect();
    let sandbox = Sandbox::builder().policy(&policy).todo(&format!("- [ ] a\n{lines}"));
    let sandbox = sandbox.file(".gitignore", "build/\nnode_modules/\n*.local\n").build();
    let factory = Factory::of(sandbox).with("MAX_ATTEMPTS", "1").with("RETRY_BACKOFF", "1h");
    factory.drain().refused(1);
    assert_eq!(ends(&factory, "TODO-1"), ["base_fails_gate"], "{directives:?}");
    assert_eq!(factory.sandbox().log(), ["First commit"]);
}

#[test]
fn is_not_passed_by_files_that_are_ignored() {
    assert_not_passed("test -e build/ok", &["@write a.txt A", "@write build/ok x"]);
    assert_not_passed("test -e my.local", &["@write a.txt A", "@write my.local x"]);
    let exclude =
        "@sh echo ok.txt >> .git/info/exclude; git config core.excludesFile \"$PWD/x\"; echo ok2.txt > x";
    assert_not_passed("test -e missing && test -e ok.txt", &["@write ok.txt x", exclude]);
}

#[test]
fn is_not_passed_by_what_was_installed() {
    let install = "@sh mkdir -p node_modules/.bin && ln -s /bin/true node_modules/.bin/checker";
    assert_not_passed("PATH=$PWD/node_modules/.bin:$PATH checker", &["@write a.txt A", install]);
    // As `npm install --prefix ..` would do it: modules are looked for in the directories above, too.
    let above = "@sh mkdir -p ../node_modules && touch ../node_modules/ok ../ok";
    assert_not_passed("test -e ../node_modules/ok || test -e ../ok", &["@write a.txt A", above]);
    let old_gate = "@sh mkdir -p ../gate/build && touch ../gate/build/ok";
    assert_not_passed("test -e build/ok", &["@write a.txt A", old_gate]);
}

#[test]
fn is_not_passed_by_what_was_installed_in_a_home_where_it_has_a_new_one() {
    let install = "@sh mkdir -p \"$HOME/.local\" && echo me > \"$HOME/.local/ok\"";
    let ends_with = |home: &str| {
        let policy = PolicyFile::new().verify("test -e \"$HOME/.local/ok\"").max_fixes(0).gate_home(home);
        let factory = told_with(&policy, &[&["@write a.txt A", install]]).with("RETRY_BACKOFF", "1h");
        assert_eq!(factory.drain().code == Some(0), home == "worker");
        let left: Vec<_> = std::fs::read_dir(factory.checkouts()).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        ends(&factory, "TODO-1")
    };
    assert_eq!(ends_with("new"), ["base_fails_gate"]);
    assert_eq!(ends_with("worker"), ["landed"], "the home of its user, with the tools in it");
}

#[test]
fn has_nothing_in_a_new_home_that_leads_to_the_old_one() {
    let lost = "test -d \"$HOME\" && test -z \"$(ls -A \"$HOME\")\" && test -z \"$XDG_CACHE_HOME$TMPDIR\"";
    let kept = "mkdir -m 500 \"$HOME/read-only\"";
    let policy = PolicyFile::new().verify(lost).verify(kept).gate_home("new");
    let factory =
        told_with(&policy, &[&["@write a.txt A"]]).with("XDG_CACHE_HOME", "/nowhere").with("TMPDIR", "/tmp");
    factory.drain().done();
    assert_eq!(ends(&factory, "TODO-1"), ["landed"]);
}

#[test]
fn is_not_passed_by_what_the_agents_repository_does() {
    let hook =
        "@sh printf '#!/bin/sh\\ntouch ok\\n' > .git/hooks/post-checkout; chmod +x .git/hooks/post-checkout";
    assert_not_passed("test -e ok", &["@write a.txt A", "@sh mkdir -p .git/hooks", hook]);
    let hidden = "@sh git add -f build/ok && git stash";
    assert_not_passed("test -e build/ok", &["@write build/ok x", hidden, "@write a.txt A"]);
}
