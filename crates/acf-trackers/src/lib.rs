//! The trackers that acf takes issues from: one module each, all behind [`acf_core::tracker::Tracker`].

pub mod github;
pub mod http;
pub mod jira;
pub mod todo;
