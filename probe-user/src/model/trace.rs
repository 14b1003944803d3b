//! What one host saw of a run's probes: plain data that crosses from the far end and feeds the verdict.

pub mod absorbed;
pub mod accounting;
pub mod benign;
pub mod chain_rule;
pub mod frame;
mod heard;
mod host;
mod ipsec;
pub mod neighbour;
pub mod place;
mod renumber;
pub mod routing;
pub mod socket;
pub mod tracking;
pub mod tun_program;
pub mod tunnel;
pub mod via;
pub mod wireguard;

use std::{collections::BTreeMap, net::IpAddr};

use probe_ebpf::{Echo, Hop};
use serde::{Deserialize, Serialize};

pub use self::absorbed::{Absorbed, Tail, Taken};
pub use self::accounting::Accounting;
pub use self::chain_rule::ChainRule;
pub use self::frame::FrameFacts;
pub use self::heard::HeardError;
pub use self::host::HostFacts;
pub use self::ipsec::IpsecPolicy;
pub use self::neighbour::{
    AddressHolder, AskedAgain, BridgePortFacts, FloodKind, LEAST_IPV6_MTU, LinkFacts, NeighbourHop, NeighbourKind,
    NeighbourPacket, NextHopFacts, OtherRoute,
};
pub use self::place::{HookTrace, OtherDevice, PlaceTrace, PortTrace, UntoldPlaces};
pub use self::routing::{RouteChoice, RoutePurpose};
pub use self::socket::{PayloadChange, SocketTrace};
pub use self::tracking::{EchoTuple, TrackedEcho, TrackingAct, TrackingFacts, TrackingRule};
pub use self::tun_program::{TunCounts, TunProgram};
pub use self::tunnel::{FdbEntry, TunnelFacts};
pub use self::via::ViaTrace;
pub use self::wireguard::WireGuardPeer;
use super::netfilter::{NetfilterHook, TableFamily};

/// Everything that one host saw, complete in itself: names are resolved, nothing refers to its kernel any more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostTrace {
    /// The host.
    pub host: HostFacts,
    /// Its hops. A hop that is not in it is blind, for no known reason.
    pub hops: BTreeMap<Hop, HopTrace>,
    /// Packets that its kernel freed, in the order of time: probes, and other echo packets between the two ends.
    pub drops: Vec<Drop>,
    /// What it looked up after the probes had passed.
    pub findings: Vec<Finding>,
    /// What watching cost, and what it missed.
    pub accounting: Accounting,
    /// Devices of its network namespace that probes passed, other than the one that its hops are attached to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_devices: Vec<OtherDevice>,
    /// Every device of its network namespace that probes passed, if they may have crossed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortTrace>,
    /// Other network namespaces of its kernel that probes crossed or ended in; for a host in between its own, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<PlaceTrace>,
    /// What was seen of probes inside the packets of tunnels, in every network namespace of its kernel that they
    /// reached or that has a tunnel of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<PlaceTrace>,
    /// Packets of ARP and neighbour discovery about the run's addresses, if those were watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbour: Vec<NeighbourPacket>,
    /// ICMP errors about the run's packets that came to it, also those that its netfilter then dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heard: Vec<HeardError>,
    /// What else of its kernel probes crossed that is not reported.
    #[serde(default, skip_serializing_if = "UntoldPlaces::is_nothing")]
    pub untold: UntoldPlaces,
}

/// One hop: it was watched, or it was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HopTrace {
    /// It was watched, and this is all that passed.
    Watched {
        /// Requests by probe.
        requests: BTreeMap<u16, ProbePassage>,
        /// Replies by probe.
        replies: BTreeMap<u16, ProbePassage>,
    },
    /// It could not be watched, for this reason.
    Blind {
        /// Why, as a clause for people.
        why: String,
    },
}

impl HopTrace {
    /// Returns what passed of a leg, by probe; `None` where it could not be watched.
    pub fn seen(&self, leg: Echo) -> Option<&BTreeMap<u16, ProbePassage>> {
        match (self, leg) {
            (Self::Watched { requests, .. }, Echo::Request) => Some(requests),
            (Self::Watched { replies, .. }, Echo::Reply) => Some(replies),
            (Self::Blind { .. }, _) => None,
        }
    }
}

