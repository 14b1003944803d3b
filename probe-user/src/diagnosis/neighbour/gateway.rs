//! The gateway of a route that does not answer: it is gone, on another link, one of several, or answered for by others.

use std::net::IpAddr;

use super::{
    Told,
    search::Search,
    way_back,
    words::{hearers, ip, net_of, question, questions},
};
use crate::{
    diagnosis::{document::Command, resolution::NeighbourFinding as Found, sysctl},
    model::{
        prefix::{is_link_local, shares},
        trace::{Finding, RouteChoice},
    },
};

/// Recognizes that the gateway of the route does not answer.
pub(super) fn told(search: &Search<'_>) -> Option<Told> {
    let choice = search.evidence.findings(search.asker).find_map(|finding| match finding {
        Finding::Routing(choice) if choice.gateway == Some(search.address) && choice.to == search.end => Some(choice),
        _ => None,
    });
    let chosen = choice.and_then(|choice| choice.route.split(' ').next()).filter(|word| !word.is_empty());
    let route = search.route(search.asker)?;
    let plain = route.next == search.address;
    if route.next == route.to && plain || !plain && chosen.is_none() {
        return None;
    }
    let (gateway, interface) = (search.address, &search.interface);
    let table = choice.map(|choice| choice.table.as_str()).filter(|table| !matches!(*table, "" | "main"));
    let of_table = table.map(|table| format!(" table {table}")).unwrap_or_default();
    let written = if plain { route.route.as_str() } else { chosen.unwrap_or_default() };
    let mut clause = unanswered(search, written, table);
    if let Some(choice) = choice.filter(|choice| !plain && !choice.rule.is_empty()) {
        let mark = if choice.mark == 0 { String::new() } else { format!(" (they have the mark {:#x})", choice.mark) };
        clause.push_str(&format!("; rule \"{}\" leads there{mark}", choice.rule));
    }
    if let Some(came) = way_back::came_by(search) {
        clause.push_str(&format!("; the requests came in by {came}"));
    }
    if let Some(own) = &route.redirected_from {
        clause.push_str(&format!("; the route itself has {own}, and an ICMP redirect put {gateway} in its place"));
    }
    let own = search.own().and_then(|own| Some((own.address?, own.prefix)));
    let outside =
        own.filter(|(own, bits)| !gateway.is_loopback() && !shares(*own, gateway, *bits) && !is_link_local(gateway));
    if let Some((own, bits)) = outside {
        clause.push_str(&format!("; it is not in the network of {interface}, {}", net_of(own, bits)));
    }
    let misplaced = search.on_other_link();
    let proxy = not_for_others(search).filter(|_| misplaced.is_none());
    let others: Vec<String> = hearers(search);
    if let Some(proxy) = &proxy {
        clause.push_str(&format!("; {}", proxy.clause));
    } else if !others.is_empty() {
        clause.push_str(&format!(
            "; {} heard them and {} not have it",
            others.join(", "),
            if others.len() == 1 { "does" } else { "do" }
        ));
    }
    // A route of IPv4 may have a gateway of IPv6 (RFC 8950).
    let (ip, by) = (ip(gateway), ip(search.end));
    let via = if gateway.is_ipv4() == search.end.is_ipv4() { "via" } else { "via inet6" };
    let mut commands = vec![search.command(search.asker, format!("{ip} neigh show {gateway} dev {interface}"))];
    let redirected = route.redirected_from.is_some();
    let siblings = choice.map(|choice| siblings(choice, gateway)).unwrap_or_default();
    if redirected {
        commands.insert(0, search.command(search.asker, format!("{by} route flush cache")));
    }
    let lone = proxy.is_none() && siblings.is_empty() && misplaced.is_none();
    let meaning = match route.instead.as_ref().filter(|_| plain && !redirected && lone) {
        Some(other) => {
            let known = other
                .state
                .as_deref()
                .filter(|state| matches!(*state, "REACHABLE" | "STALE" | "DELAY" | "PROBE" | "PERMANENT"));
            let of = known.map(|state| format!(", whose entry is {state}")).unwrap_or_default();
            clause.push_str(&format!(
                "; another route {} leads by {} on {}{of}",
                other.route, other.gateway, other.interface
            ));
            let del = format!("{by} route del {} {via} {gateway} dev {interface}{of_table}", route.route);
            commands.insert(0, search.command(search.asker, del));
            let try_it = format!("ping -c 1 {}", other.gateway);
            commands.insert(1, search.command(search.asker, try_it));
            "The preferred gateway is down, or was never there; the kernel does not switch to the other route by \
             itself."
        }
        None if redirected => {
            "A router once said that the other gateway is better (ICMP redirect), and that one is gone."
        }
        None => "The gateway is down, or its address is wrong.",
    };
    let mut meaning = meaning.to_owned();
    if let Some((device, own)) = misplaced {
        clause.push_str(&format!("; it is in the network of {device}, {own}"));
        meaning = format!("The route leads by {interface}, and its gateway is on the link of {device}.");
        let mend = format!("{by} route replace {written} {via} {gateway} dev {device}{of_table}");
        commands.insert(0, search.command(search.asker, mend));
    } else if let Some(proxy) = proxy {
        meaning = PROXIED.to_owned();
        commands.splice(0..0, proxy.commands);
    } else if let Some(first) = siblings.first() {
        clause.push_str(&one_of(&siblings));
        meaning = "The kernel shares packets among next hops by their addresses, and goes on using one that is down, so that \
                   packets between other addresses may pass."
            .to_owned();
        commands.insert(0, search.command(search.asker, format!("{by} route replace {written} {first}{of_table}")));
    } else if outside.is_some() && others.is_empty() && gateway.is_ipv4() {
        meaning = PROXIED.to_owned();
    }
    commands.push(search.command(search.asker, format!("{by} route show{of_table} {written}")));
    Some(Told::new(Found::GatewayGone, clause, meaning, commands))
}

