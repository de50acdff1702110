//! What is left of a guard or of a worker that was killed itself: found by the marks in its environment.
//!
//! Whoever inherits the environment carries the mark, in whatever session it is. A command that clears
//! its environment loses it, and is then only found in the session of its guard.

use std::fs;
use std::sync::OnceLock;

use rustix::process::Signal;

use super::identity::Identity;

/// The variable that names the guard of a process, for [`end_survivors`].
pub(super) const MARK: &str = "ACF_GUARD";
/// The variable that names the process that started a git command, and the session of both.
pub(crate) const GIT_MARK: &str = "ACF_GIT_OF";

/// How often is looked again for what was started between the look and the kill.
const MAX_PASSES: usize = 100;

/// Returns the value of [`GIT_MARK`] for the git commands of this process.
pub(crate) fn git_mark() -> &'static str {
    static OWN: OnceLock<String> = OnceLock::new();
    OWN.get_or_init(|| {
        let own = Identity::of(std::process::id()).ok();
        let mark = own.and_then(|own| Some(format!("{} {}", own.to_word(), own.session()?)));
        mark.unwrap_or_default()
    })
}

/// Ends every process whose guard is dead, and every git command that outlived who started it; returns how
/// many there were: those of a worker that was killed in the same instant as its guard, above all.
///
/// Processes of other users, of other containers and of living guards and workers are left alone.
pub fn end_survivors() -> usize {
    let mut signalled = Vec::new();
    for _ in 0..MAX_PASSES {
        let before = signalled.len();
        for (process, signal) in survivors() {
            if !signalled.contains(&process) && matches!(process.signal(signal), Ok(true)) {
                signalled.push(process);
            }
        }
        if signalled.len() == before {
            break;
        }
    }
    signalled.len()
}

/// Finds them, each with the signal that ends it.
fn survivors() -> impl Iterator<Item = (Identity, Signal)> {
    // A mark from another PID namespace means another process, or none.
    let namespace = fs::read_link("/proc/self/ns/pid").ok();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter_map(move |pid| {
        // Taken before the environment is read: a later process of that number is not meant.
        let process = Identity::of(pid).ok()?;
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let (starter, signal) = match guard_named_in(&environment) {
            Some(guard) => (guard, Signal::KILL),
            None => (starter_of_git(&process, pid, &environment)?, Signal::TERM),
        };
        let is_of_here = fs::read_link(format!("/proc/{pid}/ns/pid")).ok() == namespace;
        (is_of_here && !starter.is_alive() && process.is_alive()).then_some((process, signal))
    })
}

/// Returns who started a git command, or a transport of it.
///
/// They are asked to end, not killed, so that they remove their locks, those in a remote that is a path
/// included. What a hook has started there, and a daemon that has left the session, are none of acf's.
fn starter_of_git(process: &Identity, pid: u32, environment: &[u8]) -> Option<Identity> {
    let (starter, session) = mark_in(environment, GIT_MARK)?.split_once(' ')?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let name = name.trim_end();
    let is_git = (name == "git" || name.starts_with("git-")) && !name.starts_with("git-credential");
    let is_in_session = process.session() == session.parse().ok();
    ((is_git || name == "ssh") && is_in_session).then(|| Identity::from_word(starter))?
}

fn guard_named_in(environment: &[u8]) -> Option<Identity> {
    Identity::from_word(mark_in(environment, MARK)?)
}

fn mark_in<'a>(environment: &'a [u8], name: &str) -> Option<&'a str> {
    let mut variables = environment.split(|&byte| byte == 0).filter_map(|entry| str::from_utf8(entry).ok());
    variables.find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_read_and_nothing_like_it() {
        let own = Identity::of(std::process::id()).unwrap();
        let environment = format!("PATH=/bin\0\u{fffd}=x\0{MARK}={}\0LAST=1\0", own.to_word());
        assert_eq!(guard_named_in(environment.as_bytes()), Some(own));
        for none in ["", "PATH=/bin\0", "ACF_GUARDIAN=7.7\0", "X=ACF_GUARD=7.7\0", "ACF_GUARD=\0"] {
            assert_eq!(guard_named_in(none.as_bytes()), None, "{none:?}");
        }
    }
}
