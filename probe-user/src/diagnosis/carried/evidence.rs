//! Makes evidence of the packets that carry the probes over one stretch of the path.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use probe_ebpf::{Echo, Hop, contract::crossing::CROSSING_HOPS, hop::HOPS};

use crate::{
    diagnosis::{Evidence, ProbeMode, Responder, Target, around::FIRST, hooks, path::Side, tunnel_layer::TunnelLayer},
    model::trace::{
        Drop, Finding, HeardError, HopTrace, HostFacts, HostTrace, PlaceTrace, ProbePassage, Received, SenderTrace,
        SentProbe, TunnelFacts, ViaTrace, tunnel::ANY_ADDRESS,
    },
};

/// What the probes themselves show of a stretch.
pub(super) struct Known<'a> {
    pub(super) leg: Echo,
    /// The interface by which the probes leave for it.
    pub(super) exit: &'a str,
    /// The last place before it.
    pub(super) from: Side,
    /// The first place after it; none: nobody watched the probes there.
    pub(super) to: Option<Side>,
    /// The probes that left for it.
    pub(super) sent: BTreeSet<u16>,
    /// Those that came out of it.
    pub(super) received: BTreeSet<u16>,
}

/// The evidence, and the place after the stretch where it was found.
pub(super) struct Outer {
    pub(super) to: Option<Side>,
    pub(super) evidence: Evidence,
}

/// Returns what is known of the packets that carry the probes; `None` if they leave by no tunnel.
pub(super) fn of(known: &Known<'_>, evidence: &Evidence) -> Option<Outer> {
    let near = evidence.seen_around(known.from);
    let tunnel = near?.tunnels.iter().find(|tunnel| tunnel.is_behind(known.exit))?.clone();
    let sealed = tunnel.is_sealed();
    let first = near.and_then(|place| first_passage(place, known.leg));
    let streams = tunnel.programs.iter().any(|program| program.connections > 0);
    if sealed && (tunnel.ports().is_empty() || streams && first.is_none()) {
        return None;
    }
    // What cannot be opened is recognized only by who saw it being sent.
    let legible = |side: Side| !sealed || side == known.from || evidence.watched_as_one(side, known.from);
    let carried = |side: Side| evidence.seen_around(side).filter(|_| legible(side));
    let inner = inner_address(known.from, &tunnel, evidence);
    let entry = inner.as_deref().and_then(|lladdr| tunnel.entry_for(lladdr)).or_else(|| tunnel.entry_for(ANY_ADDRESS));
    let from = first.and_then(|passage| passage.source).or(tunnel.local);
    let to = first.and_then(|passage| passage.destination).or(entry.map(|entry| entry.to)).or(tunnel.remote);
    let to_side = known.to.filter(|side| carried(*side).is_some()).or_else(|| {
        let has = |place: &PlaceTrace| to.is_some_and(|to| has_address(place, to));
        let others = evidence.sides().filter(|side| *side != known.from);
        others.into_iter().find(|side| carried(*side).is_some_and(has))
    });
    // Where no address is known, the link-layer address inside is that of the far end's device.
    let to_side = to_side.or_else(|| {
        let inner = inner.as_deref()?;
        let has = |place: &PlaceTrace| place.tunnels.iter().any(|tunnel| tunnel.lladdr.as_deref() == Some(inner));
        evidence.sides().find(|side| *side != known.from && carried(*side).is_some_and(has))
    });
    let far_place = to_side.and_then(carried);
    let far = far_place.and_then(|place| tunnel.counterpart(&place.tunnels, from, to)).cloned();
    let ends = (evidence.local.host.address, Some(evidence.target.address));
    let (inner_from, inner_to) = if known.leg == evidence.first_leg() { ends } else { (ends.1, ends.0) };
    let header = 8 + if evidence.is_v6() { 40 } else { 20 };
    let probe_bytes = evidence.sending.socket.as_ref().map(|socket| u32::from(socket.size) + header);
    // A packet of the tunnel inside is what this one carries.
    let within = evidence.layer.as_ref();
    let inner_bytes = within.map_or(probe_bytes, |layer| Some(layer.inner_bytes? + layer.around()?));
    let lengths = evidence.controls.iter().find_map(|control| control.packet_sizes(evidence.is_v6()));
    let layer = TunnelLayer {
        leg: known.leg,
        far,
        from,
        to,
        inner_from,
        inner_to,
        inner_bytes,
        lengths,
        depth: within.map_or(FIRST, |layer| layer.depth + 1),
        lladdr: inner,
        tunnel,
    };
    let (sender, target) = if known.leg == Echo::Request { (from, to) } else { (to, from) };
    let near_host = near.map(|place| host(place, known.from, from, &layer, evidence)).unwrap_or_default();
    let far_host = far_place.zip(to_side).map(|(place, side)| host(place, side, to, &layer, evidence));
    let (local, peer) = match (known.leg, far_host) {
        (Echo::Reply, Some(far)) => (far, Some(near_host)),
        (_, far) => (near_host, far),
    };
    let ends: Vec<Side> = [Some(known.from), to_side].into_iter().flatten().collect();
    let nowhere = || IpAddr::from([0, 0, 0, 0]);
    let target = target.unwrap_or_else(nowhere);
    let outer = Evidence {
        mode: ProbeMode::Request,
        responder: Responder::Kernel,
        sending: sending(known, sender.unwrap_or_else(nowhere), evidence),
        local,
        peer,
        places: places(&ends, &legible, evidence),
        vias: unheard(&evidence.vias),
        carried: further_out(&evidence.carried),
        layer: Some(layer),
        walk: None,
        controls: Vec::new(),
        following: None,
        enter: None,
        other_addresses: Vec::new(),
        flags: Vec::new(),
        target: Target { name: target.to_string(), address: target },
        ..evidence.clone()
    };
    Some(Outer { to: to_side, evidence: outer })
}

