//! The places between the two ends: where on each leg the probes crossed them, and what lies between two of their
//! interfaces.
//!
//! A device's tracepoints see every network namespace of a kernel, so what leaves a place by any interface is seen
//! there, and what does not was dropped in it or was destined for it.

use probe_ebpf::Echo;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use probe_ebpf::{Hop, contract::crossing::CROSSING_HOPS};

use super::{
    Evidence,
    document::PlaceRole,
    explain, flooded, hooks,
    order::{Passed, order},
    places::{
        DropLocation,
        DropPoint::{self, DriverIn, DriverOut, Network, Qdisc, Xdp},
        Whose, host_of,
    },
    station::{ANY_PORT, PathStep, Requirement, Side, Station, step},
    through,
};
use crate::model::trace::{Finding, HopTrace, HostTrace, PlaceTrace, ProbePassage, ViaTrace};

/// A passage of probes at an interface of a place, or at one of its hooks.
struct Crossing {
    first_ns: u64,
    ttl: u8,
    place: u8,
    hop: Hop,
    port: u8,
}

/// Returns the steps of a leg through the places in between, in the order in which they were first met.
pub(super) fn steps(evidence: &Evidence, leg: Echo) -> Vec<PathStep> {
    let mut crossings = crossings(evidence, leg);
    crossings.sort_by_key(|it| (it.first_ns, it.place, CROSSING_HOPS.iter().position(|hop| *hop == it.hop), it.port));
    crossings = over_kernels(evidence, crossings);
    // The far end's clock is another one: its places come last on the way there, and first on the way back.
    let of_peer = |place: u8| evidence.places.get(usize::from(place)).is_some_and(|place| place.of_peer);
    crossings.sort_by_key(|it| of_peer(it.place) == (leg == evidence.first_leg()));
    crossings.sort_by_key(|it| !aside(evidence, leg, it.place));
    let mut steps = Vec::new();
    let awaited = awaited(evidence, leg, &crossings);
    for place in target_of(evidence).filter(|_| leg != evidence.first_leg()) {
        let sends = crossings.iter().any(|it| it.place == place && it.hop != Hop::NetifIn);
        if !sends {
            let first = watched(evidence, place, Hop::NfOutputFirst).then_some(Hop::NfOutputFirst);
            steps.extend(first.map(|first| of_hook(leg, place, first, Requirement::Must)));
            steps.push(exit(leg, place));
        }
    }
    let mut waiting = None;
    for (index, it) in crossings.iter().enumerate() {
        let copy = aside(evidence, leg, it.place);
        let must = !copy && must_pass(evidence, leg, it.place, it.hop, it.port);
        let duty = if must { Requirement::Must } else { Requirement::May };
        steps.push(step(leg, Side::Via(it.place), Station::Port(it.hop, it.port), duty));
        let ends_here = target_of(evidence).any(|target| target == it.place) && leg == evidence.first_leg();
        let next = crossings.get(index + 1).filter(|next| next.place == it.place);
        // A bridge whose packets pass prerouting at its port: the next hooks follow after the bridge.
        let enters_again = next.is_some_and(|next| next.hop == Hop::NetifIn);
        if !copy && hooks::is_hook(it.hop) {
            waiting = to_follow(evidence, leg, it, &crossings, ends_here);
        }
        if !enters_again {
            steps.extend(waiting.take());
        }
        if it.hop == Hop::NetifIn && crossings[..index].iter().all(|before| before.place != it.place) {
            steps.extend(unwatched(evidence, leg, it.place, ends_here));
        }
        let is_last = crossings[index + 1..].iter().all(|later| later.place != it.place);
        let somewhere = it.port != ANY_PORT || hooks::is_hook(it.hop);
        if is_last && !copy && !ends_here && somewhere && !leaves(&crossings, it.place) {
            steps.push(exit(leg, it.place));
        }
    }
    steps.extend(awaited.map(|place| step(leg, Side::Via(place), ENTRY, Requirement::Must)));
    steps
}

/// Packets entering a place by any interface.
const ENTRY: Station = Station::Port(Hop::NetifIn, ANY_PORT);

