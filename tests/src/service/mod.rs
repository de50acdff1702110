//! The chassis of the stateful services that stand in for vendors' own.
//!
//! It owns the server, the record of every request, the faults, and the judgement by the vendor's
//! description. What a service holds and answers is each stand-in's own: it gives an [`axum::Router`].

mod chassis;
mod description;
mod fault;
mod pauses;
mod recording;

pub use chassis::Chassis;
pub use description::{Description, schema_violations};
pub use fault::{Fault, Faults, Rule};
pub use pauses::Pauses;
pub use recording::{Recorded, Recording};
