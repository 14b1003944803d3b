//! The only writer of followed echoes: gives an echo of another program its number at first sight, and recognizes it
//! later.

use core::ffi::c_void;

use aya_ebpf::helpers::{
    bpf_ktime_get_ns,
    generated::{bpf_get_current_task, bpf_probe_read_kernel},
};
use probe_ebpf::{
    Echo,
    contract::{
        follow::{
            AMBIGUOUS, ANY, AddressWords, FollowedEntry, MAX_ANCESTORS, OF_ONE_ID, OF_ONE_PROCESS, PID_LEVELS,
            PROGRAM_BYTES, TO_ONE_TARGET, echo_key,
        },
        journey::MAX_PROBES,
        offsets::ABSENT,
    },
    packet::EchoPacket,
};

use super::{
    atomic,
    config::config,
    maps::{FOLLOW_COUNT, FOLLOW_KEYS, FOLLOW_OTHERS, FOLLOW_SIGHTS, FOLLOWED},
    offsets::offset,
};

/// `include/uapi/linux/bpf.h`.
const BPF_ANY: u64 = 0;
const BPF_NOEXIST: u64 = 1;

/// Bytes of a `struct upid`, and where its `ns` is in it (`include/linux/pid.h`).
const UPID_BYTES: u64 = 16;
const UPID_NS: u64 = 8;

/// Source and destination of a packet, as [`probe_ebpf::packet::address_words`] returns them.
pub(crate) type EndWords = [AddressWords; 2];

/// Reports whether echoes of other programs are followed.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    config!(follow) != 0
}

/// Returns the end of the packet's echo that asks, and the end that answers.
#[inline(always)]
fn ends_of(packet: &EchoPacket, [source, destination]: EndWords) -> EndWords {
    match packet.kind.echo {
        Echo::Request => [source, destination],
        Echo::Reply => [destination, source],
    }
}

/// Returns the key of the packet's echo with these ends.
#[inline(always)]
fn key(packet: &EchoPacket, [near, far]: EndWords) -> u64 {
    echo_key(near, far, packet.id, packet.seq, config!(nonce))
}

/// Returns the number of the echo with exactly this key.
#[inline(always)]
fn number_of(key: u64) -> Option<u32> {
    // SAFETY: no entry is taken out while the programs run.
    unsafe { FOLLOW_KEYS.get(key) }.copied()
}

/// Reports whether the echo with this key is known not to be followed.
#[inline(always)]
fn is_other(key: u64) -> bool {
    FOLLOW_OTHERS.get_ptr(key).is_some()
}

/// Returns the number of the echo that the packet belongs to: by both ends, or by one if the other was rewritten.
#[inline(always)]
pub(crate) fn find(packet: &EchoPacket, ends: EndWords) -> Option<u32> {
    let [near, far] = ends_of(packet, ends);
    let whole = key(packet, [near, far]);
    if let Some(number) = number_of(whole) {
        return Some(number);
    }
    if is_other(whole) {
        return None;
    }
    let found = match number_of(key(packet, [ANY, far])) {
        Some(number) => Some(number),
        None => number_of(key(packet, [near, ANY])),
    };
    found.filter(|number| *number != AMBIGUOUS)
}

/// What is known about the sender of a request.
#[derive(Clone, Copy)]
pub(crate) struct RequestSender {
    /// The type of its socket; 0: not known.
    pub(crate) socket: u32,
    /// Whether this runs in the process that sends.
    pub(crate) in_process: bool,
    /// Whether each sight counts as a new sending, even of an id and number that were sent before.
    pub(crate) anew: bool,
}

impl RequestSender {
    /// Nobody on this host.
    pub(crate) const FOREIGN: Self = Self { socket: 0, in_process: false, anew: false };
}

/// Gives the echo of the request a number, if requests get one at this `sight` and the run follows it; returns the
/// number.
#[inline(always)]
pub(crate) fn learn(sight: u32, packet: &EchoPacket, ends: EndWords, sender: RequestSender) -> Option<u32> {
    if packet.kind.echo != Echo::Request {
        return None;
    }
    let [near, far] = ends_of(packet, ends);
    let whole = key(packet, [near, far]);
    if !sender.anew {
        let known = number_of(whole);
        if known.is_some() || is_other(whole) {
            return known;
        }
    }
    let sights = FOLLOW_SIGHTS.get(0).copied().unwrap_or(0);
    let process = if sender.in_process { sending_process() } else { Process::unknown() };
    let wanted = sights & sight != 0 && is_wanted(far, packet.id) && process.wanted;
    let Some(number) = (if wanted { next_number() } else { None }) else {
        // A full map loses its oldest entry: then a rewritten packet may be taken for another with the same id and
        // number.
        let _ = FOLLOW_OTHERS.insert(whole, sight, BPF_ANY);
        return None;
    };
    let flags = if sender.anew { BPF_ANY } else { BPF_NOEXIST };
    if FOLLOW_KEYS.insert(whole, number, flags).is_err() {
        // Another processor met a copy of it at the same time; the number that was taken for this one stays unused.
        return number_of(whole);
    }
    add_one_sided(key(packet, [ANY, far]), [near, far], number);
    add_one_sided(key(packet, [near, ANY]), [near, far], number);
    let entry = FOLLOWED.get_ptr_mut(number)?;
    // SAFETY: the map gave a valid pointer, and the number is this processor's alone. The time comes last: it says that
    // the rest is there.
    unsafe {
        (*entry).near = near;
        (*entry).far = far;
        (*entry).id = packet.id;
        (*entry).seq = packet.seq;
        (*entry).sight = sight;
        (*entry).process = process.number;
        (*entry).socket = sender.socket;
        if sender.in_process {
            name_program(entry);
        }
        (&raw mut (*entry).first_ns).write_volatile(bpf_ktime_get_ns());
    }
    Some(number)
}