/// Sorts crossings of several kernels into path order: each is in the order of its own clock.
fn over_kernels(evidence: &Evidence, crossings: Vec<Crossing>) -> Vec<Crossing> {
    let boots: Vec<&str> = evidence.vias.iter().map(|via| via.trace.host.boot.as_str()).collect();
    let here = evidence.local.host.boot.as_str();
    let kernel = |place: u8| {
        let via = evidence.places.get(usize::from(place)).and_then(|place| place.of_via).map(usize::from);
        let boot = via.map_or(here, |via| boots[via]);
        // Without an identity each is a kernel of its own.
        match (boot, via) {
            ("", Some(via)) => via + 1,
            (boot, Some(via)) if boot != here => boots.iter().position(|other| *other == boot).unwrap_or(via) + 1,
            _ => 0,
        }
    };
    let ahead = |kernel: usize| kernel.checked_sub(1).map_or(0, |via| evidence.vias[via].ahead_ns);
    let passed = |it: &Crossing| {
        let kernel = kernel(it.place);
        Passed { kernel, place: it.place, time_ns: it.first_ns, ahead_ns: ahead(kernel), ttl: it.ttl }
    };
    let passed: Vec<Passed> = crossings.iter().map(passed).collect();
    let mut crossings: Vec<Option<Crossing>> = crossings.into_iter().map(Some).collect();
    order(&passed).into_iter().filter_map(|index| crossings[index].take()).collect()
}

/// Returns the host in between that packets of a leg were last sent to and did not reach: it has the address of the
/// next hop, and no packet is known to have come further.
fn awaited(evidence: &Evidence, leg: Echo, crossings: &[Crossing]) -> Option<u8> {
    let there = leg == evidence.first_leg();
    let came = || evidence.peer.as_ref().is_some_and(|peer| !peer.saw_nothing());
    let left = |peer: &HostTrace| hooks::LEAVES.iter().any(|hop| !probes(&peer.hop(*hop), leg).is_empty());
    let made = || !crossings.is_empty() || evidence.peer.as_ref().is_some_and(left);
    if !evidence.sending.received.is_empty() || there && came() || !there && !made() {
        return None;
    }
    let start = if there { Side::Local } else { Side::Peer };
    let last = crossings.iter().rfind(|it| !aside(evidence, leg, it.place));
    let (side, left_by) = match last {
        // What did not leave it stopped there.
        Some(it) if it.hop == Hop::NetifIn || it.port == ANY_PORT => return None,
        Some(it) => {
            let ports = &evidence.places.get(usize::from(it.place))?.ports;
            (Side::Via(it.place), ports.get(usize::from(it.port))?.interface.as_str())
        }
        None => (start, evidence.interface(start)),
    };
    let end = if there { Some(evidence.target.address) } else { evidence.local.host.address }?;
    let next = evidence.findings(side).find_map(|finding| match finding {
        Finding::NextHop(hop) if hop.to == end && hop.interface == left_by => Some(hop.next),
        _ => None,
    })?;
    let has = |via: &ViaTrace| via.addresses.contains(&next);
    let number = u8::try_from(evidence.vias.iter().position(has)?).ok()?;
    match evidence.own_place(number)? {
        Side::Via(place) if !crossings.iter().any(|it| it.place == place) => Some(place),
        _ => None,
    }
}

/// Returns a hook of a place as a step.
fn of_hook(leg: Echo, place: u8, hop: Hop, duty: Requirement) -> PathStep {
    step(leg, Side::Via(place), Station::Port(hop, ANY_PORT), duty)
}

/// Reports whether that hook of a place was watched.
fn watched(evidence: &Evidence, place: u8, hop: Hop) -> bool {
    let place = evidence.place(Side::Via(place));
    place.is_some_and(|place| hooks::seen(place, hop, Echo::Request).is_some())
}

