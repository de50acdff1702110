//! What holds for any file and any sequence of changes.

use std::collections::BTreeSet;

use acf_core::issue::label::IN_REVIEW;
use acf_core::issue::{Issue, Status};
use acf_core::tracker::Change;
use proptest::prelude::*;

use super::document::Document;
use super::headline::Headline;

/// Lines that the format gives a meaning, and some that only look so.
fn line() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "",
        "  ",
        "- [ ] a",
        "- [ ] a [bug]",
        "* [>] b [in-review]",
        "+ [x] 🦀 \"$(rm)\"",
        "- [!] c",
        "- [ ]",
        "- a",
        "  - [ ] nested",
        "  words",
        "    more words",
        "\ttabbed",
        "  - Note: said",
        "    - Note: deep",
        "  - Assignee: ada",
        "\t- Assignee: eve",
        "  - Assignee:",
        "```",
        "~~~ text",
        "  ```",
        "<!--",
        "-->",
        "<!-- a -->",
        "# Title",
        "words",
        "\u{feff}",
        "- [ ] [x], y",
        " - [ ] z",
    ]);
    prop_oneof![
        6 => known.prop_map(str::to_owned),
        1 => "[ \\-*\\[\\]x>a:\t\u{e9}\r]{0,12}",
        2 => words(),
    ]
}

/// A check box whose words are nearly labels, or a line below one that is nearly a field.
fn words() -> impl Strategy<Value = String> {
    let start = vec!["- [ ]", "- [>] ", "*  [x]\t", " ", "  - ", "\t- ", "    - ", "  -  Note: "];
    let brackets = prop::sample::select(vec![" [bug]", " [a", "]", "-", "[bug]", "[bug,", ", bug]", ","]);
    let odd = prop::sample::select(vec![
        "[in-review]",
        "[Needs-Plan]",
        "[x, in-review]",
        "[",
        "a",
        " ",
        "\t",
        "\u{3000}",
        "\u{301}",
        "\u{feff}",
        "\r",
        "(y)",
        ":",
        ".",
        "Note:",
        "Assignee:",
        "<!-- m1 -->",
    ]);
    let word = prop_oneof![2 => brackets, 1 => odd];
    (prop::sample::select(start), prop::collection::vec(word, 0..8))
        .prop_map(|(start, words)| format!("{start}{}", words.concat()))
}

fn file() -> impl Strategy<Value = String> {
    let ending = prop_oneof![6 => Just("\n"), 2 => Just("\r\n")];
    let lines = prop::collection::vec((line(), ending), 0..30);
    (any::<bool>(), lines, line()).prop_map(|(marked, lines, last)| {
        let lines: String = lines.into_iter().flat_map(|(line, ending)| [line, ending.to_owned()]).collect();
        format!("{}{lines}{last}", if marked { "\u{feff}" } else { "" })
    })
}

/// Text that tries to break out of where it is put.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "\n",
            "\r",
            "\r\n",
            "\u{2028}",
            "\u{85}",
            "\u{b}",
            "\0",
            "- [ ] evil",
            "  - Assignee: evil",
            "- Note: x",
            "<!-- m1 -->",
            "<!--",
            "-->",
            "```",
            "~~~",
            "    ",
            "\t",
            "[evil]",
            "a",
            " ",
            "# T",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn change() -> impl Strategy<Value = Change> {
    let name = || {
        prop_oneof![prop::sample::select(vec!["ada", "bug", "in-review"]).prop_map(str::to_owned), hostile()]
    };
    let status = prop_oneof![prop::sample::select(Status::KNOWN.to_vec()), hostile().prop_map(Status::Other)];
    let marker = prop_oneof![Just(None), Just(Some("m1".to_owned())), hostile().prop_map(Some)];
    prop_oneof![
        name().prop_map(Change::Assign),
        Just(Change::Unassign),
        name().prop_map(Change::UnassignFrom),
        status.prop_map(Change::Transition),
        name().prop_map(Change::AddLabel),
        name().prop_map(Change::RemoveLabel),
        (marker, hostile()).prop_map(|(marker, body)| Change::Comment { marker, body }),
    ]
}

