//! Documents as Markdown.

use serde_json::Value;

use super::inline;

/// Writes a document (or any node of one) as Markdown. What is no document comes out as its text, if it
/// has any.
#[must_use]
pub fn to_markdown(document: &Value) -> String {
    match document {
        Value::String(text) => text.trim_end().to_owned(),
        document => blocks(children(document)).trim_end().to_owned(),
    }
}

pub(super) fn children(node: &Value) -> &[Value] {
    node["content"].as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn attribute<'a>(node: &'a Value, name: &str) -> Option<&'a str> {
    node["attrs"][name].as_str().filter(|text| !text.is_empty())
}

fn blocks(nodes: &[Value]) -> String {
    let mut written = String::new();
    let mut rest = nodes;
    while let [first, others @ ..] = rest {
        let text = if inline::is_inline(first) {
            // Inline nodes where blocks belong are a paragraph that lacks its frame.
            let count = rest.iter().take_while(|node| inline::is_inline(node)).count();
            let (words, others) = rest.split_at(count);
            rest = others;
            inline::write(words)
        } else {
            rest = others;
            block(first)
        };
        if !text.trim().is_empty() {
            if !written.is_empty() {
                written.push_str("\n\n");
            }
            written.push_str(&text);
        }
    }
    written
}

fn block(node: &Value) -> String {
    match node["type"].as_str().unwrap_or_default() {
        "paragraph" | "caption" => inline::write(children(node)),
        "heading" => heading(node),
        "bulletList" => list(children(node), |_, _| "- ".to_owned()),
        "orderedList" => {
            let start = node["attrs"]["order"].as_u64().unwrap_or(1);
            list(children(node), |at, _| format!("{}. ", start.saturating_add(at)))
        }
        "taskList" => list(children(node), |_, item| match attribute(item, "state") {
            Some("DONE") => "- [x] ".to_owned(),
            _ => "- [ ] ".to_owned(),
        }),
        "decisionList" => list(children(node), |_, _| "- Decision: ".to_owned()),
        "codeBlock" => code(node),
        "blockquote" => prefixed(&blocks(children(node)), "> ", "> "),
        "panel" => panel(node),
        "rule" => "---".to_owned(),
        "table" => table(node),
        "expand" | "nestedExpand" => titled(attribute(node, "title"), &blocks(children(node))),
        "mediaSingle" | "mediaGroup" => media_blocks(children(node)),
        _ => unknown(node),
    }
}

fn heading(node: &Value) -> String {
    let level = node["attrs"]["level"].as_u64().unwrap_or(1).clamp(1, 6);
    let text = inline::write(children(node)).split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() { text } else { format!("{} {text}", "#".repeat(usize::try_from(level).unwrap_or(1))) }
}

/// Writes the items of a list; a list among them belongs to the item before it.
fn list(items: &[Value], marker: impl Fn(u64, &Value) -> String) -> String {
    let mut lines = Vec::new();
    let mut number = 0;
    for item in items {
        if matches!(item["type"].as_str(), Some("taskList" | "bulletList" | "orderedList")) {
            lines.push(prefixed(&block(item), "  ", "  "));
            continue;
        }
        let marker = marker(number, item);
        number += 1;
        // What is checked off is shown by the marker; its text stands below the dash.
        let indent = " ".repeat(marker.find(['-', '.']).map_or(0, |at| at + 2));
        let text = item_blocks(children(item));
        lines.push(prefixed(&text, &marker, &indent).trim_end().to_owned());
    }
    lines.join("\n")
}

/// Writes an item's blocks: a list follows its paragraph without a blank line.
fn item_blocks(nodes: &[Value]) -> String {
    let is_list = |node: &Value| node["type"].as_str().is_some_and(|kind| kind.ends_with("List"));
    let first_list = nodes.iter().position(is_list).unwrap_or(nodes.len());
    let (before, lists) = nodes.split_at(first_list);
    let (before, lists) = (blocks(before), blocks(lists));
    if before.is_empty() || lists.is_empty() { before + &lists } else { format!("{before}\n{lists}") }
}

fn code(node: &Value) -> String {
    let text: String = children(node).iter().filter_map(|node| node["text"].as_str()).collect();
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let language = attribute(node, "language").unwrap_or_default();
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}{language}\n{text}{end}{fence}")
}

fn panel(node: &Value) -> String {
    let kind = attribute(node, "panelType").filter(|kind| *kind != "custom").unwrap_or("note");
    let (first, rest) = kind.split_at(kind.chars().next().map_or(0, char::len_utf8));
    let title = format!("{}{rest}", first.to_uppercase());
    prefixed(&titled(Some(&title), &blocks(children(node))), "> ", "> ")
}

fn titled(title: Option<&str>, text: &str) -> String {
    match title {
        Some(title) if text.is_empty() => format!("**{title}**"),
        Some(title) => format!("**{title}**\n\n{text}"),
        None => text.to_owned(),
    }
}

fn table(node: &Value) -> String {
    let rows: Vec<_> = children(node).iter().map(children).collect();
    let columns = rows.iter().map(|cells| cells.len()).max().unwrap_or(0);
    if columns == 0 {
        return String::new();
    }
    let line = |cells: &[String]| {
        let cells = (0..columns).map(|at| cells.get(at).map_or("", String::as_str));
        let cells: Vec<_> =
            cells.map(|cell| if cell.is_empty() { " ".into() } else { format!(" {cell} ") }).collect();
        format!("|{}|", cells.join("|"))
    };
    let is_header = |cells: &&[Value]| cells.iter().all(|cell| cell["type"] == "tableHeader");
    let written = |cells: &[Value]| cells.iter().map(cell).collect::<Vec<_>>();
    let (header, body) = match rows.split_first() {
        Some((first, body)) if is_header(first) => (written(first), body),
        // Markdown knows no table without a header.
        _ => (Vec::new(), &rows[..]),
    };
    let mut lines = vec![line(&header), format!("|{}", "---|".repeat(columns))];
    lines.extend(body.iter().map(|cells| line(&written(cells))));
    lines.join("\n")
}

/// Writes what stands in a cell in one line.
fn cell(node: &Value) -> String {
    let text = blocks(children(node)).replace('|', "\\|");
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("<br>")
}

fn media_blocks(nodes: &[Value]) -> String {
    let lines = nodes.iter().map(|node| match node["type"].as_str() {
        Some("media") => inline::media(node),
        _ => block(node),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Writes a node that acf does not know: what it holds, what it says of itself, or its name.
fn unknown(node: &Value) -> String {
    let held = blocks(children(node));
    if held.is_empty() { inline::unknown(node) } else { titled(attribute(node, "title"), &held) }
}

fn prefixed(text: &str, first: &str, others: &str) -> String {
    let mut lines = text.split('\n');
    let mut written = format!("{first}{}", lines.next().unwrap_or_default());
    for line in lines {
        written.push('\n');
        if line.is_empty() {
            written.push_str(others.trim_end());
        } else {
            written.push_str(others);
            written.push_str(line);
        }
    }
    written
}
