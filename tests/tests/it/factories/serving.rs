//! A stand-in for a service that serves on a thread of its own, while the test waits for real programs.

use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A service that is being served until this is dropped.
pub(super) struct Serving<T: Clone + Send + 'static> {
    service: T,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Clone + Send + 'static> Serving<T> {
    /// Makes a service and begins to serve it.
    pub(super) fn begin<F: Future<Output = T>>(make: impl FnOnce() -> F + Send + 'static) -> Self {
        let (made, service) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("make a runtime");
            runtime.block_on(async {
                made.send(make().await).expect("the test waits for its service");
                // An error means that the test is over too.
                let _ = stopped.await;
            });
        });
        let service = service.recv().expect("the service begins");
        Self { service, stop: Some(stop), thread: Some(thread) }
    }

    /// Returns the service.
    pub(super) fn service(&self) -> &T {
        &self.service
    }
}

impl<T: Clone + Send + 'static> Drop for Serving<T> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
