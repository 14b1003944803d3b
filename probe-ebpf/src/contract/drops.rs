//! Drop events: which packet the kernel freed, where in its code, and why.

use bytemuck::{Pod, Zeroable};

/// Frames of the kernel stack that an event has at most.
pub const STACK_FRAMES: usize = 8;

/// [`DropEvent::probe`] of a packet that is no probe of this run.
pub const NO_PROBE: u16 = u16::MAX;

/// One packet that the kernel freed: `skb:kfree_skb`, or `skb:consume_skb` inside the kernel's ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DropEvent {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub time_ns: u64,
    /// Where in the kernel's code: the address that the tracepoint tells.
    pub location: u64,
    /// `enum skb_drop_reason` of the running kernel; 0 for `consume_skb`.
    pub reason: u32,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Interface index; 0: the packet had no device.
    pub ifindex: u32,
    /// Echo id on the wire.
    pub id: u16,
    /// Echo sequence number.
    pub seq: u16,
    /// Which probe of this run, or [`NO_PROBE`].
    pub probe: u16,
    /// [`super::kind::Kind::index`].
    pub kind: u8,
    /// TTL or hop limit when it was freed.
    pub ttl: u8,
    /// Frames in `stack`.
    pub frames: u32,
    /// Return addresses, innermost first.
    pub stack: [u64; STACK_FRAMES],
    /// Source address in wire order, IPv4 as `::ffff:a.b.c.d`.
    pub source: [u8; 16],
    /// Destination address, the same way.
    pub destination: [u8; 16],
}
