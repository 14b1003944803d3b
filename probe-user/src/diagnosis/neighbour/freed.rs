//! Where a packet of ARP or neighbour discovery was freed, and by what: a chain, a filter, a queue.

use super::{Told, search::Search};
use crate::{
    diagnosis::{
        document::{Command, Netfilter},
        names::{self, Placed},
        path::Side,
        places::DropPoint,
    },
    model::{
        netfilter::{NetfilterHook, TableFamily},
        trace::{Drop, Finding, NeighbourPacket, plain_function},
    },
};
use probe_ebpf::Echo;

/// Who ended packets, in words and as data.
pub(super) struct Culprit {
    /// `output chain (nftables: ip6 fw, chain output)`.
    pub(super) what: String,
    pub(super) netfilter: Option<Netfilter>,
    pub(super) program: Option<String>,
    pub(super) commands: Vec<Command>,
}

impl Culprit {
    /// Puts it into what is said.
    pub(super) fn into_told(self, told: Told) -> Told {
        Told { netfilter: self.netfilter, program: self.program, commands: self.commands, ..told }
    }
}

/// Functions that call the hooks of ARP, and those hooks.
const ARP_HOOKS: [(&str, NetfilterHook); 5] = [
    ("arp_rcv", NetfilterHook::Input),
    ("arp_xmit", NetfilterHook::Output),
    ("arp_send_dst", NetfilterHook::Output),
    ("arp_send", NetfilterHook::Output),
    ("arp_solicit", NetfilterHook::Output),
];

/// Functions that call the hooks of a device.
const DEVICE_HOOKS: [&str; 4] =
    ["nft_do_chain_netdev", "__dev_queue_xmit", "__netif_receive_skb_core", "br_handle_frame"];

/// Returns what freed `packet` on `side`; `None` if that was not a filter, but the kernel, which had no use for it.
pub(super) fn culprit(search: &Search<'_>, side: Side, packet: &NeighbourPacket) -> Option<Culprit> {
    let found = filter(search, side, packet)?;
    let carried = if packet.layers > 0 { " (inside the packets of the tunnel)" } else { "" };
    Some(Culprit { what: format!("{}{carried}", found.what), ..found })
}

fn filter(search: &Search<'_>, side: Side, packet: &NeighbourPacket) -> Option<Culprit> {
    let frames = || std::iter::once(&packet.function).chain(&packet.stack).map(|name| plain_function(name));
    if packet.reason == "NETFILTER_DROP" && packet.about.is_ipv4() {
        // A device's own hooks are called from below those of ARP on the way out.
        let hook = frames().take_while(|name| !DEVICE_HOOKS.contains(name));
        let hook =
            hook.filter_map(|name| ARP_HOOKS.iter().find(|(known, _)| *known == name)).map(|(_, hook)| *hook).next();
        if let Some(hook) = hook {
            return Some(chain(search, side, Some(hook), &[TableFamily::Arp]));
        }
    }
    let Placed::At(places) = names::placed(&as_drop(packet)) else { return None };
    let device = frames().find(|name| matches!(*name, "__netif_receive_skb_core" | "__dev_queue_xmit"));
    let ingress = device == Some("__netif_receive_skb_core");
    let place = match places {
        [DropPoint::NfIngress, DropPoint::NfEgress] if !ingress => DropPoint::NfEgress,
        _ => *places.first()?,
    };
    let interface = packet.interface.as_deref().unwrap_or_default();
    let plain = |what: &str, command: String| Culprit {
        what: what.to_owned(),
        netfilter: None,
        program: None,
        commands: vec![search.command(side, command)],
    };
    match place {
        DropPoint::NfIngress | DropPoint::NfEgress => {
            Some(chain(search, side, Some(place.hook()?), &[TableFamily::Netdev, TableFamily::Inet]))
        }
        DropPoint::Bridge if packet.reason == "NETFILTER_DROP" => {
            Some(chain(search, side, None, &[TableFamily::Bridge]))
        }
        DropPoint::TcIn | DropPoint::TcOut => {
            let way = if place == DropPoint::TcIn { "ingress" } else { "egress" };
            let program = program(search, side, place);
            let what = program.clone().unwrap_or_else(|| format!("tc filter or program at {way} of {interface}"));
            let commands = vec![search.command(side, format!("tc -s filter show dev {interface} {way}"))];
            Some(Culprit { what, netfilter: None, program, commands })
        }
        DropPoint::Xdp => {
            let program = program(search, side, place);
            let what = program.clone().unwrap_or_else(|| format!("XDP program of {interface}"));
            let commands = vec![search.command(side, format!("ip -d link show dev {interface}"))];
            Some(Culprit { what, netfilter: None, program, commands })
        }
        DropPoint::Qdisc => Some(plain(&format!("queue of {interface}"), format!("tc -s qdisc show dev {interface}"))),
        _ => {
            let hook = place.hook().filter(|_| packet.reason == "NETFILTER_DROP")?;
            let of_version = if packet.about.is_ipv4() { TableFamily::Ip } else { TableFamily::Ip6 };
            Some(chain(search, side, Some(hook), &[of_version, TableFamily::Inet]))
        }
    }
}

