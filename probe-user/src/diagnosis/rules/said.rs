//! Rules about what was said about these very packets: drop events, the errno of the send call, ICMP errors.

use super::{Ruling, Weight, limits, lookups};
use crate::{
    diagnosis::{
        Evidence,
        document::{Cause, IcmpSaid, Witness},
        ledger::Gap,
        path::Side,
        places::DropPoint,
    },
    model::{
        netfilter::TableFamily,
        trace::{Drop, Finding, IcmpError, ProgramSite, benign::NOT_GIVEN},
    },
};

/// Judges a gap inside which the kernel reported freeing the packets.
pub(super) fn drop_event(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let mut events = gap.events(evidence);
    events.sort_by_key(|told| (told.spot.is_none(), told.spot, told.drop.time_ns));
    let first = events.first()?;
    // ICMP frees what it may not or cannot answer under names that do not say which (`NOT_SPECIFIED` in `icmpv6_rcv`,
    // `INVALID_PROTO` in `icmp_rcv`, 6.18): a look-up shows it.
    let vague = matches!(first.drop.reason.as_str(), "NOT_SPECIFIED" | "INVALID_PROTO" | NOT_GIVEN);
    let by_icmp = vague && first.spot.is_some_and(|spot| spot.place == DropPoint::Icmp);
    let look_ups = [lookups::setting, lookups::route, lookups::counter, limits::of_replies];
    if by_icmp && let Some(ruling) = look_ups.iter().find_map(|look_up| look_up(gap, evidence)) {
        return Some(Ruling { weight: Weight::Direct, ..ruling });
    }
    let spots = match first.spot {
        Some(spot) => vec![spot],
        None => gap.spots.clone(),
    };
    let cause = told_cause(first.drop);
    let cause = match first.spot {
        Some(spot) if spot.place == DropPoint::RouteIn => lookups::why_unrouted(cause, first.drop, spot, evidence),
        _ => cause,
    };
    Ruling::at(spots, cause, Witness::DropEvent, Weight::Direct)
}

fn told_cause(drop: &Drop) -> Cause {
    let function = (!drop.function.is_empty()).then(|| drop.function.clone());
    let reason = (drop.reason != NOT_GIVEN).then(|| drop.reason.clone());
    Cause { reason, function, ..Cause::default() }
}

/// Returns where the send call can have failed with an errno, the likeliest first (`net/ipv4/{raw,ip_output}.c` and
/// kin).
fn places_of(errno: &str) -> &'static [DropPoint] {
    match errno {
        "ENETUNREACH" | "EHOSTUNREACH" | "EACCES" | "EINVAL" => &[DropPoint::Call],
        "EADDRNOTAVAIL" | "EAGAIN" | "ENOMEM" => &[DropPoint::Source],
        "EMSGSIZE" => &[DropPoint::FragmentOut],
        "ENETDOWN" | "ENODEV" | "ENXIO" => &[DropPoint::DriverOut],
        "EPERM" => &[DropPoint::NfOutput, DropPoint::NfPostrouting, DropPoint::CgroupOut],
        "ENOBUFS" => &[DropPoint::Qdisc, DropPoint::NfEgress, DropPoint::TcOut],
        _ => &[],
    }
}

/// Judges probes whose send call failed.
pub(super) fn errno(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let errno = gap.errno(evidence)?;
    let detail = detail(errno, evidence);
    let here = |place: &DropPoint| gap.spot(Side::Local, *place);
    let mut spots: Vec<_> = places_of(errno).iter().filter_map(here).collect();
    // IPsec policies are checked with the route, before any hook.
    if errno == "EPERM" && (spots.is_empty() || detail.is_some()) {
        spots = here(&DropPoint::Call).map_or(spots, |call| vec![call]);
    }
    if spots.is_empty() {
        spots.clone_from(&gap.spots);
    }
    let named = spots.iter().position(|spot| looked_up(evidence, spot.place));
    if let Some(index) = named {
        spots = vec![spots[index]];
    }
    let cause = Cause { reason: Some(errno.to_owned()), detail, ..Cause::default() };
    Ruling::at(spots, cause, Witness::Errno, Weight::Direct)
}

