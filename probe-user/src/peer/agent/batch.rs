//! Checks the batches that a controller orders: only to that controller, from this host's own addresses, and a limited
//! number.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use probe_ebpf::{Hop, journey::MAX_PROBES};

use crate::{
    error::Failure,
    model::{
        request::{MAX_FURTHER, WatchRequest},
        trace::{Absorbed, HopTrace, HostTrace},
    },
    peer::route::owner,
    traffic::{
        batch::{EchoFields, MAX_BATCH, MinimumGap, PacketSpec, What},
        sender::Fragmentation,
    },
};

/// The least time between two packets of an agent.
pub(super) const PACE: MinimumGap = MinimumGap(Duration::from_millis(1));

/// The longest duration of one batch, in milliseconds: twice the longest timeout that is tested by default.
const LONGEST_MS: u32 = 20 * 60 * 1000;

/// The addresses that an agent may send from and to.
#[derive(Debug)]
pub(super) struct Limits<'a> {
    /// The run that is watched for.
    pub(super) pair: &'a WatchRequest,
    /// Addresses from which packets with the run's nonce came: the outside address of a NAT, for instance.
    pub(super) senders: BTreeSet<IpAddr>,
}

/// Returns the addresses from which the run's packets entered the host of this trace.
pub(super) fn senders(sight: &HostTrace) -> BTreeSet<IpAddr> {
    let entries = [Hop::XdpIn, Hop::NetifIn, Hop::TcIn].map(|hop| sight.hop(hop));
    let steps = entries.iter().flat_map(|hop| match hop {
        HopTrace::Watched { requests, replies } => requests.values().chain(replies.values()).collect(),
        HopTrace::Blind { .. } => Vec::new(),
    });
    steps.filter_map(|step| step.source).collect()
}

impl Limits<'_> {
    /// Returns the packets as they will be sent: from the pair's own address if none was chosen.
    ///
    /// # Errors
    /// Which of them an agent refuses to send, and why.
    pub(super) fn checked(
        &self,
        mut packets: Vec<PacketSpec>,
        before: u32,
        most: u32,
    ) -> Result<Vec<PacketSpec>, Failure> {
        if packets.len() > MAX_BATCH || before as usize + packets.len() > most as usize {
            let what = format!("an agent sends at most {most} packets, and {MAX_BATCH} in a batch");
            return Err(Failure::new(what, "send fewer packets"));
        }
        for packet in &mut packets {
            self.check(packet)?;
            let own = self.pair.local;
            if packet.source.is_none() && !own.is_unspecified() && own.is_ipv4() == packet.destination.is_ipv4() {
                packet.source = Some(own);
            }
        }
        Ok(packets)
    }

    fn check(&self, packet: &PacketSpec) -> Result<(), Failure> {
        let refuse = |what: String, fix: &str| Err(Failure::new(what, fix));
        if !self.is_the_controllers(packet.destination) {
            let what = format!(
                "an agent only sends to its controller, and {} is not one of its addresses",
                packet.destination
            );
            return refuse(what, "list all addresses of this end when the watch starts");
        }
        if let Some(source) = packet.source
            && source != self.pair.local
            && owner(source).is_none()
        {
            return refuse(format!("{source} is not an address of the far end"), "`ip -br addr` there lists them");
        }
        if u32::from(packet.number) >= MAX_PROBES {
            return refuse(
                format!("packet number {} is not below {MAX_PROBES}", packet.number),
                "number the packets from 0",
            );
        }
        if packet.after_ms > LONGEST_MS {
            return refuse(format!("a batch takes at most {} minutes", LONGEST_MS / 60_000), "send the packets sooner");
        }
        Ok(())
    }

    fn is_the_controllers(&self, address: IpAddr) -> bool {
        address == self.pair.remote
            || self.pair.further.iter().take(MAX_FURTHER).any(|further| *further == address)
            || self.senders.contains(&address)
    }
}