fn issues(text: &str) -> Vec<Issue> {
    let document = Document::parse(text.as_bytes()).unwrap();
    document.places().map(|place| document.issue(place)).collect()
}

/// Makes one change, if it is possible.
fn changed(text: &str, place: usize, change: &Change) -> Option<String> {
    let document = Document::parse(text.as_bytes()).unwrap();
    let edited = document.edited(place, std::slice::from_ref(change)).ok()?;
    Some(edited.map_or(text.to_owned(), |bytes| String::from_utf8(bytes).unwrap()))
}

/// Takes out of an issue what a change may alter, so that the rest can be compared.
fn without_changed(issue: &Issue, change: &Change) -> Issue {
    let mut rest = issue.clone();
    match change {
        Change::Assign(_) | Change::Unassign | Change::UnassignFrom(_) => rest.assignee = None,
        Change::Transition(_) | Change::AddLabel(_) | Change::RemoveLabel(_) => {
            rest.status = Status::ToDo;
            rest.labels.clear();
        }
        Change::Comment { .. } => {}
    }
    rest
}

/// Returns the lines that are gone and those that came in their place, without endings, as the ending
/// of a file's last line may change.
fn difference(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let lines = |text: &str| -> Vec<String> {
        text.split('\n').map(|line| line.trim_end_matches('\r').to_owned()).collect()
    };
    let (before, after) = (lines(before), lines(after));
    let alike = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let (before, after) = (&before[alike..], &after[alike..]);
    let alike = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
    (before[..before.len() - alike].to_vec(), after[..after.len() - alike].to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A block that is taken apart and put together again is the same, byte for byte.
    #[test]
    fn without_changes_every_byte_stays(text in file()) {
        let document = Document::parse(text.as_bytes()).unwrap();
        for place in document.places() {
            prop_assert_eq!(document.edited(place, &[]).unwrap(), None);
        }
    }

    /// Any bytes are read or refused, and never crash.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(document) = Document::parse(&bytes) {
            document.places().for_each(|place| drop(document.issue(place)));
        }
    }

    /// Outside code and comments, every check box at column 0 is counted.
    #[test]
    fn keys_count_the_check_boxes(lines in prop::collection::vec(line(), 0..30)) {
        let plain = |line: &&String| !line.starts_with(['`', '~', '<']);
        let lines: Vec<_> = lines.iter().filter(plain).map(|line| line.replace('\r', "")).collect();
        let boxes = lines.iter().filter(|line| Headline::parse(line).is_some()).count();
        let issues = issues(&lines.join("\n"));
        prop_assert_eq!(issues.len(), boxes);
        for (place, issue) in issues.iter().enumerate() {
            prop_assert_eq!(issue.key.as_str(), format!("TODO-{}", place + 1));
        }
    }

    /// Removing a label leaves the summary and all other labels.
    #[test]
    fn a_label_is_removed_alone(line in words(), label in prop::sample::select(vec!["bug", "in-review", "needs-plan"])) {
        let Some(before) = Headline::parse(&line) else { return Ok(()) };
        let mut edited = before.clone();
        edited.remove_label(label);
        let written = edited.to_string();
        let after = Headline::parse(&written);
        let told = after.map(|after| (after.summary(), after.labels()));
        let mut labels = before.labels();
        labels.remove(label);
        prop_assert_eq!(told, Some((before.summary(), labels)), "{:?} -> {:?}", line, written);
    }

    /// Whatever is done to one issue, the others, their number and all lines elsewhere stay.
    #[test]
    fn changes_touch_one_issue_only(
        text in file(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), change()), 1..6),
    ) {
        let mut text = text;
        for (index, change) in changes {
            let before = issues(&text);
            if before.is_empty() {
                break;
            }
            let place = index.index(before.len());
            let Some(new) = changed(&text, place, &change) else { continue };
            let after = issues(&new);
            prop_assert_eq!(before.len(), after.len(), "{:?} -> {:?}", text, new);
            for (at, (before, after)) in before.iter().zip(&after).enumerate() {
                if at == place {
                    prop_assert_eq!(without_changed(before, &change), without_changed(after, &change));
                } else {
                    prop_assert_eq!(before, after);
                }
            }
            let (gone, come) = difference(&text, &new);
            match &change {
                Change::Transition(_) | Change::AddLabel(_) | Change::RemoveLabel(_) => {
                    prop_assert!(gone.len() <= 1 && come.len() == gone.len(), "{:?} {:?}", gone, come);
                }
                Change::Comment { .. } => {
                    prop_assert!(gone.is_empty(), "{:?}", gone);
                    prop_assert!(come.iter().all(|line| line.is_empty() || line.starts_with("  ")), "{:?}", come);
                }
                Change::Assign(_) => prop_assert!(come.len() <= 1 || gone.len() >= come.len(), "{:?}", come),
                Change::Unassign | Change::UnassignFrom(_) => {
                    prop_assert!(come.len() <= gone.len(), "{:?} {:?}", gone, come);
                }
            }
            text = new;
        }
    }

    /// What was changed is read back.
    #[test]
    fn changes_are_read_back(text in file(), index: prop::sample::Index, change in change()) {
        let before = issues(&text);
        if before.is_empty() {
            return Ok(());
        }
        let place = index.index(before.len());
        if let Some(new) = changed(&text, place, &change) {
            let issue = issues(&new).swap_remove(place);
            let mut labels = before[place].labels.clone();
            match &change {
                Change::AddLabel(label) => drop(labels.insert(label.clone())),
                Change::RemoveLabel(label) => drop(labels.remove(label)),
                _ => {}
            }
            let besides = |labels: &BTreeSet<String>| -> Vec<String> {
                let is_besides = |label: &&String| !matches!(change, Change::Transition(_)) || *label != IN_REVIEW;
                labels.iter().filter(is_besides).cloned().collect()
            };
            prop_assert_eq!(besides(&issue.labels), besides(&labels), "{:?} -> {:?}", text, new);
            match &change {
                Change::Assign(account) => prop_assert_eq!(issue.assignee.as_deref(), Some(account.trim())),
                Change::Unassign => prop_assert_eq!(issue.assignee, None),
                Change::UnassignFrom(account) => prop_assert_ne!(issue.assignee.as_ref(), Some(account)),
                Change::Transition(Status::ToDo) if issue.summary.is_empty() => {}
                Change::Transition(status) => prop_assert_eq!(&issue.status, status),
                Change::AddLabel(label) => prop_assert!(issue.has_label(label)),
                Change::RemoveLabel(label) => prop_assert!(!issue.has_label(label)),
                Change::Comment { .. } => {}
            }
            // Said or done twice is done once, but for a person's comment.
            if !matches!(change, Change::Comment { marker: None, .. }) {
                prop_assert_eq!(changed(&new, place, &change), Some(new));
            }
        }
    }

    /// Changes made in one edit come to the same as one after another.
    #[test]
    fn several_changes_are_one_after_another(
        text in file(),
        index: prop::sample::Index,
        changes in prop::collection::vec(change(), 2..5),
    ) {
        let count = issues(&text).len();
        if count == 0 {
            return Ok(());
        }
        let place = index.index(count);
        let document = Document::parse(text.as_bytes()).unwrap();
        let singly = changes.iter().try_fold(text.clone(), |text, change| changed(&text, place, change));
        let Ok(edited) = document.edited(place, &changes) else {
            prop_assert_eq!(singly, None);
            return Ok(());
        };
        let at_once = edited.map_or(text.clone(), |bytes| String::from_utf8(bytes).unwrap());
        prop_assert_eq!(Some(issues(&at_once)), singly.as_deref().map(issues), "{:?} -> {:?}", text, at_once);
    }
}
