//! `probe send`.

use std::{net::IpAddr, time::Duration};

use clap::{Args, ValueEnum};

use probe_ebpf::Family;

use super::{place::PlaceArgs, values::seconds};
use crate::{model::ids::echo_number, traffic::target::family_of};

/// Send ICMP echo packets with full control over their fields.
///
/// Reports how many packets this host's kernel accepted, and why it refused the others. Does not wait for replies.
/// Without privileges only requests can be sent, and only if this host lets the user ping.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Send {
    /// Type of packet to send: a request, or an unsolicited reply
    #[arg(value_enum)]
    pub kind: SendKind,
    /// Target host, as a name or an IP address (link-local IPv6 as ADDRESS%IFACE)
    pub target: String,
    /// Number of packets to send
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// Interval between packets, in seconds; 0 sends as fast as this host can
    #[arg(short, long, value_name = "SECONDS", default_value = "0.2", value_parser = seconds)]
    pub interval: Duration,
    /// Echo id, in decimal or hex (0x2b) [default: random]
    #[arg(short = 'e', long, value_parser = echo_number)]
    pub id: Option<u16>,
    /// Sequence number of the first packet; each later one is one higher, and 65535 is followed by 0
    #[arg(long, default_value = "1", value_parser = echo_number)]
    pub seq: u16,
    /// Use the same sequence number for every packet
    #[arg(long)]
    pub same_seq: bool,
    /// Payload size in bytes
    #[arg(short, long, value_name = "BYTES", default_value_t = 56, value_parser = clap::value_parser!(u16).range(0..=65_507))]
    pub size: u16,
    /// TTL (IPv4) or hop limit (IPv6), 1 to 255 [default: this host's]
    #[arg(short, long, value_parser = clap::value_parser!(u8).range(1..))]
    pub ttl: Option<u8>,
    /// ICMP code; the standard defines only 0
    #[arg(long, default_value_t = 0)]
    pub code: u8,
    /// Source address, which must belong to this host [default: chosen by the route]
    #[arg(short = 'S', long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,
    /// Send through this interface, whatever the routing table says
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
    /// Forbid fragmentation, on this host and (by the DF bit of IPv4) on the path
    #[arg(long)]
    pub df: bool,
    /// DSCP value in the IP header (0 to 63)
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=63))]
    pub dscp: u8,
    /// The IP version to use if the target's name has both.
    #[command(flatten)]
    pub family: FamilyChoice,
    #[command(flatten)]
    /// The network namespace to work in.
    pub place: PlaceArgs,
}

const AFTER_HELP: &str = "\
Examples:
  probe send request b.example -e 0x2b -c 5     five requests with id 43
  probe send reply 10.0.0.2 -e 43 --seq 7       an unsolicited reply
  probe send request 10.0.0.2 -s 1473 --df      does a packet of 1501 bytes get through?
  probe send request fe80::1%eth0 -c 1000 -i 0  as fast as this host can

Exit status: 0 the kernel accepted all packets · 1 it refused some · 2 could not send · 130 interrupted";

/// The type of packet that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SendKind {
    /// ICMP echo request (type 8, or 128 for IPv6)
    Request,
    /// ICMP echo reply (type 0, or 129 for IPv6)
    Reply,
}

/// `-4` and `-6`.
#[derive(Args, Clone, Copy, Debug, Default)]
#[group(multiple = false)]
pub struct FamilyChoice {
    /// Use IPv4 only
    #[arg(short = '4')]
    pub v4: bool,
    /// Use IPv6 only
    #[arg(short = '6')]
    pub v6: bool,
}

impl FamilyChoice {
    /// Returns the IP version that was asked for, or `None` if either will do.
    pub fn only(self) -> Option<Family> {
        match (self.v4, self.v6) {
            (true, _) => Some(Family::V4),
            (_, true) => Some(Family::V6),
            _ => None,
        }
    }

    /// Returns the IP version that was asked for, or else the one of the source address.
    pub fn or_of(self, source: Option<IpAddr>) -> Option<Family> {
        self.only().or_else(|| source.map(family_of))
    }
}
