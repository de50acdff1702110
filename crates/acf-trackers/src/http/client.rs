//! The client: sends, repeats, counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acf_core::clock::Clock;
use acf_core::mask::Mask;
use acf_core::tracker::TrackerError;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use super::answer::Answer;
use super::error::{HttpError, Refusal, Trouble};
use super::rate_limit;
use super::repetition::{Next, Repetition};
use super::request::{Request, Target};

/// How long one attempt may take, from the first byte sent to the last one read.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// More than any page of a tracker holds: GitHub's largest are 100 issues of 64 KiB.
const LARGEST_BODY: usize = 16 << 20;

/// What a client proves itself with.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A bearer token.
    Bearer(SecretString),
    /// A name and a token.
    Basic {
        /// The name.
        user: String,
        /// The token.
        token: SecretString,
    },
}

impl Credentials {
    fn secret(&self) -> &SecretString {
        match self {
            Self::Bearer(token) | Self::Basic { token, .. } => token,
        }
    }
}

/// A service that a client talks to.
#[derive(Clone, Debug)]
pub struct Service {
    /// How people call it: `GitHub`.
    pub name: &'static str,
    /// What the paths of its API come below.
    pub base: Url,
    /// What every request carries besides the credentials.
    pub headers: HeaderMap,
    /// Who asks.
    pub credentials: Credentials,
    /// How long one attempt may take; `None` for half a minute.
    pub timeout: Option<Duration>,
    /// How calls are repeated.
    pub repetition: Repetition,
}

/// A client of one service. It is shared by all calls, which may be made at the same time.
pub struct Client {
    http: reqwest::Client,
    service: Service,
    clock: Arc<dyn Clock>,
    mask: Mask,
    calls: AtomicU64,
    quiet: Mutex<Quiet>,
}

/// Until when a service wants no calls at all, by the clock that never jumps, and why. GitHub bans clients that go
/// on calling.
#[derive(Debug, Default)]
struct Quiet {
    until: Duration,
    why: Why,
}

/// Why a service wants no calls.
#[derive(Clone, Debug, Default)]
enum Why {
    /// There were too many.
    #[default]
    TooMany,
    /// It does not work; what it answered.
    Down(String),
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", without_query(&self.service.base))
    }
}

impl Client {
    /// Makes a client. Proxies are taken from the usual variables (`HTTPS_PROXY`, `NO_PROXY`), but for
    /// services on loopback.
    ///
    /// # Errors
    /// [`TrackerError::Impossible`] for an address that is not HTTPS and not on loopback, or that holds
    /// credentials; [`TrackerError::Unauthorized`] for a token that cannot be one.
    pub fn new(service: Service, clock: Arc<dyn Clock>) -> Result<Self, TrackerError> {
        let is_local = is_loopback(&service.base);
        refuse_unsafe(&service, is_local)?;
        // Once for the whole process: a second time it is there already, which is all that is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("acf/", env!("CARGO_PKG_VERSION")))
            .default_headers(service.headers.clone())
            .redirect(Policy::none())
            .timeout(service.timeout.unwrap_or(TIMEOUT))
            .connect_timeout(CONNECT_TIMEOUT);
        if is_local {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| TrackerError::other(format!("cannot talk to {}", service.name), error))?;
        let mask = Mask::new([("token".to_owned(), service.credentials.secret().clone())]);
        Ok(Self { http, service, clock, mask, calls: AtomicU64::new(0), quiet: Mutex::default() })
    }

    /// Keeps other secrets than its own out of errors too: a service's page may show what else is in the
    /// environment. It has to happen here, as errors quote the beginning of a page only, and half a secret
    /// is not recognised later.
    #[must_use]
    pub fn masked_by(self, mask: &Mask) -> Self {
        Self { mask: self.mask.and(mask), ..self }
    }

