//! Env files: lines of `NAME=value`, read the way a shell would read them, without expanding anything.
//!
//! What the names mean is not known here.

/// One assignment of an env file.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The variable's name.
    pub name: String,
    /// Its value, without quotes.
    pub value: String,
    /// The line on which it stands, from 1.
    pub line: usize,
}

/// One line of an env file that says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it. It never quotes the line, which may hold a secret.
    pub found: &'static str,
    /// What to write instead.
    pub remedy: &'static str,
}

/// What an env file says.
#[derive(Clone, Default)]
pub struct EnvFile {
    /// Its assignments, in order; of two for one name the later one counts.
    pub assignments: Vec<Assignment>,
    /// Its bad lines, in order.
    pub bad_lines: Vec<BadLine>,
}

/// Reads the text of an env file.
///
/// A line is blank, a comment, or `NAME=value` with an optional `export` before it. A bare value goes
/// to the end of the line or to a `#` after white space. A value that begins with a quote is a word of
/// the shell: `'…'` is literal, in `"…"` a backslash quotes `"`, `\`, `$`, `` ` `` and the end of the
/// line, both may span lines, and `\'` stands between quotes. `$` is never expanded.
#[must_use]
pub fn parse(text: &str) -> EnvFile {
    let mut file = EnvFile::default();
    let mut line = 1;
    for (statement, read) in statements(text) {
        match read {
            Ok(Some((name, value))) => file.assignments.push(Assignment { name, value, line }),
            Ok(None) => {}
            Err((found, remedy)) => file.bad_lines.push(BadLine { line, found, remedy }),
        }
        line += statement.matches('\n').count();
    }
    file
}

/// Returns the text of an env file with those variables: each in the place that it has, else at the end.
/// Everything else stays byte for byte.
#[must_use]
pub fn with(text: &str, variables: &[(&str, &str)]) -> String {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut left: Vec<_> = variables.iter().collect();
    let mut new = String::with_capacity(text.len());
    for (statement, read) in statements(text) {
        let name = read.ok().flatten().map(|(name, _)| name);
        match left.iter().position(|(ours, _)| name.as_deref() == Some(*ours)) {
            Some(place) => {
                let (name, value) = left.remove(place);
                let before = statement.split_once(name).map_or("", |(before, _)| before);
                new += &format!("{before}{name}={}{end}", word(value));
            }
            // A later line of the same name would win over the first.
            None if variables.iter().any(|(ours, _)| name.as_deref() == Some(*ours)) => {}
            None => new += statement,
        }
    }
    if !left.is_empty() && !new.is_empty() && !new.ends_with('\n') {
        new += end;
    }
    left.iter().for_each(|(name, value)| new += &format!("{name}={}{end}", word(value)));
    new
}

/// Writes a value as a word that [`parse`] and a shell read back as it was.
fn word(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./+=:@%,".contains(c);
    if value.chars().all(is_plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

type Read = Result<Option<(String, String)>, Mistake>;

/// Splits an env file into its statements, each with what it says. Nothing of the text is left out.
fn statements(text: &str) -> impl Iterator<Item = (&str, Read)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mark =
            if rest.len() == text.len() && rest.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let told = &rest[mark..];
        if rest.is_empty() {
            return None;
        }
        let (read, consumed) = match statement(told) {
            Ok((assignment, consumed)) => (Ok(assignment), consumed),
            // What follows a bad line is judged by itself, even after a quote that never closes.
            Err(mistake) => (Err(mistake), told.find('\n').map_or(told.len(), |end| end + 1)),
        };
        let (statement, after) = rest.split_at(mark + consumed);
        rest = after;
        Some((statement, read))
    })
}

type Mistake = (&'static str, &'static str);

/// Reads one statement: its name and value, unless it is blank, and how many bytes it takes.
fn statement(text: &str) -> Result<(Option<(String, String)>, usize), Mistake> {
    let end_of_line = text.find('\n').map_or(text.len(), |end| end + 1);
    let line = text[..end_of_line].trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok((None, end_of_line));
    }
    let Some((before, _)) = text[..end_of_line].split_once('=') else {
        return Err(("no `=`", "write NAME=value, or # before a comment"));
    };
    let name = before.trim_start();
    let name = match name.strip_prefix("export") {
        Some(exported) if exported.starts_with([' ', '\t']) => exported.trim_start(),
        _ => name,
    };
    if name.ends_with([' ', '\t']) {
        return Err(("white space before `=`", "write NAME=value"));
    }
    if !is_name(name) {
        return Err(("no name before `=`", "names are letters, digits and _, not beginning with a digit"));
    }
    let start = before.len() + 1;
    let (value, length) = value(&text[start..])?;
    if value.contains('\0') {
        return Err(("a NUL character in the value", "remove it"));
    }
    Ok((Some((name.to_owned(), value)), start + length))
}

