//! Git over smart HTTP with a password behaves as git over a path does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use acf_tests::git_http::GitHttp;
use acf_tests::sandbox::Sandbox;

const USER: &str = "worker";
const PASSWORD: &str = "correct horse";
/// How a URL spells the password.
const PASSWORD_IN_URL: &str = "correct%20horse";

struct Served {
    sandbox: Sandbox,
    server: GitHttp,
}

impl Served {
    fn new() -> Self {
        let sandbox = Sandbox::builder().file("README.md", "served\n").build();
        let server = GitHttp::start(sandbox.root(), USER, PASSWORD);
        Self { sandbox, server }
    }

    fn url(&self) -> String {
        self.server.url("remote.git")
    }

    fn log_in_with(&self, password_in_url: &str) {
        let home = self.sandbox.home();
        fs::write(home.join(".gitconfig"), "[credential]\n\thelper = store\n").expect("write .gitconfig");
        let line = self.server.credential_line(USER, password_in_url);
        fs::write(home.join(".git-credentials"), line).expect("write .git-credentials");
    }

    fn logged_in_clone(&self) -> PathBuf {
        self.log_in_with(PASSWORD_IN_URL);
        self.sandbox.git_in(self.sandbox.root(), &["clone", "--quiet", &self.url(), "clone"]);
        self.sandbox.root().join("clone")
    }

    fn refused(&self, dir: &Path, args: &[&str]) -> String {
        let output = self.sandbox.git_output(dir, args);
        assert!(!output.status.success(), "git {args:?} was not refused");
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
    }
}

#[test]
fn the_right_password_clones_and_pushes() {
    let served = Served::new();
    let clone = served.logged_in_clone();
    assert_eq!(fs::read_to_string(clone.join("README.md")).unwrap(), "served\n");

    // Larger than git's http.postBuffer of 1 MiB, so that the push is chunked.
    let noise: Vec<u8> = (0..2_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(clone.join("large"), noise).unwrap();
    served.sandbox.git_in(&clone, &["add", "large"]);
    served.sandbox.git_in(&clone, &["commit", "--quiet", "--message=A large file"]);
    served.sandbox.git_in(&clone, &["push", "--quiet", "origin", "HEAD:main"]);

    assert_eq!(served.sandbox.log(), ["A large file", "First commit"]);
}

#[test]
fn a_wrong_password_and_none_are_refused() {
    let served = Served::new();
    let root = served.sandbox.root().to_owned();

    let without = served.refused(&root, &["ls-remote", &served.url()]);
    assert!(without.contains("could not read Username"), "{without}");

    served.log_in_with("wrong");
    let wrong = served.refused(&root, &["clone", &served.url(), "clone"]);
    assert!(wrong.contains("Authentication failed"), "{wrong}");
}

#[test]
fn an_atomic_push_lands_both_refs_or_neither() {
    let served = Served::new();
    let clone = served.logged_in_clone();
    let sandbox = &served.sandbox;
    let claim = "refs/acf/claims/TODO-1";

    sandbox.git_in(&clone, &["commit", "--quiet", "--allow-empty", "--message=Both"]);
    let both = ["push", "--quiet", "--atomic", "origin", "HEAD:main", &format!("HEAD:{claim}")];
    sandbox.git_in(&clone, &both);
    assert_eq!(sandbox.refs("refs/"), [claim, "refs/heads/main"]);
    assert_eq!(sandbox.log()[0], "Both");

    // The server refuses one of the two; what git checks before it sends would not show that.
    let hook = sandbox.remote().join("hooks/update");
    fs::write(&hook, "#!/bin/sh\ncase $1 in refs/acf/*) exit 1 ;; esac\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.git_in(&clone, &["commit", "--quiet", "--allow-empty", "--message=Neither"]);
    let refusal = served.refused(&clone, &both);
    assert!(refusal.contains("[remote rejected]"), "{refusal}");
    assert_eq!(sandbox.log()[0], "Both");
}

#[test]
fn a_stale_lease_is_refused() {
    let served = Served::new();
    let clone = served.logged_in_clone();
    let sandbox = &served.sandbox;
    let claim = "refs/acf/claims/TODO-1";
    let must_be_absent = format!("--force-with-lease={claim}:");
    let held = sandbox.git_in(&clone, &["commit-tree", "-m", "held", "HEAD^{tree}"]);
    sandbox.git_in(&clone, &["push", "--quiet", &must_be_absent, "origin", &format!("{held}:{claim}")]);

    let other = sandbox.git_in(&clone, &["commit-tree", "-m", "other", "HEAD^{tree}"]);
    let refusal = served
        .refused(&clone, &["push", "--porcelain", &must_be_absent, "origin", &format!("{other}:{claim}")]);

    assert!(refusal.contains("[rejected] (stale info)"), "{refusal}");
    assert_eq!(sandbox.git(&["rev-parse", claim]), held);
}

#[test]
fn the_server_ends_with_its_fixture() {
    let served = Served::new();
    served.log_in_with(PASSWORD_IN_URL);
    let Served { sandbox, server } = served;
    let url = server.url("remote.git");
    assert!(!sandbox.git_in(sandbox.root(), &["ls-remote", &url]).is_empty());

    drop(server);

    let output = sandbox.git_output(sandbox.root(), &["ls-remote", &url]);
    assert!(!output.status.success());
}
