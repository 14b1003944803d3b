//! What the programs behind the tun devices of both ends did with packets, by what their devices counted and what their sockets sent.

use probe_ebpf::Echo;

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{Evidence, path::Side, places::DropPoint, tunnel_layer::TunnelLayer},
    model::trace::{Finding, PortTrace, TunnelFacts, WireGuardPeer, tun_program::names},
};

/// Explains a stop in the program that makes the packets of a tunnel, or in the one that takes them.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let layer = case.evidence.layer.as_ref().filter(|layer| layer.tunnel.is_sealed())?;
    let (from, to) = match layer.leg {
        Echo::Request => (Side::Local, Side::Peer),
        Echo::Reply => (Side::Peer, Side::Local),
    };
    match case.stop.place {
        DropPoint::Encapsulation => Some(not_sent(case, layer, from)),
        DropPoint::Decapsulation if case.evidence.two_sided() => Some(not_written(case, layer, to)),
        DropPoint::Decapsulation => Some(came_back(layer, from)),
        _ => None,
    }
}

/// Returns ` by UDP port 5151`.
fn by_ports(tunnel: &TunnelFacts) -> String {
    let ports: Vec<String> = tunnel.ports().iter().map(u16::to_string).collect();
    let word = if ports.len() == 1 { "port" } else { "ports" };
    format!("UDP {word} {}", ports.join(" and "))
}

fn commands(tunnel: &TunnelFacts) -> Vec<String> {
    let pid = tunnel.programs.first().map_or(0, |program| program.pid);
    vec![
        format!("ss -uanp | grep pid={pid},"),
        format!("ip -s link show dev {}", tunnel.interface),
        format!("cat /proc/{pid}/wchan; ls -l /proc/{pid}/fd"),
    ]
}

/// Explains probes that were handed to a program, and after which its sockets sent nothing.
fn not_sent(case: &StopCase<'_>, layer: &TunnelLayer, from: Side) -> StopExplanation {
    let (tunnel, evidence) = (&layer.tunnel, case.evidence);
    let (device, who, there) = (&tunnel.interface, names(&tunnel.programs), evidence.name(from));
    let packets = case.stop.packets as u64;
    let several = tunnel.programs.len() > 1;
    let (holds, reads) = if several { ("share", "read") } else { ("holds", "reads") };
    let read = tunnel.counts.map(|counts| counts.read);
    let refused = tunnel.counts.map_or(0, |counts| counts.refused);
    let routed = evidence.findings(from).find_map(|finding| match finding {
        Finding::Route { to, errno, interface } if Some(*to) == layer.to => Some((*to, errno, interface)),
        _ => None,
    });
    if let Some(told) = of_peers(tunnel, layer) {
        return StopExplanation {
            detail: Some(format!("{who}, which {holds} the tun device {device} of {there}: {}", told.0)),
            meaning: told.1,
            commands: vec![format!("wg show {device}"), format!("ip -s link show dev {device}")],
            on: Some(from),
            ..StopExplanation::default()
        };
    }
    let (what, meaning) = match routed {
        Some((to, Some(errno), _)) => (
            format!("and there is no route to {to} ({errno}), where its packets go"),
            format!("What {who} sends is routed like any other packet, and {to} cannot be reached from {there}."),
        ),
        Some((to, None, Some(out))) if out == device => (
            format!("and {to}, where its packets go, is routed into {device} itself"),
            "The other end of a tunnel must be reached outside of it, by a route of its own.".to_owned(),
        ),
        _ if no_route(case, from) >= packets => (
            format!(
                "which sent nothing: the kernel has no route to where it sends ({} look-ups failed, OutNoRoutes)",
                no_route(case, from)
            ),
            format!(
                "What {who} sends is routed like any other packet, and its other end cannot be reached from {there}."
            ),
        ),
        _ if read == Some(0) => (
            format!("and read none of them: they wait in the queue of {device}{}", full(refused)),
            format!(
                "A program that holds {device} and does not read it is stuck, stopped or busy with something else."
            ),
        ),
        _ => {
            let read = match read {
                Some(read) if read >= packets => format!("read {} from it", if packets == 1 { "it" } else { "them" }),
                Some(read) => format!("read {read} packets from it{}", full(refused)),
                None => "may have read them".to_owned(),
            };
            (
                format!("{read}, and no packet of the size of a probe left its {} since", by_ports(tunnel)),
                format!(
                    "What becomes of packets that {who} {reads} is up to it: it may know no peer for their address, have no key \
                     for it yet, or drop them."
                ),
            )
        }
    };
    let mut commands = commands(tunnel);
    if let Some(to) = layer.to {
        commands.insert(0, format!("ip {} route get {to}", case.ip_version()));
    }
    StopExplanation {
        detail: Some(format!("{who}, which {holds} the tun device {device} of {there}, {what}")),
        meaning,
        commands,
        on: Some(from),
        ..StopExplanation::default()
    }
}

