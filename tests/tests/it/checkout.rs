//! Checkouts: whatever an agent does to its directory, acf reads what lies there and runs nothing.

mod hostile;
mod land;
mod nested;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use acf_core::run::{CommitId, RunId};
use acf_tests::claims::{Machine, issue};
use acf_tests::sandbox::Sandbox;
use acf_worker::git::Checkout;
use acf_worker::git::checkout::{self, Snapshot, WipNote, checkouts_dir};
use acf_worker::held_directory::remove_abandoned;

/// A checkout of a sandbox's trunk.
struct Scene {
    sandbox: Sandbox,
    machine: Machine,
    base: CommitId,
    checkout: Checkout,
}

impl Scene {
    async fn new() -> Self {
        Self::of(Sandbox::builder().file("README.md", "# Hello\n").file("src/lib.rs", "// lib\n").build())
            .await
    }

    async fn of(sandbox: Sandbox) -> Self {
        let machine = Machine::on(&sandbox, "a").open().await;
        let base = machine.trunk().await;
        let checkout = machine.checkout("TODO-3", "r1", &base).await;
        Self { sandbox, machine, base, checkout }
    }

    #[track_caller]
    fn write(&self, path: &str, text: &str) {
        let path = self.checkout.tree().join(path);
        fs::create_dir_all(path.parent().expect("make a directory")).expect("make a directory");
        fs::write(path, text).expect("write a file");
    }

    /// Runs git in the checkout, as an agent does.
    #[track_caller]
    fn agents_git(&self, args: &[&str]) -> String {
        self.sandbox.git_in(&self.checkout.tree(), args)
    }

    async fn snapshot(&self) -> Snapshot {
        self.checkout.snapshot().await.expect("take a snapshot")
    }

    async fn commit(&self) -> CommitId {
        let tree = self.snapshot().await.tree;
        self.checkout
            .commit(
                &tree,
                &issue("TODO-3", "Say hello"),
                acf_core::issue::Stage::Implementation,
                &RunId::new("r1"),
                &acf_core::mask::Mask::default(),
            )
            .await
            .expect("make a commit")
    }

    #[track_caller]
    fn git(&self, args: &[&str]) -> String {
        self.sandbox.git_in(self.machine.mirror.path(), args)
    }

    #[track_caller]
    fn assert_holds(&self, snapshot: &Snapshot, path: &str, text: &str) {
        assert_eq!(self.git(&["cat-file", "blob", &format!("{}:{path}", snapshot.tree)]), text.trim_end());
    }
}

#[tokio::test]
async fn a_fresh_checkout_has_not_changed() {
    let scene = Scene::new().await;

    let snapshot = scene.snapshot().await;

    assert_eq!(snapshot.changes, checkout::Changes::default());
    assert_eq!(snapshot.tree, scene.checkout.tree_of(&scene.base).await.unwrap());
    assert_eq!(scene.agents_git(&["status", "--porcelain"]), "");
    assert_eq!(scene.agents_git(&["log", "--format=%s"]), "First commit");
}

#[tokio::test]
async fn changes_of_every_kind_are_seen() {
    let scene = Scene::new().await;
    let tree = scene.checkout.tree();
    scene.write("new/file", "new\n");
    scene.write("README.md", "# Changed\n");
    fs::remove_file(tree.join("src/lib.rs")).unwrap();
    symlink("/etc/passwd", tree.join("link")).unwrap();
    scene.write("run", "#!/bin/sh\n");
    fs::set_permissions(tree.join("run"), fs::Permissions::from_mode(0o755)).unwrap();

    let snapshot = scene.snapshot().await;

    assert_eq!(snapshot.changes.paths, ["README.md", "link", "new/file", "run", "src/lib.rs"]);
    assert_eq!(snapshot.changes.nested, Vec::<String>::new());
    scene.assert_holds(&snapshot, "README.md", "# Changed\n");
    scene.assert_holds(&snapshot, "link", "/etc/passwd");
    let listed = scene.git(&["ls-tree", &snapshot.tree]);
    assert!(listed.contains("100755") && listed.contains("120000"), "{listed}");
}

#[tokio::test]
async fn a_changed_executable_bit_alone_is_a_change() {
    let scene = Scene::new().await;
    let path = scene.checkout.tree().join("README.md");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();

    assert_eq!(scene.snapshot().await.changes.paths, ["README.md"]);
}

#[tokio::test]
async fn file_names_of_every_kind_are_kept() {
    let scene = Scene::new().await;
    let names = [
        "a\nb",
        "it's \"quoted\"",
        "🦀",
        "$(touch canary)",
        "-n",
        ":(exclude)x",
        "tab\tname",
        " space",
        "*",
        "#x",
    ];
    for name in names {
        scene.write(name, "x\n");
    }

    let snapshot = scene.snapshot().await;

    let mut expected: Vec<_> = names.iter().map(ToString::to_string).collect();
    expected.sort();
    let mut paths = snapshot.changes.paths.clone();
    paths.sort();
    assert_eq!(paths, expected);
    assert!(!scene.checkout.tree().join("canary").exists());
    let commit = scene.commit().await;
    let copy = scene.checkout.clean_copy(&commit).await.unwrap();
    for name in names {
        assert!(copy.join(name).is_file(), "{name:?}");
    }
}

