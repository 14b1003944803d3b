//! What stops the packets that carry the probes, reported as what stops the probes.

use std::collections::BTreeSet;

use probe_ebpf::Echo;

use super::{Crossing, Judge};
use crate::diagnosis::{
    Evidence, advice,
    cause::Cause,
    document::{Command, Stop, StopHost},
    ledger::{Gap, Ledger},
    path::{Checkpoint, Side},
    places::{DropPoint, Whose, host_of},
    resolution::CarriedBy,
    sentence,
    tunnel_layer::TunnelLayer,
};

/// Returns where the probes of `gap` stop inside the packets of a tunnel, if they went missing on one of the carried
/// stretches; `None` if they did not, or if nothing is known of those packets. `own` is what the probes themselves
/// show.
pub(in crate::diagnosis) fn of_gap(
    gap: &Gap,
    own: &Stop,
    crossings: &[Crossing],
    evidence: &Evidence,
    judge: Judge,
) -> Option<Vec<Stop>> {
    let crosses = gap.spots.iter().any(|spot| spot.place == DropPoint::Network);
    let fits = |crossing: &&Crossing| {
        let layer = crossing.evidence.layer.as_ref();
        crossing.from == gap.last_seen.host && layer.is_some_and(|layer| layer.leg == gap.leg)
    };
    let crossing = crossings.iter().filter(|_| crosses).find(fits)?;
    let layer = crossing.evidence.layer.as_ref()?;
    let ledger = Ledger::new(&crossing.evidence);
    let narrowed = |mut outer: Gap| {
        outer.probes = outer.probes.intersection(&gap.probes).copied().collect::<BTreeSet<u16>>();
        (!outer.probes.is_empty()).then_some(outer)
    };
    let gaps = ledger.gaps(&crossing.evidence).into_iter().filter_map(narrowed);
    let gaps = gaps.flat_map(|outer| outer.split(&crossing.evidence));
    let further = super::crossings(&ledger, &crossing.evidence);
    let mut whole = None;
    let mut stops = Vec::new();
    for outer in gaps {
        let Some(stop) = (judge.stop)(&outer, &crossing.evidence) else { continue };
        let further = of_gap(&outer, &stop, &further, &crossing.evidence, judge);
        for stop in further.unwrap_or_else(|| vec![stop]) {
            let whole = whole.get_or_insert_with(|| (judge.diagnose)(&crossing.evidence));
            let text = sentence::of_carried(&stop, whole, &crossing.evidence);
            stops.push(translated(stop, &text, (gap, own), crossing, layer, evidence));
        }
    }
    (!stops.is_empty()).then_some(stops)
}

/// Returns the same stop in the words of the whole path: its places are those of the evidence.
fn translated(
    mut stop: Stop,
    text: &str,
    (gap, own): (&Gap, &Stop),
    crossing: &Crossing,
    layer: &TunnelLayer,
    evidence: &Evidence,
) -> Stop {
    let side = |outer: Side| side(outer, crossing, layer.leg);
    let typed = |command: Command| typed(command, &side, evidence);
    if stop.place == DropPoint::Encapsulation && own.place == DropPoint::Encapsulation {
        // The probes themselves ended here: only why is known from the tunnel.
        let mut own = own.clone();
        own.cause = Cause { detail: stop.cause.detail, ..own.cause };
        own.meaning = stop.meaning;
        own.commands = stop.commands.into_iter().map(typed).collect();
        advised(&mut own, evidence);
        return own;
    }
    let carried = CarriedBy {
        interface: layer.tunnel.interface.clone(),
        kind: layer.tunnel.kind.clone(),
        vni: layer.tunnel.vni,
        from: layer.from,
        to: layer.to,
        last_seen: Checkpoint { host: side(stop.last_seen.host), ..stop.last_seen },
        first_missing: Checkpoint { host: side(stop.first_missing.host), ..stop.first_missing },
    };
    let stop_side = stop.whose.side().unwrap_or(Side::Peer);
    let whose = match stop.whose.side() {
        Some(outer) => host_of(side(outer)),
        None => stop.whose,
    };
    let sealed = layer.tunnel.is_sealed();
    stop.told = Some(match (stop.place, &stop.cause.detail) {
        (DropPoint::Encapsulation, Some(detail)) if sealed => format!("were handed to {detail}"),
        (DropPoint::Decapsulation, Some(detail)) if sealed => {
            format!(
                "went into packets of {}, which reached {}, and {detail}",
                layer.name(),
                evidence.name(side(stop_side))
            )
        }
        (DropPoint::Encapsulation, _) => text.trim_start_matches("which ").to_owned(),
        // Of one end only: what came back to it.
        (..) if stop.leg != layer.leg => {
            format!("inside packets of {} {}", layer.back().name(), text.trim_start_matches("which "))
        }
        (..) => format!("went into packets of {}, {text}", layer.name()),
    });
    stop.whose = whose;
    stop.host = whose.host();
    stop.place_name = whose.side().map(|side| evidence.name(side));
    for candidate in &mut stop.candidates {
        if let Some(outer) = candidate.whose.side() {
            candidate.whose = host_of(side(outer));
            candidate.host = candidate.whose.host();
        }
    }
    for blind in &mut stop.blind {
        blind.checkpoint.host = side(blind.checkpoint.host);
    }
    stop.commands = stop.commands.into_iter().map(typed).collect();
    advised(&mut stop, evidence);
    if stop.leg == layer.leg {
        stop.leg = gap.leg;
    }
    if stop.host == StopHost::Beyond {
        // Only the far end can tell more.
        stop.commands.extend(own.commands.iter().cloned());
        stop.commands.rotate_right(own.commands.len());
        stop.advice.clone_from(&own.advice);
    }
    stop.seen_leg = gap.leg;
    stop.missing_leg = gap.missing_leg;
    stop.last_seen = gap.last_seen;
    stop.first_missing = gap.first_missing;
    stop.packets = stop.packets.min(gap.probes.len());
    if matches!(whose, Whose::Beyond) && evidence.two_sided() {
        stop.whose = Whose::Network;
        stop.host = Whose::Network.host();
    }
    stop.carried = Some(carried);
    stop
}

/// Makes the first of its commands what is advised.
fn advised(stop: &mut Stop, evidence: &Evidence) {
    if let Some(Command { on: Some(on), command }) = stop.commands.first() {
        stop.advice = format!("on {}: {command}", evidence.name(*on));
    }
}

/// Returns which place of the evidence one of the packets that carry the probes is.
fn side(outer: Side, crossing: &Crossing, leg: Echo) -> Side {
    let there = crossing.to.unwrap_or(crossing.from);
    match (outer, leg) {
        (Side::Via(number), _) => Side::Via(number),
        (Side::Local, Echo::Request) | (Side::Peer, Echo::Reply) => crossing.from,
        (Side::Peer, Echo::Request) | (Side::Local, Echo::Reply) => there,
    }
}

/// Returns a command where it is typed: an end of the stretch may be a place in between.
fn typed(command: Command, side: &impl Fn(Side) -> Side, evidence: &Evidence) -> Command {
    let Some(outer) = command.on else { return command };
    let (on, enter) = evidence.entered(side(outer));
    Command { on: Some(on), command: advice::behind(enter, &command.command) }
}
