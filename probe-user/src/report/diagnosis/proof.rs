//! Cause, proof and doubt of a stop, in words.

use probe_ebpf::Hop;

use super::drawing::short;
use crate::diagnosis::{
    Diagnosis,
    document::{BlindSpot, Cause, Confidence, IcmpSaid, Layer, Netfilter, Stop, StopHost, Witness},
    path::{ANY_PORT, Checkpoint, Side, Station},
    places::Whose,
};
use crate::model::trace::tunnel::TUN;

/// Returns the cause in the kernel's own names.
pub(super) fn cause(stop: &Stop) -> String {
    let Cause { reason, function, netfilter, icmp, setting, program, detail, tracking: _, neighbour: _ } = &stop.cause;
    let mut text = reason.clone().unwrap_or_default();
    if let Some(function) = function {
        text.push_str(&format!(" in {function}"));
    }
    if let Some(place) = netfilter {
        text.push_str(&told_netfilter(place));
    }
    if let Some(setting) = setting {
        text = format!("{} = {}", setting.path.replace('/', "."), setting.value);
    }
    if let Some(IcmpSaid { from, icmp_type, code, meaning }) = icmp {
        let said = format!("ICMP error {icmp_type}/{code} from {from}: {meaning}");
        text = if text.is_empty() || text.starts_with("icmp") { said } else { format!("{text}, {said}") };
    }
    if let (Some(reason), Some(detail)) = (reason, detail)
        && text == *reason
        && detail.strip_prefix(reason.as_str()).is_some_and(|rest| rest.starts_with([':', ' ']))
    {
        return detail.clone();
    }
    for more in [program, detail].into_iter().flatten() {
        let separator = if text.is_empty() { "" } else { ", " };
        text.push_str(&format!("{separator}{more}"));
    }
    match (text.trim(), stop.confidence) {
        ("", Confidence::Unknown) => "not known".to_owned(),
        ("", _) if stop.layer == Layer::Path => "not reported: no ICMP error came back".to_owned(),
        ("", _) => format!("nothing names it; it is the {}", layer_name(stop.layer)),
        (text, _) if text.starts_with("at hook") => format!("netfilter {text}"),
        (text, _) => text.to_owned(),
    }
}

fn told_netfilter(place: &Netfilter) -> String {
    let Netfilter { family, hook, table, chain, legacy: _, rule: _, rule_chain: _ } = place;
    let mut text = hook.as_ref().map(|hook| format!(" at hook {hook}")).unwrap_or_default();
    if text.is_empty() {
        text.push_str(" in netfilter");
    }
    if let (Some(family), Some(table), Some(chain)) = (family, table, chain) {
        text.push_str(&format!(", table {family} {table}, chain {chain}"));
    }
    text
}

/// Returns the evidence in words.
pub(super) fn proof(stop: &Stop, diagnosis: &Diagnosis) -> String {
    let told = |witness: &Witness| match witness {
        Witness::Counters => counted(stop, diagnosis),
        Witness::DropEvent => match stop.drop_events {
            1 => "1 drop event names the same place".to_owned(),
            events => format!("{events} drop events name the same place"),
        },
        Witness::Errno if stop.host == StopHost::Local => "the send call failed".to_owned(),
        Witness::Errno => "the kernel itself finds no route back".to_owned(),
        Witness::IcmpError => "an ICMP error quotes them".to_owned(),
        Witness::Sysctl => "the setting was read there after the run".to_owned(),
        Witness::Conntrack => "their conntrack entry was read there after the run".to_owned(),
        Witness::Control => "otherwise equal packets of another size were answered".to_owned(),
        Witness::DeviceCounter if stop.cause.neighbour.is_some() => neighbour(stop),
        Witness::DeviceCounter => stop.cause.detail.clone().unwrap_or_else(|| "a counter there rose".to_owned()),
    };
    stop.witnesses.iter().map(told).collect::<Vec<_>>().join("; ")
}

/// Returns what the host knows of the neighbour that it looked for.
fn neighbour(stop: &Stop) -> String {
    let Some(said) = &stop.cause.neighbour else { return String::new() };
    format!("there is no entry for {} on {} that can be used", said.address, said.interface)
}

/// Returns `b counted 10 entering hook input and none leaving it`.
fn counted(stop: &Stop, diagnosis: &Diagnosis) -> String {
    let Stop { packets, .. } = stop;
    let (last_seen, first_missing) = match &stop.carried {
        Some(carried) => (&carried.last_seen, &carried.first_missing),
        None => (&stop.last_seen, &stop.first_missing),
    };
    let name = |side: Side| diagnosis.name(side);
    let none = if *packets == 1 { "not" } else { "none of them" };
    if last_seen.host == first_missing.host {
        let host = name(last_seen.host);
        if let Some(hook) = same_hook(*last_seen, *first_missing) {
            let none = if *packets == 1 { "not" } else { "none" };
            return format!("{host} counted {packets} entering hook {hook} and {none} leaving it");
        }
        return format!(
            "{host} counted {packets} at {} and {none} at {}",
            station(*last_seen),
            missing_station(*first_missing)
        );
    }
    format!(
        "{} counted {packets} at {} and {} {none} at {}",
        name(last_seen.host),
        station(*last_seen),
        name(first_missing.host),
        missing_station(*first_missing)
    )
}

