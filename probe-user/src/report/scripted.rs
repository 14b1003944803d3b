//! `probe.experiment/1` of `probe experiment`: each step with how far its packets came, where they stop, the finding.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Document,
    diagnosis::wrapped,
    style::{Style, Tone},
    table,
};
use crate::{
    diagnosis::document::Stop,
    middlebox::experiment::{Expect, StepRole, outcome::Disposition},
};

/// A scripted experiment that was run over two ends.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Scripted {
    /// Its name.
    pub name: String,
    /// What it tries.
    pub title: String,
    /// The question that it asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// The IP version: 4 or 6.
    pub family: u8,
    /// How often it was made, each time with fresh ids.
    pub repetitions: u16,
    /// This end.
    pub near: EndpointReport,
    /// The far end.
    pub far: EndpointReport,
    /// The steps that send, in order.
    pub steps: Vec<ScriptedStep>,
    /// What every watched hop counted, in path order.
    pub checkpoints: Vec<HopCount>,
    /// Where packets stop, by step.
    pub stops: Vec<StepStop>,
    /// What follows.
    pub finding: String,
    /// Whether every step came out as the script expects.
    pub as_expected: bool,
    /// Whether it was broken off: then what was learned until then is told.
    pub interrupted: bool,
}

/// One end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EndpointReport {
    /// What it is called in the text.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// Its address.
    pub address: String,
    /// How XDP is attached there: `native`, `generic` or `off`.
    pub xdp_mode: String,
}

/// A step, and what became of its packets in all repetitions.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ScriptedStep {
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
    /// The id in each repetition.
    pub ids: Vec<u16>,
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
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HopCount {
    /// The step, as numbered in `steps`.
    pub step: usize,
    /// The end.
    pub host: String,
    /// The hop.
    pub hop: &'static str,
    /// `request` or `reply`.
    pub kind: &'static str,
    /// The echo id that the sender gave them.
    pub id: u16,
    /// `seen`, `missing` or `blind`.
    pub state: &'static str,
    /// How many packets; nothing where it was blind.
    pub packets: Option<usize>,
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

impl Document for Scripted {
    const SCHEMA: &'static str = "probe.experiment/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        self.head(out, style)?;
        writeln!(out)?;
        self.table(out, style)?;
        writeln!(out)?;
        self.paragraph(out, style, "finding", &self.finding)?;
        for stop in &self.stops {
            let text = format!("step {}: {}", stop.step, stop.sentence);
            self.paragraph(out, style, "where", &text)?;
        }
        let ends = [&self.near, &self.far]
            .map(|end| format!("{} {} {} (XDP {})", end.name, end.interface, end.address, end.xdp_mode));
        self.paragraph(out, style, "between", &ends.join(" and "))?;
        if self.interrupted {
            self.paragraph(out, style, "note", "interrupted: what came later was not sent")?;
        }
        Ok(())
    }
}

impl Scripted {
    fn head(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let (mark, tone) = if self.as_expected {
            (style.either("✓", "[ok]"), Tone::Good)
        } else {
            (style.either("≠", "[!=]"), Tone::Warn)
        };
        let times = if self.repetitions == 1 { "once".to_owned() } else { format!("{} times", self.repetitions) };
        let title = format!("{}: {} (IPv{}, {times})", self.name, self.title, self.family);
        writeln!(out, "{} {}", style.paint(tone, mark), style.paint(Tone::Strong, &title))?;
        if let Some(question) = &self.question {
            writeln!(out, "  {question}")?;
        }
        Ok(())
    }

    fn table(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let columns = [
            table::numbers("step"),
            table::words("from"),
            table::words("to"),
            table::words("packet"),
            table::numbers("sent"),
            table::numbers("arrived"),
            table::words("is"),
            table::words("outcome"),
        ];
        let rows: Vec<Vec<String>> = self.steps.iter().map(ScriptedStep::row).collect();
        table::write(out, style, &columns, &rows)
    }

    fn paragraph(&self, out: &mut dyn Write, style: &Style, label: &str, text: &str) -> io::Result<()> {
        const LABEL: usize = 12;
        for (index, line) in wrapped(text, style.width.clamp(40, 120) - LABEL).iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            writeln!(out, "{}{line}", style.paint(Tone::Dim, &format!("  {label:<width$}", width = LABEL - 2)))?;
        }
        Ok(())
    }
}

impl ScriptedStep {
    fn row(&self) -> Vec<String> {
        let fate = match self.fate {
            Disposition::Arrived => "arrives",
            Disposition::Stopped => "stops",
            Disposition::Partly => "arrives in part",
            Disposition::Unsent => "never left",
            Disposition::Divided => "undecided",
        };
        let outcome = match (self.expect, self.as_expected) {
            (Expect::Any, _) => fate.to_owned(),
            (_, true) => format!("{fate}, as expected"),
            (expect, false) => format!("{fate}; expected: {}", expect.name()),
        };
        vec![
            self.number.to_string(),
            self.from.clone(),
            self.to.clone(),
            format!("{} {}", self.packet, self.id_name),
            self.sent.to_string(),
            self.arrived.to_string(),
            self.role.name().to_owned(),
            outcome,
        ]
    }
}
