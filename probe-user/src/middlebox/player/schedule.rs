//! Which shots are to be ordered now, and as what: pure.

use std::{net::IpAddr, time::Duration};

use super::landings::Landings;
use crate::{
    middlebox::timeline::{
        Arrival, EchoId, EndAddresses, Endpoint, ErrorQuote, Fragments, Goal, Own, SendTime, TimedPacket, Timeline,
        TimelinePacket,
    },
    traffic::{
        Fragmentation,
        batch::{self, EchoFields, Quoted, QuotedEcho, What},
    },
};

/// How long before its time a shot is ordered, so that a slow control channel does not make it late.
const AHEAD: Duration = Duration::from_millis(500);

/// How long after its time a shot still waits for the arrival that it builds on.
const GRACE: Duration = Duration::from_millis(500);

/// The shots of a timeline that are not ordered yet.
pub(super) struct Schedule<'a> {
    timeline: &'a Timeline,
    ends: &'a EndAddresses,
    nonce: u64,
    states: Vec<OrderState>,
}

/// What became of a shot before it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OrderState {
    /// Its time has not come.
    Waiting,
    /// Its end was told to send it.
    Ordered,
    /// It can't be sent, for this reason.
    Given(String),
}

/// Shots to order now.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Of this end.
    pub(super) near: Vec<batch::PacketSpec>,
    /// Of the far end.
    pub(super) far: Vec<batch::PacketSpec>,
}

impl<'a> Schedule<'a> {
    /// Nothing ordered yet.
    pub(super) fn new(timeline: &'a Timeline, ends: &'a EndAddresses, nonce: u64) -> Self {
        Self { timeline, ends, nonce, states: vec![OrderState::Waiting; timeline.shots.len()] }
    }

    /// Why a shot was not sent.
    pub(super) fn unsent(&self, shot: usize) -> SendTime {
        match &self.states[shot] {
            OrderState::Given(why) => SendTime::NotTried(why.clone()),
            OrderState::Waiting | OrderState::Ordered => SendTime::NotReached,
        }
    }

    /// The shots to order at `now`, with the time that is left until theirs.
    pub(super) fn due(&mut self, now: Duration, known: &Landings) -> Due {
        let mut due = Due::default();
        for (number, shot) in self.timeline.shots.iter().enumerate() {
            if shot.at > now + AHEAD {
                break;
            }
            if self.states[number] != OrderState::Waiting {
                continue;
            }
            if let Some(missing) = shot.needs().find(|need| known.arrival(*need).is_none()) {
                if now > shot.at + GRACE {
                    self.states[number] =
                        OrderState::Given(format!("what it answers, shot {missing}, had not arrived"));
                }
                continue;
            }
            match self.made(number, shot, now, known) {
                Ok(made) if shot.from == Endpoint::Near => due.near.push(made),
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
        shot: &TimedPacket,
        now: Duration,
        known: &Landings,
    ) -> Result<batch::PacketSpec, String> {
        let source = self.source(shot, known)?;
        let destination = match shot.destination {
            Goal::First => self.ends.of(shot.from.other())[0],
            Goal::Second => second(self.ends, shot.from.other(), "the other end")?,
            Goal::SourceOfArrived(need) => arrived(known, need)?.source,
        };
        let wait = shot.at.saturating_sub(now);
        Ok(batch::PacketSpec {
            number: u16::try_from(number).map_err(|_| "its number is too large".to_owned())?,
            after_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            what: self.what(shot, (source, destination), known)?,
            source: Some(source),
            destination,
            ttl: Some(shot.ttl),
            fragmentation: match shot.fragments {
                Fragments::Allowed => Fragmentation::Allowed,
                Fragments::Forbidden => Fragmentation::Forbidden,
            },
        })
    }

    /// The sender's address: what answers a packet comes from the address that the packet was for.
    fn source(&self, shot: &TimedPacket, known: &Landings) -> Result<IpAddr, String> {
        let own = self.ends.of(shot.from);
        match (shot.source, shot.destination) {
            (Own::Second, _) => second(self.ends, shot.from, "its end"),
            (Own::First, Goal::SourceOfArrived(need)) => {
                let asked = arrived(known, need)?.destination;
                Ok(own.iter().copied().find(|address| *address == asked).unwrap_or(own[0]))
            }
            (Own::First, _) => Ok(own[0]),
        }
    }

    fn what(
        &self,
        shot: &TimedPacket,
        (source, destination): (IpAddr, IpAddr),
        known: &Landings,
    ) -> Result<What, String> {
        let id = match shot.id {
            EchoId::Fixed(id) => id,
            EchoId::OfArrived(need) => arrived(known, need)?.id,
        };
        let fields = EchoFields { id, seq: shot.seq, code: shot.code, size: shot.size, nonce: self.nonce };
        Ok(match shot.message {
            TimelinePacket::Request => What::Request(fields),
            TimelinePacket::Reply => What::Reply(fields),
            TimelinePacket::Error(ErrorQuote::Shot(need)) => {
                let quoted = arrived(known, need)?;
                let echo = match self.timeline.shots[need].message {
                    TimelinePacket::Reply => QuotedEcho::Reply,
                    TimelinePacket::Request | TimelinePacket::Error(_) => QuotedEcho::Request,
                };
                let fields = EchoFields { id: quoted.id, seq: quoted.seq, code: quoted.code, ..fields };
                let quoted = Quoted { source: quoted.source, destination: quoted.destination, echo, fields };
                What::Unreachable { code: shot.code, quoted }
            }
            TimelinePacket::Error(ErrorQuote::Never) => {
                let fields = EchoFields { code: 0, ..fields };
                let quoted = Quoted { source: destination, destination: source, echo: QuotedEcho::Request, fields };
                What::Unreachable { code: shot.code, quoted }
            }
        })
    }
}

fn arrived(known: &Landings, shot: usize) -> Result<&Arrival, String> {
    known.arrival(shot).ok_or_else(|| format!("shot {shot} had not arrived"))
}

fn second(ends: &EndAddresses, side: Endpoint, whose: &str) -> Result<IpAddr, String> {
    ends.of(side).get(1).copied().ok_or_else(|| format!("{whose} has no second address"))
}
