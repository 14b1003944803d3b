//! The tracepoints at which the kernel frees packets, from the user side.

use aya::Btf;
use probe_ebpf::names;

use super::{
    ProgramLookup,
    tracepoint::{TraceLink, Tracepoint},
};
use crate::{ebpf::KernelError, ebpf::running::RunningKernel};

/// The reason, added in Linux 5.17, is checked for separately: older kernels report drops without one.
const DROPPED: Tracepoint =
    Tracepoint { program: names::KFREE, name: "kfree_skb", arguments: &["struct sk_buff *", "void *"] };
/// The location, added in Linux 6.3, is checked for separately: on older kernels the stack shows who consumed the packet.
const CONSUMED: Tracepoint =
    Tracepoint { program: names::CONSUME, name: "consume_skb", arguments: &["struct sk_buff *"] };

/// What is watched at the points where the kernel frees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeTracepoint {
    /// Drops: the events, and replies that end at no ping socket.
    Dropped,
    /// Packets that end inside the kernel's ICMP: [`probe_ebpf::Hop::IcmpIn`].
    Consumed,
}

/// Checks that `end` can be watched on this kernel.
///
/// # Errors
/// Why not, as a clause for the user.
pub fn available(kernel: &RunningKernel, end: FreeTracepoint) -> Result<(), String> {
    tracepoint(end).available(kernel)?;
    match end {
        FreeTracepoint::Dropped => Ok(()),
        FreeTracepoint::Consumed => kernel.icmp_code().map(drop),
    }
}

/// Attaches the program of `end`; dropping the link detaches it.
///
/// # Errors
/// [`KernelError::LoadProgram`] if the verifier or the kernel's policy refuses.
pub fn attach(programs: &mut impl ProgramLookup, types: &Btf, end: FreeTracepoint) -> Result<TraceLink, KernelError> {
    tracepoint(end).attach(programs, types)
}

const fn tracepoint(end: FreeTracepoint) -> Tracepoint {
    match end {
        FreeTracepoint::Dropped => DROPPED,
        FreeTracepoint::Consumed => CONSUMED,
    }
}