/// Takes the next number of the run; `None` once there is no room for more.
#[inline(always)]
fn next_number() -> Option<u32> {
    let count = FOLLOW_COUNT.get_ptr_mut(0)?;
    // SAFETY: the map gave a valid pointer.
    let number = unsafe { atomic::take_number(count) }?;
    (number < u64::from(MAX_PROBES) && number < u64::from(config!(probes))).then_some(number as u32)
}

/// Adds a key without one of the `ends`; if another echo has it too, it identifies neither.
#[inline(always)]
fn add_one_sided(one_sided: u64, [near, far]: EndWords, number: u32) {
    let value = match number_of(one_sided) {
        None => number,
        Some(before) => match FOLLOWED.get(before) {
            // The same echo, sent again.
            Some(echo) if echo.near == near && echo.far == far => number,
            _ => AMBIGUOUS,
        },
    };
    // There is room for the keys of as many echoes as there are numbers.
    let _ = FOLLOW_KEYS.insert(one_sided, value, BPF_ANY);
}

/// Reports whether the run follows echoes to this target, with this id.
#[inline(always)]
fn is_wanted(far: AddressWords, id: u16) -> bool {
    let asked = config!(follow);
    let target = [config!(far[0]), config!(far[1])];
    (asked & TO_ONE_TARGET == 0 || far[0] == target[0] && far[1] == target[1])
        && (asked & OF_ONE_ID == 0 || id == config!(id) as u16)
}

/// The process that sends.
#[derive(Clone, Copy)]
struct Process {
    number: u32,
    wanted: bool,
}

impl Process {
    /// Returns one about which nothing is known, and which is wanted if any process is.
    #[inline(always)]
    fn unknown() -> Self {
        Self { number: 0, wanted: config!(follow) & OF_ONE_PROCESS == 0 }
    }
}

/// Reads a value of the kernel's at `address`; zero if it cannot be read.
#[inline(always)]
fn read<T: bytemuck::Zeroable>(address: u64) -> T {
    let mut value = T::zeroed();
    // SAFETY: there is room for the value; the helper returns an error if the address can't be read.
    let _ = unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, address as *const c_void) };
    value
}

/// Writes the name of the current process to `entry`, if this kernel shows it.
///
/// # Safety
///
/// `entry` must be valid for writes.
#[inline(always)]
unsafe fn name_program(entry: *mut FollowedEntry) {
    if offset!(task_comm) == ABSENT {
        return;
    }
    let at = u64::from(offset!(task_comm));
    // SAFETY: the caller vouches for `entry`, which has room for a name; the helper returns an error if it can't be read.
    unsafe {
        let name = bpf_get_current_task() + at;
        let _ = bpf_probe_read_kernel((&raw mut (*entry).program).cast(), PROGRAM_BYTES as u32, name as *const c_void);
    }
}

/// Returns what is known of the current process, and whether it, or one that it descends from, is the one that is asked for.
#[inline(always)]
fn sending_process() -> Process {
    let one = config!(follow) & OF_ONE_PROCESS != 0;
    if offset!(task_leader) == ABSENT {
        return Process::unknown();
    }
    // SAFETY: the helper only returns an address.
    let task = unsafe { bpf_get_current_task() };
    let number = process_number(task);
    let mut wanted = !one || number == config!(process);
    let mut ancestor = task;
    if one {
        for _ in 0..MAX_ANCESTORS {
            if wanted || ancestor == 0 {
                break;
            }
            ancestor = read(ancestor + u64::from(offset!(task_parent)));
            wanted = process_number(ancestor) == config!(process);
        }
    }
    Process { number, wanted }
}

/// Returns the number of a task's process in the pid namespace of the run; 0 if it has none there.
#[inline(always)]
fn process_number(task: u64) -> u32 {
    let leader: u64 = read(task + u64::from(offset!(task_leader)));
    let pid: u64 = read(leader + u64::from(offset!(task_pid)));
    let numbers = pid + u64::from(offset!(pid_numbers));
    let level: u32 = read(pid + u64::from(offset!(pid_level)));
    for at in 0..=PID_LEVELS as u64 {
        if at > u64::from(level) {
            break;
        }
        let namespace: u64 = read(numbers + at * UPID_BYTES + UPID_NS);
        if read::<u32>(namespace + u64::from(offset!(pidns_inum))) == config!(pid_namespace) {
            return read(numbers + at * UPID_BYTES);
        }
    }
    0
}
