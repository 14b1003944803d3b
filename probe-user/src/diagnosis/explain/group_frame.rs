//! Unicast packets in multicast or broadcast frames: a setting refuses them, and a router does not forward them.

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{path::Side, places::DropPoint},
    model::trace::{Drop, Finding, plain_function},
};

/// Explains a stop where such frames end.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    refused(case).or_else(|| not_forwarded(case))
}

/// Explains a stop at a router that got them in frames for a group: `ip_forward` and `ip6_forward` take only what is for this
/// host's own link-layer address.
fn not_forwarded(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side().filter(|_| case.stop.place == DropPoint::RouteIn)?;
    let events = case.gap.events(case.evidence);
    let forwards = |drop: &&Drop| matches!(plain_function(&drop.function), "ip_forward" | "ip6_forward");
    let drop = events.iter().map(|event| event.drop).find(forwards)?;
    let frame = drop.frame.destination.as_deref().filter(|lladdr| is_group(lladdr))?;
    let name = case.evidence.whom(side);
    let device = drop.interface.as_deref().unwrap_or("its device");
    let whose = entry(case, Some(frame));
    let says = whose.as_ref().map(|(asker, address, interface)| {
        format!(", as {}'s entry for {address} on {interface} says", case.evidence.whom(*asker))
    });
    let commands = match &whose {
        Some((_, address, interface)) => {
            vec![format!("ip neigh del {address} dev {interface}"), format!("ip neigh show {address} dev {interface}")]
        }
        None => vec![format!("tcpdump -eni {device} -c 4 'icmp or icmp6'")],
    };
    Some(StopExplanation {
        detail: Some(format!("they came to {device} in frames for the group {frame}{}", says.unwrap_or_default())),
        meaning: format!(
            "{name} forwards only what is sent to its own link-layer address. A gateway that is a cluster with a group address \
             (NLB in multicast mode) cannot be one for Linux senders."
        ),
        commands,
        on: whose.map(|(asker, ..)| asker),
        tracking: None,
    })
}

/// Reports whether a link-layer address is one of a group: its first byte is odd.
fn is_group(lladdr: &str) -> bool {
    lladdr.get(..2).and_then(|byte| u8::from_str_radix(byte, 16).ok()).is_some_and(|byte| byte & 1 == 1)
}

/// Explains a stop where the kernel says so (`ip_rcv_finish_core`, `ip6_rcv_core`): the setting, and whose entry has that address.
fn refused(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side()?;
    let events = case.gap.events(case.evidence);
    let drop = events.iter().map(|event| event.drop).find(|drop| drop.reason == "UNICAST_IN_L2_MULTICAST")?;
    let device = drop.interface.as_deref()?;
    let family = if case.evidence.is_v6() { "ipv6" } else { "ipv4" };
    let set = case.evidence.findings(side).find_map(|finding| match finding {
        Finding::Setting { path, value } if path.ends_with("/drop_unicast_in_l2_multicast") && value.trim() == "1" => {
            let at = path.split('/').nth(3)?;
            (at == "all" || at == device)
                .then(|| format!("net.{family}.conf.{}.drop_unicast_in_l2_multicast", at.replace('.', "/")))
        }
        _ => None,
    });
    let whose = entry(case, drop.frame.destination.as_deref());
    let frame = drop.frame.destination.as_ref().map(|to| format!(" ({to})")).unwrap_or_default();
    let mut detail = format!("they arrive in multicast or broadcast frames{frame}");
    if let Some((asker, address, interface)) = &whose {
        detail.push_str(&format!(", as {}'s entry for {address} on {interface} says", case.evidence.whom(*asker)));
    }
    if let Some(set) = &set {
        detail.push_str(&format!(", and {set}=1 here"));
    }
    let mut commands: Vec<String> = set.iter().map(|set| format!("sysctl -w {set}=0")).collect();
    commands.push(format!("tcpdump -eni {device} -c 4 'icmp or icmp6'"));
    Some(StopExplanation {
        detail: Some(detail),
        meaning:
            "With drop_unicast_in_l2_multicast=1 a host refuses unicast packets in multicast or broadcast frames: \
                  clusters that share one group address (NLB) need it at 0; otherwise the sender's entry is wrong."
                .to_owned(),
        commands,
        ..StopExplanation::default()
    })
}

/// Returns who has a neighbour entry with that link-layer address, for which address and at which device.
fn entry(case: &StopCase<'_>, lladdr: Option<&str>) -> Option<(Side, String, String)> {
    let wanted = lladdr?;
    case.evidence.sides().find_map(|side| {
        case.evidence.findings(side).find_map(|finding| match finding {
            Finding::Neighbour { address, interface, lladdr: Some(lladdr), .. } if lladdr == wanted => {
                Some((side, address.to_string(), interface.clone()))
            }
            _ => None,
        })
    })
}
