//! A socket that is bound to a device by which no route leads to the target.

use super::{
    Told,
    search::Search,
    words::{ip, questions},
};
use crate::{
    diagnosis::{path::Side, resolution::NeighbourFinding as Found},
    model::prefix::shares,
};

/// Recognizes a socket that is bound to a device by which no route leads: the kernel then asks for the target itself there.
pub(super) fn told(search: &Search<'_>) -> Option<Told> {
    let route = search.route(search.asker)?;
    let bound = search.asker == Side::Local && search.evidence.sending.socket.as_ref()?.bound_to.is_some();
    let (address, interface) = (search.address, &search.interface);
    (bound && address == search.end && route.interface != *interface).then_some(())?;
    let on_link = search.own().is_some_and(|own| {
        own.address.is_some_and(|mine| mine.is_ipv4() == address.is_ipv4() && shares(mine, address, own.prefix))
    });
    (!on_link).then_some(())?;
    let by = if route.next == route.to { String::new() } else { format!(" via {}", route.next) };
    let clause = format!(
        "they are bound to {interface} (-I), and no route leads to {address} by it: the one that is taken otherwise is \
         {}{by} dev {}, so that {address} itself was asked for on the link of {interface} ({})",
        route.route,
        route.interface,
        questions(address, search.asked())
    );
    let meaning = format!(
        "Bound to a device for which there is no route, the kernel takes the target for a neighbour there. A further host is \
         reached by {interface} only with a route by a gateway on its link."
    );
    let (ip, look) = (ip(address), format!("{} route get {address} oif {interface}", ip(address)));
    let commands = [look, format!("{ip} route show dev {interface}"), format!("{ip} route get {address}")];
    let commands = commands.map(|command| search.command(search.asker, command)).into();
    Some(Told::new(Found::NoGateway, clause, meaning, commands))
}
