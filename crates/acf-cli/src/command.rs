//! The verbs' bodies, a module a verb: what each does with adapters that it is given, and what it prints.

pub mod add;
pub mod agent;
pub mod completions;
pub mod config;
pub mod demo;
pub mod import_claude_credentials;
pub mod issues;
pub mod logs;
pub mod pool;
pub mod runs;
pub mod status;
pub mod stop;
pub mod sweep;
pub mod task_manager;
mod which;
pub mod worker;
