//! A request, before it is sent.

use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

/// A request to a service.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Option<Value>,
    pub(super) repeatable: bool,
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// Below the service's base URL.
    Path(Vec<String>),
    /// To an address that the service itself gave, as the next page.
    Link(Url),
}

impl Request {
    /// Makes a `GET` of a path below the service's base URL, given as its segments, unescaped.
    pub fn get<S: Into<String>>(path: impl IntoIterator<Item = S>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Makes a `POST`, which is not repeatable unless it is called so.
    pub fn post<S: Into<String>>(path: impl IntoIterator<Item = S>) -> Self {
        Self { repeatable: false, ..Self::new(Method::POST, path) }
    }

    /// Makes a `PUT`.
    pub fn put<S: Into<String>>(path: impl IntoIterator<Item = S>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// Makes a `PATCH`, which is not repeatable unless it is called so.
    pub fn patch<S: Into<String>>(path: impl IntoIterator<Item = S>) -> Self {
        Self { repeatable: false, ..Self::new(Method::PATCH, path) }
    }

    /// Makes a `DELETE`.
    pub fn delete<S: Into<String>>(path: impl IntoIterator<Item = S>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Makes a `GET` of an address that the service gave. One of another origin is refused when it is
    /// sent, as it would be given the credentials.
    #[must_use]
    pub fn follow(link: Url) -> Self {
        Self { target: Target::Link(link), ..Self::new(Method::GET, [""; 0]) }
    }

    fn new<S: Into<String>>(method: Method, path: impl IntoIterator<Item = S>) -> Self {
        let target = Target::Path(path.into_iter().map(Into::into).collect());
        Self { method, target, query: Vec::new(), headers: Vec::new(), body: None, repeatable: true }
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a header, which is nothing secret.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Gives it a JSON body.
    #[must_use]
    pub fn json(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    /// Returns the request's address below the service's, with its query: the same for the same request.
    #[must_use]
    pub fn name(&self) -> String {
        let target = match &self.target {
            Target::Path(segments) => segments.join("/"),
            Target::Link(link) => link.to_string(),
        };
        let query: Vec<_> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} {target}?{}", self.method, query.join("&"))
    }

    /// Says that carrying it out twice is as good as once: it may be repeated when its answer is lost.
    #[must_use]
    pub fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }
}
