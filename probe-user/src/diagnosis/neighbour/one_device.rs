//! Devices made on one device, or a device and the one that it is made on: neither hears the other.

use super::{
    Told,
    owner::KnownHolder,
    search::{Search, inode_of},
    words::ip,
};
use crate::{
    diagnosis::{Evidence, path::Side, resolution::NeighbourFinding as Found},
    model::trace::{AddressHolder, Finding, NeighbourHop, NeighbourKind},
};

/// Recognizes two devices made on the same one, or a device and the one that it is made on.
pub(super) fn told(search: &Search<'_>) -> Option<Told> {
    let mine = search.device(search.asker, &search.interface)?;
    let own = search.own()?;
    let of_one = |kind: Option<&str>| kind.filter(|kind| matches!(*kind, "macvlan" | "ipvlan")).map(str::to_owned);
    let near = |side: &Side| on_one_kernel(search.evidence, search.asker, *side);
    let watched = search.others().filter(near);
    let watched = watched.flat_map(|side| search.holders(side).map(move |holder| (Some(side), holder)));
    let mut others = watched.chain(looked_into(search).map(|holder| (None, holder)));
    let here = inode_of(search.evidence, search.asker);
    let own_lower = lower(own, here);
    others.find_map(|(side, other)| {
        let there = side.map_or(other.inode, |side| inode_of(search.evidence, side));
        let other_lower = lower(other, there);
        let child = of_one(other.kind.as_deref()).filter(|_| other_lower == Some((here, mine.ifindex)));
        let parent = of_one(own.kind.as_deref()).filter(|_| own_lower == Some((there, other.ifindex)));
        let siblings = of_one(own.kind.as_deref())
            .filter(|_| own_lower.is_some() && own_lower == other_lower && own.kind == other.kind);
        let owner = KnownHolder { holder: other, side }.name(search);
        let (address, interface, there_device) = (search.address, &search.interface, &other.interface);
        let (clause, kind) = if let Some(kind) = child {
            (format!("{address} is on {there_device} of {owner}, a {kind} device made on {interface} itself"), kind)
        } else if let Some(kind) = parent {
            (format!("{interface} is a {kind} device made on {there_device} of {owner}, which has {address}"), kind)
        } else {
            let kind =
                siblings.filter(|_| search.count(search.asker, NeighbourKind::Answers, NeighbourHop::In) == 0)?;
            (
                format!(
                    "{interface} and {there_device} of {owner}, which has {address}, are {kind} devices made on the same one"
                ),
                kind,
            )
        };
        let below = if own.kind.as_deref() == Some(&kind) { there_device } else { interface };
        let meaning = if own.kind == other.kind {
            format!(
                "In mode private or vepa two {kind} devices made on the same one never reach each other; in mode \
                bridge they do."
            )
        } else {
            format!(
                "What a host sends through a device never comes to a {kind} device that was made on it: that can never \
                 work. The host reaches it through a {kind} device of its own on the same device."
            )
        };
        let free = own.prefix;
        let commands = if own.kind == other.kind {
            let bridge = |device: &str| format!("ip link set dev {device} type {kind} mode bridge");
            let far = match side {
                Some(side) => search.command(side, bridge(there_device)),
                None => Search::command_in(other, &bridge(there_device)),
            };
            let mend = [search.command(search.asker, bridge(interface)), far];
            let look = search.command(search.asker, format!("ip -d link show dev {interface}"));
            mend.into_iter().filter(|_| kind == "macvlan").chain([look]).collect()
        } else {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            let mode = if kind == "macvlan" { "mode bridge" } else { "mode l2" };
            vec![
                search.command(search.asker, format!("ip link add link {below} name {kind}-host type {kind} {mode}")),
                search.command(search.asker, format!("ip link set dev {kind}-host up")),
                search.command(search.asker, format!("{} route add {address}/{bits} dev {kind}-host", ip(address))),
                search.command(search.asker, format!("{} addr show dev {interface}  # of a /{free}", ip(address))),
            ]
        };
        Some(Told::new(Found::DevicesOfOne, clause, meaning, commands))
    })
}

/// Returns the device on which that of `holder` is made: the inode of its namespace, and its index there. `inode` is that of the
/// holder's own namespace. `None`: it is made on none, or it is not known where that is.
fn lower(holder: &AddressHolder, inode: u64) -> Option<(u64, u32)> {
    let at = holder.lower_netns.unwrap_or(inode);
    holder.lower.filter(|_| holder.lower_netns != Some(0)).map(|index| (at, index))
}

/// Returns the namespaces with the address that only the asker looked into, so that they are of its kernel.
fn looked_into<'a>(search: &Search<'a>) -> impl Iterator<Item = &'a AddressHolder> + use<'a> {
    let (evidence, asker) = (search.evidence, search.asker);
    let by = if on_one_kernel(evidence, asker, Side::Local) { Side::Local } else { asker };
    let found: Vec<&AddressHolder> = evidence
        .findings(by)
        .filter_map(|finding| match finding {
            Finding::Holder(holder) => Some(holder),
            _ => None,
        })
        .collect();
    search.elsewhere().into_iter().filter(move |holder| found.contains(holder))
}

/// Reports whether two sides are namespaces of one kernel: an index or inode means nothing elsewhere.
fn on_one_kernel(evidence: &Evidence, one: Side, other: Side) -> bool {
    let boot = |side: Side| match evidence.place(side) {
        Some(place) => &evidence.kernel_of(place).boot,
        None => &evidence.host(side).host.boot,
    };
    boot(one) == boot(other)
}
