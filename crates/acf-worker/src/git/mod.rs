//! Everything that acf does with git, by running the `git` command: claims on the remote's refs, a
//! bare mirror for objects, checkouts for agents, and pushes that prove that the claim still holds.
//!
//! Invariants: no command runs with a configuration that an agent could have written, so git is never
//! run *in* an agent's checkout; credentials go through a credential helper and are known only to
//! commands that talk to the remote; no decision rests on the exit code of a push alone.

pub mod checkout;
pub mod claims;
pub mod command;
pub mod mirror;
pub mod pages;
pub mod probe;
pub mod push;
pub mod remote;
pub mod todo_file;

pub use checkout::{Checkout, CheckoutError};
pub use claims::GitClaims;
pub use command::{Git, GitError};
pub use mirror::Mirror;
pub use remote::Remote;
