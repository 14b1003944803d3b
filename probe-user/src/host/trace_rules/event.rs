//! The kernel's trace events: `NFT_MSG_TRACE` (`nft_trace_notify` in `net/netfilter/nf_tables_trace.c`).

use probe_ebpf::{Echo, Family, Kind};

use super::message::{GENERIC, NFTABLES, attributes, messages};
use crate::model::netfilter::TableFamily;

/// `NFT_MSG_TRACE`.
const TRACE: u16 = 17;

/// The packet that an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TracedPacket {
    pub(super) leg: Echo,
}

/// Where a packet was dropped, queued or stolen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TraceEnd {
    pub(super) family: TableFamily,
    pub(super) table: String,
    pub(super) chain: String,
    /// `None`: the chain's policy decided.
    pub(super) handle: Option<u64>,
    pub(super) verdict: &'static str,
    pub(super) leg: Echo,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TraceEvent {
    /// Which packet: the same in all of its events.
    pub(super) trace: u32,
    /// The packet, in its first event.
    pub(super) packet: Option<TracedPacket>,
    /// The packet's end, if this event is that. Its leg is not known here.
    pub(super) end: Option<TraceEnd>,
}

/// Parses the events of a datagram.
pub(super) fn parse(datagram: &[u8]) -> Vec<TraceEvent> {
    let events = messages(datagram).into_iter().filter(|message| message.kind == NFTABLES << 8 | TRACE);
    events.filter_map(|message| event(message.payload)).collect()
}

/// The attributes that matter here: `NFTA_TRACE_*`.
#[derive(Default)]
struct Attributes<'a> {
    table: Option<&'a [u8]>,
    chain: Option<&'a [u8]>,
    handle: Option<u64>,
    kind: Option<u32>,
    verdict: Option<u32>,
    trace: Option<u32>,
    transport: Option<&'a [u8]>,
    network: Option<&'a [u8]>,
    policy: Option<u32>,
}

impl<'a> Attributes<'a> {
    fn of(payload: &'a [u8]) -> Self {
        let mut found = Self::default();
        for (kind, value) in attributes(payload) {
            match kind {
                1 => found.table = Some(value),
                2 => found.chain = Some(value),
                3 => found.handle = value.try_into().ok().map(u64::from_be_bytes),
                4 => found.kind = read(value),
                // NFTA_VERDICT_CODE
                5 => found.verdict = attributes(value).into_iter().find(|(kind, _)| *kind == 1).and_then(|v| read(v.1)),
                6 => found.trace = read(value),
                8 => found.network = Some(value),
                9 => found.transport = Some(value),
                16 => found.policy = read(value),
                _ => {}
            }
        }
        found
    }

    /// Parses the echo packet whose first transport bytes these are.
    fn packet(&self) -> Option<TracedPacket> {
        // The protocol that an event names is that of its table's family, which may be bridges.
        let family = match self.network?.first()? >> 4 {
            4 => Family::V4,
            6 => Family::V6,
            _ => return None,
        };
        let kind = Kind::from_icmp_type(family, *self.transport?.first()?)?;
        Some(TracedPacket { leg: kind.echo })
    }

    fn end(&self, family: u8) -> Option<TraceEnd> {
        /// `NFT_TRACETYPE_POLICY` and `NFT_TRACETYPE_RULE`.
        const POLICY: u32 = 1;
        const RULE: u32 = 3;
        let (handle, verdict) = match self.kind? {
            POLICY => (None, ending(self.policy?)?),
            RULE => (Some(self.handle?), ending(self.verdict?)?),
            _ => return None,
        };
        Some(TraceEnd {
            family: family_of(family)?,
            table: text(self.table?),
            chain: text(self.chain?),
            handle,
            verdict,
            leg: Echo::Request,
        })
    }
}

fn event(payload: &[u8]) -> Option<TraceEvent> {
    let found = Attributes::of(payload.get(GENERIC..)?);
    Some(TraceEvent { trace: found.trace?, packet: found.packet(), end: found.end(*payload.first()?) })
}

/// Names the verdict if it is one after which no other chain of the hook is run: `NF_DROP`, `NF_STOLEN`, `NF_QUEUE`.
/// nftables' own verdicts, such as jump and continue, are negative.
fn ending(verdict: u32) -> Option<&'static str> {
    let own = verdict.cast_signed() < 0;
    match verdict & 0xff {
        0 if !own => Some("drop"),
        2 if !own => Some("stolen"),
        3 if !own => Some("queue"),
        _ => None,
    }
}

/// Returns the family with this `NFPROTO_*` number.
fn family_of(number: u8) -> Option<TableFamily> {
    Some(match number {
        1 => TableFamily::Inet,
        2 => TableFamily::Ip,
        3 => TableFamily::Arp,
        5 => TableFamily::Netdev,
        7 => TableFamily::Bridge,
        10 => TableFamily::Ip6,
        _ => return None,
    })
}

fn read(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::trace_rules::message::*;

    fn parsed(attributes: &[Vec<u8>]) -> Vec<TraceEvent> {
        let mut batch = Batch::new();
        batch.make(INET, TRACE, attributes);
        parse(&batch.finish().0)
    }

    fn place() -> Vec<Vec<u8>> {
        vec![string(1, "t"), string(2, "c"), number(6, 77)]
    }

    #[test]
    fn a_rule_that_drops_is_an_end() {
        let mut event = place();
        event.extend([attribute(3, &9_u64.to_be_bytes()), number(4, 3), nested(5, &[number(1, 0)])]);
        event.extend([attribute(8, &[0x45, 0, 0, 84]), attribute(9, &[8, 0, 0, 0])]);
        let end = TraceEnd {
            family: TableFamily::Inet,
            table: "t".to_owned(),
            chain: "c".to_owned(),
            handle: Some(9),
            verdict: "drop",
            leg: Echo::Request,
        };
        assert_eq!(
            parsed(&event),
            [TraceEvent { trace: 77, packet: Some(TracedPacket { leg: Echo::Request }), end: Some(end) }]
        );
    }

    #[test]
    fn a_policy_that_drops_is_an_end_without_a_rule() {
        let mut event = place();
        event.extend([number(4, 1), number(16, 0)]);
        let end = parsed(&event).remove(0).end.expect("an end");
        assert_eq!((end.handle, end.verdict), (None, "drop"));
    }

    #[test]
    fn what_lets_go_on_is_no_end() {
        // accept, jump, continue
        for verdict in [1, (-3_i32).cast_unsigned(), (-1_i32).cast_unsigned()] {
            let mut event = place();
            event.extend([attribute(3, &9_u64.to_be_bytes()), number(4, 3), nested(5, &[number(1, verdict)])]);
            assert_eq!(parsed(&event), [TraceEvent { trace: 77, packet: None, end: None }], "{verdict:#x}");
        }
        assert_eq!(ending(0x0001_0002), Some("stolen"));
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        assert_eq!(parsed(&[string(1, "t")]), []);
        assert_eq!(parse(&[1, 2, 3]), []);
    }
}
