//! Programs that can end packets at a device or a cgroup: other people's, and probe's own pinned filter.

use std::{
    fs::{self, File},
    path::Path,
};

use probe_ebpf::{Direction, Kind, guard::PROTECT_OUT};

use super::told;
use crate::{
    device::Device,
    kernel::{
        bpf_sys,
        foreign::{self, Hook, Owner, Program},
        guard::pins::PinnedGuard,
        hops::cgroup,
        pins::Pinned,
    },
    sighting::Finding,
};

/// Other people's programs at `interface`, and at the cgroups that this process is in.
pub fn look_up(interface: Option<&str>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = interface.and_then(device).map(|device| at_device(&device)).unwrap_or_default();
    findings.extend(at_cgroups());
    findings
}

fn device(interface: &str) -> Option<Device> {
    told("interface", Device::find(interface))
}

fn at_device(device: &Device) -> Vec<Finding> {
    let attached = foreign::attached(std::slice::from_ref(device)).pop().unwrap_or_default();
    for unread in &attached.unread {
        tracing::debug!("programs at {}: {unread}", device.name);
    }
    let others = attached.programs.iter().filter(|program| program.owner() != Owner::Probe);
    others.map(|program| of_others(place(program), program.to_string())).collect()
}

fn place(program: &Program) -> &'static str {
    match program.hook {
        Hook::Xdp(_) => "xdp",
        Hook::Tcx(Direction::In) | Hook::Clsact(Direction::In) => "tc_in",
        Hook::Tcx(Direction::Out) | Hook::Clsact(Direction::Out) => "tc_out",
    }
}

/// The programs of the root cgroup and of this process's own; a child cgroup's programs run after those above it.
fn at_cgroups() -> Vec<Finding> {
    let Some(root) = cgroup::root() else { return Vec::new() };
    let groups = fs::read_to_string("/proc/thread-self/cgroup").unwrap_or_default();
    let own = own_group(&groups).map_or_else(|| root.clone(), |path| root.join(path));
    let mut findings = Vec::new();
    for (direction, at, way) in [(Direction::In, "cgroup_in", "ingress"), (Direction::Out, "cgroup_out", "egress")] {
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
    let folder = told("cgroup", File::open(cgroup))?;
    told("cgroup programs", bpf_sys::query_cgroup(&folder, direction))
}

/// The cgroup of `/proc/PID/cgroup` in the unified hierarchy, below its root (`cgroups(7)`).
fn own_group(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::/"))
}

fn of_others(at: &str, who: String) -> Finding {
    Finding::Program { at: at.to_owned(), who, probe_filter: false, dropped: 0 }
}

/// What probe's own pinned filter and guard had dropped of some ids.
pub struct OwnFilter {
    dropped: u64,
    by_guard: u64,
}

impl OwnFilter {
    /// What they have dropped by now; nothing where there are none.
    pub fn read(interface: Option<&str>, ids: &[u16]) -> Self {
        let of = |dropped: Option<u64>| dropped.unwrap_or(0);
        Self {
            dropped: of(interface.and_then(|interface| dropped(interface, ids))),
            by_guard: of(interface.and_then(|interface| guarded(interface, ids)).map(|(dropped, _)| dropped)),
        }
    }

    /// The filter and the guard, where they are, with what each dropped since.
    pub fn findings(&self, interface: Option<&str>, ids: &[u16]) -> Vec<Finding> {
        let Some(interface) = interface else { return Vec::new() };
        // What was made anew meanwhile counts from zero.
        let own = |at: &str, what: &str, before: u64, now: u64| Finding::Program {
            at: at.to_owned(),
            who: format!("probe's own {what} on {interface}"),
            probe_filter: true,
            dropped: now.checked_sub(before).unwrap_or(now),
        };
        let filter = dropped(interface, ids).map(|now| own("xdp", "filter", self.dropped, now));
        let guard = guarded(interface, ids).map(|(now, at)| own(at, "guard", self.by_guard, now));
        filter.into_iter().chain(guard).collect()
    }
}

/// What the pinned guard of `interface` has dropped of these ids, and where it does that; nothing where there is none,
/// or where it only counts. One that judges both ways is told where it judges what enters.
fn guarded(interface: &str, ids: &[u16]) -> Option<(u64, &'static str)> {
    let pinned = told("pinned guard", PinnedGuard::open(&device(interface)?))??;
    let config = &pinned.record.config;
    let at = match (config.protect, pinned.record.ingress) {
        (PROTECT_OUT, _) => "tc_out",
        (_, 0) => "tc_in",
        _ => "xdp",
    };
    (config.dry_run == 0).then(|| (ids.iter().map(|id| pinned.maps.dropped(*id)).sum(), at))
}

/// What the pinned filter of `interface` has dropped of these ids; nothing where there is none.
fn dropped(interface: &str, ids: &[u16]) -> Option<u64> {
    let pinned = told("pinned filter", Pinned::open(&device(interface)?))??;
    let tally = told("pinned filter", pinned.dropped())?;
    Some(ids.iter().flat_map(|id| Kind::ALL.map(|kind| tally.count(kind, *id).packets)).sum())
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
