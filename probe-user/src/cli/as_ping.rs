//! The flags of iputils `ping` that determine what is sent and how, with the same meaning.

use std::{net::IpAddr, str::FromStr, time::Duration};

use clap::{Args, ValueEnum, builder::PossibleValue};

use super::values::positive_seconds;
use crate::traffic::{
    Fragmentation,
    prober::{Pattern, random},
};

/// The packets and the socket, set up as `ping` does for the same flags.
#[derive(Args, Debug)]
#[command(next_help_heading = "As ping")]
pub struct PingFlags {
    /// Bits of the IP header's TOS or traffic class, 0 to 255 or 0x0 to 0xff [default: 0]
    #[arg(short = 'Q', long = "tclass", value_name = "BITS", value_parser = byte)]
    pub tclass: Option<u8>,
    /// DSCP value in the IP header, 0 to 63: the upper six bits of TOS or traffic class
    #[arg(long, conflicts_with = "tclass", value_parser = clap::value_parser!(u8).range(0..=63))]
    pub dscp: Option<u8>,
    /// Set this firewall mark on the packets (`SO_MARK`), in decimal or hex; this host's rules and routes can match it
    #[arg(short, long, value_name = "MARK", value_parser = mark)]
    pub mark: Option<u32>,
    /// Path MTU discovery: do (no fragments anywhere), want (none on the path), dont (no DF), probe (as --df) [default: as
    /// `net.ipv4.ip_no_pmtu_disc` says]
    #[arg(short = 'M', long = "pmtu", value_name = "HOW", value_enum, conflicts_with = "df")]
    pub path_mtu: Option<PathMtu>,
    /// Fill the payload with this pattern of up to 16 bytes in hex, e.g. ff00; a probe's mark comes first if there is
    /// room for it
    #[arg(short = 'p', long, value_name = "HEX", value_parser = pattern)]
    pub pattern: Option<Pattern>,
    /// Allow a broadcast address as the target
    #[arg(short, long)]
    pub broadcast: bool,
    /// End the run after this many seconds; with -c, send until that many replies have arrived
    #[arg(short = 'w', long, value_name = "SECONDS", value_parser = positive_seconds)]
    pub deadline: Option<Duration>,
    /// Send this many probes at once at the start
    #[arg(short = 'l', long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub preload: u16,
    /// Send each probe as soon as the previous one is answered, but at least a hundred a second unless -i is given
    #[arg(short, long)]
    pub flood: bool,
    /// Send each probe as soon as the previous one is answered
    #[arg(short = 'A', long)]
    pub adaptive: bool,
    /// IPv6 flow label, in decimal or hex; 0 is one by chance
    #[arg(short = 'F', long, value_name = "LABEL", value_parser = flow_label)]
    pub flow_label: Option<u32>,
    /// Do not loop multicast probes back to this host
    #[arg(short = 'L', long)]
    pub no_loop: bool,
    /// Bind to the source address that the route selects, so that it stays the same
    #[arg(short = 'B', long)]
    pub sticky_source: bool,
    /// Connect the socket, so that replies from another address are not received
    #[arg(short = 'C', long = "connect")]
    pub connected: bool,
    /// Bypass all gateways: reach only hosts on a directly connected network (`SO_DONTROUTE`)
    #[arg(short = 'r', long)]
    pub bypass_routes: bool,
    /// Have routers record the route in the IPv4 header
    #[arg(short = 'R', long, conflicts_with = "timestamp")]
    pub record_route: bool,
    /// Have routers write timestamps into the IPv4 header: tsonly, or tsandaddr
    #[arg(short = 'T', long, value_name = "KIND", value_parser = timestamps)]
    pub timestamp: Option<Timestamps>,
    /// Set `SO_DEBUG` on the socket
    #[arg(short = 'd', long)]
    pub debug: bool,
    /// Ring the terminal's bell if a probe was answered
    #[arg(short = 'a', long)]
    pub audible: bool,
    /// Print on stderr when the first probe left, as seconds since 1970
    #[arg(short = 'D', long)]
    pub timestamps: bool,
    /// Do not resolve addresses to names; accepted for compatibility, as probe never does
    #[arg(short = 'n', long)]
    pub numeric: bool,
    /// Report unanswered probes; accepted for compatibility, as the verdict always does
    #[arg(short = 'O', long)]
    pub outstanding: bool,
    /// Measure from program to program; accepted for compatibility, as probe always does
    #[arg(short = 'U', long)]
    pub user_latency: bool,
    /// Refused: node information queries are not echo
    #[arg(short = 'N', long, value_name = "WHAT", hide = true, value_parser = no_node_information)]
    pub node_information: Option<String>,
}

