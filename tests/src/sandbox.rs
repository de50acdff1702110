//! The ground that every end-to-end test stands on: a temporary directory with its own HOME, a bare
//! remote repository, and commands that see nothing of the machine they run on.
//!
//! It owns the files and the environment; what is started in it belongs to the test.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The remote's only branch, and its default.
pub const MAIN: &str = "main";

/// A temporary directory with a home, a bare remote repository and, where asked for, a TODO file;
/// removed when dropped.
#[derive(Debug)]
pub struct Sandbox {
    dir: TempDir,
}

/// What a [`Sandbox`] begins with.
#[derive(Clone, Debug, Default)]
pub struct SandboxBuilder {
    files: BTreeMap<String, Vec<u8>>,
    todo: Option<String>,
}

impl SandboxBuilder {
    /// Adds a file to the remote's first commit.
    #[must_use]
    pub fn file(mut self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        self.files.insert(path.to_owned(), contents.as_ref().to_owned());
        self
    }

    /// Adds `.acf/config.toml` to the remote's first commit.
    #[must_use]
    pub fn policy(self, policy: &PolicyFile) -> Self {
        self.file(".acf/config.toml", policy.to_toml())
    }

    /// Puts a TODO file beside the repository, as a tracker that workers of one machine share.
    #[must_use]
    pub fn todo(mut self, text: &str) -> Self {
        self.todo = Some(text.to_owned());
        self
    }

    /// Puts a TODO file into the repository, as a tracker whose changes are commits.
    #[must_use]
    pub fn todo_in_repository(self, text: &str) -> Self {
        self.file("TODO.md", text)
    }

    /// Makes the sandbox.
    ///
    /// # Panics
    /// Where the disk or git refuses.
    #[must_use]
    pub fn build(mut self) -> Sandbox {
        let sandbox = Sandbox { dir: tempfile::tempdir().expect("make the sandbox's directory") };
        fs::create_dir(sandbox.home()).expect("make the sandbox's HOME");
        if let Some(text) = &self.todo {
            fs::write(sandbox.todo(), text).expect("write the TODO file");
        }
        if self.files.is_empty() {
            self = self.file("README.md", "# A sandbox\n");
        }
        let remote = sandbox.remote();
        let remote_path = remote.to_str().expect("temporary paths are UTF-8");
        sandbox.git_in(
            sandbox.root(),
            &["init", "--quiet", "--bare", &format!("--initial-branch={MAIN}"), remote_path],
        );
        // Read by `git http-backend` only: without it a push over HTTP is refused.
        sandbox.git(&["config", "http.receivepack", "true"]);
        import(sandbox.git_command(&remote), &self.files);
        sandbox
    }
}

impl Sandbox {
    /// Begins a sandbox.
    #[must_use]
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder::default()
    }

    /// Returns the directory that holds everything.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the HOME of every command of the sandbox.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// Returns where the bare remote repository lies.
    #[must_use]
    pub fn remote(&self) -> PathBuf {
        self.root().join("remote.git")
    }

    /// Returns the remote as a worker is told it: `file://…`.
    #[must_use]
    pub fn remote_url(&self) -> String {
        format!("file://{}", self.remote().display())
    }

    /// Returns where the shared TODO file lies, whether there is one or not.
    #[must_use]
    pub fn todo(&self) -> PathBuf {
        self.root().join("TODO.md")
    }

    /// Returns what the shared TODO file says now.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn todo_text(&self) -> String {
        fs::read_to_string(self.todo()).expect("read the TODO file")
    }

    /// Runs git on the remote and returns what it printed, without the last line break.
    ///
    /// # Panics
    /// Where git fails.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        self.git_in(&self.remote(), args)
    }

    /// Runs git in a directory and returns what it printed, without the last line break.
    ///
    /// # Panics
    /// Where git fails.
    #[track_caller]
    pub fn git_in(&self, dir: &Path, args: &[&str]) -> String {
        let output = self.git_output(dir, args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?} in {}: {}\n{stderr}", dir.display(), output.status);
        let stdout = String::from_utf8_lossy(&output.stdout);
        stdout.strip_suffix('\n').unwrap_or(&stdout).to_owned()
    }

    /// Runs git in a directory, and leaves it to the caller whether it should have failed.
    ///
    /// # Panics
    /// Where git cannot be started.
    #[must_use]
    pub fn git_output(&self, dir: &Path, args: &[&str]) -> Output {
        self.git_command(dir).args(args).output().expect("start git")
    }

    /// Returns git in a directory, with the sandbox's environment and no arguments yet.
    #[must_use]
    pub fn git_command(&self, dir: &Path) -> Command {
        let mut git = self.command("git");
        git.current_dir(dir);
        git
    }

    /// Returns a program with a cleared environment: PATH, the sandbox's HOME, a plain locale, and a
    /// git identity; standard input is empty.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", self.home())
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_AUTHOR_NAME", "Sandbox")
            .env("GIT_AUTHOR_EMAIL", "sandbox@example.invalid")
            .env("GIT_COMMITTER_NAME", "Sandbox")
            .env("GIT_COMMITTER_EMAIL", "sandbox@example.invalid")
            .current_dir(self.root())
            .stdin(Stdio::null());
        command
    }

    /// Clones the remote into a new directory of the sandbox and returns it.
    #[track_caller]
    pub fn clone_to(&self, name: &str) -> PathBuf {
        self.git_in(self.root(), &["clone", "--quiet", &self.remote_url(), name]);
        self.root().join(name)
    }

    /// Returns the subjects of the remote's main branch, the newest first.
    #[must_use]
    #[track_caller]
    pub fn log(&self) -> Vec<String> {
        self.git(&["log", "--format=%s", MAIN]).lines().map(str::to_owned).collect()
    }

    /// Returns a file of the remote at a revision; `None` where the revision does not hold it.
    ///
    /// # Panics
    /// Where there is no such revision.
    #[must_use]
    #[track_caller]
    pub fn file_at(&self, revision: &str, path: &str) -> Option<String> {
        let commit = self.git(&["rev-parse", "--verify", &format!("{revision}^{{commit}}")]);
        let object = format!("{commit}:{path}");
        let exists = self.git_output(&self.remote(), &["cat-file", "-e", &object]).status.success();
        exists.then(|| {
            let blob = self.git_output(&self.remote(), &["cat-file", "blob", &object]);
            String::from_utf8_lossy(&blob.stdout).into_owned()
        })
    }

    /// Returns the names of the remote's refs below a prefix, sorted.
    #[must_use]
    #[track_caller]
    pub fn refs(&self, prefix: &str) -> Vec<String> {
        self.git(&["for-each-ref", "--format=%(refname)", prefix]).lines().map(str::to_owned).collect()
    }
}

