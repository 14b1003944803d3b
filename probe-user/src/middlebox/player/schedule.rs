//! Which packets are to be sent now, and as what: pure.

use probe_ebpf::Echo;
use std::{net::IpAddr, time::Duration};

use super::deliveries::Deliveries;
use crate::{
    middlebox::timeline::{
        Arrival, EchoId, EndAddresses, Endpoint, ErrorQuote, Fragments, Goal, Own, SendTime, TimedPacket, Timeline,
        TimelinePacket,
    },
    traffic::{
        Fragmentation,
        batch::{self, EchoFields, Quoted, What},
    },
};

/// How long before its time a packet is ordered, so that a slow control channel does not make it late.
const AHEAD: Duration = Duration::from_millis(500);

/// How long after its time a packet still waits for the arrival that it builds on.
const GRACE: Duration = Duration::from_millis(500);

/// The packets of a timeline that are not ordered yet.
pub(super) struct Schedule<'a> {
    timeline: &'a Timeline,
    ends: &'a EndAddresses,
    nonce: u64,
    states: Vec<OrderState>,
}

/// The outcome of a packet before it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OrderState {
    /// Its time has not come.
    Waiting,
    /// Its end was ordered to send it.
    Ordered,
    /// It cannot be sent, for this reason.
    Given(String),
}

/// Packets to order now.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Of this end.
    pub(super) near: Vec<batch::PacketSpec>,
    /// Of the far end.
    pub(super) far: Vec<batch::PacketSpec>,
}

impl<'a> Schedule<'a> {
    /// Creates a schedule with nothing ordered yet.
    pub(super) fn new(timeline: &'a Timeline, ends: &'a EndAddresses, nonce: u64) -> Self {
        Self { timeline, ends, nonce, states: vec![OrderState::Waiting; timeline.packets.len()] }
    }

    /// Explains why a packet was not sent.
    pub(super) fn unsent(&self, packet: usize) -> SendTime {
        match &self.states[packet] {
            OrderState::Given(why) => SendTime::NotTried(why.clone()),
            OrderState::Waiting | OrderState::Ordered => SendTime::NotReached,
        }
    }

    /// Returns the packets to order at `now`, each with the time left until it is due.
    pub(super) fn due(&mut self, now: Duration, known: &Deliveries) -> Due {
        let mut due = Due::default();
        for (number, packet) in self.timeline.packets.iter().enumerate() {
            if packet.at > now + AHEAD {
                break;
            }
            if self.states[number] != OrderState::Waiting {
                continue;
            }
            if let Some(missing) = packet.needs().find(|need| known.arrival(*need).is_none()) {
                if now > packet.at + GRACE {
                    self.states[number] =
                        OrderState::Given(format!("packet {missing}, which it answers, had not arrived"));
                }
                continue;
            }
            match self.made(number, packet, now, known) {
                Ok(made) if packet.from == Endpoint::Near => due.near.push(made),
                Ok(made) => due.far.push(made),
                Err(why) => {
                    self.states[number] = OrderState::Given(why);
                    continue;
                }
            }
            self.states[number] = OrderState::Ordered;
        }
        due
    }

    fn made(
        &self,
        number: usize,
        packet: &TimedPacket,
        now: Duration,
        known: &Deliveries,
    ) -> Result<batch::PacketSpec, String> {
        let source = self.source(packet, known)?;
        let destination = match packet.destination {
            Goal::First => self.ends.of(packet.from.other())[0],
            Goal::Second => second(self.ends, packet.from.other(), "the other end")?,
            Goal::SourceOfArrived(need) => arrived(known, need)?.source,
        };
        let wait = packet.at.saturating_sub(now);
        Ok(batch::PacketSpec {
            number: u16::try_from(number).map_err(|_| "its number is too large".to_owned())?,
            after_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            what: self.what(packet, (source, destination), known)?,
            source: Some(source),
            destination,
            ttl: Some(packet.ttl),
            fragmentation: match packet.fragments {
                Fragments::Allowed => Fragmentation::Allowed,
                Fragments::Forbidden => Fragmentation::Forbidden,
            },
        })
    }

    /// Returns the source address: an answer comes from the address that the packet was sent to.
    fn source(&self, packet: &TimedPacket, known: &Deliveries) -> Result<IpAddr, String> {
        let own = self.ends.of(packet.from);
        match (packet.source, packet.destination) {
            (Own::Second, _) => second(self.ends, packet.from, "its end"),
            (Own::First, Goal::SourceOfArrived(need)) => {
                let asked = arrived(known, need)?.destination;
                Ok(own.iter().copied().find(|address| *address == asked).unwrap_or(own[0]))
            }
            (Own::First, _) => Ok(own[0]),
        }
    }

    fn what(
        &self,
        packet: &TimedPacket,
        (source, destination): (IpAddr, IpAddr),
        known: &Deliveries,
    ) -> Result<What, String> {
        let id = match packet.id {
            EchoId::Fixed(id) => id,
            EchoId::OfArrived(need) => arrived(known, need)?.id,
        };
        let fields = EchoFields { id, seq: packet.seq, code: packet.code, size: packet.size, nonce: self.nonce };
        Ok(match packet.message {
            TimelinePacket::Request => What::Request(fields),
            TimelinePacket::Reply => What::Reply(fields),
            TimelinePacket::Error(ErrorQuote::Packet(need)) => {
                let quoted = arrived(known, need)?;
                let echo = match self.timeline.packets[need].message {
                    TimelinePacket::Reply => Echo::Reply,
                    TimelinePacket::Request | TimelinePacket::Error(_) => Echo::Request,
                };
                let fields = EchoFields { id: quoted.id, seq: quoted.seq, code: quoted.code, ..fields };
                let quoted = Quoted { source: quoted.source, destination: quoted.destination, echo, fields };
                What::Unreachable { code: packet.code, quoted }
            }
            TimelinePacket::Error(ErrorQuote::Never) => {
                let fields = EchoFields { code: 0, ..fields };
                let quoted = Quoted { source: destination, destination: source, echo: Echo::Request, fields };
                What::Unreachable { code: packet.code, quoted }
            }
        })
    }
}

fn arrived(known: &Deliveries, packet: usize) -> Result<&Arrival, String> {
    known.arrival(packet).ok_or_else(|| format!("packet {packet} had not arrived"))
}

fn second(ends: &EndAddresses, side: Endpoint, whose: &str) -> Result<IpAddr, String> {
    ends.of(side).get(1).copied().ok_or_else(|| format!("{whose} has no second address"))
}
