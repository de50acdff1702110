//! Whatever is said is a document that Jira's editor could have made.

use acf_tests::jira::DocumentSchema;
use acf_trackers::jira::adf::{from_markdown, to_markdown};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

/// Pieces of Markdown that mean something together, and some that only look so.
fn markdown() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "word",
        " ",
        "\n",
        "\n\n",
        "  ",
        "    ",
        "\t",
        "- ",
        "* ",
        "1. ",
        "7) ",
        "- [ ] ",
        "- [x] ",
        "> ",
        "# ",
        "###### ",
        "```",
        "```sh\n",
        "~~~\n",
        "`",
        "``",
        "**",
        "*",
        "_",
        "~~",
        "| a | b |\n|---|---|\n",
        "| 1 | 2 |\n",
        "|",
        "---\n",
        "===\n",
        "[x](https://acme.test)",
        "[x](y z)",
        "![i](u)",
        "<https://acme.test>",
        "<br>",
        "<b>",
        "<!-- c -->",
        "<div>\n",
        "&amp;",
        "\\",
        "\\\n",
        "[^1]",
        "[a]: b\n",
        "\u{0}",
        "\u{7}",
        "é🦀",
        "\u{2028}",
        "\r\n",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Makes the same cases each time, so that a failure is the fault of what was changed.
fn runner() -> TestRunner {
    let config = Config { cases: 1_000, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn every_markdown_becomes_a_valid_document() {
    let Some(schema) = DocumentSchema::find() else { return };
    let quote_in_quote =
        json!({ "type": "blockquote", "content": [{ "type": "blockquote", "content": [] }] });
    let wrong = json!({ "type": "doc", "version": 1, "content": [quote_in_quote] });
    assert_ne!(schema.violations(&wrong), [""; 0], "the schema judges");
    let mut runner = runner();
    let checked = runner.run(&prop_oneof![9 => markdown(), 1 => any::<String>()], |markdown| {
        let document = from_markdown(&markdown);
        let violations = schema.violations(&document);
        prop_assert!(violations.is_empty(), "{document:#}\n{violations:?}");
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn what_was_read_once_is_read_the_same_again() {
    let mut runner = runner();
    let words = || "[a-z]{1,6}( [a-z]{1,6}){0,3}";
    let line = || {
        prop_oneof![
            words().prop_map(String::from),
            words().prop_map(|words| format!("**{words}**")),
            words().prop_map(|words| format!("go `{words}` on")),
            words().prop_map(|words| format!("[{words}](https://acme.test/x)")),
        ]
    };
    let lines = |line: BoxedStrategy<String>, marker: &'static str| {
        prop::collection::vec(line, 1..4).prop_map(move |lines| {
            lines.iter().map(|line| format!("{marker}{line}")).collect::<Vec<_>>().join("\n")
        })
    };
    let block = prop_oneof![
        line(),
        line().prop_map(|line| format!("## {line}")),
        lines(line().boxed(), "- "),
        lines(line().boxed(), "- [x] "),
        line().prop_map(|line| format!("> {line}")),
        words().prop_map(|words| format!("```sh\n{words}\n```")),
        (line(), line()).prop_map(|(a, b)| format!("| {a} | {b} |\n|---|---|\n| {b} | {a} |")),
    ];
    // Two lists after one another would be one.
    let text = prop::collection::vec(block, 1..5).prop_map(|blocks| blocks.join("\n\n---\n\n"));
    runner
        .run(&text, |text| {
            prop_assert_eq!(to_markdown(&from_markdown(&text)), text);
            Ok(())
        })
        .unwrap();
}
