//! Other people's programs that can end packets at a device or a cgroup.

use std::{
    fs::{self, File},
    path::Path,
};

use probe_ebpf::Direction;

use crate::host::or_log;
use crate::{
    ebpf::{
        bpf_sys,
        foreign::{self, Owner, Program, ProgramHook},
        hops::cgroup,
    },
    host::device::Device,
    model::trace::{Finding, ProgramSite},
};

/// Returns other people's programs at `interface`, and at the cgroups that this process is in.
pub fn look_up(interface: Option<&str>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = interface.and_then(device).map(|device| at_device(&device)).unwrap_or_default();
    findings.extend(at_cgroups());
    findings
}

fn device(interface: &str) -> Option<Device> {
    or_log("interface", Device::find(interface))
}

fn at_device(device: &Device) -> Vec<Finding> {
    let attached = foreign::attached(std::slice::from_ref(device)).pop().unwrap_or_default();
    for unread in &attached.unread {
        tracing::debug!("programs at {}: {unread}", device.name);
    }
    let others = attached.programs.iter().filter(|program| program.owner() != Owner::Probe);
    others.map(|program| of_others(place(program), program.to_string())).collect()
}

fn place(program: &Program) -> ProgramSite {
    match program.hook {
        ProgramHook::Xdp(_) => ProgramSite::Xdp,
        ProgramHook::Tcx(Direction::In) | ProgramHook::Clsact(Direction::In) => ProgramSite::TcIn,
        ProgramHook::Tcx(Direction::Out) | ProgramHook::Clsact(Direction::Out) => ProgramSite::TcOut,
    }
}

/// Returns the programs of the root cgroup and of this process's own; a child cgroup's programs run after those above
/// it.
fn at_cgroups() -> Vec<Finding> {
    let Some(root) = cgroup::root() else { return Vec::new() };
    let groups = fs::read_to_string("/proc/thread-self/cgroup").unwrap_or_default();
    let own = own_group(&groups).map_or_else(|| root.clone(), |path| root.join(path));
    let mut findings = Vec::new();
    for (direction, at, way) in
        [(Direction::In, ProgramSite::CgroupIn, "ingress"), (Direction::Out, ProgramSite::CgroupOut, "egress")]
    {
        // In a container the path may lie outside what is mounted.
        let ids = ids(&own, direction).or_else(|| ids(&root, direction)).unwrap_or_default();
        for id in ids {
            let name = bpf_sys::program_by_id(id).ok().map(|info| info.name);
            if name.as_deref().is_some_and(|name| name.starts_with("probe_")) {
                continue;
            }
            let name = name.filter(|name| !name.is_empty()).map(|name| format!("'{name}', ")).unwrap_or_default();
            findings.push(of_others(at, format!("cgroup program (id {id}, {name}{way})")));
        }
    }
    findings
}

fn ids(cgroup: &Path, direction: Direction) -> Option<Vec<u32>> {
    let folder = or_log("cgroup", File::open(cgroup))?;
    or_log("cgroup programs", bpf_sys::query_cgroup(&folder, direction))
}

/// Returns the cgroup of `/proc/PID/cgroup` in the unified hierarchy, below its root (`cgroups(7)`).
fn own_group(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::/"))
}

fn of_others(at: ProgramSite, who: String) -> Finding {
    Finding::Program { at, who, probe_filter: false, dropped: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_has_number_zero() {
        assert_eq!(own_group("12:cpu:/a\n0::/system.slice/ssh.service\n"), Some("system.slice/ssh.service"));
        assert_eq!(own_group("0::/\n"), Some(""));
        assert_eq!(own_group("12:cpu:/a\n"), None);
    }
}
