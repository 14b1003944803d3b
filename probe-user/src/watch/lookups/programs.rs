//! Other people's programs that can end packets at a device or a cgroup.

use std::{fs::File, path::Path};

use probe_ebpf::Direction;

use crate::host::or_log;
use crate::{
    ebpf::{
        bpf_sys,
        foreign::{self, Owner, Program, ProgramHook},
    },
    host::{cgroup, device::Device},
    model::trace::{Finding, ProgramSite},
};

/// Returns other people's programs at `interface`, and at the cgroups that the sender is in: below the root `sender`, if it is
/// another one than that of this process.
pub fn look_up(interface: Option<&str>, sender: Option<&str>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = interface.and_then(device).map(|device| at_device(&device)).unwrap_or_default();
    findings.extend(at_cgroups(sender));
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

/// Returns the programs of the root cgroup and of the sender's own; a child cgroup's programs run after those above it.
fn at_cgroups(sender: Option<&str>) -> Vec<Finding> {
    let Some(root) = cgroup::root() else { return Vec::new() };
    let path = sender.map(str::to_owned).or_else(cgroup::of_this_thread).unwrap_or_default();
    let own = cgroup::folder(&root, &path).unwrap_or_else(|| root.clone());
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
            let of = attached_to(id, &own, &root, direction).map(|folder| format!(" of {folder}")).unwrap_or_default();
            findings.push(of_others(at, format!("cgroup program (id {id}, {name}{way}{of})")));
        }
    }
    findings
}

/// Returns the programs that decide in a cgroup, those of the cgroups above it included.
fn ids(cgroup: &Path, direction: Direction) -> Option<Vec<u32>> {
    let folder = or_log("cgroup", File::open(cgroup))?;
    or_log("cgroup programs", bpf_sys::query_cgroup(&folder, direction))
}

/// Returns the name of the cgroup below the root that brings in a program which decides in `own`: the uppermost in which it does.
fn attached_to(id: u32, own: &Path, root: &Path, direction: Direction) -> Option<String> {
    let mut below: Vec<&Path> = own.ancestors().take_while(|folder| *folder != root).collect();
    below.reverse();
    let in_root = ids(root, direction).is_some_and(|ids| ids.contains(&id));
    let folder = below.into_iter().filter(|_| !in_root);
    let mut folder = folder.filter(|folder| ids(folder, direction).is_some_and(|ids| ids.contains(&id)));
    Some(folder.next()?.file_name()?.to_string_lossy().into_owned())
}

fn of_others(at: ProgramSite, who: String) -> Finding {
    Finding::Program { at, who, probe_filter: false, dropped: 0 }
}
