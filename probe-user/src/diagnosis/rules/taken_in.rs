//! The rule about packets for another host that a rule and a route of type local hand to the router's own stack.

use probe_ebpf::Hop;

use super::{Ruling, Weight};
use crate::{
    diagnosis::{
        Evidence,
        document::{Cause, Witness},
        ledger::Gap,
        path::{Side, Station},
        places::DropPoint,
    },
    model::trace::{AddressHolder, Finding, RouteChoice, RoutePurpose},
};

/// Judges packets that ended in a host's own input though it does not have the address that they are for: its ICMP cannot answer
/// from an address that is not its own.
pub(super) fn by_route(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let (side, choice) = taken_in(gap, evidence)?;
    let spots: Vec<_> = gap
        .spots
        .iter()
        .filter(|spot| spot.side() == Some(side) && matches!(spot.place, DropPoint::RouteIn | DropPoint::RouteBack))
        .copied()
        .take(1)
        .collect();
    let cause = Cause { detail: Some(said(choice, side, evidence)), ..Cause::default() };
    Ruling::at(spots, cause, Witness::Counters, Weight::Explains)
}

/// Returns the host in between that took them in, and the choice of its routing that made it do so.
pub(in crate::diagnosis) fn taken_in<'a>(gap: &Gap, evidence: &'a Evidence) -> Option<(Side, &'a RouteChoice)> {
    let side = gap.last_seen.host;
    let came_in = matches!(
        gap.last_seen.station,
        Station::Port(Hop::NfInputFirst | Hop::NfInputLast, _) | Station::Hop(Hop::NfInputFirst | Hop::NfInputLast)
    );
    (came_in && gap.leg == evidence.first_leg() && evidence.place(side).is_some()).then_some(())?;
    let target = evidence.target.address;
    let has_it = |holder: &AddressHolder| holder.has_here(target);
    if evidence.findings(side).any(|finding| matches!(finding, Finding::Holder(holder) if has_it(holder))) {
        return None;
    }
    // An address of its own, or one that it answers for as one of several, is in the table local.
    let choice = evidence.findings(side).find_map(|finding| match finding {
        Finding::Routing(choice)
            if matches!(choice.purpose, RoutePurpose::Way | RoutePurpose::Marked)
                && choice.to == target
                && choice.is_local()
                && choice.table != "local" =>
        {
            Some(choice)
        }
        _ => None,
    })?;
    Some((side, choice))
}

/// Says by what.
pub(in crate::diagnosis) fn said(choice: &RouteChoice, side: Side, evidence: &Evidence) -> String {
    let marked = if choice.mark == 0 { String::new() } else { format!(" with the mark {:#x}", choice.mark) };
    format!(
        "it takes them in as its own: {}{marked}, and {} is not an address of {}",
        choice.text(),
        evidence.target.address,
        evidence.name(side)
    )
}
