//! The verdict: from evidence to the whole diagnosis.

use std::{cmp::Reverse, collections::BTreeSet};

use super::{
    Diagnosis, Evidence, ProbeMode, advice, alterations, between,
    carried::{self, Crossing, Judge},
    document::{
        BlindHop, Candidate, Confidence, Costs, HopState, HopStatus, Outcome, Place, PlaceRole, SideCosts, SideFacts,
        Sides, Stop, Verdict, Witness,
    },
    explain, firewall, followed,
    ledger::{Gap, Ledger, LedgerRow},
    neighbour,
    path::{Side, Station},
    places::{DropLocation, DropPoint},
    rewrites::{self, Rewrite},
    rules::{self, Ruling, Weight, said},
    sentence, timing, tracking, ways,
};
use probe_ebpf::Hop;

use crate::{
    exit::Exit,
    model::{
        stage,
        trace::{Accounting, Finding, HostTrace},
    },
};

/// How the packets that carry probes are judged: as the probes are.
const JUDGE: Judge = Judge { diagnose, stop: |gap, evidence| stop(gap, &[], evidence) };

/// Says which of a name's addresses was asked, if it has one of the other IP version too, which may be reached.
fn other_family(evidence: &Evidence) -> Option<String> {
    let target = &evidence.target;
    let other = evidence.other_addresses.iter().find(|other| other.is_ipv4() != target.address.is_ipv4())?;
    let flag = if other.is_ipv4() { "-4" } else { "-6" };
    Some(format!(
        "{} is {}, which was asked, and {other}, which was not: add {flag} for that",
        target.name, target.address
    ))
}

/// Says that more than one link-layer address answers for the next hop: packets go to one of them.
fn several_answer(evidence: &Evidence) -> Option<String> {
    let again = evidence.findings(Side::Local).find_map(|finding| match finding {
        Finding::AskedAgain(again) if again.lladdrs.len() > 1 => Some(again),
        _ => None,
    })?;
    Some(format!(
        "asked again, {} answer for {} on {}: two hosts have it, or one answers by two devices",
        again.lladdrs.join(" and "),
        again.address,
        again.interface
    ))
}

/// Returns what `evidence` shows.
pub fn diagnose(evidence: &Evidence) -> Diagnosis {
    let ledger = Ledger::new(evidence);
    let rewrites = rewrites::find(&ledger, evidence);
    let crossings = carried::crossings(&ledger, evidence);
    let mut stops: Vec<Stop> = stops(&ledger, (&rewrites, &crossings), evidence);
    stops.sort_by_key(|stop| Reverse(stop.packets));
    let alterations = alterations::find(&ledger, evidence);
    let answered = answered(&ledger, evidence);
    let answered_by = neighbour::answered_by_other(evidence);
    let unaltered = alterations.is_empty() && answered_by.is_none();
    let outcome = outcome(&ledger, evidence, answered, unaltered);
    let rewritten = rewrites.iter().map(|rewrite| rewrite.alteration(evidence));
    let mut notes = alterations::notes(evidence);
    notes.extend(rewrites::other_ways(evidence));
    notes.extend(other_family(evidence).into_iter().chain(several_answer(evidence)).filter(|_| !stops.is_empty()));
    let carried = carried::stretches(&crossings, JUDGE);
    let (mut places, vias) = (places(&ledger, evidence), ways::hosts(evidence));
    notes.extend(ways::notes(evidence, &vias, &places, &stops));
    for (side, leg, interfaces) in carried::met(&crossings) {
        let known = places.iter().position(|known| known.side == side).unwrap_or_else(|| {
            places.push(Place { interfaces, ..place(evidence, side) });
            places.len() - 1
        });
        if !places[known].legs.contains(&leg) {
            places[known].legs.push(leg);
        }
    }
    let mut diagnosis = Diagnosis {
        target: evidence.target.clone(),
        sides: Sides {
            local: side_facts(&ledger, evidence, Side::Local),
            peer: evidence.two_sided().then(|| side_facts(&ledger, evidence, Side::Peer)),
        },
        places,
        vias,
        responder: evidence.responder,
        sent: evidence.sent(),
        answered_by,
        answered,
        verdict: Verdict {
            outcome,
            confidence: confidence(outcome, &stops, &ledger, evidence),
            sentence: String::new(),
        },
        stops,
        alterations: alterations.into_iter().chain(rewritten).collect(),
        conntrack: tracking::told(evidence),
        notes,
        followed: evidence.following.as_ref().map(|following| following.run.clone()),
        sent_as: evidence.sent_as.clone(),
        controls: evidence.controls.clone(),
        hops: hops(&ledger, evidence),
        carried,
        carried_by: evidence.layer.as_ref().map(|layer| layer.tunnel.kind.clone()),
        rtt_ns: timing::round_trips(evidence),
        stages: timing::stages(evidence),
        accounting: costs(evidence),
    };
    diagnosis.verdict.sentence = sentence::of(&diagnosis, evidence);
    diagnosis
}