/// Returns the first passage of a leg out of a place or into it, by any of its hops.
fn first_passage(place: &PlaceTrace, leg: Echo) -> Option<&ProbePassage> {
    let ports = place.ports.iter().flat_map(|port| port.hops.values());
    let hooks = place.hooks.iter().flat_map(|hooks| hooks.hops.values());
    let seen = ports.chain(hooks).filter_map(|hop| hop.seen(leg)).flat_map(BTreeMap::values);
    seen.min_by_key(|passage| passage.first_ns)
}

/// Returns the link-layer address to which the frames inside are sent, as the neighbour's entry at the tunnel has it.
fn inner_address(side: Side, tunnel: &TunnelFacts, evidence: &Evidence) -> Option<String> {
    evidence.findings(side).find_map(|finding| match finding {
        Finding::Neighbour { interface, lladdr: Some(lladdr), .. } if tunnel.is_behind(interface) => {
            Some(lladdr.clone())
        }
        _ => None,
    })
}

fn has_address(place: &PlaceTrace, address: IpAddr) -> bool {
    place.findings.iter().any(|finding| match finding {
        Finding::Address { address: told, own: true } => *told == address,
        Finding::Holder(holder) => holder.address == Some(address),
        _ => false,
    })
}

/// Returns what the device of the tunnel sent and took out again, as if it were the program that sends.
fn sending(known: &Known<'_>, sender: IpAddr, evidence: &Evidence) -> SenderTrace {
    let sent = evidence.sending.probes.iter().filter(|sent| known.sent.contains(&sent.probe));
    let probes: Vec<SentProbe> = sent.map(|sent| SentProbe { errno: None, ..sent.clone() }).collect();
    let received = probes.iter().filter(|sent| known.received.contains(&sent.probe)).map(|sent| {
        let received = Received {
            time_ns: sent.sent_ns,
            from: sender,
            id: sent.id,
            ttl: 0,
            times: 1,
            altered: None,
            bad_checksum: false,
        };
        (sent.probe, received)
    });
    SenderTrace { received: received.collect(), probes, ..SenderTrace::default() }
}

/// Returns every place of the evidence under its own number, with what it saw of the packets that carry the probes; the two ends of
/// the stretch saw nothing as such.
fn places(ends: &[Side], legible: &impl Fn(Side) -> bool, evidence: &Evidence) -> Vec<PlaceTrace> {
    let numbered = (0_u8..).zip(&evidence.places);
    let outer = |(number, place): (u8, &PlaceTrace)| {
        let side = Side::Via(number);
        let names = place.identity();
        let carried = evidence.seen_around(side);
        let is_end = ends.iter().any(|end| evidence.is_one_place(*end, side));
        match carried.filter(|_| !is_end && legible(side)) {
            Some(carried) => PlaceTrace {
                name: names.name,
                enter: names.enter,
                of_peer: names.of_peer,
                of_via: names.of_via,
                ..carried.clone()
            },
            None => names,
        }
    };
    numbered.map(outer).collect()
}

/// Returns a place as a host that makes or takes the packets of a tunnel; `address` is the one that they have there.
fn host(
    place: &PlaceTrace,
    side: Side,
    address: Option<IpAddr>,
    layer: &TunnelLayer,
    evidence: &Evidence,
) -> HostTrace {
    let base = evidence.host(side);
    let legs = [layer.leg, if layer.leg == Echo::Request { Echo::Reply } else { Echo::Request }];
    let interface =
        legs.iter().find_map(|leg| carrying(place, *leg)).or_else(|| routed(place, layer)).unwrap_or_default();
    let why = format!(
        "it is attached at the tunnel, not at {}",
        if interface.is_empty() { "what carries it" } else { &interface }
    );
    let hops = HOPS.iter().map(|row| {
        let sight = match row.hop {
            hop if CROSSING_HOPS.contains(&hop) => at_ports(place, hop),
            hop if hooks::is_hook(hop) => at_hook(place, hop),
            _ => HopTrace::Blind { why: why.clone() },
        };
        (row.hop, sight)
    });
    let inner = inside_the_tunnel(side, layer, evidence);
    // What the kernel counted when a program's call was refused is known from the begin of the run only there.
    let counted = evidence.findings(side).filter(|finding| {
        layer.tunnel.is_sealed() && matches!(finding, Finding::Counter { .. }) && !place.findings.contains(finding)
    });
    HostTrace {
        host: HostFacts {
            hostname: evidence.name(side),
            interface: interface.clone(),
            address,
            tunnel: None,
            tunnels: Vec::new(),
            netns: place.netns,
            xdp_mode: crate::model::attach::XdpAttachment::Off,
            ..base.host.clone()
        },
        hops: hops.collect(),
        drops: place.drops.iter().cloned().chain(inner).collect(),
        findings: place.findings.iter().chain(counted).cloned().collect(),
        accounting: base.accounting,
        ports: place.ports.clone(),
        neighbour: place.neighbour.clone(),
        heard: heard(&base.heard, place),
        ..HostTrace::default()
    }
}

