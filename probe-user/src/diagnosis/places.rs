//! The places where a packet can die, the hop that each lies before, and its layer.

use probe_ebpf::Echo;
use probe_ebpf::{Family, Hop};
use schemars::JsonSchema;
use serde::Serialize;

use super::path::{PathStep, Side, Station};
use crate::model::{
    netfilter::NetfilterHook,
    trace::ProgramSite,
    verdict::{Layer, StopHost},
};

/// Where in a host or between hosts a packet can die; in path order for each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropPoint {
    /// The device of a tunnel, which encapsulates packets.
    Encapsulation,
    /// The route of the send call.
    Call,
    /// The socket of the send call: its source address, its buffer.
    Source,
    /// netfilter's output hook.
    NfOutput,
    /// Routing, repeated after the output hook because a chain changed something.
    Reroute,
    /// netfilter's postrouting hook.
    NfPostrouting,
    /// A cgroup program at egress.
    CgroupOut,
    /// MTU and fragments on the way out.
    FragmentOut,
    /// ARP or neighbour discovery.
    Neighbour,
    /// An nftables chain at a device's egress.
    NfEgress,
    /// tc at egress.
    TcOut,
    /// The device's queue.
    Qdisc,
    /// The sending device.
    DriverOut,
    /// A program that reads what leaves by a tun or tap device.
    TunProgram,
    /// Whatever lies between the hosts.
    Network,
    /// A bridge: its own decision, or an nftables chain of the bridge family.
    Bridge,
    /// The receiving device.
    DriverIn,
    /// An XDP program.
    Xdp,
    /// tc at ingress.
    TcIn,
    /// An nftables chain at a device's ingress.
    NfIngress,
    /// The checks of the IP header.
    IpHeader,
    /// netfilter's prerouting hook, connection tracking and its reassembly included.
    NfPrerouting,
    /// Routing of what came in: reverse path, local or not.
    RouteIn,
    /// netfilter's forward hook: this host took the packet to be for another one.
    NfForward,
    /// Reassembly of fragments.
    Reassembly,
    /// netfilter's input hook.
    NfInput,
    /// The kernel's ICMP: checksum, kind.
    Icmp,
    /// The kernel's decision to answer.
    Answer,
    /// The route of the answer.
    RouteBack,
    /// The limit of answers per second.
    RateLimit,
    /// A cgroup program at ingress.
    CgroupIn,
    /// The look-up of the sockets that a packet is for, by device, address and id.
    SocketLookup,
    /// The filter of the socket.
    SocketFilter,
    /// The socket's buffer.
    SocketBuffer,
    /// The tunnel that decapsulates packets: its socket, and its device with their number.
    Decapsulation,
}

use DropPoint::{
    Answer, Bridge, CgroupIn, CgroupOut, DriverIn, DriverOut, FragmentOut, Icmp, IpHeader, Neighbour, Network,
    NfEgress, NfForward, NfIngress, NfInput, NfOutput, NfPostrouting, NfPrerouting, Qdisc, RateLimit, Reassembly,
    RouteBack, RouteIn, SocketBuffer, SocketFilter, SocketLookup, TcIn, TcOut, Xdp,
};

impl DropPoint {
    /// Returns the layer of the place.
    pub fn layer(self) -> Layer {
        match self {
            Self::Call | Self::Reroute | RouteIn | RouteBack => Layer::Route,
            NfOutput | NfPostrouting | NfEgress | NfIngress | NfPrerouting | NfForward | NfInput | Bridge => {
                Layer::Netfilter
            }
            CgroupOut | CgroupIn => Layer::Cgroup,
            FragmentOut | IpHeader | Reassembly => Layer::Ip,
            Neighbour => Layer::Neighbour,
            TcOut | TcIn => Layer::Tc,
            Qdisc => Layer::Qdisc,
            DriverOut | DriverIn | Self::TunProgram => Layer::Driver,
            Network => Layer::Path,
            Xdp => Layer::Xdp,
            Icmp | Answer | RateLimit => Layer::Icmp,
            Self::Encapsulation | Self::Decapsulation => Layer::Tunnel,
            Self::Source | SocketLookup | SocketFilter | SocketBuffer => Layer::Socket,
        }
    }

