//! Why a call did not do what was asked, and what that means for a tracker.

use std::time::Duration;

use acf_core::mask::Mask;
use acf_core::tracker::TrackerError;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::answer::excerpt;

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{call} {trouble}")]
pub struct HttpError {
    /// The call: method and address, without query and body.
    pub call: String,
    /// What went wrong with it.
    pub trouble: Box<Trouble>,
}

/// What went wrong with a call.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The service understood and says no.
    #[error("{0}")]
    Refused(Refusal),
    /// Too many calls; to be made again after the given time, which is longer than is waited here.
    #[error("is rate limited for {} s", retry_after.as_secs())]
    RateLimited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The service does not work, and says for how long, which is longer than is waited here; nothing was changed.
    #[error("{says}, and asks to wait {} s", retry_after.as_secs())]
    Down {
        /// What it answered.
        says: String,
        /// How long to wait.
        retry_after: Duration,
    },
    /// Somebody sends the call to another server: the portal of a network, a sign-in page, a wrong address
    /// in the settings. It says nothing of what was asked for.
    #[error(
        "answered {status}, a redirect to `{location}` on another server, {server}: a proxy or the sign-in page of a \
         network stands in between, or the address in the settings is not the service's own"
    )]
    Diverted {
        /// The status code.
        status: u16,
        /// The address that it names, without its query.
        location: String,
        /// The name of that server.
        server: String,
    },
    /// What is asked for lies elsewhere on the same server.
    #[error("answered {status}, a redirect to `{location}`")]
    Redirected {
        /// The status code.
        status: u16,
        /// The address that it names, without its query.
        location: String,
    },
    /// The service cannot be reached or fails; nothing was changed.
    #[error("failed: {0}")]
    Unavailable(String),
    /// The answer was lost: the service may have done what was asked, or not. Never for a request that is
    /// repeatable.
    #[error("was sent, and whether it was carried out is not known: {0}")]
    Unsure(String),
    /// The answer is not one of this service's.
    #[error("{0}")]
    Unexpected(String),
}

/// A refusal in a service's own words.
#[derive(Debug)]
pub struct Refusal {
    /// The status code, 4xx.
    pub status: u16,
    /// What the body says, in one line.
    pub message: String,
    /// The answer's headers.
    pub headers: HeaderMap,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reason = reqwest::StatusCode::from_u16(self.status).ok().and_then(|code| code.canonical_reason());
        write!(f, "answered {} {}", self.status, reason.unwrap_or_default())?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

impl Refusal {
    pub(super) fn new(status: u16, headers: HeaderMap, body: &[u8], mask: &Mask) -> Self {
        let told = serde_json::from_slice(body).ok().map(|json: Value| messages(&json).join("; "));
        let message = match told.filter(|told| !told.is_empty()) {
            Some(told) => excerpt(told.as_bytes(), mask),
            None => excerpt(body, mask),
        };
        Self { status, message, headers }
    }

    /// Returns a header's text; nothing where it is absent or not ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Finds the sentences in an error's body: GitHub's `message` and `errors[]`, Jira's `errorMessages[]`
/// and `errors{field: sentence}`.
fn messages(body: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let of_error = |error: &Value| {
        let parts = ["message", "resource", "field", "code"].map(|name| error.get(name).and_then(text));
        match parts {
            [Some(message), ..] => Some(message),
            parts => {
                let words: Vec<_> = parts.into_iter().flatten().collect();
                if words.is_empty() { text(error) } else { Some(words.join(" ")) }
            }
        }
    };
    let mut told: Vec<String> = body.get("message").and_then(text).into_iter().collect();
    told.extend(body.get("errorMessages").and_then(Value::as_array).into_iter().flatten().filter_map(text));
    match body.get("errors") {
        Some(Value::Array(errors)) => told.extend(errors.iter().filter_map(of_error)),
        Some(Value::Object(errors)) => {
            let fields =
                errors.iter().filter_map(|(field, says)| Some(format!("{field}: {}", says.as_str()?)));
            told.extend(fields);
        }
        _ => {}
    }
    told
}

impl HttpError {
    pub(super) fn new(call: &str, trouble: Trouble) -> Self {
        Self { call: call.to_owned(), trouble: Box::new(trouble) }
    }

    /// Returns the refusal, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match &*self.trouble {
            Trouble::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Tells whether the service may have done what was asked all the same: its answer was lost, or what came
    /// is no answer of the service's.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        matches!(&*self.trouble, Trouble::Unsure(_) | Trouble::Unexpected(_))
    }

    /// Returns the status of the refusal, if it is one.
    #[must_use]
    pub fn refused_with(&self) -> Option<u16> {
        self.refusal().map(|refusal| refusal.status)
    }
}

impl From<HttpError> for TrackerError {
    /// Gives the meaning that holds for every tracker. A 404 of an issue is its tracker's to tell, as
    /// [`TrackerError::NotFound`]: here nobody knows what was looked for.
    fn from(error: HttpError) -> Self {
        match &*error.trouble {
            Trouble::RateLimited { retry_after } => Self::RateLimited { retry_after: *retry_after },
            Trouble::Down { says, retry_after } => {
                Self::Unavailable { says: format!("{} {says}", error.call), retry_after: *retry_after }
            }
            Trouble::Refused(Refusal { status: 401 | 403 | 407, .. }) => {
                Self::Unauthorized(error.to_string())
            }
            // A conflict passes: somebody else wrote at the same time.
            Trouble::Refused(Refusal { status: 408 | 409 | 412 | 423 | 425, .. })
            | Trouble::Unavailable(_)
            | Trouble::Diverted { .. }
            | Trouble::Unsure(_)
            | Trouble::Unexpected(_) => {
                let HttpError { call, trouble } = error;
                Self::other(call, trouble)
            }
            Trouble::Refused(_) | Trouble::Redirected { .. } => Self::Impossible(error.to_string()),
        }
    }
}
