//! Agents that run as another, unprivileged user: they do their work, and reach nothing of the worker's.
//!
//! Only root can run them so. Where the tests are not root, what is tested is that this is said.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use acf_tests::factory::Factory;
use acf_tests::sandbox::{PolicyFile, Sandbox};

/// A user without rights that every machine has.
const NOBODY: &str = "nobody";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns a factory whose worker is root in earnest, and whose agents are to be `nobody`; the sandbox can
/// be entered by everyone.
fn told(policy: &PolicyFile, directives: &[&str]) -> Factory {
    let lines: String = directives.iter().map(|line| format!("  {line}\n")).collect();
    let sandbox = Sandbox::builder().policy(policy).todo(&format!("- [ ] a\n{lines}")).build();
    fs::set_permissions(sandbox.root(), fs::Permissions::from_mode(0o755)).unwrap();
    Factory::of(sandbox).with("MAX_ATTEMPTS", "1").with("ACF_AGENT_USER", NOBODY).without_rights("")
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not said in:\n{text}");
    }
}

#[track_caller]
fn assert_landed(factory: &Factory) {
    let runs = factory.runs("TODO-1");
    assert_eq!(runs.last().unwrap()["outcome"], "landed", "{runs:?}");
}

fn file(factory: &Factory, path: &str) -> String {
    factory.sandbox().file_at("main", path).unwrap_or_default()
}

#[test]
fn agent_set_up_and_gate_run_as_that_user_in_a_home_of_its_own() {
    let policy = PolicyFile::new()
        .setup("test \"$(id -un)\" = nobody && touch set-up")
        .verify("test \"$(id -un)\" = nobody && test -e set-up && test -w . && test -w \"$HOME\"");
    let factory = told(
        &policy,
        &[
            "@sh id -un > who.txt; id -G > groups.txt; echo \"$USER $LOGNAME\" >> who.txt",
            "@sh echo x > \"$HOME/notes\" && stat -c %a:%U \"$HOME\" > home.txt",
            "@sh git log --format=%s > log.txt && git add -A && git -c user.name=n -c user.email=e commit -qm mine",
        ],
    );
    if !is_root() {
        assert_says(
            &factory.drain().refused(1),
            &["cannot run agents as `nobody`", "hint: start the worker as root"],
        );
        return;
    }

    factory.drain().done();

    assert_landed(&factory);
    assert_eq!(file(&factory, "who.txt"), "nobody\nnobody nobody\n");
    assert_eq!(file(&factory, "groups.txt"), "65534\n", "no group of root's is left");
    assert_eq!(file(&factory, "home.txt"), "700:nobody\n");
    assert_eq!(file(&factory, "log.txt"), "First commit\n");
    assert!(factory.sandbox().git(&["log", "-1", "--format=%B", "main"]).contains("mine"));
    assert_eq!(factory.left_running(), [""; 0]);
    let left: Vec<_> = fs::read_dir(factory.checkouts()).unwrap().flatten().collect();
    assert!(left.is_empty(), "home and checkout are removed: {left:?}");
}

