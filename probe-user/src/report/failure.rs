//! `probe.error/1`: a failure as JSON.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::{Document, Style};

/// The JSON form of a failure.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FailureDocument<'a> {
    /// What is wrong.
    pub error: &'a str,
    /// How to fix it; empty if nothing can.
    pub fix: &'a str,
}

impl Document for FailureDocument<'_> {
    const SCHEMA: &'static str = "probe.error/1";

    fn write_text(&self, out: &mut dyn Write, _: &Style) -> io::Result<()> {
        writeln!(out, "{}", self.error)
    }
}
