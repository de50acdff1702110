//! What an answer says of too many calls, and of how long to wait.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The wait where a service says that there is one, but not how long. GitHub asks for a minute at least:
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>.
const UNTOLD_WAIT: Duration = Duration::from_secs(60);

/// The longest wait that is believed. The limits of GitHub and Jira start anew every hour; what asks for more
/// is a slip, or somebody who wants a worker to stand still, and finds one call an hour instead.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// Returns how long an answer of that status asks to wait; `None` where it is not about rates.
///
/// GitHub uses 403 for its rate limits as well as for missing rights, and tells them apart by headers
/// or, for some secondary limits, by the message alone.
pub(super) fn wait(status: u16, headers: &HeaderMap, message: &str, now: Timestamp) -> Option<Duration> {
    let limited = match status {
        429 => true,
        403 => headers.contains_key(RETRY_AFTER) || is_used_up(headers) || message.contains("rate limit"),
        _ => false,
    };
    limited.then(|| asked_wait(headers, now).unwrap_or(UNTOLD_WAIT))
}

/// Returns the wait that the headers ask for, by the service's own clock where it tells its time; an hour at
/// most.
pub(super) fn asked_wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    told_wait(headers, now).map(|wait| wait.min(LONGEST_WAIT))
}

fn told_wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let now = text(headers, DATE.as_str()).and_then(http_date).unwrap_or(now);
    let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
    if let Some(after) = text(headers, RETRY_AFTER.as_str()) {
        let secs = after.trim().parse().ok().map(Duration::from_secs);
        return secs.or_else(|| http_date(after).map(until));
    }
    if !is_used_up(headers) {
        return None;
    }
    text(headers, "x-ratelimit-reset").and_then(reset).map(until)
}

fn is_used_up(headers: &HeaderMap) -> bool {
    text(headers, "x-ratelimit-remaining").is_some_and(|remaining| remaining.trim() == "0")
}

/// Reads a reset time: seconds since the epoch (GitHub) or an ISO 8601 time (Jira).
fn reset(text: &str) -> Option<Timestamp> {
    match text.trim().parse() {
        Ok(second) => Timestamp::from_second(second).ok(),
        Err(_) => text.trim().parse().ok(),
    }
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    }

    #[track_caller]
    fn check(status: u16, pairs: &[(&'static str, &'static str)], message: &str, wanted: Option<u64>) {
        let now = Timestamp::from_second(1_000).unwrap();
        let found = wait(status, &headers(pairs), message, now);
        assert_eq!(found, wanted.map(Duration::from_secs), "{status} {pairs:?} {message}");
    }

    #[test]
    fn every_way_to_say_wait_is_understood() {
        check(429, &[("retry-after", "7")], "", Some(7));
        check(429, &[], "", Some(60));
        check(429, &[("retry-after", "soon")], "", Some(60));
        check(403, &[("retry-after", "0")], "", Some(0));
        check(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1090")], "", Some(90));
        check(
            429,
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1970-01-01T00:20Z")],
            "",
            Some(200),
        );
        check(403, &[], "You have exceeded a secondary rate limit", Some(60));
        // A reset that lies behind: at once.
        check(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "900")], "", Some(0));
    }

    #[test]
    fn the_services_clock_counts_not_ours() {
        let date = ("date", "Thu, 01 Jan 1970 01:00:00 GMT");
        check(429, &[date, ("retry-after", "Thu, 01 Jan 1970 01:00:09 GMT")], "", Some(9));
        check(403, &[date, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "3605")], "", Some(5));
    }

    #[test]
    fn nobody_can_ask_for_more_than_an_hour() {
        for absurd in ["3601", "18446744073709551615", "Thu, 01 Jan 9998 00:00:00 GMT"] {
            check(429, &[("retry-after", absurd)], "", Some(3600));
        }
        for reset in ["9999999999", "9998-01-01T00:00Z"] {
            check(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)], "", Some(3600));
        }
        // What is no number of seconds at all says nothing.
        check(429, &[("retry-after", "18446744073709551616")], "", Some(60));
    }

    #[test]
    fn a_missing_right_is_no_rate_limit() {
        check(403, &[("x-ratelimit-remaining", "4000"), ("x-ratelimit-reset", "1090")], "no", None);
        check(401, &[("retry-after", "7")], "", None);
    }
}