fn answered(ledger: &Ledger, evidence: &Evidence) -> usize {
    match evidence.mode {
        ProbeMode::Request => {
            let received = &evidence.sending.received;
            evidence.sending.probes.iter().filter(|sent| received.contains_key(&sent.probe)).count()
        }
        ProbeMode::ReplyOnly | ProbeMode::RequestOnly if ledger.sees_the_end(evidence) => ledger.arrived(),
        ProbeMode::ReplyOnly | ProbeMode::RequestOnly => 0,
    }
}

fn outcome(ledger: &Ledger, evidence: &Evidence, answered: usize, unaltered: bool) -> Outcome {
    let sent = evidence.sent();
    let stopped = sent - ledger.arrived().min(sent);
    match answered {
        _ if sent == 0 => Outcome::Inconclusive,
        0 if stopped == 0 => Outcome::Inconclusive,
        0 if stopped < sent => Outcome::Lossy,
        0 => Outcome::Stopped,
        some if some < sent => Outcome::Lossy,
        _ if unaltered => Outcome::Delivered,
        _ => Outcome::Altered,
    }
}

/// Returns how sure the run's outcome is: as sure as the stop with most packets; deliveries and changes were seen.
fn confidence(outcome: Outcome, stops: &[Stop], ledger: &Ledger, evidence: &Evidence) -> Confidence {
    match outcome {
        Outcome::Inconclusive => Confidence::Unknown,
        Outcome::Delivered | Outcome::Altered => {
            let end_blind = ledger.rows.last().is_some_and(|row| row.blind.is_some());
            let guessed = evidence.one_way() && end_blind;
            if guessed { Confidence::Likely } else { Confidence::Certain }
        }
        Outcome::Stopped | Outcome::Lossy => stops.first().map_or(Confidence::Unknown, |stop| stop.confidence),
    }
}

fn stops(ledger: &Ledger, (rewrites, crossings): (&[Rewrite], &[Crossing]), evidence: &Evidence) -> Vec<Stop> {
    let gaps = ledger.gaps(evidence).into_iter().flat_map(|gap| gap.split(evidence));
    let of_gap = |gap: Gap| {
        let own = stop(&gap, rewrites, evidence)?;
        // What was said about the probes themselves comes before what is known of the packets that carry them.
        let told = own.cause.icmp.is_some() || own.witnesses.contains(&Witness::DropEvent);
        let open = matches!(
            own.place,
            DropPoint::Network | DropPoint::DriverOut | DropPoint::DriverIn | DropPoint::TunProgram
        );
        // What the device of a tunnel did not send is explained by what that device is told to do.
        let into_itself = own.cause.reason.as_deref() == Some(rules::tun::INTO_ITSELF);
        let silent = (!told && open && !into_itself) || own.place == DropPoint::Encapsulation;
        let carried = carried::of_gap(&gap, &own, crossings, evidence, JUDGE).filter(|_| silent);
        Some(carried.unwrap_or_else(|| vec![own]))
    };
    gaps.filter_map(of_gap).flatten().collect()
}

