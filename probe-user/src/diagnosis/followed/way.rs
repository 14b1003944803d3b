//! The way of echoes that other hosts send: across this host, or into it and back.

use probe_ebpf::{Echo, Hop};

use super::{Following, flows::FollowedRole};
use crate::diagnosis::{
    Evidence,
    station::{PathStep, Requirement, Side, Station, step},
};

/// Across this host, from one device to another.
const ACROSS: [Hop; 9] = [
    Hop::NetifIn,
    Hop::NfPreroutingFirst,
    Hop::NfPreroutingLast,
    Hop::NfForwardFirst,
    Hop::NfForwardLast,
    Hop::NfPostroutingFirst,
    Hop::NfPostroutingLast,
    Hop::DevQueue,
    Hop::Xmit,
];

/// Into this host, up to its ICMP.
const INTO: [Hop; 6] =
    [Hop::NetifIn, Hop::NfPreroutingFirst, Hop::NfPreroutingLast, Hop::NfInputFirst, Hop::NfInputLast, Hop::IcmpIn];

/// From its ICMP to a device.
const BACK: [Hop; 6] =
    [Hop::NfOutputFirst, Hop::NfOutputLast, Hop::NfPostroutingFirst, Hop::NfPostroutingLast, Hop::DevQueue, Hop::Xmit];

/// Why nothing is known of the program's end.
pub(in crate::diagnosis) const NOT_OURS: &str = "the socket is another program's: what it reads is not watched";

/// Every step of echoes that were not sent here; none where they were, or nobody else's were followed.
pub(in crate::diagnosis) fn journey(evidence: &Evidence) -> Option<Vec<PathStep>> {
    let Following { role, .. } = evidence.following.as_ref()?;
    let steps = |leg: Echo, hops: &'static [Hop]| {
        hops.iter().map(move |hop| step(leg, Side::Local, Station::Hop(*hop), Requirement::Must))
    };
    match role {
        FollowedRole::Sender => None,
        FollowedRole::Router => Some(steps(Echo::Request, &ACROSS).chain(steps(Echo::Reply, &ACROSS)).collect()),
        FollowedRole::Target => Some(steps(Echo::Request, &INTO).chain(steps(Echo::Reply, &BACK)).collect()),
    }
}

/// Why the program's reading is blind; none: what is asked about are probes of a run, or its socket is known to have refused
/// replies.
pub(in crate::diagnosis) fn blind_at_the_end(evidence: &Evidence) -> Option<String> {
    let following = evidence.following.as_ref()?;
    (!following.refused_by_socket).then(|| NOT_OURS.to_owned())
}
