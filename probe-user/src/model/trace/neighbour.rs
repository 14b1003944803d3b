//! What a host saw and knows of finding neighbours: packets of ARP and neighbour discovery, addresses, devices, routes.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A packet of ARP or neighbour discovery that is about an address of the run, at one point of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourPacket {
    /// `CLOCK_MONOTONIC` of that host in nanoseconds.
    pub time_ns: u64,
    /// Whether it asks or answers.
    pub kind: NeighbourKind,
    /// Where it was.
    pub hop: NeighbourHop,
    /// The device that it was at; none: its name could not be learned.
    pub interface: Option<String>,
    /// The address that is asked for, or that the answer is about.
    pub about: IpAddr,
    /// Who asks, or who the answer is for.
    pub asker: IpAddr,
    /// The link-layer address that its sender gives as its own; none: it gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<String>,
    /// The drop reason if it was freed, in the running kernel's own name; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The function that freed it; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub function: String,
    /// The functions that called it, innermost first; empty if they were not recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<String>,
    /// How many layers of tunnels it had around it.
    #[serde(default)]
    pub layers: u8,
}

/// What a packet of ARP or neighbour discovery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NeighbourKind {
    /// Who has this address?
    Asks,
    /// This address is at that link-layer address.
    Answers,
}

/// Where a packet of ARP or neighbour discovery was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NeighbourHop {
    /// About to enter a device's queue.
    Out,
    /// Entering the stack from a device.
    In,
    /// Freed.
    Dropped,
}

/// An interface that has an address of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressHolder {
    /// The address, if it is not the default `::`.
    pub address: Option<IpAddr>,
    /// Bits of its prefix.
    pub prefix: u8,
    /// The interface.
    pub interface: String,
    /// Its index.
    #[serde(default)]
    pub ifindex: u32,
    /// What keeps the kernel from using it, as `ip address` shows it: `tentative`, `dadfailed`, `optimistic`.
    #[serde(default)]
    pub states: Vec<String>,
    /// Its link-layer address; none: it has none.
    #[serde(default)]
    pub lladdr: Option<String>,
    /// The kind of the interface, e.g. `macvlan`; none: a plain one.
    #[serde(default)]
    pub kind: Option<String>,
    /// The index of the interface on which it was made.
    #[serde(default)]
    pub lower: Option<u32>,
    /// The inode of the namespace of that interface, if that is another one; 0: another one that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_netns: Option<u64>,
    /// The link-layer addresses from which it takes frames, if it is a macvlan device in mode source; none: from all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_from: Option<Vec<String>>,
    /// The kind and name of the device that it is a port of, e.g. `bridge br0`.
    #[serde(default)]
    pub master: Option<String>,
    /// Another network namespace of that kernel, by its name; none: the one that was looked at.
    #[serde(default)]
    pub netns: Option<String>,
    /// The inode of that namespace.
    #[serde(default)]
    pub inode: u64,
    /// The prefix that runs a command there.
    #[serde(default)]
    pub enter: Option<String>,
}

impl AddressHolder {
    /// Reports whether it has `address`, in the namespace that was looked at.
    pub fn has_here(&self, address: IpAddr) -> bool {
        self.netns.is_none() && self.address == Some(address)
    }
}

