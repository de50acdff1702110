//! What a worker and a guard say to each other.
//!
//! The guard is started as `__guard GRACE_MS STDIN_BYTES|none UID:GID|none PROGRAM ARGS…`, with one end of a socket
//! pair as its standard input. Over it come the bytes of the command's standard input, then
//! [`TERMINATE`] if the command is to end, or [`KILL`] if it has no time for that; the end of the stream means that the worker is dead. Back goes
//! one [`Report`].

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The hidden sub-command that a guard is started with.
pub(crate) const GUARD: &str = "__guard";
/// The byte that asks a guard to end the command.
pub(super) const TERMINATE: u8 = b'T';
/// The byte that makes a guard kill the command at once.
pub(super) const KILL: u8 = b'K';

/// What a guard is to do, as its arguments say it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// How long the command has between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
    /// How many bytes of the command's standard input follow over the socket.
    pub(super) stdin_bytes: Option<usize>,
    /// As whom the command runs; as the guard itself, if not said.
    pub(super) user: Option<UserIds>,
    /// The program, looked up on `PATH`.
    pub(super) program: OsString,
    /// The program's arguments.
    pub(super) args: Vec<OsString>,
}

const NONE: &str = "none";

/// A user of the operating system, with its own group and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserIds {
    /// The user.
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
}

impl fmt::Display for UserIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl FromStr for UserIds {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (uid, gid) = text.split_once(':').ok_or(())?;
        Ok(Self { uid: uid.parse().map_err(|_| ())?, gid: gid.parse().map_err(|_| ())? })
    }
}

impl Order {
    /// Writes the order as arguments, the sub-command left out.
    pub(super) fn to_args(&self) -> Vec<OsString> {
        let grace = self.grace.as_millis().to_string();
        let stdin = self.stdin_bytes.map_or_else(|| NONE.to_owned(), |bytes| bytes.to_string());
        let user = self.user.map_or_else(|| NONE.to_owned(), |user| user.to_string());
        let mut args = vec![grace.into(), stdin.into(), user.into(), self.program.clone()];
        args.extend_from_slice(&self.args);
        args
    }

    /// Reads the order back; `None` where the arguments are not one.
    pub(super) fn from_args(args: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut args = args.into_iter();
        let grace = Duration::from_millis(args.next()?.to_str()?.parse().ok()?);
        let stdin = args.next()?;
        let stdin_bytes = if stdin == OsStr::new(NONE) { None } else { Some(stdin.to_str()?.parse().ok()?) };
        let user = args.next()?;
        let user = if user == OsStr::new(NONE) { None } else { Some(user.to_str()?.parse().ok()?) };
        Some(Self { grace, stdin_bytes, user, program: args.next()?, args: args.collect() })
    }
}

/// What a guard tells of the command, once nothing of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// It could not be started, for that `errno`.
    NotStarted(i32),
    /// It exited with that code.
    Exited(i32),
    /// That signal ended it.
    Killed(i32),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(errno) => write!(f, "not-started {errno}"),
            Self::Exited(code) => write!(f, "exited {code}"),
            Self::Killed(signal) => write!(f, "killed {signal}"),
        }
    }
}

impl FromStr for Report {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let (word, number) = line.split_once(' ').ok_or(())?;
        let number = number.parse().map_err(|_| ())?;
        match word {
            "not-started" => Ok(Self::NotStarted(number)),
            "exited" => Ok(Self::Exited(number)),
            "killed" => Ok(Self::Killed(number)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_survives_being_written_as_arguments() {
        let order = Order {
            grace: Duration::from_millis(1500),
            stdin_bytes: Some(0),
            user: Some(UserIds { uid: 65534, gid: 7 }),
            program: "sh".into(),
            args: vec!["-c".into(), "none".into(), "".into()],
        };
        let bare = Order {
            stdin_bytes: None,
            user: None,
            args: Vec::new(),
            ..Order::from_args(order.to_args()).unwrap()
        };
        assert_eq!(Order::from_args(order.to_args()), Some(order));
        assert_eq!(Order::from_args(bare.to_args()), Some(bare));
    }

    #[test]
    fn arguments_that_are_no_order_are_refused() {
        for args in [
            &["10", "none", "none"][..],
            &["soon", "none", "none", "sh"],
            &["10", "-1", "none", "sh"],
            &["10", "none", "nobody", "sh"],
            &[],
        ] {
            assert_eq!(Order::from_args(args.iter().map(OsString::from)), None, "{args:?}");
        }
    }

    #[test]
    fn a_report_survives_being_written_as_a_line() {
        for report in [Report::NotStarted(2), Report::Exited(255), Report::Killed(9)] {
            assert_eq!(report.to_string().parse(), Ok(report));
        }
        assert_eq!("exited".parse::<Report>(), Err(()));
        assert_eq!("gone 3".parse::<Report>(), Err(()));
    }
}
