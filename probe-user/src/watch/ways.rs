//! Which way the packets of a run take out of a place in between, by exactly the key that they have there: after what a
//! NAT rewrote, and from where they came in.

use std::net::IpAddr;

use probe_ebpf::{Echo, Hop};

use crate::{
    host::{
        neighbour, or_log,
        policy::{self, RouteKey},
    },
    model::trace::{Finding, NextHopFacts, PlaceTrace, RouteChoice, RoutePurpose},
};

/// How many keys with marks routing is asked with at most.
const MOST_MARKED: usize = 8;

/// How packets of one leg are routed in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RoutedLeg {
    /// The leg.
    pub(super) leg: Echo,
    /// What routing knows of them.
    pub(super) key: RouteKey,
}

/// Returns how the packets of each leg are routed in `place`, as they left the prerouting hook; nothing for a leg that
/// was not seen there. `tos` is the TOS byte that they have, `name` the name of an interface.
pub(super) fn of(place: &PlaceTrace, tos: u8, mut name: impl FnMut(u32) -> String) -> Vec<RoutedLeg> {
    let Some(hooks) = &place.hooks else { return Vec::new() };
    let mut legs = Vec::new();
    for leg in [Echo::Request, Echo::Reply] {
        let seen = hooks.hops.get(&Hop::NfPreroutingLast).and_then(|hop| hop.seen(leg));
        let Some(passage) = seen.and_then(|seen| seen.values().next()) else { continue };
        let Some((from, to)) = passage.source.zip(passage.destination) else { continue };
        let came_by = name(passage.ifindex);
        legs.push(RoutedLeg { leg, key: RouteKey { tos, ..RouteKey::forwarded(from, to, 0, &came_by) } });
    }
    legs
}

/// Returns which rule and route each of them meets in the calling thread's network namespace, and which neighbour that
/// asks for.
pub(super) fn out(legs: &[RoutedLeg]) -> Vec<(Finding, Option<NextHopFacts>)> {
    let keys: Vec<_> = legs.iter().map(|leg| (leg.key.clone(), RoutePurpose::Way)).collect();
    let with_hop = |finding: Finding| match finding {
        Finding::Routing(choice) => {
            let hop = hop(&choice);
            (Finding::Routing(choice), hop)
        }
        other => (other, None),
    };
    policy::choices(&keys).into_iter().map(with_hop).collect()
}

/// Returns what to ask routing with about these packets, and about those that a host makes for `sender` with the address that it
/// answers by, with each mark that a rule of the calling thread's network namespace chooses by.
pub(super) fn marked(
    legs: &[RoutedLeg],
    answers: Option<(IpAddr, IpAddr)>,
    tos: u8,
    of: IpAddr,
) -> Vec<(RouteKey, RoutePurpose)> {
    let marks = or_log("marks", policy::marks(of)).unwrap_or_default();
    let keys = legs.iter().map(|leg| leg.key.clone());
    let keys: Vec<RouteKey> =
        keys.chain(answers.map(|(own, sender)| RouteKey { tos, ..RouteKey::sent(Some(own), sender, 0) })).collect();
    let with = |mark: u32| keys.iter().map(move |key| (RouteKey { mark, ..key.clone() }, RoutePurpose::Marked));
    marks.into_iter().flat_map(with).take(MOST_MARKED).collect()
}

/// Returns the neighbour that a route asks for, if it leads on.
fn hop(choice: &RouteChoice) -> Option<NextHopFacts> {
    let interface = choice.interface.clone().filter(|name| choice.ends.is_none() && name != "lo")?;
    let route = choice.route.split(' ').next().filter(|word| !word.is_empty() && *word != "local")?.to_owned();
    let whole = if choice.to.is_ipv4() { 32 } else { 128 };
    let prefix = match route.split_once('/') {
        Some((_, bits)) => bits.parse().unwrap_or(whole),
        None if route == "default" => 0,
        None => whole,
    };
    let next = choice.gateway.unwrap_or(choice.to);
    Some(NextHopFacts { to: choice.to, next, interface, route, prefix, instead: None, redirected_from: None })
}

/// Returns the destination of requests in a place, after what rewrote it on the way or there; `None` if it is as it was sent.
pub(super) fn asked_for(place: &PlaceTrace) -> Option<IpAddr> {
    let at_hook = |hop: Hop| {
        let seen = place.hooks.as_ref()?.hops.get(&hop)?.seen(Echo::Request)?;
        seen.values().next().map(|passage| passage.destination)
    };
    let at_port = || {
        let mut seen = place.ports.iter().filter_map(|port| port.seen(Hop::NetifIn, Echo::Request)?.values().next());
        seen.find_map(|passage| passage.destination)
    };
    match at_hook(Hop::NfPreroutingLast) {
        Some(told) => told,
        None => at_port(),
    }
}

/// Makes the kernel look once more for the neighbours that these ask for and have not found; returns their addresses.
pub(super) fn look_for(legs: &[RoutedLeg]) -> Vec<IpAddr> {
    let hops = out(legs).into_iter().filter_map(|(_, hop)| hop);
    hops.filter_map(|hop| neighbour::look_for_at(hop.next, &hop.interface)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(route: &str, gateway: Option<[u8; 4]>, ends: Option<&str>) -> RouteChoice {
        RouteChoice {
            purpose: RoutePurpose::Way,
            from: None,
            to: [10, 91, 0, 77].into(),
            mark: 0,
            rule: "100: from all lookup 77".into(),
            table: "77".into(),
            route: route.into(),
            ends: ends.map(str::to_owned),
            interface: Some("eth0".into()),
            gateway: gateway.map(IpAddr::from),
            key: String::new(),
            passed_over: None,
        }
    }

    #[test]
    fn a_route_asks_for_its_gateway_or_for_the_end_itself() {
        let by = |route: &str, gateway| hop(&choice(route, gateway, None)).expect("a next hop");
        let on_link = by("10.91.0.0/24 dev eth0", None);
        assert_eq!((on_link.next, on_link.prefix), ([10, 91, 0, 77].into(), 24));
        let gateway = by("default via 10.91.0.66 dev eth0", Some([10, 91, 0, 66]));
        assert_eq!((gateway.next, gateway.prefix, gateway.route.as_str()), ([10, 91, 0, 66].into(), 0, "default"));
    }

    #[test]
    fn a_route_that_ends_packets_or_keeps_them_asks_for_nobody() {
        assert_eq!(hop(&choice("blackhole default", None, Some("blackhole"))), None);
        assert_eq!(hop(&choice("local 10.91.0.77 dev lo", None, None)), None);
    }
}