/// Returns the event as one of a probe, for the table of names.
fn as_drop(packet: &NeighbourPacket) -> Drop {
    Drop {
        time_ns: packet.time_ns,
        probe: None,
        leg: Echo::Request,
        id: 0,
        seq: 0,
        reason: packet.reason.clone(),
        function: packet.function.clone(),
        stack: packet.stack.clone(),
        interface: packet.interface.clone(),
        source: packet.asker,
        destination: packet.about,
        frame: crate::model::trace::FrameFacts::default(),
    }
}

fn program(search: &Search<'_>, side: Side, place: DropPoint) -> Option<String> {
    search.evidence.findings(side).find_map(|finding| match finding {
        Finding::Program { at, who, .. } if DropPoint::of(*at) == Some(place) => Some(who.clone()),
        _ => None,
    })
}

/// Returns the chain of `side` at `hook`, by name if there is only one; `None`: any hook.
fn chain(search: &Search<'_>, side: Side, hook: Option<NetfilterHook>, families: &[TableFamily]) -> Culprit {
    let chains = search.evidence.findings(side).filter_map(|finding| match finding {
        Finding::Chain { family, hook: at, table, chain, can_drop: true, legacy, .. }
            if families.contains(family) && hook.is_none_or(|hook| hook == *at) =>
        {
            Some((*family, *at, table, chain, *legacy))
        }
        _ => None,
    });
    let mut chains: Vec<_> = chains.collect();
    chains.dedup();
    let Some(first) = chains.first() else {
        let at = hook.map_or_else(|| "bridge's hooks".to_owned(), |hook| format!("netfilter hook {hook}"));
        return Culprit {
            what: at,
            netfilter: Some(Netfilter { hook, ..Netfilter::default() }),
            program: None,
            commands: vec![search.command(side, "nft list ruleset")],
        };
    };
    let (family, at, table, name, legacy) = *first;
    if chains.len() > 1 {
        let names: Vec<_> =
            chains.iter().map(|(family, _, table, name, _)| format!("{family} {table} {name}")).collect();
        return Culprit {
            what: format!("{at} hook (one of the chains {})", names.join(", ")),
            netfilter: Some(Netfilter { hook: Some(at), ..Netfilter::default() }),
            program: None,
            commands: vec![search.command(side, "nft list ruleset")],
        };
    }
    let by = if legacy { "iptables" } else { "nftables" };
    let list = if legacy {
        format!("{}tables-legacy -t {table} -S {name}", if family == TableFamily::Ip6 { "ip6" } else { "ip" })
    } else {
        format!("nft list chain {family} {table} {name}")
    };
    Culprit {
        what: format!("{at} chain ({by}: {family} {table}, chain {name})"),
        netfilter: Some(Netfilter {
            family: Some(family),
            hook: Some(at),
            table: Some(table.clone()),
            chain: Some(name.clone()),
            legacy,
            rule: None,
            rule_chain: None,
        }),
        program: None,
        commands: vec![search.command(side, list)],
    }
}
