//! What probe prints on stdout: one document type per file, one output format per function here.

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

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, Write},
};

use serde::Serialize;

use crate::harmless;

pub use style::Style;

/// How a document is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON document, or one per line for streams.
    Json,
}

/// Something that probe reports: its fields are its JSON schema, and it can be read by people too.
pub trait Document: Serialize {
    /// The schema's name and version, e.g. `probe.sent/1`; the value of the JSON field `schema`.
    const SCHEMA: &'static str;

    /// Writes the document as text.
    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()>;
}

/// The JSON form of a document: its schema first, then its fields.
#[derive(Serialize)]
struct Tagged<'a, D> {
    schema: &'static str,
    #[serde(flatten)]
    document: &'a D,
}

/// Writes `document` in `format`; JSON takes exactly one line. Whatever the document's strings hold, only the colours
/// of `style` can affect a terminal: see [`harmless`].
pub fn write<D: Document>(out: &mut dyn Write, document: &D, format: Format, style: &Style) -> io::Result<()> {
    match format {
        Format::Text => {
            // A random placeholder stands for ESC in the report's own colours, so that no foreign string can pass for
            // them.
            let escape = unknown_sign();
            let mut text = Vec::new();
            document.write_text(&mut text, &Style { escape, ..*style })?;
            let text = String::from_utf8_lossy(&text);
            out.write_all(harmless::text(&text).replace(escape, "\x1b").as_bytes())
        }
        Format::Json => {
            let json = serde_json::to_string(&Tagged { schema: D::SCHEMA, document })?;
            writeln!(out, "{}", harmless::json(&json))
        }
    }
}

/// Returns a private-use character that nobody outside can predict.
fn unknown_sign() -> char {
    const FIRST: u32 = 0xf_0000;
    const COUNT: u64 = 0xfffe;
    let offset = RandomState::new().hash_one(()) % COUNT;
    u32::try_from(offset).ok().and_then(|offset| char::from_u32(FIRST + offset)).unwrap_or('\u{f0000}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Named(String);

    #[derive(Serialize)]
    struct Host {
        name: Named,
    }

    impl Document for Host {
        const SCHEMA: &'static str = "probe.error/1";

        fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
            writeln!(out, "{} {}", style.paint(style::Tone::Bad, "stopped at"), self.name.0)
        }
    }

    fn printed(name: &str, format: Format) -> String {
        let mut out = Vec::new();
        let style = Style { colour: true, ..Style::plain() };
        write(&mut out, &Host { name: Named(name.into()) }, format, &style).expect("memory takes all");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn only_the_reports_own_colours_reach_a_terminal() {
        let text = printed("b\x1b[32m\x1b]0;x\x07\u{202e}\u{9b}2J", Format::Text);
        assert_eq!(text, "\x1b[31mstopped at\x1b[0m b [32m ]0;x   2J\n");
    }

    #[test]
    fn json_keeps_every_character_and_shows_none_raw() {
        let name = "b\x1b[32m\u{202e}\u{9b}\x7f";
        let json = printed(name, Format::Json);
        assert!(json.is_ascii() && json.trim_end().bytes().all(|byte| byte >= b' ' && byte != 0x7f), "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).expect("JSON")["name"], name);
    }
}
