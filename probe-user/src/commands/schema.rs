//! `probe schema`: prints the JSON Schema of a document. A schema is JSON in either format: on one line with
//! `--format json`, indented without.

use super::{CommandResult, Screen};
use crate::{
    cli::schema::Schema,
    error::Failure,
    exit::Exit,
    report::{
        Format,
        schema::{Schemas, named},
    },
};

/// Runs `probe schema`.
pub fn run(args: &Schema, screen: &Screen) -> CommandResult {
    let Some(name) = &args.name else {
        screen.print(&Schemas::all())?;
        return Ok(Exit::Done);
    };
    let known = named(name).ok_or_else(|| {
        Failure::new(format!("there is no document named {name}"), "probe schema --list shows their names")
    })?;
    let schema = (known.schema)();
    let text = match screen.output.format {
        Format::Json => schema.to_string(),
        Format::Text => format!("{schema:#}"),
    };
    screen.print_bytes(format!("{text}\n").as_bytes())?;
    Ok(Exit::Done)
}
