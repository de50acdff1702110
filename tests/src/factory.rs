//! A sandbox with the settings of a worker: the real `acf`, run as people and scripts run it.
//!
//! It owns the settings and the processes that it starts; what is in the sandbox belongs to the test.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::sandbox::{Sandbox, binary, search_path};

/// How long anything that a test waits for may take.
const PATIENCE: Duration = Duration::from_secs(85);
/// The pause between two looks at what another process does.
const PAUSE: Duration = Duration::from_millis(5);

/// Names, in the environment of everything that a factory starts, whose it is.
const MARK: &str = "TEST_FACTORY";

/// A sandbox with the settings of a worker.
#[derive(Debug)]
pub struct Factory {
    sandbox: Sandbox,
    env: BTreeMap<String, String>,
    /// What is left out of the rights of root.
    without_rights: &'static str,
}

/// What a program said, and how it ended.
#[derive(Clone, Debug)]
pub struct Told {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Its data.
    pub stdout: String,
    /// Its talk.
    pub stderr: String,
}

impl Told {
    /// Returns the data as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns this, if the program ended with exit code 0.
    ///
    /// # Panics
    /// Where it did not.
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Returns what a program said that ended with that exit code and printed no data.
    ///
    /// # Panics
    /// Where it ended otherwise.
    #[track_caller]
    pub fn refused(self, code: i32) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{}", self.stderr);
        self.stderr
    }
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

impl Factory {
    /// Gives a sandbox the settings of a worker: the scripted agent, the shared TODO file, no backoff.
    #[must_use]
    pub fn of(sandbox: Sandbox) -> Self {
        let mark = sandbox.root().display().to_string();
        let settings = [
            ("TASK_MANAGER", "todo".to_owned()),
            ("PROJECT", sandbox.todo().display().to_string()),
            ("GIT_REPO_URL", sandbox.remote_url()),
            ("AGENT", "script".to_owned()),
            ("LOOP_WORK_DIR", sandbox.root().join("work").display().to_string()),
            ("RETRY_BACKOFF", "0".to_owned()),
            (MARK, mark),
        ];
        let env = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { sandbox, env, without_rights: "-dac_override,-dac_read_search,-fowner" }
    }

    /// Leaves those of root's rights out, as `setpriv --bounding-set` names them, and no others.
    #[must_use]
    pub fn without_rights(mut self, rights: &'static str) -> Self {
        self.without_rights = rights;
        self
    }

    /// Gives a sandbox with that TODO file and nothing else in it the settings of a worker.
    #[must_use]
    pub fn with_todo(todo: &str) -> Self {
        Self::of(Sandbox::builder().todo(todo).build())
    }

    /// Sets a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// Takes a variable back.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Makes a shell script the agent: it gets its prompt as `$prompt`, and is not called for `init`.
    #[must_use]
    pub fn agent(self, script: &str) -> Self {
        let path = self.program("agent", &format!("[ \"$1\" = run ] || exit 0\nprompt=$2\n{script}\n"));
        self.with("AGENT", "command").with("AGENT_COMMAND", path)
    }

    /// Puts a shell script into the sandbox and returns its path.
    ///
    /// # Panics
    /// Where the disk refuses.
    #[must_use]
    pub fn program(&self, name: &str, script: &str) -> String {
        let path = self.sandbox.root().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("write a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make a script executable");
        path.display().to_string()
    }

    /// Makes a shell script the program of that name, whatever else goes by it on this machine.
    ///
    /// # Panics
    /// Where the disk refuses, or PATH is no text.
    #[must_use]
    pub fn installed(self, name: &str, script: &str) -> Self {
        let directory = self.sandbox.root().join("installed");
        fs::create_dir_all(&directory).expect("make a directory for programs");
        let _path = self.program(&format!("installed/{name}"), script);
        let path = search_path().into_string().expect("PATH is text");
        self.with("PATH", format!("{}:{path}", directory.display()))
    }

    /// Returns the sandbox.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Returns where the checkouts of runs lie.
    #[must_use]
    pub fn checkouts(&self) -> PathBuf {
        self.sandbox.root().join("work/checkouts")
    }

