//! The domain of acf: issues, claims, runs, and the decisions about them.
//!
//! Everything here is either a plain value, a pure decision over such values, or a *port*: a trait in
//! the domain's words that an adapter elsewhere implements. Deliberately absent: HTTP, cloud SDKs,
//! Docker, the terminal, the environment, and any clock but [`clock::Clock`].

pub mod agent;
pub mod claim;
pub mod clock;
pub mod comment;
pub mod eligibility;
pub mod fleet;
pub mod git_host;
pub mod hand_back;
pub mod issue;
pub mod issue_run;
pub mod ledger;
pub mod mask;
pub mod money;
pub mod policy;
pub mod prices;
pub mod progress;
pub mod prompt;
pub mod receipt;
pub mod receipt_text;
pub mod run;
pub mod runtime;
pub mod tracker;
