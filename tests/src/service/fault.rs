//! What may go wrong between a client and a service, planned ahead.

use std::sync::Mutex;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, StatusCode};

/// Something that goes wrong with a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This is answered instead of what the service says.
    Answer {
        /// The status.
        status: StatusCode,
        /// Headers besides.
        headers: Vec<(HeaderName, HeaderValue)>,
        /// The body.
        body: String,
        /// Whether the request is carried out all the same.
        is_carried_out: bool,
    },
    /// The connection ends before the request is carried out.
    Cut,
    /// The request is carried out, and the connection ends before the answer.
    CutAfter,
    /// The request is carried out, and half of the answer's body arrives.
    CutBody,
    /// The request is carried out, and the second half of the answer's body takes that long.
    SlowBody(Duration),
}

impl Fault {
    /// Answers with that status and a JSON error as body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("tests use statuses that exist");
        let message = status.canonical_reason().unwrap_or_default();
        let body = format!("{{\"message\":\"{message}\"}}");
        Self::Answer { status, headers: Vec::new(), body, is_carried_out: false }
            .header("content-type", "application/json")
    }

    /// Answers 429 with that `Retry-After`.
    #[must_use]
    pub fn rate_limited(secs: u64) -> Self {
        Self::status(429).header("retry-after", &secs.to_string())
    }

    /// Answers 200 with a page of HTML, as the portal of a network does. The request does not get through.
    #[must_use]
    pub fn html() -> Self {
        Self::status(200).header("content-type", "text/html").body("<!DOCTYPE html><title>Sign in</title>")
    }

    /// Lets the request be carried out before this is answered, as where a proxy spoils the answer alone.
    #[must_use]
    pub fn carried_out(mut self) -> Self {
        if let Self::Answer { is_carried_out, .. } = &mut self {
            *is_carried_out = true;
        }
        self
    }

    /// Answers with a redirect.
    #[must_use]
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("location", location)
    }

    /// Sets a header of an answer.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.retain(|(known, _)| known != name);
            let value = HeaderValue::from_str(value).expect("tests use headers that can be sent");
            headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    /// Sets the body of an answer.
    #[must_use]
    pub fn body(mut self, text: &str) -> Self {
        if let Self::Answer { body, .. } = &mut self {
            text.clone_into(body);
        }
        self
    }
}

/// Which requests a fault befalls: by count, so that the same calls meet the same faults.
#[derive(Clone, Debug)]
pub struct Rule {
    method: Option<Method>,
    path: String,
    skip: u64,
    every: u64,
    times: u64,
}

impl Rule {
    /// Befalls every request.
    #[must_use]
    pub fn all() -> Self {
        Self { method: None, path: String::new(), skip: 0, every: 1, times: u64::MAX }
    }

    /// Befalls requests of that method whose path contains that text.
    #[must_use]
    pub fn on(method: Method, path: &str) -> Self {
        Self { method: Some(method), path: path.to_owned(), ..Self::all() }
    }

    /// Befalls requests whose path contains that text.
    #[must_use]
    pub fn path(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::all() }
    }

    /// Befalls the nth of them alone, counted from 1.
    #[must_use]
    pub fn nth(self, nth: u64) -> Self {
        Self { skip: nth - 1, times: 1, ..self }
    }

    /// Befalls the first one alone.
    #[must_use]
    pub fn once(self) -> Self {
        self.nth(1)
    }

    /// Befalls so many of them at most.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    /// Befalls one of so many of them: the nth, the 2nth and so on.
    #[must_use]
    pub fn every(self, every: u64) -> Self {
        Self { every, skip: every - 1, ..self }
    }

    fn matches(&self, method: &Method, path: &str) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted == method) && path.contains(&self.path)
    }
}

/// The faults of a service, in the order in which they were planned.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Planned>>);

#[derive(Debug)]
struct Planned {
    rule: Rule,
    fault: Fault,
    seen: u64,
    struck: u64,
}

impl Faults {
    /// Plans a fault. Of several that befall a request, the one planned first does.
    pub fn add(&self, rule: Rule, fault: Fault) {
        self.lock().push(Planned { rule, fault, seen: 0, struck: 0 });
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Returns how many requests were struck.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.lock().iter().map(|planned| planned.struck).sum()
    }

    /// Counts a request, and returns what befalls it.
    pub(super) fn strike(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut struck = None;
        for planned in self.lock().iter_mut().filter(|planned| planned.rule.matches(method, path)) {
            let Rule { skip, every, times, .. } = planned.rule;
            let at = planned.seen;
            planned.seen += 1;
            let due = at >= skip && (at - skip) % every == 0 && planned.struck < times;
            if due && struck.is_none() {
                planned.struck += 1;
                struck = Some(planned.fault.clone());
            }
        }
        struck
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Planned>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
