//! Why packets stop in a gap: an ordered list of rules, each a pure function of the gap and the evidence.
//!
//! The first rule that answers decides. What somebody said of the very packets (drop events, the errno of the send
//! call, ICMP errors) comes before what was looked up (settings, routes, counters, programs, chains), and a look-up
//! never outweighs a blind hop. Drop events alone convict nobody: without a gap no rule is asked.

mod lookups;
pub(in crate::diagnosis) mod said;

use super::{
    Evidence,
    document::{Cause, Witness},
    ledger::Gap,
    places::{Place, Spot},
};

/// What a rule answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// Where it can have been, the likeliest first; never empty.
    pub spots: Vec<Spot>,
    /// Why.
    pub cause: Cause,
    /// What says so, besides the counters of the gap.
    pub witness: Option<Witness>,
    /// How much it weighs.
    pub weight: Weight,
}

/// How much a ruling weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It is about the very packets.
    Direct,
    /// It explains the gap, whatever packets they were.
    Explains,
    /// It may explain the gap.
    Suggests,
}

/// A rule.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// The rule: nothing where it has nothing to say.
    pub judge: fn(&Gap, &Evidence) -> Option<Ruling>,
}

/// The rules, in the order in which they are asked.
pub const RULES: [Rule; 17] = [
    Rule { name: "probe's own filter", judge: lookups::own_filter },
    Rule { name: "no carrier", judge: lookups::link },
    Rule { name: "drop event", judge: said::drop_event },
    Rule { name: "errno of the send call", judge: said::errno },
    Rule { name: "ICMP error of this host", judge: said::own_icmp_error },
    Rule { name: "ICMP error of another host", judge: said::icmp_error },
    Rule { name: "no carrier at the far end", judge: lookups::no_carrier_there },
    Rule { name: "address of the far end", judge: lookups::address },
    Rule { name: "setting", judge: lookups::setting },
    Rule { name: "no route back", judge: lookups::route },
    Rule { name: "counter", judge: lookups::counter },
    Rule { name: "neighbour", judge: lookups::neighbour },
    Rule { name: "another program", judge: lookups::program },
    Rule { name: "chain", judge: lookups::chain },
    Rule { name: "reverse path filter", judge: lookups::reverse_path },
    Rule { name: "answer wanted but not made", judge: lookups::wanted_answer },
    Rule { name: "counters alone", judge: counters_alone },
];

/// What the first rule that answers says.
pub fn judge(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    RULES.iter().find_map(|rule| (rule.judge)(gap, evidence))
}

impl Ruling {
    fn at(spots: Vec<Spot>, cause: Cause, witness: Witness, weight: Weight) -> Option<Self> {
        (!spots.is_empty()).then_some(Self { spots, cause, witness: Some(witness), weight })
    }
}

/// Which of several places is the likeliest where nothing but silence speaks: what would have left no trace elsewhere.
const LIKELIEST: [Place; 11] = [
    Place::Network,
    Place::NfInput,
    Place::NfPrerouting,
    Place::NfOutput,
    Place::NfPostrouting,
    Place::Call,
    Place::Neighbour,
    Place::RouteIn,
    Place::Answer,
    Place::IpHeader,
    Place::SocketBuffer,
];

fn counters_alone(gap: &Gap, _: &Evidence) -> Option<Ruling> {
    let mut spots = gap.spots.clone();
    // What the devices at both ends of a network lose shows in their counters only, and those are silent.
    if spots.iter().any(|spot| spot.place == Place::Network) {
        spots.retain(|spot| !matches!(spot.place, Place::DriverOut | Place::DriverIn));
    }
    spots.sort_by_key(|spot| LIKELIEST.iter().position(|place| *place == spot.place).unwrap_or(LIKELIEST.len()));
    let cause = Cause::default();
    (!spots.is_empty()).then_some(Ruling { spots, cause, witness: None, weight: Weight::Suggests })
}