/// Says that the gateway of a route, which is in `table` if that is not main, gave no answer.
fn unanswered(search: &Search<'_>, written: &str, table: Option<&str>) -> String {
    let gateway = search.address;
    format!(
        "the gateway {gateway} of {}'s route {} on {} {}",
        search.asker_name(),
        match table {
            Some(table) => format!("{written} (table {table})"),
            None => written.to_owned(),
        },
        search.interface,
        match search.asked() {
            0 if gateway.is_ipv4() != search.end.is_ipv4() => {
                format!(
                    "is not found ({}s were not watched, as the probes are of the other IP version)",
                    question(gateway)
                )
            }
            0 => format!("is not found, and no {} for it was seen to leave", question(gateway)),
            asked => format!("does not answer ({} went out)", questions(gateway, asked)),
        }
    )
}

/// Says that a next hop is one of several, with the others, `siblings`.
fn one_of(siblings: &[String]) -> String {
    let others: Vec<&str> = siblings.iter().filter_map(|hop| hop.split(' ').nth(1)).collect();
    format!("; it is one of {} next hops of that route, besides {}", siblings.len() + 1, others.join(", "))
}

/// What a gateway outside every network of its link is.
const PROXIED: &str = "A gateway that is in no network of the link, as 169.254.1.1 of Calico, need not be any host's address: \
                       whoever is at the other end of the link answers for it, with proxy ARP.";

/// Why a host at the other end of the link does not answer for a gateway that it does not have.
struct NoProxy {
    clause: String,
    commands: Vec<Command>,
}

/// Recognizes a host that heard questions about a gateway which is in no network of the link, and does not answer for others, or
/// only for what it has a route to (`arp_fwd_proxy`).
fn not_for_others(search: &Search<'_>) -> Option<NoProxy> {
    let (gateway, own) = (search.address, search.own()?);
    let near = own.address.is_some_and(|address| shares(address, gateway, own.prefix));
    (gateway.is_ipv4() && !near).then_some(())?;
    search.others().find_map(|side| {
        let at = search.heard(side).into_keys().find(|at| {
            search.device(side, at).is_none_or(|device| device.master.is_none())
        })?;
        let (path, value) = search.setting(side, at, "proxy_arp")?;
        let name = search.evidence.whom(side);
        // That of all devices is 0 as well, and the one of the device is enough.
        let path = if value == 0 { format!("net/ipv4/conf/{at}/proxy_arp") } else { path };
        let dotted = sysctl::name(&path);
        let own = search.command(side, format!("ip addr add {gateway}/32 dev {at}"));
        Some(if value == 0 {
            NoProxy {
                clause: format!("{name} heard them, does not have it, and does not answer for others: {dotted}=0"),
                commands: vec![search.command(side, format!("sysctl -w {dotted}=1")), own],
            }
        } else {
            NoProxy {
                clause: format!(
                    "{name} heard them, does not have it, and did not answer for it, though {dotted}={value}: it does so only \
                     for what it has a route to by another device"
                ),
                commands: vec![own, search.command(side, format!("ip route get {gateway}"))],
            }
        })
    })
}

/// Returns the other next hops of a route that has several, as `ip route` takes them: `via 10.0.0.1 dev eth0`.
fn siblings(choice: &RouteChoice, gateway: IpAddr) -> Vec<String> {
    let hops = choice.route.split(" nexthop ").skip(1);
    let is_it = |hop: &&str| hop.split(' ').nth(1).and_then(|word| word.parse().ok()) == Some(gateway);
    hops.filter(|hop| hop.starts_with("via ") && !is_it(hop)).map(str::to_owned).collect()
}
