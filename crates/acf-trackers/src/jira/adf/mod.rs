//! The Atlassian Document Format, in which Jira keeps descriptions and comments, and Markdown.
//!
//! [`to_markdown`] is for prompts: whatever a document holds, its words come out. Text is not escaped,
//! as people write Markdown into Jira, where it is plain text, and mean it. [`from_markdown`] is for acf's
//! comments: whatever the Markdown, the document is valid by the schema of `@atlaskit/adf-schema`; what has
//! no place where it stands (a heading in a list) becomes the nearest thing that has one.
//!
//! The format: <https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/>.

mod from_markdown;
mod inline;
mod markdown_tree;
mod to_markdown;

pub use self::from_markdown::from_markdown;
pub use self::to_markdown::to_markdown;

#[cfg(test)]
mod tests;
