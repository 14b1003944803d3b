//! `probe doctor`: gathers facts, judges each, prints the report. It changes nothing, and needs no privilege.

mod facts;
mod hops;
mod interfaces;
mod kernel;
mod lockdown;
mod mounts;
mod ping;
mod privileges;
mod system;

use super::{CommandResult, Screen};
use crate::{cli::doctor::Doctor, exit::Exit, report::doctor::Checkup};
use facts::Facts;

/// Runs `probe doctor`.
pub fn run(args: &Doctor, screen: &Screen) -> CommandResult {
    let checkup = examine(&Facts::gather(args.interface.as_deref())?);
    screen.print(&checkup)?;
    Ok(if checkup.works() { Exit::Done } else { Exit::Stopped })
}

/// Builds the report on `facts`.
fn examine(facts: &Facts) -> Checkup {
    let checks = [
        kernel::checks(facts),
        privileges::checks(facts),
        system::checks(facts),
        ping::checks(facts),
        interfaces::checks(facts),
    ];
    Checkup::new(facts.release.clone(), facts.user.clone(), checks.concat(), hops::checks(facts))
}
