//! A tunnel's device as its host describes it: what its packets are sent in, and where to.

use std::net::IpAddr;

use probe_ebpf::tunnel::{FOU, GENEVE, GRE, IPIP, MAX_PORTS, NESTED, SEALED, SIT, Tunnels, VXLAN, VXLAN_GPE};
use serde::{Deserialize, Serialize};

use super::{
    tun_program::{TunCounts, TunProgram},
    wireguard::WireGuardPeer,
};

/// A device that encapsulates packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelFacts {
    /// Its name.
    pub interface: String,
    /// Its kind, as in `ip link`: `vxlan`, `geneve`, `gre`, `ipip`.
    pub kind: String,
    /// Its index.
    #[serde(default)]
    pub ifindex: u32,
    /// Whether it is up.
    #[serde(default)]
    pub up: bool,
    /// The longest packet that goes into it, in bytes.
    #[serde(default)]
    pub mtu: u32,
    /// Its own link-layer address; none: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<String>,
    /// Its network's number: the VNI, or the key of GRE for what it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// The UDP port that its packets are sent to and that it listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The source address of its packets; none: routing chooses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    /// Where they are sent unless a table says otherwise: a multicast group or one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<IpAddr>,
    /// The device that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<String>,
    /// The longest packet that leaves by that device, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_mtu: Option<u32>,
    /// Whether it learns from packets where link-layer addresses are.
    #[serde(default)]
    pub learning: bool,
    /// The TTL of its packets; 0: chosen by the kernel, or taken from inside.
    #[serde(default)]
    pub ttl: u8,
    /// Whether its format names the protocol inside (VXLAN-GPE).
    #[serde(default)]
    pub generic: bool,
    /// Whether what it sends by UDP over IPv6 has no checksum.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sends_unchecked: bool,
    /// Whether it accepts such packets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_unchecked: bool,
    /// Whether each packet, or the route that it takes, says how it is sent.
    #[serde(default)]
    pub external: bool,
    /// The bridge that it is a port of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// The programs that hold it, if it is a tun device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<TunProgram>,
    /// What it counted of what they do, if it is a tun device: since the begin of the run, where that was looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<TunCounts>,
    /// Its peers, if it is `WireGuard`'s and those could be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<WireGuardPeer>>,
    /// Its forwarding table; none: it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fdb: Option<Vec<FdbEntry>>,
}

/// An entry of the forwarding table: packets for a link-layer address are sent to a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbEntry {
    /// The link-layer address; `00:00:00:00:00:00`: whatever no other entry matches.
    pub lladdr: String,
    /// The host that the packets are sent to.
    pub to: IpAddr,
    /// The VNI, if it is not the device's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// The port, if it is not the device's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// The link-layer address of the entry for whatever no other entry matches.
pub const ANY_ADDRESS: &str = "00:00:00:00:00:00";

/// How many entries of a forwarding table are listed at most.
pub const MAX_ENTRIES: usize = 1024;

/// The kind of a device whose packets a program reads and writes, as in `ip link`.
pub const TUN: &str = "tun";

impl TunnelFacts {
    /// Reports whether programs make its packets, in a way that only they know.
    pub fn is_sealed(&self) -> bool {
        self.kind == TUN
    }

    /// Returns the UDP ports by which the programs that hold it send.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.programs.iter().flat_map(|program| program.ports.clone()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Returns how many bytes its packets have before what is inside, including an Ethernet header inside, over this IP
    /// version.
    pub fn overhead(&self, v6: bool) -> u32 {
        let ip = if v6 { 40 } else { 20 };
        ip + match self.kind.as_str() {
            "vxlan" | "geneve" => 8 + 8 + if self.generic { 0 } else { 14 },
            "gretap" | "ip6gretap" => 4 + 14 + if self.vni.is_some() { 4 } else { 0 },
            "gre" | "ip6gre" => 4 + if self.vni.is_some() { 4 } else { 0 },
            _ => 0,
        }
    }

    /// Reports whether all of its forwarding table was read: what is not in it is not there.
    pub fn has_whole_table(&self) -> bool {
        self.fdb.as_ref().is_some_and(|fdb| fdb.len() < MAX_ENTRIES)
    }

    /// Returns the entry of the forwarding table for a link-layer address.
    pub fn entry_for(&self, lladdr: &str) -> Option<&FdbEntry> {
        self.fdb.iter().flatten().find(|entry| entry.lladdr == lladdr)
    }

    /// Reports whether what leaves by `interface` may go into it: if that is the tunnel itself, or the bridge that it
    /// is a port of.
    pub fn is_behind(&self, interface: &str) -> bool {
        self.interface == interface || self.master.as_deref() == Some(interface)
    }

