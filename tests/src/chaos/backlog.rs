//! The issues that a fleet is given, and how each may end.

use std::fmt::Write as _;

/// What stands in the file beside the issues, for nobody to touch.
const HEAD: &str = "\
# What is to be done \u{1f980}

Some words, with trailing blanks.   \n\
\n\
```text
- [ ] an example in a code block is no issue
  - Note: nor is this a note of anybody
```

* a list that has no check boxes
\t
";

/// What is special about an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Plain,
    /// Its work fails the gate at first.
    SecondTry,
    /// It needs a plan, which a person approves.
    Planned,
    /// It needs a plan, which nobody approves.
    Awaiting,
    /// Its work goes to a branch of its own.
    Branch,
    /// Its agent never changes anything.
    Doomed,
}

/// An issue.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its key.
    pub key: String,
    /// What is special about it.
    pub kind: Kind,
    /// The file that its work adds.
    pub path: String,
    /// Its check-box line, without the box.
    pub headline: String,
    description: String,
}

/// All issues of a test, and the file that holds them.
#[derive(Clone, Debug)]
pub struct Backlog {
    /// The issues in their order.
    pub items: Vec<Item>,
}

impl Item {
    fn new(n: usize) -> Self {
        let kind = match n {
            n if n % 10 == 3 => Kind::SecondTry,
            n if n % 20 == 7 => Kind::Planned,
            n if n % 20 == 17 => Kind::Awaiting,
            n if n % 25 == 11 => Kind::Branch,
            n if n % 50 == 19 => Kind::Doomed,
            _ => Kind::Plain,
        };
        let path = format!("f/{n}.txt");
        let label = match kind {
            Kind::Planned | Kind::Awaiting => " [needs-plan]",
            Kind::Branch => " [needs-branch]",
            Kind::Plain | Kind::SecondTry | Kind::Doomed => "",
        };
        let work = match kind {
            Kind::SecondTry => format!("  @write {path} wrong\n  @fix write {path} Right.\n"),
            Kind::Doomed => "  @none\n".to_owned(),
            Kind::Plain | Kind::Planned | Kind::Awaiting | Kind::Branch => {
                format!("  @write {path} Right.\n")
            }
        };
        let sleep = format!("  @sleep 0.{:02}\n", 5 + n * 7 % 26);
        let planning = if matches!(kind, Kind::Planned | Kind::Awaiting) {
            "  @planning sleep 0.1\n  @plan Think, then write.\n"
        } else {
            ""
        };
        Self {
            key: format!("TODO-{n}"),
            kind,
            headline: format!("Write file number {n}, \"$(quoted)\" `and` all{label}"),
            description: format!("{planning}{sleep}{work}"),
            path,
        }
    }
}

impl Backlog {
    /// Makes that many issues, some of each kind.
    #[must_use]
    pub fn of(number: usize) -> Self {
        Self { items: (1..=number).map(Item::new).collect() }
    }

    /// Makes plain issues with those descriptions.
    #[must_use]
    pub fn described(descriptions: &[&str]) -> Self {
        let item = |(n, text): (usize, &&str)| Item {
            kind: Kind::Plain,
            headline: format!("Do thing number {n}"),
            description: text.lines().map(|line| format!("  {line}\n")).collect(),
            ..Item::new(n)
        };
        Self { items: (1..).zip(descriptions).map(item).collect() }
    }

    /// Returns the TODO file as it is at first. Its last line has no ending.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = HEAD.to_owned();
        for Item { headline, description, .. } in &self.items {
            let _ = write!(text, "- [ ] {headline}\n{description}");
        }
        text.trim_end_matches('\n').to_owned()
    }

    /// Returns an issue.
    #[must_use]
    pub fn item(&self, key: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.key == key)
    }
}
