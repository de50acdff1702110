//! What the CLIs really wrote, one file a situation and trimmed, played to their adapters.

use acf_core::agent::{Agent, AgentEvent, AgentExit, AgentOutcome, Signals};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Returns what the adapter makes of a recorded round.
pub(super) fn events(agent: &dyn Agent, recorded: &str) -> Vec<AgentEvent> {
    recorded.lines().flat_map(|line| agent.parse(line)).collect()
}

/// Returns how the adapter judges a recorded round that ended with that exit code.
pub(super) fn ended(agent: &dyn Agent, recorded: &str, exit_code: i32) -> AgentOutcome {
    let mut signals = Signals::default();
    events(agent, recorded).iter().for_each(|event| signals.note(event));
    agent.judge(AgentExit::Exited(Some(exit_code)), &signals)
}

/// Checks that no line makes the adapter panic, and that one which is cut off, or is no JSON, is text.
pub(super) fn noise_is_text(agent: &dyn Agent, recorded: &str) {
    for line in recorded.lines() {
        let cut: String = line.chars().take(line.chars().count() / 2).collect();
        assert_eq!(agent.parse(&cut), [AgentEvent::Text(cut.clone())]);
    }
    for unknown in [r#"{"type":"from the future","x":[1]}"#, "{}", "[1]", "7", "null", ""] {
        assert_eq!(agent.parse(unknown), [AgentEvent::Text(unknown.into())]);
    }
    let types: Vec<_> =
        recorded.lines().filter_map(|line| line.split('"').nth(3)).map(str::to_owned).collect();
    let strange = (prop::sample::select(types), "\\PC{0,40}").prop_map(|(name, noise)| {
        serde_json::json!({ "type": name, "message": noise, "data": [noise], "usage": "x", "item": noise }).to_string()
    });
    let mut runner = TestRunner::deterministic();
    let is_bearable = |line: String| {
        let _events = agent.parse(&line);
        Ok(())
    };
    runner.run(&"\\PC*", is_bearable).expect("any text can be parsed");
    runner.run(&strange, is_bearable).expect("any object can be parsed");
}
