//! The family of this process: everything that it started, however far it went to be forgotten.

use rustix::io;
use rustix::process::{Pid, Signal};

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::{HashMap, HashSet};
    use std::fs;

    use rustix::process::{getpgrp, getpid, kill_process, kill_process_group, set_child_subreaper};

    use super::{Pid, Signal, io};

    /// Makes orphans below this process its own children, whatever sessions they have made.
    pub(in super::super) fn adopt_orphans() -> io::Result<()> {
        set_child_subreaper(Some(getpid()))
    }

    /// Sends a signal to every descendant of this process that is to be seen right now.
    ///
    /// Whole process groups get it at once: only so can a family that keeps forking not outrun it. Every
    /// group of a descendant holds descendants only, since groups never reach across sessions and the
    /// guard is in a session of its own.
    pub(in super::super) fn signal_all(_main: Pid, signal: Signal) {
        let (me, my_group) = (getpid(), getpgrp());
        let mut signalled = HashSet::new();
        for Entry { pid, group, .. } in descendants(me, entries()) {
            // A failure means that it has just ended, or that it is another user's and beyond reach.
            if group == my_group || group == me {
                let _ = kill_process(pid, signal);
            } else if signalled.insert(group) {
                let _ = kill_process_group(group, signal);
            }
        }
    }

    /// Kills what is left in the session of a guard that was killed itself, and is not yet reaped.
    ///
    /// What has left the session is found by its mark ([`end_survivors`][super::super::end_survivors]).
    pub(in super::super) fn kill_session(guard: Pid) {
        let mut signalled = HashSet::new();
        // Again while there are new groups, made between the look and the kill.
        for _ in 0..MAX_PASSES {
            let members = entries().filter(|entry| entry.session == guard && entry.pid != guard);
            let groups: HashSet<_> = members.map(|entry| entry.group).collect();
            let new: Vec<_> = groups.into_iter().filter(|&group| signalled.insert(group)).collect();
            if new.is_empty() {
                break;
            }
            for group in new {
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
    }

    const MAX_PASSES: usize = 100;

    #[derive(Clone, Copy)]
    struct Entry {
        pid: Pid,
        parent: Pid,
        group: Pid,
        session: Pid,
    }

    fn entries() -> impl Iterator<Item = Entry> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        numbers.filter_map(|pid| parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
    }

    /// Parses `/proc/PID/stat`: `pid (name) state ppid pgrp session …`, where the name may hold anything.
    fn parse(stat: &str) -> Option<Entry> {
        let pid = stat.split_once(' ')?.0.parse().ok()?;
        let after_name = stat.rsplit_once(") ")?.1.split(' ').skip(1);
        // Kernel threads, and what was started outside of this PID namespace, have zeros.
        let numbers: Vec<_> =
            after_name.take(3).map_while(|text| Pid::from_raw(text.parse().ok()?)).collect();
        let [parent, group, session] = numbers.try_into().ok()?;
        Some(Entry { pid: Pid::from_raw(pid)?, parent, group, session })
    }

    fn descendants(root: Pid, entries: impl Iterator<Item = Entry>) -> Vec<Entry> {
        let mut children: HashMap<Pid, Vec<Entry>> = HashMap::new();
        for entry in entries {
            children.entry(entry.parent).or_default().push(entry);
        }
        let mut found = children.remove(&root).unwrap_or_default();
        let mut looked_at = 0;
        while let Some(entry) = found.get(looked_at) {
            let grandchildren = children.remove(&entry.pid).unwrap_or_default();
            found.extend(grandchildren);
            looked_at += 1;
        }
        found
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_name_with_spaces_and_brackets_is_no_trap() {
            let entry = parse("42 (a) R 1 1 (b) S 7 40 39 0 -1 4194560").unwrap();
            let numbers = [entry.pid, entry.parent, entry.group, entry.session].map(Pid::as_raw_pid);
            assert_eq!(numbers, [42, 7, 40, 39]);
            assert!(parse("42 (a").is_none());
        }

        #[test]
        fn only_the_family_is_found_all_of_it_and_once() {
            let entry = |pid, parent| {
                let number = |n| Pid::from_raw(n).unwrap();
                Entry { pid: number(pid), parent: number(parent), group: number(pid), session: number(1) }
            };
            let table = [entry(1, 1), entry(9, 5), entry(2, 1), entry(5, 2), entry(6, 2), entry(3, 1)];
            let found = descendants(Pid::from_raw(2).unwrap(), table.into_iter());
            let mut pids: Vec<_> = found.iter().map(|entry| entry.pid.as_raw_pid()).collect();
            pids.sort_unstable();
            assert_eq!(pids, [5, 6, 9]);
        }
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::{adopt_orphans, kill_session, signal_all};

/// Does nothing: only Linux lets a process adopt its orphans.
#[cfg(not(target_os = "linux"))]
pub(super) fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

/// Sends a signal to the command's process group; what left the group escapes.
#[cfg(not(target_os = "linux"))]
pub(super) fn signal_all(main: Pid, signal: Signal) {
    let _ = rustix::process::kill_process_group(main, signal);
}

/// Does nothing: sessions are not to be seen here.
#[cfg(not(target_os = "linux"))]
pub(super) fn kill_session(_guard: Pid) {}
