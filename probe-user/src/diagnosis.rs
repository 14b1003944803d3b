//! From what the hosts saw to one verdict: evidence in, a diagnosis out. Pure: a bug report is a file of evidence.
//!
//! [`path`] says which hops each leg passes, [`ledger`] how far each probe came, [`rules`] why it went no further, and
//! [`verdict`] what follows from all of them.

pub mod advice;
mod alterations;
mod around;
mod between;
mod bridge_port;
pub mod carried;
mod cause;
mod clues;
pub mod control;
pub mod document;
mod explain;
mod firewall;
mod flooded;
pub mod followed;
mod gathering;
mod hooks;
pub mod ledger;
pub mod names;
pub mod neighbour;
mod order;
mod own_rules;
pub mod path;
pub mod places;
pub mod resolution;
mod rewrites;
pub mod rules;
mod sentence;
mod station;
mod sysctl;
mod through;
mod timing;
mod tracked;
mod tracking;
mod tunnel_layer;
pub mod verdict;
mod ways;

use probe_ebpf::{Echo, Hop};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::sent_as::SentAs;
use crate::model::trace::place::in_words;
use crate::model::trace::{
    AddressHolder, Drop, Finding, HeardError, HostTrace, LinkFacts, NeighbourPacket, OtherDevice, PlaceTrace,
    SenderTrace, SentProbe, ViaTrace,
};
use control::{ControlRun, VariedRun};
pub use document::Diagnosis;
pub use gathering::MAX_PLACES;
use path::Side;
pub use verdict::diagnose;

/// All that is known after a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The target of the probes.
    pub target: Target,
    /// What was sent.
    #[serde(default)]
    pub mode: ProbeMode,
    /// Who was to answer at the far end.
    #[serde(default)]
    pub responder: Responder,
    /// What the sending program knows.
    pub sending: SenderTrace,
    /// What the sending host saw.
    pub local: HostTrace,
    /// What the far end saw; none: nobody watched there.
    #[serde(default)]
    pub peer: Option<HostTrace>,
    /// Which routers answered to a rising TTL, if that was asked for.
    #[serde(default)]
    pub walk: Option<Walk>,
    /// The flags of the command that a suggested one must repeat, so that it sends the same packets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Those with which it reaches the far end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub far_flags: Vec<String>,
    /// What was sent besides the probes, with one thing changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<ControlRun>,
    /// What was tried to find them, if fields were varied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub varied: Option<VariedRun>,
    /// The network namespaces in between, of the kernels of both: see [`Evidence::gathered`].
    #[serde(default)]
    pub places: Vec<PlaceTrace>,
    /// What was seen of the probes inside the packets of tunnels, each place of each layer once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<PlaceTrace>,
    /// The stretch, if this is about the packets of a tunnel; none: it is about the probes themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<tunnel_layer::TunnelLayer>,
    /// Hosts in between with agents of this run's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vias: Vec<ViaTrace>,
    /// By how much the far end's clock is ahead of the sender's, in nanoseconds, if that was asked; 0: it was not.
    #[serde(default)]
    pub peer_ahead_ns: i64,
    /// Which of [`Self::vias`] was to be the far end, and only forwarded.
    #[serde(default)]
    pub forwarding_peer: Option<u8>,
    /// How many more places there are than are reported.
    #[serde(default)]
    pub untold: usize,
    /// The prefix that runs a command in the sender's network namespace, if the run was not made from the one in which
    /// it was typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enter: Option<String>,
    /// The other addresses of the target's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_addresses: Vec<IpAddr>,
    /// What is added if echoes of other programs were followed instead of the run's own probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub following: Option<followed::Following>,
    /// Whom the probes were sent as, where that was somebody else than the process that sent them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_as: Option<SentAs>,
}

/// The target of the probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Target {
    /// What was typed.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeMode {
    /// Requests, which want an answer.
    #[default]
    Request,
    /// Replies that nobody asked for.
    ReplyOnly,
    /// Requests that nobody answers: they only have to reach the far end.
    RequestOnly,
}

/// Who answers requests at the far end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Responder {
    /// Its kernel, as always
    #[default]
    Kernel,
    /// Its agent, through a raw socket: requests are taken at the NIC, so that its firewall and its ICMP never see them
    Agent,
    /// XDP at its NIC: requests go back from there, and nothing of its stack sees either leg
    Xdp,
    /// Nobody: the run's packets are taken at the NIC, counted and reported.
    #[value(skip)]
    Nobody,
}

/// What a rising TTL found out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// One for each TTL that was tried, from 1 up.
    pub steps: Vec<WalkStep>,
}

/// Who answered one TTL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalkStep {
    /// The TTL or hop limit.
    pub ttl: u8,
    /// Who answered; none: nobody.
    pub from: Option<IpAddr>,
}

