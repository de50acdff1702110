//! What tokens cost: the table of published prices, and estimates by it for agents that tell no cost.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Deserialize;

use crate::receipt::Usage;

const MILLION: f64 = 1_000_000.0;

/// The published prices of one model, in US dollars for a million tokens.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Tokens read.
    pub input: f64,
    /// Tokens read from a cache; as `input` where it is not said.
    pub cached_input: Option<f64>,
    /// Tokens written.
    pub output: f64,
    /// Where it is published.
    pub source: String,
    /// The day on which it was read there.
    pub read: Date,
}

/// The prices of models, by the names under which agents tell them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    #[serde(default)]
    models: BTreeMap<String, Price>,
}

/// A price table says something that it cannot say.
#[derive(Debug, thiserror::Error)]
#[error("not a table of prices: {0}")]
pub struct InvalidPrices(String);

impl Prices {
    /// Parses a table: `[models."NAME"]`, each with `input`, `output`, `source`, `read` and perhaps
    /// `cached_input`.
    ///
    /// # Errors
    /// [`InvalidPrices`] for anything unknown or missing, or a price that is negative or no number.
    pub fn parse(text: &str) -> Result<Self, InvalidPrices> {
        let prices: Self = toml::from_str(text).map_err(|error| InvalidPrices(error.to_string()))?;
        for (model, price) in &prices.models {
            let figures = [Some(price.input), price.cached_input, Some(price.output)];
            if !figures.into_iter().flatten().all(|figure| figure.is_finite() && figure >= 0.0) {
                return Err(InvalidPrices(format!("a price of `{model}` is below zero or no number")));
            }
        }
        Ok(prices)
    }

    /// Returns this table with the prices of another one over its own.
    #[must_use]
    pub fn overridden_by(mut self, other: Self) -> Self {
        self.models.extend(other.models);
        self
    }

    /// Returns every model with its price.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Price)> {
        self.models.iter().map(|(model, price)| (model.as_str(), price))
    }

    /// Finds a model's price: under its whole name, else without the provider before a `/` and the date
    /// of a snapshot behind it. A name that only resembles one in the table has no price.
    #[must_use]
    pub fn of(&self, model: &str) -> Option<&Price> {
        let known = |name: &str| self.models.get(name);
        let bare = model.rsplit('/').next().unwrap_or(model);
        known(model).or_else(|| known(bare)).or_else(|| known(without_date(bare)))
    }

    /// Estimates what that usage cost, in US dollars; `None` where the model's price is not known, or no tokens
    /// were told: nothing told is not nothing used. Prices are those of the table, so dearer tiers for long
    /// prompts are not seen.
    #[must_use]
    pub fn estimate(&self, model: &str, usage: &Usage) -> Option<f64> {
        let price = self.of(model).filter(|_| usage.has_tokens())?;
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let fresh = usage.input_tokens - cached;
        #[expect(clippy::cast_precision_loss, reason = "nobody uses 2^53 tokens")]
        let dollars = |tokens: u64, price: f64| tokens as f64 * price / MILLION;
        Some(
            dollars(fresh, price.input)
                + dollars(cached, price.cached_input.unwrap_or(price.input))
                + dollars(usage.output_tokens, price.output),
        )
    }
}

/// Returns a model's name without the date of a snapshot: `-20260105` or `-2026-01-05`.
fn without_date(model: &str) -> &str {
    let is_date = |tail: &str| {
        let digits = tail.bytes().filter(u8::is_ascii_digit).count();
        let dashes = tail.bytes().filter(|byte| *byte == b'-').count();
        digits == 8 && digits + dashes == tail.len() && matches!(dashes, 1 | 3) && tail.starts_with('-')
    };
    let cuts = [9, 11].into_iter().filter_map(|length| model.len().checked_sub(length));
    let mut cuts = cuts.filter(|&at| model.is_char_boundary(at));
    cuts.find(|&at| is_date(&model[at..])).map_or(model, |at| &model[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Prices {
        let entry = "input = 2.0\noutput = 10.0\nsource = \"https://example.org\"\nread = \"2026-11-24\"";
        let cached = "cached_input = 0.5";
        Prices::parse(&format!("[models.plain]\n{entry}\n[models.\"with-cache\"]\n{cached}\n{entry}"))
            .unwrap()
    }

    fn usage(input_tokens: u64, cached_tokens: u64, output_tokens: u64) -> Usage {
        Usage { input_tokens, cached_tokens, output_tokens, ..Usage::default() }
    }

    #[test]
    fn tokens_from_a_cache_have_their_own_price() {
        let prices = table();
        assert_eq!(prices.estimate("with-cache", &usage(3_000_000, 2_000_000, 100_000)), Some(4.0));
        assert_eq!(prices.estimate("plain", &usage(3_000_000, 2_000_000, 100_000)), Some(7.0));
        assert_eq!(prices.estimate("plain", &usage(1, 5, 0)), Some(0.000_002), "no more than were read");
    }

    #[test]
    fn no_tokens_have_no_estimate() {
        assert_eq!(table().estimate("plain", &usage(0, 0, 0)), None);
    }

    #[test]
    fn a_model_is_known_by_its_name_with_or_without_provider_and_date() {
        let prices = table();
        for known in ["plain", "acme/plain", "plain-20260105", "acme/eu/plain-2026-01-05"] {
            assert!(prices.of(known).is_some(), "{known}");
        }
        for unknown in [
            "plain-mini",
            "plai",
            "",
            "plain-2026",
            "plain-202601055",
            "plain-2026-0105",
            "ä",
            "plain2026-0105",
            "plain-20260105x",
            "plain-2026-01-0",
        ] {
            assert!(prices.of(unknown).is_none(), "{unknown}");
            assert_eq!(prices.estimate(unknown, &usage(1, 0, 1)), None);
        }
    }

    #[test]
    fn an_own_table_goes_over_the_other_model_by_model() {
        let own = "[models.plain]\ninput = 0\noutput = 0\nsource = \"contract\"\nread = \"2026-01-01\"";
        let prices = table().overridden_by(Prices::parse(own).unwrap());
        assert_eq!(prices.estimate("plain", &usage(5, 0, 5)), Some(0.0));
        assert_eq!(prices.iter().map(|(model, _)| model).collect::<Vec<_>>(), ["plain", "with-cache"]);
    }

    #[test]
    fn a_table_without_source_or_sense_is_refused_by_name() {
        for (text, named) in [
            ("[models.a]\ninput = 1\noutput = 1\nread = \"2026-01-01\"", "source"),
            ("[models.a]\ninput = 1\noutput = 1\nsource = \"x\"", "read"),
            ("[models.a]\ninput = -1\noutput = 1\nsource = \"x\"\nread = \"2026-01-01\"", "`a`"),
            ("[models.a]\ninput = nan\noutput = 1\nsource = \"x\"\nread = \"2026-01-01\"", "`a`"),
            ("[model.a]", "model"),
        ] {
            let refusal = Prices::parse(text).unwrap_err().to_string();
            assert!(refusal.contains(named), "{text}: {refusal}");
        }
    }
}
