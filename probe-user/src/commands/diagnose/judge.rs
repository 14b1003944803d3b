//! What follows from the evidence of a run, printed, and the exit status.

use std::io::{self, Write};

use serde::Serialize;

use super::evidence::Evidence;
use crate::{
    commands::{Outcome, Screen, stop::Signalled},
    exit::Exit,
    report::{Document, Style},
};

/// Prints what is known of a run.
pub(super) fn judge(evidence: &Evidence, stop: &Signalled, screen: &Screen) -> Outcome {
    screen.print(&Known { evidence })?;
    let (sent, answered) = (evidence.sending.probes.len(), evidence.sending.received.len());
    Ok(match (stop.by_signal(), answered == sent) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Done,
        (false, false) => Exit::Stopped,
    })
}

/// The evidence as a document.
#[derive(Serialize)]
struct Known<'a> {
    #[serde(flatten)]
    evidence: &'a Evidence,
}

impl Document for Known<'_> {
    const SCHEMA: &'static str = "probe.evidence/1";

    fn write_text(&self, out: &mut dyn Write, _: &Style) -> io::Result<()> {
        let sending = &self.evidence.sending;
        let (target, sent) = (&self.evidence.target, sending.probes.len());
        writeln!(out, "{} of {sent} probes to {} ({}) answered", sending.received.len(), target.name, target.address)?;
        for error in &sending.errors {
            writeln!(
                out,
                "  probe {}: ICMP type {} code {} from {}",
                error.probe, error.icmp_type, error.code, error.from
            )?;
        }
        for step in self.evidence.walk.iter().flat_map(|walk| &walk.steps) {
            let from = step.from.map_or_else(|| "nobody".to_owned(), |from| from.to_string());
            writeln!(out, "  ttl {}: {from}", step.ttl)?;
        }
        Ok(())
    }
}
