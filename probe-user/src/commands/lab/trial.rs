//! `probe lab` without an action: makes a lab, runs the experiments, and leaves nothing behind.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Interrupted, beside::beside, chosen, run_all, taps::Taps};
use crate::{
    cli::lab::LabExperiment,
    commands::{CommandResult, Screen, interrupt::block_on},
    ebpf::object,
    error::Failure,
    exit::Exit,
    host::privilege::{self, PrivilegedTask},
    lab::{Topology, experiment},
    report::experiment::Experiments,
};

/// Runs the experiments with these names: all of them where none is named.
pub(super) fn run(names: &[LabExperiment], screen: &Screen) -> CommandResult {
    privilege::require(PrivilegedTask::Lab)?;
    object::bytes()?;
    let experiments = chosen(names);
    block_on(wait(experiments, *screen))
}

async fn wait(experiments: Vec<experiment::Experiment>, screen: Screen) -> CommandResult {
    let (document, interrupted) = beside(move |stop| work(&experiments, stop, &screen)).await?;
    screen.print(&document)?;
    Ok(match (interrupted, document.as_expected) {
        (Interrupted::Yes, _) => Exit::Interrupted,
        (Interrupted::No, true) => Exit::Done,
        (Interrupted::No, false) => Exit::Stopped,
    })
}

fn work(
    experiments: &[experiment::Experiment],
    stop: &AtomicBool,
    screen: &Screen,
) -> Result<(Experiments, Interrupted), Failure> {
    let lab = Topology::build()?;
    screen.remark("made a lab: two hosts and a firewall in network namespaces, which go when this command ends");
    let mut taps = Taps::attach(&lab)?;
    run_all(experiments, lab.families(), &mut taps, || stop.load(Ordering::Relaxed))
}
