//! Packets on command: a volley of fully specified shots, each at its time, sent by one raw socket for each IP version.
//!
//! Either end sends with a [`PacketSender`]: the near end its own, the far end the agent's, ordered through
//! [`crate::peer::protocol::Request::Volley`]. Every echo packet carries a mark, so that the hops of both ends note it by
//! its number whatever a NAT makes of its id; a [`PacketSpec::number`] is best used once in a run.

mod message;
mod shooter;
mod socket;

use std::net::IpAddr;

use probe_ebpf::{Echo, journey::MAX_PROBES};
use serde::{Deserialize, Serialize};

pub use message::bytes;
pub use shooter::{MinimumGap, PacketSender};

use super::sender::Fragmentation;

/// The most shots of one order.
pub const MOST_SHOTS: usize = MAX_PROBES as usize;

/// One packet, every field of it chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketSpec {
    /// By which its fate is told, here and, as the number of its mark, at every hop; below
    /// [`probe_ebpf::journey::MAX_PROBES`].
    pub number: u16,
    /// Milliseconds after the volley's start.
    pub after_ms: u32,
    /// What is sent.
    pub what: What,
    /// The source address, one of this host's; none: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Where to.
    pub destination: IpAddr,
    /// TTL or hop limit; none: the kernel's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// Whether it may be fragmented.
    #[serde(default)]
    pub fragmentation: Fragmentation,
}

/// What a shot sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// An echo request.
    Request(EchoFields),
    /// An echo reply.
    Reply(EchoFields),
    /// An ICMP error that quotes an echo packet: destination unreachable (type 3, `ICMPv6` 1).
    Unreachable {
        /// Its code, such as 1 (host unreachable) or 3 (port unreachable); of `ICMPv6` 3 and 4.
        code: u8,
        /// The packet that it is about, whether there ever was one or not.
        quoted: Quoted,
    },
}

/// The fields of an echo message, and its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoFields {
    /// Echo id.
    pub id: u16,
    /// Echo sequence number.
    pub seq: u16,
    /// ICMP code.
    #[serde(default)]
    pub code: u8,
    /// Payload bytes; where they have no room for the mark, its [`probe_ebpf::journey::MARK_BYTES`].
    pub size: u16,
    /// The nonce of its mark, whose number is the shot's.
    pub nonce: u64,
}

/// An echo packet as an ICMP error quotes it: its IP header and as much of the rest as an error may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quoted {
    /// Its source address.
    pub source: IpAddr,
    /// Its destination address.
    pub destination: IpAddr,
    /// Whether it is a reply.
    pub echo: Echo,
    /// Its fields; its mark has the shot's number.
    pub fields: EchoFields,
}

/// What became of shots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    /// In the order in which they were sent; each is told once.
    pub shots: Vec<FiredShot>,
    /// How many are not due yet.
    pub waiting: u32,
    /// `CLOCK_MONOTONIC` of the sending host in nanoseconds when this was told.
    #[serde(default)]
    pub now_ns: u64,
}

/// A shot that was handed to the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiredShot {
    /// [`PacketSpec::number`].
    pub number: u16,
    /// `CLOCK_MONOTONIC` of its host in nanoseconds just before the system call.
    pub sent_ns: u64,
    /// How much later than [`PacketSpec::after_ms`] that was, in microseconds.
    pub late_us: u64,
    /// The errno's name, where the kernel refused it, e.g. `EPERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
}
