//! The agents: which of them do the work, with what model and whose credentials.

use std::path::PathBuf;

use secrecy::SecretString;

use super::child_environment::{for_agent, is_acted_by};
use super::reader::Reader;
use super::sources::Found;
use super::variables::{
    AGENT, AGENT_BUDGET_USD, AGENT_COMMAND, AGENT_ENV, AGENT_MODEL, AGENT_PRICES_FILE, AGENTS,
    ANTHROPIC_API_KEY, CLAUDE_ACCESS_TOKEN, CLAUDE_CODE_OAUTH_TOKEN, CLAUDE_MODEL, CLAUDE_REFRESH_TOKEN,
    CLAUDE_SUBSCRIPTION_TYPE, CLAUDE_TOKEN_EXPIRES_AT, CODEX_API_KEY, CODEX_MODEL, COPILOT_GITHUB_TOKEN,
    COPILOT_MODEL, COPILOT_PROVIDER_API_KEY, FACTORY_BUDGET_USD_PER_DAY, GEMINI_API_KEY, GEMINI_MODEL,
    GH_TOKEN, OPENAI_API_KEY, OPENCODE_MODEL, OPENROUTER_API_KEY, Variable,
};
use crate::agent::{Access, Subscription};
use crate::prices;

/// Which agent does the work.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentChoice {
    /// The scripted one, for demonstrations and tests.
    Script,
    /// Any program that is called as `CMD init` and `CMD run <prompt>`.
    Command {
        /// The program: a name to be looked up on `PATH`, or an absolute path.
        program: PathBuf,
        /// Its arguments that come first.
        args: Vec<String>,
        /// What it gets to see.
        access: Access,
    },
    /// Claude Code.
    Claude {
        /// Its model and API key.
        access: Access,
        /// The tokens of a subscription, in place of an API key.
        subscription: Option<Subscription>,
    },
    /// Codex.
    Codex(Access),
    /// GitHub Copilot CLI.
    Copilot(Access),
    /// Gemini CLI.
    Gemini(Access),
    /// opencode.
    Opencode(Access),
}

#[derive(Clone, Copy, PartialEq)]
enum Word {
    Claude,
    Codex,
    Copilot,
    Gemini,
    Opencode,
    Script,
    Command,
}

const WORDS: &[(&str, Word)] = &[
    ("claude", Word::Claude),
    ("codex", Word::Codex),
    ("copilot", Word::Copilot),
    ("gemini", Word::Gemini),
    ("opencode", Word::Opencode),
    ("script", Word::Script),
    ("command", Word::Command),
];

/// Reads the agents: the first, and those that stand by.
pub(super) fn read(reader: &mut Reader<'_>) -> Vec<AgentChoice> {
    if reader.found(&AGENT).is_none() {
        reader.missing(&AGENT, format!("one of {}", AGENTS.join(", ")));
    }
    let words = reader.choices(&AGENT, WORDS).unwrap_or_default();
    warn_of_own(reader);
    warn_of_further_secrets(reader);
    let choices = words.iter().enumerate().map(|(n, word)| agent(reader, *word, n == 0));
    let choices: Vec<_> = choices.collect::<Vec<_>>().into_iter().flatten().collect();
    warn_of_unknown_costs(reader, &choices);
    choices
}

