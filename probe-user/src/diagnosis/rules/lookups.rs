//! Rules about what was looked up: settings, routes, counters, neighbours, devices, programs, chains.

use probe_ebpf::Echo;
use std::net::IpAddr;

use super::{Ruling, Weight, limits};
use crate::{
    diagnosis::{
        Evidence,
        document::{Cause, SettingSaid, Witness},
        ledger::Gap,
        path::Side,
        places::{DropLocation, DropPoint},
    },
    model::{
        netfilter::TableFamily,
        trace::{Drop, Finding, NeighbourHop, NeighbourKind},
    },
};

/// Returns every finding with its host.
fn findings(evidence: &Evidence) -> impl Iterator<Item = (Side, &Finding)> {
    evidence.sides().flat_map(|side| evidence.findings(side).map(move |finding| (side, finding)))
}

/// Judges a gap in which probe's own filter sits, and counted drops of this run's packets.
pub(super) fn own_filter(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    findings(evidence).find_map(|(side, finding)| {
        let Finding::Program { at, who, probe_filter: true, dropped } = finding else { return None };
        let spot = gap.spot(side, DropPoint::of(*at)?)?;
        let cause = Cause { reason: Some("PROBE_FILTER".into()), program: Some(who.clone()), ..Cause::default() };
        let counted = (*dropped > 0).then_some(Witness::DeviceCounter)?;
        Ruling::at(vec![spot], cause, counted, Weight::Direct)
    })
}

/// Judges a gap in which another program sits.
pub(super) fn program(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    findings(evidence).find_map(|(side, finding)| {
        let Finding::Program { at, who, probe_filter: false, .. } = finding else { return None };
        let spot = gap.spot(side, DropPoint::of(*at)?)?;
        let cause = Cause { program: Some(who.clone()), ..Cause::default() };
        Some(Ruling { spots: vec![spot], cause, witness: None, weight: Weight::Suggests })
    })
}

/// Judges a gap with a device of the way that has no carrier, or is down.
pub(super) fn link(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    findings(evidence).find_map(|(side, finding)| {
        let Finding::Link { interface, up, carrier: false } = finding else { return None };
        let (state, word) = if *up { ("NO-CARRIER", "has no carrier") } else { ("DOWN", "is down") };
        let outwards = [DropPoint::DriverOut, DropPoint::Qdisc, DropPoint::Neighbour, DropPoint::Call];
        let leaves = outwards.into_iter().find_map(|place| gap.spot(side, place));
        let spot = leaves.map(|found| DropLocation { place: DropPoint::DriverOut, ..found });
        // Without a carrier the cable or its other end is at fault.
        let spot = spot.or_else(|| gap.spot(side, DropPoint::DriverIn).filter(|_| !*up))?;
        let cause = Cause {
            reason: Some(gap.errno(evidence).unwrap_or(state).to_owned()),
            detail: Some(format!("{interface} {word}")),
            ..Cause::default()
        };
        // What leaves goes nowhere else; what comes in may have come by another device with the same address.
        let weight = if leaves.is_some() { Weight::Explains } else { Weight::Suggests };
        Ruling::at(vec![spot], cause, Witness::DeviceCounter, weight)
    })
}

/// Judges packets that never came to a device that is up but has no carrier: the cable or its other end is at fault.
pub(super) fn no_carrier_there(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    findings(evidence).find_map(|(side, finding)| {
        let Finding::Link { interface, up: true, carrier: false } = finding else { return None };
        gap.spot(side, DropPoint::DriverIn)?;
        let detail = Some(format!("{interface} of {} has no carrier", evidence.name(side)));
        let cause = Cause { reason: Some("NO-CARRIER".into()), detail, ..Cause::default() };
        Ruling::at(gap.spots_at(&[DropPoint::Network]), cause, Witness::DeviceCounter, Weight::Explains)
    })
}

/// Judges packets that never came to a far end which does not have the address they are for: another host's, or
/// removed.
pub(super) fn address(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let network = gap.spots_at(&[DropPoint::Network]);
    let target = evidence.target.address;
    let foreign = |finding: &Finding| matches!(finding, Finding::Address { address, own: false } if *address == target);
    let arrives = gap.first_missing.host == Side::Peer && evidence.two_sided();
    if !arrives || !evidence.findings(Side::Peer).any(foreign) {
        return None;
    }
    let detail = Some(format!("{target} is not an address of {}", evidence.name(Side::Peer)));
    let cause = Cause { reason: Some("EADDRNOTAVAIL".into()), detail, ..Cause::default() };
    Ruling::at(network, cause, Witness::Errno, Weight::Explains)
}