    /// Returns where programs of `site` drop; `None` if that is not known.
    pub fn of(site: ProgramSite) -> Option<Self> {
        match site {
            ProgramSite::Xdp => Some(Self::Xdp),
            ProgramSite::TcIn => Some(Self::TcIn),
            ProgramSite::TcOut => Some(Self::TcOut),
            ProgramSite::CgroupIn => Some(Self::CgroupIn),
            ProgramSite::CgroupOut => Some(Self::CgroupOut),
            ProgramSite::Elsewhere => None,
        }
    }

    /// Returns the netfilter hook, if it is one.
    pub fn hook(self) -> Option<NetfilterHook> {
        Some(match self {
            NfOutput => NetfilterHook::Output,
            NfPostrouting => NetfilterHook::Postrouting,
            NfEgress => NetfilterHook::Egress,
            NfIngress => NetfilterHook::Ingress,
            NfPrerouting => NetfilterHook::Prerouting,
            NfForward => NetfilterHook::Forward,
            NfInput => NetfilterHook::Input,
            _ => return None,
        })
    }
}

/// Where a packet can die: in a watched place, or where nobody watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// The sender's.
    Local,
    /// That of the place with this number.
    Via(u8),
    /// Between two watched places.
    Network,
    /// The far end's.
    Peer,
    /// Beyond the last watched place.
    Beyond,
}

impl Whose {
    /// Returns the watched place that it is in.
    pub fn side(self) -> Option<Side> {
        match self {
            Self::Local => Some(Side::Local),
            Self::Via(number) => Some(Side::Via(number)),
            Self::Peer => Some(Side::Peer),
            Self::Network | Self::Beyond => None,
        }
    }

    /// Returns the host's word in a document.
    pub fn host(self) -> StopHost {
        match self {
            Self::Local => StopHost::Local,
            Self::Via(_) => StopHost::Via,
            Self::Network => StopHost::Network,
            Self::Peer => StopHost::Peer,
            Self::Beyond => StopHost::Beyond,
        }
    }
}

/// A place at which packets may have stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Candidate {
    /// Whose it is, with its number.
    #[serde(skip)]
    pub whose: Whose,
    /// Where.
    pub host: StopHost,
    /// In which part of the network stack.
    pub layer: Layer,
}

/// A place on a leg, on one of the hosts or between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DropLocation {
    /// The leg.
    pub leg: Echo,
    /// Whose.
    pub host: Whose,
    /// Which.
    pub place: DropPoint,
}

impl DropLocation {
    /// Returns it in the form in which documents list it.
    pub fn candidate(self) -> Candidate {
        Candidate { whose: self.host, host: self.host.host(), layer: self.place.layer() }
    }

    /// Returns the watched host that it is on.
    pub fn side(self) -> Option<Side> {
        self.host.side()
    }
}

/// Returns where a packet is that dies on `side`.
pub fn host_of(side: Side) -> Whose {
    match side {
        Side::Local => Whose::Local,
        Side::Via(number) => Whose::Via(number),
        Side::Peer => Whose::Peer,
    }
}

/// Returns where a packet of `family` can have died that came to `from` and not to `to`, two neighbours of the
/// journey. `far` is what lies between two hosts: only a network, or all that nobody watched.
pub fn lies_between(from: &PathStep, to: &PathStep, far: Whose, family: Family) -> Vec<DropLocation> {
    let side = to.checkpoint.host;
    let here = |place| DropLocation { leg: to.leg, host: host_of(side), place };
    if is_inwards(to) && (!is_inwards(from) || from.leg != to.leg) {
        return crossing(from, to, far);
    }
    if from.checkpoint.station == Station::Encap {
        return vec![here(DropPoint::Encapsulation)];
    }
    if is_bridged(from, to) {
        return vec![here(Bridge)];
    }
    if from.leg != to.leg && from.checkpoint.station != Station::Hop(Hop::IcmpIn) {
        // A program with a socket answered, not the kernel.
        return vec![here(RouteBack), here(DropPoint::Source)];
    }
    if from.leg != to.leg {
        let asked = |place| DropLocation { leg: from.leg, host: host_of(side), place };
        return vec![asked(Icmp), asked(Answer), here(RouteBack), here(RateLimit)];
    }
    before(to.checkpoint.station, family).iter().map(|place| here(*place)).collect()
}