/// Returns what stops the packets of a gap.
fn stop(gap: &Gap, rewrites: &[Rewrite], evidence: &Evidence) -> Option<Stop> {
    let ruling = rules::judge(gap, evidence)?;
    let chosen = *ruling.spots.first()?;
    let candidates = candidates(&ruling);
    let witnesses = witnesses(gap, evidence, &ruling);
    let mut stop = Stop {
        leg: chosen.leg,
        host: chosen.host.host(),
        whose: chosen.host,
        place_name: chosen.side().map(|side| evidence.name(side)),
        layer: chosen.place.layer(),
        place: chosen.place,
        seen_leg: gap.leg,
        missing_leg: gap.missing_leg,
        packets: gap.probes.len(),
        last_seen: gap.last_seen,
        first_missing: gap.first_missing,
        confidence: sureness(gap, &ruling, &candidates, &witnesses).min(most_sure(gap, chosen, evidence)),
        cause: ruling.cause,
        witnesses,
        candidates,
        blind: gap.blind.clone(),
        drop_events: gap.events(evidence).len(),
        carried: None,
        told: None,
        meaning: String::new(),
        advice: String::new(),
        commands: Vec::new(),
    };
    if stop.cause.icmp.is_none() {
        stop.cause.icmp = gap.icmp(evidence).and_then(|error| said::icmp_cause(error).icmp);
    }
    if stop.confidence > Confidence::Unknown {
        firewall::name(&mut stop, chosen, evidence);
    }
    name_the_program(&mut stop, chosen, evidence);
    if let (DropPoint::Network, None, Some(kind)) = (chosen.place, &stop.cause.detail, tunnel(evidence)) {
        let text = format!("inside the {kind} tunnel, and what carries it at either end is not watched");
        stop.cause.detail = Some(text);
    }
    advice::give(&mut stop, evidence);
    firewall::say_what_the_rule_does(&mut stop);
    followed::leave_out_own_probes(&mut stop, evidence);
    let explained = explain::complete(&mut stop, gap, chosen, evidence, rewrites);
    if let (DropPoint::Network, Some(rules::tun::SENT_ON), Some(detail)) =
        (stop.place, stop.cause.reason.as_deref(), &stop.cause.detail)
    {
        stop.told = Some(format!("were {detail}"));
    }
    // For answers to another address than the sender's, only the look-up of that address would show the neighbour they
    // wait for; and for a socket bound to another device than its target's, it means nothing who else hears the
    // question.
    let bound = stop.cause.reason.as_deref() == Some("SO_BINDTODEVICE");
    if !(bound || explained && stop.place == DropPoint::Neighbour) {
        neighbour::explain(&mut stop, evidence);
    }
    Some(stop)
}

/// Returns which host and layer remain, in path order.
fn candidates(ruling: &Ruling) -> Vec<Candidate> {
    let mut spots: Vec<DropLocation> = ruling.spots.clone();
    spots.sort_unstable();
    let mut candidates: Vec<Candidate> = spots.into_iter().map(DropLocation::candidate).collect();
    candidates.dedup();
    let mut seen = BTreeSet::new();
    candidates.retain(|candidate| seen.insert(*candidate));
    candidates
}

fn witnesses(gap: &Gap, evidence: &Evidence, ruling: &Ruling) -> Vec<Witness> {
    let direct = |witness, speaks: bool| speaks.then_some(witness);
    let spoken = [
        Some(Witness::Counters),
        direct(Witness::DropEvent, !gap.events(evidence).is_empty()),
        direct(Witness::Errno, gap.errno(evidence).is_some()),
        direct(Witness::IcmpError, gap.icmp(evidence).is_some()),
        ruling.witness,
    ];
    let mut witnesses: Vec<Witness> = spoken.into_iter().flatten().collect();
    witnesses.sort_unstable();
    witnesses.dedup();
    witnesses
}

/// Returns how sure a stop is. It is certain with two witnesses that leave one place, or with counters and nothing
/// blind between them; what was looked up never outweighs a blind hop.
fn sureness(gap: &Gap, ruling: &Ruling, candidates: &[Candidate], witnesses: &[Witness]) -> Confidence {
    let one_place = candidates.len() == 1;
    let whole = gap.blind.is_empty();
    let two = witnesses.len() >= 2;
    match (one_place, ruling.weight) {
        (true, Weight::Direct) if two || whole => Confidence::Certain,
        (true, Weight::Explains) if whole => Confidence::Certain,
        // Counters on both sides of a single place need no more.
        (true, Weight::Suggests) if whole && (ruling.witness.is_none() && alone(gap)) => Confidence::Certain,
        (true, _) => Confidence::Likely,
        (false, _) if two => Confidence::Likely,
        (false, _) => Confidence::Unknown,
    }
}

