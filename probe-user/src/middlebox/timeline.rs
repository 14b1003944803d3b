//! What two ends send each other and when, as plain data, and the outcome of each packet.
//!
//! A [`Timeline`] is what experiments and the procedures of a characterization are made of. Whoever runs it owes three
//! things to those who judge it: every packet carries its packet's number and the run's nonce, so that it is known
//! however a NAT rewrote it; each end counts what arrives at its NIC, before its own netfilter; and what arrives is
//! kept from that end's kernel, so that nobody answers but the timeline.

mod delivery;
mod micros;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::delivery::{Arrival, Delivery, EndAddresses, PlayedTimeline, SendTime};

/// The most packets that a timeline may hold: as many as there are marks in a run ([`probe_ebpf::journey::MAX_PROBES`]).
pub const MAX_PACKETS: usize = 1024;

/// Which of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// The end at which the user works.
    Near,
    /// The peer.
    Far,
}

impl Endpoint {
    /// Returns the opposite end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Near => Self::Far,
            Self::Far => Self::Near,
        }
    }
}

/// Packets for both ends to send, by the time since a common start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// The packets, earliest first; a packet's number is its place here. At most [`MAX_PACKETS`].
    #[serde(rename = "shots")]
    pub packets: Vec<TimedPacket>,
    /// How long arrivals still count after the last packet.
    #[serde(rename = "linger_us", with = "micros")]
    pub linger: Duration,
}

/// One packet to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedPacket {
    /// When, since the timeline's start.
    #[serde(rename = "at_us", with = "micros")]
    pub at: Duration,
    /// Which end sends it.
    pub from: Endpoint,
    /// What it is.
    pub message: TimelinePacket,
    /// Its echo id; for an ICMP error that quotes a packet which was never sent, the id that it quotes.
    pub id: EchoId,
    /// Its sequence number.
    pub seq: u16,
    /// Its ICMP code; the code of the error if it is one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub code: u8,
    /// Payload bytes; never fewer than a mark has ([`probe_ebpf::journey::MARK_BYTES`]).
    pub size: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The sender's address that it comes from.
    #[serde(default, skip_serializing_if = "is_first")]
    pub source: Own,
    /// Where it goes.
    #[serde(default, skip_serializing_if = "is_first_other")]
    pub destination: Goal,
    /// Whether routers may fragment it.
    #[serde(default, skip_serializing_if = "is_allowed")]
    pub fragments: Fragments,
}

/// The kinds of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimelinePacket {
    /// An echo request.
    Request,
    /// An echo reply.
    Reply,
    /// An ICMP error (RFC 792, RFC 4443) to the sender of an echo packet, which it quotes.
    Error(ErrorQuote),
}

/// What an ICMP error quotes. After the quoted header comes the payload with the number of the *error's* packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorQuote {
    /// This packet as it arrived at the end that sends the error, with its addresses and id there.
    #[serde(rename = "packet")]
    Packet(usize),
    /// A request from the error's destination to its source that nobody sent, with the error's [`TimedPacket::id`].
    Never,
}

/// An echo id, or where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EchoId {
    /// This one.
    Fixed(u16),
    /// The id with which this packet arrived; behind a NAT, not that with which it was sent.
    OfArrived(usize),
}

/// One of the sender's own addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Own {
    /// The one that the route to the other end uses.
    #[default]
    First,
    /// Another one of the same interface, if there is one.
    Second,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The other end's first address.
    #[default]
    First,
    /// The other end's second address.
    Second,
    /// The address that this packet came from when it arrived; behind a NAT, not the other end's own.
    SourceOfArrived(usize),
}

/// Whether a packet may be fragmented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fragments {
    /// Allowed: the sender fragments packets larger than its own MTU, and so may routers.
    #[default]
    Allowed,
    /// DF is set, and the sender refuses packets larger than its own MTU.
    Forbidden,
}

impl TimedPacket {
    /// Creates a packet between the first addresses, with sequence number 1, code 0, 56 bytes of payload and TTL 64.
    pub fn new(at: Duration, from: Endpoint, message: TimelinePacket, id: EchoId) -> Self {
        Self {
            at,
            from,
            message,
            id,
            seq: 1,
            code: 0,
            size: 56,
            ttl: 64,
            source: Own::First,
            destination: Goal::First,
            fragments: Fragments::Allowed,
        }
    }

