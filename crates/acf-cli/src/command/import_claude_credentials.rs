//! `acf import-claude-credentials`: puts the tokens of a Claude subscription into a file of variables.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;

use crate::args::ImportArgs;
use crate::context::Context;
use crate::error::{Exit, WithHint};
use crate::ui::{Out, say};

/// Where Claude Code keeps its tokens, below the home directory.
const CREDENTIALS: &str = ".claude/.credentials.json";
const SIGN_IN: &str = "run `claude` and sign in, or name the file with --from";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    claude_ai_oauth: Tokens,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tokens {
    access_token: String,
    refresh_token: String,
    expires_at: i64,
    #[serde(default)]
    subscription_type: Option<String>,
}

/// Reads the tokens and writes them into the file: in place of those that are there, else at its end.
///
/// # Errors
/// When the tokens are missing, malformed or expired, or the file cannot be written.
pub fn run(args: &ImportArgs, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    let from = match &args.from {
        Some(from) => from.clone(),
        None => home(context)?.join(CREDENTIALS),
    };
    let tokens = read(&from)?;
    let expires_at = Timestamp::from_millisecond(tokens.expires_at)
        .with_context(|| format!("{} says no time at which the tokens expire", from.display()))?;
    if expires_at <= Timestamp::now() {
        let expired = anyhow::anyhow!("the access token in {} has expired, on {expires_at}", from.display());
        return Err(expired).hint("run `claude` once, which renews it, and import it again");
    }
    let variables = [
        ("CLAUDE_ACCESS_TOKEN", tokens.access_token),
        ("CLAUDE_REFRESH_TOKEN", tokens.refresh_token),
        ("CLAUDE_TOKEN_EXPIRES_AT", tokens.expires_at.to_string()),
        ("CLAUDE_SUBSCRIPTION_TYPE", tokens.subscription_type.unwrap_or_default()),
    ];
    if variables.iter().any(|(_, value)| value.contains(|c: char| c.is_control() || "'\"\\$".contains(c))) {
        anyhow::bail!("{} holds characters that no token has", from.display());
    }
    let into = &args.into;
    let found = match fs::read_to_string(into) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        found => found.with_context(|| format!("cannot read {}", into.display()))?,
    };
    replace(into, &with(&found, &variables)).with_context(|| format!("cannot write {}", into.display()))?;
    out.line(format!("{} holds the tokens of Claude now", into.display()))?;
    say(format!("they expire on {expires_at}; a worker's claude renews them for itself"));
    Ok(Exit::Done)
}

fn home(context: &Context) -> anyhow::Result<PathBuf> {
    let home = context.environment().get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    home.ok_or_else(|| anyhow::anyhow!("HOME is not set")).hint("name the file with --from")
}

fn read(from: &Path) -> anyhow::Result<Tokens> {
    let text = fs::read_to_string(from)
        .with_context(|| format!("cannot read the credentials of Claude Code in {}", from.display()))
        .hint(SIGN_IN)?;
    let credentials: Option<Credentials> = serde_json::from_str(&text).ok();
    let tokens = credentials.map(|credentials| credentials.claude_ai_oauth);
    let is_whole = |tokens: &Tokens| !tokens.access_token.is_empty() && !tokens.refresh_token.is_empty();
    // What the parser would say could quote the tokens.
    tokens
        .filter(is_whole)
        .ok_or_else(|| anyhow::anyhow!("{} holds no tokens of a Claude subscription", from.display()))
        .hint(SIGN_IN)
}

/// Returns the file's text with those variables, each in the place that it has, else at the end.
fn with(found: &str, variables: &[(&str, String)]) -> String {
    let name_of = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        line.split_once('=').map(|(name, _)| name.trim().to_owned())
    };
    let mut left: Vec<_> = variables.iter().collect();
    let mut text = String::new();
    for line in found.split_inclusive('\n') {
        let name = name_of(line);
        let is_ours = |(ours, _): &&(&str, String)| name.as_deref() == Some(*ours);
        match left.iter().position(|variable| is_ours(variable)) {
            Some(place) => {
                let (name, value) = left.remove(place);
                let end = if line.ends_with("\r\n") { "\r\n" } else { "\n" };
                text += &format!("{name}={value}{end}");
            }
            // A second line of the same name would win over the first.
            None if variables.iter().any(|variable| is_ours(&variable)) => {}
            None => text += line,
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    left.iter().for_each(|(name, value)| text += &format!("{name}={value}\n"));
    text
}

/// Replaces the file as a whole; only its owner may read it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays one.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(&target).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> [(&'static str, String); 2] {
        [("CLAUDE_ACCESS_TOKEN", "a2".into()), ("CLAUDE_REFRESH_TOKEN", "r2".into())]
    }

    #[test]
    fn everything_else_in_the_file_stays() {
        for (found, expected) in [
            ("", "CLAUDE_ACCESS_TOKEN=a2\nCLAUDE_REFRESH_TOKEN=r2\n"),
            ("# mine\nX=1", "# mine\nX=1\nCLAUDE_ACCESS_TOKEN=a2\nCLAUDE_REFRESH_TOKEN=r2\n"),
            (
                "A=1\nexport CLAUDE_REFRESH_TOKEN='r1'\n# CLAUDE_ACCESS_TOKEN=no\n\nB=2\n",
                "A=1\nCLAUDE_REFRESH_TOKEN=r2\n# CLAUDE_ACCESS_TOKEN=no\n\nB=2\nCLAUDE_ACCESS_TOKEN=a2\n",
            ),
            (
                "CLAUDE_ACCESS_TOKEN=a0\r\nCLAUDE_ACCESS_TOKEN=a1\r\n",
                "CLAUDE_ACCESS_TOKEN=a2\r\nCLAUDE_REFRESH_TOKEN=r2\n",
            ),
        ] {
            assert_eq!(with(found, &variables()), expected);
            assert_eq!(with(expected, &variables()), expected, "twice is as once");
        }
    }
}
