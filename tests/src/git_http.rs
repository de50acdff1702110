//! A git server over smart HTTP that asks for a password: `git http-backend` behind lighttpd.
//!
//! It owns the server's process and its configuration. The repositories that it serves belong to the
//! caller, and what may be pushed to them is decided by their own configuration.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::sandbox;

/// How long the server may take for its first answer.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Where lighttpd may lie: Debian puts it outside an ordinary user's PATH.
const LIGHTTPD: [&str; 2] = ["lighttpd", "/usr/sbin/lighttpd"];

/// A running git server, ended when this is dropped.
#[derive(Debug)]
pub struct GitHttp {
    address: SocketAddr,
    server: Child,
    dir: TempDir,
}

impl GitHttp {
    /// Serves the bare repositories below `root` on a free loopback port, to `user` with `password`.
    ///
    /// Pushing takes `http.receivepack = true` in a repository; [`crate::sandbox::Sandbox`] sets it.
    ///
    /// # Panics
    /// Where lighttpd is missing or does not serve.
    #[must_use]
    pub fn start(root: &Path, user: &str, password: &str) -> Self {
        let lighttpd = find_lighttpd();
        let dir = tempfile::tempdir().expect("make the server's directory");
        write_private(&dir.path().join("passwords"), &format!("{user}:{password}\n"));

        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("listen on a loopback port");
        let address = listener.local_addr().expect("read the port");
        let config = dir.path().join("lighttpd.conf");
        fs::write(&config, configuration(root, dir.path(), address.port())).expect("write lighttpd.conf");

        // The socket listens before the server runs, and is handed over as systemd would do it: the
        // port cannot be lost to another test, and a client that comes early waits in the backlog.
        // The shell only moves the socket to descriptor 3 and is replaced by the server.
        let server = Command::new("sh")
            .arg("-c")
            .arg(r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" -D -f "$1""#)
            .args([lighttpd.as_os_str(), config.as_os_str()])
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start sh");
        let server = Self { address, server, dir };
        server.assert_answers();
        server
    }

    /// Returns the address of a repository below the root: `http://127.0.0.1:PORT/NAME`, without
    /// credentials.
    #[must_use]
    pub fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.address)
    }

    /// Returns the line that `git credential-store` keeps for a user of this server.
    #[must_use]
    pub fn credential_line(&self, user: &str, password: &str) -> String {
        format!("http://{user}:{password}@{}\n", self.address)
    }

    fn assert_answers(&self) {
        let answer = first_line(self.address);
        let refused_without_password = matches!(&answer, Ok(line) if line.contains(" 401 "));
        if !refused_without_password {
            let log = fs::read_to_string(self.dir.path().join("error.log")).unwrap_or_default();
            panic!("lighttpd on {} answered {answer:?} instead of 401; its log:\n{log}", self.address);
        }
    }
}

impl Drop for GitHttp {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ended = self.server.kill();
        let _status = self.server.wait();
    }
}

fn find_lighttpd() -> PathBuf {
    let runs = |program: &&str| {
        Command::new(program)
            .arg("-v")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    LIGHTTPD.iter().find(|program| runs(program)).map(PathBuf::from).unwrap_or_else(|| {
        panic!("this test needs lighttpd: `./setup.sh test` installs it (Debian: apt-get install lighttpd)")
    })
}

fn first_line(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, START_TIMEOUT)?;
    stream.set_read_timeout(Some(START_TIMEOUT))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

fn configuration(root: &Path, dir: &Path, port: u16) -> String {
    let root = quoted(root);
    let backend = quoted(&sandbox::git_exec_path().join("git-http-backend/"));
    let [passwords, log] = ["passwords", "error.log"].map(|name| quoted(&dir.join(name)));
    let [uploads, path] = [quoted(dir), quoted(Path::new(&sandbox::search_path()))];
    format!(
        r#"server.modules = ("mod_auth", "mod_authn_file", "mod_alias", "mod_setenv", "mod_cgi")
server.document-root = {root}
server.bind = "127.0.0.1"
server.port = {port}
server.systemd-socket-activation = "enable"
server.upload-dirs = ({uploads})
server.errorlog = {log}
auth.backend = "plain"
auth.backend.plain.userfile = {passwords}
auth.require = ("/" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))
alias.url = ("/" => {backend})
cgi.assign = ("" => "")
setenv.set-environment = (
  "GIT_PROJECT_ROOT" => {root},
  "GIT_HTTP_EXPORT_ALL" => "1",
  "GIT_CONFIG_NOSYSTEM" => "1",
  "LC_ALL" => "C",
  "PATH" => {path},
)
"#
    )
}

/// Quotes a path for lighttpd's configuration, whose strings have no escape for everything.
fn quoted(path: &Path) -> String {
    let text = path.to_str().expect("paths of tests are UTF-8");
    assert!(!text.contains(['"', '\\', '\n']), "lighttpd's configuration cannot name {text:?}");
    format!("\"{text}\"")
}

fn write_private(path: &Path, text: &str) {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("create a file");
    file.write_all(text.as_bytes()).expect("write a file");
}
