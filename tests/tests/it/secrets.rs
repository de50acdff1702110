//! Runs that fail at every step, with canaries for secrets: none of them comes out anywhere.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use acf_tests::canary::Canaries;
use acf_tests::factory::Factory;
use acf_tests::git_http::GitHttp;
use acf_tests::sandbox::{PolicyFile, Sandbox};

const GIT: &str = "canary-of-git-1f2e3d4c";
const GITHUB: &str = "ghp_canaryOfGitHub5a6b7c8d";
const JIRA: &str = "ATATTcanaryOfJira9e8f7a6b";

/// What an agent or a check can find out about its environment.
const ASKS: &str =
    "env; tr '\\0' '\\n' </proc/self/environ; git config --list --show-origin; cat .git/config";

/// A step at which a run fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Credentials,
    Setup,
    Agent,
    Gate,
    Push,
    Nowhere,
}

/// Runs a worker with every secret set until it is idle, over HTTP with a password, and returns what it said.
fn run(step: Step) -> (Factory, GitHttp, String) {
    let asks_and =
        |fails: bool| format!("sh -c \"{ASKS}; exit {}\"", u8::from(fails)).replace("\\0", "\\\\0");
    let policy =
        PolicyFile::new().setup(&asks_and(step == Step::Setup)).verify(&asks_and(step == Step::Gate));
    let sandbox = Sandbox::builder().todo("- [ ] a\n").policy(&policy.max_fixes(1)).build();
    if step == Step::Push {
        let hook = sandbox.remote().join("hooks/update");
        fs::write(&hook, "#!/bin/sh\ncase $1 in refs/heads/*) env >&2; exit 1 ;; esac\n").unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let password = if step == Step::Credentials { "another one" } else { GIT };
    let server = GitHttp::start(sandbox.root(), "worker", password);
    let url = server.url("remote.git");
    let factory = Factory::of(sandbox)
        .agent(&format!("{ASKS}; echo A > a.txt; exit {}", u8::from(step == Step::Agent)))
        .with("GIT_REPO_URL", url.replacen("http://", &format!("http://worker:{GIT}@"), 1))
        .with("GH_TOKEN", GITHUB)
        .with("JIRA_TOKEN", JIRA)
        .with("COPY_OF_A_TOKEN", format!("prefix-{GITHUB}-suffix"))
        .with("ACF_LOG", "debug")
        .with("MAX_ATTEMPTS", "1");
    let told = factory.drain();
    let goes_on = matches!(step, Step::Agent | Step::Push | Step::Nowhere);
    assert_eq!(told.code == Some(0), goes_on, "{step:?}: {}", told.stderr);
    let said = [told.stdout, told.stderr, factory.acf(&["runs", "TODO-1"]).stderr].concat()
        + &factory.acf(&["runs", "TODO-1", "--json"]).stdout
        + &factory.acf(&["config"]).stdout;
    (factory, server, said)
}

#[test]
fn no_secret_comes_out_whichever_step_of_a_run_fails() {
    let canaries = Canaries::new(&[GIT, GITHUB, JIRA]);
    for step in [Step::Credentials, Step::Setup, Step::Agent, Step::Gate, Step::Push, Step::Nowhere] {
        let watch = canaries.watch_command_lines();
        let (factory, _server, said) = run(step);
        assert_eq!(watch.ended(), [""; 0], "{step:?}: command lines");
        assert_eq!(canaries.in_text(said.as_bytes()), [""; 0], "{step:?}: {said}");
        assert_eq!(canaries.on_disk(factory.sandbox()), [""; 0], "{step:?}: on disk");
        let asked = said.matches("/proc/self").count() + said.matches("HOME=").count();
        assert_eq!(asked > 0, step != Step::Credentials, "{step:?}: nobody asked: {said}");
        let todo = factory.sandbox().todo_text();
        let ended_well = matches!(step, Step::Nowhere);
        assert_eq!(todo.starts_with("- [x] a"), ended_well, "{step:?}: {todo}\n{said}");
    }
}

/// Who runs a worker that knows secrets by its env file only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Foreground,
    Detached,
}