impl Evidence {
    /// Returns the evidence of a run that sent requests to a far kernel, with nobody watching there.
    pub fn new(target: Target, sending: SenderTrace, local: HostTrace) -> Self {
        let (mode, responder) = (ProbeMode::default(), Responder::default());
        Self {
            target,
            mode,
            responder,
            sending,
            local,
            peer: None,
            walk: None,
            flags: Vec::new(),
            far_flags: Vec::new(),
            controls: Vec::new(),
            varied: None,
            places: Vec::new(),
            carried: Vec::new(),
            layer: None,
            vias: Vec::new(),
            peer_ahead_ns: 0,
            forwarding_peer: None,
            untold: 0,
            enter: None,
            other_addresses: Vec::new(),
            following: None,
            sent_as: None,
        }
    }

    /// Returns the host on which a command for `side` is typed, and the prefix that it needs there.
    ///
    /// For packets that carry probes, the ends are places of the whole path: only there is it known how to enter them.
    pub fn entered(&self, side: Side) -> (Side, Option<&str>) {
        if self.layer.is_some() {
            return (side, None);
        }
        match (self.place(side), side) {
            (Some(place), _) => (self.entered_from(side), place.enter.as_deref()),
            (None, Side::Local) => (Side::Local, self.enter.as_deref()),
            (None, side) => (side, None),
        }
    }

    /// Returns the target as it was typed, with the flags that a suggested command must repeat.
    pub fn typed(&self) -> String {
        let words = std::iter::once(self.target.name.clone()).chain(self.flags.iter().cloned());
        words.collect::<Vec<_>>().join(" ")
    }

    /// Returns the place of `side`, if it is one between the two ends.
    pub fn place(&self, side: Side) -> Option<&PlaceTrace> {
        match side {
            Side::Via(number) => self.places.get(usize::from(number)),
            Side::Local | Side::Peer => None,
        }
    }

    /// Returns every place that was watched, in no order: the sender, those in between, and the far end if it was.
    pub fn sides(&self) -> impl Iterator<Item = Side> + use<> {
        let between = (0..self.places.len()).filter_map(|number| u8::try_from(number).ok()).map(Side::Via);
        let peer = self.two_sided().then_some(Side::Peer);
        std::iter::once(Side::Local).chain(between).chain(peer)
    }

    /// Returns the packets that were freed on `side`.
    pub fn drops(&self, side: Side) -> &[Drop] {
        self.place(side).map_or_else(|| &self.host(side).drops, |place| &place.drops)
    }

    /// Returns the ICMP errors about packets of the run that came to a watched host.
    pub fn heard(&self) -> impl Iterator<Item = &HeardError> {
        let vias = self.vias.iter().map(|via| &via.trace);
        let all = std::iter::once(&self.local).chain(&self.peer).chain(vias).flat_map(|host| &host.heard);
        all.filter(|heard| heard.around_in.is_none())
    }

