//! Work that does not go together with what landed meanwhile: it lands once its conflicts are resolved,
//! and never with git's conflict markers in it.
#![expect(clippy::unwrap_used, reason = "all of this runs in tests only")]

use acf_tests::factory::Factory;
use acf_tests::sandbox::Sandbox;
use rustix::process::Signal;

/// Returns a factory whose agent changes a line that the trunk changes in the same moment; asked to
/// resolve the conflict, and whenever it is called again, it does what the script says.
fn contended(then: &str) -> Factory {
    let sandbox = Sandbox::builder().file("names.txt", "one\n").todo("- [ ] a\n").build();
    let (url, root) = (sandbox.remote_url(), sandbox.root().display().to_string());
    let factory = Factory::of(sandbox).with("MAX_ATTEMPTS", "1");
    let move_trunk = factory.program(
        "move-trunk",
        &format!(
            "set -e; cd {root}; git clone -q {url} other; cd other; echo theirs > names.txt
git -c user.name=Ann -c user.email=ann@example.invalid commit -qam Theirs; git push -q"
        ),
    );
    factory.agent(&format!(
        "if [ -e {root}/other ]; then {then}; exit; fi
echo ours > names.txt; {move_trunk}"
    ))
}

fn names(factory: &Factory) -> String {
    factory.sandbox().file_at("main", "names.txt").unwrap()
}

#[test]
fn that_are_never_resolved_end_in_a_failed_run_with_nothing_landed() {
    let factory = contended("true");

    factory.drain().done();

    let (kind, reason) = factory.failure("TODO-1");
    assert_eq!(kind, "unpublishable", "{reason}");
    assert!(reason.contains("there still are conflict markers in `names.txt`"), "{reason}");
    assert_eq!(names(&factory), "theirs\n");
    assert_eq!(factory.sandbox().refs("refs/heads"), ["refs/heads/main"]);
}

#[test]
fn land_resolved_though_it_took_the_agent_two_rounds() {
    let factory = contended(
        "case $prompt in *\"still are conflict markers\"*) printf 'theirs\\nours\\n' > names.txt ;; esac",
    );

    factory.drain().done();

    let runs = factory.runs("TODO-1");
    assert_eq!((&runs[0]["outcome"], &runs[0]["receipt"]["fix_rounds"]), (&"landed".into(), &2.into()));
    assert_eq!(names(&factory), "theirs\nours\n");
}

#[test]
fn are_resolved_only_in_part_while_the_other_half_of_the_markers_is_there() {
    let factory = contended("sed -i '/^<<<<<<< /d' names.txt");

    factory.drain().done();

    assert_eq!(factory.failure("TODO-1").0, "unpublishable");
    assert_eq!(names(&factory), "theirs\n");
}

#[test]
fn that_an_interrupted_run_left_do_not_land_with_the_next_one() {
    let factory =
        contended("if ! [ -e ../../../once ]; then touch ../../../once; echo ready; exec sleep 600; fi");
    let mut worker = factory.start("w-1", &["--max-issues", "1"]);
    worker.says("agent: ready");
    worker.signal(Signal::TERM);
    worker.ended();
    assert!(factory.kept("names.txt").unwrap().contains("<<<<<<< "), "the work is kept as it was");

    factory.drain().done();

    let runs = factory.runs("TODO-1");
    let last = runs.last().unwrap();
    assert_eq!(
        (&last["kind"], &last["receipt"]["resumed"]),
        (&"unpublishable".into(), &true.into()),
        "{runs:?}"
    );
    assert_eq!(names(&factory), "theirs\n");
}