/// Returns what look-ups on the sender add: a source address of somebody else's, what `IPsec` refused.
fn detail(errno: &str, evidence: &Evidence) -> Option<String> {
    let unusable = || {
        let own = evidence.local.host.address.filter(|_| errno == "EADDRNOTAVAIL")?;
        let mut holders = evidence.holders(Side::Local, own);
        let (holder, state) = holders.find_map(|holder| Some((holder, holder.states.first()?)))?;
        Some(format!("{own} on {} is {state}, and so not used", holder.interface))
    };
    let more = unusable().or_else(|| {
        evidence.findings(Side::Local).find_map(|finding| match (errno, finding) {
            ("EADDRNOTAVAIL", Finding::Address { address, own: false }) => {
                Some(format!("{address} is not an address of {}", evidence.name(Side::Local)))
            }
            ("EPERM", Finding::Counter { name, by }) if name.starts_with("Xfrm.Out") => {
                Some(format!("{name} rose by {by}"))
            }
            _ => None,
        })
    });
    more.map(|more| format!("{errno}: {more}"))
}

/// Reports whether a look-up on the sender found something at `place` that can drop.
fn looked_up(evidence: &Evidence, place: DropPoint) -> bool {
    evidence.findings(Side::Local).any(|finding| match finding {
        Finding::Chain { family, hook, can_drop: true, .. } => {
            *family != TableFamily::Arp && place.hook() == Some(*hook)
        }
        Finding::Program { at: at @ (ProgramSite::CgroupOut | ProgramSite::TcOut), .. } => {
            DropPoint::of(*at) == Some(place)
        }
        _ => false,
    })
}

/// Judges probes for which the sender's own kernel reports host unreachable: nobody answered ARP or neighbour
/// discovery.
pub(super) fn own_icmp_error(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let error = gap.icmp(evidence)?;
    if evidence.local.host.address != Some(error.from) {
        return None;
    }
    let unreachable = matches!((evidence.is_v6(), error.icmp_type, error.code), (false, 3, 1) | (true, 1, 3));
    let spots = if unreachable { gap.spots_at(&[DropPoint::Neighbour]) } else { gap.spots_at(&[DropPoint::Call]) };
    let spots = spots.into_iter().filter(|spot| spot.side() == Some(Side::Local)).collect();
    Ruling::at(spots, icmp_cause(error), Witness::IcmpError, Weight::Direct)
}

/// Judges probes for which somebody on the way, or the target, says why they stopped.
pub(super) fn icmp_error(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let error = gap.icmp(evidence)?;
    let spots = gap.spots_at(&[DropPoint::Network]);
    Ruling::at(spots, icmp_cause(error), Witness::IcmpError, Weight::Direct)
}

/// Returns an ICMP error as a cause.
pub(in crate::diagnosis) fn icmp_cause(error: &IcmpError) -> Cause {
    let IcmpError { from, icmp_type, code, .. } = *error;
    let protocol = if from.is_ipv6() { "icmpv6" } else { "icmp" };
    Cause {
        reason: Some(format!("{protocol} {icmp_type}/{code}")),
        icmp: Some(IcmpSaid { from, icmp_type, code, meaning: meaning(error) }),
        ..Cause::default()
    }
}

/// Returns what an ICMP error says, as a clause about the packet (RFC 792, RFC 1812 §5.2.7, RFC 4443 §3).
pub(in crate::diagnosis) fn meaning(error: &IcmpError) -> String {
    let words = match (error.from.is_ipv6(), error.icmp_type, error.code) {
        (false, 3, 0) | (true, 1, 0) => "no route to the network",
        (false, 3, 1) | (true, 1, 3) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) | (true, 1, 4) => "port unreachable",
        (false, 3, 4) | (true, 2, _) => "too big for the next link",
        (false, 3, 9 | 10 | 13) | (true, 1, 1) => "prohibited by a firewall or a route",
        (true, 1, 2) => "beyond the scope of the source address",
        (true, 1, 5) => "the source address failed a policy",
        (true, 1, 6) => "the route says: reject",
        (false, 11, 0) | (true, 3, 0) => "TTL ran out",
        (false, 11, 1) | (true, 3, 1) => "fragments did not all arrive",
        (false, 12, _) | (true, 4, _) => "the IP header is wrong",
        _ => "an ICMP error of a kind that is not known here",
    };
    let mtu = error.next_mtu.map(|mtu| format!(", whose MTU is {mtu}"));
    format!("{words}{}", mtu.unwrap_or_default())
}
