//! Programs of a few instructions, and running programs on a frame, through bpf(2) alone.
//!
//! aya runs the programs that it has loaded, and these must be measured the same way.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use bytemuck::{Pod, Zeroable};
use nix::libc;

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const OBJ_GET: libc::c_int = 7;
const PROG_TEST_RUN: libc::c_int = 10;

const MAP_TYPE_PROG_ARRAY: u32 = 3;
const ATTACH_XDP: u32 = 37;
const XDP_HAS_FRAGS: u32 = 1 << 5;

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Xdp,
    Tc,
}

impl Hook {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Xdp => "XDP",
            Self::Tc => "tc",
        }
    }

    /// What lets a packet go on.
    const fn pass(self) -> i32 {
        match self {
            Self::Xdp => 2,
            Self::Tc => -1,
        }
    }

    /// Where `data` and `data_end` are in its context.
    const fn bounds(self) -> (i16, i16) {
        match self {
            Self::Xdp => (0, 4),
            Self::Tc => (76, 80),
        }
    }
}

/// `struct bpf_insn`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

const fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
    Instruction { code, registers, offset, immediate }
}

/// The parts of `union bpf_attr` that are used here.
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
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `struct xdp_md` of `include/uapi/linux/bpf.h`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct XdpContext {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

/// The longer form of [`TestRun`].
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct LiveRun {
    run: TestRun,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

/// Hands this many copies of `frame` to `program`, as if they had come in by the interface `ifindex`, and lets the kernel do
/// with them what it says (`BPF_F_TEST_XDP_LIVE_FRAMES`).
pub(crate) fn flood(program: &impl AsFd, frame: &[u8], ifindex: u32, frames: u32) -> io::Result<()> {
    const LIVE_FRAMES: u32 = 1 << 1;
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    let context = XdpContext { data_end: length, ingress_ifindex: ifindex, ..XdpContext::zeroed() };
    let mut attributes = LiveRun {
        run: TestRun {
            prog_fd: program.as_fd().as_raw_fd().cast_unsigned(),
            data_size_in: length,
            data_in: frame.as_ptr() as u64,
            repeat: frames,
            ..TestRun::zeroed()
        },
        ctx_size_in: size_of::<XdpContext>() as u32,
        ctx_in: (&raw const context) as u64,
        flags: LIVE_FRAMES,
        ..LiveRun::zeroed()
    };
    // SAFETY: the frame and the context outlive the call, which only reads them.
    unsafe { bpf(PROG_TEST_RUN, &mut attributes) }.map(drop)
}

/// The object that is pinned at `path`.
pub(crate) fn open_pin(path: &CStr) -> io::Result<OwnedFd> {
    let mut attributes = ObjectGet { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: the kernel reads the path, which ends with a zero and outlives the call.
    let descriptor = unsafe { bpf(OBJ_GET, &mut attributes) }?;
    // SAFETY: the kernel has just made it for this process, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ObjectGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Runs a program on `frame` this many times, and returns its last answer.
pub(crate) fn run(program: &impl AsFd, frame: &[u8], repeat: u32) -> io::Result<u32> {
    let mut attributes = TestRun {
        prog_fd: number(program),
        data_size_in: u32::try_from(frame.len()).map_err(io::Error::other)?,
        data_in: frame.as_ptr().expose_provenance() as u64,
        repeat,
        ..TestRun::zeroed()
    };
    // SAFETY: the kernel reads the frame, whose length is told and which outlives the call, and writes no data back.
    unsafe { bpf(PROG_TEST_RUN, &mut attributes) }?;
    Ok(attributes.retval)
}

/// The program that lets every packet go on.
pub(crate) fn empty(hook: Hook) -> io::Result<OwnedFd> {
    load(hook, &[instruction(0xb7, 0, 0, 0, hook.pass()), instruction(0x95, 0, 0, 0, 0)])
}

/// The same after reading the exact clock: the cost of time stamps.
pub(crate) fn clock_alone(hook: Hook) -> io::Result<OwnedFd> {
    /// `bpf_ktime_get_ns`.
    const CLOCK: i32 = 5;
    let pass = instruction(0xb7, 0, 0, 0, hook.pass());
    load(hook, &[instruction(0x85, 0, 0, 0, CLOCK), pass, instruction(0x95, 0, 0, 0, 0)])
}

/// A program that adds an odd number to the echo id of an untagged IPv4 frame without options, so that all 65,536 ids
/// take turns in no order that a cache foresees, and goes on with `program`. It does so while the array, which comes second,
/// is open.
pub(crate) fn through_all_ids(hook: Hook, program: &impl AsFd) -> io::Result<[OwnedFd; 2]> {
    /// Where the id is in the frame.
    const ID: i16 = 14 + 20 + 4;
    /// `bpf_tail_call`.
    const TAIL_CALL: i32 = 12;
    let programs = program_array(program)?;
    let (data, data_end) = hook.bounds();
    let descriptor = programs.as_raw_fd();
    let program = load(
        hook,
        &[
            instruction(0xbf, 6, 1, 0, 0),                 // r6 = r1
            instruction(0x61, 2, 1, data, 0),              // r2 = data
            instruction(0x61, 3, 1, data_end, 0),          // r3 = data_end
            instruction(0xbf, 4, 2, 0, 0),                 // r4 = r2
            instruction(0x07, 4, 0, 0, i32::from(ID) + 2), // r4 += end of the id
            instruction(0x2d, 4, 3, 8, 0),                 // if r4 > r3, skip all that follows
            instruction(0x69, 5, 2, ID, 0),                // r5 = *(u16 *)(r2 + ID)
            instruction(0x07, 5, 0, 0, 0x9e37),            // r5 += an odd number
            instruction(0x6b, 2, 5, ID, 0),                // *(u16 *)(r2 + ID) = r5
            instruction(0xbf, 1, 6, 0, 0),                 // r1 = r6
            instruction(0x18, 2, 1, 0, descriptor),        // r2 = the array (two instructions)
            instruction(0, 0, 0, 0, 0),
            instruction(0xb7, 3, 0, 0, 0), // r3 = 0
            instruction(0x85, 0, 0, 0, TAIL_CALL),
            instruction(0xb7, 0, 0, 0, hook.pass()),
            instruction(0x95, 0, 0, 0, 0),
        ],
    )?;
    Ok([program, programs])
}

fn load(hook: Hook, program: &[Instruction]) -> io::Result<OwnedFd> {
    // As aya loads probe's programs: the kernel lets only programs of one kind tail-call each other.
    let (prog_type, prog_flags, expected_attach_type) = match hook {
        Hook::Xdp => (6, XDP_HAS_FRAGS, ATTACH_XDP),
        Hook::Tc => (3, 0, 0),
    };
    let mut attributes = ProgLoad {
        prog_type,
        insn_cnt: u32::try_from(program.len()).map_err(io::Error::other)?,
        insns: program.as_ptr().expose_provenance() as u64,
        license: c"GPL".as_ptr().expose_provenance() as u64,
        prog_flags,
        expected_attach_type,
        ..ProgLoad::zeroed()
    };
    // SAFETY: the program and the licence outlive the call, their lengths are told, and the kernel only reads them.
    unsafe { descriptor(PROG_LOAD, &mut attributes) }
}

/// An array for tail calls with `program` in it, until it is closed.
fn program_array(program: &impl AsFd) -> io::Result<OwnedFd> {
    let mut attributes = MapCreate { map_type: MAP_TYPE_PROG_ARRAY, key_size: 4, value_size: 4, max_entries: 1 };
    // SAFETY: these attributes hold no pointer.
    let array = unsafe { descriptor(MAP_CREATE, &mut attributes) }?;
    let (key, value) = (0_u32, number(program));
    let mut attributes = MapUpdate {
        map_fd: number(&array),
        key: (&raw const key).expose_provenance() as u64,
        value: (&raw const value).expose_provenance() as u64,
        ..MapUpdate::zeroed()
    };
    // SAFETY: the kernel reads a key and a value of 4 bytes each, which outlive the call.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }?;
    Ok(array)
}

fn number(owner: &impl AsFd) -> u32 {
    owner.as_fd().as_raw_fd().cast_unsigned()
}

/// # Safety
/// As for [`bpf`], and the answer must be a descriptor that is this process's to close.
unsafe fn descriptor<A: Pod>(command: libc::c_int, attributes: &mut A) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let descriptor = unsafe { bpf(command, attributes) }?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// # Safety
/// `A` must be what `command` reads, and every pointer in it valid for what the kernel does with it.
unsafe fn bpf<A: Pod>(command: libc::c_int, attributes: &mut A) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are plain data of the length that is told; their pointers are the caller's promise.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<A>()) };
    match libc::c_int::try_from(answer) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}
