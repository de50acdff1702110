//! Markdown as a tree of what ADF has nodes for.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// How deep lists and quotes are nested at most; what lies deeper is raised. Text from outside must not
/// be able to exhaust the stack of whoever walks the tree.
const DEEPEST: usize = 8;

/// A block.
#[derive(Debug)]
pub(super) enum Block {
    Paragraph(Vec<Inline>),
    Heading(u8, Vec<Inline>),
    Code {
        language: String,
        text: String,
    },
    /// With the number of its first item, if it is ordered.
    List {
        start: Option<u64>,
        items: Vec<Item>,
    },
    Quote(Vec<Block>),
    Rule,
    /// Rows of cells, the header first; empty cells only where it has none.
    Table(Vec<Vec<Vec<Inline>>>),
}

/// An item of a list.
#[derive(Debug, Default)]
pub(super) struct Item {
    /// Whether it is done, if it is a task.
    pub(super) task: Option<bool>,
    pub(super) blocks: Vec<Block>,
}

/// What stands in a line.
#[derive(Debug)]
pub(super) enum Inline {
    Text(String, Style),
    Break,
}

/// How a text looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Style {
    pub(super) strong: bool,
    pub(super) emphasis: bool,
    pub(super) strike: bool,
    pub(super) code: bool,
    pub(super) link: Option<String>,
}

/// Reads Markdown.
pub(super) fn parse(markdown: &str) -> Vec<Block> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut builder = Builder::default();
    for event in Parser::new_ext(markdown, options) {
        builder.take(event);
    }
    builder.finish()
}

/// A container that is open.
enum Frame {
    List(Option<u64>, Vec<Item>),
    Item(Item),
    Quote(Vec<Block>),
}

