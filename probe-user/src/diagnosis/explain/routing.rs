//! Which rule and route of a host stop packets: those of the send call, of an answer, and of forwarded packets.

use probe_ebpf::{Echo, Hop};

use super::{StopCase, StopExplanation, device_down, ttl};
use crate::{
    diagnosis::{path::Side, places::DropPoint, rules::routing::choice_for, sysctl},
    model::{
        prefix::{network, shares},
        trace::{Finding, LEAST_IPV6_MTU, PortTrace, RouteChoice, RoutePurpose},
    },
};

/// Explains a packet that netfilter gave back to routing, which refused it.
pub(super) fn rerouted(case: &StopCase<'_>) -> Option<StopExplanation> {
    (case.stop.place == DropPoint::Reroute).then_some(())?;
    let events = case.gap.events(case.evidence);
    let drop = events.iter().find(|event| event.drop.reason == "NETFILTER_DROP")?.drop;
    let choice = choice_for(drop, case.spot, case.evidence);
    let (to, mark) = (drop.destination, drop.frame.mark);
    let version = case.ip_version();
    let table = choice.map(|choice| choice.table.as_str()).filter(|table| !table.is_empty());
    let mut commands = vec![format!("ip {version} route get {to} mark {mark:#x}"), format!("ip {version} rule")];
    commands.extend(table.map(|table| format!("ip {version} route show table {table}")));
    commands.push("nft list ruleset | grep -n -B4 'mark set'".to_owned());
    if mark == 0 {
        commands[0] = format!("ip {version} route get {to} from {}", drop.source);
        commands.pop();
    }
    let decides = choice.map_or_else(|| "routing refuses it then".to_owned(), RouteChoice::text);
    Some(StopExplanation {
        detail: None,
        meaning: format!(
            "A chain in hook output changes a field that routing depends on{}, so the kernel routes them again: \
             {decides}. No rule drops them.",
            if mark == 0 { String::new() } else { format!(" (mark {mark:#x})") }
        ),
        commands,
        ..StopExplanation::default()
    })
}

/// Explains a stop at the host that has their address, whose rules lead them elsewhere.
pub(super) fn not_own(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side().filter(|_| case.stop.place == DropPoint::RouteIn)?;
    let events = case.gap.events(case.evidence);
    let to = events.iter().map(|event| event.drop.destination).find(|to| !to.is_unspecified());
    let found = case.evidence.misled(side, to?)?;
    Some(StopExplanation {
        detail: Some(found.clause),
        meaning: found.meaning.to_owned(),
        commands: found.commands,
        ..StopExplanation::default()
    })
}

/// Explains a stop where the route of the send call, of the answer or of what is forwarded leads nowhere.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side()?;
    let place = case.stop.place;
    matches!(place, DropPoint::Call | DropPoint::RouteBack | DropPoint::RouteIn).then_some(())?;
    let events = case.gap.events(case.evidence);
    let of_event = events.iter().find_map(|event| choice_for(event.drop, event.spot?, case.evidence));
    let of_run = || {
        case.evidence.findings(side).find_map(|finding| match finding {
            Finding::Routing(choice)
                if choice.purpose == RoutePurpose::Way && choice.ends.is_some() && place != DropPoint::RouteIn =>
            {
                Some(choice)
            }
            _ => None,
        })
    };
    let choice = of_event.or_else(of_run).filter(|choice| choice.ends.is_some())?;
    let without_device = || device_down::explain(case, side, choice);
    if let Some(found) = without_ipv6(case, choice)
        .or_else(|| on_link(case, choice))
        .or_else(without_device)
        .or_else(|| netless(case, choice))
    {
        return Some(found);
    }
    let version = case.ip_version();
    let mut commands = vec![choice.command(), format!("ip {version} rule")];
    if !choice.table.is_empty() {
        commands.push(format!("ip {version} route show table {}", choice.table));
    }
    let ends = choice.ends.as_deref().unwrap_or_default();
    let detail = match ends {
        "no route" => {
            let down = device_down::only_one_down(case, side).map(|device| format!("; {device} is down"));
            let down = down.unwrap_or_default();
            format!("no route to {}{}{}{down}", choice.to, passed_over(choice), foreign_source(case, choice))
        }
        _ => choice.text(),
    };
    let meaning = match ends {
        "no route" if choice.passed_over.as_deref().is_some_and(|passed| passed.ends_with("has no carrier")) => {
            "With ignore_routes_with_linkdown=1 a route through a device without a carrier is ignored.".to_owned()
        }
        "no route" if choice.passed_over.as_deref().is_some_and(|passed| passed.ends_with("other sources")) => {
            "A route with a from prefix takes only packets of those sources, and this packet's source is none of them."
                .to_owned()
        }
        "no route" if choice.passed_over.is_some() => {
            "With suppress_prefixlength a rule does not use a route with a prefix as short as that; a later rule was \
             to route them, and none does."
                .to_owned()
        }
        // What is switched off here is known; what a router would advertise is not.
        "no route" => match unheeded(case).filter(|_| device_down::hint(case, side).0.is_empty()) {
            Some(device) => {
                // Nothing shows that a router advertises one.
                commands.push(format!("sysctl net.ipv6.conf.{device}.accept_ra"));
                format!(
                    "No rule of `ip rule` leads to a route to {}. If a router is to advertise one: as {device} forwards, \
                     accept_ra=1 makes it ignore router advertisements, and accept_ra=2 does not.",
                    choice.to
                )
            }
            None => {
                let (hint, more) = device_down::hint(case, side);
                commands.extend(more);
                format!("No rule of `ip rule` leads to a route to {}.{hint}", choice.to)
            }
        },
        _ => format!("Packets to {}{} end there on purpose: {}.", choice.to, source(choice), choice.text()),
    };
    Some(StopExplanation { detail: Some(detail), meaning, commands, ..StopExplanation::default() })
}