/// Returns how sure one can be if drop events of that host were lost: those that are left may not speak for all probes.
fn most_sure(gap: &Gap, chosen: DropLocation, evidence: &Evidence) -> Confidence {
    if evidence.layer.as_ref().is_some_and(|layer| layer.tunnel.is_sealed()) {
        // Which packet of the program is which probe follows from times alone.
        return Confidence::Likely;
    }
    let lost = |side: Side| evidence.host(side).accounting.events_lost > 0;
    let lossy = match chosen.side() {
        Some(side) => lost(side),
        None => lost(Side::Local) || evidence.two_sided() && lost(Side::Peer),
    };
    // Between the ends of a tunnel lie the devices that carry it too, on the very hosts.
    if chosen.place == DropPoint::Network && tunnel(evidence).is_some() {
        return Confidence::Likely;
    }
    let told: BTreeSet<u16> = gap.events(evidence).iter().filter_map(|told| told.drop.probe).collect();
    if lossy && told.len() < gap.probes.len() { Confidence::Likely } else { Confidence::Certain }
}

/// Returns the kind of the interface that carries the probes, if it is a tunnel at one end.
fn tunnel(evidence: &Evidence) -> Option<&str> {
    let kinds = [&evidence.local, evidence.host(Side::Peer)].map(|sight| sight.host.tunnel.as_deref());
    kinds.into_iter().flatten().next()
}

/// Reports whether the gap itself leaves only one place, without any witness.
fn alone(gap: &Gap) -> bool {
    let network = gap.spots.iter().any(|spot| spot.place == DropPoint::Network);
    let silent = |spot: &&DropLocation| !(network && matches!(spot.place, DropPoint::DriverOut | DropPoint::DriverIn));
    let mut left: Vec<Candidate> = gap.spots.iter().filter(silent).map(|spot| spot.candidate()).collect();
    left.dedup();
    left.len() == 1
}

fn name_the_program(stop: &mut Stop, spot: DropLocation, evidence: &Evidence) {
    let Some(side) = spot.side().filter(|_| stop.cause.program.is_none()) else { return };
    stop.cause.program = evidence.findings(side).find_map(|finding| match finding {
        Finding::Program { at, who, probe_filter: false, .. } if DropPoint::of(*at) == Some(spot.place) => {
            Some(who.clone())
        }
        _ => None,
    });
}

fn state_of(row: &LedgerRow) -> HopStatus {
    match (row.seen.is_empty(), &row.blind) {
        (false, _) => HopStatus::Seen,
        (true, Some(_)) => HopStatus::Blind,
        (true, None) => HopStatus::Missing,
    }
}

fn hops(ledger: &Ledger, evidence: &Evidence) -> Vec<HopState> {
    let watched = |row: &&LedgerRow| row.step.checkpoint.host != Side::Peer || evidence.two_sided();
    let state = |(index, row): (usize, &LedgerRow)| {
        let state = state_of(row);
        HopState {
            leg: row.step.leg,
            checkpoint: row.step.checkpoint,
            place: evidence.name(row.step.checkpoint.host),
            interface: port_of(evidence, row),
            state,
            packets: (state != HopStatus::Blind).then_some(row.seen.len()),
            why: row.blind.clone().filter(|_| state == HopStatus::Blind),
            passed: ledger.passed(index),
        }
    };
    ledger.rows.iter().enumerate().filter(|(_, row)| watched(row)).map(state).collect()
}

/// Returns the interface of a hop of a place in between, or of an end if it is not the watched one.
fn port_of(evidence: &Evidence, row: &LedgerRow) -> Option<String> {
    let side = row.step.checkpoint.host;
    let port = match row.step.checkpoint.station {
        Station::Port(_, port) => port,
        Station::Hop(hop @ (Hop::NetifIn | Hop::DevQueue | Hop::Xmit)) => {
            let other = evidence.other_device(side, row.step.leg, hop == Hop::NetifIn)?;
            return row.seen.is_subset(&other.probes).then(|| other.interface.clone());
        }
        _ => return None,
    };
    let place = evidence.place(side)?;
    place.ports.get(usize::from(port)).map(|port| port.interface.clone())
}

