//! `probe send`.

use std::{net::IpAddr, time::Duration};

use clap::{Args, ValueEnum};

use probe_ebpf::Family;

use super::values::seconds;
use crate::{model::ids::echo_number, traffic::target::family_of};

/// Send ICMP echo packets, every field of them chosen.
///
/// Reports what this host's kernel took, and why it refused the rest; it does not wait for answers.
/// Without privilege it can send requests only, if this host lets the user ping at all.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Send {
    /// What to send: a request, or a reply that nobody asked for
    #[arg(value_enum)]
    pub kind: SendKind,
    /// Where to: a name or an address; link-local IPv6 with %IFACE behind it
    pub target: String,
    /// How many packets
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// Seconds between two packets; 0 sends them as fast as this host can
    #[arg(short, long, value_name = "SECONDS", default_value = "0.2", value_parser = seconds)]
    pub interval: Duration,
    /// The echo id, decimal or 0x-hex [default: random]
    #[arg(short = 'e', long, value_parser = echo_number)]
    pub id: Option<u16>,
    /// The sequence number of the first packet; each further one is one higher, and 0 comes after 65535
    #[arg(long, default_value = "1", value_parser = echo_number)]
    pub seq: u16,
    /// Give every packet the same sequence number
    #[arg(long)]
    pub same_seq: bool,
    /// Payload bytes
    #[arg(short, long, value_name = "BYTES", default_value_t = 56, value_parser = clap::value_parser!(u16).range(0..=65_507))]
    pub size: u16,
    /// TTL (IPv4) or hop limit (IPv6)
    #[arg(short, long, value_parser = clap::value_parser!(u8).range(1..))]
    pub ttl: Option<u8>,
    /// The ICMP code; 0 is the one that the standard knows
    #[arg(long, default_value_t = 0)]
    pub code: u8,
    /// The source address; it must be one of this host's
    #[arg(short = 'S', long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,
    /// Send out of this interface, whatever the route says
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
    /// Forbid fragmentation, here and (the DF bit of IPv4) on the way
    #[arg(long)]
    pub df: bool,
    /// The DSCP value (0 to 63) of the IP header
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=63))]
    pub dscp: u8,
    /// Which IP version to use where the target's name has both.
    #[command(flatten)]
    pub family: FamilyChoice,
}

const AFTER_HELP: &str = "\
Examples:
  probe send request b.example -e 0x2b -c 5     five requests with id 43
  probe send reply 10.0.0.2 -e 43 --seq 7       a reply that nobody asked for
  probe send request 10.0.0.2 -s 1473 --df      does a packet of 1501 bytes get through?
  probe send request fe80::1%eth0 -c 1000 -i 0  as fast as this host can

Exit status: 0 the kernel took all · 1 it refused some · 2 nothing could be sent · 130 interrupted";

/// Which packet is sent.
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
    /// IPv4 only
    #[arg(short = '4')]
    pub v4: bool,
    /// IPv6 only
    #[arg(short = '6')]
    pub v6: bool,
}

impl FamilyChoice {
    /// The one IP version that was asked for; none: either.
    pub fn only(self) -> Option<Family> {
        match (self.v4, self.v6) {
            (true, _) => Some(Family::V4),
            (_, true) => Some(Family::V6),
            _ => None,
        }
    }

    /// The same, where a source address says it too.
    pub fn or_of(self, source: Option<IpAddr>) -> Option<Family> {
        self.only().or_else(|| source.map(family_of))
    }
}
