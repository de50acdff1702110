//! What a service was asked, and what was wrong with it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, Method};
use serde_json::Value;

/// A request that a service received.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its method.
    pub method: Method,
    /// Its path, as sent: percent-encoded.
    pub path: String,
    /// Its query parameters, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, where it has one that is JSON.
    pub body: Option<Value>,
    /// The status that was answered; `None` where the connection was cut.
    pub status: Option<u16>,
}

impl Recorded {
    /// Returns the request in a line: `GET /user`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Everything that a service was asked since it began.
#[derive(Debug, Default)]
pub struct Recording {
    requests: Mutex<Vec<Recorded>>,
    violations: Mutex<Vec<String>>,
}

impl Recording {
    /// Returns all requests, in the order in which they were answered.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.requests).clone()
    }

    /// Returns all requests, and forgets them.
    #[must_use]
    pub fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut lock(&self.requests))
    }

    /// Returns what was wrong with requests, and forgets it.
    #[must_use]
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.violations))
    }

    pub(super) fn note(&self, request: Recorded) {
        lock(&self.requests).push(request);
    }

    /// Notes what is wrong with a request; the test fails for it when the service ends.
    pub fn object(&self, violation: String) {
        lock(&self.violations).push(violation);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