/// Returns the replies to absorbed requests, each to the source of its request, with its id, number and size.
pub(super) fn replies(absorbed: &[Absorbed], nonce: u64) -> Vec<PacketSpec> {
    let reply = |request: &Absorbed| PacketSpec {
        number: request.probe,
        after_ms: 0,
        what: What::Reply(EchoFields {
            id: request.id,
            seq: request.seq,
            code: request.code,
            size: request.size,
            nonce,
        }),
        source: Some(request.destination),
        destination: request.source,
        ttl: None,
        fragmentation: Fragmentation::Allowed,
    };
    absorbed.iter().map(reply).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        request::{HostRole, RequestHandling},
        trace::ProbePassage,
    };

    const OWN: [u8; 4] = [127, 0, 0, 1];
    const THEIRS: [u8; 4] = [10, 0, 0, 1];

    fn pair() -> WatchRequest {
        WatchRequest {
            nonce: 9,
            id: 43,
            probes: 10,
            local: OWN.into(),
            remote: THEIRS.into(),
            interface: None,
            role: HostRole::Receiver,
            attach: crate::model::attach::Attach::default(),
            trace_rules: false,
            everywhere: false,
            requests: RequestHandling::Absorbed,
            source_given: false,
            further: vec![[10, 0, 0, 5].into()],
            tunnels: Vec::new(),
            numbered_from: None,
            sent_as: None,
            choosers: Default::default(),
        }
    }

    fn packet(destination: [u8; 4]) -> PacketSpec {
        let fields = EchoFields { id: 7, seq: 1, code: 0, size: 56, nonce: 9 };
        PacketSpec {
            number: 1,
            after_ms: 0,
            what: What::Reply(fields),
            source: None,
            destination: destination.into(),
            ttl: None,
            fragmentation: Fragmentation::Allowed,
        }
    }

    fn refused(packet: PacketSpec) -> String {
        let pair = pair();
        let limits = Limits { pair: &pair, senders: BTreeSet::new() };
        limits.checked(vec![packet], 0, 10).expect_err("refused").error
    }

    #[test]
    fn an_agent_sends_to_its_controller_from_its_own_addresses_and_not_for_ever() {
        let pair = pair();
        let senders = BTreeSet::from([[192, 0, 2, 1].into()]);
        let limits = Limits { pair: &pair, senders };
        for destination in [THEIRS, [10, 0, 0, 5], [192, 0, 2, 1]] {
            let sent = limits.checked(vec![packet(destination)], 0, 1).expect("the controller's");
            assert_eq!(sent[0].source, Some(OWN.into()));
        }
        assert!(refused(packet([192, 0, 2, 1])).contains("192.0.2.1 is not one of its addresses"));
        assert!(
            refused(PacketSpec { source: Some([192, 0, 2, 9].into()), ..packet(THEIRS) }).contains("192.0.2.9 is not")
        );
        assert!(refused(PacketSpec { number: 1024, ..packet(THEIRS) }).contains("1024"));
        assert!(refused(PacketSpec { after_ms: u32::MAX, ..packet(THEIRS) }).contains("minutes"));
        assert!(limits.checked(vec![packet(THEIRS); 3], 8, 10).is_err());
    }

    #[test]
    fn an_address_is_heard_where_a_marked_packet_enters_with_it() {
        let step = ProbePassage { source: Some([192, 0, 2, 1].into()), ..ProbePassage::default() };
        let watched =
            HopTrace::Watched { requests: [(0, ProbePassage::default()), (1, step)].into(), replies: [].into() };
        let entered = HostTrace { hops: [(Hop::XdpIn, watched.clone())].into(), ..HostTrace::default() };
        assert_eq!(senders(&entered), BTreeSet::from([[192, 0, 2, 1].into()]));
        let left = HostTrace { hops: [(Hop::TcOut, watched)].into(), ..HostTrace::default() };
        assert_eq!(senders(&left), BTreeSet::new());
    }

    #[test]
    fn a_reply_mirrors_its_request() {
        let request = Absorbed {
            probe: 5,
            time_ns: 1,
            source: [192, 0, 2, 1].into(),
            destination: OWN.into(),
            id: 0x1234,
            seq: 6,
            code: 0,
            ttl: 63,
            size: 56,
            fragmented: false,
        };
        let reply = replies(&[request], 9).remove(0);
        assert_eq!((reply.number, reply.source, reply.destination), (5, Some(OWN.into()), [192, 0, 2, 1].into()));
        assert_eq!(reply.what, What::Reply(EchoFields { id: 0x1234, seq: 6, code: 0, size: 56, nonce: 9 }));
    }
}
