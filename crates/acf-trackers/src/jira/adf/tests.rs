#![expect(clippy::needless_pass_by_value, reason = "documents read best where they are written in place")]

use serde_json::{Value, json};

use super::{from_markdown, to_markdown};

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn marked<const N: usize>(text: &str, marks: [&str; N]) -> Value {
    let marks: Vec<_> = marks.iter().map(|kind| json!({ "type": kind })).collect();
    json!({ "type": "text", "text": text, "marks": marks })
}

fn node(kind: &str, content: Value) -> Value {
    json!({ "type": kind, "content": content })
}

fn with(kind: &str, attributes: Value, content: Value) -> Value {
    json!({ "type": kind, "attrs": attributes, "content": content })
}

fn paragraph(words: &str) -> Value {
    node("paragraph", json!([text(words)]))
}

fn written(content: Value) -> String {
    to_markdown(&json!({ "type": "doc", "version": 1, "content": content }))
}

#[test]
fn an_issue_with_everything_in_it_reads_well() {
    let item = |words: &str, more: Value| {
        let mut content = vec![paragraph(words)];
        content.extend(more.as_array().cloned().unwrap_or_default());
        node("listItem", content.into())
    };
    let task = |state: &str, words: &str| {
        with("taskItem", json!({ "localId": "x", "state": state }), json!([text(words)]))
    };
    let cell = |kind: &str, words: &str| node(kind, json!([paragraph(words)]));
    let content = json!([
        with("heading", json!({ "level": 2 }), json!([text("Export")])),
        node(
            "paragraph",
            json!([
                text("Ask "),
                with("mention", json!({ "id": "5b10", "text": "@Ada" }), json!([])),
                text(" by "),
                json!({ "type": "date", "attrs": { "timestamp": "1732406400000" } }),
                text(" "),
                json!({ "type": "emoji", "attrs": { "shortName": ":tada:", "text": "🎉" } }),
                json!({ "type": "hardBreak" }),
                json!({ "type": "status", "attrs": { "text": "BLOCKED", "color": "red" } }),
                text(" see "),
                json!({ "type": "inlineCard", "attrs": { "url": "https://acme.test/1" } }),
            ])
        ),
        node(
            "bulletList",
            json!([
                item(
                    "one",
                    json!([node("orderedList", json!([item("deep", json!([])), item("deeper", json!([]))]))])
                ),
                item(
                    "two",
                    json!([
                        paragraph("more of it"),
                        with("codeBlock", json!({ "language": "sh" }), json!([text("a\n\nb")]))
                    ])
                ),
            ])
        ),
        with(
            "taskList",
            json!({ "localId": "x" }),
            json!([
                task("TODO", "write"),
                with("taskList", json!({ "localId": "y" }), json!([task("DONE", "think")])),
            ])
        ),
        with(
            "decisionList",
            json!({ "localId": "x" }),
            json!([with(
                "decisionItem",
                json!({ "localId": "x", "state": "DECIDED" }),
                json!([text("CSV")])
            ),])
        ),
        node(
            "table",
            json!([
                node("tableRow", json!([cell("tableHeader", "a"), cell("tableHeader", "b")])),
                node(
                    "tableRow",
                    json!([
                        cell("tableCell", "1|2"),
                        node("tableCell", json!([paragraph("x"), paragraph("y")]))
                    ])
                ),
            ])
        ),
        with("panel", json!({ "panelType": "warning" }), json!([paragraph("Hot.")])),
        node("blockquote", json!([paragraph("said"), paragraph("again")])),
        json!({ "type": "rule" }),
        with(
            "mediaSingle",
            json!({ "layout": "center" }),
            json!([
                { "type": "media", "attrs": { "type": "file", "id": "7f", "collection": "", "alt": "screen.png" } },
            ])
        ),
        json!({ "type": "blockCard", "attrs": { "url": "https://acme.test/2" } }),
        with(
            "expand",
            json!({ "title": "Log" }),
            json!([with("codeBlock", json!({}), json!([text("```")]))])
        ),
    ]);
    insta::assert_snapshot!(written(content));
}