#[derive(Default)]
struct Builder {
    root: Vec<Block>,
    frames: Vec<Frame>,
    /// For each container that is open in the text, whether it has a frame.
    kept: Vec<bool>,
    line: Vec<Inline>,
    strong: usize,
    emphasis: usize,
    strike: usize,
    /// The targets of the links that are open, each with where its text begins.
    links: Vec<(String, usize)>,
    code: Option<(String, String)>,
    html: Option<String>,
    table: Vec<Vec<Vec<Inline>>>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::InlineMath(text) | Event::DisplayMath(text) => self.text(&text),
            Event::Code(text) => self.styled(&text, Style { code: true, ..self.style() }),
            Event::Html(html) => match &mut self.html {
                Some(text) => text.push_str(&html),
                None => self.text(&html),
            },
            Event::InlineHtml(html) => self.inline_html(&html),
            Event::FootnoteReference(name) => self.text(&format!("[^{name}]")),
            Event::SoftBreak => self.text(" "),
            Event::HardBreak => self.line.push(Inline::Break),
            Event::Rule => self.block(Block::Rule),
            Event::TaskListMarker(done) => {
                if let Some(Frame::Item(item)) = self.frames.last_mut() {
                    item.task = Some(done);
                }
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::List(start) => self.open(Frame::List(start, Vec::new())),
            Tag::Item => self.open(Frame::Item(Item::default())),
            Tag::BlockQuote(_) => self.open(Frame::Quote(Vec::new())),
            Tag::Paragraph | Tag::Heading { .. } | Tag::Table(_) => self.flush(),
            Tag::CodeBlock(kind) => {
                self.flush();
                let info = match &kind {
                    CodeBlockKind::Fenced(info) => info.split_whitespace().next().unwrap_or_default(),
                    CodeBlockKind::Indented => "",
                };
                self.code = Some((plain(info), String::new()));
            }
            Tag::HtmlBlock => {
                self.flush();
                self.html = Some(String::new());
            }
            Tag::TableHead | Tag::TableRow => self.table.push(Vec::new()),
            Tag::Strong => self.strong += 1,
            Tag::Emphasis => self.emphasis += 1,
            Tag::Strikethrough => self.strike += 1,
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.links.push((plain(&dest_url), self.line.len()));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph => self.flush(),
            TagEnd::Heading(level) => {
                let line = std::mem::take(&mut self.line);
                self.block(Block::Heading(rank(level), line));
            }
            TagEnd::List(_) | TagEnd::Item | TagEnd::BlockQuote(_) => self.close(),
            TagEnd::CodeBlock => {
                if let Some((language, mut text)) = self.code.take() {
                    if text.ends_with('\n') {
                        text.pop();
                    }
                    self.block(Block::Code { language, text });
                }
            }
            TagEnd::HtmlBlock => {
                let html = self.html.take().unwrap_or_default();
                let text = without_comments(&html);
                self.text(text.trim());
                self.flush();
            }
            TagEnd::TableCell => {
                let line = std::mem::take(&mut self.line);
                if let Some(row) = self.table.last_mut() {
                    row.push(line);
                }
            }
            TagEnd::Table => {
                let rows = std::mem::take(&mut self.table);
                self.block(Block::Table(rows));
            }
            TagEnd::Strong => self.strong = self.strong.saturating_sub(1),
            TagEnd::Emphasis => self.emphasis = self.emphasis.saturating_sub(1),
            TagEnd::Strikethrough => self.strike = self.strike.saturating_sub(1),
            TagEnd::Link | TagEnd::Image => self.end_link(),
            _ => {}
        }
    }

    /// Names the target of a link that cannot be one, as a path in a repository, behind its text.
    fn end_link(&mut self) {
        let Some((target, from)) = self.links.pop() else { return };
        let from = from.min(self.line.len());
        let text: String = self.line[from..].iter().map(Inline::text).collect();
        if text.is_empty() {
            let style = Style { link: followable(&target), ..self.style() };
            self.styled(&target, style);
        } else if followable(&target).is_none() && text != target && !target.is_empty() {
            self.text(&format!(" ({target})"));
        }
    }

    fn inline_html(&mut self, html: &str) {
        let is_break = ["<br>", "<br/>", "<br />"].contains(&html.to_ascii_lowercase().as_str());
        if is_break { self.line.push(Inline::Break) } else { self.text(&without_comments(html)) }
    }

    fn text(&mut self, text: &str) {
        if let Some((_, code)) = &mut self.code {
            code.push_str(&plain(text));
        } else {
            let style = self.style();
            self.styled(text, style);
        }
    }

    fn styled(&mut self, text: &str, style: Style) {
        let text = plain(text);
        if text.is_empty() {
            return;
        }
        match self.line.last_mut() {
            Some(Inline::Text(last, of)) if *of == style => last.push_str(&text),
            _ => self.line.push(Inline::Text(text, style)),
        }
    }

    fn style(&self) -> Style {
        Style {
            strong: self.strong > 0,
            emphasis: self.emphasis > 0,
            strike: self.strike > 0,
            code: false,
            link: self.links.last().and_then(|(target, _)| followable(target)),
        }
    }

    /// Ends the paragraph that is being read, if there is one.
    fn flush(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.block(Block::Paragraph(line));
        }
    }

    fn block(&mut self, block: Block) {
        if !self.line.is_empty() {
            self.flush();
        }
        self.blocks().push(block);
    }

    /// Returns where blocks go now.
    fn blocks(&mut self) -> &mut Vec<Block> {
        match self.frames.last_mut() {
            Some(Frame::Item(item)) => &mut item.blocks,
            Some(Frame::Quote(blocks)) => blocks,
            Some(Frame::List(_, items)) => {
                if items.is_empty() {
                    items.push(Item::default());
                }
                &mut items.last_mut().expect("an item was just put there").blocks
            }
            None => &mut self.root,
        }
    }

    fn open(&mut self, frame: Frame) {
        self.flush();
        let is_kept = match frame {
            // An item has a frame where its list has one.
            Frame::Item(_) => self.kept.last().copied().unwrap_or(false),
            _ => self.frames.len() < 2 * DEEPEST,
        };
        if is_kept {
            self.frames.push(frame);
        }
        self.kept.push(is_kept);
    }

    fn close(&mut self) {
        self.flush();
        if !self.kept.pop().unwrap_or(false) {
            return;
        }
        match self.frames.pop() {
            Some(Frame::Item(item)) => match self.frames.last_mut() {
                Some(Frame::List(_, items)) => items.push(item),
                _ => self.blocks().extend(item.blocks),
            },
            Some(Frame::List(start, items)) => self.block(Block::List { start, items }),
            Some(Frame::Quote(blocks)) => self.block(Block::Quote(blocks)),
            None => {}
        }
    }

    fn finish(mut self) -> Vec<Block> {
        self.flush();
        self.root
    }
}

impl Inline {
    fn text(&self) -> &str {
        match self {
            Self::Text(text, _) => text,
            Self::Break => " ",
        }
    }
}

/// Returns a link's target if Jira can follow it.
fn followable(target: &str) -> Option<String> {
    let known = ["https://", "http://", "mailto:"];
    known.iter().any(|scheme| target.starts_with(scheme)).then(|| target.to_owned())
}

/// Returns the text without what no document may hold.
fn plain(text: &str) -> String {
    let belongs =
        |c: &char| matches!(c, '\n' | '\t') || !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'));
    text.chars().filter(belongs).collect()
}

fn without_comments(html: &str) -> String {
    let mut kept = String::new();
    let mut rest = html;
    while let Some((before, comment)) = rest.split_once("<!--") {
        kept.push_str(before);
        rest = comment.split_once("-->").map_or("", |(_, after)| after);
    }
    kept + rest
}

fn rank(level: HeadingLevel) -> u8 {
    level as u8
}
