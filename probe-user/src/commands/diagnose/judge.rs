//! Judges the evidence of a run, prints the verdict, and returns the exit status.

use crate::{
    cli::diagnose::StatusTells,
    commands::{CommandResult, Screen, stop::Signalled},
    diagnosis::{self, Diagnosis, Evidence},
    exit::Exit,
};

/// Judges a run, and prints the verdict.
pub(super) fn judge(evidence: &Evidence, stop: &Signalled, screen: &Screen, tells: StatusTells) -> CommandResult {
    let diagnosis = diagnosis::diagnose(evidence);
    screen.print(&diagnosis)?;
    Ok(if stop.by_signal() { Exit::Interrupted } else { status(&diagnosis, tells) })
}

/// Returns the exit status that was asked for.
pub(super) fn status(diagnosis: &Diagnosis, tells: StatusTells) -> Exit {
    match tells {
        StatusTells::Outcome => diagnosis.exit(),
        StatusTells::Stage => diagnosis.stage(),
    }
}
