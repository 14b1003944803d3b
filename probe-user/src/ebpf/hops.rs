//! The hops from the user side: one file per hook family, named like its file in the kernel half.

pub mod availability;
pub mod cgroup;
pub mod clsact;
pub mod device;
pub mod drops;
pub mod netfilter;
mod share;
pub mod tc;
mod tracepoint;
pub mod xdp;

pub use share::{ProgramLookup, Share};
pub use tracepoint::TraceLink;

use aya::programs::Program;
use probe_ebpf::{Hop, names};

use super::{KernelError, old_kernel};
use crate::host::device::AttachMode;

/// Returns the name of the program of `hop` on this kernel if XDP is attached in `mode`.
pub fn program(hop: Hop, mode: AttachMode) -> &'static str {
    match (hop, mode) {
        (Hop::XdpIn, _) if old_kernel::is_here() => names::XDP_OLD,
        (Hop::TcIn, _) if old_kernel::is_here() => names::IN_OLD,
        (Hop::TcOut, _) if old_kernel::is_here() => names::OUT_OLD,
        (Hop::XdpIn, AttachMode::Generic) => names::XDP_GENERIC,
        _ => hop.row().program,
    }
}

/// Passes the program `name` through the verifier.
pub fn load(programs: &mut impl ProgramLookup, name: &'static str) -> Result<(), KernelError> {
    if super::netfilter::PROGRAMS.contains(&name) {
        // aya would load them as socket filters, which they are not: `netfilter::attach` loads them.
        return Ok(());
    }
    let program = programs.named(name).ok_or(KernelError::NoProgram { name })?;
    let loaded = match program {
        Program::Xdp(xdp) => xdp.load(),
        Program::SchedClassifier(classifier) => classifier.load(),
        Program::CgroupSkb(cgroup) => cgroup.load(),
        _ => return Err(KernelError::NoProgram { name }),
    };
    loaded.map_err(|source| KernelError::LoadProgram { name, source: Box::new(source) })
}
