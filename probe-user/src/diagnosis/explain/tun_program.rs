//! What the programs behind the tun devices of both ends did with packets, by what their devices counted and what their sockets sent.

use probe_ebpf::Echo;

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{path::Side, places::DropPoint, tunnel_layer::TunnelLayer},
    model::trace::{Finding, TunnelFacts, tun_program::names},
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
    let (what, meaning) = match routed {
        Some((to, Some(errno), _)) => (
            format!("and there is no route to {to} ({errno}), where its packets go"),
            format!("What {who} sends is routed like any other packet, and {to} cannot be reached from {there}."),
        ),
        Some((to, None, Some(out))) if out == device => (
            format!("and {to}, where its packets go, is routed into {device} itself"),
            "The other end of a tunnel must be reached outside of it, by a route of its own.".to_owned(),
        ),
        _ if read == Some(0) => (
            format!("and read none of them: they wait in the queue of {device}{}", full(refused)),
            format!("A program that holds {device} and does not read it is stuck, stopped or busy with something else."),
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

fn full(refused: u64) -> String {
    if refused == 0 { String::new() } else { format!(", which was full for {refused}") }
}

/// Explains packets of a program that came to the other end, and of which nothing came out of a tun device there.
fn not_written(case: &StopCase<'_>, layer: &TunnelLayer, to: Side) -> StopExplanation {
    let there = case.evidence.name(to);
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
    let (what, meaning) = match far.counts {
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
