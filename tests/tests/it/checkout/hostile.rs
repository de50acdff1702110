//! What an agent leaves for git to stumble over: nothing of it is ever run.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use acf_core::run::RunId;
use acf_tests::claims::issue;
use acf_tests::sandbox::Sandbox;

use super::Scene;

impl Scene {
    /// A program that leaves a trace when it is run.
    fn canary(&self) -> (PathBuf, String) {
        let trace = self.sandbox.root().join("was-run");
        let program = self.sandbox.root().join("canary");
        fs::write(&program, format!("#!/bin/sh\ntouch '{}'\ncat\n", trace.display()))
            .expect("write a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it executable");
        (trace, program.display().to_string())
    }

    /// Does everything that acf does with a checkout.
    async fn use_all(&self) {
        let tree = self.snapshot().await.tree;
        let again = self.snapshot().await.tree;
        assert_eq!(tree, again);
        let commit = self
            .checkout
            .commit(
                &tree,
                &issue("TODO-3", "Say hello"),
                acf_core::issue::Stage::Implementation,
                &RunId::new("r1"),
                &acf_core::mask::Mask::default(),
            )
            .await
            .expect("make a commit");
        self.checkout.merge(&commit, &self.base).await.expect("merge");
        self.checkout.snapshot_of("plans/TODO-3.md", "").await.expect("read a plan");
        self.checkout.clean_copy(&commit).await.expect("copy");
        self.checkout.set(&tree, self.base.clone()).await.expect("set a tree");
    }
}

fn hostile_config(program: &str) -> String {
    format!(
        "[core]\n\tfsmonitor = {program}\n\thooksPath = hooks\n\teditor = {program}\n\tpager = {program}\n\
         \tsshCommand = {program}\n\tgitProxy = {program}\n\tattributesFile = attributes\n\
         [filter \"evil\"]\n\tclean = {program}\n\tsmudge = {program}\n\tprocess = {program}\n\trequired = true\n\
         [diff \"evil\"]\n\ttextconv = {program}\n\tcommand = {program}\n[diff]\n\texternal = {program}\n\
         [merge \"evil\"]\n\tdriver = {program}\n[gpg]\n\tprogram = {program}\n[log]\n\tshowSignature = true\n\
         [alias]\n\tadd = !{program}\n[uploadpack]\n\tpackObjectsHook = {program}\n"
    )
}

#[tokio::test]
async fn hostile_configuration_hooks_and_filters_are_never_run() {
    let scene = Scene::new().await;
    let (trace, program) = scene.canary();
    let git = scene.checkout.tree().join(".git");
    fs::write(git.join("config"), hostile_config(&program)).unwrap();
    fs::create_dir_all(git.join("hooks")).unwrap();
    for hook in
        ["pre-commit", "post-index-change", "reference-transaction", "post-checkout", "fsmonitor-watchman"]
    {
        fs::copy(&program, git.join("hooks").join(hook)).unwrap();
    }
    fs::write(git.join("info/attributes"), "* filter=evil diff=evil merge=evil\n").unwrap();
    scene.write(".gitattributes", "* filter=evil diff=evil merge=evil\n");
    scene.write("new", "x\n");
    scene.write("README.md", "# Changed\n");

    scene.use_all().await;

    assert!(!trace.exists());
}

#[tokio::test]
async fn hostile_configuration_of_a_nested_repository_or_submodule_is_never_run() {
    let sandbox = Sandbox::builder().build();
    sandbox.add_submodule("sub");
    let scene = Scene::of(sandbox).await;
    let (trace, program) = scene.canary();
    for name in ["inner", "sub"] {
        let dir = scene.checkout.tree().join(name);
        fs::create_dir_all(&dir).unwrap();
        let inner = |args: &[&str]| scene.sandbox.git_in(&dir, args);
        inner(&["init", "--quiet"]);
        fs::write(dir.join("file"), "x\n").unwrap();
        inner(&["add", "-A"]);
        inner(&["commit", "--quiet", "-m", "Inner"]);
        fs::write(dir.join(".git/config"), hostile_config(&program)).unwrap();
        fs::write(dir.join(".gitattributes"), "* filter=evil\n").unwrap();
        fs::write(dir.join("file"), "y\n").unwrap();
    }

    scene.use_all().await;
    fs::write(scene.checkout.tree().join("inner/file"), "z\n").unwrap();
    scene.snapshot().await;

    assert!(!trace.exists());
}

