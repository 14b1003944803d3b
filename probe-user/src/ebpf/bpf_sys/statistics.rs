//! How long programs run, which the kernel measures only while somebody asks for it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use bytemuck::{Pod, Zeroable};
use nix::libc;

use super::{attributes::ProgInfo, bpf_fd, object_info};

const ENABLE_STATS: libc::c_int = 32;
/// `BPF_STATS_RUN_TIME` of `enum bpf_stats_type`.
const RUN_TIME: u32 = 0;

/// For `BPF_ENABLE_STATS`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct EnableStats {
    kind: u32,
}

/// `struct bpf_prog_info` up to its run-time counters.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct TimedInfo {
    begin: ProgInfo,
    ifindex: u32,
    flags: u32,
    netns_dev: u64,
    netns_ino: u64,
    nr_jited_ksyms: u32,
    nr_jited_func_lens: u32,
    jited_ksyms: u64,
    jited_func_lens: u64,
    btf_id: u32,
    func_info_rec_size: u32,
    func_info: u64,
    nr_func_info: u32,
    nr_line_info: u32,
    line_info: u64,
    jited_line_info: u64,
    nr_jited_line_info: u32,
    line_info_rec_size: u32,
    jited_line_info_rec_size: u32,
    nr_prog_tags: u32,
    prog_tags: u64,
    run_time_ns: u64,
    run_cnt: u64,
}

/// How long a program ran while the kernel measured, over all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTime {
    /// Nanoseconds.
    pub ns: u64,
    /// Runs, including those for other packets.
    pub runs: u64,
}

/// Makes the kernel measure the run time of every program on the machine until the descriptor is closed. Each run then costs
/// two reads of the clock more.
///
/// # Errors
/// The kernel's answer: EPERM without `CAP_SYS_ADMIN`, EINVAL before Linux 5.8.
pub fn measure_run_time() -> io::Result<OwnedFd> {
    let mut attributes = EnableStats { kind: RUN_TIME };
    // SAFETY: these attributes hold no pointer, and the command answers with a new descriptor.
    unsafe { bpf_fd(ENABLE_STATS, &mut attributes) }
}

/// Returns how long a loaded program has run so far.
///
/// # Errors
/// The kernel's answer.
pub fn run_time(program: impl AsFd) -> io::Result<RunTime> {
    let info: TimedInfo = object_info(&program)?;
    Ok(RunTime { ns: info.run_time_ns, runs: info.run_cnt })
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn the_counters_are_where_the_kernel_writes_them() {
        assert_eq!((offset_of!(TimedInfo, run_time_ns), offset_of!(TimedInfo, run_cnt)), (192, 200));
    }
}