#[test]
fn an_agent_reaches_nothing_of_the_workers() {
    if !is_root() {
        return;
    }
    let tries = "@sh guard=$(awk '/^PPid/ { print $2 }' /proc/$PPID/status); { cat \"$SECRET\"; \
        touch \"$(cat .git/objects/info/alternates)/mine\"; rm -rf ../index; kill -9 $guard; \
        cat /proc/$guard/environ; touch \"$ROOT/mine\"; ls \"$ROOT/home\"; } > tries.txt 2>&1; true";
    let factory = told(&PolicyFile::new(), &[tries]);
    let (root, secret) = (factory.sandbox().root().to_owned(), factory.sandbox().root().join("secret"));
    fs::write(&secret, "canary-7919").unwrap();
    for private in [&secret, &factory.sandbox().home()] {
        fs::set_permissions(private, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let factory = factory.with("SECRET", secret.to_str().unwrap()).with("ROOT", root.to_str().unwrap());

    factory.drain().done();

    assert_landed(&factory);
    let tries = file(&factory, "tries.txt").to_lowercase();
    let refusals = tries.matches("permission denied").count() + tries.matches("not permitted").count();
    assert!(refusals >= 6 && !tries.contains("canary"), "{tries}");
    assert!(!root.join("mine").exists());
}

#[test]
fn the_gate_has_a_home_of_its_own() {
    if !is_root() {
        return;
    }
    let plant = "@sh mkdir -p \"$HOME/.local/bin\" && touch \"$HOME/.local/bin/check\" && touch a.txt";
    let policy = PolicyFile::new().verify("test -w \"$HOME\" && test ! -e \"$HOME/.local/bin/check\"");
    let factory = told(&policy, &[plant]);
    factory.drain().done();
    assert_landed(&factory);
    let left: Vec<_> = fs::read_dir(factory.checkouts()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_agent_that_the_user_cannot_run_is_told_before_any_claim() {
    if !is_root() {
        return;
    }
    let factory = told(&PolicyFile::new(), &[]).agent("true");
    let private = factory.sandbox().root().join("private");
    fs::create_dir(&private).unwrap();
    fs::rename(factory.sandbox().root().join("agent"), private.join("agent")).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    let factory = factory.with("AGENT_COMMAND", private.join("agent").to_str().unwrap());
    assert_says(&factory.drain().refused(1), &["cannot be run by `nobody`", "hint: install it where"]);
    assert_eq!(factory.claims(), [""; 0]);
}

#[test]
fn work_goes_on_over_rounds_and_runs_whoever_owns_the_files() {
    if !is_root() {
        return;
    }
    let half = "@sh test -e half.txt || { mkdir -m 700 deep && echo x > deep/half.txt && chmod 600 deep/half.txt; \
        echo half > half.txt; echo '{\"event\":\"out_of_turns\"}'; exit 1; }";
    let policy = PolicyFile::new().verify("test -e fixed.txt && test -r deep/half.txt");
    let factory = told(
        &policy,
        &[half, "@sh echo more >> half.txt", "@fix sh echo F >> half.txt && echo F > fixed.txt"],
    );
    let factory = factory.with("MAX_ATTEMPTS", "2");

    factory.drain().done();

    assert_landed(&factory);
    assert_eq!(file(&factory, "half.txt"), "half\nmore\nF\n");
    assert_eq!(factory.runs("TODO-1")[1]["receipt"]["fix_rounds"], 1);
}

#[test]
fn no_file_of_roots_is_written_through_what_an_agent_left() {
    if !is_root() {
        return;
    }
    // The trunk moves under the agent's feet, so that acf writes the checkout, and its `.git`, anew.
    let move_trunk = "@sh git clone -q \"$REMOTE\" \"$HOME/c\" && cd \"$HOME/c\" && echo other > a.txt && git add -A && \
        git -c user.name=n -c user.email=e commit -qm other && git push -q";
    let trap =
        "@sh rm .git/config .git/index && ln -s \"$VICTIM\" .git/config && ln -s \"$VICTIM\" .git/index";
    let factory = told(&PolicyFile::new(), &["@write a.txt mine", move_trunk, trap, "@fix write a.txt both"]);
    let victim = factory.sandbox().root().join("victim");
    fs::write(&victim, "root's").unwrap();
    let remote = factory.sandbox().remote();
    factory.sandbox().git(&["config", "safe.directory", "*"]);
    // Objects that the worker pushes may lie in the directories that the agent's are to go to.
    factory.sandbox().git(&["config", "core.sharedRepository", "0666"]);
    for entry in walk(&remote) {
        std::os::unix::fs::chown(&entry, Some(65534), Some(65534)).unwrap();
    }
    fs::write(factory.sandbox().home().join(".gitconfig"), "[safe]\n\tdirectory = *\n").unwrap();
    let url = factory.sandbox().remote_url();
    let factory = factory.with("VICTIM", victim.to_str().unwrap()).with("REMOTE", url);

    factory.drain().done();

    assert_landed(&factory);
    assert_eq!(file(&factory, "a.txt"), "both\n");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "root's");
    assert!(fs::metadata(&victim).unwrap().uid() == 0);
}

/// Returns a directory and everything below it.
fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![directory.to_owned()];
    let mut next = 0;
    while next < found.len() {
        if found[next].is_dir() {
            let entries: Vec<_> =
                fs::read_dir(&found[next]).unwrap().flatten().map(|entry| entry.path()).collect();
            found.extend(entries);
        }
        next += 1;
    }
    found
}

#[test]
fn what_keeps_agents_from_running_so_is_said_before_any_claim() {
    if !is_root() {
        return;
    }
    let policy = PolicyFile::new();
    let refused = |factory: &Factory| {
        let said = factory.drain().refused(1);
        assert_eq!(factory.claims(), [""; 0]);
        said
    };
    let factory = told(&policy, &[]).without_rights("-setuid,-setgid");
    assert_says(&refused(&factory), &["cannot run agents as `nobody`", "hint: start the worker as root"]);

    let factory = told(&policy, &[]);
    fs::set_permissions(factory.sandbox().root(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_says(&refused(&factory), &["`nobody` cannot enter", "checkouts", "hint: set LOOP_WORK_DIR"]);

    let factory = told(&policy, &[]).with("ACF_AGENT_USER", "no-such-user");
    assert_says(&refused(&factory), &["there is no user `no-such-user`", "useradd"]);
    let factory = told(&policy, &[]).with("ACF_AGENT_USER", "root");
    assert_says(&refused(&factory), &["`root` is root"]);
}