fn is_name(name: &str) -> bool {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_start) && name.chars().all(|c| is_start(c) || c.is_ascii_digit())
}

/// Reads a value and what stands after it on its last line.
fn value(text: &str) -> Result<(String, usize), Mistake> {
    if text.starts_with(['\'', '"']) {
        let (word, length) = quoted_word(text)?;
        let rest = &text[length..];
        let end_of_line = rest.find('\n').map_or(rest.len(), |end| end + 1);
        let after = &rest[..end_of_line];
        let is_comment = after.starts_with([' ', '\t']) && after.trim_start().starts_with('#');
        if !after.trim().is_empty() && !is_comment {
            return Err(("text after the closing quote", "quote the whole value"));
        }
        return Ok((word, length + end_of_line));
    }
    let end_of_line = text.find('\n').map_or(text.len(), |end| end + 1);
    let line = &text[..end_of_line];
    let comment = line
        .char_indices()
        .find(|&(at, c)| c == '#' && line[..at].ends_with([' ', '\t']))
        .map_or(line.len(), |(at, _)| at);
    Ok((line[..comment].trim().to_owned(), end_of_line))
}

/// Reads quoted pieces that stand without a gap, as in `'it'\''s'`.
fn quoted_word(text: &str) -> Result<(String, usize), Mistake> {
    const OPEN: Mistake = ("a quote that is not closed", "close it");
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => loop {
                match chars.next().ok_or(OPEN)?.1 {
                    '\'' => break,
                    c => word.push(c),
                }
            },
            '"' => loop {
                match chars.next().ok_or(OPEN)?.1 {
                    '"' => break,
                    '\\' => match chars.next().ok_or(OPEN)?.1 {
                        '\n' => {}
                        c @ ('"' | '\\' | '$' | '`') => word.push(c),
                        c => word.extend(['\\', c]),
                    },
                    c => word.push(c),
                }
            },
            '\\' => word.push(chars.next().ok_or(OPEN)?.1),
            _ => return Ok((without_carriage_returns(word), at)),
        }
    }
    Ok((without_carriage_returns(word), text.len()))
}