/// Judges a gap in which a setting drops echo requests without a trace.
pub(super) fn setting(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    findings(evidence).find_map(|(side, finding)| {
        let Finding::Setting { path, value } = finding else { return None };
        let spot = gap.spot(side, DropPoint::Answer)?;
        ends_requests(path, value, evidence.target.address).then_some(())?;
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        let cause = Cause { reason: Some(name), setting: Some(said(path, value)), ..Cause::default() };
        Ruling::at(vec![spot], cause, Witness::Sysctl, Weight::Explains)
    })
}

fn said(path: &str, value: &str) -> SettingSaid {
    SettingSaid { path: path.to_owned(), value: value.to_owned() }
}

/// Reports whether the kernel with this setting leaves requests to `target` unanswered (`icmp_echo`,
/// `icmpv6_echo_reply`).
fn ends_requests(path: &str, value: &str, target: IpAddr) -> bool {
    let on = !matches!(value.trim(), "" | "0");
    on && match (path, target) {
        ("net/ipv4/icmp_echo_ignore_all", IpAddr::V4(_)) | ("net/ipv6/icmp/echo_ignore_all", IpAddr::V6(_)) => true,
        ("net/ipv4/icmp_echo_ignore_broadcasts", IpAddr::V4(target)) => {
            target.is_multicast() || target.is_broadcast() || target.octets()[3] == 255
        }
        ("net/ipv6/icmp/echo_ignore_multicast", IpAddr::V6(target)) => target.is_multicast(),
        ("net/ipv6/icmp/echo_ignore_anycast", IpAddr::V6(target)) => !target.is_multicast(),
        _ => false,
    }
}

/// Judges a gap where a route look-up was refused: the sender's to the target, or the far end's back.
pub(super) fn route(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    findings(evidence).find_map(|(side, finding)| {
        let Finding::Route { to, errno: Some(errno), .. } = finding else { return None };
        let spot = gap.spot(side, DropPoint::RouteBack).or_else(|| gap.spot(side, DropPoint::Call));
        let spot = spot.or_else(|| gap.spot(side, DropPoint::RouteIn).filter(|spot| forwards(*spot, *to, evidence)))?;
        let detail = Some(format!("no route to {to}"));
        let cause = Cause { reason: Some(errno.clone()), detail, ..Cause::default() };
        Ruling::at(vec![spot], cause, Witness::Errno, Weight::Explains)
    })
}

/// Reports whether a router in between had to send what died at `spot` to that address.
fn forwards(spot: DropLocation, to: IpAddr, evidence: &Evidence) -> bool {
    let end = if spot.leg == Echo::Request { Some(evidence.target.address) } else { evidence.local.host.address };
    matches!(spot.side(), Some(Side::Via(_))) && end == Some(to)
}

/// Returns what was looked up if a router in between freed `drop` in its routing: forwarding that is off, strict
/// reverse path filtering, or a route that leads nowhere.
pub(super) fn why_unrouted(cause: Cause, drop: &Drop, spot: DropLocation, evidence: &Evidence) -> Cause {
    let Some(side) = spot.side() else { return cause };
    if drop.reason == "IP_LOCAL_SOURCE" {
        let detail = Some(format!("their source {} is an address of {} itself", drop.source, evidence.name(side)));
        return Cause { detail, ..cause };
    }
    if !matches!(side, Side::Via(_)) || evidence.misled(side, drop.destination).is_some() {
        return cause;
    }
    let setting = |fits: &dyn Fn(&str, &str) -> bool| {
        evidence.findings(side).find_map(|finding| match finding {
            Finding::Setting { path, value } if fits(path, value.trim()) => Some(said(path, value)),
            _ => None,
        })
    };
    let came_by = |path: &str, name: &str| {
        let at = |interface: &str| path.ends_with(&format!("/conf/{interface}/{name}"));
        at("all") || drop.interface.as_deref().is_some_and(at)
    };
    if drop.reason == "IP_RPFILTER" {
        let strict = setting(&|path, value| value == "1" && came_by(path, "rp_filter"));
        return Cause { setting: strict, ..cause };
    }
    let refused = ["IP_INVALID_SOURCE", "IP_INVALID_DEST", "IP_LOCALNET", "UNICAST_IN_L2_MULTICAST"];
    let expired = matches!(drop.reason.as_str(), "IP_INHDR" | "PKT_TOO_BIG") || refused.contains(&drop.reason.as_str());
    let off = |path: &str, value: &str| {
        let v4 = path == "net/ipv4/ip_forward" || came_by(path, "forwarding") && path.starts_with("net/ipv4");
        value == "0" && if evidence.is_v6() { path == "net/ipv6/conf/all/forwarding" } else { v4 }
    };
    if let Some(off) = setting(&off).filter(|_| !expired) {
        return Cause { setting: Some(off), ..cause };
    }
    let unrouted = evidence.findings(side).find_map(|finding| match finding {
        Finding::Route { to, errno: Some(errno), .. } if *to == drop.destination => Some((to, errno)),
        _ => None,
    });
    let Some((to, errno)) = unrouted.filter(|_| !expired) else { return cause };
    let what = match errno.as_str() {
        "EINVAL" => "a blackhole route",
        "EACCES" => "a prohibit route",
        "EHOSTUNREACH" => "an unreachable route",
        _ => "no route",
    };
    Cause { detail: Some(format!("{what} to {to}")), ..cause }
}

