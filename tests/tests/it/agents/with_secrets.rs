//! Agents that come by a secret: it is neither published nor kept nor passed on.

use super::*;

const CANARIES: [&str; 5] = ["GIT_TOKEN", "JIRA_TOKEN", "AWS_SECRET_ACCESS_KEY", "GH_TOKEN", "INNOCENT_NAME"];

#[test]
fn no_secret_of_the_environment_is_anywhere() {
    let factory = told_with(
        &PolicyFile::new().setup("env").verify("env; cat /proc/$PPID/environ; test -f fixed.txt"),
        &[
            "@sh env | tee env.txt; env >&2; cat /proc/$PPID/environ /proc/self/environ > environ.txt",
            "@fix sh env; cp env.txt fixed.txt",
        ],
    );
    // The innocent name holds the same secret as the token.
    let value =
        |name: &str| format!("canary-{}-{}", if name == "INNOCENT_NAME" { "GIT_TOKEN" } else { name }, 7919);
    let factory = CANARIES.iter().fold(factory, |factory, name| factory.with(name, value(name)));

    let said = factory.drain().done();

    assert_eq!(assert_landed(&factory), ["env.txt", "environ.txt", "fixed.txt"]);
    assert_says(&factory.sandbox().file_at("main", "env.txt").unwrap(), &["PATH=", "HOME="]);
    let shown = [&["config"][..], &["config", "--json"], &["runs", "--json"], &["runs", "TODO-1"]];
    let mut told = vec![said.stderr, factory.sandbox().todo_text()];
    told.extend(shown.map(|verb| factory.acf(verb).done().stdout));
    let objects = factory.sandbox().git(&["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    told.extend(objects.lines().map(|object| {
        let output = factory.sandbox().git_output(&factory.sandbox().remote(), &["cat-file", "-p", object]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }));
    for text in &told {
        assert!(!text.contains("canary-"), "{text}");
    }
    assert_eq!(files_with("canary-", factory.sandbox().root()), NOTHING);
}

/// Says what an agent says that has found the token, though nobody told it.
const FOUND: &str = "printf '%s-%s' canary 7919";

fn agent_that_found_the_token(script: &str) -> Factory {
    Factory::with_todo("- [ ] a\n").agent(script).with("GIT_TOKEN", "canary-7919").with("MAX_ATTEMPTS", "1")
}

#[track_caller]
fn assert_unpublishable(factory: &Factory, path: &str) {
    factory.drain().done();
    let (kind, reason) = factory.failure("TODO-1");
    let expected = format!("`{path}` holds the value of GIT_TOKEN, which is a secret");
    assert_eq!((kind.as_str(), reason.contains(&expected)), ("unpublishable", true), "{reason}");
    assert_eq!(factory.sandbox().refs("refs/acf/wip/"), NOTHING, "not even kept");
    assert_eq!(files_with("canary-7919", factory.sandbox().root()), NOTHING);
    assert_nothing_left(factory);
}

#[test]
fn one_that_writes_a_token_into_a_file_publishes_nothing() {
    for path in ["sub dir/leak.txt", "*"] {
        let script = format!("mkdir -p 'sub dir'; echo fine > fine.txt; (echo; {FOUND}; echo) > '{path}'");
        assert_unpublishable(&agent_that_found_the_token(&script), path);
    }
}

#[test]
fn one_that_lets_a_link_lead_to_a_token_publishes_nothing() {
    assert_unpublishable(&agent_that_found_the_token(&format!("ln -sfn /x/$({FOUND}) link")), "link");
}

#[test]
fn one_that_names_a_file_by_a_token_publishes_nothing() {
    assert_unpublishable(&agent_that_found_the_token(&format!("touch x-$({FOUND})")), "x-***");
}

#[test]
fn one_whose_interrupted_work_holds_a_token_keeps_nothing() {
    let script = format!("{FOUND} > leak.txt; echo ready; sleep 60");
    let factory = agent_that_found_the_token(&script);
    let mut worker = factory.start("w-stopped", &[]);
    worker.says("agent: ready");
    worker.signal(Signal::TERM);
    let said = worker.ended().done();
    assert_says(
        &said.stderr,
        &["does not keep the work in progress: `leak.txt` holds the value of GIT_TOKEN"],
    );
    assert_eq!(factory.sandbox().refs("refs/acf/wip/"), NOTHING);
}

#[test]
fn commit_messages_of_the_agents_own_and_recorded_errors_are_masked() {
    let script = format!(
        "echo A > a.txt; git add -A; git -c user.name=a -c user.email=a@b commit -qm \"by $({FOUND})\""
    );
    let factory = agent_that_found_the_token(&script);
    factory.drain().done();
    assert_says(&factory.sandbox().git(&["log", "-1", "--format=%B", "main"]), &["by ***"]);

    let factory =
        Factory::with_todo("- [ ] say canary-7919\n").agent("true").with("GIT_TOKEN", "canary-7919");
    factory.drain().done();
    assert_eq!(factory.runs("TODO-1")[0]["summary"], "say ***");
}

#[test]
fn a_token_that_the_repository_holds_already_stops_nobody() {
    let sandbox = Sandbox::builder().file("old.txt", "canary-7919\n").todo("- [ ] a\n").build();
    let factory = Factory::of(sandbox).agent("echo more >> old.txt").with("GIT_TOKEN", "canary-7919");
    factory.drain().done();
    assert_eq!(assert_landed(&factory), ["old.txt"]);
}

/// Returns the files below a directory that hold that text.
fn files_with(text: &str, directory: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files_with(text, &entry.path()));
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

#[test]
fn a_secret_that_an_agent_finds_is_masked_where_acf_passes_it_on() {
    let factory = told(&["@print my canary-7919 said so", "@sh echo the canary-7919 >&2; exit 3"])
        .with("GIT_TOKEN", "canary-7919");
    let said = factory.drain().done();
    assert_says(&said.stderr, &["my *** said so"]);
    let runs = factory.acf(&["runs", "--json"]).done().stdout;
    let notes =
        factory.sandbox().todo_text().lines().filter(|line| line.contains("Note:")).collect::<String>();
    assert_says(&runs, &["the ***"]);
    for text in [&said.stderr, &runs, &notes] {
        assert!(!text.contains("canary-7919"), "{text}");
    }
}
