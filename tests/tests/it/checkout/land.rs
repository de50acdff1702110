//! Bringing work and a trunk that has moved together, and showing it to the gate.

use std::fs;
use std::path::Path;

use acf_core::run::CommitId;
use acf_worker::git::checkout::Merged;

use super::Scene;

fn listing(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("list a directory") {
            let entry = entry.expect("list a directory");
            if entry.file_name() == ".git" {
                continue;
            } else if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(root).expect("it lies below").display().to_string());
            }
        }
    }
    found.sort();
    found
}

impl Scene {
    async fn trunk_moves(&self, path: &str, text: &str) -> CommitId {
        self.sandbox.person_commits("main", path, text);
        self.machine.trunk().await
    }
}

#[tokio::test]
async fn work_goes_on_top_of_a_trunk_that_changed_other_files() {
    let scene = Scene::new().await;
    scene.write("mine", "x\n");
    let work = scene.commit().await;
    let onto = scene.trunk_moves("theirs", "y\n").await;

    let Merged::Clean(tree) = scene.checkout.merge(&work, &onto).await.unwrap() else { panic!("conflict") };

    let changes = scene.checkout.changes(onto.as_str(), &tree).await.unwrap();
    assert_eq!(changes.paths, ["mine"]);
    fs::write(scene.checkout.tree().join("untracked.log"), "stays\n").unwrap();
    scene.checkout.set(&tree, onto.clone()).await.unwrap();
    assert_eq!(
        listing(&scene.checkout.tree()),
        ["README.md", "mine", "src/lib.rs", "theirs", "untracked.log"]
    );
    assert_eq!(scene.checkout.base(), onto);
    assert_eq!(scene.agents_git(&["log", "-1", "--format=%H"]), onto.as_str());
    assert_eq!(scene.snapshot().await.changes.paths, ["mine", "untracked.log"]);
}

#[tokio::test]
async fn a_conflict_names_its_files_and_shows_both_sides_to_the_agent() {
    let scene = Scene::new().await;
    scene.write("README.md", "# Mine\n");
    scene.write("src/lib.rs", "// mine\n");
    scene.write("mine", "x\n");
    let work = scene.commit().await;
    scene.trunk_moves("README.md", "# Theirs\n").await;
    let onto = scene.trunk_moves("src/lib.rs", "// theirs\n").await;

    let merged = scene.checkout.merge(&work, &onto).await.unwrap();

    let Merged::Conflict { tree, files } = merged else { panic!("{merged:?}") };
    assert_eq!(files, ["README.md", "src/lib.rs"]);
    scene.checkout.set(&tree, onto).await.unwrap();
    let text = fs::read_to_string(scene.checkout.tree().join("README.md")).unwrap();
    for part in ["<<<<<<<", "# Mine", "=======", "# Theirs", ">>>>>>>"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(fs::read_to_string(scene.checkout.tree().join("mine")).unwrap(), "x\n");
}

#[tokio::test]
async fn what_was_taken_out_of_a_rewritten_trunk_does_not_come_back() {
    let scene = Scene::new().await;
    let with_secret = scene.trunk_moves("secret", "hunter22\n").await;
    let checkout = scene.machine.checkout("TODO-4", "r2", &with_secret).await;
    fs::write(checkout.tree().join("mine"), "x\n").unwrap();
    let tree = checkout.snapshot().await.unwrap().tree;
    let work = checkout
        .commit(
            &tree,
            &acf_tests::claims::issue("TODO-4", "Work"),
            acf_core::issue::Stage::Implementation,
            &acf_core::run::RunId::new("r2"),
            &acf_core::mask::Mask::default(),
        )
        .await
        .unwrap();

    // Once by going back to before it, once by beginning anew.
    scene.sandbox.git(&["update-ref", "refs/heads/main", scene.base.as_str()]);
    let rewound = scene.trunk_moves("other", "y\n").await;
    scene.sandbox.person_rewrites("main", "README.md", "# Hello\n");
    let anew = scene.machine.trunk().await;

    for onto in [rewound, anew] {
        let merged = checkout.merge(&work, &onto).await.unwrap();
        let Merged::Clean(tree) = merged else { panic!("{merged:?}") };
        let changes = checkout.changes(onto.as_str(), &tree).await.unwrap();
        assert_eq!(changes.paths, ["mine"]);
    }
}

#[tokio::test]
async fn the_gate_gets_what_was_committed_and_nothing_else() {
    let scene = Scene::new().await;
    scene.write(".gitignore", "*.log\n");
    scene.write("new", "x\n");
    scene.write("ignored.log", "x\n");
    let commit = scene.commit().await;
    scene.write("too-late", "x\n");

    for _ in 0..2 {
        let copy = scene.checkout.clean_copy(&commit).await.unwrap();
        assert_eq!(listing(&copy), [".gitignore", "README.md", "new", "src/lib.rs"]);
        assert_eq!(scene.sandbox.git_in(&copy, &["status", "--porcelain"]), "");
        fs::write(copy.join("made-by-the-gate"), "x\n").unwrap();
    }
    assert_eq!(scene.snapshot().await.changes.paths, [".gitignore", "new", "too-late"]);
}

#[tokio::test]
async fn setting_a_tree_replaces_what_the_agent_left_in_its_way() {
    let scene = Scene::new().await;
    scene.write("mine", "committed\n");
    let tree = scene.snapshot().await.tree;
    fs::remove_file(scene.checkout.tree().join("mine")).unwrap();
    scene.write("mine/now/a/directory", "x\n");
    fs::remove_dir_all(scene.checkout.tree().join("src")).unwrap();
    scene.write("src", "now a file\n");

    scene.checkout.set(&tree, scene.base.clone()).await.unwrap();

    assert_eq!(fs::read_to_string(scene.checkout.tree().join("mine")).unwrap(), "committed\n");
    assert_eq!(fs::read_to_string(scene.checkout.tree().join("src/lib.rs")).unwrap(), "// lib\n");
}
