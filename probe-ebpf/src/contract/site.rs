//! Where in the kernel an event of a packet comes from: the same head in drop events and in neighbour events.

use bytemuck::{Pod, Zeroable};

/// The most kernel stack frames in an event; the first five or six are those of the recording itself.
pub const STACK_FRAMES: usize = 16;

/// When and where a packet was met and, if the kernel freed it, where in its code and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct EventSite {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub time_ns: u64,
    /// Where in the kernel's code it was freed: the address that the tracepoint passes; 0: it was not freed.
    pub location: u64,
    /// `enum skb_drop_reason` of the running kernel; 0: `consume_skb`, or it was not freed.
    pub reason: u32,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Interface index; 0: the packet had no device.
    pub ifindex: u32,
    /// Frames in `stack`.
    pub frames: u32,
    /// Return addresses, innermost first, if it was freed for a reason that does not say where.
    pub stack: [u64; STACK_FRAMES],
}