/// A device as neighbours find it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkFacts {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// Its link-layer address; none: it has none.
    #[serde(default)]
    pub lladdr: Option<String>,
    /// Whether it neither asks nor answers ARP (`IFF_NOARP`).
    #[serde(default)]
    pub noarp: bool,
    /// Its kind, e.g. `vxlan`; none: a plain one.
    #[serde(default)]
    pub kind: Option<String>,
    /// The kind and name of the device that it is a port of.
    #[serde(default)]
    pub master: Option<String>,
    /// Whether it is set down (no `IFF_UP`).
    #[serde(default)]
    pub down: bool,
    /// Whether it has no IPv6 by its setting `disable_ipv6`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ipv6_off: bool,
    /// Whether it is set up and has no carrier (`IFF_LOWER_UP` is not set).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_carrier: bool,
    /// The longest packet that it takes, in bytes of the network layer; 0: not known.
    #[serde(default)]
    pub mtu: u32,
    /// The index of the device that it is made on, or of the other end of a veth pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<u32>,
    /// The inode of the namespace of that device, if that is another one; 0: another one that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_netns: Option<u64>,
    /// Whether it is a bridge that sends multicast only to ports with a listener (`mcast_snooping`).
    #[serde(default)]
    pub snoops_multicast: bool,
    /// The link-layer addresses from which it takes frames, if it is a macvlan device in mode source; none: from all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_from: Option<Vec<String>>,
    /// What keeps it from passing on everything, if it is the port of a bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<BridgePortFacts>,
}

/// The smallest MTU with which a device has IPv6, in bytes (RFC 8200 section 5).
pub const LEAST_IPV6_MTU: u32 = 1280;

impl LinkFacts {
    /// Reports whether its MTU is known and too small for IPv6, which the kernel then removes from it.
    pub fn too_narrow_for_ipv6(&self) -> bool {
        (1..LEAST_IPV6_MTU).contains(&self.mtu)
    }
}

/// A port of a bridge that does not pass everything on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgePortFacts {
    /// Its state if that is not `forwarding`, as `bridge link` shows it.
    #[serde(default)]
    pub state: Option<String>,
    /// The other isolated ports of that bridge, if it is isolated itself: nothing passes between them.
    #[serde(default)]
    pub isolated_from: Vec<String>,
    /// The frames that it does not get if their port is not known, or if they are for all.
    #[serde(default)]
    pub not_flooded: Vec<FloodKind>,
    /// Whether it takes frames only from link-layer addresses that the forwarding table has at it (`locked`).
    #[serde(default)]
    pub locked: bool,
    /// Whether the bridge sends a frame that came in by it back out of it (`hairpin`).
    #[serde(default)]
    pub hairpin: bool,
}

/// Frames that a bridge sends to all its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FloodKind {
    /// To one host, whose port is not known (`flood`).
    Unicast,
    /// To a group (`mcast_flood`).
    Multicast,
    /// To all hosts, as questions of ARP are (`bcast_flood`).
    Broadcast,
}

impl FloodKind {
    /// Returns the setting of `bridge link set` that decides it.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Unicast => "flood",
            Self::Multicast => "mcast_flood",
            Self::Broadcast => "bcast_flood",
        }
    }
}

/// The route to an end, as far as it shows which neighbour is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHopFacts {
    /// Where to.
    pub to: IpAddr,
    /// The neighbour that is asked for: the gateway, or the end itself.
    pub next: IpAddr,
    /// On which device.
    pub interface: String,
    /// The destination of the route, e.g. `192.168.0.0/16` or `default`.
    pub route: String,
    /// Bits of that prefix.
    pub prefix: u8,
    /// The next shorter route to that end that leads to a gateway; for a route via a gateway, another one of that
    /// prefix.
    #[serde(default)]
    pub instead: Option<OtherRoute>,
    /// The gateway that the route itself has, if the kernel remembers another one from an ICMP redirect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirected_from: Option<IpAddr>,
}

/// A route that would be taken if another one were not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherRoute {
    /// Its destination.
    pub route: String,
    /// Its gateway.
    pub gateway: IpAddr,
    /// Its device.
    pub interface: String,
    /// What the host knows of that gateway as its neighbour; none: it was not asked for.
    #[serde(default)]
    pub state: Option<String>,
}

/// Who answered when an address was asked for once more, by a request of this run that changes nobody's entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedAgain {
    /// The address.
    pub address: IpAddr,
    /// On which device.
    pub interface: String,
    /// The link-layer addresses that answered; none: nobody.
    pub lladdrs: Vec<String>,
}
