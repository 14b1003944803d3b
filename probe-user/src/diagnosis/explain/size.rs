//! Packets that are too long: the link that is too narrow, or the length up to which they pass.

use std::net::IpAddr;

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{control::ControlKind, document::StopHost, path::Side, places::DropPoint},
    model::{
        netfilter::{NetfilterHook, TableFamily},
        trace::{Finding, RouteChoice, RoutePurpose},
    },
};

/// Explains a stop where a router's way out is too narrow, or only shorter packets pass.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    too_big(case).or_else(|| refused(case)).or_else(|| by_control(case))
}

/// Explains a stop where the kernel itself says that packets are too long for the link that they would leave by.
fn too_big(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side()?;
    (case.stop.cause.reason.as_deref() == Some("PKT_TOO_BIG")).then_some(())?;
    let to = case.gap.events(case.evidence).first().map(|event| event.drop.destination);
    let by = |fits: &dyn Fn(&RouteChoice) -> bool| {
        case.evidence.findings(side).find_map(|finding| match finding {
            Finding::Routing(choice) if choice.purpose == RoutePurpose::Way && fits(choice) => {
                choice.interface.as_deref()
            }
            _ => None,
        })
    };
    let out = by(&|choice| Some(choice.to) == to).or_else(|| by(&|_| true))?;
    // What a router says of replies goes to the far end.
    let silent = case.stop.cause.icmp.is_none() && case.gap.leg == case.evidence.first_leg();
    let unsaid = if silent { ", and no ICMP error of it came back" } else { "" };
    let (error, df) =
        if case.evidence.is_v6() { ("packet too big", "") } else { ("fragmentation needed", ", with DF set") };
    let narrow = case.evidence.devices(side).find(|facts| facts.interface == out && facts.mtu > 0);
    let mtu = narrow.map(|facts| format!(" ({})", facts.mtu)).unwrap_or_default();
    let length = case.carried_length();
    let chain = own_output(case, side).filter(|_| silent);
    let lost = match (silent, &chain) {
        (false, _) => String::new(),
        (true, Some(chain)) => format!(
            ": something drops the ICMP error ({error}) that should tell the sender, so path MTU discovery cannot work; \
             {} itself has a chain in hook output that can drop it, {chain}",
            case.evidence.whom(side)
        ),
        (true, None) => format!(
            ": something drops the ICMP error ({error}) that should tell the sender, so path MTU discovery cannot work"
        ),
    };
    let look = match &chain {
        Some(chain) => format!("nft list chain {chain}"),
        None => "nft list ruleset | grep -n -i icmp".to_owned(),
    };
    Some(StopExplanation {
        detail: Some(format!("longer than the MTU of {out}{mtu}{df}{unsaid}{length}")),
        meaning: format!("The packet is longer than {out} allows and must not be fragmented{lost}."),
        commands: vec![look, format!("ip link show dev {out}")],
        ..StopExplanation::default()
    })
}

/// Returns the chain of nftables, as `nft list chain` takes it, that what this host itself sends can end in.
fn own_output(case: &StopCase<'_>, side: Side) -> Option<String> {
    let of_version = if case.evidence.is_v6() { TableFamily::Ip6 } else { TableFamily::Ip };
    case.evidence.findings(side).find_map(|finding| match finding {
        Finding::Chain { family, hook: NetfilterHook::Output, table, chain, can_drop: true, legacy: false, .. }
            if matches!(family, TableFamily::Inet) || *family == of_version =>
        {
            Some(format!("{family} {table} {chain}"))
        }
        _ => None,
    })
}

/// Explains a send call that failed because the packet is longer than a path MTU that the kernel remembers.
fn refused(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side()?;
    (case.stop.cause.reason.as_deref() == Some("EMSGSIZE")).then_some(())?;
    let version = case.ip_version();
    let remembered = case.evidence.findings(side).find_map(|finding| match finding {
        Finding::PathMtu { to, mtu, of_route } => Some((to, mtu, *of_route)),
        _ => None,
    });
    let Some((to, mtu, of_route)) = remembered else { return narrow(case, side) };
    if of_route {
        return Some(by_route(case, side, *to, *mtu));
    }
    Some(StopExplanation {
        detail: Some(format!("the path MTU to {to} is {mtu}, and DF is set")),
        meaning: format!(
            "The kernel remembers from an ICMP error that packets of more than {mtu} bytes do not pass on the way to {to}."
        ),
        commands: vec![
            format!("ip {version} route get {to}"),
            format!("ip {version} route flush cache"),
            format!("tracepath -n {to}"),
        ],
        ..StopExplanation::default()
    })
}

/// Explains the same if a route sets that MTU, which no flushing ends.
fn by_route(case: &StopCase<'_>, side: Side, to: IpAddr, mtu: u32) -> StopExplanation {
    let version = case.ip_version();
    let route = case.evidence.findings(side).find_map(|finding| match finding {
        Finding::Routing(choice) if choice.purpose == RoutePurpose::Way && choice.to == to => Some(choice),
        _ => None,
    });
    let named = route.map_or_else(|| "the route".to_owned(), |choice| format!("the route \"{}\"", choice.route));
    let change = route.map(|choice| format!("ip {version} route change {} table {}", choice.route, choice.table));
    StopExplanation {
        detail: Some(format!("{named} to {to} sets an MTU of {mtu}, and DF is set")),
        meaning: format!(
            "No packet of more than {mtu} bytes leaves by that route with DF set. Without mtu in the route the MTU of its \
             device counts."
        ),
        commands: change.into_iter().chain([format!("ip {version} route get {to}")]).collect(),
        ..StopExplanation::default()
    }
}

