//! The hops from the user side: one hook family a file, with the stems that the kernel half uses.

pub mod cgroup;
pub mod clsact;
pub mod device;
pub mod drops;
pub mod netfilter;
pub mod tc;
mod tracepoint;
pub mod xdp;

pub use tracepoint::TraceLink;

use aya::{Ebpf, programs::Program};
use probe_ebpf::Hop;

use super::Error;

/// Passes the program of `hop` through the verifier.
pub fn load(programs: &mut Ebpf, hop: Hop) -> Result<(), Error> {
    let name = hop.row().program;
    let program = programs.program_mut(name).ok_or(Error::NoProgram { name })?;
    let loaded = match program {
        Program::Xdp(xdp) => xdp.load(),
        Program::SchedClassifier(classifier) => classifier.load(),
        _ => return Err(Error::NoProgram { name }),
    };
    loaded.map_err(|source| Error::LoadProgram { name, source: Box::new(source) })
}
