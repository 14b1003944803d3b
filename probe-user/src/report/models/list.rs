//! `probe.model_list/1`: what the models are, and what is true of each.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    middlebox::datasheet::{Fact, FactValue, measure::Measure},
    report::{
        Document,
        style::{Style, Tone},
        table,
    },
};

/// The catalogue of models.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct ModelList {
    /// One for each.
    pub models: Vec<ModelRow>,
}

/// One model.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct ModelRow {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// How it is built: `linux` or `guard`.
    pub made_of: &'static str,
    /// What is true of it over IPv4.
    pub truths: Vec<TrueFact>,
}

/// What is true of one fact.
#[derive(Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct TrueFact {
    /// Which one.
    pub fact: Fact,
    /// The true answer, in words.
    pub is: String,
    /// The truth as data; none where several answers say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<FactValue>,
    /// The numbers of the truth, each with its unit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Measure>,
}

impl Document for ModelList {
    const SCHEMA: &'static str = "probe.model_list/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let cells = |row: &ModelRow| vec![row.name.to_owned(), row.made_of.to_owned(), row.title.to_owned()];
        let rows: Vec<Vec<String>> = self.models.iter().map(cells).collect();
        table::write(out, style, &["name", "of", "what it is"].map(table::words), &rows)?;
        let Some(first) = self.models.first() else { return Ok(()) };
        writeln!(out, "\n{}", style.paint(Tone::Strong, &format!("What is true of {}", first.name)))?;
        write_truths(out, &first.truths)?;
        for model in self.models.iter().skip(1) {
            let others: Vec<&TrueFact> = model.truths.iter().filter(|truth| !first.truths.contains(truth)).collect();
            writeln!(out, "\n{}", style.paint(Tone::Strong, &format!("… of {}, where it differs", model.name)))?;
            write_truths(out, others)?;
        }
        Ok(())
    }
}

fn write_truths<'a>(out: &mut dyn Write, truths: impl IntoIterator<Item = &'a TrueFact>) -> io::Result<()> {
    truths.into_iter().try_for_each(|truth| writeln!(out, "  {:<21}{}", truth.fact.name(), truth.is))
}