    /// Returns the devices of `side` that were looked up.
    pub fn devices(&self, side: Side) -> impl Iterator<Item = &LinkFacts> + use<'_> {
        self.findings(side).filter_map(|finding| match finding {
            Finding::Device(device) => Some(device),
            _ => None,
        })
    }

    /// Returns the packets of ARP and neighbour discovery that `side` saw.
    pub fn neighbour_packets(&self, side: Side) -> &[NeighbourPacket] {
        self.place(side).map_or_else(|| &self.host(side).neighbour, |place| &place.neighbour)
    }

    /// Returns the interface that carries the probes on `side`; for a place in between the first that they met.
    pub fn interface(&self, side: Side) -> &str {
        match self.place(side) {
            Some(place) => place.ports.first().map_or("", |port| &port.interface),
            None => &self.host(side).host.interface,
        }
    }

    /// Returns the interface by which packets of `leg` leave `side`, or come into it: not [`Self::interface`] if
    /// routing chose another one.
    pub fn crossed(&self, side: Side, leg: Echo, inwards: bool) -> &str {
        self.other_device(side, leg, inwards).map_or_else(|| self.interface(side), |other| &other.interface)
    }

    /// Returns the device other than the watched one by which packets of `leg` left an end, or came into it.
    pub fn other_device(&self, side: Side, leg: Echo, inwards: bool) -> Option<&OtherDevice> {
        let here = self.place(side).is_none().then(|| &self.host(side).other_devices)?;
        here.iter().find(|other| other.leg == leg && other.inwards == inwards)
    }

    /// Returns the VLAN id of the tag that a probe came into `side` with.
    pub fn tag(&self, side: Side, probe: u16, leg: Echo) -> Option<u16> {
        match self.place(side) {
            Some(place) => place.ports.iter().find_map(|port| port.tag(probe, leg)),
            None => self.host(side).hops.get(&Hop::NetifIn)?.seen(leg)?.get(&probe)?.tag(),
        }
    }

    /// Returns what the host on `side` saw; the sender if the target is on this same host. A place in between was seen
    /// by the host whose kernel has it.
    pub fn host(&self, side: Side) -> &HostTrace {
        let place = self.place(side);
        if let Some(via) = place.and_then(|place| self.via(place)) {
            return &via.trace;
        }
        let of_peer = place.is_some_and(|place| place.of_peer);
        match (side, &self.peer) {
            (Side::Peer, Some(peer)) => peer,
            (Side::Via(_), Some(peer)) if of_peer => peer,
            _ => &self.local,
        }
    }

    /// Returns the host in between whose kernel has a place, if it is not that of an end.
    pub fn via(&self, place: &PlaceTrace) -> Option<&ViaTrace> {
        self.vias.get(usize::from(place.of_via?))
    }

    /// Reports whether `side` is a network namespace that is looked into from another one, rather than a host of its
    /// own.
    pub fn is_looked_into(&self, side: Side) -> bool {
        self.place(side).is_some_and(|place| self.via(place).is_none_or(|via| !via.is_own(place)))
    }

    /// Returns where commands for `side` are typed: it is entered from the host whose kernel has it.
    pub fn entered_from(&self, side: Side) -> Side {
        let Some(place) = self.place(side) else { return side };
        match place.of_via {
            Some(number) => self.own_place(number).unwrap_or(side),
            None if place.of_peer => Side::Peer,
            None => Side::Local,
        }
    }

    /// Returns the namespace of the agent with this number.
    pub fn own_place(&self, number: u8) -> Option<Side> {
        let via = self.vias.get(usize::from(number))?;
        // One on the sender's kernel was found from there, too, and is the same place.
        let found_here = |place: &PlaceTrace| {
            place.of_via.is_none() && !place.of_peer && via.trace.host.shares_kernel(&self.local.host)
        };
        let own = |place: &PlaceTrace| via.is_own(place) && (place.of_via == Some(number) || found_here(place));
        let index = self.places.iter().position(own)?;
        u8::try_from(index).ok().map(Side::Via)
    }

    /// Returns what a place is called in the middle of a sentence.
    pub fn whom(&self, side: Side) -> String {
        let name = self.name(side);
        if self.is_looked_into(side) { in_words(&name) } else { name }
    }

    /// Reports whether the target is an address of the sending host, so that everything goes through `lo`.
    pub fn loops_back(&self) -> bool {
        let host = &self.local.host;
        self.peer.is_none() && (host.interface == "lo" || host.address == Some(self.target.address))
    }

    /// Reports whether a second host was watched.
    pub fn two_sided(&self) -> bool {
        self.peer.is_some()
    }

    /// Reports whether the far end was watched and saw nothing of a run that somebody else answered or took in.
    pub fn passes_by_the_peer(&self) -> bool {
        let Some(peer) = self.peer.as_ref().filter(|_| self.mode == ProbeMode::Request) else { return false };
        let taken = || self.places.iter().any(|place| place.takes_in(self.target.address));
        peer.saw_nothing() && (!self.sending.received.is_empty() || taken())
    }

    /// Returns the leg that the sent packets travel.
    pub fn first_leg(&self) -> Echo {
        match self.mode {
            ProbeMode::Request | ProbeMode::RequestOnly => Echo::Request,
            ProbeMode::ReplyOnly => Echo::Reply,
        }
    }

    /// Reports whether nothing is to come back.
    pub fn one_way(&self) -> bool {
        self.mode != ProbeMode::Request
    }

    /// Counts the probes that were sent, or refused.
    pub fn sent(&self) -> usize {
        self.sending.probes.len()
    }

    /// Returns the probe with this number.
    pub fn probe(&self, probe: u16) -> Option<&SentProbe> {
        self.sending.probes.iter().find(|sent| sent.probe == probe)
    }

    /// Returns what was looked up on the host on `side`.
    pub fn findings(&self, side: Side) -> impl Iterator<Item = &Finding> {
        self.place(side).map_or(&self.host(side).findings, |place| &place.findings).iter()
    }

    /// Returns the devices of `side` itself that have `address`.
    pub(super) fn holders(&self, side: Side, address: IpAddr) -> impl Iterator<Item = &AddressHolder> + use<'_> {
        self.findings(side).filter_map(move |finding| match finding {
            Finding::Holder(holder) if holder.has_here(address) => Some(holder),
            _ => None,
        })
    }

    /// Reports whether the probes are IPv6.
    pub fn is_v6(&self) -> bool {
        self.target.address.is_ipv6()
    }

    /// Returns the name of the host on `side` for people; two hosts with the same name (network namespaces) are told
    /// apart by their place.
    pub fn name(&self, side: Side) -> String {
        if let Some(place) = self.place(side) {
            return place.name.clone();
        }
        let (here, there) = (&self.local.host.hostname, self.peer.as_ref().map(|peer| &peer.host.hostname));
        match side {
            _ if Some(here) == there || here.is_empty() || there.is_some_and(String::is_empty) => match side {
                Side::Local | Side::Via(_) => "this host".to_owned(),
                Side::Peer => "the peer".to_owned(),
            },
            Side::Local | Side::Via(_) => here.clone(),
            Side::Peer => there.cloned().unwrap_or_else(|| self.target.name.clone()),
        }
    }
}
