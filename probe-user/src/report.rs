//! What probe prints on stdout: one document type a file, one output format a function here.

pub mod datasheet;
pub mod diagnosis;
pub mod doctor;
pub mod echo;
pub mod experiment;
pub mod experiments;
pub mod explained;
pub mod failure;
pub mod faults;
pub mod filters;
pub mod guard;
pub mod lab;
pub mod models;
pub mod observation;
pub mod schema;
pub mod sent;
pub mod style;
mod table;

use std::io::{self, Write};

use serde::Serialize;

pub use style::Style;

/// How a document is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON document, or one a line for streams.
    Json,
}

/// Something that probe reports: its fields are its JSON schema, and it can be read by people too.
pub trait Document: Serialize {
    /// The schema's name and version, e.g. `probe.sent/1`; the value of the JSON field `schema`.
    const SCHEMA: &'static str;

    /// Writes the document for people.
    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()>;
}

/// The JSON form of a document: its schema first, then its fields.
#[derive(Serialize)]
struct Tagged<'a, D> {
    schema: &'static str,
    #[serde(flatten)]
    document: &'a D,
}

/// Writes `document` in `format`; JSON takes exactly one line.
pub fn write<D: Document>(out: &mut dyn Write, document: &D, format: Format, style: &Style) -> io::Result<()> {
    match format {
        Format::Text => document.write_text(out, style),
        Format::Json => {
            serde_json::to_writer(&mut *out, &Tagged { schema: D::SCHEMA, document })?;
            writeln!(out)
        }
    }
}
