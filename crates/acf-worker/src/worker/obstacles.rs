//! Why a pass took no issue, summed up in a line that changes only when something has.

use std::collections::BTreeMap;

use acf_core::eligibility::Verdict;
use acf_core::issue::IssueKey;
use jiff::Timestamp;

/// The most reasons that are told.
const MOST_REASONS: usize = 4;

/// Why no issue was taken, counted.
#[derive(Default)]
pub(super) struct Obstacles {
    lost: usize,
    reasons: BTreeMap<String, usize>,
    /// When those that wait for their next attempt may be tried.
    waits: Vec<Timestamp>,
}

impl Obstacles {
    /// Notes an issue that is not eligible.
    pub(super) fn note(&mut self, issue: &IssueKey, verdict: &Verdict) {
        if let Some(finding) = verdict.first_obstacle() {
            let why = &finding.says;
            tracing::debug!(issue.key = %issue, why, "issue `{issue}` is not taken: {why}");
            *self.reasons.entry(why.clone()).or_default() += 1;
        }
    }

    /// Notes an issue of which nothing else keeps a worker than that it is not to be tried before then.
    pub(super) fn note_wait(&mut self, issue: &IssueKey, until: Timestamp) {
        let until = until.round(jiff::Unit::Second).unwrap_or(until);
        tracing::debug!(issue.key = %issue, %until, "issue `{issue}` is not taken before {until}");
        self.waits.push(until);
    }

    /// Notes an issue that somebody else took first.
    pub(super) fn note_lost(&mut self) {
        self.lost += 1;
    }

    /// Tells why none of that many issues was taken, the commonest reasons first.
    pub(super) fn told(mut self, seen: usize) -> String {
        if seen == 0 {
            return "no open issues".to_owned();
        }
        if self.lost > 0 {
            self.reasons.insert("taken by another worker first".to_owned(), self.lost);
        }
        // Told with the time and not with what is left until then, which changes with every second.
        match (self.waits.len(), self.waits.iter().min()) {
            (1, Some(at)) => drop(self.reasons.insert(format!("not to be tried again before {at}"), 1)),
            (many, Some(first)) => {
                self.reasons.insert(format!("not to be tried again yet, the first at {first}"), many);
            }
            (_, None) => {}
        }
        let mut reasons: Vec<_> = self.reasons.into_iter().collect();
        reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), reason.clone()));
        let more: usize = reasons.iter().skip(MOST_REASONS).map(|(_, count)| count).sum();
        let mut told: Vec<_> =
            reasons.iter().take(MOST_REASONS).map(|(reason, count)| format!("{count} × {reason}")).collect();
        if more > 0 {
            told.push(format!("{more} × something else"));
        }
        format!("none of {seen} open issues can be taken: {}", told.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use acf_core::eligibility::Finding;

    use super::*;

    fn key() -> IssueKey {
        "TODO-1".parse().unwrap()
    }

    fn verdict(says: &str) -> Verdict {
        Verdict { findings: vec![Finding { ok: false, says: says.into(), remedy: None }] }
    }

    #[test]
    fn an_idle_poll_says_why_with_the_commonest_reason_first() {
        let mut obstacles = Obstacles::default();
        obstacles.note_lost();
        for says in ["claimed by a worker", "assigned to ada", "claimed by a worker"] {
            obstacles.note(&key(), &verdict(says));
        }
        assert_eq!(
            obstacles.told(4),
            "none of 4 open issues can be taken: 2 × claimed by a worker; 1 × assigned to ada; \
             1 × taken by another worker first"
        );
        assert_eq!(Obstacles::default().told(0), "no open issues");
    }

    #[test]
    fn issues_that_wait_for_their_next_attempt_are_one_reason() {
        let waiting = |secs: &[i64]| {
            let mut obstacles = Obstacles::default();
            secs.iter().for_each(|&at| obstacles.note_wait(&key(), Timestamp::from_second(at).unwrap()));
            obstacles.told(secs.len())
        };
        assert_eq!(
            waiting(&[60]),
            "none of 1 open issues can be taken: 1 × not to be tried again before 1970-01-01T00:01:00Z"
        );
        assert_eq!(
            waiting(&[90, 60, 120]),
            "none of 3 open issues can be taken: 3 × not to be tried again yet, the first at 1970-01-01T00:01:00Z"
        );
    }

    #[test]
    fn rare_reasons_are_counted_and_not_told() {
        let mut obstacles = Obstacles::default();
        ["a", "b", "c", "d", "e", "f"].iter().for_each(|says| obstacles.note(&key(), &verdict(says)));
        let told = obstacles.told(6);
        assert!(told.ends_with("1 × d; 2 × something else"), "{told}");
    }
}
