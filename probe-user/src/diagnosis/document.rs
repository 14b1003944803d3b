//! `probe.diagnosis/1` as data: what a diagnosis says, field by field.

use probe_ebpf::Echo;
use std::{fmt, net::IpAddr};

use schemars::JsonSchema;
use serde::Serialize;

use super::places::{DropPoint, Whose};
use super::{
    Responder, Target,
    control::{ControlRun, VariedRun},
    followed::flows::FollowedRun,
    path::{Checkpoint, Side},
    resolution::{CarriedBy, OtherHost},
    tracked::TrackedPlace,
};
pub use super::{
    cause::{Cause, IcmpSaid, Netfilter, SettingSaid},
    places::Candidate,
};
use crate::model::attach::XdpAttachment;
use crate::model::sent_as::SentAs;
pub use crate::model::verdict::{Confidence, Layer, Outcome, StopHost};

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Diagnosis {
    /// The target of the probes.
    pub target: Target,
    /// The two hosts.
    pub sides: Sides,
    /// Every watched place that probes crossed, in path order.
    pub places: Vec<Place>,
    /// The hosts in between that agents of this run watched (`--via`), in the order in which they were typed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vias: Vec<ViaHost>,
    /// Who was to answer requests at the far end.
    pub responder: Responder,
    /// How many probes were sent, refused ones included.
    pub sent: usize,
    /// Who answered, if it was not the far end, which was watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<OtherHost>,
    /// How many were answered; for unsolicited replies, how many reached the far end.
    pub answered: usize,
    /// The conclusion.
    pub verdict: Verdict,
    /// Where packets stop, most packets first.
    pub stops: Vec<Stop>,
    /// What changed on the way.
    pub alterations: Vec<Alteration>,
    /// What connection tracking knows, by place; absent if it was not asked because there was nothing to explain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conntrack: Vec<TrackedPlace>,
    /// What is worth knowing but is not a fault, a sentence each: duplicates, reordering, another sender.
    pub notes: Vec<String>,
    /// The echoes that were followed, if other programs sent them; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub followed: Option<FollowedRun>,
    /// Whom the probes were sent as (`--as`), where that was somebody else than probe itself.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub sent_as: Option<SentAs>,
    /// What was sent besides the probes, with one thing changed, and the result.
    pub controls: Vec<ControlRun>,
    /// Every hop of the path, in path order.
    pub hops: Vec<HopState>,
    /// Stretches of the path that are carried: inside the packets of a tunnel, which have a path of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<CarriedStretch>,
    /// The kind of the tunnel whose packets it is about; none: it is about the probes themselves.
    #[serde(skip)]
    pub carried_by: Option<String>,
    /// Round trips in nanoseconds; none if nothing was answered.
    pub rtt_ns: Option<RoundTrips>,
    /// Where the time goes, in path order; empty if hops have no times.
    pub stages: Vec<Segment>,
    /// What watching cost, on both hosts.
    pub accounting: Costs,
}

/// A network namespace on a watched kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// Which place of the evidence it is.
    #[serde(skip)]
    pub side: Side,
    /// Where commands for it are typed: two places of one kernel have the same.
    #[serde(skip)]
    pub entered_from: Side,
    /// Its name for people.
    pub name: String,
    /// The name of its host.
    pub host: String,
    /// The inode of the network namespace; none: not known.
    pub netns: Option<u64>,
    /// Its interfaces that probes crossed.
    pub interfaces: Vec<String>,
    /// Its role for the probes.
    pub role: PlaceRole,
    /// The legs that cross it.
    pub legs: Vec<Echo>,
}

/// A host in between that an agent of this run watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ViaHost {
    /// Which of the evidence's places its own namespace is.
    #[serde(skip)]
    pub side: Option<Side>,
    /// Its name.
    pub hostname: String,
    /// Kernel release.
    pub kernel: String,
    /// The name of the place that its own network namespace is; none: there are too many to list.
    pub place: Option<String>,
    /// The legs of which it saw packets; none: nothing came to it.
    pub legs: Vec<Echo>,
    /// Hops of its interfaces that could not be watched.
    pub blind: Vec<BlindHop>,
}