#[tokio::test]
async fn a_repository_full_of_traps_is_read_around() {
    let traps: [fn(&Scene); 5] = [
        |scene| {
            let head = scene.checkout.tree().join(".git/HEAD");
            fs::remove_file(&head).unwrap();
            let made = scene.sandbox.command("mkfifo").arg(&head).status().unwrap();
            assert!(made.success());
        },
        |scene| {
            let head = scene.checkout.tree().join(".git/HEAD");
            fs::remove_file(&head).unwrap();
            symlink("/dev/zero", head).unwrap();
        },
        |scene| {
            fs::write(scene.checkout.tree().join(".git/HEAD"), "ref: refs/heads/../../../../x\n").unwrap();
        },
        |scene| fs::write(scene.checkout.tree().join(".git/HEAD"), [0xff; 64]).unwrap(),
        |scene| {
            let git = scene.checkout.tree().join(".git");
            fs::remove_dir_all(&git).unwrap();
            fs::write(git, "gitdir: /nowhere\n").unwrap();
        },
    ];
    for trap in traps {
        let scene = Scene::new().await;
        scene.write("new", "x\n");
        trap(&scene);

        let commit = tokio::time::timeout(std::time::Duration::from_secs(20), scene.commit()).await.unwrap();

        let changes = scene.checkout.changes(scene.base.as_str(), commit.as_str()).await.unwrap();
        assert_eq!(changes.paths, ["new"]);
    }
}

#[tokio::test]
async fn what_is_no_file_is_left_out() {
    let scene = Scene::new().await;
    let made = scene.sandbox.command("mkfifo").arg(scene.checkout.tree().join("pipe")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(scene.checkout.tree().join("socket")).unwrap();
    scene.write("new", "x\n");

    assert_eq!(scene.snapshot().await.changes.paths, ["new"]);
}

#[tokio::test]
async fn a_checkout_that_was_emptied_is_a_change_like_any_other() {
    let scene = Scene::new().await;
    fs::remove_dir_all(scene.checkout.tree()).unwrap();
    fs::create_dir(scene.checkout.tree()).unwrap();

    assert_eq!(scene.snapshot().await.changes.paths, ["README.md", "src/lib.rs"]);
}

#[tokio::test]
async fn a_plan_is_read_from_a_regular_file_of_the_checkout_only() {
    let scene = Scene::new().await;
    let path = "plans/TODO-3.md";
    let plan = async || scene.checkout.snapshot_of(path, "").await.unwrap();
    let tree = scene.checkout.tree();
    let outside = scene.sandbox.root().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("TODO-3.md"), "somebody's secret\n").unwrap();

    assert_eq!(plan().await, None, "no file");
    symlink(&outside, tree.join("plans")).unwrap();
    assert_eq!(plan().await, None, "below a symbolic link");
    fs::remove_file(tree.join("plans")).unwrap();
    fs::create_dir(tree.join("plans")).unwrap();
    symlink(outside.join("TODO-3.md"), tree.join(path)).unwrap();
    assert_eq!(plan().await, None, "a symbolic link");
    fs::remove_file(tree.join(path)).unwrap();
    for text in ["", " \n\t\n"] {
        scene.write(path, text);
        assert_eq!(plan().await, None, "empty");
    }
    fs::remove_file(tree.join(path)).unwrap();
    fs::create_dir(tree.join(path)).unwrap();
    assert_eq!(plan().await, None, "a directory");
}

#[tokio::test]
async fn a_plan_is_all_that_a_planner_can_change() {
    let sandbox = Sandbox::builder().file("README.md", "# Hello\n").file("plans/TODO-1.md", "old\n").build();
    let scene = Scene::of(sandbox).await;
    scene.write("plans/TODO-3.md", "1. Say it.\n");
    scene.write("README.md", "# Meddled with\n");
    scene.write("plans/TODO-1.md", "rewritten\n");
    scene.write("stray", "x\n");
    // As the saving of work in progress does.
    assert_eq!(scene.snapshot().await.changes.paths.len(), 4);

    let snapshot = scene.checkout.snapshot_of("plans/TODO-3.md", "<!-- head -->\n").await.unwrap().unwrap();

    assert_eq!(snapshot.changes.paths, ["plans/TODO-3.md"]);
    scene.assert_holds(&snapshot, "plans/TODO-3.md", "<!-- head -->\n1. Say it.\n");
    assert_eq!(scene.snapshot().await.changes.paths.len(), 4);
}

#[tokio::test]
async fn a_plan_takes_the_place_of_whatever_is_in_its_way() {
    let sandbox = Sandbox::builder().file("plans", "a file\n").build();
    let scene = Scene::of(sandbox).await;
    fs::remove_file(scene.checkout.tree().join("plans")).unwrap();
    scene.write("plans/TODO-3.md", "1. Say it.\n");

    let snapshot = scene.checkout.snapshot_of("plans/TODO-3.md", "").await.unwrap().unwrap();

    assert_eq!(snapshot.changes.paths, ["plans", "plans/TODO-3.md"]);
}
