//! Inline nodes as Markdown: text with its marks, mentions, dates, cards.

use jiff::Timestamp;
use serde_json::Value;

use super::to_markdown::{attribute, children};

/// What emphasises a text, from the outside to the inside.
#[derive(Clone, Debug, PartialEq)]
enum Mark {
    Link(String),
    Strong,
    Emphasis,
    Strike,
}

impl Mark {
    fn opening(&self) -> &'static str {
        match self {
            Self::Link(_) => "[",
            Self::Strong => "**",
            Self::Emphasis => "*",
            Self::Strike => "~~",
        }
    }

    fn closing(&self) -> String {
        match self {
            Self::Link(target) => format!("]({target})"),
            mark => mark.opening().to_owned(),
        }
    }
}

pub(super) fn is_inline(node: &Value) -> bool {
    let kind = node["type"].as_str().unwrap_or_default();
    matches!(
        kind,
        "text"
            | "hardBreak"
            | "mention"
            | "emoji"
            | "date"
            | "status"
            | "inlineCard"
            | "placeholder"
            | "mediaInline"
            | "inlineExtension"
    )
}

/// Writes inline nodes as Markdown.
pub(super) fn write(nodes: &[Value]) -> String {
    let mut writer = Writer::default();
    for node in nodes {
        if node["type"] == "text" {
            let text = node["text"].as_str().unwrap_or_default();
            let (marks, is_code) = marks(node);
            if is_code { writer.put(&marks, &code(text)) } else { writer.put(&marks, text) }
        } else {
            writer.put(&[], &word(node));
        }
    }
    writer.finish()
}

/// Writes a node that is no text.
fn word(node: &Value) -> String {
    let attribute = |name| attribute(node, name);
    match node["type"].as_str().unwrap_or_default() {
        "hardBreak" => "  \n".to_owned(),
        "mention" => mention(attribute("text"), attribute("id")),
        "emoji" => attribute("text").or(attribute("shortName")).unwrap_or_default().to_owned(),
        "date" => date(attribute("timestamp").unwrap_or_default()),
        "status" => attribute("text").map(|text| format!("[{text}]")).unwrap_or_default(),
        "inlineCard" | "blockCard" | "embedCard" => card(node),
        "mediaInline" | "media" => media(node),
        _ => unknown(node),
    }
}

/// Writes a node that acf does not know: what it says, or else its name.
pub(super) fn unknown(node: &Value) -> String {
    let held = write(children(node));
    if !held.is_empty() {
        return held;
    }
    if attribute(node, "url").is_some() {
        return card(node);
    }
    let says = node["text"]
        .as_str()
        .or_else(|| ["text", "title", "alt"].iter().find_map(|name| attribute(node, name)));
    let name = || attribute(node, "extensionKey").or(node["type"].as_str()).map(|name| format!("[{name}]"));
    says.map(str::to_owned).or_else(name).unwrap_or_default()
}

/// Stands for a picture or a file, which no prompt can hold.
pub(super) fn media(node: &Value) -> String {
    let name = attribute(node, "alt").or(attribute(node, "id")).unwrap_or("without a name");
    match attribute(node, "url") {
        Some(url) => format!("[attachment: {}]({url})", attribute(node, "alt").unwrap_or("picture")),
        None => format!("[attachment: {name}]"),
    }
}

fn mention(text: Option<&str>, id: Option<&str>) -> String {
    let name = text.or(id).unwrap_or("somebody");
    format!("@{}", name.trim_start_matches('@'))
}

/// Writes a day, which is kept as milliseconds since the epoch.
fn date(timestamp: &str) -> String {
    let day = timestamp.parse().ok().and_then(|millisecond| Timestamp::from_millisecond(millisecond).ok());
    day.map_or_else(|| timestamp.to_owned(), |day| day.strftime("%Y-%m-%d").to_string())
}

fn card(node: &Value) -> String {
    let data = &node["attrs"]["data"];
    let named = || data["url"].as_str().or_else(|| data["name"].as_str());
    match attribute(node, "url").or_else(named) {
        Some(url) => format!("<{url}>"),
        None => "[card]".to_owned(),
    }
}

/// Writes code within a line, in enough backticks.
fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let padding = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{padding}{}{padding}{fence}", text.replace('\n', " "))
}

fn marks(node: &Value) -> (Vec<Mark>, bool) {
    let marks = node["marks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has = |kind: &str| marks.iter().find(|mark| mark["type"] == kind);
    let link = has("link").and_then(|mark| mark["attrs"]["href"].as_str());
    let link = link.map(|target| Mark::Link(target.to_owned()));
    let flag = |kind, mark| has(kind).map(|_| mark);
    let found =
        [link, flag("strong", Mark::Strong), flag("em", Mark::Emphasis), flag("strike", Mark::Strike)];
    (found.into_iter().flatten().collect(), has("code").is_some())
}

/// Puts texts one after another, opening and closing marks where they change.
#[derive(Default)]
struct Writer {
    written: String,
    open: Vec<Mark>,
}

impl Writer {
    fn put(&mut self, marks: &[Mark], text: &str) {
        let is_blank = text.trim().is_empty();
        let shared = self.open.iter().zip(marks).take_while(|(open, wanted)| open == wanted).count();
        self.close_to(shared);
        if is_blank {
            // Emphasis around nothing would be read as asterisks.
            self.written.push_str(text);
            return;
        }
        // Marks do not open before a blank, nor close after one.
        let words = text.trim_start();
        self.written.push_str(&text[..text.len() - words.len()]);
        for mark in &marks[shared..] {
            self.written.push_str(mark.opening());
            self.open.push(mark.clone());
        }
        self.written.push_str(words);
    }

    fn close_to(&mut self, count: usize) {
        if self.open.len() <= count {
            return;
        }
        let words = self.written.trim_end().len();
        let blanks = self.written.split_off(words);
        for mark in self.open.drain(count..).rev() {
            self.written.push_str(&mark.closing());
        }
        self.written.push_str(&blanks);
    }

    fn finish(mut self) -> String {
        self.close_to(0);
        self.written
    }
}
