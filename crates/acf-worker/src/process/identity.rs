//! Which process is meant: a pid that is never mistaken for another process that got the same number.
//!
//! Reads Linux's `/proc`.

use std::fs;
use std::io;
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process, told apart from every other one that has its pid, before or after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pid: i32,
    /// When it was started, in clock ticks since the machine was.
    start_ticks: u64,
    /// Which start of the machine that was.
    boot: String,
}

impl Identity {
    /// Returns the process that has this pid now.
    ///
    /// # Errors
    /// Where there is none.
    pub fn of(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let stat = Stat::read(pid)?;
        Ok(Self { pid, start_ticks: stat.start_ticks, boot: boot_id().to_owned() })
    }

    /// Tells whether the process still runs; one that waits to be reaped does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.stat().is_some_and(|stat| !stat.is_zombie())
    }

    /// Sends the process a signal, and tells whether it was still there to get it.
    ///
    /// # Errors
    /// Where the signal is refused, as by another user's process.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(false) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // Looked at after it was opened: from here on the descriptor means this very process.
            Ok(_) if !self.is_alive() => Ok(false),
            Ok(process) => sent(pidfd_send_signal(process, signal)),
            Err(Errno::SRCH) => Ok(false),
            // Kernels and sandboxes without pidfds: the look and the signal are two steps there.
            Err(Errno::NOSYS | Errno::PERM) if self.is_alive() => sent(kill_process(pid, signal)),
            Err(Errno::NOSYS | Errno::PERM) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the other members of the process's session, while it lives and `leader` leads it.
    ///
    /// Its being alive is what proves that the session is still the one that is meant; the leader, that
    /// it is one that was made for it, and not that of a person's shell.
    ///
    /// # Errors
    /// Where `/proc` cannot be read.
    pub fn session_members(&self, leader: &Self) -> io::Result<Vec<Self>> {
        let session = leader.pid;
        if self.stat().is_none_or(|stat| stat.session != session) {
            return Ok(Vec::new());
        }
        let mut members = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(stat) = Stat::read(pid) else { continue };
            if stat.session == session && pid != self.pid && !stat.is_zombie() {
                members.push(Self { pid, start_ticks: stat.start_ticks, boot: self.boot.clone() });
            }
        }
        Ok(if self.is_alive() { members } else { Vec::new() })
    }

    /// Returns the session that the process is in, while it runs.
    #[must_use]
    pub(super) fn session(&self) -> Option<i32> {
        Some(self.stat()?.session)
    }

    /// Writes the process as one word, for as long as this machine runs.
    #[must_use]
    pub(super) fn to_word(&self) -> String {
        format!("{}.{}", self.pid, self.start_ticks)
    }

    /// Reads what [`Self::to_word`] wrote since this machine was started.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        let (pid, start_ticks) = word.split_once('.')?;
        Some(Self {
            pid: pid.parse().ok()?,
            start_ticks: start_ticks.parse().ok()?,
            boot: boot_id().to_owned(),
        })
    }

    fn stat(&self) -> Option<Stat> {
        let stat = Stat::read(self.pid).ok()?;
        (stat.start_ticks == self.start_ticks && self.boot == boot_id()).then_some(stat)
    }
}

fn sent(result: Result<(), Errno>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns what tells this start of the machine from all others; nothing where it is not told.
fn boot_id() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    BOOT_ID.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    })
}

/// What `/proc/<pid>/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: String,
    session: i32,
    start_ticks: u64,
}

impl Stat {
    fn read(pid: i32) -> io::Result<Self> {
        let bytes = fs::read(format!("/proc/{pid}/stat"))?;
        let text = String::from_utf8_lossy(&bytes);
        Self::parse(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Reads fields 3, 6 and 22 of proc_pid_stat(5). Field 2, the program's name, may hold anything,
    /// parentheses and spaces too; so the others are counted from its last parenthesis.
    fn parse(text: &str) -> Option<Self> {
        let (_, after_name) = text.rsplit_once(')')?;
        let fields: Vec<_> = after_name.split_whitespace().collect();
        Some(Self {
            state: (*fields.first()?).to_owned(),
            session: fields.get(3)?.parse().ok()?,
            start_ticks: fields.get(19)?.parse().ok()?,
        })
    }

    fn is_zombie(&self) -> bool {
        matches!(self.state.as_str(), "Z" | "X")
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn sleeper() -> std::process::Child {
        Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn a_process_is_alive_until_it_ends_even_before_it_is_reaped() {
        let mut child = sleeper();
        let identity = Identity::of(child.id()).unwrap();
        assert!(identity.is_alive());
        assert!(identity.signal(Signal::KILL).unwrap());
        while identity.is_alive() {
            std::thread::yield_now();
        }
        assert!(!identity.signal(Signal::KILL).unwrap(), "it waits to be reaped");
        child.wait().unwrap();
        assert!(!identity.is_alive());
        assert!(!identity.signal(Signal::KILL).unwrap());
    }

    #[test]
    fn another_process_with_the_same_pid_is_never_touched() {
        let mut child = sleeper();
        let real = Identity::of(child.id()).unwrap();
        let earlier = Identity { start_ticks: real.start_ticks - 1, ..real.clone() };
        let before_the_reboot = Identity { boot: "another".into(), ..real };
        for stranger in [earlier, before_the_reboot] {
            assert!(!stranger.is_alive());
            assert!(!stranger.signal(Signal::KILL).unwrap());
            assert_eq!(stranger.session_members(&stranger).unwrap(), []);
        }
        assert!(real.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_session_that_was_not_made_for_the_process_is_left_alone() {
        let mut child = sleeper();
        let own = Identity::of(std::process::id()).unwrap();
        let of_child = Identity::of(child.id()).unwrap();
        let shell = Identity { pid: own.stat().unwrap().session, ..own.clone() };
        assert!(own.session_members(&shell).unwrap().contains(&of_child));
        assert_eq!(of_child.session_members(&of_child).unwrap(), []);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_survives_being_written_as_a_word() {
        let own = Identity::of(std::process::id()).unwrap();
        assert_eq!(Identity::from_word(&own.to_word()), Some(own));
        for word in ["", "7", "7.", ".7", "a.7", "7.-7"] {
            assert_eq!(Identity::from_word(word), None, "{word:?}");
        }
    }

    #[test]
    fn a_programs_name_cannot_shift_the_fields() {
        let line = "7 (a) Z 1 2 (b)) S 1 2 33 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        let stat = Stat { state: "S".into(), session: 33, start_ticks: 4242 };
        assert_eq!(Stat::parse(line), Some(stat));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }
}
