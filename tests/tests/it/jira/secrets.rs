//! The token is in no error, no log, no address and no body, whatever fails.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};

use acf_core::issue::{Stage, Status};
use acf_core::tracker::{Change, Tracker as _, TrackerError};
use acf_tests::jira::{EMAIL, FakeJira, TOKEN};
use acf_tests::service::{Fault, Rule};

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

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
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // A service that says what it was told, as careless proxies do.
    let echo = |status| Fault::status(status).body(&format!("{{\"message\":\"bad login {EMAIL}:{TOKEN}\"}}"));
    for fault in [
        echo(400),
        echo(401),
        echo(403),
        echo(404),
        echo(500),
        echo(200),
        Fault::html(),
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
            assert!(!told.contains(TOKEN), "{told}");
            for request in jira.asked() {
                let sent = format!("{} {:?} {:?}", request.line(), request.query, request.body);
                assert!(!sent.contains(TOKEN), "{sent}");
            }
        }
    }
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("again in"), "repeated calls are logged");
    assert!(!logged.contains(TOKEN), "{logged}");
}
