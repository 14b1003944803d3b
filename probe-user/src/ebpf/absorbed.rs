//! What becomes of a run's requests where they enter: which hop keeps them from the kernel, and which were kept.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use probe_ebpf::{
    AbsorbEvent, Hop, Skip,
    contract::{kind::Echo, names},
    packet::ICMP_HEADER,
};

use super::{KernelError, journeys::Journeys, tallies::SkipMap};
use crate::ebpf::drops::event_address;
use crate::{
    host::device::{AttachMode, Device},
    model::{
        request::{RequestHandling, WatchRequest},
        trace::{Absorbed, Drop, Taken},
    },
    traffic::{
        error_tap::{ErrorTap, QuotedRun, TappedError},
        fragment_tap::FragmentTap,
        target::family_of,
    },
};

/// The size of the ring: room for more requests than a session's batches hold.
pub const RING_BYTES: u32 = 1 << 19;

/// The reading end of the ring of absorbed requests.
pub struct AbsorbedRing(RingBuf<MapData>);

impl AbsorbedRing {
    /// Takes the ring out of `programs`.
    ///
    /// # Errors
    /// [`KernelError::NoMap`] or [`KernelError::Map`].
    pub fn take(programs: &mut Ebpf) -> Result<Self, KernelError> {
        let name = names::ABSORBED;
        let map = programs.take_map(name).ok_or(KernelError::NoMap { name })?;
        map.try_into().map(Self).map_err(|source| KernelError::of_map(name, source))
    }

    /// Returns the requests that came since the last call, oldest first, at most `most` of them.
    pub fn drain(&mut self, most: usize) -> Vec<Absorbed> {
        let mut absorbed = Vec::new();
        while absorbed.len() < most
            && let Some(item) = self.0.next()
        {
            absorbed
                .extend(bytemuck::try_pod_read_unaligned::<AbsorbEvent>(&item).ok().map(|event| from_event(&event)));
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
    fragments: Option<FragmentTap>,
    lost: u64,
}

impl Absorbing {
    /// Takes the ring out of `programs`. `hop` absorbs what `request` says, at the interface with this index.
    ///
    /// # Errors
    /// [`KernelError::NoMap`], [`KernelError::Map`] or [`KernelError::File`].
    pub fn begin(programs: &mut Ebpf, hop: Hop, request: &WatchRequest, ifindex: u32) -> Result<Self, KernelError> {
        let replies = request.requests == RequestHandling::AllAbsorbed;
        let run = QuotedRun { nonce: request.nonce, numbered: None };
        let errors = replies.then(|| ErrorTap::open(ifindex, family_of(request.remote), run)).transpose();
        let refused = |doing: &'static str| {
            let path = request.interface.clone().unwrap_or_default().into();
            move |source| KernelError::File { doing, path, source }
        };
        let errors = errors.map_err(refused("listen for ICMP errors at"))?;
        let fragments = replies.then(|| FragmentTap::open(ifindex, family_of(request.remote))).transpose();
        let fragments = fragments.map_err(refused("listen for fragments at"))?;
        Ok(Self { ring: AbsorbedRing::take(programs)?, hop, replies, errors, fragments, lost: 0 })
    }

    /// Returns what came since the last call. Costs no system call if nothing did.
    ///
    /// # Errors
    /// [`KernelError::Map`] if the counter of requests lost to a full ring can't be read.
    pub fn take(&mut self, skips: &SkipMap) -> Result<Taken, KernelError> {
        let mut packets = self.ring.drain(Taken::MOST);
        if !packets.is_empty() {
            // A full ring cannot be empty, so the counter is read only if something came.
            self.lost = skips.read()?.get(&Skip::AbsorbedFull).copied().unwrap_or(0);
        }
        packets.extend(self.errors.iter_mut().flat_map(ErrorTap::take).map(from_error));
        let tails = self.fragments.iter_mut().flat_map(FragmentTap::take).collect();
        Ok(Taken { packets, lost: self.lost, tails })
    }

    /// Reports whether `drop` is the end of a request that was absorbed, and so is no loss: a request goes no further
    /// than the hop that absorbs it.
    pub fn ended(&self, drop: &Drop, journeys: &Journeys) -> bool {
        (drop.leg == Echo::Request || self.replies)
            && drop.probe.is_some_and(|probe| journeys.step(self.hop, drop.leg, probe).is_some())
    }
}

/// Returns the hop that keeps the run's requests from the kernel and reports them; `None` if they go on to the kernel.
/// `blind` holds the hops that could not be attached, with the reason.
///
/// # Errors
/// [`KernelError::NotAtNic`] if requests are to stop at the NIC and nothing is attached that could stop them.
pub fn keeper(request: &WatchRequest, blind: &BTreeMap<Hop, String>) -> Result<Option<Hop>, KernelError> {
    let (what, hops) = match request.requests {
        RequestHandling::Pass => return Ok(None),
        RequestHandling::AnsweredByXdp => ("answered", &[Hop::XdpIn][..]),
        RequestHandling::AnsweredByAgent | RequestHandling::Absorbed | RequestHandling::AllAbsorbed => {
            ("absorbed", &[Hop::XdpIn, Hop::TcIn][..])
        }
    };
    let Some(hop) = hops.iter().find(|hop| !blind.contains_key(hop)) else {
        let why = hops.iter().find_map(|hop| blind.get(hop)).cloned().unwrap_or_default();
        return Err(KernelError::NotAtNic { what, interface: request.interface.clone(), why });
    };
    Ok(Some(*hop).filter(|_| request.requests.kept()))
}

/// Explains why XDP in this mode would send no replies from `device`, if it would not. The veth driver takes what native XDP
/// sends back only if the other end of the pair has NAPI (`veth_xdp_xmit` in `drivers/net/veth.c`), and otherwise drops it
/// silently; the other end may be in another network namespace.
pub fn cannot_answer(device: &Device, mode: AttachMode, requests: RequestHandling) -> Option<&'static str> {
    let veth = device.kind.as_deref() == Some("veth");
    (veth && mode == AttachMode::Native && requests == RequestHandling::AnsweredByXdp)
        .then_some("native XDP on a veth may drop its replies silently; start the far end without --xdp native")
}