fn agent(reader: &mut Reader<'_>, word: Word, is_first: bool) -> Option<AgentChoice> {
    let access = |model: Option<&Variable>, names: &[&Variable]| {
        let given = is_first.then(|| reader.text(&AGENT_MODEL)).flatten();
        let mut env: Vec<_> = names.iter().filter_map(|name| variable(reader, name)).collect();
        env.extend(further(reader));
        Access { model: model.and_then(|model| reader.text(model)).or(given), env }
    };
    Some(match word {
        Word::Script => AgentChoice::Script,
        Word::Claude => AgentChoice::Claude {
            access: access(Some(&CLAUDE_MODEL), &[&ANTHROPIC_API_KEY, &CLAUDE_CODE_OAUTH_TOKEN]),
            subscription: subscription(reader),
        },
        Word::Codex => {
            let mut access = access(Some(&CODEX_MODEL), &[&CODEX_API_KEY, &OPENAI_API_KEY]);
            // `codex exec` reads the one, and other tools of OpenAI the other.
            stand_in(&mut access, &CODEX_API_KEY, secret(reader, &OPENAI_API_KEY));
            AgentChoice::Codex(access)
        }
        Word::Copilot => {
            let names = [&COPILOT_GITHUB_TOKEN, &COPILOT_PROVIDER_API_KEY];
            let mut access = access(Some(&COPILOT_MODEL), &names);
            // It is the token that acf acts by, too: nothing that an agent should have without need.
            let given = access.env.iter().map(|(name, _)| name.as_str());
            let provider = reader.layers().environment().contains_key("COPILOT_PROVIDER_BASE_URL");
            if !provider && !given.into_iter().any(signs_copilot_in) {
                stand_in(&mut access, &COPILOT_GITHUB_TOKEN, secret(reader, &GH_TOKEN));
            }
            AgentChoice::Copilot(access)
        }
        Word::Gemini => AgentChoice::Gemini(access(Some(&GEMINI_MODEL), &[&GEMINI_API_KEY])),
        Word::Opencode => {
            let model = access(Some(&OPENCODE_MODEL), &[]).model;
            AgentChoice::Opencode(access(Some(&OPENCODE_MODEL), keys_for(model.as_deref())))
        }
        Word::Command => {
            let access = access(None, &[]);
            let (program, args) = command(reader)?;
            AgentChoice::Command { program, args, access }
        }
    })
}

/// Returns the keys that opencode may need for a model, which it names as `provider/model`: one that it does not
/// know by itself is configured, and may use any of them.
fn keys_for(model: Option<&str>) -> &'static [&'static Variable] {
    match model.and_then(|model| model.split_once('/')).map(|(provider, _)| provider) {
        Some("anthropic") => &[&ANTHROPIC_API_KEY],
        Some("openai") => &[&OPENAI_API_KEY],
        Some("google") => &[&GEMINI_API_KEY],
        Some("openrouter") => &[&OPENROUTER_API_KEY],
        _ => &[&ANTHROPIC_API_KEY, &OPENAI_API_KEY, &GEMINI_API_KEY, &OPENROUTER_API_KEY],
    }
}

fn secret(reader: &Reader<'_>, variable: &Variable) -> Option<SecretString> {
    reader.text(variable).map(SecretString::from)
}

fn variable(reader: &Reader<'_>, variable: &Variable) -> Option<(String, SecretString)> {
    Some((variable.name.to_owned(), secret(reader, variable)?))
}

/// Returns the variables that the operator names, as far as they are set.
fn further(reader: &Reader<'_>) -> Vec<(String, SecretString)> {
    let names = reader.words(&AGENT_ENV);
    let value = |name: String| Some((name.clone(), reader.layers().value(&name)?.into()));
    names.into_iter().filter_map(value).collect()
}

/// Warns of variables that the operator gives to agents though acf acts by them: they are nobody's to see who can
/// write an issue.
fn warn_of_own(reader: &mut Reader<'_>) {
    let given = further(reader).into_iter().map(|(name, _)| name);
    let own: Vec<_> = given.filter(|name| is_acted_by(name)).collect();
    if !own.is_empty() {
        let own = own.join(", ");
        reader.warn(format!(
            "AGENT_ENV gives agents {own}, which acf acts by: so can whatever an issue makes them do"
        ));
    }
}

