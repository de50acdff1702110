//! Repositories within the repository.

use std::fs;

use acf_tests::sandbox::Sandbox;

use super::Scene;

impl Scene {
    /// Makes a repository below the checkout, as an agent does.
    fn nest(&self, path: &str, with_commit: bool) {
        let dir = self.checkout.tree().join(path);
        fs::create_dir_all(&dir).expect("make a directory");
        self.sandbox.git_in(&dir, &["init", "--quiet"]);
        fs::write(dir.join("inner"), "x\n").expect("write a file");
        if with_commit {
            self.sandbox.git_in(&dir, &["add", "-A"]);
            self.sandbox.git_in(&dir, &["commit", "--quiet", "-m", "Inner"]);
        }
    }
}

#[tokio::test]
async fn a_nested_repository_is_named_with_commits_and_without() {
    for with_commit in [true, false] {
        let scene = Scene::new().await;
        scene.nest("vendor/it's *", with_commit);
        scene.write("new", "x\n");

        for _ in 0..2 {
            let changes = scene.snapshot().await.changes;
            assert_eq!(changes.nested, ["vendor/it's *"], "{with_commit}");
            assert!(changes.paths.contains(&"new".to_owned()), "{changes:?}");
        }
        fs::remove_dir_all(scene.checkout.tree().join("vendor")).unwrap();
        let changes = scene.snapshot().await.changes;
        assert_eq!((changes.nested, changes.paths), (vec![], vec!["new".into()]), "{with_commit}");
    }
}

#[tokio::test]
async fn nested_repositories_of_both_kinds_are_all_named() {
    let scene = Scene::new().await;
    scene.nest("a/empty", false);
    scene.nest("b", true);
    scene.nest("c", false);

    let mut nested = scene.snapshot().await.changes.nested;

    nested.sort();
    assert_eq!(nested, ["a/empty", "b", "c"]);
}

#[tokio::test]
async fn an_ignored_nested_repository_is_nobodys_concern() {
    let scene = Scene::of(Sandbox::builder().file(".gitignore", "deps/\n").build()).await;
    scene.nest("deps/one", false);
    scene.write("new", "x\n");

    let changes = scene.snapshot().await.changes;

    assert_eq!((changes.nested, changes.paths), (vec![], vec!["new".into()]));
}

#[tokio::test]
async fn a_submodule_of_the_base_stays() {
    let sandbox =
        Sandbox::builder().file(".gitmodules", "[submodule \"sub\"]\n\tpath = sub\n\turl = ../x\n").build();
    let other = sandbox.add_submodule("sub");
    let scene = Scene::of(sandbox).await;
    scene.write("new", "x\n");

    let snapshot = scene.snapshot().await;
    assert_eq!(
        (snapshot.changes.nested.clone(), snapshot.changes.paths.clone()),
        (vec![], vec!["new".into()])
    );
    let listed = scene.git(&["ls-tree", &snapshot.tree]);
    assert!(listed.contains(&format!("160000 commit {other}\tsub")), "{listed}");

    // One that the agent made for itself is told, the one that was there is not.
    scene.nest("mine", false);
    assert_eq!(scene.snapshot().await.changes.nested, ["mine"]);
    scene.nest("sub", true);
    assert_eq!(scene.snapshot().await.changes.nested, ["mine"]);
    fs::remove_dir_all(scene.checkout.tree().join("mine")).unwrap();

    let changes = scene.snapshot().await.changes;
    assert_eq!((changes.nested, changes.paths), (vec![], vec!["new".into(), "sub".into()]));
    fs::remove_dir_all(scene.checkout.tree().join("sub/.git")).unwrap();
    assert_eq!(scene.snapshot().await.changes.paths, ["new", "sub", "sub/inner"]);
    fs::remove_dir_all(scene.checkout.tree().join("sub")).unwrap();
    assert_eq!(scene.snapshot().await.changes.paths, ["new", "sub"]);
}

#[tokio::test]
async fn flattened_repositories_are_kept_as_plain_files() {
    let scene = Scene::new().await;
    scene.nest("a", true);
    scene.nest("b/c", false);
    assert_eq!(scene.snapshot().await.changes.nested.len(), 2);

    scene.checkout.flatten().await.unwrap();

    let snapshot = scene.snapshot().await;
    assert_eq!(snapshot.changes.nested, Vec::<String>::new());
    assert_eq!(snapshot.changes.paths, ["a/inner", "b/c/inner"]);
    scene.assert_holds(&snapshot, "b/c/inner", "x\n");
}
