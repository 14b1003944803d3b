//! What became of a timeline's shots, and how far the clocks that say so can be trusted.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Endpoint, micros};

/// A timeline that was run: all that a judge may know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayedTimeline {
    /// What became of each shot, in the order of the timeline's shots.
    pub landings: Vec<Landing>,
    /// How far the two ends' clocks may have been apart, at most: times of one end against those of the other are known
    /// to no better than this. Half the round trip of the control channel at the common start bounds it.
    #[serde(rename = "clock_error_us", with = "micros")]
    pub clock_error: Duration,
}

/// What became of one shot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landing {
    /// Whether and when it was sent.
    pub sent: SendTime,
    /// Whether the sender's own NIC counted it out, at tc egress or later; none where that was not watched. What was
    /// sent and did not leave was stopped by the sender's own host, and says nothing of the network.
    pub left: Option<bool>,
    /// What of it arrived at the other end's NIC, earliest first: nothing, one packet, or more where it was doubled.
    pub arrived: Vec<Arrival>,
}

/// Whether and when a shot was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendTime {
    /// The system call took it at this time since the timeline's start, by the sender's clock: the truth where a shot
    /// came later than planned.
    At(#[serde(with = "micros")] Duration),
    /// The kernel refused it: the errno's name, e.g. `EPERM`.
    Refused(String),
    /// It was not tried, for this reason: what it builds on had not arrived, or the sender has no second address.
    NotTried(String),
    /// The run ended before its time came.
    #[default]
    NotReached,
}

/// A packet as it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Its echo id; of an ICMP error, the id in what it quotes.
    pub id: u16,
    /// Where it came from.
    pub source: IpAddr,
    /// Where it was for.
    pub destination: IpAddr,
    /// Its sequence number; of an ICMP error, that in what it quotes.
    pub seq: u16,
    /// Its ICMP code.
    pub code: u8,
    /// Its TTL or hop limit.
    pub ttl: u8,
    /// Payload bytes.
    pub size: u16,
    /// When, since the timeline's start, by the clock of the end where it arrived.
    #[serde(rename = "after_us", with = "micros")]
    pub after: Duration,
}

impl Landing {
    /// When it was really sent, since the timeline's start.
    pub fn sent_at(&self) -> Option<Duration> {
        match self.sent {
            SendTime::At(time) => Some(time),
            _ => None,
        }
    }

    /// Whether it entered the network, as far as its own host tells: it was sent, and was not seen to stay behind.
    pub fn went(&self) -> bool {
        self.sent_at().is_some() && self.left != Some(false)
    }
}

/// The addresses of the two ends, all of one IP version: the first is the one that the route to the other end uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndAddresses {
    /// The near end's: one or two.
    pub near: Vec<IpAddr>,
    /// The far end's: one or two.
    pub far: Vec<IpAddr>,
}

impl EndAddresses {
    /// The addresses of one end.
    pub fn of(&self, side: Endpoint) -> &[IpAddr] {
        match side {
            Endpoint::Near => &self.near,
            Endpoint::Far => &self.far,
        }
    }

    /// Whether that end has a second address.
    pub fn has_second(&self, side: Endpoint) -> bool {
        self.of(side).len() > 1
    }

    /// 4 or 6.
    pub fn family(&self) -> u8 {
        if self.near.iter().chain(&self.far).any(IpAddr::is_ipv6) { 6 } else { 4 }
    }
}
