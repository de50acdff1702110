//! `acf import-claude-credentials`: puts the tokens of a Claude subscription into a file of variables.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use acf_worker::config::env_file;
use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::Value;

use crate::args::ImportArgs;
use crate::context::Context;
use crate::error::{Exit, WithHint};
use crate::ui::{Out, say};

/// Where Claude Code keeps its tokens, below the home directory.
const CREDENTIALS: &str = ".claude/.credentials.json";
const NAME_FILE: &str = "name it: acf import-claude-credentials --env-file .env.factory";
const SIGN_IN: &str = "run `claude` and sign in, or name the file with --from";
const SIGN_IN_ANEW: &str =
    "run `claude`, /logout and /login, which writes it anew, or name another file with --from";

/// The part of the file that a subscription has.
const SUBSCRIPTION: &str = "claudeAiOauth";

struct Tokens {
    access_token: String,
    /// Without it the access token cannot be renewed.
    refresh_token: Option<String>,
    expires_at: i64,
    subscription_type: Option<String>,
}

/// Reads the tokens and writes them into that file, or the one that `FACTORY_ENV_FILE` names: in place of those
/// that are there, else at its end.
///
/// # Errors
/// When the tokens are missing, malformed or expired, or the file cannot be written.
pub fn run(
    args: &ImportArgs,
    env_file: Option<&Path>,
    context: &Context,
    out: &mut Out,
) -> anyhow::Result<Exit> {
    let into = target(env_file, context.environment());
    let into = into.ok_or_else(|| anyhow::anyhow!("no file to put the tokens into")).hint(NAME_FILE)?;
    let from = source(args, context.environment());
    let from = from.ok_or_else(|| anyhow::anyhow!("HOME is not set")).hint("name the file with --from")?;
    let tokens = read(&from)?;
    let expires_at = Timestamp::from_millisecond(tokens.expires_at)
        .with_context(|| format!("{} says no time at which the access token expires", from.display()))
        .hint(SIGN_IN)?;
    if expires_at <= Timestamp::now() {
        let expired = anyhow::anyhow!("the access token in {} has expired, on {expires_at}", from.display());
        let hint = match tokens.refresh_token {
            Some(_) => "run `claude` once, which renews it, and import it again",
            None => "there is nothing to renew it with: run `claude`, sign in again, and import it again",
        };
        return Err(expired).hint(hint);
    }
    let found = match fs::read_to_string(&into) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        found => found.with_context(|| format!("cannot read {}", into.display()))?,
    };
    if let Some(bad) = env_file::parse(&found).bad_lines.first() {
        let unreadable = anyhow::anyhow!(
            "{} holds something that is no variable, in line {}: {}",
            into.display(),
            bad.line,
            bad.found
        );
        return Err(unreadable).hint("mend that line first: what comes after it could not be read back");
    }
    let text = env_file::with(
        &found,
        &[
            ("CLAUDE_ACCESS_TOKEN", &tokens.access_token),
            // Empty where there is none: one of an earlier login would renew another account's.
            ("CLAUDE_REFRESH_TOKEN", tokens.refresh_token.as_deref().unwrap_or_default()),
            ("CLAUDE_TOKEN_EXPIRES_AT", &tokens.expires_at.to_string()),
            ("CLAUDE_SUBSCRIPTION_TYPE", tokens.subscription_type.as_deref().unwrap_or_default()),
        ],
    );
    replace(&into, &text).with_context(|| format!("cannot write {}", into.display()))?;
    out.line(format!("{} holds the tokens of a Claude subscription now", into.display()))?;
    say(match tokens.refresh_token {
        Some(_) => format!("the access token expires on {expires_at}; a worker's claude renews it"),
        None => format!(
            "warning: {} has no refresh token: the access token ends on {expires_at} and cannot be renewed; a token of \
             long life, by `claude setup-token`, belongs into CLAUDE_CODE_OAUTH_TOKEN",
            from.display()
        ),
    });
    Ok(Exit::Done)
}

/// Refuses what is there and is no file: a pipe or a terminal would be waited for, and none of them can be replaced.
/// To be called before anything reads the settings, as those are in the same file.
///
/// # Errors
/// When either of the two files is something else.
pub fn check_files(
    args: &ImportArgs,
    env_file: Option<&Path>,
    environment: &BTreeMap<String, String>,
) -> anyhow::Result<()> {
    regular(target(env_file, environment)).hint(NAME_FILE)?;
    regular(source(args, environment)).hint("name the file with --from")
}

fn regular(path: Option<PathBuf>) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    // What is not there, or cannot be looked at, is told by whoever opens it.
    let Ok(found) = fs::metadata(&path).map(|metadata| metadata.file_type()) else { return Ok(()) };
    let what = if found.is_file() {
        return Ok(());
    } else if found.is_dir() {
        "a directory"
    } else if found.is_fifo() {
        "a pipe"
    } else if found.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    anyhow::bail!("{} is {what}, and has to be a file", path.display())
}

fn target(env_file: Option<&Path>, environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let settings = environment.get("FACTORY_ENV_FILE").map(PathBuf::from);
    env_file.map(Path::to_owned).or(settings).filter(|path| !path.as_os_str().is_empty())
}

fn source(args: &ImportArgs, environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let home = environment.get("HOME").filter(|home| !home.is_empty());
    args.from.clone().or_else(|| Some(Path::new(home?).join(CREDENTIALS)))
}

fn read(from: &Path) -> anyhow::Result<Tokens> {
    let shown = from.display();
    let text = match fs::read_to_string(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(anyhow::anyhow!("Claude Code is not signed in here: there is no {shown}"))
                .hint(SIGN_IN);
        }
        read => read
            .with_context(|| format!("cannot read the credentials of Claude Code in {shown}"))
            .hint("make it readable for this user, or name another file with --from")?,
    };
    // What the parser would say could quote the tokens.
    let Ok(credentials) = serde_json::from_str::<Value>(&text) else {
        return Err(anyhow::anyhow!("{shown} is malformed: it is no JSON")).hint(SIGN_IN_ANEW);
    };
    let Some(tokens) = credentials.get(SUBSCRIPTION) else {
        let other =
            anyhow::anyhow!("{shown} holds no tokens of a Claude subscription: it has no {SUBSCRIPTION}");
        return Err(other).hint(SIGN_IN);
    };
    let text = |name: &str| tokens.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let malformed = |what: &str| anyhow::anyhow!("{shown} is malformed: its {SUBSCRIPTION} has no {what}");
    Ok(Tokens {
        access_token: text("accessToken").ok_or_else(|| malformed("accessToken")).hint(SIGN_IN_ANEW)?,
        refresh_token: text("refreshToken"),
        expires_at: tokens
            .get("expiresAt")
            .and_then(Value::as_i64)
            .ok_or_else(|| malformed("expiresAt, the time at which the access token expires"))
            .hint(SIGN_IN_ANEW)?,
        subscription_type: text("subscriptionType"),
    })
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
