//! `probe.experiment/1`: what both ends sent, how far it came, where it stopped, and what that shows.

mod drawing;
mod steps;

use probe_ebpf::Echo;
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
        outcome::StepResult,
        way::{Line, WayStop},
    },
    model::attach::XdpAttachment,
};

/// An experiment that was run, or several of them with `probe lab`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Experiment {
    /// Its name; `lab` if it has several parts.
    pub name: String,
    /// What it tests.
    pub title: String,
    /// The question that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// The two ends, and the number of repetitions; absent if it has several parts.
    #[serde(flatten)]
    pub between: Option<Between>,
    /// The steps that send, in order.
    pub steps: Vec<StepRow>,
    /// What was counted: between two ends at every watched hop, by step; in the lab at every NIC, by id. In path order.
    pub checkpoints: Vec<Counted>,
    /// Where packets stop, by step.
    pub stops: Vec<StepStop>,
    /// What follows, in sentences.
    pub finding: String,
    /// Whether everything came out as designed.
    pub as_expected: bool,
    /// Whether it was interrupted; it then reports what was learned so far.
    pub interrupted: bool,
    /// The parts of `probe lab`. The steps, checkpoints and stops of the whole are then empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiments: Option<Vec<Experiment>>,
    /// What could not be tried, and why, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What the NICs on the path counted, for the drawing; empty where only the ends were watched.
    #[serde(skip)]
    pub lines: Vec<Line>,
}

/// The two ends of an experiment, and the number of repetitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Between {
    /// The IP version: 4 or 6.
    pub family: u8,
    /// The number of repetitions, each with fresh ids.
    pub repetitions: u16,
    /// This end.
    pub near: End,
    /// The far end.
    pub far: End,
}

/// One end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct End {
    /// Its name in the text.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// Its address.
    pub address: String,
    /// How XDP is attached there.
    pub xdp_mode: XdpAttachment,
}

/// A step, and the outcome of its packets in all repetitions.
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
    /// Its role.
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
    /// The outcome of each repetition.
    pub votes: Vec<StepResult>,
    /// The outcome of most of them.
    #[serde(rename = "fate")]
    pub disposition: StepResult,
    /// Whether that is what the script expects.
    pub as_expected: bool,
}

/// What one hop counted for one id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counted {
    /// The step, as numbered in `steps`; absent if packets of several steps are counted by their id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// The host.
    pub host: String,
    /// The hop.
    pub hop: &'static str,
    /// The interface, if NICs of several hosts are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Requests or replies.
    pub kind: Echo,
    /// The name of the echo id in the script.
    pub id_name: String,
    /// The echo id as sent.
    pub id: u16,
    /// Whether it counted any, none, or could not be watched.
    pub state: HopStatus,
    /// How many packets; absent if it was blind.
    pub packets: Option<usize>,
    /// Why it was blind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A stop, and the step whose packets stopped. In it, `local` is the sending end.
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
    /// The stop in one sentence.
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
    /// Builds the document of several experiments of the lab. `interrupted` says that not all of them were run.
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

    /// Returns the IP version, 4 or 6, or `None` if it has several parts.
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
