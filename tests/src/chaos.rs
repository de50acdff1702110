//! Chaos: fleets of real workers on real git, killed at every moment, and the audit of what they leave.
//!
//! It owns the ground that a fleet works on, the processes, the storm of SIGKILLs over them, and the
//! judgement at the end. How many workers meet how many issues, a test says.

mod audit;
mod backlog;
mod dice;
mod family;
mod fleet;
mod ground;
mod storm;

pub use audit::audit;
pub use backlog::{Backlog, Item, Kind};
pub use dice::Dice;
pub use family::{Family, holds_within};
pub use fleet::{Fleet, Heard};
pub use ground::Ground;
pub use storm::Storm;