fn from_event(event: &AbsorbEvent) -> Absorbed {
    let payload = (event.icmp_bytes as usize).saturating_sub(ICMP_HEADER);
    Absorbed {
        probe: event.probe,
        time_ns: event.time_ns,
        source: event_address(event.source),
        destination: event_address(event.destination),
        id: event.id,
        seq: event.seq,
        code: event.code,
        ttl: event.ttl,
        size: u16::try_from(payload).unwrap_or(u16::MAX),
        fragmented: event.fragmented != 0,
    }
}

fn from_error(error: TappedError) -> Absorbed {
    let TappedError { probe, time_ns, source, destination, id, seq, code, ttl, .. } = error;
    Absorbed { probe, time_ns, source, destination, id, seq, code, ttl, size: 0, fragmented: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{attach::Attach, request::HostRole};

    fn kept(requests: RequestHandling, blind: &[Hop]) -> Result<Option<Hop>, String> {
        let address = [10, 0, 0, 1].into();
        let request = WatchRequest {
            nonce: 1,
            id: 1,
            probes: 1,
            local: address,
            remote: address,
            interface: Some("eth0".into()),
            role: HostRole::Receiver,
            attach: Attach::default(),
            trace_rules: false,
            everywhere: false,
            requests,
            source_given: false,
            further: Vec::new(),
            tunnels: Vec::new(),
            numbered_from: None,
            sent_as: None,
            choosers: Default::default(),
        };
        let blind = blind.iter().map(|hop| (*hop, format!("no {}", hop.name()))).collect();
        keeper(&request, &blind).map_err(|error| error.to_string())
    }

    #[test]
    fn requests_are_kept_at_xdp_or_else_at_tc_and_answered_at_xdp_only() {
        use RequestHandling::{Absorbed, AnsweredByAgent, AnsweredByXdp, Pass};
        assert_eq!(kept(Pass, &[Hop::XdpIn, Hop::TcIn]), Ok(None));
        assert_eq!(kept(Absorbed, &[]), Ok(Some(Hop::XdpIn)));
        assert_eq!(kept(AnsweredByAgent, &[Hop::XdpIn]), Ok(Some(Hop::TcIn)));
        assert_eq!(kept(AnsweredByXdp, &[Hop::TcIn]), Ok(None));
        let refused = Err("requests cannot be answered at the NIC (eth0): no xdp_in".to_owned());
        assert_eq!(kept(AnsweredByXdp, &[Hop::XdpIn]), refused);
        assert!(kept(Absorbed, &[Hop::XdpIn, Hop::TcIn]).is_err());
    }

    #[test]
    fn only_native_xdp_of_a_veth_may_send_no_reply() {
        let veth = Device { kind: Some("veth".into()), ..Device::default() };
        assert!(cannot_answer(&veth, AttachMode::Native, RequestHandling::AnsweredByXdp).is_some());
        assert!(cannot_answer(&veth, AttachMode::Generic, RequestHandling::AnsweredByXdp).is_none());
        assert!(cannot_answer(&veth, AttachMode::Native, RequestHandling::Absorbed).is_none());
        assert!(cannot_answer(&Device::default(), AttachMode::Native, RequestHandling::AnsweredByXdp).is_none());
    }
}
