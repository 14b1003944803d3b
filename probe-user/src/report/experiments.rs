//! `probe.experiment_list/1`: the built-in experiments.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::{Document, style::Style, table};
use crate::middlebox::experiment::{builtin, plan};

/// The list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExperimentList {
    /// The experiments.
    pub experiments: Vec<ExperimentRow>,
}

/// One experiment.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExperimentRow {
    /// Its name.
    pub name: &'static str,
    /// What it tests.
    pub title: String,
    /// The question that it answers.
    pub question: Option<String>,
    /// About how long it takes.
    pub seconds: f64,
}

impl ExperimentList {
    /// Lists all of them.
    pub fn all() -> Self {
        let row = |(name, _): &(&'static str, &str)| {
            let script = builtin::named(name)?;
            let seconds = (plan::length(&script) + plan::LINGER).as_secs_f64();
            Some(ExperimentRow { name, title: script.title, question: script.question, seconds })
        };
        Self { experiments: builtin::TEXTS.iter().filter_map(row).collect() }
    }
}

impl Document for ExperimentList {
    const SCHEMA: &'static str = "probe.experiment_list/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let columns = [table::words("name"), table::numbers("seconds"), table::words("what it tests")];
        let rows: Vec<Vec<String>> = self
            .experiments
            .iter()
            .map(|row| vec![row.name.to_owned(), format!("{:.0}", row.seconds), row.title.clone()])
            .collect();
        table::write(out, style, &columns, &rows)
    }
}
