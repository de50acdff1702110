//! The prices that acf knows, and the operator's over them.

use std::fs;
use std::io;
use std::path::Path;

use acf_core::prices::{InvalidPrices, Prices};

use crate::config::AgentChoice;

/// The prices that acf knows.
const OWN: &str = include_str!("../data/prices.toml");

/// Why the operator's prices cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PricesError {
    /// Their file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    /// It is no table of prices.
    #[error(transparent)]
    Invalid(#[from] InvalidPrices),
}

/// Returns acf's own prices with those of the operator's file over them.
///
/// # Errors
/// [`PricesError`], where that file is no good.
pub(crate) fn known(file: Option<&Path>) -> Result<Prices, PricesError> {
    let own = Prices::parse(OWN)?;
    let Some(file) = file else { return Ok(own) };
    Ok(own.overridden_by(Prices::parse(&fs::read_to_string(file)?)?))
}

/// Says why nobody will know what an agent's work costs, where that is sure from the start. One that tells its
/// model, and was given none, may use one that has a price.
pub(crate) fn why_unknown(choice: &AgentChoice, prices: &Prices) -> Option<String> {
    let no_price = |agent: &str, model: &str| {
        (prices.of(model).is_none()).then(|| {
            format!("{agent} does: its model {model} has no price, AGENT_PRICES_FILE can give it one")
        })
    };
    let nameless = |agent: &str, variable: &str| {
        Some(format!("{agent} does: it does not tell its model, so its cost is not known; set {variable}"))
    };
    match choice {
        // The one tells its cost itself, the other has none.
        AgentChoice::Claude { .. } | AgentChoice::Script => None,
        AgentChoice::Command { .. } => {
            Some("AGENT_COMMAND does: it tells neither tokens nor cost".to_owned())
        }
        AgentChoice::Codex(access) => match &access.model {
            Some(model) => no_price("codex", model),
            None => nameless("codex", "CODEX_MODEL"),
        },
        AgentChoice::Opencode(access) => match &access.model {
            Some(model) => no_price("opencode", model)
                .map(|why| format!("{why}, unless opencode itself knows what it costs")),
            None => nameless("opencode", "OPENCODE_MODEL"),
        },
        AgentChoice::Copilot(access) => no_price("copilot", access.model.as_deref()?),
        AgentChoice::Gemini(access) => no_price("gemini", access.model.as_deref()?),
    }
}

#[cfg(test)]
mod tests {
    use acf_core::receipt::Usage;

    use super::*;
    use crate::agent::Access;

    #[test]
    fn every_price_that_acf_knows_says_where_it_is_published() {
        let prices = known(None).unwrap();
        assert!(prices.iter().count() > 20);
        for (model, price) in prices.iter() {
            assert!(price.source.starts_with("https://"), "{model}");
            assert!(price.read.year() >= 2026, "{model}");
            let cached = price.cached_input.unwrap();
            assert!(0.0 < cached && cached < price.input && price.input < price.output, "{model}");
        }
        let usage = Usage { input_tokens: 1_000_000, output_tokens: 1_000_000, ..Usage::default() };
        assert_eq!(prices.estimate("gpt-5-codex", &usage), Some(11.25));
    }

    #[test]
    fn an_unknown_cost_is_known_to_be_one_from_the_start_where_that_is_sure() {
        let prices = known(None).unwrap();
        let with = |model: Option<&str>| Access { model: model.map(Into::into), ..Access::default() };
        let why = |choice: AgentChoice| why_unknown(&choice, &prices);
        for make in [AgentChoice::Codex, AgentChoice::Copilot, AgentChoice::Gemini, AgentChoice::Opencode] {
            assert_eq!(why(make(with(Some("gpt-5-codex")))), None);
            let told = why(make(with(Some("acme/unheard-of")))).unwrap();
            assert!(told.contains("model acme/unheard-of has no price"), "{told}");
        }
        for (make, is_nameless) in [
            (AgentChoice::Codex as fn(Access) -> AgentChoice, true),
            (AgentChoice::Opencode, true),
            (AgentChoice::Copilot, false),
            (AgentChoice::Gemini, false),
        ] {
            assert_eq!(why(make(with(None))).is_some(), is_nameless);
        }
        assert_eq!(why(AgentChoice::Claude { access: with(Some("unheard-of")), subscription: None }), None);
        let program = "agent".into();
        let command = AgentChoice::Command { program, args: Vec::new(), access: with(None) };
        assert!(why(command).is_some());
    }
}
