//! `probe lab` without an action: makes a lab, runs the experiments, and leaves nothing behind.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{Interrupted, chosen, run_all, taps::Taps};
use crate::{
    cli::lab::Experiment,
    commands::{
        Outcome, Screen,
        interrupt::{Interrupt, block_on},
    },
    error::Failure,
    exit::Exit,
    kernel::{
        object,
        privilege::{self, Task},
    },
    lab::{Topology, experiment},
    report::experiment::Experiments,
};

/// Runs the experiments with these names: all of them where none is named.
pub(super) fn run(names: &[Experiment], screen: &Screen) -> Outcome {
    privilege::require(Task::Lab)?;
    object::bytes()?;
    let experiments = chosen(names);
    block_on(wait(experiments, screen))
}

/// The lab is worked on by a thread of its own, so that Ctrl-C is heard beside it; the lab goes before the command.
async fn wait(experiments: Vec<experiment::Experiment>, screen: &Screen) -> Outcome {
    let mut interrupt = Interrupt::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let remarks = *screen;
    let mut work = tokio::task::spawn_blocking(move || work(&experiments, &stopped, &remarks));
    let done = tokio::select! {
        done = &mut work => done,
        () = interrupt.caught() => {
            stop.store(true, Ordering::Relaxed);
            work.await
        }
    };
    let (document, interrupted) =
        done.map_err(|error| Failure::new(format!("the lab stopped: {error}"), "probe doctor may say why"))??;
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
