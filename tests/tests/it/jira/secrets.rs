//! The token is in no error, no log, no address and no body, whatever fails.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};

use acf_core::issue::{Stage, Status};
use acf_core::tracker::{Change, Tracker as _, TrackerError};
use acf_tests::canary::Canaries;
use acf_tests::jira::{EMAIL, FakeJira, TOKEN, basic_authorization};
use acf_tests::service::{Fault, Rule};
use serde_json::json;

/// Keeps what is logged.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Keeps what this thread logs until the guard is dropped.
    pub(super) fn kept() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// Returns what was logged so far.
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("nobody panics with it").clone()).expect("logs are text")
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn chain(error: &TrackerError) -> String {
    let mut told = format!("{error:?}");
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        let _ = write!(told, "\n{error}");
        cause = error.source();
    }
    told
}

#[tokio::test]
async fn no_error_tells_the_token_whichever_step_fails() {
    let (log, _guard) = Log::kept();
    let forms = Canaries::new(&[TOKEN]);
    // A service that says what it was told, as careless proxies do.
    let said = format!(
        "bad login {EMAIL}:{TOKEN}; Authorization: {}; ?token={}",
        basic_authorization(EMAIL, TOKEN),
        TOKEN.replace('=', "%3D")
    );
    let echo = |status| Fault::status(status).body(&json!({ "message": said }).to_string());
    for fault in [
        echo(400),
        echo(401),
        echo(403),
        echo(404),
        echo(500),
        echo(200),
        Fault::html(),
        Fault::html().body(&format!("<pre>{said}</pre>")),
        Fault::Cut,
        Fault::redirect(301, &format!("/?token={TOKEN}")),
    ] {
        for step in 1..=8 {
            let jira = FakeJira::with_all_statuses().await;
            let key = jira.site().add_to_do("one");
            let tracker = jira.tracker();
            for times in 0..5 {
                jira.chassis().faults().add(Rule::all().nth(step + times), fault.clone());
            }
            let comment = Change::Comment { marker: Some("acf:run:r1".into()), body: "Landed.".into() };
            let changes =
                [comment, Change::AddLabel("x".into()), Change::Transition(Status::Done), Change::Unassign];
            let mut told = vec![format!("{tracker:?} {:?}", jira.settings())];
            told.extend(tracker.whoami().await.err().map(|error| chain(&error)));
            told.extend(tracker.candidates(Stage::Implementation).await.err().map(|error| chain(&error)));
            told.extend(tracker.apply(&key.into(), &changes).await.err().map(|error| chain(&error)));
            let told = told.join("\n");
            assert_eq!(forms.in_text(told.as_bytes()), [""; 0], "{told}");
            for request in jira.asked() {
                let sent = format!("{} {:?} {:?}", request.line(), request.query, request.body);
                assert_eq!(forms.in_text(sent.as_bytes()), [""; 0], "{sent}");
            }
        }
    }
    let logged = log.text();
    assert!(logged.contains("again in"), "repeated calls are logged");
    assert_eq!(forms.in_text(logged.as_bytes()), [""; 0], "{logged}");
}
