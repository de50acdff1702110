//! The language of the scripted agent: what is told in an issue's description, and for which rounds.

use std::str::FromStr;
use std::time::Duration;

use acf_core::issue::Stage;

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Directive {
    Write { path: String, text: String },
    Append { path: String, text: String },
    Delete { path: String },
    Sh(String),
    None,
    Print(String),
    Usage { input: u64, output: u64, cost: Option<f64> },
    Model(String),
    Sleep(Duration),
    Flood(u64),
    IgnoreTerm,
    Hang,
    RateLimit(Duration),
    Quota(Option<Duration>),
    NotAuthenticated(String),
    OutOfTurns,
    OutOfBudget,
    Fail(u8),
    Crash,
    Plan(String),
}

impl Directive {
    /// Tells whether it says what becomes of the checkout, so that nothing is done by default.
    pub(super) fn settles_the_work(&self) -> bool {
        match self {
            Self::Write { .. }
            | Self::Append { .. }
            | Self::Delete { .. }
            | Self::Sh(_)
            | Self::None
            | Self::Plan(_) => true,
            Self::Print(_)
            | Self::Usage { .. }
            | Self::Model(_)
            | Self::Quota(_)
            | Self::NotAuthenticated(_)
            | Self::OutOfTurns
            | Self::OutOfBudget
            | Self::Sleep(_)
            | Self::Flood(_)
            | Self::IgnoreTerm
            | Self::Hang
            | Self::RateLimit(_)
            | Self::Fail(_)
            | Self::Crash => false,
        }
    }
}

/// Which rounds a directive is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    First,
    Fix,
    Every,
    Planning,
}

impl Scope {
    fn covers(self, stage: Stage, round: u32) -> bool {
        match (self, stage) {
            (Self::First, Stage::Implementation) => round == 0,
            (Self::Fix, Stage::Implementation) => round > 0,
            (Self::Every, Stage::Implementation) | (Self::Planning, Stage::Planning) => true,
            _ => false,
        }
    }
}

/// Returns the directives of a description that are for this round.
///
/// A line that begins with `@` and is no directive is an error, even where it is for another round.
pub(super) fn for_round(description: &str, stage: Stage, round: u32) -> Result<Vec<Directive>, String> {
    let mut directives = Vec::new();
    for line in description.lines() {
        let line = line.trim();
        let line = line.strip_prefix("- ").map_or(line, str::trim_start);
        let Some(told) = line.strip_prefix('@') else { continue };
        let (scope, directive) = parse(told).map_err(|why| format!("`{line}`: {why}"))?;
        if scope.covers(stage, round) {
            directives.push(directive);
        }
    }
    Ok(directives)
}

fn parse(told: &str) -> Result<(Scope, Directive), String> {
    let (word, rest) = first_word(told);
    let scope = match word {
        "fix" => Scope::Fix,
        "every" => Scope::Every,
        "planning" => Scope::Planning,
        "plan" => return Ok((Scope::Planning, Directive::Plan(text(rest)))),
        _ => return Ok((Scope::First, directive(word, rest)?)),
    };
    let (word, rest) = first_word(rest);
    Ok((scope, directive(word, rest)?))
}

fn directive(word: &str, rest: &str) -> Result<Directive, String> {
    let (path, of_path) = first_word(rest);
    match word {
        "write" | "append" | "delete" if path.is_empty() => Err("a path is missing".into()),
        "write" => Ok(Directive::Write { path: path.into(), text: text(of_path) }),
        "append" => Ok(Directive::Append { path: path.into(), text: text(of_path) }),
        "delete" => Ok(Directive::Delete { path: path.into() }),
        "sh" => Ok(Directive::Sh(rest.into())),
        "none" => Ok(Directive::None),
        "print" => Ok(Directive::Print(rest.into())),
        "usage" => {
            let (output, cost) = first_word(of_path);
            let cost = (!cost.is_empty()).then(|| number(cost)).transpose()?;
            Ok(Directive::Usage { input: number(path)?, output: number(output)?, cost })
        }
        "model" if rest.is_empty() => Err("a name is missing".into()),
        "model" => Ok(Directive::Model(rest.into())),
        "quota" => Ok(Directive::Quota((!rest.is_empty()).then(|| seconds(rest)).transpose()?)),
        "not-authenticated" => Ok(Directive::NotAuthenticated(rest.into())),
        "out-of-turns" => Ok(Directive::OutOfTurns),
        "out-of-budget" => Ok(Directive::OutOfBudget),
        "sleep" => Ok(Directive::Sleep(seconds(rest)?)),
        "flood" => Ok(Directive::Flood(number(rest)?)),
        "ignore-term" => Ok(Directive::IgnoreTerm),
        "hang" => Ok(Directive::Hang),
        "rate-limit" => Ok(Directive::RateLimit(seconds(rest)?)),
        "fail" => Ok(Directive::Fail(number(rest)?)),
        "crash" => Ok(Directive::Crash),
        _ => Err("there is no such directive".into()),
    }
}

