//! What follows from the evidence of a run, printed, and the exit status.

use crate::{
    commands::{Outcome as Ending, Screen, stop::Signalled},
    diagnosis::{self, Evidence, document::Outcome},
    exit::Exit,
};

/// Judges a run, and prints the verdict.
pub(super) fn judge(evidence: &Evidence, stop: &Signalled, screen: &Screen) -> Ending {
    let diagnosis = diagnosis::diagnose(evidence);
    screen.print(&diagnosis)?;
    Ok(match (stop.by_signal(), diagnosis.verdict.outcome) {
        (true, _) => Exit::Interrupted,
        (false, Outcome::Delivered) => Exit::Done,
        (false, Outcome::Stopped | Outcome::Lossy | Outcome::Altered | Outcome::Inconclusive) => Exit::Stopped,
    })
}