fn station(checkpoint: Checkpoint) -> &'static str {
    match checkpoint.station {
        Station::Send => "the send call",
        Station::Recv => "its own reading",
        Station::Encap => "the tunnel that encapsulates them",
        Station::Decap => "the tunnel that decapsulates them",
        Station::Port(Hop::NetifIn, ANY_PORT) => "its drop events",
        Station::Port(Hop::DevQueue, ANY_PORT) => "any interface on their way out",
        Station::Hop(hop) | Station::Port(hop, _) => hop.name(),
    }
}

/// Returns the words for a station that saw nothing.
fn missing_station(checkpoint: Checkpoint) -> &'static str {
    match checkpoint.station {
        Station::Port(Hop::NetifIn, ANY_PORT) => "any interface on their way in",
        _ => station(checkpoint),
    }
}

/// Returns the hook whose first and last program the two are.
fn same_hook(last: Checkpoint, first: Checkpoint) -> Option<&'static str> {
    let hook = last.station.name().strip_prefix("nf_")?.strip_suffix("_first")?;
    let same = first.station.name().strip_prefix("nf_")?.strip_suffix("_last")? == hook;
    same.then_some(hook)
}

/// Returns why it is not certain.
pub(super) fn doubt(stop: &Stop, diagnosis: &Diagnosis) -> String {
    let head = match stop.confidence {
        Confidence::Certain => "certain",
        Confidence::Likely => "likely, not certain",
        Confidence::Unknown => "not known",
    };
    let mut reasons = Vec::new();
    if stop.candidates.len() > 1 {
        reasons.push(format!("it may be any of {}", may_be(stop, diagnosis)));
    }
    if !stop.blind.is_empty() {
        let mut spots: Vec<String> = Vec::new();
        for BlindSpot { checkpoint, .. } in &stop.blind {
            let spot = format!("{}'s {}", diagnosis.name(checkpoint.host), short(checkpoint.station));
            if !spots.contains(&spot) {
                spots.push(spot);
            }
        }
        let list = if spots.len() > 6 { format!("{} hops, below", spots.len()) } else { spots.join(", ") };
        reasons.push(format!("blind in between: {list}"));
    }
    let lost = diagnosis.accounting.events_lost;
    if lost > 0 {
        reasons.push(format!("{lost} drop events were lost"));
    }
    if stop.carried.as_ref().is_some_and(|carried| carried.kind == TUN) {
        reasons.push("which packet of the program is which probe follows from when it was sent".to_owned());
    }
    if reasons.is_empty() {
        reasons.push("only the counters say so".to_owned());
    }
    format!("{head}: {}", reasons.join("; "))
}

/// Returns the places that remain, by host, in path order: `b: tc, netfilter`.
fn may_be(stop: &Stop, diagnosis: &Diagnosis) -> String {
    let mut hosts: Vec<(Whose, Vec<&str>)> = Vec::new();
    for candidate in &stop.candidates {
        let word = layer_name(candidate.layer);
        match hosts.iter_mut().find(|(host, _)| *host == candidate.whose) {
            Some((_, words)) if !words.contains(&word) => words.push(word),
            Some(_) => {}
            None => hosts.push((candidate.whose, vec![word])),
        }
    }
    let told = |(whose, words): &(Whose, Vec<&str>)| match whose {
        Whose::Local => format!("{}: {}", diagnosis.name(Side::Local), words.join(", ")),
        Whose::Via(number) => format!("{}: {}", diagnosis.name(Side::Via(*number)), words.join(", ")),
        Whose::Peer => format!("{}: {}", diagnosis.name(Side::Peer), words.join(", ")),
        Whose::Network => "the network".to_owned(),
        Whose::Beyond => "whatever lies beyond".to_owned(),
    };
    hosts.iter().map(told).collect::<Vec<_>>().join("; ")
}

/// Returns a layer's word.
pub(super) fn layer_name(layer: Layer) -> &'static str {
    match layer {
        Layer::Socket => "socket",
        Layer::Route => "routing",
        Layer::Netfilter => "netfilter",
        Layer::Cgroup => "cgroup program",
        Layer::Neighbour => "neighbour",
        Layer::Qdisc => "queue",
        Layer::Tc => "tc",
        Layer::Driver => "device",
        Layer::Xdp => "XDP",
        Layer::Ip => "IP layer",
        Layer::Icmp => "ICMP",
        Layer::Tunnel => "tunnel",
        Layer::Path => "network",
    }
}
