//! The few bpf(2) commands that aya does not offer for plain programs, as safe functions.
//!
//! All the `unsafe` code for them is in this file; each function makes its own attributes and vouches for their pointers.

mod attributes;
mod instruction;
mod statistics;

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use bytemuck::{Pod, Zeroable};
use nix::libc;
use probe_ebpf::contract::kind::Direction;

pub(super) use attributes::{Element, LookupBatch};
use attributes::{
    GetFd, GetInfo, LinkCreate, LinkCreateNetfilter, LinkDetach, LinkUpdate, MapCreate, ObjectGet, ProgInfo, ProgLoad,
    ProgQuery, QueryCgroup, object_name,
};
pub use instruction::{Instruction, always};
pub use statistics::{RunTime, measure_run_time, run_time};

const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const OBJ_GET: libc::c_int = 7;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;
const LINK_CREATE: libc::c_int = 28;
const LINK_UPDATE: libc::c_int = 29;
const LINK_DETACH: libc::c_int = 34;

const MAP_TYPE_ARRAY: u32 = 2;
const ATTACH_CGROUP_INGRESS: u32 = 0;
const ATTACH_CGROUP_EGRESS: u32 = 1;
const ATTACH_XDP: u32 = 37;
const ATTACH_NETFILTER: u32 = 45;
const ATTACH_TCX_INGRESS: u32 = 46;
const ATTACH_TCX_EGRESS: u32 = 47;
const XDP_SKB_MODE: u32 = 1 << 1;
const XDP_DRV_MODE: u32 = 1 << 2;

/// Which hook a program is for: its number in `enum bpf_prog_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProgramType {
    /// `BPF_PROG_TYPE_SCHED_CLS`: tc, as a TCX link or a filter.
    Tc = 3,
    /// `BPF_PROG_TYPE_XDP`.
    Xdp = 6,
    /// `BPF_PROG_TYPE_CGROUP_SKB`.
    CgroupSkb = 8,
    /// `BPF_PROG_TYPE_NETFILTER` (Linux 6.4).
    Netfilter = 32,
}

impl ProgramType {
    /// Returns the `expected_attach_type` that the kernel requires; 0 for most types.
    const fn attach_type(self) -> u32 {
        match self {
            Self::Tc | Self::Xdp | Self::CgroupSkb => 0,
            Self::Netfilter => ATTACH_NETFILTER,
        }
    }
}

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the kernel's receive path.
    Generic,
    /// In the driver.
    Native,
}

/// What the kernel reports about a loaded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramInfo {
    /// Its id, as in `bpftool prog`.
    pub id: u32,
    /// The name it was loaded under: at most 15 bytes; empty if it has none.
    pub name: String,
    /// Bytes of machine code; 0 means that the program is interpreted.
    pub machine_code_bytes: u32,
}

/// Loads a program under a GPL-compatible licence.
///
/// # Errors
/// The kernel's answer: EPERM without privilege, EACCES or EINVAL if the verifier refuses.
pub fn load_program(kind: ProgramType, name: &str, program: &[Instruction]) -> io::Result<OwnedFd> {
    let mut attributes = ProgLoad {
        prog_type: kind as u32,
        insn_cnt: u32::try_from(program.len()).map_err(io::Error::other)?,
        insns: address(program.as_ptr()),
        license: address(c"Dual MIT/GPL".as_ptr()),
        prog_name: object_name(name),
        expected_attach_type: kind.attach_type(),
        ..ProgLoad::zeroed()
    };
    // SAFETY: `program` and the licence outlive the call, their lengths are passed along, and the kernel only reads them.
    unsafe { bpf_fd(PROG_LOAD, &mut attributes) }
}

/// Returns the verifier's log for a program that it refuses; empty if the kernel refuses the program before that.
pub(super) fn verifier_log(kind: ProgramType, program: &[Instruction]) -> String {
    let mut log = vec![0_u8; 1 << 20];
    let mut attributes = ProgLoad {
        prog_type: kind as u32,
        insn_cnt: u32::try_from(program.len()).unwrap_or(0),
        insns: address(program.as_ptr()),
        license: address(c"Dual MIT/GPL".as_ptr()),
        log_level: 1,
        log_size: u32::try_from(log.len()).unwrap_or(0),
        log_buf: address(log.as_mut_ptr()),
        expected_attach_type: kind.attach_type(),
        ..ProgLoad::zeroed()
    };
    // SAFETY: as for `load_program`; the kernel writes at most `log_size` bytes to `log`, which outlives the call.
    let loaded = unsafe { bpf_fd(PROG_LOAD, &mut attributes) };
    drop(loaded);
    CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy().into_owned()
}

/// Makes an array map of one 8-byte value.
///
/// # Errors
/// The kernel's answer.
pub fn create_map(name: &str) -> io::Result<OwnedFd> {
    let mut attributes = MapCreate {
        map_type: MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        map_name: object_name(name),
        ..MapCreate::zeroed()
    };
    // SAFETY: these attributes hold no pointer.
    unsafe { bpf_fd(MAP_CREATE, &mut attributes) }
}

