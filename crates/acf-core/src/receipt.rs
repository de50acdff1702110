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
    /// Tokens read, those from a cache included.
    #[serde(default)]
    pub input_tokens: u64,
    /// Those of the tokens read that came from a cache, which cost less.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_tokens: u64,
    /// Tokens written.
    #[serde(default)]
    pub output_tokens: u64,
    /// Cost in US dollars, as the agent tells it or acf estimates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Whether any of the cost is acf's estimate from a price table.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cost_is_estimated: bool,
    /// Whether nobody knows what some of this cost, so that it cost more than `cost_usd` says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cost_is_incomplete: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Usage {
    /// Tells whether nobody knows what all of this cost, or some of it.
    #[must_use]
    pub fn cost_is_unknown(&self) -> bool {
        self.cost_is_incomplete || self.cost_usd.is_none() && self.has_tokens()
    }

    /// Tells whether any token was used, as far as anybody told.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        self.input_tokens > 0 || self.output_tokens > 0
    }
}

// Costs are finite: they are parsed from JSON, which has no NaN.
impl Eq for Usage {}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        // Asked of each by itself: the cost of the one says nothing of the other's tokens.
        self.cost_is_incomplete = self.cost_is_unknown() || more.cost_is_unknown();
        // What agents tell of themselves may be absurd.
        self.turns = self.turns.saturating_add(more.turns);
        self.input_tokens = self.input_tokens.saturating_add(more.input_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(more.cached_tokens);
        self.cost_is_estimated |= more.cost_is_estimated;
        self.output_tokens = self.output_tokens.saturating_add(more.output_tokens);
        self.cost_usd = match (self.cost_usd, more.cost_usd) {
            (None, None) => None,
            (before, now) => Some(before.unwrap_or(0.0) + now.unwrap_or(0.0)),
        };
    }
}

/// What one of several agents did for a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The agent's name, and its version where it tells one.
    pub agent: String,
    /// The model, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What it used.
    #[serde(default)]
    pub usage: Usage,
    /// Time spent inside it.
    #[serde(default)]
    pub agent_ms: u64,
}

/// The evidence for one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The agent's name, and its version where it tells one; several in the order in which they worked.
    pub agent: String,
    /// The model, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What the agents used.
    #[serde(default)]
    pub usage: Usage,
    /// The part of each agent, in their order, where more than one took part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
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

impl Receipt {
    /// Returns the receipt of a run that those agents worked on, one after another.
    #[must_use]
    pub fn by(self, parts: &[Part]) -> Self {
        let joined = |words: Vec<&str>| words.join(", then ");
        let mut models: Vec<_> = parts.iter().filter_map(|part| part.model.as_deref()).collect();
        models.dedup();
        let mut usage = Usage::default();
        parts.iter().for_each(|part| usage += part.usage);
        Self {
            agent: joined(parts.iter().map(|part| part.agent.as_str()).collect()),
            model: (!models.is_empty()).then(|| joined(models)),
            usage,
            agent_ms: parts.iter().map(|part| part.agent_ms).sum(),
            parts: if parts.len() > 1 { parts.to_vec() } else { Vec::new() },
            ..self
        }
    }

    /// Returns the part of each agent, also where there was only one.
    #[must_use]
    pub fn shares(&self) -> Vec<Part> {
        if !self.parts.is_empty() {
            return self.parts.clone();
        }
        let Self { agent, model, usage, agent_ms, .. } = self.clone();
        vec![Part { agent, model, usage, agent_ms }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_adds_up_and_an_unknown_cost_stays_unknown() {
        let used = |turns, input_tokens, output_tokens| Usage {
            turns,
            input_tokens,
            cached_tokens: 1,
            output_tokens,
            ..Usage::default()
        };
        let mut sum = used(1, 10, 3);
        sum += used(2, 5, 1);
        assert_eq!(sum, Usage { cached_tokens: 2, cost_is_incomplete: true, ..used(3, 15, 4) });
        assert!(sum.cost_is_unknown());
        sum += Usage { cost_usd: Some(0.25), ..Usage::default() };
        assert!(!sum.cost_is_estimated);
        sum += Usage { cost_usd: Some(0.5), cost_is_estimated: true, ..Usage::default() };
        assert_eq!((sum.cost_usd, sum.cost_is_estimated), (Some(0.75), true));
        assert!(sum.cost_is_unknown(), "the cost of other tokens is not that of the first");
    }

    #[test]
    fn a_record_says_of_a_cache_only_where_there_was_one() {
        let written = |cached_tokens| {
            let usage = Usage { cached_tokens, ..Usage::default() };
            serde_json::to_value(usage).unwrap().get("cached_tokens").cloned()
        };
        assert_eq!((written(0), written(5)), (None, Some(5.into())));
    }

    #[test]
    fn what_has_a_cost_throughout_is_known() {
        let mut sum = Usage::default();
        for cost in [0.25, 0.5] {
            sum += Usage { input_tokens: 10, cost_usd: Some(cost), ..Usage::default() };
        }
        assert!(!sum.cost_is_unknown() && !Usage::default().cost_is_unknown());
    }

    #[test]
    fn a_receipt_names_every_agent_that_took_part_and_sums_what_they_used() {
        let part = |agent: &str, model: Option<&str>, turns| Part {
            agent: agent.into(),
            model: model.map(Into::into),
            usage: Usage { turns, ..Usage::default() },
            agent_ms: 10,
        };
        let both = [part("claude 2.1", Some("sonnet"), 3), part("codex 0.169", None, 2)];
        let receipt = Receipt::default().by(&both);
        assert_eq!((receipt.agent.as_str(), receipt.usage.turns), ("claude 2.1, then codex 0.169", 5));
        assert_eq!((receipt.model.as_deref(), receipt.agent_ms), (Some("sonnet"), 20));
        assert_eq!(receipt.shares(), both);

        let alone = Receipt::default().by(&both[..1]);
        assert!(alone.parts.is_empty());
        assert_eq!(alone.shares(), both[..1]);
    }
}