/// What a hop saw of one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePassage {
    /// `CLOCK_MONOTONIC` of that host in nanoseconds when it first passed.
    pub first_ns: u64,
    /// How often it passed.
    pub times: u32,
    /// The interface at which it passed last; 0: none.
    pub ifindex: u32,
    /// The echo id that it had.
    pub id: u16,
    /// Its TTL or hop limit.
    pub ttl: u8,
    /// [`probe_ebpf::Passage::detail`].
    pub detail: i32,
    /// Whether it was recognized by id and sequence number, since its payload had no mark of the run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unmarked: bool,
    /// The source address that it had; none: that of the watched pair's end that sends on this leg, so nobody rewrote
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The destination address that it had; none: that of the other end of the pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<IpAddr>,
}

impl ProbePassage {
    /// Returns the VLAN id of the tag that the packet came in with; meant for [`Hop::NetifIn`] alone.
    pub fn tag(&self) -> Option<u16> {
        u16::try_from(self.detail).ok().filter(|tag| *tag != 0)
    }
}

/// A packet that the kernel freed without delivering it, as far as the event itself shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    /// `CLOCK_MONOTONIC` of that host in nanoseconds.
    pub time_ns: u64,
    /// Which probe; none: another echo packet between the two ends.
    pub probe: Option<u16>,
    /// Request or reply.
    pub leg: Echo,
    /// Echo id.
    pub id: u16,
    /// Echo sequence number.
    pub seq: u16,
    /// The drop reason in the running kernel's own name, or its number; `CONSUMED` for `consume_skb`.
    pub reason: String,
    /// The function that freed it.
    pub function: String,
    /// The functions that called it, innermost first; empty if they were not recorded.
    pub stack: Vec<String>,
    /// The device that the packet was at.
    pub interface: Option<String>,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// What the kernel kept in addition to the packet's own bytes.
    #[serde(default, skip_serializing_if = "FrameFacts::is_empty")]
    pub frame: FrameFacts,
}

