//! Why packets stop in a gap: an ordered list of rules, each a pure function of the gap and the evidence.
//!
//! The first rule that answers decides. What was said about these very packets (drop events, the errno of the send
//! call, ICMP errors) comes before what was looked up (settings, routes, counters, programs, chains), and a look-up
//! never outweighs a blind hop. Drop events alone convict nobody: without a gap no rule is tried.

mod bridge;
pub(in crate::diagnosis) mod device_redirect;
mod fragments;
mod limits;
mod lookups;
mod loops;
pub(in crate::diagnosis) mod over_lo;
mod reflected;
pub(in crate::diagnosis) mod routing;
pub(in crate::diagnosis) mod said;
mod socket;
pub(in crate::diagnosis) mod taken_in;
mod tracking;
pub(in crate::diagnosis) mod tun;

use super::{
    Evidence,
    document::{Cause, Witness},
    ledger::Gap,
    places::{DropLocation, DropPoint},
};

/// What a rule answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// Where it can have been, the likeliest first; never empty.
    pub spots: Vec<DropLocation>,
    /// Why.
    pub cause: Cause,
    /// The evidence for it, besides the counters of the gap.
    pub witness: Option<Witness>,
    /// How much it weighs.
    pub weight: Weight,
}

/// How much a ruling weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It is about these very packets.
    Direct,
    /// It explains the gap, whatever packets they were.
    Explains,
    /// It may explain the gap.
    Suggests,
}

/// A rule.
#[derive(Clone, Copy)]
pub struct VerdictRule {
    /// Its name.
    pub name: &'static str,
    /// The rule; `None` if it has nothing to say.
    pub judge: fn(&Gap, &Evidence) -> Option<Ruling>,
}

/// The rules, in the order in which they are tried.
pub const RULES: [VerdictRule; 36] = [
    VerdictRule { name: "probe's own filter", judge: lookups::own_filter },
    VerdictRule { name: "no carrier", judge: lookups::link },
    VerdictRule { name: "routing asked again", judge: routing::rerouted },
    VerdictRule { name: "loop", judge: loops::looped },
    VerdictRule { name: "device of the socket", judge: socket::bound_device },
    VerdictRule { name: "address of the socket", judge: socket::connected },
    VerdictRule { name: "own address behind another device", judge: socket::own_address },
    VerdictRule { name: "own address that lo does not have", judge: socket::not_of_lo },
    VerdictRule { name: "id of the socket", judge: socket::other_id },
    VerdictRule { name: "bridge past whom they are for", judge: bridge::past_the_receiver },
    VerdictRule { name: "redirected to another device", judge: device_redirect::redirected },
    VerdictRule { name: "tunnel into itself", judge: tun::routed_into_itself },
    VerdictRule { name: "sent over lo", judge: over_lo::judge },
    VerdictRule { name: "drop event", judge: said::drop_event },
    VerdictRule { name: "errno of the send call", judge: said::errno },
    VerdictRule { name: "ICMP error of this host", judge: said::own_icmp_error },
    VerdictRule { name: "loop of routers that answer", judge: loops::walked },
    VerdictRule { name: "ICMP error of another host", judge: said::icmp_error },
    VerdictRule { name: "no carrier at the far end", judge: lookups::no_carrier_there },
    VerdictRule { name: "translation not undone", judge: tracking::not_undone },
    VerdictRule { name: "handed to a program", judge: tun::handed },
    VerdictRule { name: "address of the far end", judge: lookups::address },
    VerdictRule { name: "taken in by a router", judge: taken_in::by_route },
    VerdictRule { name: "setting", judge: lookups::setting },
    VerdictRule { name: "no route back", judge: lookups::route },
    VerdictRule { name: "mark of the request", judge: reflected::refused },
    VerdictRule { name: "counter", judge: lookups::counter },
    VerdictRule { name: "limit of echo replies", judge: limits::of_replies },
    VerdictRule { name: "neighbour", judge: lookups::neighbour },
    VerdictRule { name: "neighbour asked for in vain", judge: lookups::asked_in_vain },
    VerdictRule { name: "fragments", judge: fragments::incomplete },
    VerdictRule { name: "another program", judge: lookups::program },
    VerdictRule { name: "chain", judge: lookups::chain },
    VerdictRule { name: "reverse path filter", judge: lookups::reverse_path },
    VerdictRule { name: "answer wanted but not made", judge: lookups::wanted_answer },
    VerdictRule { name: "counters alone", judge: counters_alone },
];

/// Judges the gap by the first rule that answers.
pub fn judge(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    RULES.iter().find_map(|rule| (rule.judge)(gap, evidence))
}

impl Ruling {
    fn at(spots: Vec<DropLocation>, cause: Cause, witness: Witness, weight: Weight) -> Option<Self> {
        (!spots.is_empty()).then_some(Self { spots, cause, witness: Some(witness), weight })
    }
}

/// Which of several places is the likeliest if there is nothing but silence: one that would have left no trace
/// elsewhere.
const LIKELIEST: [DropPoint; 11] = [
    DropPoint::Network,
    DropPoint::NfInput,
    DropPoint::NfPrerouting,
    DropPoint::NfOutput,
    DropPoint::NfPostrouting,
    DropPoint::Call,
    DropPoint::Neighbour,
    DropPoint::RouteIn,
    DropPoint::Answer,
    DropPoint::IpHeader,
    DropPoint::SocketBuffer,
];

fn counters_alone(gap: &Gap, _: &Evidence) -> Option<Ruling> {
    let mut spots = gap.spots.clone();
    // What the devices at both ends of a network lose shows only in their counters, and those did not rise.
    if spots.iter().any(|spot| spot.place == DropPoint::Network) {
        spots.retain(|spot| !matches!(spot.place, DropPoint::DriverOut | DropPoint::DriverIn));
    }
    spots.sort_by_key(|spot| LIKELIEST.iter().position(|place| *place == spot.place).unwrap_or(LIKELIEST.len()));
    let cause = Cause::default();
    (!spots.is_empty()).then_some(Ruling { spots, cause, witness: None, weight: Weight::Suggests })
}
