//! Losses counted by a device and its queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage, Stats64},
    tc::{TcAttribute, TcMessage, TcStats2},
};

use crate::host::device::netlink;
use crate::{
    host::counter::{CounterKey, Counters},
    host::or_log,
};

/// Reads the losses of `interface` and of those beneath it: the ports of a bridge or bond, the card of a VLAN.
pub fn read(interface: &str) -> Counters {
    let links = or_log("interface statistics", links()).unwrap_or_default();
    let stack = stack(&links, interface);
    let mut counters = Counters::new();
    for link in links.values().filter(|link| stack.contains(&link.index)) {
        for (name, value) in link.stats.iter().flat_map(losses) {
            counters.insert(CounterKey::new(format!("{}.{name}", link.name)), value);
        }
    }
    for queue in or_log("queue statistics", queues()).unwrap_or_default() {
        let Some(link) = links.get(&queue.index).filter(|_| stack.contains(&queue.index)) else { continue };
        for (name, value) in [("drops", queue.drops), ("queued", queue.queued)] {
            let key = CounterKey::new(format!("{}.qdisc.{}.{name}", link.name, queue.kind));
            *counters.entry(key).or_default() += u64::from(value);
        }
    }
    counters
}

/// The relevant facts of an interface.
#[derive(Debug, Default)]
struct Link {
    index: u32,
    name: String,
    lower: Option<u32>,
    master: Option<u32>,
    stats: Option<Stats64>,
}

fn links() -> io::Result<BTreeMap<u32, Link>> {
    let messages = netlink::dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    Ok(messages.into_iter().filter_map(link).map(|link| (link.index, link)).collect())
}

fn link(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let mut link = Link { index: message.header.index, ..Link::default() };
    let mut far_away = false;
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Link(index) => link.lower = Some(index),
            LinkAttribute::Controller(index) => link.master = Some(index),
            LinkAttribute::Stats64(stats) => link.stats = Some(stats),
            // The index belongs to another namespace: the far end of a veth, or the card on which a VLAN was made.
            LinkAttribute::LinkNetNsId(_) => far_away = true,
            _ => {}
        }
    }
    if far_away {
        link.lower = None;
    }
    Some(link)
}

/// Returns `interface` and everything beneath it.
fn stack(links: &BTreeMap<u32, Link>, interface: &str) -> BTreeSet<u32> {
    let mut stack = BTreeSet::new();
    let mut found: Vec<u32> = links.values().filter(|link| link.name == interface).map(|link| link.index).collect();
    while let Some(index) = found.pop() {
        if stack.insert(index) {
            found.extend(links.get(&index).and_then(|link| link.lower));
            found.extend(links.values().filter(|link| link.master == Some(index)).map(|link| link.index));
        }
    }
    stack
}

/// Returns the counters of `struct rtnl_link_stats64` that count losses.
fn losses(stats: &Stats64) -> [(&'static str, u64); 17] {
    [
        ("rx_errors", stats.rx_errors),
        ("tx_errors", stats.tx_errors),
        ("rx_dropped", stats.rx_dropped),
        ("tx_dropped", stats.tx_dropped),
        ("collisions", stats.collisions),
        ("rx_length_errors", stats.rx_length_errors),
        ("rx_over_errors", stats.rx_over_errors),
        ("rx_crc_errors", stats.rx_crc_errors),
        ("rx_frame_errors", stats.rx_frame_errors),
        ("rx_fifo_errors", stats.rx_fifo_errors),
        ("rx_missed_errors", stats.rx_missed_errors),
        ("tx_aborted_errors", stats.tx_aborted_errors),
        ("tx_carrier_errors", stats.tx_carrier_errors),
        ("tx_fifo_errors", stats.tx_fifo_errors),
        ("tx_window_errors", stats.tx_window_errors),
        ("rx_nohandler", stats.rx_nohandler),
        ("rx_otherhost_dropped", stats.rx_otherhost_dropped),
    ]
}

/// A queue of an interface.
struct Queue {
    index: u32,
    kind: String,
    /// How many packets it dropped.
    drops: u32,
    /// How many it holds now.
    queued: u32,
}

/// Returns every queueing discipline of every interface.
fn queues() -> io::Result<Vec<Queue>> {
    let messages = netlink::dump(&RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()))?;
    Ok(messages.into_iter().filter_map(queue).collect())
}

fn queue(message: RouteNetlinkMessage) -> Option<Queue> {
    let RouteNetlinkMessage::NewQueueDiscipline(message) = message else { return None };
    let (mut kind, mut counts) = (None, None);
    for attribute in message.attributes {
        match attribute {
            TcAttribute::Kind(name) => kind = Some(name),
            TcAttribute::Stats2(stats) => {
                counts = stats.into_iter().find_map(|stats| match stats {
                    TcStats2::Queue(queue) => Some((queue.drops, queue.qlen)),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    // The classic hooks of tc are no queues: the drops of their filters have other names.
    let kind = kind.filter(|kind| !matches!(kind.as_str(), "clsact" | "ingress"))?;
    let (drops, queued) = counts?;
    Some(Queue { index: u32::try_from(message.header.index).ok()?, kind, drops, queued })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(index: u32, name: &str, lower: Option<u32>, master: Option<u32>) -> (u32, Link) {
        (index, Link { index, name: name.to_owned(), lower, master, stats: None })
    }

    #[test]
    fn a_vlan_on_a_bond_stands_on_the_bonds_ports() {
        let links = BTreeMap::from([
            made(1, "lo", None, None),
            made(2, "eth0", None, Some(4)),
            made(3, "eth1", None, Some(4)),
            made(4, "bond0", None, None),
            made(5, "bond0.7", Some(4), None),
            made(6, "odd", Some(6), None),
        ]);
        assert_eq!(stack(&links, "bond0.7"), BTreeSet::from([2, 3, 4, 5]));
        assert_eq!(stack(&links, "eth0"), BTreeSet::from([2]));
        assert_eq!(stack(&links, "odd"), BTreeSet::from([6]));
        assert_eq!(stack(&links, "none"), BTreeSet::new());
    }

    #[test]
    fn the_loopback_interface_has_counters() {
        assert!(read("lo").contains_key(&CounterKey::new("lo.rx_dropped")));
    }
}
