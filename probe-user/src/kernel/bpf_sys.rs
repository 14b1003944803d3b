//! The few bpf(2) commands that aya does not offer for bare programs, as safe functions.
//!
//! Each attribute structure is the part of `union bpf_attr` (`include/uapi/linux/bpf.h`) that its command reads, in the
//! machine's byte order; the kernel takes what follows as zero. Pointers in them are 64 bits wide on every machine.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use bytemuck::{Pod, Zeroable};
use nix::libc;
use probe_ebpf::contract::kind::Direction;

const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;
const LINK_CREATE: libc::c_int = 28;

const MAP_TYPE_ARRAY: u32 = 2;
const ATTACH_XDP: u32 = 37;
const ATTACH_TCX_INGRESS: u32 = 46;
const ATTACH_TCX_EGRESS: u32 = 47;
const XDP_SKB_MODE: u32 = 1 << 1;
const XDP_DRV_MODE: u32 = 1 << 2;

/// `BPF_OBJ_NAME_LEN`, the final zero included.
const NAME_BYTES: usize = 16;

/// Which hook a program is for: its number in `enum bpf_prog_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProgramType {
    /// `BPF_PROG_TYPE_SCHED_CLS`: tc, as a TCX link or a filter.
    Tc = 3,
    /// `BPF_PROG_TYPE_XDP`.
    Xdp = 6,
}

/// Where an XDP program is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the kernel's receive path.
    Generic,
    /// In the driver.
    Native,
}

/// One instruction: `struct bpf_insn`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    const fn new(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Self {
        let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
        Self { code, registers, offset, immediate }
    }

    /// `to = value`, 64 bits, sign extended.
    pub const fn set(to: u8, value: i32) -> Self {
        Self::new(0xb7, to, 0, 0, value)
    }

    /// `to = *(u32 *)(from + offset)`.
    pub const fn load_word(to: u8, from: u8, offset: i16) -> Self {
        Self::new(0x61, to, from, offset, 0)
    }

    /// `to += from`, 64 bits.
    pub const fn add(to: u8, from: u8) -> Self {
        Self::new(0x0f, to, from, 0, 0)
    }

    /// Skips `count` instructions if `left > right`, both unsigned.
    pub const fn skip_if_greater(left: u8, right: u8, count: i16) -> Self {
        Self::new(0x2d, left, right, count, 0)
    }

    /// `return r0`.
    pub const fn exit() -> Self {
        Self::new(0x95, 0, 0, 0, 0)
    }
}

/// The program that does nothing but answer `verdict`.
pub const fn always(verdict: i32) -> [Instruction; 2] {
    [Instruction::set(0, verdict), Instruction::exit()]
}

/// For `BPF_MAP_CREATE`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; NAME_BYTES],
}

/// For `BPF_PROG_LOAD`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; NAME_BYTES],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// For `BPF_PROG_GET_FD_BY_ID`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GetFd {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// For `BPF_OBJ_GET_INFO_BY_FD`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GetInfo {
    fd: u32,
    info_len: u32,
    info: u64,
}

/// The first part of `struct bpf_prog_info`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ProgInfo {
    prog_type: u32,
    id: u32,
    tag: [u8; 8],
    jited_prog_len: u32,
    xlated_prog_len: u32,
    jited_prog_insns: u64,
    xlated_prog_insns: u64,
    load_time: u64,
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; NAME_BYTES],
}

/// For `BPF_PROG_QUERY`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ProgQuery {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// For `BPF_LINK_CREATE`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    padding: u32,
    expected_revision: u64,
}

/// What the kernel tells about a loaded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramInfo {
    /// Its id, as in `bpftool prog`.
    pub id: u32,
    /// The name it was loaded under: at most 15 bytes, and empty where it has none.
    pub name: String,
    /// Bytes of machine code; 0: the program is interpreted.
    pub machine_code_bytes: u32,
}

/// Loads a program under a GPL-compatible licence.
///
/// # Errors
/// What the kernel answered: EPERM without privilege, EACCES or EINVAL where the verifier refuses.
pub fn load_program(kind: ProgramType, name: &str, program: &[Instruction]) -> io::Result<OwnedFd> {
    let mut attributes = ProgLoad {
        prog_type: kind as u32,
        insn_cnt: u32::try_from(program.len()).map_err(io::Error::other)?,
        insns: address(program.as_ptr()),
        license: address(c"Dual MIT/GPL".as_ptr()),
        prog_name: object_name(name),
        ..ProgLoad::zeroed()
    };
    // SAFETY: `program` and the licence outlive the call, their lengths are told, and the kernel only reads them.
    unsafe { bpf_fd(PROG_LOAD, &mut attributes) }
}

