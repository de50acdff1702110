//! Pushes, and what their porcelain output means.
//!
//! Exit code 1 tells neither "lost" from "refused" nor "refused" from "did both halves of the work".
//! So each ref's own line is read, under `LC_ALL=C`; where even those do not tell, the caller asks the
//! remote again.

use super::command::{GitError, GitOutput};
use super::remote::gist;

/// The most that is passed on of what a remote says, in characters.
const LONGEST_WORDS: usize = 500;

/// What became of one ref of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefFate {
    /// It is as asked.
    Updated,
    /// It is not where the lease says, by what the remote advertised.
    Stale,
    /// It has moved on, so that this would not be a fast-forward.
    Behind,
    /// The remote lost a race for it against another push; where it is now has to be asked.
    Raced,
    /// It was left alone because another ref of the same atomic push failed.
    Collateral,
    /// The remote takes no such update.
    Refused,
}

/// One ref's line of `git push --porcelain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefLine {
    /// The remote's ref.
    pub name: String,
    /// What became of it.
    pub fate: RefFate,
    /// The reason in brackets, if any.
    pub reason: String,
}

/// What a push did, as far as its output tells.
#[derive(Debug)]
pub struct PushReport {
    /// A line for each ref, if the push came so far.
    pub refs: Vec<RefLine>,
    /// Whether everything is as asked.
    pub ok: bool,
    /// The command's own failure, to be explained if the refs do not.
    pub error: Option<GitError>,
}

impl PushReport {
    /// Reads the output of `git push --porcelain`.
    #[must_use]
    pub fn read(output: GitOutput) -> Self {
        let refs = parse(&String::from_utf8_lossy(&output.stdout));
        let ok = output.status.success();
        let error = (!ok).then(|| super::command::failed("push".into(), output));
        Self { refs, ok, error }
    }

    /// Returns the fate of that ref; `None` when the push did not come so far.
    #[must_use]
    pub fn fate(&self, name: &str) -> Option<RefFate> {
        self.line(name).map(|line| line.fate)
    }

    /// Returns the line of that ref.
    #[must_use]
    pub fn line(&self, name: &str) -> Option<&RefLine> {
        self.refs.iter().find(|line| line.name == name)
    }

    /// Joins the reason in a ref's own line with what the remote said beside it.
    #[must_use]
    pub fn said(&self, line: &RefLine) -> String {
        let beside = match &self.error {
            Some(GitError::Failed { stderr, .. }) if stderr.contains("remote:") => gist(stderr),
            _ => String::new(),
        };
        let words =
            if beside.is_empty() { line.reason.clone() } else { format!("{}; {beside}", line.reason) };
        words.chars().take(LONGEST_WORDS).collect()
    }
}

