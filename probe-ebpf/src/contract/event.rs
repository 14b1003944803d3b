//! Copies of packets for `probe receive`: a head, then the packet as it was.

use bytemuck::{Pod, Zeroable};

/// What precedes the packet's bytes in the ring.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct EventHead {
    /// Nanoseconds of `CLOCK_MONOTONIC` when the hop saw the packet.
    pub time_ns: u64,
    /// Interface index.
    pub ifindex: u32,
    /// Bytes of the whole packet, starting with the device's header.
    pub packet_bytes: u32,
    /// How many of those follow this head.
    pub copied_bytes: u32,
    /// 1: the filter dropped the packet after this copy.
    pub dropped: u32,
    /// 1: the packet starts with the IP header, as at some hops of some Ethernet devices.
    pub raw_ip: u32,
    /// Zero.
    pub reserved: u32,
}

/// An event of up to `N` packet bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Event<const N: usize> {
    /// The head.
    pub head: EventHead,
    /// The packet; only the first [`EventHead::copied_bytes`] are set.
    pub packet: [u8; N],
}

/// The sizes in which events come, smallest first; a packet longer than the last is cut.
pub const EVENT_SIZES: [usize; 3] = [256, 2048, 16_384];