/// What a place is to the probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlaceRole {
    /// They start there.
    Sender,
    /// They cross it, or were to.
    Router,
    /// They are for it.
    Target,
}

/// The two hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Sides {
    /// The sender.
    pub local: SideFacts,
    /// The far end; none: nobody watched there.
    pub peer: Option<SideFacts>,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SideFacts {
    /// Its name.
    pub hostname: String,
    /// The interface that carries the route to the other end.
    pub interface: String,
    /// The address that the probes use there.
    pub address: Option<IpAddr>,
    /// Kernel release.
    pub kernel: String,
    /// How XDP is attached.
    pub xdp_mode: XdpAttachment,
    /// Hops of the path that could not be watched.
    pub blind: Vec<BlindHop>,
}

/// A hop that could not be watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct BlindHop {
    /// Its name.
    pub hop: &'static str,
    /// Why, as a clause.
    pub why: String,
}

/// The conclusion of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// How sure that is.
    pub confidence: Confidence,
    /// The answer in one sentence.
    pub sentence: String,
}

/// Where packets stop, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Stop {
    /// On which leg.
    pub leg: Echo,
    /// Where.
    pub host: StopHost,
    /// Whose place it is, with its number.
    #[serde(skip)]
    pub whose: Whose,
    /// The name of the place that they stop in; none: in none that was watched.
    #[serde(rename = "place")]
    pub place_name: Option<String>,
    /// In which part of the network stack.
    pub layer: Layer,
    /// The place in that layer.
    #[serde(skip)]
    pub place: DropPoint,
    /// The leg of the last hop that saw them.
    #[serde(skip)]
    pub seen_leg: Echo,
    /// The leg of the first hop that did not.
    #[serde(skip)]
    pub missing_leg: Echo,
    /// How many.
    pub packets: usize,
    /// The last hop that saw them.
    pub last_seen: Checkpoint,
    /// The first hop that watched and did not see them.
    pub first_missing: Checkpoint,
    /// Why.
    pub cause: Cause,
    /// The kinds of evidence for it.
    pub witnesses: Vec<Witness>,
    /// How sure host and layer are.
    pub confidence: Confidence,
    /// What else it could be, if the witnesses leave more than one place, in path order; the chosen one is among them.
    pub candidates: Vec<Candidate>,
    /// Blind hops between the last that saw them and the first that did not.
    pub blind: Vec<BlindSpot>,
    /// How many drop events name the place.
    pub drop_events: usize,
    /// The tunnel inside whose packets they stop, if any; layer and cause are then those of these packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carried: Option<CarriedBy>,
    /// The sentence without its subject, if the usual one does not fit.
    #[serde(skip)]
    pub told: Option<String>,
    /// What it means, in a sentence.
    pub meaning: String,
    /// What to do about it: one sentence or command.
    pub advice: String,
    /// Commands to paste.
    pub commands: Vec<Command>,
}

/// A carried stretch of the path.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CarriedStretch {
    /// The leg of the probes inside.
    pub leg: Echo,
    /// The device of the tunnel where the probes go into it.
    pub interface: String,
    /// Its kind, e.g. `vxlan`.
    pub kind: String,
    /// Its number: the VNI of VXLAN and Geneve, the key of GRE.
    pub vni: Option<u32>,
    /// The UDP port to which its packets go.
    pub port: Option<u16>,
    /// The source address of the packets that carry the probes.
    pub from: Option<IpAddr>,
    /// Their destination address.
    pub to: Option<IpAddr>,
    /// Every hop of these packets, in path order.
    pub hops: Vec<HopState>,
    /// Their path as a diagnosis of its own.
    #[serde(skip)]
    pub path: Box<Diagnosis>,
    /// The last place before the stretch.
    #[serde(skip)]
    pub before: Side,
}