/// Parses `FLAG TAB FROM:TO TAB SUMMARY (REASON)` lines, as git-push(1) describes them.
fn parse(stdout: &str) -> Vec<RefLine> {
    stdout.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<RefLine> {
    let mut fields = line.splitn(3, '\t');
    let (flag, refs, summary) = (fields.next()?, fields.next()?, fields.next()?);
    let name = refs.rsplit_once(':').map_or(refs, |(_, to)| to).to_owned();
    let reason = summary
        .split_once('(')
        .map(|(_, rest)| rest.strip_suffix(')').unwrap_or(rest).to_owned())
        .unwrap_or_default();
    let fate = match flag {
        " " | "+" | "-" | "*" | "=" => RefFate::Updated,
        "!" => fate_of_rejection(summary, &reason),
        _ => return None,
    };
    Some(RefLine { name, fate, reason })
}

fn fate_of_rejection(summary: &str, reason: &str) -> RefFate {
    // The words are those of git's send-pack.c, transport.c and builtin/receive-pack.c.
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    let by_the_remote = summary.starts_with("[remote rejected]") || summary.starts_with("[remote failure]");
    if says(&["atomic push failed", "atomic push failure", "atomic transaction failed", "transaction failed"])
    {
        RefFate::Collateral
    } else if says(&["stale info"]) {
        RefFate::Stale
    } else if by_the_remote && reason == "non-fast-forward" {
        // `receive.denyNonFastForwards`: git itself tells a branch that moved on before it pushes.
        RefFate::Refused
    } else if says(&["fetch first", "non-fast-forward", "needs force", "remote ref updated since checkout"]) {
        RefFate::Behind
    } else if says(&[
        "failed to update ref",
        "cannot lock ref",
        "reference already exists",
        "incorrect old value",
        "failed to lock",
        "unable to resolve reference",
        "remote failed to report status",
    ]) {
        RefFate::Raced
    } else if by_the_remote {
        RefFate::Refused
    } else {
        RefFate::Raced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(line: &str) -> RefFate {
        parse_line(line).unwrap().fate
    }

    #[test]
    fn lines_are_read_as_git_documents_them() {
        let stdout = "To https://example.com/x.git\n\
                      *\tabc:refs/acf/claims/TODO-3\t[new reference]\n\
                      !\tdef:refs/heads/main\t[rejected] (fetch first)\n\
                      -\t:refs/acf/claims/TODO-4\t[deleted]\n\
                      Done\n";
        let line =
            |name: &str, fate, reason: &str| RefLine { name: name.into(), fate, reason: reason.into() };
        assert_eq!(
            parse(stdout),
            [
                line("refs/acf/claims/TODO-3", RefFate::Updated, ""),
                line("refs/heads/main", RefFate::Behind, "fetch first"),
                line("refs/acf/claims/TODO-4", RefFate::Updated, ""),
            ]
        );
    }

    #[test]
    fn lost_behind_raced_and_refused_are_told_apart() {
        let cases = [
            ("[rejected] (stale info)", RefFate::Stale),
            ("[rejected] (non-fast-forward)", RefFate::Behind),
            ("[remote rejected] (non-fast-forward)", RefFate::Refused),
            ("[rejected] (atomic push failed)", RefFate::Collateral),
            ("[remote rejected] (atomic transaction failed)", RefFate::Collateral),
            ("[remote rejected] (failed to update ref)", RefFate::Raced),
            ("[remote rejected] (cannot lock ref 'refs/x': reference already exists)", RefFate::Raced),
            ("[remote rejected] (incorrect old value provided)", RefFate::Raced),
            ("[remote rejected] (deny updating a hidden ref)", RefFate::Refused),
            ("[remote rejected] (protected branch hook declined)", RefFate::Refused),
            ("[remote rejected] (pre-receive hook declined)", RefFate::Refused),
            ("[remote failure] (remote failed to report status)", RefFate::Raced),
        ];
        for (summary, expected) in cases {
            assert_eq!(fate(&format!("!\ta:refs/x\t{summary}")), expected, "{summary}");
        }
    }

    #[test]
    fn a_refusal_is_told_with_the_remotes_words_and_without_gits_own() {
        let said = |stderr: &str| {
            let line = parse_line("!\ta:refs/x\t[remote rejected] (pre-receive hook declined)").unwrap();
            let error = GitError::Failed {
                command: "push".into(),
                code: Some(1),
                stdout: String::new(),
                stderr: stderr.into(),
            };
            PushReport { refs: Vec::new(), ok: false, error: Some(error) }.said(&line)
        };
        let by_git = "error: failed to push some refs to 'x'\n";
        assert_eq!(said(by_git), "pre-receive hook declined");
        let by_both = format!("remote: no Fridays\n{by_git}");
        assert_eq!(said(&by_both), "pre-receive hook declined; remote: no Fridays");
    }

    #[test]
    fn other_lines_are_passed_over() {
        assert_eq!(parse("Done\nTo x\n?\ta:b\tc\n\t\n"), []);
    }
}