/// Returns the hook that should follow `it`, if none of the probes that came to `it` reached it.
fn to_follow(
    evidence: &Evidence,
    leg: Echo,
    it: &Crossing,
    crossings: &[Crossing],
    ends_here: bool,
) -> Option<PathStep> {
    let here = crossings.iter().filter(|other| other.place == it.place);
    let seen: BTreeSet<Hop> = here.map(|other| other.hop).collect();
    let next = hooks::follows(it.hop, &seen, ends_here).filter(|next| watched(evidence, it.place, *next))?;
    let must = must_pass(evidence, leg, it.place, next, ANY_PORT);
    // What leaves nevertheless was bridged, and no hook was meant to see it.
    let passed = leaves(crossings, it.place) && !must;
    (!passed).then(|| of_hook(leg, it.place, next, if must { Requirement::Must } else { Requirement::May }))
}

/// Returns steps for the hooks of a place that could not be watched, which only report that.
fn unwatched(evidence: &Evidence, leg: Echo, place: u8, ends_here: bool) -> Vec<PathStep> {
    let hops: &[Hop] = if ends_here { &hooks::INPUT } else { &hooks::FORWARD };
    let Some(trace) = evidence.place(Side::Via(place)) else { return Vec::new() };
    let blind = hops.iter().filter(|hop| hooks::blind(trace, **hop).is_some());
    blind.map(|hop| of_hook(leg, place, *hop, Requirement::May)).collect()
}

/// Returns a step for the way out of a place that no packet left: any of its interfaces.
fn exit(leg: Echo, place: u8) -> PathStep {
    step(leg, Side::Via(place), Station::Port(Hop::DevQueue, ANY_PORT), Requirement::Must)
}

fn leaves(crossings: &[Crossing], place: u8) -> bool {
    crossings.iter().any(|it| it.place == place && CROSSING_HOPS[1..].contains(&it.hop))
}

fn crossings(evidence: &Evidence, leg: Echo) -> Vec<Crossing> {
    let mut all = Vec::new();
    for (number, place) in (0..).zip(&evidence.places) {
        let before = all.len();
        for (port, trace) in (0..ANY_PORT).zip(&place.ports) {
            let seen = CROSSING_HOPS.into_iter().filter_map(|hop| Some((hop, trace.seen(hop, leg)?)));
            all.extend(seen.filter_map(|(hop, seen)| {
                let first = seen.values().min_by_key(|passage| passage.first_ns)?;
                Some(Crossing { first_ns: first.first_ns, ttl: first.ttl, place: number, hop, port })
            }));
        }
        let seen = hooks::FORWARD.into_iter().chain(hooks::INPUT).chain(hooks::OUTPUT);
        let mut hops: Vec<Hop> = seen.collect();
        hops.sort_unstable();
        hops.dedup();
        all.extend(hops.into_iter().filter_map(|hop| {
            let first = hooks::seen(place, hop, leg)?.values().min_by_key(|passage| passage.first_ns)?;
            Some(Crossing { first_ns: first.first_ns, ttl: first.ttl, place: number, hop, port: ANY_PORT })
        }));
        let freed = place.drops.iter().filter(|drop| drop.leg == leg).map(|drop| drop.time_ns).min();
        if let Some(first_ns) = freed.filter(|_| all.len() == before) {
            all.push(Crossing { first_ns, ttl: 0, place: number, hop: Hop::NetifIn, port: ANY_PORT });
        }
    }
    all
}

/// Reports whether what a place saw on a leg was for another host's MAC address: copies that a bridge made for all of
/// its ports, or all there is. It then comes before any other place, where only probes end that no other place saw.
fn aside(evidence: &Evidence, leg: Echo, number: u8) -> bool {
    let Some(place) = evidence.places.get(usize::from(number)) else { return false };
    let foreign = |probe: &u16| {
        let tagged = place.ports.iter().any(|port| port.tag(*probe, leg).is_some());
        let mut drops = place.drops.iter().filter(|drop| drop.leg == leg && drop.probe == Some(*probe));
        !tagged && drops.any(|drop| drop.reason == "OTHERHOST")
    };
    let seen = |hop: Hop| place.ports.iter().filter_map(move |port| port.seen(hop, leg)).flat_map(|seen| seen.keys());
    let left = CROSSING_HOPS[1..].iter().any(|hop| seen(*hop).next().is_some());
    let mut came = seen(Hop::NetifIn).peekable();
    let copies = flooded::is_bystander(evidence, leg, place) || !only_receiver(evidence, leg, number);
    !left && came.peek().is_some() && came.all(foreign) && copies
}