    /// Returns how many requests were sent, repeated ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Sends a request, as often as its nature and [`Repetition`] allow.
    ///
    /// # Errors
    /// [`HttpError`] for all but 2xx and 304.
    pub async fn send(&self, request: &Request) -> Result<Answer, HttpError> {
        let began = self.clock.monotonic();
        let mut attempt = 1;
        loop {
            let sent = match self.quiet_for() {
                Some((wait, why)) => Err(Failed::told_to_wait(&self.call(request), wait, why)),
                None => self.send_once(request).await,
            };
            let Failed { error, next } = match sent {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if let Next::After(wait) = next {
                let why = match &*error.trouble {
                    Trouble::Down { says, .. } => Why::Down(says.clone()),
                    _ => Why::TooMany,
                };
                *self.quiet() = Quiet { until: self.clock.monotonic().saturating_add(wait), why };
            }
            let spent = self.clock.monotonic().saturating_sub(began);
            let Some(wait) = self.service.repetition.wait(next, attempt, spent, fastrand::f64()) else {
                return Err(error);
            };
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::debug!(attempt, wait_ms, "{error}; again in {wait_ms} ms");
            self.clock.sleep(wait).await;
            attempt += 1;
        }
    }

    fn quiet(&self) -> MutexGuard<'_, Quiet> {
        self.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns for how long the service wants no calls, and why; `None` for no longer.
    fn quiet_for(&self) -> Option<(Duration, Why)> {
        let quiet = self.quiet();
        let left = quiet.until.checked_sub(self.clock.monotonic()).filter(|left| !left.is_zero())?;
        Some((left, quiet.why.clone()))
    }

    /// Returns a request as errors name it.
    fn call(&self, request: &Request) -> String {
        let url = match &request.target {
            Target::Path(segments) => self.below_base(segments),
            Target::Link(link) => link.clone(),
        };
        format!("{} {}", request.method, without_query(&url))
    }

    async fn send_once(&self, request: &Request) -> Result<Answer, Failed> {
        let call = self.call(request);
        let url = self.address(request, &call)?;
        let mut builder = self.http.request(request.method.clone(), url);
        builder = match &self.service.credentials {
            Credentials::Bearer(token) => builder.bearer_auth(token.expose_secret()),
            Credentials::Basic { user, token } => builder.basic_auth(user, Some(token.expose_secret())),
        };
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }

        self.calls.fetch_add(1, Ordering::Relaxed);
        let began = self.clock.monotonic();
        let tell = |how: &str| {
            let duration = self.clock.monotonic().saturating_sub(began);
            let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            tracing::debug!(duration_ms, "{call}: {how}, after {duration_ms} ms");
        };
        let lost = |error: reqwest::Error| {
            tell("no answer");
            self.lost(&call, request, error)
        };
        let mut response = builder.send().await.map_err(lost)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        tell(&status.to_string());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > LARGEST_BODY {
                let says = format!("answered {status} with more than {} MiB", LARGEST_BODY >> 20);
                return Err(Failed::finally(&call, Trouble::Unexpected(says)));
            }
            body.extend_from_slice(&chunk);
        }
        match status {
            200..=299 | 304 => Ok(Answer { call, status, headers, body, mask: self.mask.clone() }),
            _ => Err(self.refused(&call, request, Refusal::new(status, headers, &body, &self.mask))),
        }
    }

    fn below_base(&self, segments: &[String]) -> Url {
        let mut url = self.service.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    fn address(&self, request: &Request, call: &str) -> Result<Url, Failed> {
        let mut url = match &request.target {
            Target::Path(segments) => self.below_base(segments),
            Target::Link(link) if link.origin() == self.service.base.origin() => link.clone(),
            Target::Link(_) => {
                let says = format!("was not made: {} pointed to another server", self.service.name);
                return Err(Failed::finally(call, Trouble::Unexpected(says)));
            }
        };
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        Ok(url)
    }

    /// Judges an answer that says no.
    fn refused(&self, call: &str, request: &Request, refusal: Refusal) -> Failed {
        let Refusal { status, ref message, ref headers } = refusal;
        let now = self.clock.now();
        if let Some(wait) = rate_limit::wait(status, headers, message, now) {
            return Failed::told_to_wait(call, wait, Why::TooMany);
        }
        match status {
            300..=399 => {
                let base = &self.service.base;
                let target = base.join(refusal.header(LOCATION.as_str()).unwrap_or_default()).ok();
                let shown = target.as_ref().map_or_else(|| "an unreadable address".to_owned(), without_query);
                let location = self.mask.apply(&shown).into_owned();
                let elsewhere =
                    target.as_ref().and_then(Url::host_str).filter(|host| Some(*host) != base.host_str());
                Failed::finally(
                    call,
                    match elsewhere {
                        Some(server) => Trouble::Diverted {
                            status,
                            location,
                            server: self.mask.apply(server).into_owned(),
                        },
                        None => Trouble::Redirected { status, location },
                    },
                )
            }
            // A gateway gives up on a request that the service may still carry out.
            500..=599 if !request.repeatable => Failed::finally(call, Trouble::Unsure(refusal.to_string())),
            500..=599 => match rate_limit::asked_wait(headers, now) {
                Some(wait) => Failed::told_to_wait(call, wait, Why::Down(refusal.to_string())),
                None => Failed {
                    error: HttpError::new(call, Trouble::Unavailable(refusal.to_string())),
                    next: Next::Soon,
                },
            },
            _ => Failed::finally(call, Trouble::Refused(refusal)),
        }
    }

    /// Judges a request whose answer did not come, or not as a whole.
    fn lost(&self, call: &str, request: &Request, error: reqwest::Error) -> Failed {
        let was_never_sent = error.is_connect() || error.is_builder();
        // The address stands in the call already, and its query is nobody's business.
        let cause = with_causes(&error.without_url());
        let cause = self.mask.apply(&cause).into_owned();
        if request.repeatable || was_never_sent {
            Failed { error: HttpError::new(call, Trouble::Unavailable(cause)), next: Next::Soon }
        } else {
            Failed::finally(call, Trouble::Unsure(cause))
        }
    }
}

/// An attempt that failed.
struct Failed {
    error: HttpError,
    next: Next,
}

impl Failed {
    fn told_to_wait(call: &str, retry_after: Duration, why: Why) -> Self {
        let trouble = match why {
            Why::TooMany => Trouble::RateLimited { retry_after },
            Why::Down(says) => Trouble::Down { says, retry_after },
        };
        Self { error: HttpError::new(call, trouble), next: Next::After(retry_after) }
    }

    fn finally(call: &str, trouble: Trouble) -> Self {
        Self { error: HttpError::new(call, trouble), next: Next::Never }
    }
}

/// Joins an error and its causes, as hyper hides what happened in the last of them.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

fn refuse_unsafe(service: &Service, is_local: bool) -> Result<(), TrackerError> {
    let Service { name, base, credentials, .. } = service;
    let shown = without_query(base);
    if base.cannot_be_a_base() || !(base.scheme() == "https" || is_local && base.scheme() == "http") {
        return Err(TrackerError::Impossible(format!(
            "the address of {name} must begin with https://: `{shown}`"
        )));
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err(TrackerError::Impossible(format!(
            "the address of {name} must not hold credentials: `{shown}`"
        )));
    }
    let token = credentials.secret().expose_secret();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        let says = format!(
            "the token for {name} is empty, or holds a space, a line break or another character that no token has"
        );
        return Err(TrackerError::Unauthorized(says));
    }
    Ok(())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Returns an address as errors show it.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Both fail only for addresses that have no host, and so no credentials either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}
