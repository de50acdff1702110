//! What a service answered.

use std::borrow::Cow;

use acf_core::mask::Mask;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::de::DeserializeOwned;

use super::error::{HttpError, Trouble};

/// How much of a body an error quotes, in characters.
const EXCERPT_CHARS: usize = 200;

/// An answer that is no error: a status of 2xx, or 304.
#[derive(Debug)]
pub struct Answer {
    pub(super) call: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) mask: Mask,
}

impl Answer {
    /// Returns the status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns a header's text; nothing where it is absent or not ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the body as text.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// [`Trouble::Unexpected`] for anything else: HTML of a proxy, nothing at all, other fields.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        serde_json::from_slice(&self.body).map_err(|error| self.unexpected(&error))
    }

    /// Reads what the service says of something that it made: JSON, with 201. A sign-in page that somebody
    /// in between answers with 200 must not be taken for a service's word that it did what was asked.
    ///
    /// # Errors
    /// [`Trouble::Unexpected`] for anything else: whether it was made is not known.
    pub fn made<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        let told = self.json()?;
        self.is_with(201)?;
        Ok(told)
    }

    /// Makes sure that the service says that it did what was asked, where it says so with 204 alone.
    ///
    /// # Errors
    /// [`Trouble::Unexpected`] for anything else: whether it was done is not known.
    pub fn done(&self) -> Result<(), HttpError> {
        self.is_with(204)
    }

    fn is_with(&self, status: u16) -> Result<(), HttpError> {
        if self.status == status {
            return Ok(());
        }
        let Self { status: given, .. } = self;
        let says = match excerpt(&self.body, &self.mask) {
            nothing if nothing.is_empty() => format!("answered {given} instead of {status}"),
            begin => format!("answered {given} instead of {status}, with {}: `{begin}`", self.content_type()),
        };
        Err(HttpError::new(&self.call, Trouble::Unexpected(says)))
    }

    fn content_type(&self) -> &str {
        self.header(CONTENT_TYPE.as_str()).unwrap_or("an unnamed content type")
    }

    fn unexpected(&self, error: &serde_json::Error) -> HttpError {
        let status = self.status;
        let says = if self.body.is_empty() {
            format!("answered {status} with an empty body")
        } else if error.is_data() {
            format!("answered {status} with JSON of another shape ({})", self.mask.apply(&error.to_string()))
        } else {
            let (kind, begin) = (self.content_type(), excerpt(&self.body, &self.mask));
            format!("answered {status} with {kind} that is not JSON: `{begin}`")
        };
        HttpError::new(&self.call, Trouble::Unexpected(says))
    }
}

/// Returns the beginning of a body in one line, without secrets.
pub(super) fn excerpt(body: &[u8], mask: &Mask) -> String {
    let text = String::from_utf8_lossy(body);
    // Secrets first: one that is cut in two would not be found.
    let text = mask.apply(&text);
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(EXCERPT_CHARS) {
        words.truncate(end);
        words.push('…');
    }
    words
}
