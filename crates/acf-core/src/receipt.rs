//! Receipts: what the gate, the agent and git showed for a run.

use serde::{Deserialize, Serialize};

/// What one check command showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The command, as the repository's policy has it.
    pub command: String,
    /// Its exit code; `None` when a signal or the time limit ended it.
    pub exit_code: Option<i32>,
    /// How long it took.
    pub duration_ms: u64,
}

/// What the agent used, summed over all rounds of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Turns of the conversation with the model.
    #[serde(default)]
    pub turns: u64,
    /// Tokens read.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens written.
    #[serde(default)]
    pub output_tokens: u64,
    /// Cost in US dollars, where the agent tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

// Costs are finite: they are parsed from JSON, which has no NaN.
impl Eq for Usage {}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        self.turns += more.turns;
        self.input_tokens += more.input_tokens;
        self.output_tokens += more.output_tokens;
        self.cost_usd = match (self.cost_usd, more.cost_usd) {
            (None, None) => None,
            (before, now) => Some(before.unwrap_or(0.0) + now.unwrap_or(0.0)),
        };
    }
}

/// The evidence for one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The agent's name, and its version where it tells one.
    pub agent: String,
    /// The model, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What the agent used.
    #[serde(default)]
    pub usage: Usage,
    /// The last run of each of the gate's commands.
    #[serde(default)]
    pub gate: Vec<CheckResult>,
    /// Whether an earlier run's interrupted work was taken up.
    #[serde(default)]
    pub resumed: bool,
    /// How many rounds of fixing it took.
    #[serde(default)]
    pub fix_rounds: u32,
    /// Which attempt at the issue this was, from 1.
    #[serde(default)]
    pub attempt: u32,
    /// Time spent inside the agent.
    #[serde(default)]
    pub agent_ms: u64,
    /// Time from claim to outcome.
    #[serde(default)]
    pub duration_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_adds_up_and_an_unknown_cost_stays_unknown() {
        let mut sum = Usage { turns: 1, input_tokens: 10, output_tokens: 3, cost_usd: None };
        sum += Usage { turns: 2, input_tokens: 5, output_tokens: 1, cost_usd: None };
        assert_eq!(sum, Usage { turns: 3, input_tokens: 15, output_tokens: 4, cost_usd: None });
        sum += Usage { cost_usd: Some(0.25), ..Usage::default() };
        sum += Usage { cost_usd: Some(0.5), ..Usage::default() };
        assert_eq!(sum.cost_usd, Some(0.75));
    }
}