/// Returns what was seen of the probes with more layers around them, as those around the packets of the first one.
fn further_out(carried: &[PlaceTrace]) -> Vec<PlaceTrace> {
    let deeper = carried.iter().filter(|place| place.layers > FIRST);
    deeper.map(|place| PlaceTrace { layers: place.layers - 1, ..place.clone() }).collect()
}

/// Returns the hosts in between without the ICMP errors that came to them: those are about the probes, and those about what carries
/// them come to the ends of the tunnel.
fn unheard(vias: &[ViaTrace]) -> Vec<ViaTrace> {
    let silent =
        |via: &ViaTrace| ViaTrace { trace: HostTrace { heard: Vec::new(), ..via.trace.clone() }, ..via.clone() };
    vias.iter().map(silent).collect()
}

/// Returns the ICMP errors about packets of tunnels that came to a place, as errors about what is judged there.
fn heard(all: &[HeardError], place: &PlaceTrace) -> Vec<HeardError> {
    let here = all.iter().filter(|heard| heard.around_in == Some(place.netns));
    here.map(|heard| HeardError { around_in: None, ..heard.clone() }).collect()
}

/// Probes that the tunnel's own device freed, before it encapsulated them.
fn inside_the_tunnel(side: Side, layer: &TunnelLayer, evidence: &Evidence) -> Vec<Drop> {
    let device = &layer.tunnel.interface;
    let by_tunnel = |drop: &&Drop| {
        drop.leg == layer.leg && drop.interface.as_ref() == Some(device) && crate::diagnosis::names::is_of_tunnel(drop)
    };
    evidence.drops(side).iter().filter(by_tunnel).cloned().collect()
}

/// Returns the interface of a place by which packets that carry a leg left, or came in.
fn carrying(place: &PlaceTrace, leg: Echo) -> Option<String> {
    let first = |hop: Hop| {
        let ports = place.ports.iter().filter_map(|port| {
            let seen = port.seen(hop, leg)?;
            Some((seen.values().map(|passage| passage.first_ns).min()?, &port.interface))
        });
        ports.collect::<Vec<_>>()
    };
    // What leaves by a bridge leaves by its port at last; what comes in comes by the port first.
    let out = first(Hop::Xmit).into_iter().max();
    let found = out.or_else(|| first(Hop::NetifIn).into_iter().min());
    found.map(|(_, name)| name.clone())
}

/// Returns the interface by which routing would send them.
fn routed(place: &PlaceTrace, layer: &TunnelLayer) -> Option<String> {
    let by_route = place.findings.iter().find_map(|finding| match finding {
        Finding::Route { to, interface: Some(interface), .. } if Some(*to) == layer.to || Some(*to) == layer.from => {
            (interface != "lo").then(|| interface.clone())
        }
        _ => None,
    });
    by_route.or_else(|| layer.tunnel.lower.clone())
}

fn at_ports(place: &PlaceTrace, hop: Hop) -> HopTrace {
    let (mut requests, mut replies) = (BTreeMap::new(), BTreeMap::new());
    for port in &place.ports {
        match port.hops.get(&hop) {
            Some(HopTrace::Blind { why }) => return HopTrace::Blind { why: why.clone() },
            Some(HopTrace::Watched { requests: one, replies: other }) => {
                for (all, more) in [(&mut requests, one), (&mut replies, other)] {
                    for (probe, passage) in more {
                        all.entry(*probe).or_insert(*passage);
                    }
                }
            }
            None => {}
        }
    }
    HopTrace::Watched { requests, replies }
}

fn at_hook(place: &PlaceTrace, hop: Hop) -> HopTrace {
    if let Some(why) = hooks::blind(place, hop) {
        return HopTrace::Blind { why };
    }
    let legs = [Echo::Request, Echo::Reply].map(|leg| hooks::seen(place, hop, leg).cloned());
    match legs {
        [Some(requests), Some(replies)] => HopTrace::Watched { requests, replies },
        _ => HopTrace::Blind { why: "it was not watched for the packets of tunnels".to_owned() },
    }
}
