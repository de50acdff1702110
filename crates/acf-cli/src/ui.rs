//! What people and scripts see: data on stdout, talk on stderr, tables, lengths of time.

mod out;
mod progress;
mod table;
mod text;

pub use out::{Out, say, set_color};
pub use progress::Progress;
pub use table::Table;
pub use text::{count, elapsed, harmless, one_line};