/// Makes an array map of one 8-byte value.
///
/// # Errors
/// What the kernel answered.
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
/// What the kernel answered: EBUSY or EEXIST where another program holds the interface, EOPNOTSUPP without native XDP.
pub fn link_xdp(program: impl AsFd, ifindex: u32, mode: XdpMode) -> io::Result<OwnedFd> {
    let flags = match mode {
        XdpMode::Generic => XDP_SKB_MODE,
        XdpMode::Native => XDP_DRV_MODE,
    };
    link(&program, ifindex, ATTACH_XDP, flags)
}

/// Attaches a tc program to an interface of this thread's network namespace, after those there, until the link is closed.
///
/// # Errors
/// What the kernel answered: EINVAL before Linux 6.6.
pub fn link_tcx(program: impl AsFd, ifindex: u32, direction: Direction) -> io::Result<OwnedFd> {
    link(&program, ifindex, tcx(direction), 0)
}

fn link(program: &impl AsFd, ifindex: u32, attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    let prog_fd = descriptor(program);
    let mut attributes = LinkCreate { prog_fd, target_ifindex: ifindex, attach_type, flags, ..LinkCreate::zeroed() };
    // SAFETY: these attributes hold no pointer.
    unsafe { bpf_fd(LINK_CREATE, &mut attributes) }
}

/// The ids of the TCX programs on an interface of this thread's network namespace, in the order in which they run.
///
/// # Errors
/// What the kernel answered: EPERM without `CAP_NET_ADMIN`, EINVAL before Linux 6.6.
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
        // The kernel answers so where no program is attached.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Vec::new()),
        outcome => outcome?,
    };
    let count = usize::try_from(attributes.count).unwrap_or(MOST).min(MOST);
    Ok(ids[..count].to_vec())
}

/// What the kernel tells about the program with that id.
///
/// # Errors
/// EPERM without `CAP_SYS_ADMIN`, ENOENT where it is gone.
pub fn program_by_id(id: u32) -> io::Result<ProgramInfo> {
    let mut attributes = GetFd { id, ..GetFd::zeroed() };
    // SAFETY: these attributes hold no pointer.
    let program = unsafe { bpf_fd(PROG_GET_FD_BY_ID, &mut attributes) }?;
    program_info(program)
}

/// What the kernel tells about a loaded program.
///
/// # Errors
/// What the kernel answered.
pub fn program_info(program: impl AsFd) -> io::Result<ProgramInfo> {
    let mut info = ProgInfo::zeroed();
    let mut attributes = GetInfo {
        fd: descriptor(&program),
        info_len: u32::try_from(size_of::<ProgInfo>()).unwrap_or(0),
        info: address(&raw mut info),
    };
    // SAFETY: the kernel writes at most `info_len` bytes, the size of `info`, which outlives the call. All its other
    // pointers are null with a length of zero: nothing is written through them.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    let name = CStr::from_bytes_until_nul(&info.name).unwrap_or_default().to_string_lossy().into_owned();
    Ok(ProgramInfo { id: info.id, name, machine_code_bytes: info.jited_prog_len })
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

/// `name` as the kernel keeps it: cut to 15 bytes.
fn object_name(name: &str) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    for (place, byte) in bytes.iter_mut().take(NAME_BYTES - 1).zip(name.bytes()) {
        *place = byte;
    }
    bytes
}

/// Calls bpf(2) for a command that answers with a file descriptor.
///
/// # Safety
/// As for [`bpf`], and `command` must answer with a descriptor that is this process's to close.
unsafe fn bpf_fd<A: Pod>(command: libc::c_int, attributes: &mut A) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let descriptor = unsafe { bpf(command, attributes) }?;
    // SAFETY: the kernel has just made this descriptor for the caller, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Calls bpf(2).
///
/// # Safety
/// `A` must be what `command` reads, and every pointer in it valid for what the kernel reads or writes through it.
unsafe fn bpf<A: Pod>(command: libc::c_int, attributes: &mut A) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are plain data of the length that is told; their pointers are the caller's promise.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<A>()) };
    match libc::c_int::try_from(answer) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_laid_out_as_the_kernel_reads_them() {
        assert_eq!(size_of::<Instruction>(), 8);
        assert_eq!(std::mem::offset_of!(ProgLoad, prog_name), 48);
        assert_eq!(std::mem::offset_of!(MapCreate, map_name), 28);
        assert_eq!(std::mem::offset_of!(ProgInfo, name), 64);
        assert_eq!(std::mem::offset_of!(ProgQuery, prog_ids), 16);
        assert_eq!(std::mem::offset_of!(LinkCreate, expected_revision), 24);
    }

    #[test]
    fn a_name_is_cut_to_what_the_kernel_keeps() {
        assert_eq!(&object_name("probe_trial_and_more"), b"probe_trial_and\0");
        assert_eq!(&object_name("probe")[..6], b"probe\0");
    }
}