/// Reports whether a place was sent all there was, and no copies: each place before it let packets out by one
/// interface, and nobody after it knows of any.
fn only_receiver(evidence: &Evidence, leg: Echo, number: u8) -> bool {
    fn passed(place: &PlaceTrace, hop: Hop, leg: Echo) -> impl Iterator<Item = &ProbePassage> {
        place.ports.iter().filter_map(move |port| port.seen(hop, leg)).flat_map(BTreeMap::values)
    }
    let first = |place: &PlaceTrace, hop: Hop, leg: Echo| passed(place, hop, leg).map(|passage| passage.first_ns).min();
    let ttl = |place: &PlaceTrace| passed(place, Hop::NetifIn, leg).map(|passage| passage.ttl).max();
    let one_clock = evidence.vias.is_empty() && evidence.places.iter().all(|place| !place.of_peer);
    let there = leg == evidence.first_leg();
    let answered = there
        && evidence
            .places
            .iter()
            .any(|place| CROSSING_HOPS.iter().any(|hop| first(place, *hop, Echo::Reply).is_some()));
    let here = &evidence.places[usize::from(number)];
    let Some(came) = first(here, Hop::NetifIn, leg) else { return false };
    // What comes out of a tunnel was sent to this host alone, whatever the clocks show.
    let by_tunnel = evidence.seen_around(Side::Via(number)).is_some_and(|around| {
        let mut came =
            here.ports.iter().filter(|port| port.seen(Hop::NetifIn, leg).is_some_and(|seen| !seen.is_empty()));
        came.all(|port| around.tunnels.iter().any(|tunnel| tunnel.is_behind(&port.interface)))
    });
    let earlier = |other: &PlaceTrace| {
        if one_clock {
            first(other, Hop::NetifIn, leg).is_none_or(|first_ns| first_ns < came)
        } else {
            ttl(other).is_none_or(|of_other| ttl(here).is_some_and(|of_here| of_here < of_other))
        }
    };
    let mut others = evidence.places.iter().enumerate().filter(|(other, _)| *other != usize::from(number));
    let mut sent_on = false;
    let before = others.all(|(_, other)| {
        let exits = other.ports.iter().filter(|port| port.seen(Hop::Xmit, leg).is_some_and(|seen| !seen.is_empty()));
        let exits = exits.count();
        sent_on |= exits == 1;
        exits <= 1 && earlier(other)
    });
    let came_there = evidence.peer.as_ref().is_some_and(|peer| there && !peer.saw_nothing());
    (one_clock || by_tunnel) && before && sent_on && !answered && !came_there && evidence.sending.received.is_empty()
}

/// Returns the place that the probes are for, if nobody watches it as the far end.
fn target_of(evidence: &Evidence) -> impl Iterator<Item = u8> + '_ {
    let is_it = |place: &PlaceTrace| role(evidence, place) == PlaceRole::Target;
    (0..).zip(&evidence.places).filter(move |(_, place)| is_it(place)).map(|(number, _)| number)
}

/// Reports whether `side` is a place that the probes are for.
fn is_target(evidence: &Evidence, side: Side) -> bool {
    evidence.place(side).is_some_and(|place| role(evidence, place) == PlaceRole::Target)
}