/// Something that was looked up because it ends packets without a drop event, or names what a drop event leaves open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// A kernel setting of that host's network namespace that ends or lets through echo packets.
    Setting {
        /// Its path below `/proc/sys`, e.g. `net/ipv4/icmp_echo_ignore_all`.
        path: String,
        /// Its value.
        value: String,
    },
    /// The answer to a route look-up from this host to the other end.
    Route {
        /// Where to.
        to: IpAddr,
        /// The errno's name if there is no usable route, e.g. `ENETUNREACH`; none if there is one.
        errno: Option<String>,
        /// The device of the route.
        interface: Option<String>,
    },
    /// The longest packet that the kernel sends on the way to an address, as it remembers or as a route sets it.
    PathMtu {
        /// Where to.
        to: IpAddr,
        /// Bytes, with the IP header.
        mtu: u32,
        /// Whether a route sets it; otherwise it was learned, and is forgotten some day.
        #[serde(default)]
        of_route: bool,
    },
    /// What decides about the route of packets with exactly their key.
    Routing(RouteChoice),
    /// Whether the address that the run uses on this host is one of its own.
    Address {
        /// The address.
        address: IpAddr,
        /// Whether packets to it stay here.
        own: bool,
    },
    /// A counter of the kernel that rose while the probes were under way.
    Counter {
        /// Its name, e.g. `Icmp.OutRateLimitHost`, `Ip.InHdrErrors`, `raw.drops`, `eth0.rx_dropped`.
        name: String,
        /// By how much.
        by: u64,
    },
    /// A netfilter base chain at a hook where packets were dropped.
    Chain {
        /// That of its table.
        family: TableFamily,
        /// Where packets meet it.
        hook: NetfilterHook,
        /// Its table.
        table: String,
        /// Its name.
        chain: String,
        /// Its policy.
        policy: String,
        /// Whether it has a rule that can drop, or drops by policy.
        can_drop: bool,
        /// Whether it belongs to the older iptables (`x_tables`), which nft does not show.
        #[serde(default)]
        legacy: bool,
        /// Its rules, and those of chains that it leads to, that can end an echo packet.
        #[serde(default)]
        ending: Vec<ChainRule>,
        /// Those that limit how many pass in a given time.
        #[serde(default)]
        limits: Vec<ChainRule>,
    },
    /// The exact rule that ended packets, if rules were traced (`--trace-rules`).
    Rule {
        /// That of its table.
        family: TableFamily,
        /// Its table.
        table: String,
        /// Its chain.
        chain: String,
        /// Its handle, as `nft -a` shows it; none: the chain's policy.
        handle: Option<u64>,
        /// The rule as nft writes it, or `policy drop`; empty if nft could not be run.
        rule: String,
        /// `drop`, `queue`, `stolen`.
        verdict: String,
        /// Requests or replies.
        leg: Echo,
        /// How many of this run's packets ended there.
        packets: u64,
    },
    /// What the host knows of the neighbour that packets to the other end go to next.
    Neighbour {
        /// Its address.
        address: IpAddr,
        /// The device.
        interface: String,
        /// As `ip neighbour` shows it, e.g. `REACHABLE`, `INCOMPLETE`, `FAILED`.
        state: String,
        /// The link-layer address that packets are sent to; none: it is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lladdr: Option<String>,
    },
    /// An interface that has an address of the run.
    Holder(AddressHolder),
    /// A device as neighbours find it.
    Device(LinkFacts),
    /// The neighbour that the route to an end asks for.
    NextHop(NextHopFacts),
    /// What connection tracking knows of the run's echoes.
    Tracking(TrackingFacts),
    /// A rule that decides what connection tracking does.
    TrackingRule(TrackingRule),
    /// Who answered when the address was asked for once more.
    AskedAgain(AskedAgain),
    /// The `IPsec` policy that applies to packets of the run.
    IpsecPolicy(IpsecPolicy),
    /// A device on the way.
    Link {
        /// Its name.
        interface: String,
        /// Whether it is set up.
        up: bool,
        /// Whether it has a carrier; also false if it is down.
        carrier: bool,
    },
    /// Who holds the tun or tap device that packets leave by.
    Tun {
        /// The device.
        interface: String,
        /// The programs.
        programs: Vec<TunProgram>,
    },
    /// Another program that can drop: XDP, tc, or probe's own filter.
    Program {
        /// Where.
        at: ProgramSite,
        /// Who, for people.
        who: String,
        /// Whether it is probe's own filter.
        probe_filter: bool,
        /// How many of this run's packets probe's filter dropped.
        dropped: u64,
    },
}

/// Where a program sits that can drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgramSite {
    /// XDP, in the driver or after it.
    Xdp,
    /// tc, for what enters.
    TcIn,
    /// tc, for what leaves.
    TcOut,
    /// A cgroup, for what enters.
    CgroupIn,
    /// A cgroup, for what leaves.
    CgroupOut,
    /// Somewhere that this version does not know.
    #[serde(other)]
    Elsewhere,
}

impl ProgramSite {
    /// Returns its name as it crosses from the far end.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::TcIn => "tc_in",
            Self::TcOut => "tc_out",
            Self::CgroupIn => "cgroup_in",
            Self::CgroupOut => "cgroup_out",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// What the sending end knows besides what its hops saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderTrace {
    /// Every probe, in order.
    pub probes: Vec<SentProbe>,
    /// The replies that the program itself read.
    pub received: BTreeMap<u16, Received>,
    /// ICMP errors that quoted a probe.
    pub errors: Vec<IcmpError>,
    /// How many replies came only after the hops had been read: those cannot tell which way they took.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub late: u16,
    /// What became of the probe that looked ahead and does not belong to the run, if it was not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered_ahead: Option<UnansweredAhead>,
    /// The socket that sent them and received the replies; none: not reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<SocketTrace>,
}

fn is_zero(count: &u16) -> bool {
    *count == 0
}

/// A probe before the run that had no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnansweredAhead {
    /// The ICMP error that ended it; none: nothing was heard of it.
    pub error: Option<IcmpError>,
}

/// One probe that was sent, or refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentProbe {
    /// Its number in the run.
    pub probe: u16,
    /// Echo id.
    pub id: u16,
    /// Echo sequence number.
    pub seq: u16,
    /// `CLOCK_MONOTONIC` in nanoseconds just before the system call.
    pub sent_ns: u64,
    /// The errno's name, if the kernel refused it, e.g. `EPERM`.
    pub errno: Option<String>,
}

