//! Reads the ring of packets of ARP and neighbour discovery.

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use probe_ebpf::{NeighbourEvent, contract::names};

use super::KernelError;

/// The size of the ring for a run: 1,200 packets between two reads.
pub const RING_BYTES: u32 = 1 << 18;

/// The reading end of the ring.
pub struct NeighbourRing(RingBuf<MapData>);

impl NeighbourRing {
    /// Takes the ring out of `programs`.
    ///
    /// # Errors
    /// [`KernelError::NoMap`] or [`KernelError::Map`].
    pub fn take(programs: &mut Ebpf) -> Result<Self, KernelError> {
        let name = names::NEIGHBOURS;
        let map = programs.take_map(name).ok_or(KernelError::NoMap { name })?;
        map.try_into().map(Self).map_err(|source| KernelError::of_map(name, source))
    }

    /// Returns the next packet, oldest first; `None`: there is none.
    pub fn take_next(&mut self) -> Option<NeighbourEvent> {
        let item = self.0.next()?;
        bytemuck::try_pod_read_unaligned::<NeighbourEvent>(&item).ok()
    }
}
