//! `probe lab up` and `probe lab down`.

use std::path::Path;

use crate::commands::{CommandResult, Screen};
use crate::{
    exit::Exit,
    lab::{
        LabHost, Nic,
        standing::{self, NAMES, Process, Raised},
    },
    report::lab::{HostReport, LabInterface, LabProcess, LabResult, LabState},
};

/// Sets up the lab and leaves it running.
pub(super) fn up(screen: &Screen) -> CommandResult {
    let result = match standing::up()? {
        Raised::Made => LabResult::Made,
        Raised::Repaired => LabResult::Repaired,
        Raised::AlreadyUp => LabResult::AlreadyUp,
    };
    screen.print(&LabState { result, hosts: hosts(), still_running: Vec::new() })?;
    Ok(Exit::Done)
}

/// Removes the lab.
pub(super) fn down(screen: &Screen) -> CommandResult {
    let lowered = standing::down()?;
    for name in &lowered.foreign {
        screen.remark(&format!("the network namespace {name} does not belong to the lab and was left alone"));
    }
    let result = if lowered.removed { LabResult::Removed } else { LabResult::AlreadyDown };
    let still_running = lowered.inside.into_iter().map(process).collect();
    screen.print(&LabState { result, hosts: Vec::new(), still_running })?;
    Ok(Exit::Done)
}

fn process(process: Process) -> LabProcess {
    LabProcess { host: process.host.name(), pid: process.pid, name: process.name }
}

fn hosts() -> Vec<HostReport> {
    // If this kernel has no IPv6, the lab has none either.
    let v6 = Path::new("/proc/sys/net/ipv6/conf").exists();
    let interface = |nic: Nic| {
        let addresses = std::iter::once(nic.v4().into()).chain(v6.then(|| nic.v6().into())).collect();
        LabInterface { interface: nic.interface(), addresses }
    };
    let host = |(host, namespace): (LabHost, &'static str)| HostReport {
        host: host.name(),
        namespace,
        interfaces: host.nics().map(interface).collect(),
    };
    LabHost::ALL.into_iter().zip(NAMES).map(host).collect()
}