/// Explains a missing route to a sender on the same link that the prefix of the target's address does not cover: its
/// requests came with the TTL they were sent with, so no router was in between.
fn on_link(case: &StopCase<'_>, choice: &RouteChoice) -> Option<StopExplanation> {
    let (evidence, side) = (case.evidence, case.spot.side()?);
    let to = evidence.local.host.address.filter(|to| *to == choice.to)?;
    (case.stop.place == DropPoint::RouteBack && choice.ends.as_deref() == Some("no route")).then_some(())?;
    let probe = *case.gap.probes.first()?;
    let sent = ttl::at(case, Side::Local, Hop::Xmit, Echo::Request, probe)?;
    let came = ttl::at(case, side, Hop::NetifIn, Echo::Request, probe)?;
    (sent == came).then_some(())?;
    let target = evidence.target.address;
    let heard = |port: &&PortTrace| port.seen(Hop::NetifIn, Echo::Request).is_some_and(|seen| !seen.is_empty());
    let interface = match evidence.place(side) {
        Some(place) => &*place.ports.iter().find(heard)?.interface,
        None => evidence.crossed(side, Echo::Request, true),
    };
    let Some(holder) = evidence.holders(side, target).find(|holder| holder.interface == interface) else {
        return Some(beside_address(case, choice, interface));
    };
    (!shares(target, to, holder.prefix)).then_some(())?;
    let prefix = holder.prefix;
    let theirs = evidence.findings(Side::Local).find_map(|finding| match finding {
        Finding::Holder(own) if own.netns.is_none() && own.address == Some(to) && shares(to, target, own.prefix) => {
            Some(own.prefix)
        }
        _ => None,
    });
    let wider = theirs.map(|bits| {
        format!("sh -c 'ip addr add {target}/{bits} dev {interface}; ip addr del {target}/{prefix} dev {interface}'")
    });
    let as_theirs = theirs.map(|bits| format!(" (there it is a /{bits})")).unwrap_or_default();
    Some(StopExplanation {
        detail: Some(format!(
            "no route to {to}, which is on the link of {interface}: the prefix of {target}/{prefix} does not cover it{as_theirs}"
        )),
        meaning: format!(
            "No router is between the two, since requests arrive with the TTL they left with. The prefix /{prefix} on \
             {interface} is too narrow, or a default route is missing."
        ),
        commands: wider
            .into_iter()
            .chain([format!("ip {} addr show dev {interface}", case.ip_version()), choice.command()])
            .collect(),
        ..StopExplanation::default()
    })
}

/// Explains the same where the target's address is on another device than the one that the requests came in by, as one of `lo`.
fn beside_address(case: &StopCase<'_>, choice: &RouteChoice, interface: &str) -> StopExplanation {
    let (to, version) = (choice.to, case.ip_version());
    let bits = if to.is_ipv4() { 32 } else { 128 };
    StopExplanation {
        detail: Some(format!("no route to {to}, whose requests came in by {interface} without a router in between")),
        meaning: format!(
            "Requests arrive with the TTL they left with, so {to} is on the link of {interface}, and no network of that link covers \
             it. The sender takes another of its addresses, or a route leads back to it."
        ),
        commands: vec![
            format!("ip {version} route add {to}/{bits} dev {interface}"),
            format!("ip {version} addr show dev {interface}"),
            choice.command(),
        ],
        ..StopExplanation::default()
    }
}

/// Explains a missing route to an address that the prefix of the host's own one covers.
fn netless(case: &StopCase<'_>, choice: &RouteChoice) -> Option<StopExplanation> {
    let side = case.spot.side()?;
    (choice.ends.as_deref() == Some("no route") && choice.passed_over.is_none()).then_some(())?;
    let holder = case.evidence.findings(side).find_map(|finding| match finding {
        Finding::Holder(holder) if holder.netns.is_none() && !device_down::is_down(case, side, &holder.interface) => {
            Some((holder, holder.address?))
        }
        _ => None,
    });
    let (holder, own) = holder.filter(|(holder, own)| *own != choice.to && shares(*own, choice.to, holder.prefix))?;
    let (interface, bits) = (&holder.interface, holder.prefix);
    let net = network(own, bits);
    Some(StopExplanation {
        detail: Some(format!("no route to {}, though {interface} has {own}/{bits}, which covers it", choice.to)),
        meaning: "The address was added without the route to its network (noprefixroute), or somebody deleted that \
            route."
            .to_owned(),
        commands: vec![
            format!("ip {} route add {net}/{bits} dev {interface}", case.ip_version()),
            format!("ip {} addr show dev {interface}", case.ip_version()),
        ],
        ..StopExplanation::default()
    })
}

