//! `probe.experiment/1`: what both ends sent, how far it came, where it stopped, and what that shows.

mod drawing;
mod steps;

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Document,
    style::{Style, Tone},
};
use crate::{
    diagnosis::document::{HopStatus, Stop},
    middlebox::experiment::{
        Expect, StepRole,
        outcome::Disposition,
        way::{Line, WayStop},
    },
    model::{attach::XdpAttachment, trace::Leg},
};

/// An experiment that was made, or, of `probe lab`, several of them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Experiment {
    /// Its name; `lab` where it is made of several.
    pub name: String,
    /// What it tries.
    pub title: String,
    /// The question that it asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// Between whom, and how often; none where it is made of several.
    #[serde(flatten)]
    pub between: Option<Between>,
    /// The steps that send, in order.
    pub steps: Vec<StepRow>,
    /// What was counted: between two ends at every watched hop, by step; in the lab at every NIC, by id. In path order.
    pub checkpoints: Vec<Counted>,
    /// Where packets stop, by step.
    pub stops: Vec<StepStop>,
    /// What follows.
    pub finding: String,
    /// Whether everything came out as designed.
    pub as_expected: bool,
    /// Whether it was broken off: then what was learned until then is told.
    pub interrupted: bool,
    /// The experiments that it is made of: those of `probe lab`. Its own steps, checkpoints and stops are empty then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiments: Option<Vec<Experiment>>,
    /// What could not be tried, and why, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What the NICs on the way counted, for the drawing; empty where only the ends were watched.
    #[serde(skip)]
    pub lines: Vec<Line>,
}

/// Between whom an experiment was made, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Between {
    /// The IP version: 4 or 6.
    pub family: u8,
    /// How often it was made, each time with fresh ids.
    pub repetitions: u16,
    /// This end.
    pub near: End,
    /// The far end.
    pub far: End,
}

/// One end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct End {
    /// What it is called in the text.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// Its address.
    pub address: String,
    /// How XDP is attached there.
    pub xdp_mode: XdpAttachment,
}

/// A step, and what became of its packets in all repetitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StepRow {
    /// Its number among all steps of the script, from 1 on.
    pub number: usize,
    /// The end that sends.
    pub from: String,
    /// The end that it sends to.
    pub to: String,
    /// `request`, `reply` or `error`.
    pub packet: &'static str,
    /// The name of its echo id in the script.
    pub id_name: String,
    /// The id in the first repetition.
    pub id: u16,
    /// The id in each repetition.
    pub ids: Vec<u16>,
    /// How many packets it sends in each repetition.
    pub count: u16,
    /// What it is for.
    #[serde(serialize_with = "role_name")]
    #[schemars(with = "String")]
    pub role: StepRole,
    /// What the script expects.
    #[serde(serialize_with = "expect_name")]
    #[schemars(with = "String")]
    pub expect: Expect,
    /// Packets that left their own host.
    pub sent: u32,
    /// Packets that reached the other end's NIC.
    pub arrived: u32,
    /// What each repetition showed.
    pub votes: Vec<Disposition>,
    /// What most of them showed.
    pub fate: Disposition,
    /// Whether that is what the script expects.
    pub as_expected: bool,
}

/// What one hop counted of one id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counted {
    /// The step, as numbered in `steps`; none where packets of several steps are counted by their id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// The host.
    pub host: String,
    /// The hop.
    pub hop: &'static str,
    /// The interface, where NICs of several hosts are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Requests or replies.
    pub kind: Leg,
    /// The name of the echo id in the script.
    pub id_name: String,
    /// The echo id that the sender gave them.
    pub id: u16,
    /// Whether it counted any, none, or could not be watched.
    pub state: HopStatus,
    /// How many packets; nothing where it was blind.
    pub packets: Option<usize>,
    /// Why it was blind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A stop, and the step whose packets stopped. In it `local` is the end that sent them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StepStop {
    /// The step, as numbered in `steps`.
    pub step: usize,
    /// The end that sent them.
    pub sender: String,
    /// Where and why.
    #[serde(flatten)]
    pub stop: Stop,
    /// Where between the two ends, as far as NICs there were watched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_the_way: Vec<WayStop>,
    /// In one sentence.
    pub sentence: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn role_name<S: serde::Serializer>(role: &StepRole, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(role.name())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn expect_name<S: serde::Serializer>(expect: &Expect, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(expect.name())
}

impl Experiment {
    /// Returns the document of several experiments of the lab. `interrupted`: not all that were asked for were made.
    pub fn of_lab(experiments: Vec<Self>, interrupted: bool, notes: Vec<String>) -> Self {
        let good = experiments.iter().filter(|run| run.as_expected).count();
        Self {
            name: "lab".into(),
            title: "two hosts, and a stateful firewall between them".into(),
            question: None,
            between: None,
            steps: Vec::new(),
            checkpoints: Vec::new(),
            stops: Vec::new(),
            finding: format!("{good} of {} runs came out as designed.", experiments.len()),
            as_expected: !interrupted && good == experiments.len(),
            interrupted,
            experiments: Some(experiments),
            notes,
            lines: Vec::new(),
        }
    }

    /// 4 or 6; nothing where it is made of several.
    fn family(&self) -> Option<u8> {
        self.between.as_ref().map(|between| between.family)
    }

    fn write_all(&self, out: &mut dyn Write, experiments: &[Self], style: &Style) -> io::Result<()> {
        for (index, runs) in experiments.chunk_by(|one, other| one.name == other.name).enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            drawing::draw(out, runs, style)?;
        }
        for note in &self.notes {
            writeln!(out, "\n{}", style.paint(Tone::Warn, note))?;
        }
        if experiments.is_empty() {
            return Ok(());
        }
        let tone = if self.as_expected { Tone::Good } else { Tone::Bad };
        writeln!(out, "\n{}", style.paint(tone, &self.finding))
    }
}

impl Document for Experiment {
    const SCHEMA: &'static str = "probe.experiment/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        match &self.experiments {
            Some(experiments) => self.write_all(out, experiments, style),
            None => steps::write(out, self, style),
        }
    }
}

#[cfg(test)]
mod tests;
