//! Which programs are on an interface already, and whose they are. What this process may not read is left out
//! and listed as unread, never an error.

use std::fmt;

use probe_ebpf::contract::kind::Direction;

use super::bpf_sys;
use crate::host::device::{
    Device, XdpPlace,
    tc_filters::{self, TcFilter},
};

/// The prefix of every program and map name of probe (`probe_ebpf::contract::names`).
const OWN_PREFIX: &str = "probe_";

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProgramHook {
    /// XDP.
    Xdp(XdpPlace),
    /// A TCX link.
    Tcx(Direction),
    /// A filter of a clsact or ingress qdisc.
    Clsact(Direction),
}

/// A program on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// Where it is attached.
    pub hook: ProgramHook,
    /// Its id, as in `bpftool prog`; a tc filter that is no BPF program has none.
    pub id: Option<u32>,
    /// Its name; unknown without `CAP_SYS_ADMIN`, and a program need not have one.
    pub name: Option<String>,
    /// What kind of filter it is: `bpf`, or tc's own `flower`, `u32` and so on.
    pub kind: String,
}

/// Who owns a program, judging by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Probe's.
    Probe,
    /// Another program's.
    Other,
    /// Its name cannot be read.
    Unknown,
}

impl Program {
    /// Returns who owns it, judging by its name.
    pub fn owner(&self) -> Owner {
        match &self.name {
            Some(name) if name.starts_with(OWN_PREFIX) => Owner::Probe,
            None if self.id.is_some() => Owner::Unknown,
            _ => Owner::Other,
        }
    }

    fn new(hook: ProgramHook, id: u32) -> Self {
        Self { hook, id: Some(id), name: name(id), kind: "bpf".to_owned() }
    }

    fn from_filter(filter: TcFilter) -> Self {
        // The filter's name is whatever its owner gave it; the program's name comes from the kernel.
        let name = filter.program_id.and_then(name).or(filter.name);
        Self { hook: ProgramHook::Clsact(filter.direction), id: filter.program_id, name, kind: filter.classifier }
    }
}

/// Formats it like `XDP program (id 42, 'xdp_pass', native)`.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = |direction| if direction == Direction::In { "ingress" } else { "egress" };
        let (what, place) = match self.hook {
            ProgramHook::Xdp(place) => ("XDP program", place.name().to_owned()),
            ProgramHook::Tcx(direction) => ("TCX program", way(direction).to_owned()),
            ProgramHook::Clsact(direction) if self.kind == "bpf" => ("tc program", way(direction).to_owned()),
            ProgramHook::Clsact(direction) => ("tc filter", format!("{}, {}", self.kind, way(direction))),
        };
        write!(f, "{what} (")?;
        if let Some(id) = self.id {
            write!(f, "id {id}, ")?;
        }
        match &self.name {
            Some(name) if !name.is_empty() => write!(f, "'{name}', ")?,
            Some(_) => f.write_str("without a name, ")?,
            None => {}
        }
        write!(f, "{place})")
    }
}

/// The programs on an interface, and what could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DevicePrograms {
    /// XDP first, then TCX, then the filters of tc; filters of one classifier that are no BPF programs count as one.
    pub programs: Vec<Program>,
    /// What could not be read, as clauses for the user.
    pub unread: Vec<String>,
}

/// Returns the XDP program on `device`, if there is one. An interface takes only one at a time.
pub fn xdp_program(device: &Device) -> Option<Program> {
    device.xdp.first().map(|program| Program::new(ProgramHook::Xdp(program.place), program.id))
}

/// Returns how XDP is attached to `device`, if it is.
pub fn xdp_mode_of(device: &Device) -> Option<&'static str> {
    device.xdp.first().map(|program| program.place.name())
}

/// Lists the programs on each of `devices`, in their order; they must be in this thread's network namespace.
pub fn attached(devices: &[Device]) -> Vec<DevicePrograms> {
    let only = if let [device] = devices { Some(device.ifindex) } else { None };
    let mut filters = tc_filters::read(only);
    let programs_of = |device: &Device| {
        let mut found = DevicePrograms::default();
        found
            .programs
            .extend(device.xdp.iter().map(|program| Program::new(ProgramHook::Xdp(program.place), program.id)));
        for direction in [Direction::In, Direction::Out] {
            found.add_tcx(device.ifindex, direction);
        }
        match &mut filters {
            Ok(filters) => {
                let own = filters.remove(&device.ifindex).unwrap_or_default();
                found.programs.extend(own.into_iter().map(Program::from_filter));
            }
            Err(error) => found.cannot(&format!("tc filters ({error})")),
        }
        found
    };
    devices.iter().map(programs_of).collect()
}

impl DevicePrograms {
    fn add_tcx(&mut self, ifindex: u32, direction: Direction) {
        match bpf_sys::query_tcx(ifindex, direction) {
            Ok(ids) => self.programs.extend(ids.into_iter().map(|id| Program::new(ProgramHook::Tcx(direction), id))),
            // Kernels before 6.6 have no TCX, so nothing is attached.
            Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => {}
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                self.cannot("TCX programs (needs CAP_NET_ADMIN)");
            }
            Err(error) => self.cannot(&format!("TCX programs ({error})")),
        }
    }

    fn cannot(&mut self, what: &str) {
        if !self.unread.iter().any(|said| said == what) {
            self.unread.push(what.to_owned());
        }
    }
}

/// Returns the name of a program, if it may be read.
fn name(id: u32) -> Option<String> {
    bpf_sys::program_by_id(id).ok().map(|info| info.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(hook: ProgramHook, id: Option<u32>, name: Option<&str>, kind: &str) -> Program {
        Program { hook, id, name: name.map(str::to_owned), kind: kind.to_owned() }
    }

    #[test]
    fn a_program_is_matched_by_id_name_and_place() {
        let xdp = ProgramHook::Xdp(XdpPlace::Native);
        let rows = [
            (program(xdp, Some(42), Some("xdp_pass"), "bpf"), "XDP program (id 42, 'xdp_pass', native)"),
            (program(xdp, Some(42), None, "bpf"), "XDP program (id 42, native)"),
            (program(xdp, Some(42), Some(""), "bpf"), "XDP program (id 42, without a name, native)"),
            (
                program(ProgramHook::Tcx(Direction::In), Some(7), Some("cil"), "bpf"),
                "TCX program (id 7, 'cil', ingress)",
            ),
            (program(ProgramHook::Clsact(Direction::Out), Some(7), None, "bpf"), "tc program (id 7, egress)"),
            (program(ProgramHook::Clsact(Direction::In), None, None, "flower"), "tc filter (flower, ingress)"),
        ];
        for (program, text) in rows {
            assert_eq!(program.to_string(), text);
        }
    }

    #[test]
    fn a_program_is_probes_by_its_name() {
        let named = |name| program(ProgramHook::Xdp(XdpPlace::Generic), Some(1), name, "bpf").owner();
        assert_eq!(named(Some("probe_xdp")), Owner::Probe);
        assert_eq!(named(Some("xdp_pass")), Owner::Other);
        assert_eq!(named(Some("")), Owner::Other);
        assert_eq!(named(None), Owner::Unknown);
        assert_eq!(program(ProgramHook::Clsact(Direction::In), None, None, "flower").owner(), Owner::Other);
    }
}
