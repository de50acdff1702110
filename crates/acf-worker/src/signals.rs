//! SIGTERM, SIGINT and SIGHUP: the first one asks the worker to finish or to save its work, the second one
//! ends it at once.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a program that ended by a signal is this and the signal's number.
const BY_SIGNAL: i32 = 128;

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