/// Returns for how many packets a host had no route.
fn no_route(case: &StopCase<'_>, side: Side) -> u64 {
    let counted = case.evidence.findings(side).filter_map(|finding| match finding {
        Finding::Counter { name, by } if name.ends_with("OutNoRoutes") => Some(*by),
        _ => None,
    });
    counted.max().unwrap_or(0)
}

/// For how long keys are used that both ends of WireGuard agreed on, in seconds (`REJECT_AFTER_TIME`).
const KEYS_LAST_S: u64 = 180;

/// Returns what keeps WireGuard from sending, with what that means.
fn of_peers(tunnel: &TunnelFacts, layer: &TunnelLayer) -> Option<(String, String)> {
    let (peers, to) = (tunnel.peers.as_ref()?, layer.inner_to?);
    let Some(peer) = WireGuardPeer::of(peers, to) else {
        return Some((
            format!("no peer of it has {to} among its allowed IPs"),
            "WireGuard sends a packet to the peer whose allowed IPs have its destination, and drops it if there is none.".to_owned(),
        ));
    };
    let Some(endpoint) = peer.endpoint else {
        return Some((
            format!("its peer for {to} has no endpoint, and nothing has come from it"),
            "WireGuard does not know where that peer is: one of the two ends needs the other's address.".to_owned(),
        ));
    };
    let why = match peer.handshake_s {
        None => "there was no handshake yet".to_owned(),
        Some(seconds) if seconds > KEYS_LAST_S => format!("the last handshake was {seconds} s ago"),
        Some(_) => return None,
    };
    Some((
        format!("its peer for {to} is at {endpoint}, and {why}"),
        format!(
            "Nothing is sent before both ends have agreed on keys. Each must have the other's public key, what goes to {endpoint} must \
             arrive there and be answered, and WireGuard must run there."
        ),
    ))
}

/// Tells of probes that were answered although the program behind the tun device by which they left sent nothing on.
pub(in crate::diagnosis) fn notes(evidence: &Evidence) -> Vec<String> {
    let leg = evidence.first_leg();
    let answered = evidence.sending.received.keys().collect::<Vec<_>>();
    let Some(around) = evidence.seen_around(Side::Local).filter(|_| !answered.is_empty()) else { return Vec::new() };
    let device = evidence.crossed(Side::Local, leg, false);
    let by_program = around.tunnels.iter().find(|tunnel| {
        let streams = tunnel.programs.iter().any(|program| program.connections > 0);
        tunnel.is_sealed() && tunnel.interface == device && !tunnel.ports().is_empty() && !streams
    });
    let sent = |port: &PortTrace| port.hops.values().any(|hop| hop.seen(leg).is_some_and(|seen| !seen.is_empty()));
    let hooked = around.hooks.iter().flat_map(|hooks| hooks.hops.values());
    let seen = hooked.filter_map(|hop| hop.seen(leg)).any(|seen| !seen.is_empty()) || around.ports.iter().any(sent);
    let Some(tunnel) = by_program.filter(|_| !seen) else { return Vec::new() };
    vec![format!(
        "{}, which holds the tun device {device}, likely answers by itself: no packet of the size of a probe left its {}",
        names(&tunnel.programs),
        by_ports(tunnel)
    )]
}

