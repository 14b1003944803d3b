//! An experiment between two ends as a person reads it: each step with how far its packets came, where they stop, the finding.

use std::io::{self, Write};

use super::{End, Experiment, StepRow};
use crate::{
    middlebox::experiment::{Expect, outcome::StepResult},
    report::{
        diagnosis::wrapped,
        style::{Style, Tone},
        table,
    },
};

/// Writes an experiment that has no parts.
pub(super) fn write(out: &mut dyn Write, experiment: &Experiment, style: &Style) -> io::Result<()> {
    let paragraph = |out: &mut dyn Write, label: &str, text: &str| paragraph(out, style, label, text);
    head(out, experiment, style)?;
    writeln!(out)?;
    write_table(out, experiment, style)?;
    writeln!(out)?;
    paragraph(out, "finding", &experiment.finding)?;
    for stop in &experiment.stops {
        paragraph(out, "where", &format!("step {}: {}", stop.step, stop.sentence))?;
    }
    if let Some(between) = &experiment.between {
        let end = |end: &End| format!("{} {} {} (XDP {})", end.name, end.interface, end.address, end.xdp_mode);
        paragraph(out, "between", &format!("{} and {}", end(&between.near), end(&between.far)))?;
    }
    if experiment.interrupted {
        paragraph(out, "note", "interrupted: later packets were not sent")?;
    }
    Ok(())
}

fn head(out: &mut dyn Write, experiment: &Experiment, style: &Style) -> io::Result<()> {
    let (mark, tone) = if experiment.as_expected {
        (style.either("✓", "[ok]"), Tone::Good)
    } else {
        (style.either("≠", "[!=]"), Tone::Warn)
    };
    let how = experiment.between.as_ref().map_or_else(String::new, |between| match between.repetitions {
        1 => format!(" (IPv{}, once)", between.family),
        times => format!(" (IPv{}, {times} times)", between.family),
    });
    let title = format!("{}: {}{how}", experiment.name, experiment.title);
    writeln!(out, "{} {}", style.paint(tone, mark), style.paint(Tone::Strong, &title))?;
    if let Some(question) = &experiment.question {
        writeln!(out, "  {question}")?;
    }
    Ok(())
}

fn write_table(out: &mut dyn Write, experiment: &Experiment, style: &Style) -> io::Result<()> {
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
    let rows: Vec<Vec<String>> = experiment.steps.iter().map(row).collect();
    table::write(out, style, &columns, &rows)
}

fn paragraph(out: &mut dyn Write, style: &Style, label: &str, text: &str) -> io::Result<()> {
    const LABEL: usize = 12;
    for (index, line) in wrapped(text, style.width.clamp(40, 120) - LABEL).iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        writeln!(out, "{}{line}", style.paint(Tone::Dim, &format!("  {label:<width$}", width = LABEL - 2)))?;
    }
    Ok(())
}

fn row(step: &StepRow) -> Vec<String> {
    let outcome = match step.disposition {
        StepResult::Arrived => "arrives",
        StepResult::Stopped => "stops",
        StepResult::Partly => "arrives in part",
        StepResult::Unsent => "never left",
        StepResult::Divided => "undecided",
    };
    let outcome = match (step.expect, step.as_expected) {
        (Expect::Any, _) => outcome.to_owned(),
        (_, true) => format!("{outcome}, as expected"),
        (expect, false) => format!("{outcome}; expected: {}", expect.name()),
    };
    vec![
        step.number.to_string(),
        step.from.clone(),
        step.to.clone(),
        format!("{} {}", step.packet, step.id_name),
        step.sent.to_string(),
        step.arrived.to_string(),
        step.role.name().to_owned(),
        outcome,
    ]
}
