//! What the end-to-end tests are built from: builders, stateful services, contract suites.

pub mod canary;
pub mod chaos;
pub mod claims;
pub mod contract;
pub mod explore;
pub mod factory;
pub mod git_http;
pub mod github;
pub mod jira;
pub mod model_server;
pub mod sandbox;
pub mod service;