/// One reply that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// `CLOCK_MONOTONIC` in nanoseconds when it was read.
    pub time_ns: u64,
    /// Who sent it.
    pub from: IpAddr,
    /// Echo id that it had.
    pub id: u16,
    /// Its TTL or hop limit.
    pub ttl: u8,
    /// How many times it arrived.
    pub times: u32,
    /// How its payload differs from what was sent; none: it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub altered: Option<PayloadChange>,
    /// Whether its checksum is wrong, although the program received it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bad_checksum: bool,
}

/// An ICMP error about a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IcmpError {
    /// The probe.
    pub probe: u16,
    /// Who sent the error.
    pub from: IpAddr,
    /// Its ICMP or `ICMPv6` type.
    pub icmp_type: u8,
    /// Its code.
    pub code: u8,
    /// The MTU of the next link in bytes, of an error that tells it: "fragmentation needed" and "packet too big".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_mtu: Option<u32>,
}

impl HostTrace {
    /// Leaves out the place in which `peer` watches; all places if it has not said yet which one that is.
    pub fn leave_out(&mut self, peer: Option<&Self>) {
        let Some(peer) = peer else { return self.places.clear() };
        if peer.host.shares_kernel(&self.host) {
            self.places.retain(|place| place.netns != peer.host.netns);
        }
    }

    /// Reports whether the host sent packets of the leg `first` on, which an end does not: it is in between. What was
    /// redirected to another device does not show that.
    pub fn forwarded(&self, first: Echo) -> bool {
        if self.other_devices.iter().any(|other| other.redirected && other.leg == first) {
            return false;
        }
        let on = [Hop::NfForwardFirst, Hop::DevQueue, Hop::Xmit];
        on.into_iter().any(|hop| self.hop(hop).seen(first).is_some_and(|seen| !seen.is_empty()))
    }

    /// Reports whether it took in packets of the leg `first` itself.
    pub fn took_in(&self, first: Echo) -> bool {
        let inside = [Hop::NfInputFirst, Hop::NfInputLast, Hop::IcmpIn];
        inside.into_iter().any(|hop| self.hop(hop).seen(first).is_some_and(|seen| !seen.is_empty()))
    }

    /// Reports whether hops that no packet can bypass were watched, and no hop saw any probe. Programs at a cgroup do not count:
    /// they see the packets of every network namespace of their kernel.
    pub fn saw_nothing(&self) -> bool {
        let entries = [Hop::NetifIn, Hop::NfPreroutingFirst];
        let watched = entries.iter().all(|hop| matches!(self.hop(*hop), HopTrace::Watched { .. }));
        let silent = |hop: &HopTrace| match hop {
            HopTrace::Watched { requests, replies } => requests.is_empty() && replies.is_empty(),
            HopTrace::Blind { .. } => true,
        };
        let own = self.hops.iter().filter(|(hop, _)| **hop != Hop::CgroupOut);
        watched && own.map(|(_, hop)| hop).all(silent) && self.drops.is_empty()
    }

    /// Returns what `hop` saw; blind if nothing is known of it.
    pub fn hop(&self, hop: Hop) -> HopTrace {
        let unknown = || HopTrace::Blind { why: "not watched".to_owned() };
        self.hops.get(&hop).cloned().unwrap_or_else(unknown)
    }
}

/// Returns the name of a function in the source, without offset and without what the compiler adds:
/// `ip_rcv_core.isra.0+0x12`.
pub fn plain_function(name: &str) -> &str {
    name.split(['+', '.']).next().unwrap_or(name)
}

impl IcmpError {
    /// Reports whether it says that the TTL or hop limit ran out on the way (RFC 792, RFC 4443 §3.3).
    pub fn tells_expiry(&self) -> bool {
        matches!((self.from.is_ipv6(), self.icmp_type, self.code), (false, 11, 0) | (true, 3, 0))
    }

    /// Reports whether the probe went no further. A source quench (type 4) and a redirect (5) leave it on its way
    /// (RFC 792).
    pub fn ends_packet(&self) -> bool {
        self.from.is_ipv6() || !matches!(self.icmp_type, 4 | 5)
    }
}