/// Returns what a place in between is: the target where it has the target's address, or sends replies that never came
/// in.
pub(super) fn role(evidence: &Evidence, place: &PlaceTrace) -> PlaceRole {
    let target = evidence.target.address;
    // A rewritten address counts only if it is the place's own.
    let told = place.findings.iter().find_map(|finding| match finding {
        Finding::Address { address, own } if *own || *address == target => Some(*own),
        _ => None,
    });
    let passed = |hops: &[Hop], leg| {
        let seen = |hop: &Hop| place.ports.iter().any(|port| port.seen(*hop, leg).is_some_and(|seen| !seen.is_empty()));
        hops.iter().any(seen)
    };
    let answers = passed(&CROSSING_HOPS[..1], Echo::Request) && !passed(&CROSSING_HOPS[1..], Echo::Request);
    // What waits for a neighbour left by no interface yet, and is no longer for this host.
    let sends_on = || came_to(place, Hop::NfForwardFirst) && !came_to(place, Hop::NfInputFirst);
    let left = || passed(&CROSSING_HOPS[1..], Echo::Request);
    let forwards = passed(&CROSSING_HOPS[..1], Echo::Request) && (left() || sends_on());
    let answers = answers && passed(&CROSSING_HOPS[1..], Echo::Reply) && !passed(&CROSSING_HOPS[..1], Echo::Reply);
    // What is for everybody ends in every place that receives it.
    let group = explain::special::kind(target).is_some() || target_is_directed(evidence);
    let ended = passed(&CROSSING_HOPS[..1], Echo::Request) && !passed(&CROSSING_HOPS[1..], Echo::Request);
    let translated = ended && has_what_requests_are_for(place, target);
    match told {
        Some(true) if evidence.passes_by_the_peer() => PlaceRole::Target,
        Some(false) | None if group && ended && !evidence.two_sided() => PlaceRole::Target,
        _ if evidence.two_sided() => PlaceRole::Router,
        // Its address is rewritten there, and another place has the new one.
        Some(true) if forwards && !group => PlaceRole::Router,
        Some(true) => PlaceRole::Target,
        _ if translated => PlaceRole::Target,
        None if answers || evidence.one_way() => PlaceRole::Target,
        Some(false) | None => PlaceRole::Router,
    }
}

/// Reports whether requests came to that hook of a place.
fn came_to(place: &PlaceTrace, hook: Hop) -> bool {
    hooks::seen(place, hook, Echo::Request).is_some_and(|seen| !seen.is_empty())
}

/// Reports whether a place has the address to which a NAT on the way sent the requests that came in there.
fn has_what_requests_are_for(place: &PlaceTrace, target: IpAddr) -> bool {
    let seen = place.ports.iter().filter_map(|port| port.seen(Hop::NetifIn, Echo::Request));
    let mut others = seen.flat_map(|seen| seen.values()).filter_map(|passage| passage.destination);
    others.any(|other| other != target && has_address(place, other))
}

/// Reports whether a place has an address of the run.
fn has_address(place: &PlaceTrace, address: IpAddr) -> bool {
    place.findings.iter().any(|finding| matches!(finding, Finding::Holder(holder) if holder.has_here(address)))
}

/// Reports whether the target may be the broadcast address of a subnet: where it is on the link, IPv4 takes it for one.
fn target_is_directed(evidence: &Evidence) -> bool {
    matches!(evidence.target.address, IpAddr::V4(v4) if v4.octets()[3] == 255)
}

/// Reports whether every probe of which it is known that it came further passed here: others may take another way.
fn must_pass(evidence: &Evidence, leg: Echo, place: u8, hop: Hop, port: u8) -> bool {
    if port == ANY_PORT && !hooks::is_hook(hop) {
        return false;
    }
    let (seen, _) = seen_at(evidence, Side::Via(place), hop, port, leg);
    let read = evidence.sending.received.keys().copied();
    let arrived = evidence.peer.as_ref().filter(|_| leg == evidence.first_leg()).map(|peer| {
        let entries = [Hop::NetifIn, Hop::TcIn, Hop::NfPreroutingFirst].into_iter();
        entries.flat_map(|hop| probes(&peer.hop(hop), leg)).collect::<BTreeSet<u16>>()
    });
    read.chain(arrived.into_iter().flatten()).all(|probe| seen.contains(&probe))
}

/// Returns which probes a hop at an interface of a place saw on a leg, and why its silence says nothing where it does not.
pub(super) fn seen_at(
    evidence: &Evidence,
    side: Side,
    hop: Hop,
    port: u8,
    leg: Echo,
) -> (BTreeSet<u16>, Option<String>) {
    if let Some(place) = evidence.place(side).filter(|_| hooks::is_hook(hop)) {
        let seen = hooks::seen(place, hop, leg).map(|seen| seen.keys().copied().collect());
        return (seen.unwrap_or_default(), hooks::blind(place, hop));
    }
    let port = evidence.place(side).and_then(|place| place.ports.get(usize::from(port)));
    match port.and_then(|port| port.hops.get(&hop)) {
        Some(HopTrace::Blind { why }) => (BTreeSet::new(), Some(why.clone())),
        Some(trace) => (probes(trace, leg), None),
        None => (BTreeSet::new(), blind_at(evidence, side, hop)),
    }
}

