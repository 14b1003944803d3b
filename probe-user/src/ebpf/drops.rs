//! Reads the ring of drop events, and decides how large it is.

use std::net::{IpAddr, Ipv6Addr};

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use nix::unistd::{SysconfVar, sysconf};
use probe_ebpf::{DropEvent, contract::names};

use super::KernelError;

/// The size of the ring for a run: 5,000 drops between two reads.
pub const RING_BYTES: u32 = 1 << 20;

/// Returns [`RING_BYTES`], or fewer if `PROBE_DROP_RING_BYTES` asks for it: tests fill a tiny ring.
pub fn ring_bytes() -> u32 {
    ring_bytes_for(std::env::var("PROBE_DROP_RING_BYTES").ok().as_deref())
}

/// Rounds to what the kernel accepts: a power of two, and whole pages.
fn ring_bytes_for(requested: Option<&str>) -> u32 {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| u32::try_from(bytes).ok());
    let page = page.unwrap_or(RING_BYTES);
    let requested = requested.and_then(|text| text.parse::<u32>().ok()).unwrap_or(RING_BYTES);
    requested.clamp(page, RING_BYTES).next_power_of_two()
}

/// The reading end of the ring of drop events.
pub struct DropRing(RingBuf<MapData>);

impl DropRing {
    /// Takes the ring out of `programs`.
    ///
    /// # Errors
    /// [`KernelError::NoMap`] or [`KernelError::Map`].
    pub fn take(programs: &mut Ebpf) -> Result<Self, KernelError> {
        let name = names::DROPS;
        let map = programs.take_map(name).ok_or(KernelError::NoMap { name })?;
        map.try_into().map(Self).map_err(|source| KernelError::of_map(name, source))
    }

    /// Returns the events that came since the last call, oldest first.
    pub fn drain(&mut self) -> Vec<DropEvent> {
        let mut events = Vec::new();
        while let Some(item) = self.0.next() {
            events.extend(bytemuck::try_pod_read_unaligned::<DropEvent>(&item).ok());
        }
        events
    }
}

/// Returns the address in an event, which the contract keeps as IPv6: an IPv4 address is mapped into it.
pub fn event_address(bytes: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_never_larger_than_usual_and_always_one_that_the_kernel_takes() {
        assert_eq!([None, Some("0x10"), Some("99999999")].map(ring_bytes_for), [RING_BYTES; 3]);
        let smallest = ring_bytes_for(Some("1"));
        assert!(smallest.is_power_of_two() && smallest < RING_BYTES, "{smallest}");
        assert_eq!(ring_bytes_for(Some("70000")), 1 << 17);
    }
}