/// The text of a `.acf/config.toml`; what is not said is left out.
#[derive(Clone, Debug, Default)]
pub struct PolicyFile {
    setup: Vec<String>,
    verify: Vec<String>,
    max_fixes: Option<u32>,
    regate: Option<String>,
    gate_home: Option<String>,
    timeouts: BTreeMap<String, String>,
}

impl PolicyFile {
    /// Begins a policy that says nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a command that makes a checkout ready.
    #[must_use]
    pub fn setup(mut self, command: &str) -> Self {
        self.setup.push(command.to_owned());
        self
    }

    /// Adds a command to the gate.
    #[must_use]
    pub fn verify(mut self, command: &str) -> Self {
        self.verify.push(command.to_owned());
        self
    }

    /// Says how often a failure goes back to the agent.
    #[must_use]
    pub fn max_fixes(mut self, rounds: u32) -> Self {
        self.max_fixes = Some(rounds);
        self
    }

    /// Says when rebased work is checked again: `always`, `overlap`, `never`.
    #[must_use]
    pub fn regate(mut self, when: &str) -> Self {
        self.regate = Some(when.to_owned());
        self
    }

    /// Says which home the gate has: `worker`, `new`.
    #[must_use]
    pub fn gate_home(mut self, which: &str) -> Self {
        self.gate_home = Some(which.to_owned());
        self
    }

    /// Limits a step (`setup`, `verify`, `agent`, `stall`) to a time such as `5s`.
    #[must_use]
    pub fn timeout(mut self, step: &str, limit: &str) -> Self {
        self.timeouts.insert(step.to_owned(), limit.to_owned());
        self
    }

    /// Returns the file's text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = format!("setup = {}\nverify = {}\n", array(&self.setup), array(&self.verify));
        let mut line = |key: &str, value: String| writeln!(text, "{key} = {value}").expect("strings grow");
        if let Some(rounds) = self.max_fixes {
            line("max_fixes", rounds.to_string());
        }
        if let Some(when) = &self.regate {
            line("regate", string(when));
        }
        if let Some(which) = &self.gate_home {
            line("gate_home", string(which));
        }
        for (step, limit) in &self.timeouts {
            line(&format!("timeouts.{step}"), string(limit));
        }
        text
    }
}

fn array(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| string(item)).collect::<Vec<_>>().join(", "))
}

/// Writes a TOML string: what JSON escapes, and how, is a subset of what TOML reads.
fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Makes the first commit in one process, executable where a file begins with `#!`.
fn import(mut git: Command, files: &BTreeMap<String, Vec<u8>>) {
    let mut stream = format!(
        "commit refs/heads/{MAIN}\n\
         committer Sandbox <sandbox@example.invalid> 946684800 +0000\n\
         data 12\nFirst commit\n"
    )
    .into_bytes();
    for (path, contents) in files {
        let mode = if contents.starts_with(b"#!") { "100755" } else { "100644" };
        let quoted = string(path);
        stream.extend(format!("M {mode} inline {quoted}\ndata {}\n", contents.len()).bytes());
        stream.extend(contents);
        stream.push(b'\n');
    }
    let mut import =
        git.args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().expect("start git fast-import");
    import.stdin.take().expect("stdin is piped").write_all(&stream).expect("feed git fast-import");
    let status = import.wait().expect("wait for git fast-import");
    assert!(status.success(), "git fast-import: {status}");
}

/// Returns where a binary of this workspace was built, beside the running test.
///
/// # Panics
/// Where it was not built.
#[must_use]
#[track_caller]
pub fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().expect("the running test has a path");
    // target/<profile>/deps/it-<hash>
    let profile = test.parent().and_then(Path::parent).expect("cargo runs tests from target/<profile>/deps");
    let binary = profile.join(name);
    assert!(
        binary.is_file(),
        "{} is not built: run `cargo build --workspace --bins` first (`./setup.sh test` does)",
        binary.display()
    );
    binary
}

/// Returns the PATH that the tests were started with.
#[expect(clippy::disallowed_methods, reason = "the one thing of the machine that a hermetic command needs")]
pub(crate) fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

/// Returns where git keeps its own programs.
pub(crate) fn git_exec_path() -> PathBuf {
    let output = Command::new("git").arg("--exec-path").output().expect("start git");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
