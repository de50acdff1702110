//! What is left of a guard that was killed itself: found by the mark in its environment.
//!
//! Whoever inherits the environment carries the mark, in whatever session it is. A command that clears
//! its environment loses it, and is then only found in the session of its guard.

use std::fs;

use rustix::process::Signal;

use super::identity::Identity;

/// The variable that names the guard of a process, for [`end_survivors`].
pub(super) const MARK: &str = "ACF_GUARD";

/// How often is looked again for what was started between the look and the kill.
const MAX_PASSES: usize = 100;

/// Ends every process whose guard is dead, and returns how many there were: those of a worker that was
/// killed in the same instant as its guard, above all.
///
/// Processes of other users, of other containers and of living guards are left alone.
pub fn end_survivors() -> usize {
    let mut ended = 0;
    for _ in 0..MAX_PASSES {
        let signalled = survivors().filter(|process| matches!(process.signal(Signal::KILL), Ok(true)));
        match signalled.count() {
            0 => break,
            count => ended += count,
        }
    }
    ended
}

fn survivors() -> impl Iterator<Item = Identity> {
    // A mark from another PID namespace means another process, or none.
    let namespace = fs::read_link("/proc/self/ns/pid").ok();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter_map(move |pid| {
        // Taken before the environment is read: a later process of that number is not meant.
        let process = Identity::of(pid).ok()?;
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let guard = guard_named_in(&environment)?;
        let is_of_here = fs::read_link(format!("/proc/{pid}/ns/pid")).ok() == namespace;
        (is_of_here && !guard.is_alive() && process.is_alive()).then_some(process)
    })
}

fn guard_named_in(environment: &[u8]) -> Option<Identity> {
    let variables = environment.split(|&byte| byte == 0).filter_map(|entry| str::from_utf8(entry).ok());
    let mut marks = variables.filter_map(|entry| entry.strip_prefix(MARK)?.strip_prefix('='));
    Identity::from_word(marks.next()?)
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