/// Attaches an XDP program to an interface of this thread's network namespace until the link is closed.
///
/// # Errors
/// The kernel's answer: EBUSY or EEXIST if another program holds the interface, EOPNOTSUPP without native XDP.
pub fn link_xdp(program: impl AsFd, ifindex: u32, mode: XdpMode) -> io::Result<OwnedFd> {
    let flags = match mode {
        XdpMode::Generic => XDP_SKB_MODE,
        XdpMode::Native => XDP_DRV_MODE,
    };
    link(&program, ifindex, ATTACH_XDP, flags)
}

/// Attaches a tc program to an interface of this thread's network namespace, after the programs there, until the link is
/// closed.
///
/// # Errors
/// The kernel's answer: EINVAL before Linux 6.6.
pub fn link_tcx(program: impl AsFd, ifindex: u32, direction: Direction) -> io::Result<OwnedFd> {
    link(&program, ifindex, tcx(direction), 0)
}

/// Attaches a `cgroup_skb` program to a cgroup, beside the programs there, until the link is closed.
///
/// # Errors
/// The kernel's answer: EPERM if a program there allows no other.
pub fn link_cgroup(program: impl AsFd, cgroup: impl AsFd, direction: Direction) -> io::Result<OwnedFd> {
    link(&program, descriptor(&cgroup), cgroup_skb(direction), 0)
}

/// Attaches a netfilter program to a hook of this thread's network namespace until the link is closed. Programs run in
/// the order of their priorities, the lowest first.
///
/// # Errors
/// The kernel's answer: EBUSY if something else has this priority at the hook, EAFNOSUPPORT or EOPNOTSUPP if the kernel
/// lacks the protocol, ERANGE for the lowest and the highest priority, which netfilter reserves.
pub(super) fn link_netfilter(program: impl AsFd, at: NetfilterPlace) -> io::Result<OwnedFd> {
    let mut attributes = LinkCreateNetfilter {
        prog_fd: descriptor(&program),
        attach_type: ATTACH_NETFILTER,
        protocol: at.protocol,
        hook: at.hook,
        priority: at.priority,
        ..LinkCreateNetfilter::zeroed()
    };
    // SAFETY: these attributes hold no pointer.
    unsafe { bpf_fd(LINK_CREATE, &mut attributes) }
}

/// Where a netfilter program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NetfilterPlace {
    /// `NFPROTO_*` of `include/uapi/linux/netfilter.h`.
    pub(super) protocol: u32,
    /// `NF_INET_*` of the same file.
    pub(super) hook: u32,
    /// Smaller ones run first.
    pub(super) priority: i32,
}

/// Attaches to `target`: the index of an interface, or the descriptor of a cgroup.
fn link(program: &impl AsFd, target: u32, attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    let prog_fd = descriptor(program);
    let mut attributes = LinkCreate { prog_fd, target, attach_type, flags, ..LinkCreate::zeroed() };
    // SAFETY: these attributes hold no pointer.
    unsafe { bpf_fd(LINK_CREATE, &mut attributes) }
}

/// Returns the ids of the `cgroup_skb` programs that run for `cgroup`, including those of the cgroups above it.
///
/// # Errors
/// The kernel's answer: EPERM without `CAP_NET_ADMIN`.
pub(crate) fn query_cgroup(cgroup: &impl AsFd, direction: Direction) -> io::Result<Vec<u32>> {
    /// `BPF_F_QUERY_EFFECTIVE`.
    const EFFECTIVE: u32 = 1;
    /// `BPF_CGROUP_MAX_PROGS` of `kernel/bpf/cgroup.c`.
    const MOST: usize = 64;
    let mut ids = [0_u32; MOST];
    let mut attributes = QueryCgroup {
        target_fd: descriptor(cgroup),
        attach_type: cgroup_skb(direction),
        query_flags: EFFECTIVE,
        prog_ids: address(ids.as_mut_ptr()),
        count: u32::try_from(MOST).unwrap_or(0),
        ..QueryCgroup::zeroed()
    };
    // SAFETY: the kernel writes at most `count` ids, for which `ids` has room, and `ids` outlives the call.
    unsafe { bpf(PROG_QUERY, &mut attributes) }?;
    let count = usize::try_from(attributes.count).unwrap_or(MOST).min(MOST);
    Ok(ids[..count].to_vec())
}

/// Returns the ids of the TCX programs on an interface of this thread's network namespace, in the order in which they run.
///
/// # Errors
/// The kernel's answer: EPERM without `CAP_NET_ADMIN`, EINVAL before Linux 6.6.
pub fn query_tcx(ifindex: u32, direction: Direction) -> io::Result<Vec<u32>> {
    /// `BPF_MPROG_MAX` of `include/linux/bpf_mprog.h`.
    const MOST: usize = 64;
    let mut ids = [0_u32; MOST];
    let mut attributes = ProgQuery {
        target_ifindex: ifindex,
        attach_type: tcx(direction),
        prog_ids: address(ids.as_mut_ptr()),
        count: u32::try_from(MOST).unwrap_or(0),
        ..ProgQuery::zeroed()
    };
    // SAFETY: the kernel writes at most `count` ids, for which `ids` has room, and `ids` outlives the call.
    let outcome = unsafe { bpf(PROG_QUERY, &mut attributes) };
    match outcome {
        // The kernel's answer if no program is attached.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Vec::new()),
        outcome => outcome?,
    };
    let count = usize::try_from(attributes.count).unwrap_or(MOST).min(MOST);
    Ok(ids[..count].to_vec())
}