/// The longest time between two probes of a flood, as in `ping -f`.
const FLOOD_INTERVAL: Duration = Duration::from_millis(10);

impl PingFlags {
    /// Returns the bits of the header's TOS or traffic class.
    pub fn tos(&self) -> u8 {
        self.tclass.or(self.dscp.map(|dscp| dscp << 2)).unwrap_or(0)
    }

    /// Returns the time between two probes that these flags ask for.
    pub fn interval(&self) -> Option<Duration> {
        self.flood.then_some(FLOOD_INTERVAL)
    }

    /// Returns the options of the IPv4 header (RFC 791 §3.1): record route, or timestamps.
    pub fn header_options(&self) -> Option<[u8; 40]> {
        let mut options = [0; 40];
        if self.record_route {
            // No operation, then the option: 39 bytes, of which the fourth is the first to be written.
            options[..4].copy_from_slice(&[1, 7, 39, 4]);
            return Some(options);
        }
        let kind = self.timestamp?;
        options[..4].copy_from_slice(&[68, 40, 5, kind as u8]);
        if kind == Timestamps::WithAddresses {
            // Eight bytes an entry: four fit.
            options[1] = 36;
        }
        Some(options)
    }
}

/// Path MTU discovery as `ping -M` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathMtu {
    /// `IP_PMTUDISC_DO`.
    Do,
    /// `IP_PMTUDISC_WANT`.
    Want,
    /// `IP_PMTUDISC_DONT`.
    Dont,
    /// `IP_PMTUDISC_PROBE`.
    Probe,
}

impl PathMtu {
    /// Returns what it means for fragments.
    pub fn fragmentation(self) -> Fragmentation {
        match self {
            Self::Do => Fragmentation::Nowhere,
            Self::Want => Fragmentation::OnThisHost,
            Self::Dont => Fragmentation::Allowed,
            Self::Probe => Fragmentation::Forbidden,
        }
    }
}

impl ValueEnum for PathMtu {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Do, Self::Want, Self::Dont, Self::Probe]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Do => "do",
            Self::Want => "want",
            Self::Dont => "dont",
            Self::Probe => "probe",
        }))
    }
}

/// What routers write: the flag of the option (RFC 791 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Timestamps {
    /// Timestamps only.
    Only = 0,
    /// Each with the router's address.
    WithAddresses = 1,
}

/// The value of `-I`: a device, or an address of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundTo {
    /// The socket is bound to this device.
    Device(String),
    /// The packets have this source address; a link-local one comes with its device.
    Address(IpAddr, Option<String>),
}

impl FromStr for BoundTo {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
        Ok(match address.parse() {
            Ok(address) => Self::Address(address, zone.map(str::to_owned)),
            Err(_) => Self::Device(text.to_owned()),
        })
    }
}

/// The value of `-S`: a source address, or, as in `ping`, the size of the send buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceOrBuffer {
    /// The source address.
    Address(IpAddr),
    /// Bytes of the send buffer.
    SendBuffer(u32),
}

impl FromStr for SourceOrBuffer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let size = || text.parse().ok().filter(|size| (1..=i32::MAX as u32).contains(size)).map(Self::SendBuffer);
        text.parse().map(Self::Address).ok().or_else(size).ok_or_else(|| {
            format!("'{text}' is neither an IP address (the source) nor a number of bytes (the send buffer)")
        })
    }
}