#[test]
fn what_is_not_known_keeps_its_words() {
    let content = json!([
        with(
            "hologram",
            json!({ "title": "T" }),
            json!([paragraph("inside"), { "type": "sparkle", "content": [text("bright")] }])
        ),
        node(
            "paragraph",
            json!([text("a "), { "type": "gizmo", "attrs": { "text": "b" } }, { "type": "gadget" }])
        ),
        with("extension", json!({ "extensionKey": "chart", "extensionType": "x" }), json!([])),
        text("bare"),
    ]);
    insta::assert_snapshot!(written(content), @r"
    **T**

    inside

    bright

    a b[gadget]

    [chart]

    bare
    ");
}

#[test]
fn what_is_no_document_is_no_trouble() {
    for (value, wanted) in [
        (json!(null), ""),
        (json!("plain"), "plain"),
        (json!(7), ""),
        (json!({ "type": "doc" }), ""),
        (json!({ "content": "x" }), ""),
        (json!({ "type": "doc", "content": [null, 7, {}] }), ""),
        (json!({ "type": "doc", "content": [{ "type": "table", "content": [{}] }] }), ""),
    ] {
        assert_eq!(to_markdown(&value), wanted, "{value}");
    }
}

#[test]
fn marks_open_and_close_where_they_change() {
    let line = |nodes: Value| written(json!([node("paragraph", nodes)]));
    assert_eq!(line(json!([marked("a", ["strong"]), marked("b", ["em", "strong"])])), "**a*b***");
    assert_eq!(line(json!([text("x"), marked(" a ", ["strong"]), text("y")])), "x **a** y");
    assert_eq!(line(json!([marked(" ", ["strike"]), marked("a", ["strike"])])), " ~~a~~");
    assert_eq!(line(json!([marked("a`b", ["code"])])), "``a`b``");
    assert_eq!(line(json!([marked("plain", ["underline"])])), "plain");
}

/// A comment as it looks after it was said and read.
#[track_caller]
fn check(markdown: &str, wanted: &str) {
    assert_eq!(to_markdown(&from_markdown(markdown)), wanted);
}

#[test]
fn what_is_said_is_read_as_it_was_written() {
    for markdown in [
        "",
        "# A\n\n## B\n\nwords",
        "First line.\n\n- [ ] a check box\n- a point",
        "- one\n  - deep\n    1. deeper\n- two",
        "3. three\n4. four",
        "- [ ] open\n- [x] done\n  - [ ] below",
        "**strong** *em* ~~gone~~ `code` [text](https://acme.test/a?b=c) **a *b***",
        "```rust\nfn main() {}\n```",
        "````\n```\n````",
        "> said\n>\n> again",
        "---",
        "| a | b |\n|---|---|\n| 1 |   |",
        "| | |\n|---|---|\n| agent | claude |",
        "one  \ntwo",
        "- a\n\n  b\n\n  ```\n  c\n  ```",
    ] {
        let wanted = markdown.replace("|   |", "| |");
        check(markdown, &wanted);
    }
}

#[test]
fn what_has_no_place_becomes_what_has_one() {
    check("- # Big", "- **Big**");
    check("> # Big\n> > deep\n> ---\n> - [x] t", "> **Big**\n>\n> deep\n>\n> - [x] t");
    check("- > said\n- | a | b |\n  |---|---|\n  | 1 | 2 |", "- said\n- a | b\n\n  1 | 2");
    check("- [x] a\n  ```\n  b\n  ```", "- [x] a\n\n  ```\n  b\n  ```");
    check("**`x`**", "`x`");
}

#[test]
fn only_links_that_can_be_followed_are_links() {
    check("[plan](plans/ACF-1.md)", "plan (plans/ACF-1.md)");
    check("[x](javascript:alert)", "x (javascript:alert)");
    check("![alt](https://acme.test/p.png)", "[alt](https://acme.test/p.png)");
    check("<https://acme.test>", "[https://acme.test](https://acme.test)");
}

#[test]
fn html_is_text_and_its_comments_are_nothing() {
    check("a <b>bold</b> <!-- x -->", "a <b>bold</b>");
    check("<!-- x -->\n\n<div>y</div>", "<div>y</div>");
    check("a<br>b", "a  \nb");
    check("a\u{0}\u{7}b", "ab");
}

#[test]
fn depth_is_limited() {
    for deep in ["- ".repeat(5_000), "> ".repeat(5_000), "1. > ".repeat(3_000)] {
        let document = from_markdown(&format!("{deep}words"));
        let text = serde_json::to_string(&document).unwrap();
        // serde_json itself refuses what is nested deeper than 128.
        let read: Value = serde_json::from_str(&text).unwrap();
        assert!(to_markdown(&read).contains("words"));
    }
}

#[test]
fn commands_in_a_table_are_shown_as_they_are() {
    let table = "| | |\n|---|---|\n| gate | `make \\| tee log`, `grep 'a\\\\|b'`, `` echo `date` `` end |\n| run | x |\n";
    let document = from_markdown(table);
    let rows = document["content"][0]["content"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{document}");
    let cell = &rows[0]["content"][1]["content"][0]["content"];
    let texts: Vec<_> = cell.as_array().unwrap().iter().filter_map(|text| text["text"].as_str()).collect();
    assert_eq!(texts, ["make | tee log", ", ", "grep 'a\\|b'", ", ", "echo `date`", " end"]);
}