/// Returns what the kernel reports about the program with this id.
///
/// # Errors
/// EPERM without `CAP_SYS_ADMIN`, ENOENT if it is gone.
pub fn program_by_id(id: u32) -> io::Result<ProgramInfo> {
    let mut attributes = GetFd { id, ..GetFd::zeroed() };
    // SAFETY: these attributes hold no pointer.
    let program = unsafe { bpf_fd(PROG_GET_FD_BY_ID, &mut attributes) }?;
    program_info(program)
}

/// Returns what the kernel reports about a loaded program.
///
/// # Errors
/// The kernel's answer.
pub fn program_info(program: impl AsFd) -> io::Result<ProgramInfo> {
    let info: ProgInfo = object_info(&program)?;
    let name = CStr::from_bytes_until_nul(&info.name).unwrap_or_default().to_string_lossy().into_owned();
    Ok(ProgramInfo { id: info.id, name, machine_code_bytes: info.jited_prog_len })
}

/// Returns what the kernel reports about a map, program or link: the first bytes of its structure, as many as `I` has.
///
/// # Errors
/// The kernel's answer.
pub(super) fn object_info<I: Pod>(object: &impl AsFd) -> io::Result<I> {
    let mut info = I::zeroed();
    let mut attributes = GetInfo {
        fd: descriptor(object),
        info_len: u32::try_from(size_of::<I>()).unwrap_or(0),
        info: address(&raw mut info),
    };
    // SAFETY: the kernel writes at most `info_len` bytes, the size of `info`, which outlives the call. All pointers that
    // `I` may hold are null with a length of zero: nothing is written through them.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(info)
}

/// Opens the object pinned at `path` on a BPF file system.
///
/// # Errors
/// The kernel's answer: ENOENT if nothing is pinned there.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = ObjectGet { pathname: address(path.as_ptr()), ..ObjectGet::zeroed() };
    // SAFETY: the kernel reads the path, which ends with a zero and outlives the call.
    unsafe { bpf_fd(OBJ_GET, &mut attributes) }
}

const fn cgroup_skb(direction: Direction) -> u32 {
    match direction {
        Direction::In => ATTACH_CGROUP_INGRESS,
        Direction::Out => ATTACH_CGROUP_EGRESS,
    }
}

/// Detaches the program of a link at once. Closing or unlinking the last handle would leave the kernel to do that later.
///
/// # Errors
/// The kernel's answer.
pub(super) fn detach_link(link: &impl AsFd) -> io::Result<()> {
    let mut attributes = LinkDetach { link_fd: descriptor(link) };
    // SAFETY: these attributes hold no pointer.
    unsafe { bpf(LINK_DETACH, &mut attributes) }.map(drop)
}

/// Replaces the program that a link runs with `program`, from one packet to the next.
///
/// # Errors
/// The kernel's answer: ENOLINK if the interface is gone.
pub(super) fn update_link(link: &impl AsFd, program: impl AsFd) -> io::Result<()> {
    let mut attributes =
        LinkUpdate { link_fd: descriptor(link), new_prog_fd: descriptor(&program), ..LinkUpdate::zeroed() };
    // SAFETY: these attributes hold no pointer.
    unsafe { bpf(LINK_UPDATE, &mut attributes) }.map(drop)
}

const fn tcx(direction: Direction) -> u32 {
    match direction {
        Direction::In => ATTACH_TCX_INGRESS,
        Direction::Out => ATTACH_TCX_EGRESS,
    }
}

fn address<T>(pointer: *const T) -> u64 {
    pointer as usize as u64
}

fn descriptor(owner: &impl AsFd) -> u32 {
    owner.as_fd().as_raw_fd().cast_unsigned()
}

/// Calls bpf(2) for a command that returns a file descriptor.
///
/// # Safety
/// As for [`bpf`], and `command` must return a descriptor that this process owns and closes.
unsafe fn bpf_fd<A: Pod>(command: libc::c_int, attributes: &mut A) -> io::Result<OwnedFd> {
    // SAFETY: promised by the caller.
    let descriptor = unsafe { bpf(command, attributes) }?;
    // SAFETY: the kernel has just made this descriptor for the caller, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Calls bpf(2).
///
/// # Safety
/// `A` must be what `command` reads, and every pointer in it valid for what the kernel reads or writes through it.
pub(super) unsafe fn bpf<A: Pod>(command: libc::c_int, attributes: &mut A) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are plain data of the length that is passed; the caller promises that their pointers are valid.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<A>()) };
    match libc::c_int::try_from(answer) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}