#[test]
fn no_secret_of_an_env_file_comes_out_of_a_worker_wherever_it_runs() {
    const CLOUD: &str = "canary-of-the-cloud-7e6d5c4b";
    const OTHER: &str = "ghp_canaryOfAnotherProgram3f2e";
    let canaries = Canaries::new(&[CLOUD, OTHER]);
    // The search does not reach it there.
    let elsewhere = tempfile::tempdir().unwrap();
    let env_file = elsewhere.path().join("e.env");
    fs::write(&env_file, format!("AWS_SECRET_ACCESS_KEY={CLOUD}\nGITHUB_TOKEN={OTHER}\n")).unwrap();
    let env_file = env_file.to_str().unwrap();
    for by in [By::Foreground, By::Detached] {
        let factory = Factory::with_todo("- [ ] a\n- [ ] b\n")
            .agent(&format!(
                "cat {env_file}; env; cut -d= -f2 {env_file} > a.txt; case $prompt in *TODO-2*) rm a.txt; echo b > b.txt ;; esac"
            ))
            .with("ACF_LOG", "debug")
            .with("MAX_ATTEMPTS", "1");
        let watch = canaries.watch_command_lines();
        let said = match by {
            By::Foreground => {
                factory.acf(&["--env-file", env_file, "worker", "--exit-when-idle"]).done().stderr
            }
            By::Detached => {
                let started = factory.acf(&["--env-file", env_file, "workers", "1"]).done().stdout;
                let id = started.split_whitespace().find(|word| word.starts_with("w-")).unwrap();
                factory.waits_for("both runs", || {
                    let todo = factory.sandbox().todo_text();
                    (todo.contains("acf-blocked") && todo.contains("- [x] b")).then_some(())
                });
                factory.acf(&["stop", "--all"]).done();
                factory.acf(&["logs", id]).done().stdout
            }
        };
        assert_eq!(watch.ended(), [""; 0], "{by:?}: command lines");
        assert_eq!(canaries.in_text(said.as_bytes()), [""; 0], "{by:?}: {said}");
        let mut places = canaries.on_disk(factory.sandbox());
        // The snapshot that was searched is there until git's own tidying.
        places.retain(|place| !place.contains("/work/mirrors/"));
        assert_eq!(places, [""; 0], "{by:?}: on disk");
        assert!(said.contains("AWS_SECRET_ACCESS_KEY=***"), "{by:?}: the agent found nothing: {said}");
        let (kind, reason) = factory.failure("TODO-1");
        assert_eq!(kind, "unpublishable", "{by:?}: {reason}");
        assert_eq!(factory.runs("TODO-2")[0]["outcome"], "landed", "{by:?}");
    }
}

#[test]
fn the_search_for_canaries_finds_them() {
    // Canaries of its own: the other tests watch the same machine.
    const IN_GIT: &str = "decoy-in-git";
    const IN_A_FILE: &str = "decoy-in-a-file";
    const ON_A_COMMAND_LINE: &str = "decoy-in-argv";
    let sandbox = Sandbox::builder().file("leak.txt", format!("token: {IN_GIT}\n")).build();
    fs::write(sandbox.root().join("worker.log"), format!("Authorization: Bearer {IN_A_FILE}\n")).unwrap();
    let canaries = Canaries::new(&[IN_GIT, IN_A_FILE, ON_A_COMMAND_LINE]);
    let places = canaries.on_disk(&sandbox);
    assert!(
        places.iter().any(|place| place.starts_with(IN_GIT) && place.contains("objects of")),
        "{places:?}"
    );
    assert!(
        places.iter().any(|place| place.starts_with(IN_A_FILE) && place.ends_with("worker.log")),
        "{places:?}"
    );
    assert_eq!(places.len(), 2, "{places:?}");

    let watch = canaries.watch_command_lines();
    let named = format!("user.name={ON_A_COMMAND_LINE}");
    let mut leak = sandbox.command("git");
    // It waits for its input until the watch has seen it.
    let mut leak = leak
        .args(["-c", &named, "hash-object", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while watch.seen().is_empty() {
        std::thread::yield_now();
    }
    drop(leak.stdin.take());
    leak.wait().unwrap();
    assert!(watch.ended()[0].contains(ON_A_COMMAND_LINE));
}
