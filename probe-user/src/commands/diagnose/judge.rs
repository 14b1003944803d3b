//! Judges the evidence of a run, prints the verdict, and returns the exit status.

use crate::{
    commands::{CommandResult, Screen, stop::Signalled},
    diagnosis::{self, Evidence},
    exit::Exit,
};

/// Judges a run, and prints the verdict.
pub(super) fn judge(evidence: &Evidence, stop: &Signalled, screen: &Screen) -> CommandResult {
    let diagnosis = diagnosis::diagnose(evidence);
    screen.print(&diagnosis)?;
    Ok(if stop.by_signal() { Exit::Interrupted } else { diagnosis.exit() })
}
