//! The server around a stand-in: it records, judges and spoils requests.

use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::description::Description;
use super::fault::{Fault, Faults};
use super::recording::{Recorded, Recording};

/// More than any request of acf.
const LARGEST_REQUEST: usize = 1 << 20;

/// A running service, ended when this is dropped.
#[derive(Debug)]
pub struct Chassis {
    address: SocketAddr,
    inside: Arc<Inside>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Inside {
    recording: Arc<Recording>,
    faults: Faults,
    description: Option<Arc<Description>>,
    latency_ms: AtomicU64,
}

impl Chassis {
    /// Serves on a free loopback port, and holds every request against `description`.
    ///
    /// # Panics
    /// Where no port can be had.
    pub async fn serve(router: Router, description: Option<Arc<Description>>) -> Self {
        let inside = Arc::new(Inside {
            recording: Arc::default(),
            faults: Faults::default(),
            description,
            latency_ms: AtomicU64::new(0),
        });
        let router = router
            .fallback(|| async { axum::http::StatusCode::NOT_FOUND })
            .layer(from_fn_with_state(Arc::clone(&inside), pass));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serving ends with the test only");
        });
        Self { address, inside, server }
    }

    /// Returns the base URL, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns what was asked.
    #[must_use]
    pub fn recording(&self) -> &Recording {
        &self.inside.recording
    }

    /// Returns what goes wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.inside.faults
    }

    /// Makes every answer take that long from now on.
    pub fn set_latency(&self, latency: Duration) {
        let millis = u64::try_from(latency.as_millis()).expect("tests wait for milliseconds");
        self.inside.latency_ms.store(millis, Ordering::Relaxed);
    }
}

impl Drop for Chassis {
    /// Ends the server; a test that sent an invalid request fails here at the latest.
    fn drop(&mut self) {
        self.server.abort();
        let violations = self.inside.recording.take_violations();
        if !std::thread::panicking() {
            assert!(
                violations.is_empty(),
                "requests that the vendor's description forbids:\n{}",
                violations.join("\n")
            );
        }
    }
}

/// Takes a request through: body, judgement, fault, stand-in, record.
async fn pass(State(inside): State<Arc<Inside>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, LARGEST_REQUEST).await.unwrap_or_default();
    let mut recorded = recorded(&parts, &bytes);
    if let Some(description) = &inside.description {
        let found = description.violations(&recorded);
        found.into_iter().for_each(|violation| inside.recording.object(violation));
    }
    let latency = Duration::from_millis(inside.latency_ms.load(Ordering::Relaxed));
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }

    let fault = inside.faults.strike(&parts.method, parts.uri.path());
    let response = match &fault {
        Some(Fault::Answer { status, headers, body, is_carried_out }) => {
            if *is_carried_out {
                next.run(Request::from_parts(parts, Body::from(bytes))).await;
            }
            let mut response = (*status, body.clone()).into_response();
            headers.iter().for_each(|(name, value)| drop(response.headers_mut().insert(name, value.clone())));
            Some(response)
        }
        Some(Fault::Cut) => None,
        Some(Fault::CutAfter) => {
            next.run(Request::from_parts(parts, Body::from(bytes))).await;
            None
        }
        Some(Fault::CutBody | Fault::SlowBody(_)) | None => {
            Some(next.run(Request::from_parts(parts, Body::from(bytes))).await)
        }
    };
    recorded.status = response.as_ref().map(|response| response.status().as_u16());
    inside.recording.note(recorded);
    match (response, fault) {
        (Some(response), Some(Fault::CutBody)) => in_halves(response, Between::End).await,
        (Some(response), Some(Fault::SlowBody(pause))) => in_halves(response, Between::Pause(pause)).await,
        (Some(response), _) => response,
        // Ends the connection's task, and the connection with it, without a message on standard error.
        (None, _) => resume_unwind(Box::new("the connection is cut, as planned")),
    }
}

fn recorded(parts: &Parts, body: &Bytes) -> Recorded {
    let query = parts.uri.query().unwrap_or_default();
    Recorded {
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: parts.headers.clone(),
        body: serde_json::from_slice(body).ok(),
        status: None,
    }
}

enum Between {
    End,
    Pause(Duration),
}

/// Sends a body in two halves, whose length was announced as a whole.
async fn in_halves(response: Response, between: Between) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.insert("content-length", bytes.len().into());
    let (first, second) = (bytes.slice(..bytes.len() / 2), bytes.slice(bytes.len() / 2..));
    let halves = stream::unfold((0, between), move |(step, between)| {
        let (first, second) = (first.clone(), second.clone());
        async move {
            let half = match (step, &between) {
                (0, _) => Ok(first),
                (1, Between::Pause(pause)) => {
                    tokio::time::sleep(*pause).await;
                    Ok(second)
                }
                (1, Between::End) => Err("the connection is cut, as planned"),
                _ => return None,
            };
            Some((half, (step + 1, between)))
        }
    });
    Response::from_parts(parts, Body::from_stream(halves))
}
