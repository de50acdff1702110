//! Talking JSON to a service over HTTP: one client for every tracker.
//!
//! It owns timeouts, repetition, rate limits, the size of what is read, and what errors say. What a
//! status means for an issue is each tracker's own; nothing else in this crate repeats a call.
//!
//! - A request that changes nothing when it is repeated ([`Request::repeatable`]) is repeated after a lost
//!   connection or a 5xx. Any other is repeated only where the service cannot have carried it out; where
//!   nobody can tell, the error is [`Trouble::Unsure`], and the caller reads back what became of it.
//! - Rate limits are waited out here while that is short. A longer wait is an error with its time.
//! - Redirects are not followed: they would carry the credentials elsewhere, or turn a POST into a GET.
//! - Errors name the call without its query, quote at most the beginning of a body, and hold no secret.

mod answer;
mod client;
mod error;
mod rate_limit;
mod repetition;
mod request;
#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use client::{Client, Credentials, Service};
pub use error::{HttpError, Refusal, Trouble};
pub use repetition::Repetition;
pub use request::Request;
