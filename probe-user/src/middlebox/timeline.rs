//! What two ends send each other and when, as plain data, and what became of each packet.
//!
//! A [`Timeline`] is what experiments and the procedures of a characterisation are made of. Whoever runs it owes three
//! things to those who judge it: every packet carries its shot's number and the run's nonce, so that it is known
//! however a NAT rewrote it; each end counts what arrives at its NIC, before its own netfilter; and what arrives is
//! kept from that end's kernel, so that nobody answers but the timeline.

mod landing;
mod micros;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::landing::{Arrival, EndAddresses, Landing, PlayedTimeline, SendTime};

/// The most shots that a timeline may hold: as many as there are marks in a run ([`probe_ebpf::journey::MAX_PROBES`]).
pub const MAX_SHOTS: usize = 1024;

/// Which of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// The end whose user asked.
    Near,
    /// The peer.
    Far,
}

impl Endpoint {
    /// The end that it faces.
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
    /// The packets, earliest first; a shot's number is its place here. At most [`MAX_SHOTS`].
    pub shots: Vec<TimedPacket>,
    /// How long after the last shot arrivals still count.
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
    /// Its echo id; of an ICMP error that quotes a packet which never was, the id that it quotes.
    pub id: EchoId,
    /// Its sequence number.
    pub seq: u16,
    /// Its ICMP code; the code of the error where it is one.
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
    /// Whether routers may cut it.
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

/// What an ICMP error quotes. Behind the quoted header stands the payload with the number of the *error's* shot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorQuote {
    /// The packet of this shot as it arrived at the end that sends the error: addresses and id as they were there.
    Shot(usize),
    /// A request from the error's destination to its source that nobody sent, with the error's [`TimedPacket::id`].
    Never,
}

/// An echo id, or where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EchoId {
    /// This one.
    Fixed(u16),
    /// The id with which this shot arrived: after a NAT, not that with which it was sent.
    OfArrived(usize),
}

/// One of the sender's own addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Own {
    /// The one that the route to the other end uses.
    #[default]
    First,
    /// Another one of the same interface, where there is one.
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
    /// The address that this shot came from when it arrived: after a NAT, not the other end's own.
    SourceOfArrived(usize),
}

/// Whether routers on the way may cut a packet into fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fragments {
    /// They may, and the sender cuts what is larger than its own MTU.
    #[default]
    Allowed,
    /// DF is set, and the sender refuses what is larger than its own MTU.
    Forbidden,
}

impl TimedPacket {
    /// A shot between the first addresses, with sequence number 1, code 0, 56 bytes of payload and TTL 64.
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

    /// The earlier shots that must have arrived before this one can be made.
    pub fn needs(&self) -> impl Iterator<Item = usize> {
        let quoted = match self.message {
            TimelinePacket::Error(ErrorQuote::Shot(shot)) => Some(shot),
            _ => None,
        };
        let id = match self.id {
            EchoId::OfArrived(shot) => Some(shot),
            EchoId::Fixed(_) => None,
        };
        let goal = match self.destination {
            Goal::SourceOfArrived(shot) => Some(shot),
            _ => None,
        };
        [quoted, id, goal].into_iter().flatten()
    }
}

impl Timeline {
    /// How long it takes, the wait for the last arrivals included.
    pub fn length(&self) -> Duration {
        self.shots.last().map_or(Duration::ZERO, |shot| shot.at + self.linger)
    }

    /// Why it can't be run; none: it can.
    pub fn fault(&self) -> Option<String> {
        if self.shots.len() > MAX_SHOTS {
            return Some(format!("it has {} shots, more than {MAX_SHOTS}", self.shots.len()));
        }
        if let Some(late) = self.shots.windows(2).position(|pair| pair[0].at > pair[1].at) {
            return Some(format!("shot {} is earlier than the one before it", late + 1));
        }
        self.shots.iter().enumerate().find_map(|(number, shot)| self.fault_of(number, shot))
    }

    fn fault_of(&self, number: usize, shot: &TimedPacket) -> Option<String> {
        let bad = |need: &usize| *need >= number || self.shots[*need].from == shot.from;
        let need = shot.needs().find(bad)?;
        Some(format!("shot {number} builds on shot {need}, which is not an earlier one of the other end"))
    }

    /// The same timeline with the two ends changed for each other.
    #[must_use]
    pub fn swapped(mut self) -> Self {
        for shot in &mut self.shots {
            shot.from = shot.from.other();
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
        Timeline { shots: vec![request, reply], linger: Duration::from_secs(1) }
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
    fn a_shot_builds_on_earlier_arrivals_at_its_own_end_only() {
        assert_eq!(exchange().fault(), None);
        let mut own = exchange();
        own.shots[1].from = Endpoint::Near;
        assert!(own.fault().is_some_and(|fault| fault.contains("shot 1 builds on shot 0")));
        let mut future = exchange();
        future.shots[0].id = EchoId::OfArrived(1);
        assert!(future.fault().is_some());
        let mut unsorted = exchange();
        unsorted.shots[0].at = Duration::from_secs(9);
        assert!(unsorted.fault().is_some_and(|fault| fault.contains("earlier")));
        let many = Timeline { shots: vec![exchange().shots[0].clone(); MAX_SHOTS + 1], linger: Duration::ZERO };
        assert!(many.fault().is_some());
    }

    #[test]
    fn its_length_includes_the_wait() {
        assert_eq!(exchange().length(), Duration::from_micros(1_030_500));
        assert_eq!(Timeline::default().length(), Duration::ZERO);
    }

    #[test]
    fn swapping_twice_changes_nothing() {
        assert_eq!(exchange().swapped().shots[0].from, Endpoint::Far);
        assert_eq!(exchange().swapped().swapped(), exchange());
    }
}
