//! The client against servers that answer badly, or not at all.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use acf_core::clock::Clock;
use acf_core::mask::Mask;
use acf_core::tracker::TrackerError;
use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

use super::{Client, Credentials, HttpError, Repetition, Request, Service, Trouble};

const TOKEN: &str = "a-token-for-tests";

/// A clock whose pauses take no time and are remembered.
#[derive(Default)]
struct Pauses(Mutex<Vec<Duration>>);

#[async_trait]
impl Clock for Pauses {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap().iter().sum()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.lock().unwrap().push(duration);
    }
}

struct Talk {
    client: Client,
    service: Service,
    pauses: Arc<Pauses>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Serves one raw answer for each connection, in turn; an empty one hangs up.
async fn talk(answers: &[&str]) -> Talk {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/api", listener.local_addr().unwrap());
    let answers: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
    let server = tokio::spawn(async move {
        for answer in answers {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    let pauses = Arc::new(Pauses::default());
    let service = service(&base);
    Talk { client: Client::new(service.clone(), pauses.clone()).unwrap(), service, pauses, server }
}

fn service(base: &str) -> Service {
    Service {
        name: "the service",
        base: Url::parse(base).unwrap(),
        headers: HeaderMap::new(),
        credentials: Credentials::Bearer(TOKEN.into()),
        timeout: Some(Duration::from_secs(5)),
        repetition: Repetition::default(),
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

fn get() -> Request {
    Request::get(["issues", "a/b"]).query("q", "x y")
}

fn post() -> Request {
    Request::post(["comments"]).json(json!({ "body": "Hm." }))
}

async fn failure(talk: &Talk, request: &Request) -> HttpError {
    talk.client.send(request).await.unwrap_err()
}

#[tokio::test]
async fn what_fails_in_passing_is_asked_again() {
    let (bad, good) = (answer("503 Busy", "", ""), answer("200 OK", "", "[1]"));
    let talk = talk(&[&bad, "", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[1", &good]).await;
    let read: Value = talk.client.send(&get()).await.unwrap().json().unwrap();
    assert_eq!((read, talk.client.calls()), (json!([1]), 4));
    assert_eq!(talk.pauses.0.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn patience_ends() {
    let bad = answer("502 Bad Gateway", "", "<html>oops</html>");
    let talk = talk(&[&bad, &bad, &bad, &bad, &bad]).await;
    let error = failure(&talk, &get()).await;
    assert!(matches!(*error.trouble, Trouble::Unavailable(_)), "{error}");
    assert!(error.to_string().ends_with("failed: answered 502 Bad Gateway: <html>oops</html>"), "{error}");
    assert_eq!(talk.client.calls(), 4);
    assert!(matches!(TrackerError::from(error), TrackerError::Other { .. }));
}

#[tokio::test]
async fn a_post_whose_answer_is_lost_is_not_sent_twice() {
    let bad = answer("504 Gateway Timeout", "", "");
    for lost in ["", "HTTP/1.1 201 Created\r\ncontent-length: 9\r\n\r\n{", &bad] {
        let talk = talk(&[lost, &answer("201 Created", "", "{}")]).await;
        let error = failure(&talk, &post()).await;
        assert!(matches!(*error.trouble, Trouble::Unsure(_)), "{error}");
        assert_eq!(talk.client.calls(), 1);
    }
}

#[tokio::test]
async fn a_post_that_a_rate_limit_kept_out_is_sent_again() {
    let limited = answer("429 Too Many Requests", "retry-after: 7\r\n", "");
    let talk = talk(&[&limited, &answer("201 Created", "", "{}")]).await;
    assert_eq!(talk.client.send(&post()).await.unwrap().status(), 201);
    assert!(talk.pauses.0.lock().unwrap()[0] >= Duration::from_secs(7));
}

#[tokio::test]
async fn a_long_rate_limit_is_told_with_its_time() {
    let talk = talk(&[&answer("403 Forbidden", "retry-after: 1200\r\n", "")]).await;
    let error = TrackerError::from(failure(&talk, &get()).await);
    let TrackerError::RateLimited { retry_after } = error else { panic!("{error}") };
    assert_eq!((retry_after, talk.client.calls()), (Duration::from_secs(1200), 1));

    // Until then the service is left alone, whatever is asked.
    talk.pauses.sleep(Duration::from_secs(200)).await;
    let error = TrackerError::from(failure(&talk, &post()).await);
    let TrackerError::RateLimited { retry_after } = error else { panic!("{error}") };
    assert_eq!((retry_after, talk.client.calls()), (Duration::from_secs(1000), 1));
}

#[tokio::test]
async fn a_service_that_does_not_work_for_a_while_is_told_as_such_and_with_its_reason() {
    let down = answer("503 Service Unavailable", "retry-after: 1200\r\n", "{\"message\":\"Maintenance\"}");
    let talk = talk(&[&down]).await;
    // The second time, nothing is sent.
    for left in [1200, 1000] {
        let error = TrackerError::from(failure(&talk, &get()).await);
        let told = error.to_string();
        let wanted = format!(" answered 503 Service Unavailable: Maintenance, and asks to wait {left} s");
        assert!(told.starts_with("GET http://") && told.ends_with(&wanted), "{told}");
        assert_eq!((error.asked_wait(), talk.client.calls()), (Some(Duration::from_secs(left)), 1));
        talk.pauses.sleep(Duration::from_secs(200)).await;
    }
}

#[tokio::test]
async fn an_absurd_rate_limit_is_no_reason_to_fall_over() {
    let absurd = format!("retry-after: {}\r\n", u64::MAX);
    let talk = talk(&[&answer("429 Too Many Requests", &absurd, "")]).await;
    for _ in 0..2 {
        let error = TrackerError::from(failure(&talk, &get()).await);
        let TrackerError::RateLimited { retry_after } = error else { panic!("{error}") };
        assert_eq!((retry_after, talk.client.calls()), (Duration::from_secs(3600), 1));
    }
}

#[tokio::test]
async fn a_redirect_to_another_server_is_called_so_and_may_pass() {
    for (status, location) in [
        ("302 Found", "https://portal.example/login?token=a-token-for-tests"),
        ("307 Temporary Redirect", "//portal.example/login"),
    ] {
        let talk = talk(&[&answer(status, &format!("location: {location}\r\n"), "")]).await;
        let error = failure(&talk, &post()).await;
        let told = error.to_string();
        assert!(
            told.contains("portal.example/login` on another server, portal.example: a proxy or"),
            "{told}"
        );
        assert!(matches!(TrackerError::from(error), TrackerError::Other { .. }));
    }
}

#[tokio::test]
async fn a_secret_of_another_service_is_not_quoted_not_even_cut_in_two() {
    const OTHER: &str = "a-token-of-another-service";
    let page = format!("<html>{}{OTHER}", "x".repeat(180));
    let talk = talk(&[&answer("200 OK", "content-type: text/html\r\n", &page)]).await;
    let mask = Mask::new([("OTHER".to_owned(), OTHER.into())]);
    let client = Client::new(talk.service.clone(), talk.pauses.clone()).unwrap().masked_by(&mask);
    let error = client.send(&get()).await.unwrap().json::<Value>().unwrap_err().to_string();
    assert!(error.contains("x***`") && !error.contains("a-token"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_named_and_not_followed() {
    let moved = answer("301 Moved Permanently", "location: http://127.0.0.1:1/new?code=secret\r\n", "");
    let talk = talk(&[&moved]).await;
    let error = failure(&talk, &get()).await.to_string();
    assert!(error.ends_with("answered 301, a redirect to `http://127.0.0.1:1/new`"), "{error}");
    assert!(error.contains("/api/issues/a%2Fb ") && !error.contains("x+y"), "{error}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let repetition = Repetition { attempts: 2, ..Repetition::default() };
    let service = Service { timeout: Some(Duration::from_millis(50)), repetition, ..service(&base) };
    let client = Client::new(service, Arc::new(Pauses::default())).unwrap();
    let error = client.send(&get()).await.unwrap_err();
    assert!(matches!(*error.trouble, Trouble::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("operation timed out"), "{error}");
    assert_eq!(client.calls(), 2);
}

#[tokio::test]
async fn what_is_no_json_is_quoted_in_part() {
    let html = format!("<!DOCTYPE html>\n\n<title>Sign in to the proxy</title>{}", "x".repeat(5000));
    let talk =
        talk(&[&answer("200 OK", "content-type: text/html\r\n", &html), &answer("200 OK", "", "")]).await;
    let read = async || talk.client.send(&get()).await.unwrap().json::<Value>().unwrap_err().to_string();
    let error = read().await;
    assert!(
        error.contains("answered 200 with text/html that is not JSON: `<!DOCTYPE html> <title>"),
        "{error}"
    );
    assert!(error.len() < 400, "{error}");
    assert!(read().await.ends_with("answered 200 with an empty body"));
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_it() {
    let endless = answer("200 OK", "", &" ".repeat(17 << 20));
    let error = failure(&talk(&[&endless]).await, &get()).await;
    assert!(error.to_string().ends_with("answered 200 with more than 16 MiB"), "{error}");
}

#[tokio::test]
async fn refusals_are_told_in_the_services_words() {
    let github =
        r#"{"message":"Validation Failed","errors":[{"resource":"Issue","field":"title","code":"missing"}]}"#;
    let jira = r#"{"errorMessages":["No."],"errors":{"summary":"is needed"}}"#;
    for (body, told) in [
        (github, "422 Unprocessable Entity: Validation Failed; Issue title missing"),
        (jira, "422 Unprocessable Entity: No.; summary: is needed"),
        ("plain words", "422 Unprocessable Entity: plain words"),
    ] {
        let talk = talk(&[&answer("422 No", "", body)]).await;
        let error = failure(&talk, &get()).await;
        assert!(error.to_string().ends_with(told), "{error}");
        assert!(matches!(TrackerError::from(error), TrackerError::Impossible(_)));
    }
}

#[tokio::test]
async fn no_error_holds_the_token_even_if_the_service_repeats_it() {
    let echo = format!("you sent {TOKEN}");
    for status in ["200 OK", "400 Bad Request", "401 Unauthorized", "500 Oops"] {
        let echo = answer(status, "", &echo);
        let talk = talk(&[&echo, &echo, &echo, &echo]).await;
        let error = match talk.client.send(&get()).await {
            Ok(answer) => answer.json::<Value>().unwrap_err(),
            Err(error) => error,
        };
        let told = format!("{error} {error:?} {:?}", talk.client);
        assert!(told.contains("you sent ***") && !told.contains(TOKEN), "{told}");
    }
}

#[tokio::test]
async fn the_next_page_is_not_fetched_from_elsewhere() {
    let talk = talk(&[]).await;
    let elsewhere = Request::follow(Url::parse("https://example.com/api/issues?page=2").unwrap());
    let error = failure(&talk, &elsewhere).await.to_string();
    assert!(error.ends_with("was not made: the service pointed to another server"), "{error}");
    assert_eq!(talk.client.calls(), 0);
}

#[tokio::test]
async fn addresses_and_tokens_that_leak_or_cannot_work_are_refused_at_once() {
    let refusal = |base: &str, token: &str| {
        let service = Service { credentials: Credentials::Bearer(token.into()), ..service(base) };
        Client::new(service, Arc::new(Pauses::default())).map(|_| ()).unwrap_err().to_string()
    };
    for base in ["http://example.com", "ftp://localhost", "data:x", "http://127.0.0.1.example.com"] {
        assert!(refusal(base, TOKEN).contains("must begin with https://"), "{base}");
    }
    let told = refusal("https://user:hunter22@example.com", TOKEN);
    assert!(told.contains("must not hold credentials") && !told.contains("hunter22"), "{told}");
    for token in ["", "two words", "line\n", "ümlaut"] {
        let told = refusal("https://example.com", token);
        assert!(
            told.contains("the token for the service") && (token.is_empty() || !told.contains(token)),
            "{told}"
        );
    }
}