#[tokio::test]
async fn five_thousand_files_are_taken_along() {
    let scene = Scene::new().await;
    for number in 0..5_000 {
        scene.write(&format!("many/{}/{number}", number % 50), &format!("{number}\n"));
    }

    assert_eq!(scene.snapshot().await.changes.paths.len(), 5_000);
}

#[tokio::test]
async fn ignored_files_are_left_out_by_the_repositorys_rules_alone() {
    let sandbox = Sandbox::builder().file(".gitignore", "*.log\ntarget/\n").build();
    let config = sandbox.home().join(".config/git");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("ignore"), "*.txt\n").unwrap();
    fs::write(sandbox.home().join(".gitconfig"), "[core]\n\tfileMode = false\n\tautocrlf = true\n").unwrap();
    let scene = Scene::of(sandbox).await;
    for path in ["a.log", "target/debug/x", "notes.txt", "kept"] {
        scene.write(path, "x\r\n");
    }
    fs::set_permissions(scene.checkout.tree().join("kept"), fs::Permissions::from_mode(0o755)).unwrap();

    let snapshot = scene.snapshot().await;

    assert_eq!(snapshot.changes.paths, ["kept", "notes.txt"]);
    assert!(scene.git(&["ls-tree", &snapshot.tree, "kept"]).starts_with("100755"));
    assert_eq!(scene.git(&["cat-file", "-s", &format!("{}:kept", snapshot.tree)]), "3");
}

#[tokio::test]
async fn an_empty_repository_is_a_base_too() {
    let sandbox = Sandbox::builder().build();
    let empty = sandbox.git(&["mktree"]);
    let commit = sandbox.git(&["commit-tree", "-m", "empty", &empty]);
    sandbox.git(&["update-ref", "refs/heads/main", &commit]);
    let scene = Scene::of(sandbox).await;

    assert_eq!(scene.snapshot().await.changes, checkout::Changes::default());
    scene.write("first", "x\n");
    assert_eq!(scene.snapshot().await.changes.paths, ["first"]);
}

#[tokio::test]
async fn a_repository_that_the_agent_deleted_makes_no_difference() {
    let scene = Scene::new().await;
    scene.write("new", "x\n");
    fs::remove_dir_all(scene.checkout.tree().join(".git")).unwrap();

    let commit = scene.commit().await;

    assert_eq!(scene.git(&["rev-parse", &format!("{commit}^")]), scene.base.as_str());
    assert_eq!(scene.snapshot().await.changes.paths, ["new"]);
    let tree = scene.checkout.tree_of(&commit).await.unwrap();
    scene.checkout.set(&tree, scene.base.clone()).await.unwrap();
    assert_eq!(scene.agents_git(&["status", "--porcelain"]), "A  new");
}

#[tokio::test]
async fn the_agents_own_commits_become_one_that_tells_their_messages() {
    let scene = Scene::new().await;
    for text in ["one", "two"] {
        scene.write("new", text);
        scene.agents_git(&["add", "-A"]);
        scene.agents_git(&["commit", "--quiet", "-m", &format!("Agent says {text}\n\nIn detail.")]);
    }
    scene.write("left", "uncommitted\n");

    let commit = scene.commit().await;

    let message = scene.git(&["log", "-1", "--format=%B", commit.as_str()]);
    let expected = "[TODO-3] Say hello\n\nAgent says one\n\nIn detail.\n\nAgent says two\n\nIn detail.\n\n\
                    Acf-Issue: TODO-3\nAcf-Run: r1\n";
    assert_eq!(message, expected);
    assert_eq!(scene.git(&["rev-parse", &format!("{commit}^")]), scene.base.as_str());
    let changes = scene.checkout.changes(scene.base.as_str(), commit.as_str()).await.unwrap();
    assert_eq!(changes.paths, ["left", "new"]);
    assert_eq!(
        scene.git(&["log", "-1", "--format=%an <%ae> %cn", commit.as_str()]),
        "acf worker <acf@example.invalid> acf worker"
    );
}

#[tokio::test]
async fn a_history_that_the_agent_rewrote_does_not_become_ours() {
    let rewrites: [&[&[&str]]; 3] = [
        &[&["commit", "--quiet", "--amend", "-m", "Not the first commit"]],
        &[&["checkout", "--quiet", "--orphan", "anew"], &["commit", "--quiet", "-m", "Anew"]],
        &[&["checkout", "--quiet", "--detach"], &["commit", "--quiet", "--allow-empty", "-m", "Detached"]],
    ];
    for rewrite in rewrites {
        let scene = Scene::new().await;
        scene.write("new", "x\n");
        for args in rewrite {
            scene.agents_git(args);
        }

        let commit = scene.commit().await;

        assert_eq!(scene.git(&["rev-parse", &format!("{commit}^")]), scene.base.as_str());
        let changes = scene.checkout.changes(scene.base.as_str(), commit.as_str()).await.unwrap();
        assert_eq!(changes.paths, ["new"], "{rewrite:?}");
    }
}

