//! Remotes that cannot be used, and credentials that nobody else may see.

use std::error::Error;
use std::fs;
use std::path::Path;

use acf_core::claim::{ClaimError, ClaimStore as _};
use acf_core::run::CommitId;
use acf_tests::claims::{Machine, MachineBuilder, claim, on_trunk, outbox};
use acf_tests::git_http::GitHttp;
use acf_tests::sandbox::Sandbox;

const USER: &str = "worker";
const PASSWORD: &str = "hunter22'\"$(x) %40";

struct Served {
    sandbox: Sandbox,
    server: GitHttp,
}

impl Served {
    fn new() -> Self {
        let sandbox = Sandbox::builder().build();
        let server = GitHttp::start(sandbox.root(), USER, PASSWORD);
        Self { sandbox, server }
    }

    fn machine(&self) -> MachineBuilder {
        Machine::on(&self.sandbox, "a").url(self.server.url("remote.git"))
    }
}

/// Joins everything that an error could show to anybody.
fn told(error: &ClaimError) -> String {
    let mut text = format!("{error:?}");
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        text.push_str(&format!("\n{error}"));
        next = error.source();
    }
    text
}

async fn errors(machine: &Machine) -> [ClaimError; 3] {
    let some_commit = CommitId::new("1234567890123456789012345678901234567890");
    [
        machine.claims.survey().await.expect_err("it cannot be used"),
        machine
            .claims
            .take(claim("TODO-3", "w1"), None, &Default::default())
            .await
            .expect_err("it cannot be used"),
        machine.mirror.have(&some_commit, "main").await.expect_err("it cannot be used"),
    ]
}

#[tokio::test]
async fn a_wrong_password_and_none_are_told_as_such_and_not_shown() {
    let served = Served::new();
    let wrong = served.machine().credentials(USER, "mistaken-secret").open().await;
    let none = served.machine().open().await;

    for error in errors(&wrong).await.into_iter().chain(errors(&none).await) {
        assert!(matches!(error, ClaimError::Unauthorized(_)), "{error:?}");
        assert!(!told(&error).contains("mistaken-secret"), "{}", told(&error));
    }
}

#[tokio::test]
async fn a_remote_that_is_not_there_is_told_as_unreachable() {
    let served = Served::new();
    let missing_path = served.sandbox.root().join("nowhere.git");
    let gone = GitHttp::start(served.sandbox.root(), USER, PASSWORD);
    let gone_url = gone.url("remote.git");
    drop(gone);
    for url in [
        missing_path.display().to_string(),
        format!("file://{}", missing_path.display()),
        served.server.url("nowhere.git"),
        gone_url,
    ] {
        let machine = Machine::on(&served.sandbox, "b").url(&url).credentials(USER, PASSWORD).open().await;
        for error in errors(&machine).await {
            assert!(matches!(error, ClaimError::Unreachable(_)), "{url}: {error:?}");
            assert!(!told(&error).contains("hunter22"), "{}", told(&error));
        }
    }
}

#[tokio::test]
async fn the_password_is_in_no_argument_list_and_on_no_disk() {
    let served = Served::new();
    let trace = served.sandbox.root().join("trace");
    // git tells every argument list of its own and of all that it starts.
    let machine = served.machine().credentials(USER, PASSWORD);
    let machine = machine.env("GIT_TRACE2_EVENT", trace.display().to_string()).open().await;
    let base = machine.trunk().await;
    let held = machine.take("TODO-3", "w1").await.unwrap();
    let landing = on_trunk(&machine.work(&served.sandbox, &base, "hello", "world\n"));
    machine.claims.publish(&held, outbox(&held.claim, &landing), &landing).await.unwrap();

    let trace = fs::read_to_string(trace).unwrap();
    assert!(trace.contains("remote-http") && trace.contains("ACF_GIT_PASSWORD"), "{trace}");
    assert!(!trace.contains("hunter22"), "{trace}");
    assert_holds_nowhere(&machine.work_dir, b"hunter22");
}

fn assert_holds_nowhere(directory: &Path, secret: &[u8]) {
    for entry in fs::read_dir(directory).expect("list a directory") {
        let path = entry.expect("list a directory").path();
        if path.is_dir() {
            assert_holds_nowhere(&path, secret);
        } else {
            let bytes = fs::read(&path).expect("read a file");
            assert!(!bytes.windows(secret.len()).any(|at| at == secret), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn the_users_own_credential_helper_is_not_asked_where_credentials_are_given() {
    let served = Served::new();
    let asked = served.sandbox.root().join("asked");
    let config = format!("[credential]\n\thelper = \"!touch '{}'; :\"\n", asked.display());
    fs::write(served.sandbox.home().join(".gitconfig"), config).unwrap();

    served.machine().credentials(USER, PASSWORD).open().await.take("TODO-3", "w1").await.unwrap();

    assert!(!asked.exists());
}
