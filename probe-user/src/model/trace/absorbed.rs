//! Packets of a run that were kept from the kernel of the host that they reached.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A packet of the run that was kept from the kernel of the host that it reached, as it was on the wire there; or an ICMP
/// error about one, which that kernel receives too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absorbed {
    /// The number of its mark, or of the mark that an error quotes.
    pub probe: u16,
    /// `CLOCK_MONOTONIC` of that host in nanoseconds.
    pub time_ns: u64,
    /// Source address; for a request not the sender's own if a NAT is on the way.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Echo id; for an error, the one in its quote.
    pub id: u16,
    /// Echo sequence number; for an error, the one in its quote.
    pub seq: u16,
    /// ICMP code.
    pub code: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Payload bytes; of the first fragment only, if it came in fragments; 0 for an error.
    pub size: u16,
    /// Whether more fragments followed. Those are left to the kernel, which cannot put the packet together without
    /// the first.
    pub fragmented: bool,
}

/// Absorbed packets that are reported now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// In the order of time, at most [`Taken::MOST`].
    pub packets: Vec<Absorbed>,
    /// How many there was no room to note, since the watch began: they were absorbed, and are not reported.
    pub lost: u64,
    /// What has come of packets in fragments besides the first fragment, which is reported in `packets`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tails: Vec<Tail>,
}

/// The end of a packet that came in fragments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// Where it came from.
    pub source: IpAddr,
    /// Where it was going.
    pub destination: IpAddr,
    /// Which byte after the IP header it starts with: if it is all of the packet except the first fragment, that one
    /// ends here.
    pub start: u16,
    /// Payload bytes of the whole echo packet.
    pub size: u16,
}

impl Taken {
    /// The most packets that are reported at once; if there are that many, more may wait.
    pub const MOST: usize = 1024;
}
