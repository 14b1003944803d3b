//! Answers whose next hop is looked for on another link than the one that their requests came from.

use super::{
    Told,
    search::Search,
    words::{ip, net_of, questions},
};
use crate::{
    diagnosis::{Evidence, path::Side, resolution::NeighbourFinding as Found, sysctl},
    model::{
        prefix::shares,
        trace::{Finding, NextHopFacts},
    },
};
use probe_ebpf::{Echo, Hop};

/// Recognizes that the network of another device covers the address that requests came from, so that it is asked for
/// there.
pub(super) fn told(search: &Search<'_>, owner: Option<String>) -> Option<Told> {
    let came = came_by(search)?;
    let route =
        search.route(search.asker).filter(|route| route.next == route.to && route.interface == search.interface)?;
    let (name, interface, address) = (search.asker_name(), &route.interface, search.address);
    let net = search.own().and_then(|own| Some(net_of(own.address?, own.prefix)));
    let own = net.as_ref().map(|net| format!(" ({net})")).unwrap_or_default();
    let mut clause = format!(
        "the requests came in to {name} by {came}, and its route {} says that {address} is on the link of {interface}{own}, where \
         {} went out and nobody answered",
        route.route,
        questions(address, search.asked())
    );
    if let Some(owner) = owner {
        clause.push_str(&format!("; {owner} has it"));
    }
    let connected =
        search.own().is_some_and(|own| own.address.is_some_and(|own_address| shares(own_address, address, own.prefix)));
    let meaning = if connected || own.is_empty() {
        format!(
            "Two networks have the same addresses: the one of {interface}, and the one behind {came} from which the \
             requests came. One of the two needs other addresses; until then a route to {address} alone, through \
             {came}, helps."
        )
    } else {
        format!(
            "The route {} leads to {interface}, and {address} is behind {came}, from which the requests came.",
            route.route
        )
    };
    let mut commands = Vec::new();
    if !connected && !own.is_empty() {
        let del = format!("{} route del {} dev {interface}", ip(address), route.route);
        commands.push(search.command(search.asker, del));
    }
    commands.extend(mend(search, route, &came).map(|mend| search.command(search.asker, mend)));
    commands.push(search.command(search.asker, format!("{} addr show dev {interface}", ip(address))));
    commands.push(search.command(search.asker, format!("{} route get {address}", ip(address))));
    Some(Told::new(Found::NetElsewhere, clause, meaning, commands))
}

/// Returns the route that leads back to where the requests came from.
fn mend(search: &Search<'_>, route: &NextHopFacts, came: &str) -> Option<String> {
    let bits = if search.address.is_ipv4() { 32 } else { 128 };
    let other = route.instead.as_ref().filter(|other| other.interface == came)?;
    Some(format!("{} route add {}/{bits} via {} dev {came}", ip(search.address), search.address, other.gateway))
}

/// Returns the device by which the requests came in whose answers wait for the next hop, if that is looked for on a
/// device by which none came in.
pub(super) fn came_by(search: &Search<'_>) -> Option<String> {
    let evidence = search.evidence;
    let answers = evidence.local.host.address == Some(search.end) && search.asker != Side::Local;
    let devices = if answers { came_in(evidence, search.asker, evidence.first_leg()) } else { return None };
    if devices.iter().any(|device| *device == search.interface) {
        return None;
    }
    let is_port = |device: &&&str| search.device(search.asker, device).is_some_and(|facts| facts.master.is_some());
    devices.iter().find(|device| !is_port(device)).or(devices.first()).map(|device| (*device).to_owned())
}

/// Returns the devices by which packets of a leg came into `side`.
fn came_in(evidence: &Evidence, side: Side, leg: Echo) -> Vec<&str> {
    match evidence.place(side) {
        Some(place) => {
            let seen =
                place.ports.iter().filter(|port| port.seen(Hop::NetifIn, leg).is_some_and(|seen| !seen.is_empty()));
            seen.map(|port| port.interface.as_str()).collect()
        }
        None => vec![evidence.crossed(side, leg, true)],
    }
}

/// Recognizes a host that asks nobody, as it is configured to.
pub(super) fn asks_nobody(search: &Search<'_>) -> Option<Told> {
    (search.asked() == 0).then_some(())?;
    let family = if search.address.is_ipv4() { "ipv4" } else { "ipv6" };
    let value = |name: &str| {
        let wanted = format!("net/{family}/neigh/{}/{name}", search.interface);
        search.evidence.findings(search.asker).find_map(|finding| match finding {
            Finding::Setting { path, value } if *path == wanted => {
                Some((path.clone(), value.trim().parse::<u32>().ok()?))
            }
            _ => None,
        })
    };
    let (path, none) = value("mcast_solicit").filter(|(_, count)| *count == 0)?;
    let dotted = sysctl::name(&path);
    let clause =
        format!("{} asks nobody for {} on {}: {dotted}={none}", search.asker_name(), search.address, search.interface);
    let by_program = value("app_solicit").filter(|(_, count)| *count > 0).is_some();
    let meaning = if by_program {
        "A program is meant to find neighbours in the kernel's place (app_solicit), and did not."
    } else {
        "The setting says how often the kernel asks for a neighbour that it does not know: never."
    };
    let told = Told::new(
        Found::AsksNobody,
        clause,
        meaning,
        vec![search.command(search.asker, format!("sysctl -w {dotted}=3"))],
    );
    Some(Told { setting: Some(crate::diagnosis::document::SettingSaid { path, value: none.to_string() }), ..told })
}
