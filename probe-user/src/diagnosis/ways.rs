//! Which watched hosts and places are on which way, a sentence each: not faults, and no proof of one.

use probe_ebpf::{
    Echo, Hop,
    contract::crossing::{CROSSING_HOPS, MAX_SITES},
};

use super::{
    Evidence, MAX_PLACES,
    document::{BlindHop, Place, PlaceRole, Stop, ViaHost},
    explain,
    hooks::LEAVES,
    path::Side,
};
use crate::model::trace::{HopTrace, ViaTrace};

/// Returns the hosts in between with agents of this run's own, in the order in which they were typed.
pub(super) fn hosts(evidence: &Evidence) -> Vec<ViaHost> {
    (0..).zip(&evidence.vias).map(|(number, via)| host(evidence, number, via)).collect()
}

fn host(evidence: &Evidence, number: u8, via: &ViaTrace) -> ViaHost {
    let side = evidence.own_place(number);
    let legs = [Echo::Request, Echo::Reply].into_iter().filter(|leg| saw(evidence, number, *leg));
    let blind = via.trace.hops.iter().filter_map(|(hop, trace)| match trace {
        HopTrace::Blind { why } if CROSSING_HOPS.contains(hop) => Some(BlindHop { hop: hop.name(), why: why.clone() }),
        _ => None,
    });
    ViaHost {
        side,
        hostname: via.trace.host.hostname.clone(),
        kernel: via.trace.host.kernel.clone(),
        place: side.map(|side| evidence.name(side)),
        legs: legs.collect(),
        blind: blind.collect(),
    }
}

/// Reports whether any place of the kernel of a host in between saw packets of a leg.
fn saw(evidence: &Evidence, number: u8, leg: Echo) -> bool {
    let own = evidence.own_place(number).and_then(|side| evidence.place(side));
    let places = evidence.places.iter().filter(|place| place.of_via == Some(number));
    places.chain(own).any(|place| {
        let seen = |hop: &HopTrace| hop.seen(leg).is_some_and(|seen| !seen.is_empty());
        place.ports.iter().flat_map(|port| port.hops.values()).any(seen)
            || place.drops.iter().any(|drop| drop.leg == leg && drop.probe.is_some())
    })
}

/// Returns what is worth knowing of the ways: who is on none, who is on that of one leg only, and who only forwards.
/// `places` are those of the document, and so are `stops`.
pub(super) fn notes(evidence: &Evidence, hosts: &[ViaHost], places: &[Place], stops: &[Stop]) -> Vec<String> {
    let mut notes: Vec<String> = forwarding(evidence).into_iter().collect();
    notes.extend(hosts.iter().filter_map(|host| off_the_way(evidence, host, stops)));
    notes.extend(one_way(evidence, places));
    if evidence.untold > 0 {
        let more = if evidence.untold == 1 {
            "1 more place was".to_owned()
        } else {
            format!("{} more places were", evidence.untold)
        };
        notes.push(format!("{more} watched than are listed"));
    }
    let told = |note: &String| stops.iter().any(|stop| stop.cause.detail.as_ref() == Some(note));
    notes.extend(explain::tun_program::notes(evidence));
    notes.extend(explain::beside_tunnel::notes(evidence).into_iter().filter(|note| !told(note)));
    if !stops.is_empty() {
        notes.extend(explain::tunnel_unused::notes(evidence).into_iter().filter(|note| !told(note)));
    }
    notes.extend(beyond_the_bounds(evidence));
    notes
}

