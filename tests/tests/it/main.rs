//! The one integration-test binary: a module a subject.

mod agents;
mod bad_input;
mod chaos;
mod checkout;
mod claims;
mod explorer;
mod git_http;
mod github;
mod planning;
mod runtime_contract;
mod sandbox;
mod service;
mod todo_in_repository;
mod tracker_contract;
mod verbs;
mod workspace;