#[tokio::test]
async fn a_commit_message_of_the_agents_can_be_of_any_size_and_kind() {
    let scene = Scene::new().await;
    let message = scene.sandbox.root().join("message");
    fs::write(&message, [b"\xff\xfe bytes\n\n".as_slice(), "x".repeat(1_000_000).as_bytes()].concat())
        .unwrap();
    scene.write("new", "x\n");
    scene.agents_git(&["add", "-A"]);
    scene.agents_git(&["commit", "--quiet", "-F", message.to_str().unwrap()]);

    let commit = scene.commit().await;

    let length: usize = scene.git(&["cat-file", "-s", commit.as_str()]).parse().unwrap();
    assert!(length < 100_000, "{length}");
    assert!(scene.git(&["log", "-1", "--format=%B", commit.as_str()]).trim_end().ends_with("Acf-Run: r1"));
}

#[tokio::test]
async fn what_a_path_is_below_stays_below_the_work_directory() {
    let scene = Scene::new().await;
    for run in ["../../x", "/etc", "a/b", "", "\n"] {
        let other = scene.machine.checkout("A_B-1", run, &scene.base).await;
        let tree = fs::canonicalize(other.tree()).unwrap();
        assert!(tree.starts_with(fs::canonicalize(&scene.machine.work_dir).unwrap()), "{}", tree.display());
        assert_eq!(fs::read_to_string(tree.join("README.md")).unwrap(), "# Hello\n");
    }
}

#[tokio::test]
async fn a_removed_checkout_leaves_nothing() {
    let scene = Scene::new().await;
    let tree = scene.checkout.tree();
    scene.checkout.remove().await.unwrap();

    assert!(!tree.exists());
    assert_eq!(fs::read_dir(scene.machine.work_dir.join("checkouts")).unwrap().count(), 0);
}

#[tokio::test]
async fn only_checkouts_that_nobody_holds_are_removed_as_abandoned() {
    let scene = Scene::new().await;
    let abandoned = scene.machine.checkout("TODO-4", "r2", &scene.base).await;
    let abandoned_tree = abandoned.tree();
    drop(abandoned);

    let work_dir = scene.machine.work_dir.clone();
    remove_abandoned(&checkouts_dir(&work_dir));
    assert!(!abandoned_tree.exists());
    assert!(scene.checkout.tree().join("README.md").exists());
    remove_abandoned(Path::new("/nowhere"));
}

#[tokio::test]
async fn workers_that_start_together_share_the_removing() {
    let scene = Scene::new().await;
    for number in 0..20 {
        drop(scene.machine.checkout("TODO-4", &format!("r{number}-"), &scene.base).await);
    }
    let work_dir = scene.machine.work_dir.clone();

    let removers: Vec<_> = (0..4)
        .map(|_| {
            let work_dir = work_dir.clone();
            std::thread::spawn(move || remove_abandoned(&checkouts_dir(&work_dir)))
        })
        .collect();
    removers.into_iter().for_each(|remover| remover.join().unwrap());

    assert_eq!(
        fs::read_dir(scene.machine.work_dir.join("checkouts")).unwrap().count(),
        2,
        "one and its lock"
    );
    assert!(scene.checkout.tree().join("README.md").exists());
}

#[tokio::test]
async fn kept_work_says_what_it_is() {
    let scene = Scene::new().await;
    scene.write("half", "done\n");
    let note = WipNote {
        run: RunId::new("r1"),
        issue: "TODO-3".parse().unwrap(),
        identity: Some("é \"x\"".into()),
        restore: true,
    };

    let tree = scene.snapshot().await.tree;
    let wip = scene.checkout.wip_commit(&tree, &note).await.unwrap();

    assert_eq!(scene.checkout.wip_note(wip.as_str()).await, Some(note));
    assert_eq!(scene.checkout.tree_of(&wip).await.unwrap(), tree);
    assert_eq!(scene.checkout.wip_note(scene.base.as_str()).await, None);
    assert_eq!(scene.checkout.wip_note(&"1".repeat(40)).await, None);
}

#[tokio::test]
async fn files_of_a_commit_are_read() {
    let scene = Scene::new().await;
    let read = async |path| scene.checkout.file(&scene.base, path).await.unwrap();

    assert_eq!(read("src/lib.rs").await.as_deref(), Some("// lib\n"));
    for absent in ["src/main.rs", "src", "no/such/file"] {
        assert_eq!(read(absent).await, None, "{absent}");
    }
}
