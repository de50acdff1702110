//! Tests of the worker with real processes: a module a subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is to fail")]

mod agent;
mod agent_home;
mod family;
mod gate;
mod process;
mod warnings;
