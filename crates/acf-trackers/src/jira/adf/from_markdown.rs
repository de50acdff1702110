//! Markdown as documents.

use serde_json::{Value, json};

use super::markdown_tree::{Block, Inline, Item, Style, parse};

/// Writes Markdown as a document that is valid by the schema. Links that Jira cannot follow become text;
/// comments in HTML are left out, other HTML is text.
#[must_use]
pub fn from_markdown(markdown: &str) -> Value {
    let mut content = Lowering::default().blocks(parse(markdown), Place::Document);
    if content.is_empty() {
        content.push(paragraph(&[]));
    }
    json!({ "type": "doc", "version": 1, "content": content })
}

/// Where a block stands, which decides what it may be.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Document,
    Item,
    Quote,
}

/// Turns the tree into nodes.
#[derive(Default)]
struct Lowering {
    /// How many ids were given; task lists and tasks need them, unique in the document.
    ids: u64,
}

impl Lowering {
    fn blocks(&mut self, blocks: Vec<Block>, place: Place) -> Vec<Value> {
        blocks.into_iter().flat_map(|block| self.block(block, place)).collect()
    }

    fn block(&mut self, block: Block, place: Place) -> Vec<Value> {
        let is_free = place == Place::Document;
        match block {
            Block::Paragraph(line) => vec![paragraph(&line)],
            Block::Heading(level, line) if is_free => {
                vec![json!({ "type": "heading", "attrs": { "level": level }, "content": inlines(&line) })]
            }
            Block::Heading(_, line) => vec![paragraph(&strong(line))],
            Block::Code { language, text } => vec![code(&language, &text)],
            Block::List { start, items } => vec![self.list(start, items, place)],
            Block::Quote(blocks) if is_free => {
                let content = filled(self.blocks(blocks, Place::Quote));
                vec![json!({ "type": "blockquote", "content": content })]
            }
            Block::Quote(blocks) => self.blocks(blocks, place),
            Block::Rule if is_free => vec![json!({ "type": "rule" })],
            Block::Rule => Vec::new(),
            Block::Table(rows) if is_free => table(&rows).into_iter().collect(),
            Block::Table(rows) => {
                rows.iter().filter(|row| !is_empty(row)).map(|row| paragraph(&joined(row))).collect()
            }
        }
    }

    fn list(&mut self, start: Option<u64>, items: Vec<Item>, place: Place) -> Value {
        // A quote holds no tasks, wherever in it a list stands.
        if place != Place::Quote && items.iter().all(is_plain_task) {
            return self.tasks(items);
        }
        let below = if place == Place::Quote { Place::Quote } else { Place::Item };
        let content: Vec<_> = items
            .into_iter()
            .map(|item| {
                let blocks = with_box(item);
                json!({ "type": "listItem", "content": filled(self.blocks(blocks, below)) })
            })
            .collect();
        match start {
            Some(order) => json!({ "type": "orderedList", "attrs": { "order": order }, "content": content }),
            None => json!({ "type": "bulletList", "content": content }),
        }
    }

    fn tasks(&mut self, items: Vec<Item>) -> Value {
        let id = self.id();
        let mut content = Vec::new();
        for item in items {
            let state = if item.task == Some(true) { "DONE" } else { "TODO" };
            let mut line = Vec::new();
            let mut nested = Vec::new();
            for block in item.blocks {
                match block {
                    Block::Paragraph(words) => line = inlines(&words),
                    Block::List { items, .. } => nested.push(items),
                    _ => {}
                }
            }
            let attributes = json!({ "localId": self.id(), "state": state });
            content.push(json!({ "type": "taskItem", "attrs": attributes, "content": line }));
            for items in nested {
                content.push(self.tasks(items));
            }
        }
        json!({ "type": "taskList", "attrs": { "localId": id }, "content": content })
    }

    fn id(&mut self) -> String {
        self.ids += 1;
        format!("acf-{}", self.ids)
    }
}

