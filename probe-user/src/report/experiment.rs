//! `probe.experiment/1`: what was sent, what each checkpoint counted, where packets stopped, what that teaches.

mod drawing;

use std::io::{self, Write};

use probe_ebpf::Family;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::{
    Document,
    style::{Style, Tone},
};
use crate::{
    ledger::{Row, Sight, Stop},
    path::{Checkpoint, Leg},
};

/// Every run of a lab.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Experiments {
    /// The runs, in their order.
    pub experiments: Vec<Experiment>,
    /// Whether all of them came out as designed.
    pub as_expected: bool,
    /// What could not be tried, and why, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One run of an experiment over one IP version.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Experiment {
    /// Its name.
    pub name: String,
    /// What it tries.
    pub title: String,
    /// The IP version.
    #[serde(serialize_with = "number_of")]
    #[schemars(with = "u8")]
    pub family: Family,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// What was counted, one line of checkpoints for each kind and id.
    #[serde(rename = "checkpoints", serialize_with = "flat")]
    #[schemars(with = "Vec<Counted<'static>>")]
    pub lines: Vec<Line>,
    /// Where packets stopped, most packets first.
    pub stops: Vec<IdStop>,
    /// What the run teaches, or where it differs from the design.
    pub finding: String,
    /// Whether every checkpoint counted what the design says.
    pub as_expected: bool,
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Step {
    /// By which host.
    pub host: String,
    /// What it did.
    pub action: Action,
    /// With packets of which leg.
    pub kind: Leg,
    /// The name of the id within the experiment.
    pub id_name: String,
    /// The id.
    pub id: u16,
    /// How many packets; nothing where that is for others to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// probe sends.
    Send,
    /// The host's kernel answers each request.
    Answer,
    /// probe takes the packets from the host's kernel, so that it does not answer.
    Absorb,
}

/// What the checkpoints of one leg counted of one id.
#[derive(Debug)]
pub struct Line {
    /// The leg.
    pub kind: Leg,
    /// The name of the id within the experiment.
    pub id_name: String,
    /// The id.
    pub id: u16,
    /// The checkpoints in the order of the leg.
    pub rows: Vec<Row>,
}

/// A stop, and the id whose packets stopped.
#[derive(Debug, Serialize, JsonSchema)]
pub struct IdStop {
    /// Where.
    #[serde(flatten)]
    pub stop: Stop,
    /// The name of the id within the experiment.
    pub id_name: String,
    /// The id.
    pub id: u16,
}

/// A checkpoint as the contract writes it.
#[derive(Serialize, JsonSchema)]
struct Counted<'a> {
    #[serde(flatten)]
    checkpoint: &'a Checkpoint,
    kind: Leg,
    id: u16,
    state: &'static str,
    packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

fn counted<'a>(line: &'a Line, row: &'a Row) -> Counted<'a> {
    let (state, why) = match &row.sight {
        Sight::Seen(_) => ("seen", None),
        Sight::Missing => ("missing", None),
        Sight::Blind(why) => ("blind", Some(why.as_str())),
    };
    Counted { checkpoint: &row.checkpoint, kind: line.kind, id: line.id, state, packets: row.sight.packets(), why }
}

fn flat<S: Serializer>(lines: &[Line], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(lines.iter().flat_map(|line| line.rows.iter().map(move |row| counted(line, row))))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn number_of<S: Serializer>(family: &Family, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(match family {
        Family::V4 => 4,
        Family::V6 => 6,
    })
}

impl Document for Experiments {
    const SCHEMA: &'static str = "probe.experiment/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let same_name = |one: &Experiment, other: &Experiment| one.name == other.name;
        for (index, runs) in self.experiments.chunk_by(same_name).enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            drawing::draw(out, runs, style)?;
        }
        for note in &self.notes {
            writeln!(out, "\n{}", style.paint(Tone::Warn, note))?;
        }
        if self.experiments.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{}", self.summary(style))
    }
}

impl Experiments {
    fn summary(&self, style: &Style) -> String {
        let all = self.experiments.len();
        let good = self.experiments.iter().filter(|run| run.as_expected).count();
        let text = format!("{good} of {all} runs came out as designed.");
        style.paint(if self.as_expected { Tone::Good } else { Tone::Bad }, &text)
    }
}

#[cfg(test)]
mod tests;