/// Parses a number in decimal, hex (0x) or octal (a leading 0), as `ping` does.
fn number(text: &str) -> Option<u64> {
    match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => u64::from_str_radix(&text[2..], 16).ok(),
        [b'0', _, ..] => u64::from_str_radix(&text[1..], 8).ok(),
        _ => text.parse().ok(),
    }
}

fn byte(text: &str) -> Result<u8, String> {
    number(text)
        .and_then(|number| u8::try_from(number).ok())
        .ok_or_else(|| format!("'{text}' is not a number from 0 to 255 (or 0x0 to 0xff)"))
}

fn mark(text: &str) -> Result<u32, String> {
    number(text)
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| format!("'{text}' is not a mark from 0 to 0xffffffff"))
}

fn flow_label(text: &str) -> Result<u32, String> {
    number(text)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|label| *label <= 0xf_ffff)
        // As ping: 0 is any.
        .map(|label| if label == 0 { random() as u32 & 0xf_ffff | 1 } else { label })
        .ok_or_else(|| format!("'{text}' is not a flow label from 0 (any) to 0xfffff"))
}

fn pattern(text: &str) -> Result<Pattern, String> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let bytes = digits.map(|digits| {
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect::<Vec<u8>>()
    });
    bytes.and_then(Pattern::new).ok_or_else(|| format!("'{text}' is not 1 to 16 bytes in hex, such as ff00"))
}

fn timestamps(text: &str) -> Result<Timestamps, String> {
    match text {
        "tsonly" => Ok(Timestamps::Only),
        "tsandaddr" => Ok(Timestamps::WithAddresses),
        "tsprespec" => Err("tsprespec and its list of hosts are not supported: use tsonly, tsandaddr or -R".to_owned()),
        _ => Err(format!("'{text}' is not a kind of timestamp: use tsonly or tsandaddr")),
    }
}

fn no_node_information(_: &str) -> Result<String, String> {
    Err("it asks for node information (RFC 4620), but probe sends only echo: leave out -N".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_ping_reads_them() {
        assert_eq!((byte("0x10"), byte("16"), byte("020")), (Ok(16), Ok(16), Ok(16)));
        for bad in ["256", "-1", "", "0x", "x"] {
            assert!(byte(bad).is_err(), "{bad}");
        }
        assert_eq!((mark("0xffffffff"), mark("0")), (Ok(u32::MAX), Ok(0)));
        assert!(flow_label("0x100000").is_err() && flow_label("x").is_err());
        assert!(flow_label("0").is_ok_and(|label| (1..=0xf_ffff).contains(&label)), "any label");
    }

    #[test]
    fn a_pattern_is_pairs_of_hex_digits() {
        assert_eq!(pattern("ff00a"), Ok(Pattern::new(vec![0xff, 0, 0xa]).expect("three bytes")));
        assert!(pattern("").is_err() && pattern("zz").is_err() && pattern(&"f".repeat(33)).is_err());
    }

    #[test]
    fn an_interface_is_a_device_or_an_address_and_a_source_an_address_or_a_size() {
        assert_eq!("eth1".parse(), Ok(BoundTo::Device("eth1".into())));
        assert_eq!("10.0.0.1".parse(), Ok(BoundTo::Address([10, 0, 0, 1].into(), None)));
        let link_local = "fe80::1".parse().expect("an address");
        assert_eq!("fe80::1%eth1".parse(), Ok(BoundTo::Address(link_local, Some("eth1".into()))));
        assert_eq!("65536".parse(), Ok(SourceOrBuffer::SendBuffer(65_536)));
        assert_eq!("10.0.0.1".parse(), Ok(SourceOrBuffer::Address([10, 0, 0, 1].into())));
        assert!("eth0".parse::<SourceOrBuffer>().is_err() && "0".parse::<SourceOrBuffer>().is_err());
    }
}
