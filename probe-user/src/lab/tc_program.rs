//! A foreign tc program on an interface: a TCX link, or a filter on a clsact qdisc if the kernel has no TCX.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use nix::libc;
use probe_ebpf::Direction;

use crate::{ebpf::bpf_sys, host::device::tc_filters};

/// Attaches a loaded program in the calling thread's network namespace. A link holds it until it is closed; a filter
/// needs no holder and disappears with the interface.
///
/// # Errors
/// What the kernel answered.
pub fn attach_tc_program(program: impl AsFd, ifindex: u32, direction: Direction) -> io::Result<Option<OwnedFd>> {
    match bpf_sys::link_tcx(program.as_fd(), ifindex, direction) {
        // What kernels before 6.6 answer.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            attach_filter(program, ifindex, direction).map(|()| None)
        }
        link => link.map(Some),
    }
}

/// Attaches by a clsact filter, as kernels before 6.6 need.
///
/// # Errors
/// What the kernel answered.
pub fn attach_filter(program: impl AsFd, ifindex: u32, direction: Direction) -> io::Result<()> {
    if !tc_filters::has_qdisc(ifindex)? {
        tc_filters::add_clsact(ifindex)?;
    }
    tc_filters::add_program(ifindex, direction, program, "someone_elses")
}