/// What a counter of the kernel counts (`/proc/net/{snmp,snmp6,netstat}`), by how its name begins and ends.
const COUNTERS: &[(&str, &str, DropPoint)] = &[
    ("Icmp", "OutRateLimitHost", DropPoint::RateLimit),
    ("Icmp", "OutRateLimitGlobal", DropPoint::RateLimit),
    // The kernel's ICMP socket had no room: answers, also of other namespaces, wait in a queue (`icmp_push_reply`).
    ("Icmp", "OutErrors", DropPoint::RateLimit),
    ("Icmp", "InCsumErrors", DropPoint::Icmp),
    ("Ip", "ReasmFails", DropPoint::Reassembly),
    ("Ip", "ReasmTimeout", DropPoint::Reassembly),
    ("Ip", "ReasmReqds", DropPoint::Reassembly),
    ("", "IPReversePathFilter", DropPoint::RouteIn),
    ("Ip", "InCsumErrors", DropPoint::IpHeader),
    ("Ip", "InHdrErrors", DropPoint::IpHeader),
    ("Ip", "InTruncatedPkts", DropPoint::IpHeader),
    ("Ip", "InAddrErrors", DropPoint::RouteIn),
    ("Ip", "InNoRoutes", DropPoint::RouteIn),
    ("Ip", "OutNoRoutes", DropPoint::RouteBack),
    ("Ip", "FragFails", DropPoint::FragmentOut),
    ("Xfrm.Out", "", DropPoint::RouteBack),
    ("Xfrm.Out", "", DropPoint::FragmentOut),
    ("Xfrm.Acquire", "", DropPoint::FragmentOut),
    ("Xfrm.In", "", DropPoint::Icmp),
    ("Xfrm.In", "", DropPoint::RouteIn),
    ("Xfrm.Fwd", "", DropPoint::RouteIn),
    ("raw", ".drops", DropPoint::SocketBuffer),
    ("icmp", ".drops", DropPoint::SocketBuffer),
    ("ping", ".drops", DropPoint::SocketBuffer),
    // Not lost yet: it lets packets go too slowly.
    ("", ".queued", DropPoint::Qdisc),
    ("", ".rx_dropped", DropPoint::DriverIn),
    ("", ".rx_missed_errors", DropPoint::DriverIn),
    ("", ".rx_errors", DropPoint::DriverIn),
    ("", ".tx_dropped", DropPoint::DriverOut),
    ("", ".tx_errors", DropPoint::DriverOut),
];

/// Judges a gap by a counter that rose at least as often as packets are missing.
pub(super) fn counter(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let missing = gap.probes.len() as u64;
    findings(evidence).find_map(|(side, finding)| {
        let Finding::Counter { name, by } = finding else { return None };
        let fits = |(begin, end, _): &&(&str, &str, DropPoint)| name.starts_with(begin) && name.ends_with(end);
        let places = COUNTERS.iter().filter(fits).map(|(.., place)| *place);
        let (place, spot) = places.filter_map(|place| Some((place, gap.spot(side, place)?))).next()?;
        // Of a namespace that was only looked into, the setting says more.
        let limited = || limits::of_replies(gap, evidence).is_some();
        if matches!(side, Side::Via(_)) && place == DropPoint::RateLimit && limited() {
            return None;
        }
        if *by < missing || (place == DropPoint::Reassembly && reassembled(evidence, side) >= missing) {
            return None;
        }
        let detail = Some(format!("{name} rose by {by}"));
        let cause = Cause { reason: Some(name.clone()), detail, ..Cause::default() };
        Ruling::at(vec![spot], cause, Witness::DeviceCounter, weight_of(place))
    })
}

