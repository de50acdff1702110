//! SIGTERM, SIGINT and SIGHUP: the first one asks the worker to finish or to save its work, the second one
//! ends it at once. Whichever way a program ends by a signal, its git commands end with it.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::emulate_default_handler;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a program that ended by a signal is this and the signal's number.
const BY_SIGNAL: i32 = 128;

/// Whether [`install`] says what a signal does.
static ARE_MINDED: AtomicBool = AtomicBool::new(false);

/// Makes a signal end the program as it would anyway, and its git commands too: they are in process groups of
/// their own, which no Ctrl-C reaches. From [`install`] on it does nothing.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn end_git_too() -> io::Result<()> {
    let ignored = ignored();
    // What is to be ignored, as by `nohup`, stays so.
    let ours = [SIGTERM, SIGINT, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    let mut signals = signal_hook::iterator::Signals::new(ours)?;
    // A thread, as the program may be busy, or wait for a reader of its output.
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if !ARE_MINDED.load(Ordering::Acquire) {
                crate::git::command::end_all();
                let _ = emulate_default_handler(signal);
            }
        }
    })?;
    Ok(())
}

/// Returns the signals that the program was started to ignore, a bit each.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

/// Cancels `stop` at the first signal. At the second, or when `grace` is over, the process ends; its
/// guards then end whatever agent is running, and `left_behind` says what is to be done about the rest.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn install(stop: CancellationToken, grace: Duration, left_behind: String) -> io::Result<()> {
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hang_up: signal(SignalKind::hangup())?,
    };
    ARE_MINDED.store(true, Ordering::Release);
    tokio::spawn(async move {
        let first = signals.next().await;
        tracing::info!("told to stop: finishing or saving the work; a second signal ends at once");
        stop.cancel();
        let last = tokio::select! {
            second = signals.next() => {
                tracing::warn!("told to stop again: ending at once{left_behind}");
                second
            }
            () = tokio::time::sleep(grace) => {
                tracing::error!("could not stop within {} s{left_behind}", grace.as_secs());
                first
            }
        };
        crate::git::command::end_all();
        std::process::exit(BY_SIGNAL + last.as_raw_value());
    });
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    // A terminal that is closed, or a connection that is lost, is no reason to lose work.
    hang_up: Signal,
}

impl Signals {
    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.hang_up.recv() => SignalKind::hangup(),
        }
    }
}
