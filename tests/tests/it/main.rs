//! The one integration-test binary: a module a subject.

mod agent_user;
mod agents;
mod bad_input;
mod chaos;
mod checkout;
mod claims;
mod coding_agents;
mod demo;
mod explorer;
mod factories;
mod git_http;
mod github;
mod idle;
mod jira;
mod moved_keys;
mod outcomes;
mod planning;
mod runtime_contract;
mod sandbox;
mod secrets;
mod service;
mod todo_in_repository;
mod tracker_contract;
mod verbs;
mod withdrawal;
mod workspace;