/// Counters of devices and of IP headers count whatever packets there are; the others are about ICMP or rare.
fn weight_of(place: DropPoint) -> Weight {
    match place {
        DropPoint::DriverIn | DropPoint::DriverOut | DropPoint::IpHeader => Weight::Suggests,
        _ => Weight::Explains,
    }
}

fn reassembled(evidence: &Evidence, side: Side) -> u64 {
    let whole = evidence.findings(side).filter_map(|finding| match finding {
        Finding::Counter { name, by } if name.ends_with("ReasmOKs") => Some(*by),
        _ => None,
    });
    whole.sum()
}

/// Judges a gap in which nobody answers for the next hop.
pub(super) fn neighbour(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    findings(evidence).find_map(|(side, finding)| {
        let Finding::Neighbour { address, interface, state, .. } = finding else { return None };
        let spot = gap.spot(side, DropPoint::Neighbour)?;
        matches!(state.as_str(), "INCOMPLETE" | "FAILED" | "NONE").then_some(())?;
        let detail = Some(format!("{address} on {interface} is {state}"));
        let cause = Cause { reason: Some(format!("NEIGH_{state}")), detail, ..Cause::default() };
        Ruling::at(vec![spot], cause, Witness::DeviceCounter, Weight::Explains)
    })
}

/// Judges a gap in which the host asked for a next hop, and nobody answered: even if that is another one than a plain
/// look-up says.
pub(super) fn asked_in_vain(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let side = gap.last_seen.host;
    let spot = gap.spot(side, DropPoint::Neighbour)?;
    let packets = evidence.neighbour_packets(side);
    let asked = packets.iter().find(|packet| {
        let answered = packets.iter().any(|other| {
            (other.kind, other.hop, other.about) == (NeighbourKind::Answers, NeighbourHop::In, packet.about)
        });
        (packet.kind, packet.hop) == (NeighbourKind::Asks, NeighbourHop::Out) && !answered
    })?;
    let device = asked.interface.as_deref().unwrap_or("a device");
    let detail = Some(format!("{} was asked for on {device}, and nobody answered", asked.about));
    let cause = Cause { reason: Some("NEIGH_INCOMPLETE".to_owned()), detail, ..Cause::default() };
    Ruling::at(vec![spot], cause, Witness::DeviceCounter, Weight::Explains)
}

/// Judges a gap with a chain that can drop.
pub(super) fn chain(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let spots: Vec<DropLocation> = gap
        .spots
        .iter()
        .filter(|spot| {
            let of_hook = |(side, finding): (Side, &Finding)| match finding {
                Finding::Chain { family, hook, can_drop: true, .. } if *family != TableFamily::Arp => {
                    spot.side() == Some(side) && spot.place.hook() == Some(*hook)
                }
                _ => false,
            };
            findings(evidence).any(of_hook)
        })
        .copied()
        .collect();
    (!spots.is_empty()).then_some(Ruling { spots, cause: Cause::default(), witness: None, weight: Weight::Suggests })
}

/// Judges a gap with strict reverse path filtering.
pub(super) fn reverse_path(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    findings(evidence).find_map(|(side, finding)| {
        let Finding::Setting { path, value } = finding else { return None };
        let spot = gap.spot(side, DropPoint::RouteIn)?;
        (path.ends_with("/rp_filter") && value.trim() == "1").then_some(())?;
        let cause = Cause { reason: Some("rp_filter".into()), setting: Some(said(path, value)), ..Cause::default() };
        Ruling::at(vec![spot], cause, Witness::Sysctl, Weight::Suggests)
    })
}

/// Judges requests that the far kernel's ICMP took, if no setting keeps it from answering and no answer was made.
pub(super) fn wanted_answer(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let answers = gap.spots_at(&[DropPoint::Answer]);
    let side = answers.first()?.side()?;
    let told = evidence.findings(side).any(|finding| match finding {
        Finding::Setting { path, value } => path.ends_with("echo_ignore_all") && value.trim() == "0",
        _ => false,
    });
    let icmp_had_it = gap.last_seen.station == crate::diagnosis::path::Station::Hop(probe_ebpf::Hop::IcmpIn);
    let routed = evidence.findings(side).any(|finding| matches!(finding, Finding::Route { errno: None, .. }));
    if !told || !icmp_had_it {
        return None;
    }
    let mut spots = gap.spots_at(&[DropPoint::RateLimit]);
    if !routed {
        spots.extend(gap.spots_at(&[DropPoint::RouteBack]));
    }
    (!spots.is_empty()).then_some(Ruling { spots, cause: Cause::default(), witness: None, weight: Weight::Suggests })
}