    /// Iterates over the earlier packets that must have arrived before this one can be sent.
    pub fn needs(&self) -> impl Iterator<Item = usize> {
        let quoted = match self.message {
            TimelinePacket::Error(ErrorQuote::Packet(packet)) => Some(packet),
            _ => None,
        };
        let id = match self.id {
            EchoId::OfArrived(packet) => Some(packet),
            EchoId::Fixed(_) => None,
        };
        let goal = match self.destination {
            Goal::SourceOfArrived(packet) => Some(packet),
            _ => None,
        };
        [quoted, id, goal].into_iter().flatten()
    }
}

impl Timeline {
    /// Returns how long the timeline takes, including the wait for the last arrivals.
    pub fn length(&self) -> Duration {
        self.packets.last().map_or(Duration::ZERO, |packet| packet.at + self.linger)
    }

    /// Explains why the timeline cannot be run, or returns `None` if it can.
    pub fn fault(&self) -> Option<String> {
        if self.packets.len() > MAX_PACKETS {
            return Some(format!("it has {} packets, more than {MAX_PACKETS}", self.packets.len()));
        }
        if let Some(late) = self.packets.windows(2).position(|pair| pair[0].at > pair[1].at) {
            return Some(format!("packet {} is earlier than the one before it", late + 1));
        }
        self.packets.iter().enumerate().find_map(|(number, packet)| self.fault_of(number, packet))
    }

    fn fault_of(&self, number: usize, packet: &TimedPacket) -> Option<String> {
        let bad = |need: &usize| *need >= number || self.packets[*need].from == packet.from;
        let need = packet.needs().find(bad)?;
        Some(format!("packet {number} builds on packet {need}, which is not an earlier one of the other end"))
    }

    /// Swaps the two ends.
    #[must_use]
    pub fn swapped(mut self) -> Self {
        for packet in &mut self.packets {
            packet.from = packet.from.other();
        }
        self
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(code: &u8) -> bool {
    *code == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_first(own: &Own) -> bool {
    *own == Own::First
}

fn is_first_other(goal: &Goal) -> bool {
    *goal == Goal::First
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_allowed(fragments: &Fragments) -> bool {
    *fragments == Fragments::Allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> Timeline {
        let request =
            TimedPacket::new(Duration::from_millis(10), Endpoint::Near, TimelinePacket::Request, EchoId::Fixed(7));
        let mut reply =
            TimedPacket::new(Duration::from_micros(30_500), Endpoint::Far, TimelinePacket::Reply, EchoId::OfArrived(0));
        reply.destination = Goal::SourceOfArrived(0);
        Timeline { packets: vec![request, reply], linger: Duration::from_secs(1) }
    }

    #[test]
    fn a_timeline_crosses_as_json_unchanged_and_small() {
        let timeline = exchange();
        let text = serde_json::to_string(&timeline).expect("JSON");
        assert_eq!(serde_json::from_str::<Timeline>(&text).expect("a timeline"), timeline);
        assert!(text.contains(r#""at_us":30500"#) && !text.contains("code"), "{text}");
        assert!(text.len() < 280, "{} bytes: {text}", text.len());
    }

    #[test]
    fn a_packet_builds_on_earlier_arrivals_at_its_own_end_only() {
        assert_eq!(exchange().fault(), None);
        let mut own = exchange();
        own.packets[1].from = Endpoint::Near;
        assert!(own.fault().is_some_and(|fault| fault.contains("packet 1 builds on packet 0")));
        let mut future = exchange();
        future.packets[0].id = EchoId::OfArrived(1);
        assert!(future.fault().is_some());
        let mut unsorted = exchange();
        unsorted.packets[0].at = Duration::from_secs(9);
        assert!(unsorted.fault().is_some_and(|fault| fault.contains("earlier")));
        let many = Timeline { packets: vec![exchange().packets[0].clone(); MAX_PACKETS + 1], linger: Duration::ZERO };
        assert!(many.fault().is_some());
    }

    #[test]
    fn its_length_includes_the_wait() {
        assert_eq!(exchange().length(), Duration::from_micros(1_030_500));
        assert_eq!(Timeline::default().length(), Duration::ZERO);
    }

    #[test]
    fn swapping_twice_changes_nothing() {
        assert_eq!(exchange().swapped().packets[0].from, Endpoint::Far);
        assert_eq!(exchange().swapped().swapped(), exchange());
    }
}
