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
    /// Source address; of a request not the sender's own where a NAT is on the way.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Echo id; of an error that in its quote.
    pub id: u16,
    /// Echo sequence number; of an error that in its quote.
    pub seq: u16,
    /// ICMP code.
    pub code: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Payload bytes; of the first fragment only, where it came in fragments; 0 for an error.
    pub size: u16,
    /// Whether more fragments followed. Those are left to the kernel, which cannot put the packet together without
    /// the first.
    pub fragmented: bool,
}

/// Absorbed packets that are told now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// In the order of time, at most [`Taken::MOST`].
    pub packets: Vec<Absorbed>,
    /// How many there was no room to note, since the watch began: they were absorbed, and are told nowhere.
    pub lost: u64,
    /// Of packets in fragments what has come besides the first fragment, which is told among `packets`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tails: Vec<Tail>,
}

/// The end of a packet that came in fragments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// Where it came from.
    pub source: IpAddr,
    /// Where it was for.
    pub destination: IpAddr,
    /// Which byte behind the IP header it starts with: where it is all of the packet but the first fragment, that ends here.
    pub start: u16,
    /// Payload bytes of the whole echo packet.
    pub size: u16,
}

impl Taken {
    /// The most packets that are told at once; where there are as many, more may wait.
    pub const MOST: usize = 1024;
}