/// Returns why no interface of a place shows whether packets passed this hop of it.
fn blind_at(evidence: &Evidence, side: Side, hop: Hop) -> Option<String> {
    let place = evidence.place(side)?;
    let at_port = place.ports.iter().find_map(|port| match port.hops.get(&hop) {
        Some(HopTrace::Blind { why }) => Some(why.clone()),
        _ => None,
    });
    let on_kernel = || match evidence.via(place)?.trace.hops.get(&hop) {
        Some(HopTrace::Blind { why }) => Some(why.clone()),
        _ => None,
    };
    at_port.or_else(on_kernel)
}

fn probes(trace: &HopTrace, leg: Echo) -> BTreeSet<u16> {
    trace.seen(leg).into_iter().flat_map(|seen| seen.keys().copied()).collect()
}

/// Returns where a packet can have died that came to `from` and not to `to`, one of which is in a place in between.
/// `far` is what lies behind the last watched place.
pub(super) fn spots(evidence: &Evidence, from: &PathStep, to: &PathStep, far: Whose) -> Vec<DropLocation> {
    let (here, there) = (from.checkpoint.host, to.checkpoint.host);
    let at = |side: Side, leg: Echo, places: &[DropPoint]| -> Vec<DropLocation> {
        places.iter().map(|place| DropLocation { leg, host: host_of(side), place: *place }).collect()
    };
    if here == there
        && let Some((from_hop, to_hop)) = hop(from).zip(hop(to))
    {
        if from.leg != to.leg {
            let asked = at(here, from.leg, &through::taken_in(from_hop));
            return [asked, at(here, to.leg, &through::sent_back(to_hop))].concat();
        }
        return at(here, to.leg, &through::inside(from_hop, to_hop, hooks::saw_none(evidence, here, to.leg)));
    }
    // What is for a group ends in every host that takes it in, and each may answer.
    let both_ends = || [here, there].iter().all(|side| is_target(evidence, *side));
    if from.leg != to.leg
        && both_ends()
        && let Some((from_hop, to_hop)) = hop(from).zip(hop(to))
    {
        let asked = at(here, from.leg, &through::taken_in(from_hop));
        return [asked, at(there, to.leg, &through::sent_back(to_hop))].concat();
    }
    let mut spots = hop(from).map_or_else(Vec::new, |hop| at(here, from.leg, &through::out_of(hop)));
    let into_place = matches!(to.checkpoint.station, Station::Port(..));
    let watched = far == Whose::Network || into_place || from.leg == to.leg;
    let network = if watched { Whose::Network } else { far };
    let leg = if watched { to.leg } else { from.leg };
    // What a device was handed has left its queue.
    let queued = hop(from).is_some_and(|hop| hop != Hop::Xmit);
    spots.extend(at(here, from.leg, if queued { &[Qdisc, DriverOut] } else { &[DriverOut] }));
    spots.push(DropLocation { leg, host: network, place: Network });
    // XDP of a driver runs before the first hop of a place in between.
    spots.extend(at(there, to.leg, if into_place { &[DriverIn, Xdp] } else { &[DriverIn] }));
    if let Some(to_hop) = hop(to).filter(|hop| *hop != Hop::NetifIn) {
        spots.extend(at(there, to.leg, &through::inside(Hop::NetifIn, to_hop, false)));
    }
    spots
}

/// Returns the hop of a step in a place in between.
fn hop(step: &PathStep) -> Option<Hop> {
    match step.checkpoint.station {
        Station::Port(hop, _) => Some(hop),
        Station::Send | Station::Hop(_) | Station::Recv | Station::Encap | Station::Decap => None,
    }
}
