//! The messages of commits: what acf writes into its own, and what an agent wrote into those of its own.

use std::fs;
use std::path::Path;

use acf_core::issue::{Issue, Stage};
use acf_core::run::RunId;

use super::Checkout;
use crate::git::command::is_object_name;

/// The longest subject of a commit, in characters.
const LONGEST_SUBJECT: usize = 120;

/// The most that is passed on of what the agent says in commits of its own, in characters.
const LONGEST_MESSAGES: usize = 20_000;

/// The longest file that is read as a ref, in bytes.
const LONGEST_REF: u64 = 4096;

impl Checkout {
    /// Returns the messages of the commits that the agent made on top of the base, the oldest first.
    /// They are a courtesy: where they cannot be read, there are none.
    pub(super) async fn agents_messages(&self) -> Vec<String> {
        let git = self.tree().join(".git");
        let read = |name: &str| read_ref(&git.join(name));
        let head = read("HEAD");
        let tip = match head.trim().strip_prefix("ref: ") {
            Some(name) if name.starts_with("refs/heads/") && !name.contains("..") => read(name),
            _ => head,
        };
        let tip = tip.trim();
        if !is_object_name(tip) || tip == self.base().as_str() {
            return Vec::new();
        }
        let range = format!("{}..{tip}", self.base());
        // The mirror's configuration, the agent's objects.
        let command = self.mirror.local("log").env("GIT_ALTERNATE_OBJECT_DIRECTORIES", git.join("objects"));
        let command =
            command.args(["--reverse", "--no-show-signature", "--max-count=50", "--format=%B%x1e", &range]);
        let Ok(text) = command.text().await else { return Vec::new() };
        let text: String = text.chars().take(LONGEST_MESSAGES).collect();
        text.split('\u{1e}').map(|message| message.trim().to_owned()).filter(|m| !m.is_empty()).collect()
    }
}

/// Reads a file of the agent's repository that should hold a ref; nothing where it is anything else: a
/// pipe would never end, nor would a device.
fn read_ref(path: &Path) -> String {
    let is_ref = fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.len() <= LONGEST_REF);
    if is_ref { fs::read_to_string(path).unwrap_or_default() } else { String::new() }
}

/// Words the commit of a run: one subject line, what the agent said in commits of its own, and
/// trailers by which the commit can be found again.
pub(super) fn commit_message(issue: &Issue, stage: Stage, run: &RunId, told: &[String]) -> String {
    let one_line = issue.summary.split_whitespace().collect::<Vec<_>>().join(" ");
    let one_line: String = one_line.chars().filter(|c| !c.is_control()).collect();
    let mut subject: String = one_line.chars().take(LONGEST_SUBJECT).collect();
    if subject.len() < one_line.len() {
        subject.push('…');
    }
    let body: String = told.iter().map(|message| format!("{message}\n\n")).collect();
    let what = if stage == Stage::Planning { "Plan: " } else { "" };
    format!("[{}] {what}{subject}\n\n{body}Acf-Issue: {}\nAcf-Run: {run}\n", issue.key, issue.key)
}

#[cfg(test)]
mod tests {

    use super::*;

    fn message(summary: &str, told: &[&str]) -> String {
        let issue = Issue::new("TODO-3".parse().unwrap(), summary);
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        commit_message(&issue, Stage::Implementation, &RunId::new("r1"), &told)
    }

    #[test]
    fn a_commit_names_its_issue_and_run() {
        assert_eq!(message("Say hello", &[]), "[TODO-3] Say hello\n\nAcf-Issue: TODO-3\nAcf-Run: r1\n");
    }

    #[test]
    fn what_the_agent_said_goes_into_the_body() {
        let expected = "[TODO-3] Say hello\n\nfirst\n\nsecond\n\nAcf-Issue: TODO-3\nAcf-Run: r1\n";
        assert_eq!(message("Say hello", &["first", "second"]), expected);
    }

    #[test]
    fn a_hostile_summary_stays_one_short_line() {
        let text = message(&format!("a\nAcf-Run: fake\u{7}{}", "x".repeat(100_000)), &[]);
        assert_eq!(text.lines().filter(|line| line.starts_with("Acf-Run")).count(), 1);
        assert!(text.lines().next().unwrap().chars().count() < 140);
    }
}