fn first_word(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number that fits"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    Duration::try_from_secs_f64(number(text)?).map_err(|error| error.to_string())
}

/// Resolves the escapes and adds the final newline.
fn text(told: &str) -> String {
    let mut text = String::with_capacity(told.len() + 1);
    let mut rest = told.chars();
    while let Some(c) = rest.next() {
        match (c, rest.as_str().chars().next()) {
            ('\\', Some(escaped @ ('n' | 't' | '\\'))) => {
                rest.next();
                text.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    _ => '\\',
                });
            }
            _ => text.push(c),
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_round(description: &str) -> Vec<Directive> {
        for_round(description, Stage::Implementation, 0).unwrap()
    }

    #[test]
    fn directives_stand_between_other_lines_with_or_without_a_dash() {
        let description = "Please do this:\n  - @sleep 0.5\n@none\nmail me@example.org\n-  @crash";
        let expected = [Directive::Sleep(Duration::from_millis(500)), Directive::None, Directive::Crash];
        assert_eq!(first_round(description), expected);
    }

    #[test]
    fn texts_have_escapes_and_end_with_a_newline() {
        let write = |text: &str| Directive::Write { path: "a/b.txt".into(), text: text.into() };
        for (told, text) in [
            ("one two", "one two\n"),
            (r"one\ntwo\n", "one\ntwo\n"),
            (r"a\\nb\tc\d \", "a\\nb\tc\\d \\\n"),
            ("", ""),
        ] {
            assert_eq!(first_round(&format!("@write a/b.txt {told}")), [write(text)], "{told}");
        }
    }

    #[test]
    fn every_directive_is_understood() {
        let description = "@append p t\n@delete p\n@sh a && b\n@print hi you\n@usage 10 20 0.5\n@flood 1000\n\
            @ignore-term\n@hang\n@rate-limit 0.1\n@fail 3\n@usage 1 2\n@model m\n@quota\n@quota 2\n\
            @not-authenticated 401 it says\n@out-of-turns\n@out-of-budget";
        let expected = [
            Directive::Append { path: "p".into(), text: "t\n".into() },
            Directive::Delete { path: "p".into() },
            Directive::Sh("a && b".into()),
            Directive::Print("hi you".into()),
            Directive::Usage { input: 10, output: 20, cost: Some(0.5) },
            Directive::Flood(1000),
            Directive::IgnoreTerm,
            Directive::Hang,
            Directive::RateLimit(Duration::from_millis(100)),
            Directive::Fail(3),
            Directive::Usage { input: 1, output: 2, cost: None },
            Directive::Model("m".into()),
            Directive::Quota(None),
            Directive::Quota(Some(Duration::from_secs(2))),
            Directive::NotAuthenticated("401 it says".into()),
            Directive::OutOfTurns,
            Directive::OutOfBudget,
        ];
        assert_eq!(first_round(description), expected);
    }

    #[test]
    fn each_round_gets_its_own_directives() {
        let description =
            "@print first\n@fix print fix\n@every print every\n@planning print planning\n@plan text";
        let said = |stage, round| {
            let directives = for_round(description, stage, round).unwrap();
            let words = directives.into_iter().map(|directive| match directive {
                Directive::Print(word) => word,
                Directive::Plan(text) => text,
                other => panic!("{other:?}"),
            });
            words.collect::<Vec<_>>()
        };
        assert_eq!(said(Stage::Implementation, 0), ["first", "every"]);
        assert_eq!(said(Stage::Implementation, 2), ["fix", "every"]);
        assert_eq!(said(Stage::Planning, 0), ["planning", "text\n"]);
    }

    #[test]
    fn what_is_no_directive_is_refused_whatever_the_round() {
        for line in [
            "@wriet a b",
            "@write",
            "@fail 256",
            "@sleep -1",
            "@sleep",
            "@fix",
            "@planning what",
            "@usage 1",
            "@model",
            "@quota soon",
        ] {
            let refusal = for_round(line, Stage::Implementation, 1).unwrap_err();
            assert!(refusal.starts_with(&format!("`{line}`: ")), "{refusal}");
        }
    }
}
