//! Jira as a tracker, against a stand-in that keeps state and is judged by Jira's own description.

mod comments;
mod contract;
mod documents;
mod moves;
mod secrets;
mod trouble;
