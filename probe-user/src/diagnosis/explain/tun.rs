//! Which rule and route hand packets to the program that holds a tun device.

use probe_ebpf::Hop;

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{
        places::DropPoint,
        rules::tun::{INTO_ITSELF, SENT_ON},
    },
    model::trace::Finding,
};

/// Explains a stop beyond such a program, which sent on what it was handed.
fn sent_on(case: &StopCase<'_>) -> Option<StopExplanation> {
    let evidence = case.evidence;
    let beyond = case.stop.place == DropPoint::Network && case.stop.cause.reason.as_deref() == Some(SENT_ON);
    let side = Some(case.gap.last_seen.host).filter(|_| beyond)?;
    let around = evidence.seen_around(side)?;
    let sent = around.ports.iter().find_map(|port| port.seen(Hop::Xmit, case.gap.leg)?.values().next()?.destination);
    let program = case.stop.cause.program.as_deref().unwrap_or("the program");
    Some(StopExplanation {
        meaning: format!(
            "Which packet of {program} has which probe inside is known only where it was seen to send it: the packets may be lost \
             on their way, or be refused by the program at the other end, which is to be looked at there."
        ),
        commands: sent.map(|to| format!("probe diagnose {to} --walk")).into_iter().collect(),
        on: Some(side),
        ..StopExplanation::default()
    })
}

/// Explains a stop at such a program by what routing chose with the packets' own key.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    if let Some(sent_on) = sent_on(case) {
        return Some(sent_on);
    }
    let side = case.spot.side().filter(|_| case.stop.place == DropPoint::TunProgram)?;
    let evidence = case.evidence;
    if case.stop.cause.reason.as_deref() == Some(INTO_ITSELF) {
        return Some(StopExplanation {
            meaning: "The other end of a tunnel must be reached outside of it, by a route of its own.".to_owned(),
            commands: vec![format!("ip {} route", case.ip_version()), format!("ip {} rule", case.ip_version())],
            ..StopExplanation::default()
        });
    }
    let to = if case.gap.leg == evidence.first_leg() { evidence.target.address } else { evidence.local.host.address? };
    let held = |name: &str| {
        evidence.findings(side).any(|finding| matches!(finding, Finding::Tun { interface, .. } if interface == name))
    };
    let choice = evidence.findings(side).find_map(|finding| match finding {
        Finding::Routing(choice) if choice.to == to && choice.interface.as_deref().is_some_and(held) => Some(choice),
        _ => None,
    })?;
    let device = choice.interface.as_deref()?;
    let program = case.stop.cause.program.as_deref().unwrap_or("a program");
    // A rule that every host has says nothing.
    let led = match choice.table.as_str() {
        "main" | "default" => format!("the route \"{}\" leads there", choice.route),
        _ => choice.text(),
    };
    Some(StopExplanation {
        detail: case.stop.cause.detail.as_ref().map(|known| format!("{known}; {led}")),
        meaning: format!(
            "The kernel hands what leaves through {device} to {program}, and what becomes of it is up to that program. \
             Routing sends them there: a more specific route, or a rule before it, keeps them out of it."
        ),
        commands: vec![
            choice.command(),
            format!("ip {} rule", case.ip_version()),
            format!("ip {} route show table {}", case.ip_version(), choice.table),
            format!("ip -d -s link show dev {device}"),
            "ss -anp".to_owned(),
        ],
        ..StopExplanation::default()
    })
}