/// Warns of what looks like a secret in the worker's environment and is none of acf's: agents see it, too.
fn warn_of_further_secrets(reader: &mut Reader<'_>) {
    let is_secret = |name: &str| {
        let name = name.to_ascii_uppercase();
        ["_TOKEN", "_SECRET", "_PASSWORD", "_KEY"].iter().any(|end| name.ends_with(end))
    };
    let meant = reader.words(&AGENT_ENV);
    let seen = for_agent(reader.layers().environment(), &reader.mask());
    let names: Vec<_> = seen
        .into_iter()
        .filter(|(name, value)| is_secret(name) && !value.is_empty() && !meant.contains(name))
        .map(|(name, _)| name)
        .collect();
    if let Some(first) = names.first() {
        let names = names.join(", ");
        reader.warn(format!(
            "agents see {names} of this environment, and so does whatever an issue makes them do: start workers \
             without (env -u {first} …), or name in AGENT_ENV what is meant for agents"
        ));
    }
}

/// Warns of budgets that cannot hold, as nobody will know what the agents cost.
fn warn_of_unknown_costs(reader: &mut Reader<'_>, choices: &[AgentChoice]) {
    let budgets = [&AGENT_BUDGET_USD, &FACTORY_BUDGET_USD_PER_DAY];
    let set: Vec<_> = budgets.into_iter().filter(|budget| reader.found(budget).is_some()).collect();
    let budgets = match &set[..] {
        [] => return,
        [one] => format!("{} bounds", one.name),
        _ => set.iter().map(|budget| budget.name).collect::<Vec<_>>().join(" and ") + " bound",
    };
    // A table that cannot be used is told of by whoever is to use it.
    let Ok(prices) = prices::known(reader.path(&AGENT_PRICES_FILE).as_deref()) else { return };
    for why in choices.iter().filter_map(|choice| prices::why_unknown(choice, &prices)) {
        reader.warn(format!("{budgets} nothing that {why}"));
    }
}

fn stand_in(access: &mut Access, variable: &Variable, value: Option<SecretString>) {
    if let (false, Some(value)) = (access.env.iter().any(|(name, _)| name == variable.name), value) {
        access.env.push((variable.name.to_owned(), value));
    }
}

/// Tells whether copilot needs no token of GitHub where it has that variable: it is one, or it names another
/// provider of models.
fn signs_copilot_in(name: &str) -> bool {
    matches!(name, "COPILOT_GITHUB_TOKEN" | "GH_TOKEN" | "GITHUB_TOKEN")
        || name.starts_with("COPILOT_PROVIDER_")
}

fn subscription(reader: &mut Reader<'_>) -> Option<Subscription> {
    let access_token = secret(reader, &CLAUDE_ACCESS_TOKEN)?;
    let expires_at = reader.parse(&CLAUDE_TOKEN_EXPIRES_AT, |text| {
        text.parse().map_err(|_| "a number of milliseconds since 1970".to_owned())
    });
    Some(Subscription {
        access_token,
        refresh_token: secret(reader, &CLAUDE_REFRESH_TOKEN),
        expires_at,
        kind: reader.text(&CLAUDE_SUBSCRIPTION_TYPE),
    })
}

fn command(reader: &mut Reader<'_>) -> Option<(PathBuf, Vec<String>)> {
    let Some(found) = reader.found(&AGENT_COMMAND) else {
        reader.missing(&AGENT_COMMAND, "the program that AGENT=command is to call");
        return None;
    };
    let whole = reader.layers().path(&Found { value: found.value.trim().to_owned(), ..found.clone() });
    let words = reader.parse(&AGENT_COMMAND, |text| match shell_words::split(text) {
        Ok(words) if words.len() > 1 && whole.is_file() => {
            Err(format!("put quotes around a path with spaces: \"'{text}'\""))
        }
        Ok(words) if words.first().is_some_and(|program| !program.is_empty()) => Ok(words),
        _ => Err("a program and its arguments, with quotes that end".to_owned()),
    })?;
    let (program, args) = words.split_first()?;
    // An agent runs in a checkout, where a relative path would mean another file.
    let program = if program.contains('/') {
        reader.layers().path(&Found { value: program.clone(), origin: found.origin })
    } else {
        PathBuf::from(program)
    };
    Some((program, args.to_vec()))
}

#[cfg(test)]
mod tests;