/// Returns every place of the path, in its order.
fn places(ledger: &Ledger, evidence: &Evidence) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for row in &ledger.rows {
        let (leg, side) = (row.step.leg, row.step.checkpoint.host);
        if side == Side::Peer && !evidence.two_sided() {
            continue;
        }
        let index = places.iter().position(|place| place.side == side).unwrap_or_else(|| {
            places.push(place(evidence, side));
            places.len() - 1
        });
        let there = !row.seen.is_empty() || !row.proven.is_empty();
        if there && !places[index].legs.contains(&leg) {
            places[index].legs.push(leg);
        }
    }
    places.sort_by_key(|place| match place.role {
        PlaceRole::Sender => 0,
        PlaceRole::Router => 1,
        PlaceRole::Target => 2,
    });
    places
}

fn place(evidence: &Evidence, side: Side) -> Place {
    let host = &evidence.host(side).host;
    let (netns, interfaces, role) = match evidence.place(side) {
        Some(place) => {
            let names = place.ports.iter().map(|port| port.interface.clone()).collect();
            (place.netns, names, between::role(evidence, place))
        }
        None => {
            let name = (!host.interface.is_empty()).then(|| host.interface.clone());
            let role = if side == Side::Local { PlaceRole::Sender } else { PlaceRole::Target };
            (host.netns, name.into_iter().collect(), role)
        }
    };
    Place {
        side,
        entered_from: evidence.entered_from(side),
        name: evidence.name(side),
        host: host.hostname.clone(),
        netns: (netns != 0).then_some(netns),
        interfaces,
        role,
        legs: Vec::new(),
    }
}

fn side_facts(ledger: &Ledger, evidence: &Evidence, side: Side) -> SideFacts {
    let HostTrace { host, .. } = evidence.host(side);
    let mut blind: Vec<BlindHop> = Vec::new();
    for row in ledger.rows.iter().filter(|row| row.step.checkpoint.host == side && state_of(row) == HopStatus::Blind) {
        let Station::Hop(hop) = row.step.checkpoint.station else { continue };
        let hop = BlindHop { hop: hop.name(), why: row.blind.clone().unwrap_or_default() };
        if !blind.contains(&hop) {
            blind.push(hop);
        }
    }
    SideFacts {
        hostname: host.hostname.clone(),
        interface: host.interface.clone(),
        address: host.address,
        kernel: host.kernel.clone(),
        xdp_mode: host.xdp_mode,
        blind,
    }
}

fn costs(evidence: &Evidence) -> Costs {
    let of = |host: &HostTrace| {
        let Accounting { events_lost, maps_full, attach_ms, bpf_ns_per_packet } = host.accounting;
        SideCosts { events_lost, maps_full, attach_ms, bpf_ns_per_packet }
    };
    let (local, peer) = (of(&evidence.local), evidence.peer.as_ref().map(of));
    let all: Vec<SideCosts> =
        [local].into_iter().chain(peer).chain(evidence.vias.iter().map(|via| of(&via.trace))).collect();
    Costs {
        events_lost: all.iter().map(|costs| costs.events_lost).sum(),
        maps_full: all.iter().map(|costs| costs.maps_full).sum(),
        attach_ms: all.iter().map(|costs| costs.attach_ms).max().unwrap_or_default(),
        bpf_ns_per_packet: all.iter().map(|costs| costs.bpf_ns_per_packet).sum(),
        controls: evidence.varied.clone(),
        local,
        peer,
    }
}

impl Diagnosis {
    /// Returns the exit status that tells where most packets stop; that of the outcome where that is not known.
    pub fn stage(&self) -> Exit {
        let most = self.stops.iter().rev().max_by_key(|stop| stop.packets);
        match (self.exit(), most) {
            (Exit::Stopped, Some(stop)) => Exit::Stage(stage::status(stop.host, stop.layer)),
            (exit, _) => exit,
        }
    }

    /// Returns the exit status: only a delivery is good news, and an unknown outcome is not.
    pub fn exit(&self) -> Exit {
        match self.verdict.outcome {
            Outcome::Delivered => Exit::Done,
            Outcome::Stopped | Outcome::Lossy | Outcome::Altered | Outcome::Inconclusive => Exit::Stopped,
        }
    }
}