fn full(refused: u64) -> String {
    if refused == 0 { String::new() } else { format!(", which was full for {refused}") }
}

/// Explains packets of a program that came to the other end, and of which nothing came out of a tun device there.
fn not_written(case: &StopCase<'_>, layer: &TunnelLayer, to: Side) -> StopExplanation {
    let there = case.evidence.name(to);
    let reason = case.stop.cause.reason.as_deref().unwrap_or_default();
    if reason == "NO_SOCKET" {
        return StopExplanation {
            detail: Some(format!(
                "no program of {there} has the UDP port to which they are sent{}",
                has_instead(layer)
            )),
            meaning:
                "The program at the other end does not run, or uses another port than the one that is configured here."
                    .to_owned(),
            commands: vec!["ss -uanp".to_owned()],
            on: Some(to),
            ..StopExplanation::default()
        };
    }
    let Some(far) = &layer.far else {
        return StopExplanation {
            detail: Some(format!("no program of {there} holds a tun device")),
            meaning: "Nothing there takes the packets of this tunnel.".to_owned(),
            commands: vec!["ip -d link show type tun".to_owned(), "ss -uanp".to_owned()],
            on: Some(to),
            ..StopExplanation::default()
        };
    };
    let (device, who) = (&far.interface, names(&far.programs));
    if let (Some(peers), Some(source)) = (&far.peers, layer.inner_from)
        && WireGuardPeer::of(peers, source).is_none()
    {
        return StopExplanation {
            detail: Some(format!("no peer of {who} there, which holds {device}, has {source} among its allowed IPs")),
            meaning: "WireGuard drops what comes from a peer with a source that is not among its allowed IPs."
                .to_owned(),
            commands: vec![format!("wg show {device} allowed-ips"), format!("wg show {device}")],
            on: Some(to),
            ..StopExplanation::default()
        };
    }
    let (what, meaning) = match far.counts {
        _ if reason.starts_with("SOCKET_RCVBUF") => (
            format!("{who} of {there} does not read its socket, whose queue is full"),
            format!("{who} is stuck, stopped or too slow."),
        ),
        _ if far.programs.is_empty() => (
            format!("nobody holds the tun device {device} of {there}"),
            "The program that should take the packets of this tunnel does not run.".to_owned(),
        ),
        Some(counts) if counts.written == 0 => (
            format!("{who} of {there}, to whose {} they came, wrote nothing to its tun device {device}", by_ports(far)),
            format!(
                "{who} got packets that it did not take for those of the tunnel: a key, the peer's address or the addresses that it \
                 allows inside may differ, or it does not read its socket."
            ),
        ),
        Some(counts) => (
            format!(
                "{who} of {there}, to whose {} they came, wrote {} packets to its tun device {device}, and none of these \
                 probes",
                by_ports(far),
                counts.written
            ),
            format!("{who} took only some of what came to it."),
        ),
        None => (
            format!("{who} of {there} wrote none of these probes to its tun device {device}"),
            format!("What becomes of packets that come to {who} is up to it."),
        ),
    };
    StopExplanation { detail: Some(what), meaning, commands: commands(far), on: Some(to), ..StopExplanation::default() }
}

/// Returns which ports the far end's programs have instead.
fn has_instead(layer: &TunnelLayer) -> String {
    let far = layer.far.as_ref().filter(|far| !far.programs.is_empty());
    far.map_or_else(String::new, |far| match far.ports().is_empty() {
        true => format!(": {}, which holds {}, has none", names(&far.programs), far.interface),
        false => format!(": {}, which holds {}, has {}", names(&far.programs), far.interface, by_ports(far)),
    })
}

/// Explains packets that came back from an end that is not watched, and were not written to the tun device.
fn came_back(layer: &TunnelLayer, from: Side) -> StopExplanation {
    let (tunnel, who) = (&layer.tunnel, names(&layer.tunnel.programs));
    StopExplanation {
        detail: Some(format!("{who} wrote none of them to its tun device {}", tunnel.interface)),
        meaning: format!("{who} got packets, and did not take them for those of the tunnel."),
        commands: commands(tunnel),
        on: Some(from),
        ..StopExplanation::default()
    }
}