/// Reports what probes crossed and nobody watched.
fn beyond_the_bounds(evidence: &Evidence) -> Vec<String> {
    let here = &evidence.local;
    let others = evidence.vias.iter().map(|via| &via.trace).chain(&evidence.peer);
    let hosts = others.filter(|host| !host.host.shares_kernel(&here.host)).chain([here]);
    let (places, interfaces) = hosts
        .map(|host| host.untold)
        .fold((0, false), |(places, interfaces), untold| (places + untold.places, interfaces | untold.interfaces));
    let of_places = match places {
        0 => None,
        1 => Some("1 more network namespace".to_owned()),
        more => Some(format!("{more} more network namespaces")),
    };
    let of_places = of_places
        .map(|more| format!("probes crossed {more} about which nothing is reported: at most {MAX_PLACES} are watched"));
    let of_interfaces = interfaces
        .then(|| format!("probes crossed {MAX_SITES} interfaces: there may be more, about which nothing is reported"));
    of_places.into_iter().chain(of_interfaces).collect()
}

/// Reports that the far end that was named is not one.
fn forwarding(evidence: &Evidence) -> Option<String> {
    let side = evidence.own_place(evidence.forwarding_peer?)?;
    let name = evidence.whom(side);
    let target = evidence.target.address;
    let answered = evidence.sending.received.values().map(|received| received.from).next();
    let place = evidence.place(side)?;
    let left = |leg: Echo, hops: &[Hop]| {
        let seen = |hop: &Hop| place.ports.iter().any(|port| port.seen(*hop, leg).is_some_and(|seen| !seen.is_empty()));
        hops.iter().any(seen)
    };
    let (first, sent_on) = (evidence.first_leg(), LEAVES);
    Some(match answered {
        Some(from) => format!("{name}, which --peer reaches, is on the way and forwarded them: {from} answered"),
        None if first == Echo::Request && left(Echo::Reply, &[Hop::NetifIn]) => {
            format!("{name}, which --peer reaches, is on the way and forwarded them: somebody behind it answered")
        }
        None if left(first, &sent_on) && !place.takes_in(target) => {
            format!("{name}, which --peer reaches, is on the way and forwarded them: it is not {target}")
        }
        None if place.takes_in(target) => {
            format!("{name}, which --peer reaches, has {target}, and sends on what comes for it")
        }
        None => format!("{name}, which --peer reaches, is on the way and was to forward them: it is not {target}"),
    })
}

fn off_the_way(evidence: &Evidence, host: &ViaHost, stops: &[Stop]) -> Option<String> {
    // The verdict reports a stop right before it.
    let missed = stops.iter().any(|stop| Some(stop.first_missing.host) == host.side);
    if !host.legs.is_empty() || missed {
        return None;
    }
    let name = host.place.clone().unwrap_or_else(|| host.hostname.clone());
    if let Some(BlindHop { hop, why }) = host.blind.first() {
        return Some(format!("it is not known whether {name} is on the way: its {hop} could not be watched ({why})"));
    }
    let all = evidence.sending.probes.iter().all(|sent| evidence.sending.received.contains_key(&sent.probe));
    Some(if all && !evidence.one_way() {
        format!("{name} saw none of them: it is not on the way")
    } else {
        format!("{name} saw none of them: they stop before they reach it, or it is not on the way")
    })
}

/// Returns which places packets of one leg cross and those of the other do not, if both legs were travelled.
fn one_way(evidence: &Evidence, places: &[Place]) -> Option<String> {
    if evidence.sending.received.is_empty() || evidence.one_way() {
        return None;
    }
    let only = |leg: Echo| -> Vec<String> {
        let routers = places.iter().filter(|place| place.role == PlaceRole::Router && place.legs == [leg]);
        routers.filter(|place| matches!(place.side, Side::Via(_))).map(|place| evidence.whom(place.side)).collect()
    };
    let (there, back) = (only(Echo::Request), only(Echo::Reply));
    let list = |names: &[String]| match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        names => names.concat(),
    };
    match (there.is_empty(), back.is_empty()) {
        (true, true) => None,
        (false, true) => Some(format!("replies come back another way than requests go: not through {}", list(&there))),
        (true, false) => Some(format!("replies come back another way than requests go: through {}", list(&back))),
        (false, false) => Some(format!(
            "replies come back another way than requests go: through {}, not through {}",
            list(&back),
            list(&there)
        )),
    }
}
