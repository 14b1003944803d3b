//! Which rule and route of the host end packets: those of the send call, of an answer, and of what is forwarded.

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{own_rules::LOCAL_FIRST, places::DropPoint, rules::routing::choice_for},
    model::trace::{Finding, RouteChoice, RoutePurpose},
};

/// Explains a packet that netfilter gave back to routing, which ended it.
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
            "A chain in hook output changes what routing chooses by{}, and the kernel asks routing again: {decides}. No rule \
             drops them.",
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
    let choice = case.evidence.misled(side, to?)?;
    let version = case.ip_version();
    Some(StopExplanation {
        detail: Some(format!("{} before the table local is asked", choice.text())),
        meaning: LOCAL_FIRST.to_owned(),
        commands: vec![format!("ip {version} rule add pref 0 lookup local"), format!("ip {version} rule show")],
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
            Finding::Routing(choice) if choice.purpose == RoutePurpose::Way && place != DropPoint::RouteIn => {
                Some(choice)
            }
            _ => None,
        })
    };
    let choice = of_event.or_else(of_run).filter(|choice| choice.ends.is_some())?;
    if let Some(switched_off) = without_ipv6(case, choice) {
        return Some(switched_off);
    }
    let version = case.ip_version();
    let mut get = format!("ip {version} route get {}", choice.to);
    if let Some(from) = choice.from {
        get.push_str(&format!(" from {from}"));
    }
    if choice.mark != 0 {
        get.push_str(&format!(" mark {:#x}", choice.mark));
    }
    let mut commands = vec![get, format!("ip {version} rule")];
    if !choice.table.is_empty() {
        commands.push(format!("ip {version} route show table {}", choice.table));
    }
    let ends = choice.ends.as_deref().unwrap_or_default();
    let detail = match ends {
        "no route" => format!("no route to {}", choice.to),
        _ => choice.text(),
    };
    let meaning = match ends {
        "no route" => format!("No rule of `ip rule` leads to a route to {}.", choice.to),
        _ => format!("Packets to {}{} end there on purpose: {}.", choice.to, source(choice), choice.text()),
    };
    Some(StopExplanation { detail: Some(detail), meaning, commands, ..StopExplanation::default() })
}

/// Explains a missing route where IPv6 is switched off at the device that would have it.
fn without_ipv6(case: &StopCase<'_>, choice: &RouteChoice) -> Option<StopExplanation> {
    let side = case.spot.side()?;
    (case.evidence.is_v6() && choice.ends.as_deref() == Some("no route")).then_some(())?;
    let off = case.evidence.findings(side).find_map(|finding| match finding {
        Finding::Setting { path, value } if path.ends_with("/disable_ipv6") && value.trim() == "1" => Some(path),
        _ => None,
    })?;
    let name = if off.contains('.') { off.clone() } else { off.replace('/', ".") };
    Some(StopExplanation {
        detail: Some(format!("no route to {}: IPv6 is switched off by {name}=1", choice.to)),
        meaning: format!("With {name}=1 an interface has no IPv6 address, and no route leads out by it."),
        commands: vec![format!("sysctl -w {name}=0"), "ip -6 -br addr".to_owned(), "ip -6 route show".to_owned()],
        ..StopExplanation::default()
    })
}

fn source(choice: &RouteChoice) -> String {
    choice.from.map(|from| format!(" from {from}")).unwrap_or_default()
}
