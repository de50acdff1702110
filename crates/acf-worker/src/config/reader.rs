//! Takes typed values out of the layers and collects what is wrong with them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use acf_core::mask::Mask;
use jiff::SignedDuration;
use url::Url;

use super::problems::{Problem, Problems, quoted};
use super::repository_url;
use super::sources::{Found, Layers};
use super::suggestion::closest;
use super::variables::Variable;

/// The longest duration that is taken: longer ones are slips, and time arithmetic need not fear them.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A reading of the layers. Every method returns `None` when there is no value that can be used; when
/// there should be one, the problem is noted, so that all of them can be told at once.
pub(super) struct Reader<'a> {
    layers: &'a Layers,
    mask: Mask,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layers: &'a Layers) -> Self {
        let problems = layers.problems().to_vec();
        Self { layers, mask: layers.mask(), problems, warnings: layers.warnings().to_vec() }
    }

    pub(super) fn layers(&self) -> &'a Layers {
        self.layers
    }

    pub(super) fn mask(&self) -> Mask {
        self.mask.clone()
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings.iter().map(|warning| self.mask.apply(warning).into_owned()).collect()
    }

    pub(super) fn found(&self, variable: &Variable) -> Option<Found> {
        self.layers.lookup(variable).found
    }

    /// Notes a problem; what is read twice is told once.
    pub(super) fn note(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Notes that a variable has to be set.
    pub(super) fn missing(&mut self, variable: &Variable, remedy: impl Into<String>) {
        let absence = self.layers.lookup(variable).absence();
        self.note(Problem::missing(variable.name, absence, remedy));
    }

    /// Notes that a variable's value cannot be used.
    pub(super) fn wrong(&mut self, variable: &Variable, found: &Found, remedy: impl Into<String>) {
        let shown = self.show(variable, found);
        self.note(Problem::wrong(variable.name, shown, remedy));
    }

    /// Says what was found and where, without showing what is secret.
    pub(super) fn show(&self, variable: &Variable, found: &Found) -> String {
        let place = found.origin.phrase();
        if variable.secret {
            return format!("set {place}");
        }
        // Masked before it is cut: half a secret would not be recognised.
        format!("{} {place}", quoted(&self.mask.apply(&found.value)))
    }

    /// Parses a value; the error says what to write instead.
    pub(super) fn parse<T>(
        &mut self,
        variable: &Variable,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let found = self.found(variable)?;
        match parse(found.value.trim()) {
            Ok(value) => Some(value),
            Err(remedy) => {
                self.wrong(variable, &found, remedy);
                None
            }
        }
    }

    /// Parses the address of a service; what is told of a wrong one holds no credentials.
    pub(super) fn url(
        &mut self,
        variable: &Variable,
        parse: impl FnOnce(&str) -> Result<Url, String>,
    ) -> Option<Url> {
        let found = self.found(variable)?;
        match parse(found.value.trim()) {
            Ok(url) => Some(url),
            Err(remedy) => {
                let shown = Found { value: repository_url::shown(found.value.trim()), ..found };
                self.wrong(variable, &shown, remedy);
                None
            }
        }
    }

    /// Returns a text without the white space around it.
    pub(super) fn text(&self, variable: &Variable) -> Option<String> {
        self.found(variable).map(|found| found.value.trim().to_owned())
    }

    /// Returns a text as it was written.
    pub(super) fn verbatim(&self, variable: &Variable) -> Option<String> {
        self.found(variable).map(|found| found.value)
    }

    pub(super) fn path(&self, variable: &Variable) -> Option<PathBuf> {
        self.found(variable).map(|found| self.layers.path(&found))
    }

    /// Returns what a word stands for.
    pub(super) fn choice<T: Copy>(&mut self, variable: &Variable, known: &[(&str, T)]) -> Option<T> {
        self.parse(variable, |text| meant(text, known))
    }

    /// Returns what words stand for that have commas between them: at least one, and none twice.
    pub(super) fn choices<T: Copy>(&mut self, variable: &Variable, known: &[(&str, T)]) -> Option<Vec<T>> {
        self.parse(variable, |text| {
            let mut words = BTreeSet::new();
            let chosen = text.split(',').map(|word| {
                let word = word.trim();
                if !words.insert(word) {
                    return Err(format!("{word} stands there twice"));
                }
                meant(word, known)
            });
            chosen.collect()
        })
    }

    pub(super) fn switch(&mut self, variable: &Variable) -> Option<bool> {
        self.parse(variable, |text| match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err("write true or false".to_owned()),
        })
    }

    pub(super) fn words(&self, variable: &Variable) -> BTreeSet<String> {
        let text = self.text(variable).unwrap_or_default();
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// Returns a whole number that is at least 1.
    pub(super) fn count(&mut self, variable: &Variable) -> Option<u32> {
        self.parse(variable, |text| match text.parse() {
            Ok(0) | Err(_) => Err("write a whole number from 1".to_owned()),
            Ok(number) => Ok(number),
        })
    }

    /// Returns an amount of money that is more than nothing.
    pub(super) fn dollars(&mut self, variable: &Variable) -> Option<f64> {
        self.parse(variable, |text| match text.trim_start_matches('$').parse::<f64>() {
            Ok(amount) if amount.is_finite() && amount > 0.0 => Ok(amount),
            _ => Err("write an amount in US dollars such as 2.50, more than zero".to_owned()),
        })
    }

    /// Returns a duration that may be zero.
    pub(super) fn wait(&mut self, variable: &Variable) -> Option<Duration> {
        self.parse(variable, duration)
    }

    /// Returns a duration that is more than zero.
    pub(super) fn limit(&mut self, variable: &Variable) -> Option<Duration> {
        self.parse(variable, |text| match duration(text)? {
            Duration::ZERO => Err("has to be more than zero".to_owned()),
            limit => Ok(limit),
        })
    }

    /// Ends the reading. A value can be missing only where a problem was noted.
    pub(super) fn finish<T>(self, value: Option<T>, tracker: Option<&'static str>) -> Result<T, Problems> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(Problems::new(self.problems, tracker, &self.mask)),
        }
    }
}

/// Returns what a word stands for, or which words there are.
fn meant<T: Copy>(text: &str, known: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, choice)) = known.iter().find(|(word, _)| *word == text) {
        return Ok(*choice);
    }
    let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
    let list = words.join(", ");
    Err(match closest(&text.to_lowercase(), words) {
        Some(meant) => format!("did you mean {meant}? known: {list}"),
        None => format!("known: {list}"),
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    let plain_seconds = text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = if plain_seconds {
        text.parse().ok().map(Duration::from_secs)
    } else {
        text.parse::<SignedDuration>().ok().and_then(|signed| Duration::try_from(signed).ok())
    };
    match parsed {
        Some(duration) if duration <= LONGEST => Ok(duration),
        Some(_) => Err("at most a year".to_owned()),
        None => Err("write a duration such as 90s, 30m or 1h 30m, or a number of seconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_words_or_seconds() {
        let secs = |text| duration(text).map(|duration| duration.as_millis());
        assert_eq!(secs("60"), Ok(60_000));
        assert_eq!(secs("0"), Ok(0));
        assert_eq!(secs("250ms"), Ok(250));
        assert_eq!(secs("1h 30m"), Ok(5_400_000));
        assert_eq!(secs("30m"), Ok(1_800_000));
        for text in ["-1s", "soon", "1.5.2", "99999999999999999999", "10 parsecs"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("99999999999"), Err("at most a year".to_owned()));
    }
}
