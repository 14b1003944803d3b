//! A router that has the address behind it, and does not answer in its place.

use super::{
    Told,
    owner::{KnownHolder, router},
    search::Search,
    words::{ip, questions},
};
use crate::{diagnosis::resolution::NeighbourFinding as Found, model::prefix::shares};

/// Recognizes a router with a route to the very address, or to a part of the asker's own net, behind another device: it
/// should answer on its behalf.
pub(super) fn told(search: &Search<'_>, owner: Option<&KnownHolder<'_>>) -> Option<Told> {
    let route = search.route(search.asker).filter(|route| route.next == route.to)?;
    let own = search.own()?;
    let (side, way) = router(search).filter(|(_, way)| way.prefix > own.prefix && own.prefix > 0)?;
    shares(search.address, own.address?, own.prefix).then_some(())?;
    let at = search.heard(side).into_keys().next()?.to_owned();
    // A net wider than usual, of which the owner's does not hold the asker: it is the asker's prefix that is too wide.
    let usual = if search.address.is_ipv4() { 24 } else { 64 };
    let outside = |owner: &KnownHolder<'_>| {
        own.address.is_some_and(|asker| !shares(search.address, asker, owner.holder.prefix))
            && owner.holder.prefix >= usual
            && owner.holder.prefix != if search.address.is_ipv4() { 32 } else { 128 }
    };
    if own.prefix < usual && route.instead.is_some() && owner.is_some_and(outside) {
        return None;
    }
    let (name, v4, address) = (search.evidence.whom(side), search.address.is_ipv4(), search.address);
    let setting = if v4 { "proxy_arp" } else { "proxy_ndp" };
    let (_, value) = search.setting(side, &at, setting)?;
    let sysctl = format!("net.{}.conf.{}.{setting}", if v4 { "ipv4" } else { "ipv6" }, at.replace('.', "/"));
    let has = owner.map(|owner| format!(" ({} has it)", owner.name(search))).unwrap_or_default();
    let (what, told_to) = if v4 { ("proxy ARP", "proxy ARP") } else { ("proxy NDP", "an entry of proxy NDP") };
    let silent = match (value, v4) {
        (0, true) => format!("and does not answer for it: {sysctl}=0"),
        (0, false) => {
            format!("and does not answer for it: {sysctl}=0, which an entry of `ip -6 neigh show proxy` needs as well")
        }
        (_, true) => format!("and does not answer for it, though {sysctl}={value}"),
        (_, false) => format!("and does not answer for it: {sysctl}={value}, and each address needs an entry as well"),
    };
    let clause = format!(
        "{} for {address} reached {name} by {at}, which has it behind {} by its route {}{has}, {silent}",
        questions(address, search.heard(side).into_values().max()?),
        way.interface,
        way.route
    );
    let meaning = format!(
        "To the sender {address} is on its own link (route {}), and there nobody has it. A router answers for what is \
         behind it only with {told_to}; or the sender gets a route to it through the router.",
        route.route
    );
    let mut commands = Vec::new();
    if value == 0 {
        commands.push(search.command(side, format!("sysctl -w {sysctl}=1")));
    }
    if !v4 {
        commands.push(search.command(side, format!("ip -6 neigh add proxy {address} dev {at}")));
    }
    if let Some(other) = &route.instead {
        let bits = if v4 { 32 } else { 128 };
        let add = format!("{} route add {address}/{bits} via {} dev {}", ip(address), other.gateway, other.interface);
        commands.push(search.command(search.asker, add));
    }
    if commands.is_empty() {
        commands.push(search.command(side, format!("ip neigh show proxy  # {what}")));
    }
    Some(Told::new(Found::NotProxied, clause, meaning, commands))
}