    /// Returns which of `tunnels` is its other end, for packets that are sent `from` there `to` here: one with its number; else one
    /// that has that address or sends to where they come from; else the only one of its kind.
    pub fn counterpart<'a>(&self, tunnels: &'a [Self], from: Option<IpAddr>, to: Option<IpAddr>) -> Option<&'a Self> {
        let of_kind = || tunnels.iter().filter(|other| other.kind == self.kind);
        let number = of_kind().find(|other| other.vni == self.vni);
        let sends_back = |other: &&Self| {
            let mut hosts = other.fdb.iter().flatten().map(|entry| entry.to).chain(other.remote);
            from.is_some_and(|from| hosts.any(|host| host == from)) || to.is_some() && other.local == to
        };
        let alike = |other: &&Self| (other.port == self.port, other.interface == self.interface);
        let only = || of_kind().next().filter(|_| of_kind().count() == 1);
        number.or_else(|| of_kind().filter(sends_back).max_by_key(alike)).or_else(only)
    }

    /// Returns the name of the number that tells its packets apart: those with another number are not for it.
    pub fn number_word(&self) -> &'static str {
        if self.kind.contains("gre") { "key" } else { "VNI" }
    }

    /// Adds how to recognize its packets.
    pub fn add_to(&self, tunnels: &mut Tunnels) {
        let port = |default: u16| self.port.unwrap_or(default);
        match self.kind.as_str() {
            "vxlan" if self.generic => drop(tunnels.add_port(port(4790), VXLAN_GPE)),
            "vxlan" => drop(tunnels.add_port(port(8472), VXLAN)),
            "geneve" => drop(tunnels.add_port(port(6081), GENEVE)),
            "gre" | "gretap" | "ip6gre" | "ip6gretap" | "erspan" | "ip6erspan" => tunnels.protocols |= GRE,
            "fou" => drop(tunnels.add_port(port(5555), FOU)),
            "ipip" | "sit" | "ip6tnl" => tunnels.protocols |= IPIP | SIT,
            TUN => {
                for port in self.ports() {
                    tunnels.add_port(port, SEALED);
                }
            }
            _ => {}
        }
    }
}

/// Returns how to recognize packets of these tunnels; for kinds that a run met, those of the usual ports too, since the
/// other end may use another one.
pub fn known(devices: &[TunnelFacts]) -> Tunnels {
    let mut tunnels = Tunnels::default();
    devices.iter().for_each(|device| device.add_to(&mut tunnels));
    let is_lower = |name: &String| devices.iter().any(|device| device.interface == *name && !device.is_sealed());
    if devices.iter().filter_map(|device| device.lower.as_ref()).any(is_lower) {
        tunnels.protocols |= NESTED;
    }
    with_usual(tunnels)
}

/// Returns how to recognize packets of these tunnels, and those of every kind that can be opened at its usual ports.
pub fn openable(devices: &[TunnelFacts]) -> Tunnels {
    let mut tunnels = Tunnels { protocols: GRE | IPIP | SIT, ..Tunnels::default() };
    devices.iter().filter(|device| !device.is_sealed()).for_each(|device| device.add_to(&mut tunnels));
    tunnels.add_port(4790, VXLAN_GPE);
    tunnels.add_port(6081, GENEVE);
    tunnels.add_port(4789, VXLAN);
    tunnels.add_port(8472, VXLAN);
    tunnels
}

/// Returns them with the usual ports of the kinds among them.
fn with_usual(mut tunnels: Tunnels) -> Tunnels {
    let has = |format: u16| tunnels.ports.iter().any(|word| (word >> 16) as u16 == format);
    let (vxlan, geneve) = (has(VXLAN), has(GENEVE));
    if vxlan {
        tunnels.add_port(4789, VXLAN);
        tunnels.add_port(8472, VXLAN);
    }
    if geneve {
        tunnels.add_port(6081, GENEVE);
    }
    tunnels
}

/// Returns them as words that cross to the far end.
pub fn to_words(tunnels: &Tunnels) -> Vec<u32> {
    if tunnels.is_empty() { Vec::new() } else { std::iter::once(tunnels.protocols).chain(tunnels.ports).collect() }
}

/// Returns the tunnels that [`to_words`] encoded; what there is no room for is left out.
pub fn of_words(words: &[u32]) -> Tunnels {
    let mut tunnels = Tunnels { protocols: words.first().copied().unwrap_or(0), ..Tunnels::default() };
    for word in words.iter().skip(1).take(MAX_PORTS) {
        tunnels.add_port(*word as u16, (word >> 16) as u16);
    }
    tunnels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(kind: &str, port: Option<u16>) -> TunnelFacts {
        TunnelFacts { kind: kind.to_owned(), port, ..TunnelFacts::default() }
    }

    #[test]
    fn tunnels_cross_as_words_with_the_usual_ports_of_their_kinds() {
        let tunnels = known(&[device("vxlan", Some(5000)), device("ipip", None), device("veth", None)]);
        assert_eq!((tunnels.carried_by(5000), tunnels.carried_by(4789), tunnels.carried_by(6081)), (VXLAN, VXLAN, 0));
        assert_eq!(of_words(&to_words(&tunnels)), tunnels);
        assert!(to_words(&known(&[device("veth", None)])).is_empty() && of_words(&[]).is_empty());
    }

    #[test]
    fn a_virtual_ethernet_takes_fifty_bytes_over_ipv4_and_seventy_over_ipv6() {
        let vxlan = device("vxlan", None);
        assert_eq!((vxlan.overhead(false), vxlan.overhead(true)), (50, 70));
        assert_eq!((device("ipip", None).overhead(false), device("gre", None).overhead(false)), (20, 24));
    }
}