/// A quoted value that spans lines has the file's line ends; those of Windows mean plain ones.
fn without_carriage_returns(word: String) -> String {
    if word.contains("\r\n") { word.replace("\r\n", "\n") } else { word }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let file = parse(text);
        assert_eq!(file.bad_lines, [], "{text:?}");
        file.assignments.into_iter().map(|assignment| (assignment.name, assignment.value)).collect()
    }

    #[track_caller]
    fn check(text: &str, value: &str) {
        assert_eq!(pairs(text), [("A".to_owned(), value.to_owned())], "{text:?}");
    }

    #[test]
    fn bare_values_go_to_the_end_of_the_line_or_to_a_comment() {
        check("A=b", "b");
        check("  export\tA=b c \n", "b c");
        check("A=b # c", "b");
        check("A=b#c", "b#c");
        check("A= # c", "");
        check("A=", "");
        check("A=https://h/p?q=1#f", "https://h/p?q=1#f");
        check("A=b\"c\" d'", "b\"c\" d'");
        check("A=C:\\new", "C:\\new");
        check("\u{feff}A=é", "é");
    }

    #[test]
    fn quotes_keep_what_is_between_them() {
        check("A=' b # c '", " b # c ");
        check("A='a\\nb'  # comment", "a\\nb");
        check(r#"A="say \"hi\" \$x \` \\ \n""#, r#"say "hi" $x ` \ \n"#);
        check("A=\"${HOME} $(id)\"", "${HOME} $(id)");
        check("A='it'\\''s'", "it's");
        check("A=\"a\"'b'", "ab");
        check("A=\"one\ntwo\"\n", "one\ntwo");
        check("A=\"one \\\ntwo\"", "one two");
        check("A=''", "");
    }

    #[test]
    fn windows_line_ends_are_no_part_of_values() {
        let file = parse("A=b\r\n# c\r\n\r\nB='d'\r\nC=\"e\r\nf\"\r\nD=g\r\n");
        let seen: Vec<_> = file
            .assignments
            .iter()
            .map(|seen| (seen.name.as_str(), seen.value.as_str(), seen.line))
            .collect();
        assert_eq!(seen, [("A", "b", 1), ("B", "d", 4), ("C", "e\nf", 5), ("D", "g", 7)]);
        assert_eq!(file.bad_lines, []);
    }

    #[test]
    fn every_bad_line_is_told_and_the_good_ones_still_count() {
        let file =
            parse("nonsense\nA = b\n1A=b\nB=good\nC='open\nD=\"x\"y\nE='also good'\n=x\nF=a\0b\nexport=1");
        let bad: Vec<_> = file.bad_lines.iter().map(|bad| (bad.line, bad.found)).collect();
        let good: Vec<_> = file.assignments.iter().map(|good| (good.name.as_str(), good.line)).collect();
        insta::assert_debug_snapshot!((bad, good));
    }

    #[test]
    fn a_quote_that_never_closes_spoils_its_own_line_only() {
        let file = parse("A=\"open\nB='x'\nC='open\n");
        let bad: Vec<_> = file.bad_lines.iter().map(|bad| (bad.line, bad.found)).collect();
        assert_eq!(bad, [(1, "a quote that is not closed"), (3, "a quote that is not closed")]);
        assert_eq!(file.assignments.iter().map(|seen| seen.line).collect::<Vec<_>>(), [2]);
    }

    fn double_quoted(value: &str) -> String {
        let escaped: String = value
            .chars()
            .flat_map(|c| matches!(c, '"' | '\\' | '$' | '`').then_some('\\').into_iter().chain([c]))
            .collect();
        format!("\"{escaped}\"")
    }

    #[test]
    fn a_variable_is_put_in_its_place_and_all_else_stays() {
        for (found, expected) in [
            ("", "A=2\nR='r 2'\n"),
            ("# mine\nX=1", "# mine\nX=1\nA=2\nR='r 2'\n"),
            (
                "\u{feff}X=1\nexport R='r1' # old\n# A=no\n\nB=2\n",
                "\u{feff}X=1\nexport R='r 2'\n# A=no\n\nB=2\nA=2\n",
            ),
            ("A=0\r\nA=1\r\n", "A=2\r\nR='r 2'\r\n"),
            ("K=\"one\nA=two\"\nnonsense\nA=1", "K=\"one\nA=two\"\nnonsense\nA=2\nR='r 2'\n"),
        ] {
            let variables = [("A", "2"), ("R", "r 2")];
            assert_eq!(with(found, &variables), expected);
            assert_eq!(with(expected, &variables), expected, "twice is as once");
        }
    }

    proptest! {
        #[test]
        fn what_is_put_in_is_read_back(
            text in "(# [ -~]{0,10}\n|[A-B]=[a-z0-9]{0,6}\n|export [A-B]='[ -&(-~\n]{0,6}'\n|\n){0,6}([A-B]=[a-z]{0,4})?",
            value in "[^\\r\\x00]{0,20}",
        ) {
            let others = |text: &str| -> Vec<_> {
                let read = parse(text).assignments.into_iter().filter(|read| read.name != "A");
                read.map(|read| (read.name, read.value)).collect()
            };
            // Not any text: a quote that does not end takes in what comes after it, and whoever puts something in
            // looks for that first.
            prop_assert_eq!(parse(&text).bad_lines, []);
            let new = with(&text, &[("A", &value)]);
            let read: Vec<_> = parse(&new).assignments.into_iter().filter(|read| read.name == "A").collect();
            prop_assert_eq!(read.len(), 1, "{}", new);
            prop_assert_eq!(&read[0].value, &value);
            prop_assert_eq!(others(&text), others(&new));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}|[A-B=#'\" \\\\\\r\\n\\x00é$x]{0,60}") {
            let file = parse(&text);
            let lines = text.matches('\n').count() + 1;
            prop_assert!(file.assignments.iter().all(|assignment| assignment.line <= lines));
            prop_assert!(file.bad_lines.iter().all(|bad| bad.line <= lines));
        }

        #[test]
        fn quoted_values_come_back_as_they_were(value in "[^\\r\\x00]{0,40}|[\\\\'\"$`\\n #=a]{0,40}") {
            let double = format!("B=1\nexport A={} # c\nC=2\n", double_quoted(&value));
            let single = format!("B=1\nA='{}'\nC=2", value.replace('\'', "'\\''"));
            for text in [double, single] {
                let read = pairs(&text);
                prop_assert_eq!(&read[1], &("A".to_owned(), value.clone()), "{}", text);
                prop_assert_eq!(read.len(), 3);
            }
        }
    }
}