    /// Returns `acf` under that name, with the settings and no arguments yet. It may not go past the
    /// permissions of files, even where the tests run as root.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let program = binary("acf-under-test");
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = self.sandbox.command("setpriv");
            let tool = self.sandbox.root().join("bin").join(name);
            fs::create_dir_all(self.sandbox.root().join("bin")).expect("make a directory for links");
            if !tool.exists() {
                std::os::unix::fs::symlink(&program, &tool).expect("link to acf");
            }
            if !self.without_rights.is_empty() {
                command.arg(format!("--bounding-set={}", self.without_rights));
            }
            command.arg("--").arg(tool);
            command
        } else {
            let mut command = self.sandbox.command(&program);
            command.arg0(name);
            command
        };
        command.envs(&self.env);
        command
    }

    /// Runs `acf` to its end.
    pub fn acf(&self, args: &[&str]) -> Told {
        self.called("acf", args)
    }

    /// Runs `acf` under another name to its end.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn called(&self, name: &str, args: &[&str]) -> Told {
        self.command(name).args(args).output().expect("start acf").into()
    }

    /// Runs a worker until there is nothing to do.
    pub fn drain(&self) -> Told {
        self.acf(&["worker", "--exit-when-idle"])
    }

    /// Runs a planner until there is nothing to do.
    pub fn plan(&self) -> Told {
        self.acf(&["worker", "--stage", "planning", "--exit-when-idle"])
    }

    /// Starts a worker with that id in the background.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn start(&self, id: &str, args: &[&str]) -> Running {
        self.start_acf(id, &[&["worker"], args].concat())
    }

    /// Starts `acf` in the background; what it logs and tells is kept under that name.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn start_acf(&self, id: &str, args: &[&str]) -> Running {
        let file = |suffix: &str| self.sandbox.root().join(format!("{id}.{suffix}"));
        let (log, events) = (file("log"), file("events"));
        let mut command = self.command("acf");
        command.args(args).env("ACF_WORKER_ID", id).env("ACF_EVENTS_FILE", &events);
        command.stdout(File::create(&log).expect("make the log"));
        command.stderr(File::options().append(true).open(&log).expect("open the log"));
        Running { child: command.spawn().expect("start acf"), log, events }
    }

    /// Returns the run records of an issue, the oldest first.
    ///
    /// # Panics
    /// Where `acf runs` fails.
    #[must_use]
    #[track_caller]
    pub fn runs(&self, key: &str) -> Vec<Value> {
        let runs = self.acf(&["runs", key, "--json"]).done().json();
        runs.as_array().expect("runs are a list").clone()
    }

    /// Returns kind and reason of an issue's only run, which failed.
    ///
    /// # Panics
    /// Where it did not, or there were more.
    #[must_use]
    #[track_caller]
    pub fn failure(&self, key: &str) -> (String, String) {
        let runs = self.runs(key);
        assert_eq!(runs.len(), 1, "{runs:?}");
        assert_eq!(runs[0]["outcome"], "failed", "{runs:?}");
        let text = |field: &str| runs[0][field].as_str().expect("failures have words").to_owned();
        (text("kind"), text("reason"))
    }

    /// Returns a file of the work in progress that is kept, of one issue at most; `None` where there is none.
    ///
    /// # Panics
    /// Where the work of several issues is kept.
    #[must_use]
    #[track_caller]
    pub fn kept(&self, path: &str) -> Option<String> {
        match &self.sandbox().refs("refs/acf/wip/")[..] {
            [] => None,
            [wip] => self.sandbox().file_at(wip, path),
            several => panic!("the work of several issues is kept: {several:?}"),
        }
    }

    /// Tells which claims are held: none, once every worker has ended.
    #[must_use]
    pub fn claims(&self) -> Vec<String> {
        self.sandbox.refs("refs/acf/claims")
    }

    /// Looks until there is something to be found.
    ///
    /// # Panics
    /// Where there is nothing in time.
    #[track_caller]
    pub fn waits_for<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            let todo = fs::read_to_string(self.sandbox.todo()).unwrap_or_default();
            assert!(Instant::now() < deadline, "no sign of {what}; the TODO file:\n{todo}");
            pause();
        }
    }

    /// Waits until nothing that the factory has started is running, and tells what still is.
    #[must_use]
    pub fn left_running(&self) -> Vec<String> {
        let mark = format!("{MARK}={}\0", self.sandbox.root().display());
        let find = || -> Vec<String> {
            let processes = fs::read_dir("/proc").expect("read /proc").flatten().map(|entry| entry.path());
            let is_ours = |process: &PathBuf| {
                let environ = fs::read(process.join("environ")).unwrap_or_default();
                environ.windows(mark.len()).any(|window| window == mark.as_bytes())
            };
            let words = |process: PathBuf| {
                let line = fs::read(process.join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).replace('\0', " ")
            };
            processes.filter(is_ours).map(words).collect()
        };
        let mut left = find();
        let deadline = Instant::now() + Duration::from_secs(5);
        while !left.is_empty() && Instant::now() < deadline {
            pause();
            left = find();
        }
        left
    }
}

impl Drop for Factory {
    /// Ends what a failed test has left running in the background, before its directory goes.
    fn drop(&mut self) {
        if self.sandbox.home().join(".local/state/acf").exists() {
            let _told = self.acf(&["stop", "--all", "--grace", "0s"]);
        }
    }
}

/// A worker in the background, killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    events: PathBuf,
}

impl Running {
    /// Returns what it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until the log holds that text.
    ///
    /// # Panics
    /// Where it does not in time.
    #[track_caller]
    pub fn says(&mut self, text: &str) {
        self.waits_for(text, |running| running.log().contains(text).then_some(()));
    }

    /// Waits until the worker is at that step.
    ///
    /// # Panics
    /// Where it is not in time.
    #[track_caller]
    pub fn is_at(&mut self, step: &str) {
        self.waits_for(step, |running| running.has_been_at(step).then_some(()));
    }

    /// Tells whether the worker has come to that step so far.
    #[must_use]
    pub fn has_been_at(&self, step: &str) -> bool {
        let events = fs::read_to_string(&self.events).unwrap_or_default();
        let is_it = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|event| event["step"] == step);
        events.lines().any(is_it)
    }

    /// Tells whether it has ended.
    ///
    /// # Panics
    /// Where nobody can tell.
    #[must_use]
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("look after the worker").is_some()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// Where it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("pids are positive");
        kill_process(pid, signal).expect("signal the worker");
    }

    /// Waits until it has ended, and returns how, and what it logged.
    ///
    /// # Panics
    /// Where it does not end in time.
    #[track_caller]
    pub fn ended(mut self) -> Told {
        let status: ExitStatus =
            self.waits_for("the end", |running| running.child.try_wait().expect("look after the worker"));
        Told { code: status.code(), stdout: String::new(), stderr: self.log() }
    }

    /// Looks until there is something to be found.
    ///
    /// # Panics
    /// Where there is nothing in time.
    #[track_caller]
    pub fn waits_for<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "no sign of {what:?}; the log:\n{}", self.log());
            pause();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "what another process does can only be looked at again")]
fn pause() {
    std::thread::sleep(PAUSE);
}
