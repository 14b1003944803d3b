//! Running experiments one after the other, over each IP version, into one report.

use probe_ebpf::Family;

use super::document::report;
use crate::{
    lab::{
        bench::{FreshIds, Instruments, run},
        experiment::Experiment,
    },
    report::experiment::Experiments,
};

/// Whether a run was broken off between two experiments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// Everything was run.
    No,
    /// Some experiments were left out.
    Yes,
}

/// Runs each of `experiments` over each of `families`, each with fresh ids. `stop` is asked before every run; once it
/// says yes, the report holds what was run until then, and a note.
pub fn run_all<I: Instruments>(
    experiments: &[Experiment],
    families: &[Family],
    instruments: &mut I,
    mut stop: impl FnMut() -> bool,
) -> Result<(Experiments, Interrupted), I::Error> {
    let mut ids = FreshIds::default();
    let (mut runs, mut notes, mut interrupted) = (Vec::new(), Vec::new(), Interrupted::No);
    for (experiment, family) in experiments.iter().flat_map(|experiment| families.iter().map(move |f| (experiment, *f)))
    {
        if stop() {
            interrupted = Interrupted::Yes;
            notes.push(format!(
                "Interrupted: {} of {} runs were made.",
                runs.len(),
                experiments.len() * families.len()
            ));
            break;
        }
        runs.push(report(run(experiment, family, ids.pair(), instruments)?));
    }
    if !families.contains(&Family::V6) {
        notes.push("This kernel has no IPv6: the experiments were run over IPv4 only.".into());
    }
    let as_expected = interrupted == Interrupted::No && runs.iter().all(|run| run.as_expected);
    Ok((Experiments { experiments: runs, as_expected, notes }, interrupted))
}
