//! Frames that came to a wrong host as the host before it sent them out of another device, past its own routing.

use std::collections::BTreeMap;

use probe_ebpf::Hop;

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{hooks, path::Side, places::DropPoint},
    model::trace::{PlaceTrace, PortTrace},
};

/// Explains a stop at a host that got frames for somebody else, if a place before it took them in at one device and sent them out of
/// another one before any of its hooks saw them, and no bridge of it did so.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let evidence = case.evidence;
    let here = case.spot.side().filter(|_| case.stop.place == DropPoint::IpHeader)?;
    (case.stop.cause.reason.as_deref() == Some("OTHERHOST")).then_some(())?;
    let (side, place) = evidence.sides().find_map(|side| {
        let place = evidence.place(side).filter(|place| side != here && routes_none(place, case))?;
        Some((side, place))
    })?;
    let (came, left) = (at(place, Hop::NetifIn, case)?, at(place, Hop::DevQueue, case)?);
    (came != left && !is_port(case, side, came)).then_some(())?;
    let name = evidence.whom(side);
    Some(StopExplanation {
        detail: Some(format!(
            "{name} took them in by {came} and sent them out of {left} as they were, past its routing"
        )),
        meaning: format!(
            "A chain of nftables at the ingress of {came} (fwd), or a tc filter or program there, redirects them: a copy would be \
             dup, or mirror."
        ),
        commands: vec![
            "nft list ruleset netdev".to_owned(),
            format!("tc -s filter show dev {came} ingress"),
            format!("bpftool net show dev {came}"),
        ],
        on: Some(side),
        tracking: None,
    })
}

/// Reports whether the place's hooks were watched, and saw nothing of the packets.
fn routes_none(place: &PlaceTrace, case: &StopCase<'_>) -> bool {
    let mut first = [Hop::NfPreroutingFirst, Hop::NfForwardFirst].into_iter();
    first.all(|hop| hooks::seen(place, hop, case.gap.leg).is_some_and(BTreeMap::is_empty))
}

/// Returns the only device at which `hop` saw the packets.
fn at<'a>(place: &'a PlaceTrace, hop: Hop, case: &StopCase<'_>) -> Option<&'a str> {
    let saw = |port: &&PortTrace| {
        port.seen(hop, case.gap.leg).is_some_and(|seen| case.gap.probes.iter().any(|probe| seen.contains_key(probe)))
    };
    let mut ports = place.ports.iter().filter(saw);
    let only = ports.next()?;
    ports.next().is_none().then_some(only.interface.as_str())
}

fn is_port(case: &StopCase<'_>, side: Side, interface: &str) -> bool {
    case.evidence.devices(side).any(|device| device.interface == interface && device.master.is_some())
}
