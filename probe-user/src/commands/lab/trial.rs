//! `probe lab` without a subcommand: sets up a lab, plays the experiments in it, and removes it.

use std::{sync::Arc, time::Duration};

use super::{
    Interrupted, chosen,
    experiments::{RunListener, run_all},
    faults::by_command::own_program,
};
use crate::{
    cli::lab::LabExperiment,
    commands::{CommandResult, Screen, progress::Bar, stop::on_signals},
    ebpf::object,
    exit::Exit,
    host::privilege::{self, PrivilegedTask},
    lab::Topology,
};

/// About how long a run takes, for the bar.
const RUN: Duration = Duration::from_millis(1_500);

/// Plays the experiments with these names, or all if none is named.
pub(super) fn run(names: &[LabExperiment], screen: &Screen) -> CommandResult {
    privilege::require(PrivilegedTask::Lab)?;
    privilege::require(PrivilegedTask::Diagnose)?;
    object::bytes()?;
    let stop = on_signals()?;
    let lab = Topology::build()?;
    screen.remark("set up a lab: two hosts and a firewall in network namespaces, removed when this command ends");
    let (bar, remarks) = (Bar::new(screen, RUN), *screen);
    let progress = |name: &str, made: usize, of: usize| {
        let runs = |count: usize| RUN * u32::try_from(count).unwrap_or(u32::MAX);
        bar.of(&(runs(made), runs(of), name.to_owned()));
    };
    let relay = Arc::new(move |line: &str| remarks.remark(&format!("b: {line}")));
    let made = run_all(&lab, &own_program()?, &chosen(names), &stop, &RunListener { relay, progress: &progress });
    bar.clear();
    let (document, interrupted) = made?;
    screen.print(&document)?;
    Ok(match (interrupted, document.as_expected) {
        (Interrupted::Yes, _) => Exit::Interrupted,
        (Interrupted::No, true) => Exit::Done,
        (Interrupted::No, false) => Exit::Stopped,
    })
}
