//! What the tracepoint hops share: a program for one tracepoint, whose arguments are checked before it is attached.

use aya::{
    Btf,
    programs::{BtfTracePoint, ProgramError, tp_btf::BtfTracePointLink},
};

use super::ProgramLookup;
use crate::{
    ebpf::{KernelError, running::RunningKernel},
    host::offsets::OffsetGroup,
};

/// A program and its tracepoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tracepoint {
    /// The program.
    pub(super) program: &'static str,
    /// The tracepoint, without its group.
    pub(super) name: &'static str,
    /// The arguments that the program reads.
    pub(super) arguments: &'static [&'static str],
}

/// A program on a tracepoint; dropping it detaches.
#[must_use]
pub struct TraceLink {
    _link: BtfTracePointLink,
}

impl Tracepoint {
    /// Checks that this kernel has it with the arguments that the program expects.
    ///
    /// # Errors
    /// Why not, as a clause for the user.
    pub(super) fn available(&self, kernel: &RunningKernel) -> Result<(), String> {
        kernel.layout(OffsetGroup::Packet)?;
        kernel.btf()?.match_proto(self.name, self.arguments).map_err(|lack| lack.to_string())
    }

    /// Loads the program and attaches it.
    ///
    /// # Errors
    /// [`KernelError::LoadProgram`] if the verifier or the kernel's policy refuses.
    pub(super) fn attach(&self, programs: &mut impl ProgramLookup, types: &Btf) -> Result<TraceLink, KernelError> {
        let name = self.program;
        let program = programs.named(name).ok_or(KernelError::NoProgram { name })?;
        let program: &mut BtfTracePoint = program.try_into().map_err(|_| KernelError::NoProgram { name })?;
        let link = self.link(program, types);
        let link = link.map_err(|source| KernelError::LoadProgram { name, source: Box::new(source) })?;
        tracing::info!("{name} attached to the tracepoint {}", self.name);
        Ok(TraceLink { _link: link })
    }

    fn link(&self, program: &mut BtfTracePoint, types: &Btf) -> Result<BtfTracePointLink, ProgramError> {
        program.load(self.name, types)?;
        let id = program.attach()?;
        program.take_link(id)
    }
}
