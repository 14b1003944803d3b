//! The rule about packets that netfilter gave back to routing: a chain of type route changed a field that routing
//! depends on.

use super::{Ruling, Weight};
use crate::{
    diagnosis::{
        Evidence,
        clues::PlacedDrop,
        document::{Cause, Witness},
        ledger::Gap,
        places::{DropLocation, DropPoint},
    },
    model::trace::{Drop, Finding, RouteChoice, RoutePurpose, plain_function},
};

/// Judges what routing refused after the output hook, where the kernel repeats it if a chain changed the mark, an
/// address or the TOS (`ip_route_me_harder`). If that leads nowhere, the hook frees the packet and the send call gets
/// the error of routing: a rule that drops gives EPERM.
pub(super) fn rerouted(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let events = gap.events(evidence);
    let event = events.iter().find(|event| at_output(event))?;
    let spot = event.spot?;
    let errno = gap.errno(evidence).filter(|errno| *errno != "EPERM");
    let choice = choice_for(event.drop, spot, evidence).filter(|choice| choice.ends.is_some());
    // An nftables rule frees what it drops by itself; a packet without a mark was not marked.
    let by_hook = plain_function(&event.drop.function) == "nf_hook_slow" && event.drop.frame.mark != 0;
    if errno.is_none() && !(by_hook && choice.is_some() && gap.errno(evidence).is_none()) {
        return None;
    }
    let mark = event.drop.frame.mark;
    let marked = if mark == 0 { "they were changed".to_owned() } else { format!("they have the mark {mark:#x}") };
    let detail = choice.map_or_else(|| marked.clone(), |choice| format!("{marked}; {}", choice.text()));
    let reason = errno.or(choice.and_then(errno_of)).unwrap_or("NETFILTER_DROP");
    let cause = Cause { reason: Some(reason.to_owned()), detail: Some(detail), ..Cause::default() };
    let spots = vec![DropLocation { place: DropPoint::Reroute, ..spot }];
    let witness = if errno.is_some() { Witness::Errno } else { Witness::DropEvent };
    Ruling::at(spots, cause, witness, Weight::Direct)
}

fn at_output(event: &PlacedDrop<'_>) -> bool {
    event.drop.reason == "NETFILTER_DROP" && event.spot.is_some_and(|spot| spot.place == DropPoint::NfOutput)
}

/// Returns what routing says of a packet that was freed, asked with the packet's own key.
pub(in crate::diagnosis) fn choice_for<'a>(
    drop: &Drop,
    spot: DropLocation,
    evidence: &'a Evidence,
) -> Option<&'a RouteChoice> {
    let purpose = if drop.reason == "IP_RPFILTER" { RoutePurpose::ReversePath } else { RoutePurpose::Way };
    let (from, to) = match purpose {
        RoutePurpose::Way | RoutePurpose::Marked | RoutePurpose::Own => (drop.source, drop.destination),
        RoutePurpose::ReversePath => (drop.destination, drop.source),
    };
    evidence.findings(spot.side()?).find_map(|finding| match finding {
        Finding::Routing(choice)
            if choice.purpose == purpose
                && choice.to == to
                && choice.from == Some(from)
                && (choice.mark == drop.frame.mark || purpose == RoutePurpose::ReversePath) =>
        {
            Some(choice)
        }
        _ => None,
    })
}

/// Returns the error that a sender gets from a route of that type (`fib_props` in `net/ipv4/fib_semantics.c`).
fn errno_of(choice: &RouteChoice) -> Option<&'static str> {
    Some(match choice.ends.as_deref()? {
        "blackhole" => "EINVAL",
        "unreachable" => "EHOSTUNREACH",
        "prohibit" => "EACCES",
        _ => "ENETUNREACH",
    })
}