/// Explains the same if it is the device's own MTU.
fn narrow(case: &StopCase<'_>, side: Side) -> Option<StopExplanation> {
    let out = case.evidence.crossed(side, case.gap.leg, false);
    let mtu = case.evidence.devices(side).find(|device| device.interface == out && device.mtu > 0)?.mtu;
    let to = case.evidence.target.address;
    let header = if to.is_ipv4() { 20 + 8 } else { 40 + 8 };
    let fits = mtu.checked_sub(header).map(|most| format!("ping -M do -s {most} -c 2 {to}"));
    Some(StopExplanation {
        detail: Some(format!("the MTU of {out} is {mtu}, and they must not be fragmented")),
        meaning: format!("A packet with DF set cannot be longer than the MTU of the device it leaves by: {mtu} bytes."),
        commands: std::iter::once(format!("ip link show dev {out}")).chain(fits).collect(),
        ..StopExplanation::default()
    })
}

/// Explains a stop where shorter packets, otherwise equal, were answered.
fn by_control(case: &StopCase<'_>) -> Option<StopExplanation> {
    let ((passes, fails), (packet, longer)) = case.evidence.controls.iter().find_map(|control| match control.kind {
        ControlKind::Size { passes, fails } => Some(((passes, fails), control.packet_sizes(case.evidence.is_v6())?)),
        ControlKind::Pace { .. } | ControlKind::Field { .. } => None,
    })?;
    let open = matches!(case.stop.host, StopHost::Network | StopHost::Beyond)
        || matches!(
            case.stop.place,
            DropPoint::Reassembly
                | DropPoint::FragmentOut
                | DropPoint::RouteIn
                | DropPoint::NfPrerouting
                | DropPoint::Qdisc
                | DropPoint::DriverIn
        );
    // That their fragments do not all come says more.
    (open && case.stop.cause.reason.as_deref() != Some("FRAGMENTS")).then_some(())?;
    if case.stop.place == DropPoint::NfPrerouting {
        return Some(StopExplanation {
            detail: Some(format!("only longer packets are dropped: up to {packet} bytes pass, {longer} do not")),
            meaning: "A rule in this hook is about their length, or about fragments, in which longer packets leave."
                .to_owned(),
            ..StopExplanation::default()
        });
    }
    let shaped = case.stop.place == DropPoint::Qdisc;
    if shaped || case.stop.place == DropPoint::DriverIn {
        return Some(at_device(case, shaped, packet, longer));
    }
    let kept = case.stop.cause.reason.as_deref().is_some_and(|reason| reason.starts_with("FRAG_REASM"));
    let (detail, meaning) = if kept {
        (
            format!(
                "not all of their fragments came; up to {packet} bytes ({passes} of payload) pass, {longer} do not"
            ),
            format!(
                "A packet of more than {packet} bytes leaves in fragments, and the host keeps those that came until its patience \
                 ends. Firewalls often lose the later ones, which have no ICMP header."
            ),
        )
    } else {
        (
            format!("only longer packets are lost: up to {packet} bytes ({passes} of payload) pass, {longer} do not"),
            format!(
                "The path passes packets of {packet} bytes, and none of {longer}. If DF is set, a link with that MTU drops \
                 them and the ICMP error that should say so is filtered; if they leave in fragments, the fragments are \
                 lost."
            ),
        )
    };
    Some(StopExplanation {
        detail: Some(detail),
        meaning,
        // They try the way there, so they are for the host at its begin.
        on: Some(Side::Local),
        commands: vec![
            format!("tracepath -n {}", case.evidence.target.address),
            format!("ping -M do -s {passes} -c 2 {}", case.evidence.target.address),
            format!("ping -M do -s {fails} -c 2 {}", case.evidence.target.address),
        ],
        ..StopExplanation::default()
    })
}

/// Explains what a device, or its queue, takes no longer packets than.
fn at_device(case: &StopCase<'_>, queue: bool, passes: u32, fails: u32) -> StopExplanation {
    let side = case.spot.side().unwrap_or(Side::Local);
    let freed = case.gap.events(case.evidence).into_iter().find_map(|event| event.drop.interface.as_deref());
    let device = freed.unwrap_or_else(|| case.evidence.crossed(side, case.gap.leg, !queue));
    let link = format!("ip -s -s link show dev {device}");
    let (meaning, commands) = if queue {
        (
            "A queue that shapes drops what is longer than its burst (tbf), or than its limit in bytes.".to_owned(),
            vec![format!("tc -s qdisc show dev {device}"), link],
        )
    } else {
        (
            format!(
                "{device} takes no longer packets than its MTU, and drops them without an ICMP error, so that path MTU \
                 discovery does not learn of it: both ends of a link need one MTU."
            ),
            vec![format!("ip link show dev {device}"), link],
        )
    };
    StopExplanation {
        detail: Some(format!("only longer packets are lost: up to {passes} bytes pass {device}, {fails} do not")),
        meaning,
        commands,
        ..StopExplanation::default()
    }
}
