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
    traffic::{
        error_tap::{ErrorSeen, ErrorTap},
        packet::HEADER_BYTES,
        target::family_of,
    },
    watching::{Requests, WatchRequest},
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
    errors: Option<ErrorTap>,
    lost: u64,
}

impl Absorbing {
    /// Takes its ring out of `programs`; `hop` absorbs what `request` says, at the interface with this index.
    ///
    /// # Errors
    /// [`Error::NoMap`], [`Error::Map`] or [`Error::File`].
    pub fn begin(programs: &mut Ebpf, hop: Hop, request: &WatchRequest, ifindex: u32) -> Result<Self, Error> {
        let replies = request.requests == Requests::AllAbsorbed;
        let errors = replies.then(|| ErrorTap::open(ifindex, family_of(request.remote), request.nonce)).transpose();
        let errors = errors.map_err(|source| Error::File {
            doing: "listen for ICMP errors at",
            path: request.interface.clone().unwrap_or_default().into(),
            source,
        })?;
        Ok(Self { ring: AbsorbedRing::take(programs)?, hop, replies, errors, lost: 0 })
    }

    /// What has come since the last call. Costs no system call where nothing has.
    ///
    /// # Errors
    /// [`Error::Map`] where the counter of what there was no room for can't be read.
    pub fn take(&mut self, skips: &SkipMap) -> Result<Taken, Error> {
        let mut packets = self.ring.drain(Taken::MOST);
        if !packets.is_empty() {
            // The ring was full only if there is something in it.
            self.lost = skips.read()?.get(&Skip::AbsorbedFull).copied().unwrap_or(0);
        }
        packets.extend(self.errors.iter_mut().flat_map(ErrorTap::take).map(quoted));
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

/// An ICMP error, told by what it quotes. The host's kernel has it too: no echo is answered for it.
fn quoted(error: ErrorSeen) -> Absorbed {
    Absorbed {
        probe: error.probe,
        time_ns: error.time_ns,
        source: error.source,
        destination: error.destination,
        id: error.id,
        seq: error.seq,
        code: error.code,
        ttl: error.ttl,
        size: 0,
        fragmented: false,
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