/// Explains a missing route if a device has no IPv6, as its MTU is below what IPv6 requires of every link.
fn too_narrow(case: &StopCase<'_>, side: Side, choice: &RouteChoice) -> Option<StopExplanation> {
    let narrow = case.evidence.devices(side).find(|device| device.too_narrow_for_ipv6() && !device.down)?;
    let (device, mtu) = (&narrow.interface, narrow.mtu);
    Some(StopExplanation {
        detail: Some(format!("no route to {}, and {device} has no IPv6: its MTU is {mtu}", choice.to)),
        meaning: format!(
            "With an MTU below {LEAST_IPV6_MTU} the kernel removes IPv6 from a device, with its addresses and routes (RFC \
             8200)."
        ),
        commands: vec![
            format!("ip link set dev {device} mtu 1500"),
            "ip -6 -br addr".to_owned(),
            "ip -6 route show".to_owned(),
        ],
        ..StopExplanation::default()
    })
}

/// Says that the sender's own address, to which there is no route back, does not belong to the device by which its
/// packets leave.
fn foreign_source(case: &StopCase<'_>, choice: &RouteChoice) -> String {
    let evidence = case.evidence;
    let told = || {
        let address = evidence.local.host.address.filter(|own| *own == choice.to && case.gap.leg == Echo::Reply)?;
        let holder = evidence.holders(Side::Local, address).next()?;
        let out = evidence.crossed(Side::Local, Echo::Request, false);
        let who = evidence.whom(Side::Local);
        (holder.interface != out).then(|| {
            format!(
                "; {who} sends from it, an address of its {}, and not from one of {out}, which they leave by",
                holder.interface
            )
        })
    };
    told().unwrap_or_default()
}

fn passed_over(choice: &RouteChoice) -> String {
    choice.passed_over.as_ref().map(|passed| format!(": {passed}")).unwrap_or_default()
}

/// Explains a send call that finds no source address, as IPv6 is switched off.
pub(super) fn without_source(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side()?;
    let refused = case.stop.place == DropPoint::Source && case.stop.cause.reason.as_deref() == Some("EADDRNOTAVAIL");
    let off = switched_off(case, side).filter(|_| refused && case.evidence.is_v6())?;
    Some(StopExplanation {
        detail: Some(format!("{} has no IPv6 address to send from: {off}=1", case.evidence.name(side))),
        meaning: format!("With {off}=1 an interface has no IPv6 address."),
        commands: vec![format!("sysctl -w {off}=0"), "ip -6 -br addr".to_owned()],
        ..StopExplanation::default()
    })
}

/// Returns the setting that switches IPv6 off, as `sysctl` takes it.
fn switched_off(case: &StopCase<'_>, side: Side) -> Option<String> {
    let off = case.evidence.findings(side).find_map(|finding| match finding {
        Finding::Setting { path, value } if path.ends_with("/disable_ipv6") && value.trim() == "1" => Some(path),
        _ => None,
    })?;
    Some(sysctl::name(off))
}

/// Explains a missing route if IPv6 is switched off at the device that would have it.
fn without_ipv6(case: &StopCase<'_>, choice: &RouteChoice) -> Option<StopExplanation> {
    let side = case.spot.side()?;
    (case.evidence.is_v6() && choice.ends.as_deref() == Some("no route")).then_some(())?;
    let Some(name) = switched_off(case, side) else { return too_narrow(case, side, choice) };
    Some(StopExplanation {
        detail: Some(format!("no route to {}: IPv6 is switched off by {name}=1", choice.to)),
        meaning: format!("With {name}=1 an interface has no IPv6 address, and no route leads out through it."),
        commands: vec![format!("sysctl -w {name}=0"), "ip -6 -br addr".to_owned(), "ip -6 route show".to_owned()],
        ..StopExplanation::default()
    })
}

/// Returns a device that takes no router advertisement, as it forwards and `accept_ra` is 1.
fn unheeded(case: &StopCase<'_>) -> Option<String> {
    let side = case.spot.side().filter(|_| case.evidence.is_v6())?;
    let is = |path: &str, wanted: &str| {
        case.evidence.findings(side).any(
            |finding| matches!(finding, Finding::Setting { path: found, value } if *found == path && value.trim() == wanted),
        )
    };
    let devices = case.evidence.findings(side).filter_map(|finding| match finding {
        Finding::Setting { path, value } if path.ends_with("/accept_ra") && value.trim() == "1" => {
            path.split('/').nth(3)
        }
        _ => None,
    });
    let mut devices = devices.filter(|device| !matches!(*device, "all" | "lo"));
    devices.find(|device| is(&format!("net/ipv6/conf/{device}/forwarding"), "1")).map(|device| device.replace('.', "/"))
}

fn source(choice: &RouteChoice) -> String {
    choice.from.map(|from| format!(" from {from}")).unwrap_or_default()
}
