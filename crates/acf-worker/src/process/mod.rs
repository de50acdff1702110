//! Child processes that leave nothing behind.
//!
//! Every agent, gate and set-up command runs below a *guard*: this same program, started as
//! `/proc/self/exe __guard`. The guard owns the command's whole family, daemons included, and ends it
//! when the command ends, when the worker says so, and when the worker is no more: even SIGKILL on the
//! worker leaves no agent behind, because the guard then reads the end of its line to the worker. What a
//! guard could not end, as it was killed itself, carries its mark and is ended by whoever looks next
//! ([`end_survivors`]): its worker, the keeper of that, the next worker, `acf stop`, `acf sweep`.
//!
//! git's own short-lived processes have no guard, which would cost more than most of them: they carry a mark
//! of their own, by which what a killed worker left of them is found in the same way.
//!
//! Not here: what the commands are and what their output means ([`crate::agent`], [`crate::gate`]).

mod descendants;
mod guard;
mod guarded;
mod identity;
mod lines;
mod protocol;
mod survivors;
mod tail;

pub use guard::guard_main;
pub use guarded::{End, Guard, GuardedCommand, Limits, OnLine, Output, Place, Until, run, run_until};
pub use identity::Identity;
pub(crate) use protocol::GUARD;
pub use protocol::UserIds;
pub use survivors::end_survivors;
pub(crate) use survivors::{GIT_MARK, git_mark};
pub use tail::Tail;
pub(crate) use tail::plain;

/// Returns a path by which this very program can be started, even if its file is replaced or deleted.
pub(crate) fn this_program() -> std::io::Result<std::path::PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

/// Keeps other processes of the same user, an agent's above all, from reading this one's environment and
/// memory in `/proc`, where the tokens are. Root, and whoever may trace any process, still can.
pub fn keep_environment_private() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::debug!(%error, "cannot hide this process's environment from its user's other processes");
    }
}
