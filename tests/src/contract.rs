//! The contract suites: what every adapter of a port must do, whichever it is.

pub mod runtime;
pub mod tracker;
