//! Reads the ring of copied packets.

use std::time::Duration;

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use probe_ebpf::{EventHead, names};

use super::KernelError;

/// How long a reader may rest between two reads: programs do not wake it, because that costs the packet path 10 µs.
pub const REST: Duration = Duration::from_millis(10);

/// A packet that was copied, with its event header.
#[derive(Clone, Copy, Debug)]
pub struct Copied<'a> {
    /// When, where, and what happened to it.
    pub head: EventHead,
    /// Its first bytes, starting with the device's header.
    pub bytes: &'a [u8],
}

/// The reading end of the ring.
pub struct Ring(RingBuf<MapData>);

impl Ring {
    /// Takes the ring out of `programs`.
    pub fn take(programs: &mut Ebpf) -> Result<Self, KernelError> {
        let name = names::EVENTS;
        let map = programs.take_map(name).ok_or(KernelError::NoMap { name })?;
        map.try_into().map(Self).map_err(|source| KernelError::of_map(name, source))
    }

    /// Passes the next packet to `read` and returns its result; `None` if the ring is empty.
    pub fn next<T>(&mut self, read: impl FnOnce(Copied<'_>) -> T) -> Option<T> {
        let item = self.0.next()?;
        let (head, packet) = item.split_at_checked(size_of::<EventHead>())?;
        let head: EventHead = bytemuck::pod_read_unaligned(head);
        let bytes = packet.get(..head.copied_bytes as usize).unwrap_or(packet);
        Some(read(Copied { head, bytes }))
    }
}
