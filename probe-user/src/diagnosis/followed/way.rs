//! The way of echoes that other hosts send: across this host, or into it and back.

use probe_ebpf::{Echo, Hop};

use super::{Following, flows::FollowedRole};
use crate::diagnosis::{
    Evidence,
    hooks::{FORWARD, INPUT, LEAVES, OUTPUT},
    station::{PathStep, Requirement, Side, Station, step},
};

/// Why nothing is known of the program's end.
pub(in crate::diagnosis) const NOT_OURS: &str = "the socket is another program's: what it reads is not watched";

/// Returns every step of echoes that were not sent here; `None` if they were, or if nobody else's were followed.
pub(in crate::diagnosis) fn journey(evidence: &Evidence) -> Option<Vec<PathStep>> {
    let Following { role, .. } = evidence.following.as_ref()?;
    let steps = |leg: Echo, hops: [&[Hop]; 3]| {
        let hops = hops.concat().into_iter();
        hops.map(move |hop| step(leg, Side::Local, Station::Hop(hop), Requirement::Must))
    };
    let across = [&[Hop::NetifIn], &FORWARD[..], &LEAVES];
    let into = [&[Hop::NetifIn], &INPUT[..], &[Hop::IcmpIn]];
    match role {
        FollowedRole::Sender => None,
        FollowedRole::Router => Some(steps(Echo::Request, across).chain(steps(Echo::Reply, across)).collect()),
        FollowedRole::Target => {
            Some(steps(Echo::Request, into).chain(steps(Echo::Reply, [&OUTPUT, &LEAVES, &[]])).collect())
        }
    }
}

/// Returns why the program's reading is blind; `None`: what is asked about are probes of a run, or its socket is
/// known to have refused replies.
pub(in crate::diagnosis) fn blind_at_the_end(evidence: &Evidence) -> Option<String> {
    let following = evidence.following.as_ref()?;
    (!following.refused_by_socket).then(|| NOT_OURS.to_owned())
}
