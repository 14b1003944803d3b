//! The rule about packets that were handed to a program through a tun device.

use probe_ebpf::Hop;

use super::{Ruling, Weight};
use crate::{
    diagnosis::{
        Evidence,
        document::{Cause, Witness},
        ledger::Gap,
        path::Side,
        places::{DropLocation, DropPoint, host_of},
    },
    model::trace::{Finding, PortTrace, TunProgram, TunnelFacts, tun_program::names},
};

/// The reason of a stop of packets whose tunnel leads into itself.
pub(in crate::diagnosis) const INTO_ITSELF: &str = "TUN_INTO_ITSELF";

/// The reason of a stop of packets that a program sent on to where nobody can recognize them.
pub(in crate::diagnosis) const SENT_ON: &str = "TUN";

/// Judges packets that left by a tun device, so that a program on that host has them.
pub(super) fn handed(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let side = gap.last_seen.host;
    gap.spots.iter().any(|spot| spot.place == DropPoint::Network).then_some(())?;
    let devices = left_by(evidence, side, gap);
    let (interface, programs) = evidence.findings(side).find_map(|finding| match finding {
        Finding::Tun { interface, programs } if devices.contains(&interface.as_str()) => Some((interface, programs)),
        _ => None,
    })?;
    let first = programs.first()?;
    let who = names(programs);
    let stuck = programs.iter().all(|program| program.sockets == 0);
    if let Some(sent) = sent_on(evidence, side, gap) {
        let holds = if programs.len() == 1 { "which holds" } else { "which share" };
        let detail = format!(
            "handed to {who}, {holds} the tun device {interface} and likely sent them on{sent}, and nobody watched what became of \
             these{}",
            far_silence(evidence, gap).unwrap_or_default()
        );
        let reason = Some(SENT_ON.into());
        let cause = Cause { reason, program: Some(first.name()), detail: Some(detail), ..Cause::default() };
        let spots = gap.spots_at(&[DropPoint::Network]);
        return Ruling::at(spots, cause, Witness::DeviceCounter, Weight::Suggests);
    }
    let (holds, has) = if programs.len() == 1 { ("which holds", "has") } else { ("which share", "have") };
    let why = if stuck {
        format!("and {has} no socket to send them on by")
    } else {
        "and none of them came out again".to_owned()
    };
    let detail = Some(format!("handed to {who}, {holds} the tun device {interface} {why}"));
    let cause = Cause { reason: Some("TUN".into()), program: Some(first.name()), detail, ..Cause::default() };
    let spot = DropLocation { leg: gap.leg, host: host_of(side), place: DropPoint::TunProgram };
    let mut spots = vec![spot];
    if !stuck {
        // What the program sent on may be lost after it.
        spots.extend(gap.spots_at(&[DropPoint::Network]));
    }
    Ruling::at(spots, cause, Witness::DeviceCounter, if stuck { Weight::Explains } else { Weight::Suggests })
}

/// Judges packets that a program behind a tun device makes and that are routed into that device again.
pub(super) fn routed_into_itself(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let side = gap.last_seen.host;
    let around = evidence.seen_around(side)?;
    // What leaves by it around probes that did not may be of another tunnel, whose packets this one carries.
    let devices = left_by(evidence, side, gap);
    let sealed = |tunnel: &&TunnelFacts| tunnel.is_sealed() && !tunnel.programs.is_empty();
    let mut handed = around.tunnels.iter().filter(|tunnel| devices.contains(&tunnel.interface.as_str()));
    let tunnel = handed.find(sealed)?;
    let port = around.ports.iter().find(|port| port.interface == tunnel.interface)?;
    let seen = port.seen(Hop::DevQueue, gap.leg)?;
    let to = gap.probes.iter().find_map(|probe| seen.get(probe))?.destination?;
    let (device, who) = (&tunnel.interface, names(&tunnel.programs));
    let detail = format!(
        "handed to {who} by the tun device {device}, and what it sends to {to} is routed into {device} itself, so that it comes back \
         to it"
    );
    let cause = Cause {
        reason: Some(INTO_ITSELF.into()),
        program: tunnel.programs.first().map(TunProgram::name),
        detail: Some(detail),
        ..Cause::default()
    };
    let spot = DropLocation { leg: gap.leg, host: host_of(side), place: DropPoint::TunProgram };
    Ruling::at(vec![spot], cause, Witness::DeviceCounter, Weight::Explains)
}

/// Returns what the far end's only tun device shows of packets that did not come out of it.
fn far_silence(evidence: &Evidence, gap: &Gap) -> Option<String> {
    let far = if gap.leg == evidence.first_leg() { Side::Peer } else { Side::Local };
    let around = evidence.seen_around(far).filter(|_| evidence.two_sided())?;
    let mut sealed = around.tunnels.iter().filter(|tunnel| tunnel.is_sealed() && !tunnel.programs.is_empty());
    let tunnel = sealed.next().filter(|_| sealed.next().is_none())?;
    (tunnel.counts?.written == 0).then(|| {
        format!(
            "; {} of {} wrote nothing to its tun device {}",
            names(&tunnel.programs),
            evidence.name(far),
            tunnel.interface
        )
    })
}

/// Returns by which device, and where to, the packets left that the programs of `side` likely made of all probes of the gap.
fn sent_on(evidence: &Evidence, side: Side, gap: &Gap) -> Option<String> {
    let around = evidence.seen_around(side)?;
    around.ports.iter().find_map(|port| {
        let seen = port.seen(Hop::Xmit, gap.leg)?;
        let to = gap.probes.iter().map(|probe| seen.get(probe)).collect::<Option<Vec<_>>>()?.first()?.destination?;
        Some(format!(": as many packets of its UDP ports left by {} for {to} right after them", port.interface))
    })
}

/// Returns the devices by which probes of the gap left `side`.
fn left_by<'a>(evidence: &'a Evidence, side: Side, gap: &Gap) -> Vec<&'a str> {
    let Some(place) = evidence.place(side) else { return vec![evidence.crossed(side, gap.leg, false)] };
    let sent = |port: &&PortTrace| {
        let passed = |hop: Hop| {
            port.seen(hop, gap.leg).is_some_and(|seen| gap.probes.iter().any(|probe| seen.contains_key(probe)))
        };
        passed(Hop::DevQueue) || passed(Hop::Xmit)
    };
    place.ports.iter().filter(sent).map(|port| port.interface.as_str()).collect()
}
