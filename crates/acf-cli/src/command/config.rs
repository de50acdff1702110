//! `acf config`: every setting with its source.

use acf_worker::config;

use crate::args::ConfigArgs;
use crate::context::Context;
use crate::error::Exit;
use crate::ui::{Out, Table, one_line};

/// How wide a value may be in the table.
const VALUE_WIDTH: usize = 44;

/// Prints every setting with its source, secrets masked; or the reference of all of them. What is wrong with them is
/// said after that.
///
/// # Errors
/// When it cannot be printed, and [`config::Problems`] where a value cannot be used.
pub fn run(args: &ConfigArgs, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    if args.reference {
        out.line(config::reference())?;
        return Ok(Exit::Done);
    }
    let entries = config::report(context.layers());
    if args.output.json {
        out.json(&entries)?;
        config::check(context.layers())?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["setting", "value", "from"]);
    for entry in &entries {
        let value = one_line(entry.value.as_deref().unwrap_or("—"), VALUE_WIDTH);
        table.row([entry.name.to_owned(), value, entry.origin.clone()]);
    }
    out.line(table.render())?;
    config::check(context.layers())?;
    Ok(Exit::Done)
}
