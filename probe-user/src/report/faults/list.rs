//! `probe.fault_list/1`: what is in the catalogue.

use std::io::{self, Write};

use serde::Serialize;

use super::ExpectedVerdict;
use crate::report::{
    Document,
    style::{Style, Tone},
    table,
};

/// The catalogue.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct FaultList {
    /// Its cases, both IP versions of one in one row.
    pub cases: Vec<FaultRow>,
    /// Faults that no diagnosis can be tried on, and why.
    pub beside: Vec<Beside>,
}

/// A fault that the library's tests cover, and the command cannot make.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Beside {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: &'static str,
}

/// One case.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct FaultRow {
    /// Its name.
    pub name: String,
    /// For which IP versions it exists.
    pub families: Vec<u8>,
    /// Where on the leg it lies: `nothing`, `sender`, `network`, `receiver`, or `between` for a place that is neither end.
    pub place: &'static str,
    /// What is wrong, in a few words.
    pub title: String,
    /// What a diagnosis must say.
    pub expected: ExpectedVerdict,
}

impl Document for FaultList {
    const SCHEMA: &'static str = "probe.fault_list/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let rows: Vec<Vec<String>> = self.cases.iter().map(FaultRow::cells).collect();
        table::write(out, style, &["name", "IP", "where", "layer", "what is wrong"].map(table::words), &rows)?;
        let cases: usize = self.cases.iter().map(|row| row.families.len()).sum();
        writeln!(out, "\n{cases} cases")?;
        for fault in &self.beside {
            writeln!(out, "{}", style.paint(Tone::Dim, &format!("not among them: {}: {}", fault.name, fault.why)))?;
        }
        Ok(())
    }
}

impl FaultRow {
    fn cells(&self) -> Vec<String> {
        let families: Vec<_> = self.families.iter().map(ToString::to_string).collect();
        let layer = if self.expected.layer.is_empty() {
            self.expected.outcome.join("|")
        } else {
            self.expected.layer.join("|")
        };
        vec![self.name.clone(), families.join(" "), self.place.to_owned(), layer, self.title.clone()]
    }
}
