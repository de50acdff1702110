//! Jira Cloud as a tracker.

pub mod adf;