/// Tells whether an item is a task that holds a line at most, and other such tasks below it: there is no
/// room for more in ADF's tasks.
fn is_plain_task(item: &Item) -> bool {
    let lines = item.blocks.iter().filter(|block| matches!(block, Block::Paragraph(_))).count();
    let all_fit = item.blocks.iter().all(|block| match block {
        Block::Paragraph(_) => true,
        Block::List { items, .. } => items.iter().all(is_plain_task),
        _ => false,
    });
    item.task.is_some() && lines <= 1 && all_fit
}

/// Returns an item's blocks, with its check box as text.
fn with_box(item: Item) -> Vec<Block> {
    let Item { task, mut blocks } = item;
    let Some(done) = task else { return blocks };
    let text = Inline::Text(if done { "[x] " } else { "[ ] " }.to_owned(), Style::default());
    match blocks.first_mut() {
        Some(Block::Paragraph(line)) => line.insert(0, text),
        _ => blocks.insert(0, Block::Paragraph(vec![text])),
    }
    blocks
}

/// Returns the content, or an empty paragraph where there has to be something.
fn filled(mut content: Vec<Value>) -> Vec<Value> {
    if content.is_empty() {
        content.push(paragraph(&[]));
    }
    content
}

fn paragraph(line: &[Inline]) -> Value {
    json!({ "type": "paragraph", "content": inlines(line) })
}

fn code(language: &str, text: &str) -> Value {
    let mut node = json!({ "type": "codeBlock" });
    if !language.is_empty() {
        node["attrs"] = json!({ "language": language });
    }
    if !text.is_empty() {
        node["content"] = json!([{ "type": "text", "text": text }]);
    }
    node
}

/// Writes a table; a header that says nothing is left out.
fn table(rows: &[Vec<Vec<Inline>>]) -> Option<Value> {
    let row = |kind: &str, cells: &Vec<Vec<Inline>>| {
        let cells = cells.iter().map(|cell| json!({ "type": kind, "content": [paragraph(cell)] }));
        json!({ "type": "tableRow", "content": cells.collect::<Vec<_>>() })
    };
    let (header, body) = rows.split_first()?;
    let header = (!is_empty(header)).then(|| row("tableHeader", header));
    let rows: Vec<_> = header.into_iter().chain(body.iter().map(|cells| row("tableCell", cells))).collect();
    (!rows.is_empty()).then(|| json!({ "type": "table", "content": rows }))
}

fn is_empty(cells: &[Vec<Inline>]) -> bool {
    cells.iter().all(Vec::is_empty)
}

fn joined(cells: &[Vec<Inline>]) -> Vec<Inline> {
    let mut line = Vec::new();
    for cell in cells {
        if !line.is_empty() {
            line.push(Inline::Text(" | ".to_owned(), Style::default()));
        }
        line.extend(cell.iter().map(|inline| match inline {
            Inline::Text(text, style) => Inline::Text(text.clone(), style.clone()),
            Inline::Break => Inline::Break,
        }));
    }
    line
}

fn strong(line: Vec<Inline>) -> Vec<Inline> {
    let strengthen = |inline| match inline {
        Inline::Text(text, style) => Inline::Text(text, Style { strong: true, ..style }),
        Inline::Break => Inline::Break,
    };
    line.into_iter().map(strengthen).collect()
}

fn inlines(line: &[Inline]) -> Vec<Value> {
    let node = |inline: &Inline| match inline {
        Inline::Break => json!({ "type": "hardBreak" }),
        Inline::Text(text, style) => {
            let marks = marks(style);
            if marks.is_empty() {
                json!({ "type": "text", "text": text })
            } else {
                json!({ "type": "text", "text": text, "marks": marks })
            }
        }
    };
    line.iter().map(node).collect()
}

fn marks(style: &Style) -> Vec<Value> {
    let mark = |is_there: bool, kind: &str| is_there.then(|| json!({ "type": kind }));
    let link = style.link.as_ref().map(|href| json!({ "type": "link", "attrs": { "href": href } }));
    // Code goes with links alone.
    let is_text = !style.code;
    let marks = [
        link,
        mark(style.strong && is_text, "strong"),
        mark(style.emphasis && is_text, "em"),
        mark(style.strike && is_text, "strike"),
        mark(style.code, "code"),
    ];
    marks.into_iter().flatten().collect()
}
