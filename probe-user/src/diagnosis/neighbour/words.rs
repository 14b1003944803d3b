//! The words of ARP and of neighbour discovery, and of who is meant.

use std::net::IpAddr;

use super::search::Search;
use crate::diagnosis::{Evidence, path::Side};

/// Returns `2 ARP requests`, `1 neighbour solicitation`.
pub(super) fn questions(address: IpAddr, count: usize) -> String {
    counted(count, question(address))
}

/// Returns `2 ARP replies`, `1 neighbour advertisement`.
pub(super) fn answers(address: IpAddr, count: usize) -> String {
    counted(count, answer(address))
}

/// Returns the word for a question, without a number.
pub(super) fn question(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ARP request" } else { "neighbour solicitation" }
}

/// Returns the word for an answer, without a number.
pub(super) fn answer(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ARP reply" } else { "neighbour advertisement" }
}

/// Returns the plural of one of these words.
pub(super) fn plural(word: &str) -> String {
    word.strip_suffix('y').map_or_else(|| format!("{word}s"), |stem| format!("{stem}ies"))
}

fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {}", plural(word)) }
}

/// Returns the option of `ip` for the version of an address.
pub(super) fn ip(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip -6" }
}

/// Returns `vm's`, `network namespace b's`.
pub(super) fn whose(evidence: &Evidence, side: Side) -> String {
    format!("{}'s", evidence.whom(side))
}

impl Search<'_> {
    /// Returns how the asker is called.
    pub(super) fn asker_name(&self) -> String {
        self.evidence.whom(self.asker)
    }

    /// Returns how many questions left the asker.
    pub(super) fn asked(&self) -> usize {
        use crate::model::trace::{NeighbourHop::Out, NeighbourKind::Asks};
        let out = self.packets(self.asker, Asks, Out);
        out.filter(|packet| packet.interface.as_deref() == Some(&self.interface)).count()
    }
}

/// Returns the places that heard the questions and are more than ports of a bridge.
pub(super) fn hearers(search: &Search<'_>) -> Vec<String> {
    let heard = search.others().filter(|side| {
        let hears = |interface: &str| search.device(*side, interface).is_none_or(|device| device.master.is_none());
        search.heard(*side).keys().any(|interface| hears(interface))
    });
    heard.map(|side| search.evidence.whom(side)).collect()
}

/// Returns `10.0.0.0/24 of eth0` for an address with its prefix.
pub(super) fn net_of(address: IpAddr, prefix: u8) -> String {
    format!("{address}/{prefix}")
}

/// Reports whether a device gets all that comes in at its ports, so that nothing comes in at these.
pub(super) fn takes_all(master: &str) -> bool {
    ["bridge ", "bond ", "team "].iter().any(|kind| master.starts_with(kind))
}
