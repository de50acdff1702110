//! The schema of Jira's documents, as a judge of comments.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Where `./setup.sh test` says that the schema lies.
const VARIABLE: &str = "ACF_ADF_SCHEMA";

/// The JSON Schema of the Atlassian Document Format.
#[derive(Debug)]
pub struct DocumentSchema(jsonschema::Validator);

impl DocumentSchema {
    /// Returns the schema, if it is there; if not, says so.
    ///
    /// # Panics
    /// Where the variable names what is no schema.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "what a test is held against comes from outside of it")]
    pub fn find() -> Option<Self> {
        let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) else {
            eprintln!(
                "SKIPPED: {VARIABLE} is not set: no comment is held against the schema of Jira's documents"
            );
            return None;
        };
        let path = Path::new(&path);
        let text = fs::read(path).unwrap_or_else(|error| panic!("{VARIABLE}: {}: {error}", path.display()));
        let schema: Value = serde_json::from_slice(&text).expect("the schema is JSON");
        Some(Self(jsonschema::draft4::options().build(&schema).expect("it is a schema")))
    }

    /// Returns what is wrong with a document, each with its place.
    #[must_use]
    pub fn violations(&self, document: &Value) -> Vec<String> {
        self.0.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }
}
