//! `probe.models/1`: model firewalls with known behavior, what was found out about each, and the score.

mod list;

use std::io::{self, Write};

use serde::Serialize;

pub use self::list::{ModelList, ModelRow, TrueFact};
use super::{
    Document,
    style::{Style, Tone},
    table,
};
use crate::{
    middlebox::datasheet::{Datasheet, Fact, FactValue, measure::Measure},
    model::verdict::Confidence,
};

/// The result of characterizing the models.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct ModelsReport {
    /// One for each model and IP version, in the catalogue's order.
    pub runs: Vec<ModelRun>,
    /// How many facts came out right, over all runs.
    pub right: usize,
    /// How many facts were tested.
    pub asked: usize,
    /// How many wrong answers were called certain.
    pub certain_and_wrong: usize,
    /// The largest difference between a time that was found and the true one, in seconds; absent if no time was asked.
    pub worst_time_error_s: Option<f64>,
    /// How many runs were not started or not completed before the interruption.
    pub unreached: usize,
    /// How long all of it took, in seconds.
    pub seconds: f64,
}

/// One model over one IP version.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct ModelRun {
    /// Its name.
    pub model: &'static str,
    /// What it is.
    pub title: &'static str,
    /// IP version, 4 or 6.
    pub family: u8,
    /// How many facts came out right.
    pub right: usize,
    /// How many facts were tested.
    pub asked: usize,
    /// The facts that came out wrong.
    pub wrong: Vec<WrongFact>,
    /// The largest difference between a time that was found and the true one, in seconds.
    pub time_error_s: Option<f64>,
    /// Why there is no datasheet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The datasheet; if nothing is wrong, only if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasheet: Option<Datasheet>,
    /// How long the characterization took, in seconds.
    pub seconds: f64,
}

/// A fact that came out wrong.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct WrongFact {
    /// Which one.
    pub fact: Fact,
    /// What is true.
    pub expected: String,
    /// What was found.
    pub got: String,
    /// What is true, as data; none where several answers say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_value: Option<FactValue>,
    /// The numbers of what is true, each with its unit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expected_measures: Vec<Measure>,
    /// What was found, as data.
    pub got_value: FactValue,
    /// The numbers of what was found, each with its unit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub got_measures: Vec<Measure>,
    /// How sure the answer was called.
    pub confidence: Confidence,
    /// The note in the datasheet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl ModelRun {
    fn is_right(&self) -> bool {
        self.failure.is_none() && self.wrong.is_empty()
    }

    fn cells(&self, style: &Style) -> Vec<String> {
        let mark = if self.is_right() { style.either("✓", "+") } else { style.either("✗", "x") };
        let wrong: Vec<&str> = self.wrong.iter().map(|wrong| wrong.fact.name()).collect();
        let wrong = if self.failure.is_some() { "no datasheet".to_owned() } else { wrong.join(", ") };
        let error = self.time_error_s.map_or_else(String::new, |error| format!("{error:.2} s"));
        vec![
            format!("{mark} {}", self.model),
            self.family.to_string(),
            format!("{}/{}", self.right, self.asked),
            error,
            format!("{:.0} s", self.seconds),
            wrong,
        ]
    }

    fn write_trouble(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        writeln!(out, "\n{}", style.paint(Tone::Strong, &format!("{} over IPv{}", self.model, self.family)))?;
        if let Some(why) = &self.failure {
            writeln!(out, "  {}", style.paint(Tone::Bad, why))?;
        }
        for wrong in &self.wrong {
            writeln!(out, "  {}", style.paint(Tone::Bad, wrong.fact.name()))?;
            writeln!(out, "    expected  {}", wrong.expected)?;
            writeln!(out, "    got       {} ({})", wrong.got, sure(wrong.confidence))?;
            if let Some(note) = &wrong.note {
                writeln!(out, "    note      {note}")?;
            }
        }
        Ok(())
    }
}

fn sure(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Certain => "certain",
        Confidence::Likely => "likely",
        Confidence::Unknown => "unknown",
    }
}

impl ModelsReport {
    /// Scores these runs.
    pub fn new(runs: Vec<ModelRun>, unreached: usize, seconds: f64) -> Self {
        let certain = |run: &ModelRun| run.wrong.iter().filter(|w| w.confidence == Confidence::Certain).count();
        Self {
            right: runs.iter().map(|run| run.right).sum(),
            asked: runs.iter().map(|run| run.asked).sum(),
            certain_and_wrong: runs.iter().map(certain).sum(),
            worst_time_error_s: runs.iter().filter_map(|run| run.time_error_s).reduce(f64::max),
            runs,
            unreached,
            seconds,
        }
    }

    /// Returns whether every model was characterized, and right in every fact.
    pub fn is_clean(&self) -> bool {
        self.runs.iter().all(ModelRun::is_right)
    }

    fn score(&self) -> String {
        let whole = self.runs.iter().filter(|run| run.is_right()).count();
        let times = self.worst_time_error_s.map_or_else(String::new, |error| format!(" times within {error:.2} s;"));
        let certain = match self.certain_and_wrong {
            0 => "no wrong answer was called certain".to_owned(),
            1 => "1 wrong answer was called certain".to_owned(),
            count => format!("{count} wrong answers were called certain"),
        };
        format!(
            "{} of {} facts right; {whole} of {} runs right in all facts;{times} {certain}; {:.0} s.",
            self.right,
            self.asked,
            self.runs.len(),
            self.seconds
        )
    }
}

impl Document for ModelsReport {
    const SCHEMA: &'static str = "probe.models/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        for sheet in self.runs.iter().filter(|run| run.is_right()).filter_map(|run| run.datasheet.as_ref()) {
            sheet.write_text(out, style)?;
            writeln!(out)?;
        }
        let columns = [
            table::words("  model"),
            table::words("IP"),
            table::numbers("right"),
            table::numbers("times off by"),
            table::numbers("took"),
            table::words("wrong"),
        ];
        let rows: Vec<Vec<String>> = self.runs.iter().map(|run| run.cells(style)).collect();
        table::write(out, style, &columns, &rows)?;
        for run in self.runs.iter().filter(|run| !run.is_right()) {
            run.write_trouble(out, style)?;
        }
        let tone = if self.is_clean() { Tone::Good } else { Tone::Bad };
        writeln!(out, "\n{}", style.paint(tone, &self.score()))?;
        if self.unreached > 0 {
            let line = format!("Interrupted: {} runs were not started or not completed.", self.unreached);
            writeln!(out, "{}", style.paint(Tone::Warn, &line))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
