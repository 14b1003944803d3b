//! Ports without a link of the bridges where questions were heard in vain: whoever has the address may be behind one of them.

use super::search::Search;
use crate::{
    diagnosis::{document::Command, path::Side},
    model::trace::LinkFacts,
};

/// Returns such a port as a clause, with what shows it; one only, as several are no clue.
pub(super) fn port(search: &Search<'_>) -> Option<(String, Command)> {
    let mut found: Vec<(Side, &LinkFacts)> = Vec::new();
    for side in search.others() {
        let heard = search.heard(side);
        let bridges = search.evidence.devices(side).filter(|device| heard.contains_key(device.interface.as_str()));
        let bridges: Vec<&str> = bridges.filter_map(|device| device.master.as_deref()).collect();
        let unlinked = search.evidence.devices(side).filter(|device| device.no_carrier);
        found.extend(unlinked.filter(|device| has_one(device, &bridges)).map(|device| (side, device)));
    }
    let [(side, device)] = found.as_slice() else { return None };
    let (name, bridge) = (&device.interface, device.master.as_deref().unwrap_or_default());
    let why = match device.kind.as_deref() {
        Some("tun") => ": no program has this tap device open, as of a virtual machine that is off",
        Some("veth") => ": the other end of this veth pair is down",
        _ => "",
    };
    let clause = format!("{name}, a port of {bridge} of {}, has no carrier{why}", search.evidence.whom(*side));
    Some((clause, search.command(*side, format!("ip -d link show dev {name}"))))
}

fn has_one(device: &LinkFacts, bridges: &[&str]) -> bool {
    device.master.as_deref().is_some_and(|master| master.starts_with("bridge ") && bridges.contains(&master))
}