/// What says that packets stop there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// Hops before it saw them, hops after it did not.
    Counters,
    /// The kernel reported freeing them.
    DropEvent,
    /// The send call, or a look-up of the route, was refused.
    Errno,
    /// An ICMP error quoted them.
    IcmpError,
    /// A kernel setting ends them.
    Sysctl,
    /// A counter of the kernel or of the device rose.
    DeviceCounter,
    /// An entry of connection tracking shows it.
    Conntrack,
    /// Otherwise equal packets were answered.
    Control,
}

/// A blind hop of a stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BlindSpot {
    /// Where.
    #[serde(flatten)]
    pub checkpoint: Checkpoint,
    /// Why.
    pub why: String,
}

/// A command to paste.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Command {
    /// On which host; none: on any host in between.
    pub on: Option<Side>,
    /// What to type.
    pub command: String,
}

/// Something that changed on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Alteration {
    /// On which leg.
    pub leg: Echo,
    /// What changed: `id`, `source`, `destination`, or `ttl` by a rule.
    pub field: &'static str,
    /// What was sent.
    pub sent: Value,
    /// What was seen.
    pub seen: Value,
    /// Where that was seen first.
    pub seen_at: Checkpoint,
    /// Where it was done, as a clause for people: the hook of a host, or the two places between which it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The rule that did it, if only one can have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// On how many packets.
    pub packets: usize,
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Value {
    /// An echo id, or a TTL.
    Id(u16),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(formatter),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}

/// One hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HopState {
    /// The leg.
    pub leg: Echo,
    /// Where.
    #[serde(flatten)]
    pub checkpoint: Checkpoint,
    /// In which of the places, by its name.
    pub place: String,
    /// At which of its interfaces, if several are watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// What is known of it.
    pub state: HopStatus,
    /// How many probes it saw; none if it is blind.
    pub packets: Option<usize>,
    /// Why it is blind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How many probes passed it, by its own count or by that of any hop after it.
    pub passed: usize,
}

/// What is known of a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HopStatus {
    /// It saw probes.
    Seen,
    /// It was watched and saw none.
    Missing,
    /// It could not be watched; never called missing.
    Blind,
}

/// Round trips in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RoundTrips {
    /// The shortest.
    pub min: u64,
    /// Half took no longer.
    pub p50: u64,
    /// 90 % took no longer.
    pub p90: u64,
    /// 99 % took no longer.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

/// A stretch of the round trip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Segment {
    /// Which, for people: `a's kernel, out`.
    pub stage: String,
    /// Its median in nanoseconds.
    pub p50_ns: u64,
}

/// What watching cost, on both hosts together and on each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Costs {
    /// Drop events that a ring had no room for: counters are complete nevertheless.
    pub events_lost: u64,
    /// Maps that ran out of room, except for the rings of drop events. The journeys of probes are kept in arrays that
    /// have room for all of them.
    pub maps_full: u64,
    /// How long attaching took in milliseconds, on the slower host.
    pub attach_ms: u64,
    /// Nanoseconds that the programs of both hosts took per packet, by the kernel's own statistics: means of their
    /// runs, weighted by how often the run's packets passed them. 0 if the kernel does not measure them for this user,
    /// which takes `CAP_SYS_ADMIN`, or if no packet passed.
    pub bpf_ns_per_packet: u64,
    /// What was sent besides the probes to find a change that makes them pass; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controls: Option<VariedRun>,
    /// The sender's share.
    pub local: SideCosts,
    /// The far end's; none: nobody watched there.
    pub peer: Option<SideCosts>,
}

/// What watching cost on one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SideCosts {
    /// Drop events that its ring had no room for.
    pub events_lost: u64,
    /// Maps that ran out of room, except for that ring.
    pub maps_full: u64,
    /// How long attaching took, in milliseconds.
    pub attach_ms: u64,
    /// Nanoseconds that its programs took per packet; 0: not measured.
    pub bpf_ns_per_packet: u64,
}