/// Returns the places between one device and another.
fn crossing(from: &PathStep, to: &PathStep, far: Whose) -> Vec<DropLocation> {
    let leg = if is_inwards(from) { to.leg } else { from.leg };
    let sender = DropLocation { leg, host: host_of(from.checkpoint.host), place: DriverOut };
    let receiver = DropLocation { leg: to.leg, host: host_of(to.checkpoint.host), place: DriverIn };
    let through_lo = far == Whose::Network && from.checkpoint.host == to.checkpoint.host;
    let network = (!through_lo).then_some(DropLocation { leg, host: far, place: Network });
    [Some(sender), network, Some(receiver)].into_iter().flatten().collect()
}

/// Reports whether it is a hop of the way into a host, before its ICMP and its sockets.
fn is_inwards(step: &PathStep) -> bool {
    matches!(step.checkpoint.station, Station::Hop(hop) if hop >= Hop::XdpIn && hop <= Hop::NfInputLast)
}

/// Reports whether a bridge lies between: its packets pass prerouting at a port, and then enter by the bridge.
fn is_bridged(from: &PathStep, to: &PathStep) -> bool {
    let entry = matches!(to.checkpoint.station, Station::Hop(Hop::XdpIn | Hop::NetifIn));
    entry && from.checkpoint.station == Station::Hop(Hop::NfPreroutingLast)
}

/// Returns what lies right before a station, on its own host.
///
/// IPv4 reassembles fragments before the input hook (`ip_local_deliver`), IPv6 after it, as it handles them as an
/// extension header (`ip6_protocol_deliver_rcu`); with connection tracking both do it in prerouting.
fn before(station: Station, family: Family) -> &'static [DropPoint] {
    let hop = match station {
        Station::Hop(hop) => hop,
        Station::Recv => return &[CgroupIn, SocketLookup, SocketFilter, SocketBuffer],
        Station::Decap => return &[DropPoint::Decapsulation],
        Station::Send | Station::Encap | Station::Port(..) => return &[],
    };
    match hop {
        Hop::NfInputFirst if family == Family::V6 => &[RouteIn, NfForward],
        Hop::IcmpIn if family == Family::V6 => &[Reassembly, Icmp, Answer],
        Hop::NfOutputFirst => &[DropPoint::Call, DropPoint::Source, FragmentOut, DriverOut],
        Hop::NfOutputLast => &[NfOutput],
        Hop::NfPostroutingFirst => &[FragmentOut],
        Hop::NfPostroutingLast => &[NfPostrouting],
        Hop::CgroupOut => &[],
        Hop::TcOut => &[CgroupOut, FragmentOut, Neighbour, NfEgress, TcOut],
        Hop::DevQueue => &[TcOut],
        Hop::Xmit => &[Qdisc],
        Hop::XdpIn => &[DriverIn],
        Hop::NetifIn => &[Xdp],
        Hop::TcIn => &[Xdp, TcIn],
        Hop::NfPreroutingFirst => &[TcIn, NfIngress, IpHeader],
        Hop::NfPreroutingLast => &[NfPrerouting],
        Hop::NfInputFirst => &[RouteIn, NfForward, Reassembly],
        Hop::NfInputLast => &[NfInput],
        Hop::NfForwardFirst => &[RouteIn],
        Hop::NfForwardLast => &[NfForward],
        Hop::IcmpIn => &[Icmp, Answer],
        Hop::SocketIn => &[],
    }
}
