//! The outcome of a timeline's packets, and how far the clocks that say so can be trusted.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Endpoint, micros};

/// A timeline that was run: all that a judge may know about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayedTimeline {
    /// The outcome of each packet, in the order of the timeline's packets.
    #[serde(rename = "landings")]
    pub deliveries: Vec<Delivery>,
    /// How far the two ends' clocks may have been apart, at most: times of one end against those of the other are known
    /// to no better than this. Half the round trip of the control channel at the common start bounds it.
    #[serde(rename = "clock_error_us", with = "micros")]
    pub clock_error: Duration,
}

/// The outcome of one packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Whether and when it was sent.
    pub sent: SendTime,
    /// Whether the sender's own NIC counted it out, at tc egress or later; `None` if that was not watched. A packet
    /// that was sent and did not leave was stopped by the sender's own host, and says nothing about the network.
    pub left: Option<bool>,
    /// The packets that arrived at the other end's NIC, earliest first: none, one, or more if it was duplicated.
    pub arrived: Vec<Arrival>,
}

/// Whether and when a packet was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendTime {
    /// The system call accepted it at this time since the timeline's start, by the sender's clock. This is the true
    /// time if a packet was sent later than planned.
    At(#[serde(with = "micros")] Duration),
    /// The kernel refused it: the errno's name, e.g. `EPERM`.
    Refused(String),
    /// It was not tried, for this reason: what it builds on had not arrived, or the sender has no second address.
    NotTried(String),
    /// The run ended before it was due.
    #[default]
    NotReached,
}

/// A packet as it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Its echo id; of an ICMP error, the id in what it quotes.
    pub id: u16,
    /// Its source address.
    pub source: IpAddr,
    /// Its destination address.
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

impl Delivery {
    /// Returns when the packet was really sent, since the timeline's start.
    pub fn sent_at(&self) -> Option<Duration> {
        match self.sent {
            SendTime::At(time) => Some(time),
            _ => None,
        }
    }

    /// Returns whether the packet entered the network, as far as its own host can tell: it was sent, and was not seen
    /// to stay.
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
    /// Returns the addresses of one end.
    pub fn of(&self, side: Endpoint) -> &[IpAddr] {
        match side {
            Endpoint::Near => &self.near,
            Endpoint::Far => &self.far,
        }
    }

    /// Returns whether that end has a second address.
    pub fn has_second(&self, side: Endpoint) -> bool {
        self.of(side).len() > 1
    }

    /// Returns the IP version: 4 or 6.
    pub fn family(&self) -> u8 {
        if self.near.iter().chain(&self.far).any(IpAddr::is_ipv6) { 6 } else { 4 }
    }
}
