//! Reads which of the run's requests were kept from the kernel.

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use probe_ebpf::{
    AbsorbEvent, Hop, Skip,
    contract::{kind::Echo, names},
};

use super::{Error, drops::address, journeys::Journeys, tallies::SkipMap};
use crate::{
    sighting::{Absorbed, Drop, Leg, Taken},
    traffic::packet::HEADER_BYTES,
    watching::Requests,
};

/// The size of the ring: more requests than a session's volleys have.
pub const RING_BYTES: u32 = 1 << 19;

/// The reading end of the ring of absorbed requests.
pub struct AbsorbedRing(RingBuf<MapData>);

impl AbsorbedRing {
    /// Takes it out of `programs`.
    ///
    /// # Errors
    /// [`Error::NoMap`] or [`Error::Map`].
    pub fn take(programs: &mut Ebpf) -> Result<Self, Error> {
        let name = names::ABSORBED;
        let map = programs.take_map(name).ok_or(Error::NoMap { name })?;
        map.try_into().map(Self).map_err(|source| Error::of_map(name, source))
    }

    /// The requests that have come since the last call, oldest first, `most` of them at most.
    pub fn drain(&mut self, most: usize) -> Vec<Absorbed> {
        let mut absorbed = Vec::new();
        while absorbed.len() < most
            && let Some(item) = self.0.next()
        {
            absorbed.extend(bytemuck::try_pod_read_unaligned::<AbsorbEvent>(&item).ok().map(|event| told(&event)));
        }
        absorbed
    }
}

/// A watch that keeps requests from the kernel.
pub struct Absorbing {
    ring: AbsorbedRing,
    hop: Hop,
    replies: bool,
    lost: u64,
}

impl Absorbing {
    /// Takes its ring out of `programs`; `hop` absorbs what `requests` says.
    ///
    /// # Errors
    /// [`Error::NoMap`] or [`Error::Map`].
    pub fn begin(programs: &mut Ebpf, hop: Hop, requests: Requests) -> Result<Self, Error> {
        let replies = requests == Requests::AllAbsorbed;
        Ok(Self { ring: AbsorbedRing::take(programs)?, hop, replies, lost: 0 })
    }

    /// What has come since the last call. Costs no system call where nothing has.
    ///
    /// # Errors
    /// [`Error::Map`] where the counter of what there was no room for can't be read.
    pub fn take(&mut self, skips: &SkipMap) -> Result<Taken, Error> {
        let packets = self.ring.drain(Taken::MOST);
        if !packets.is_empty() {
            // The ring was full only if there is something in it.
            self.lost = skips.read()?.get(&Skip::AbsorbedFull).copied().unwrap_or(0);
        }
        Ok(Taken { packets, lost: self.lost })
    }

    /// Whether a drop event tells of a request that was absorbed, and so is no loss: what came to the hop that absorbs
    /// goes no further.
    pub fn ended(&self, drop: &Drop, journeys: &Journeys) -> bool {
        let echo = match drop.leg {
            Leg::Request => Echo::Request,
            Leg::Reply if self.replies => Echo::Reply,
            Leg::Reply => return false,
        };
        drop.probe.is_some_and(|probe| journeys.step(self.hop, echo, probe).is_some())
    }
}

fn told(event: &AbsorbEvent) -> Absorbed {
    let payload = (event.icmp_bytes as usize).saturating_sub(HEADER_BYTES);
    Absorbed {
        probe: event.probe,
        time_ns: event.time_ns,
        source: address(event.source),
        destination: address(event.destination),
        id: event.id,
        seq: event.seq,
        code: event.code,
        ttl: event.ttl,
        size: u16::try_from(payload).unwrap_or(u16::MAX),
        fragmented: event.fragmented != 0,
    }
}
