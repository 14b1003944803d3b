//! Why nobody answers if nobody who heard the questions has the address: it is elsewhere, or nowhere.

use std::net::IpAddr;

use super::{
    Told, bound,
    bridged::Bridged,
    gateway,
    owner::{KnownHolder, owner, router},
    proxied,
    search::Search,
    silence::{HOP_LIMIT, HOP_LIMIT_RULES, set_hop_limit},
    tunnelled, unlinked, way_back,
    words::{hearers, ip, net_of, question, questions},
};
use crate::{
    diagnosis::{path::Side, resolution::NeighbourFinding as Found, sysctl},
    model::{
        prefix::shares,
        trace::{Finding, LEAST_IPV6_MTU, NeighbourHop, NeighbourKind, ProgramSite},
    },
};

/// Returns what is known of an address for which nobody answers.
pub(super) fn told(search: &Search<'_>) -> Option<Told> {
    let owner = owner(search);
    bound::told(search)
        .or_else(|| link_local(search, owner.as_ref()))
        .or_else(|| no_gateway(search))
        .or_else(|| way_back::told(search, owner.as_ref().map(|owner| owner.name(search))))
        .or_else(|| proxied::told(search, owner.as_ref()))
        .or_else(|| hearer_without_ipv6(search, owner.as_ref()))
        .or_else(|| prefix(search, owner.as_ref()))
        .or_else(|| search.on_other_link().and_then(|_| gateway::told(search)))
        .or_else(|| covered(search, owner.as_ref()))
        .or_else(|| elsewhere(search, owner.as_ref()))
        .or_else(|| gateway::told(search))
        .or_else(|| peer_lacks_it(search))
        .or_else(|| Some(nobody(search)))
}

/// Recognizes an address that means something on one link alone, and is known to be on another one.
fn link_local(search: &Search<'_>, owner: Option<&KnownHolder<'_>>) -> Option<Told> {
    let IpAddr::V6(address) = search.address else { return None };
    let owner = owner.filter(|_| address.is_unicast_link_local() && address == search.end)?;
    let heard = owner.side.is_some_and(|side| !search.heard(side).is_empty());
    (!heard).then_some(())?;
    let (interface, name) = (&search.interface, owner.name(search));
    let clause = format!(
        "{address} was asked for on the link of {interface} ({}), and {name}, which has it on {}, is not there",
        questions(search.address, search.asked()),
        owner.holder.interface
    );
    let meaning = format!(
        "A link-local address is that of a host on one link: with %{interface} or -I {interface} it is looked for on that one."
    );
    let commands = vec![
        search.command(search.asker, "ip -6 -br addr".to_owned()),
        search.command(search.asker, format!("ip -6 neigh show {address}")),
    ];
    Some(Told::new(Found::AddressElsewhere, clause, meaning, commands))
}

/// Recognizes a route without a gateway, for which every address is asked for on the link.
fn no_gateway(search: &Search<'_>) -> Option<Told> {
    let route = search.route(search.asker).filter(|route| route.next == route.to && route.prefix == 0)?;
    let name = search.asker_name();
    let clause = format!(
        "{name}'s route \"default dev {}\" names no gateway, so {} itself is asked for on that link, and nobody there has it",
        route.interface, search.address
    );
    let meaning = "Only a point-to-point device needs no gateway.";
    let ip = ip(search.address);
    let mend = format!("{ip} route replace default via GATEWAY dev {}", route.interface);
    let commands =
        vec![search.command(search.asker, format!("{ip} route show default")), search.command(search.asker, mend)];
    Some(Told::new(Found::NoGateway, clause, meaning, commands))
}

/// Recognizes a route which says that the address is on this link, although it is on another one, behind a router.
fn prefix(search: &Search<'_>, owner: Option<&KnownHolder<'_>>) -> Option<Told> {
    let route = search.route(search.asker).filter(|route| route.next == route.to)?;
    let own = search.own()?;
    let mine = own.address?;
    let bits = owner.map(|owner| owner.holder.prefix);
    let outside = bits.is_some_and(|bits| !shares(search.address, mine, bits));
    let router = router(search);
    if !outside && router.is_none() {
        return None;
    }
    let (name, interface) = (search.asker_name(), &route.interface);
    let mut clause = format!(
        "{} is asked for on {interface} itself, since {name}'s route {} says that it is on that link, and it is not",
        search.address, route.route
    );
    if let (Some(owner), Some(bits)) = (owner, bits) {
        let has = net_of(search.address, bits);
        clause.push_str(&format!(": {} has it as {has}", owner.name(search)));
    }
    let gateway = route.instead.as_ref().map(|other| other.gateway);
    match (router, gateway) {
        (Some((side, way)), Some(gateway)) => clause.push_str(&format!(
            "; the router {gateway} ({}) has it behind its {}",
            search.evidence.whom(side),
            way.interface
        )),
        (Some((side, way)), None) => {
            clause.push_str(&format!("; {} has it behind its {}", search.evidence.whom(side), way.interface));
        }
        (None, Some(gateway)) => clause.push_str(&format!("; otherwise the router {gateway} would be asked")),
        (None, None) => {}
    }
    let mut commands = Vec::new();
    let by_address = route.prefix == own.prefix && shares(search.address, mine, own.prefix);
    // An address alone is routed to its host one by one: no prefix of the net is wrong.
    let alone = bits == Some(if search.address.is_ipv4() { 32 } else { 128 });
    let meaning = if by_address && alone {
        format!(
            "{} alone is elsewhere than the net of {mine} on {interface}: who is on that link needs a route to it, or a router that \
             answers in its place (proxy ARP, proxy NDP).",
            search.address
        )
    } else if by_address {
        format!("The prefix /{} of {mine} on {interface} is too wide: it covers what is routed elsewhere.", own.prefix)
    } else {
        format!(
            "The route {} names no gateway, so everything that it covers is asked for on the link of {interface}.",
            route.route
        )
    };
    if !by_address {
        let ip = ip(search.address);
        let mend = match gateway {
            Some(gateway) => format!("{ip} route replace {} via {gateway} dev {interface}", route.route),
            None => format!("{ip} route del {} dev {interface}", route.route),
        };
        commands.push(search.command(search.asker, mend));
    }
    let length = bits.filter(|bits| *bits > own.prefix).or_else(|| router.map(|(_, way)| way.prefix));
    if let Some(length) = length.filter(|_| by_address && !alone) {
        let mend = format!(
            "sh -c 'ip addr add {mine}/{length} dev {interface}; ip addr del {mine}/{} dev {interface}'",
            own.prefix
        );
        commands.push(search.command(search.asker, mend));
    }
    if let Some(gateway) = gateway.filter(|_| by_address) {
        let bits = if search.address.is_ipv4() { 32 } else { 128 };
        let add = format!("{} route add {}/{bits} via {gateway} dev {interface}", ip(search.address), search.address);
        commands.push(search.command(search.asker, add));
    }
    commands.push(search.command(search.asker, format!("{} route get {}", ip(search.address), search.address)));
    Some(Told::new(Found::PrefixTooWide, clause, meaning, commands))
}

/// Recognizes that the device with the address takes only frames of others than the asker.
fn only_from_others(search: &Search<'_>, owner: &KnownHolder<'_>, clause: &str) -> Option<Told> {
    let (holder, senders) = (owner.holder, owner.holder.only_from.as_ref()?);
    let asker = search.device(search.asker, &search.interface)?.lladdr.as_ref();
    let asker = asker.filter(|asker| !senders.contains(asker))?;
    let device = &holder.interface;
    let list = if senders.is_empty() { "none".to_owned() } else { senders.join(", ") };
    let clause = format!(
        "{clause}, a macvlan device in mode source, which takes frames of those on its list alone ({list}), and not of {asker}"
    );
    let add = format!("ip link set link dev {device} type macvlan macaddr add {asker}");
    let command = |text: &str| match owner.side {
        Some(side) => search.command(side, text),
        None => Search::command_in(holder, text),
    };
    let commands = vec![command(&add), command(&format!("ip -d link show dev {device}"))];
    let meaning = "The sender's link-layer address belongs on that list, or the device needs another mode.";
    Some(Told::new(Found::AddressElsewhere, clause, meaning, commands))
}

/// Recognizes that the only host which heard the questions, or the far end, has no IPv6 at the device that heard them, and so lost
/// its addresses there. Another namespace with that address, which was only looked into, may be on another link.
fn hearer_without_ipv6(search: &Search<'_>, owner: Option<&KnownHolder<'_>>) -> Option<Told> {
    let looked_into = owner.is_none_or(|owner| owner.side.is_none());
    (!search.address.is_ipv4() && looked_into).then_some(())?;
    let mut ends = search.others().flat_map(|side| {
        let heard = search.heard(side).into_iter();
        heard.filter_map(move |(at, count)| {
            Some((side, search.device(side, at).filter(|it| it.master.is_none())?, count))
        })
    });
    let (side, device, count) = ends.next()?;
    (ends.next().is_none() && !search.evidence.findings(side).any(forwards)).then_some(())?;
    let at = &device.interface;
    let (why, mend) = if device.too_narrow_for_ipv6() {
        let why =
            format!("its MTU is {}, and below {LEAST_IPV6_MTU} the kernel removes IPv6 from a device", device.mtu);
        (why, format!("ip link set dev {at} mtu 1500"))
    } else {
        let (path, _) = search.setting(side, at, "disable_ipv6").filter(|(_, value)| *value == 1)?;
        let name = sysctl::name(&path);
        (format!("{name}=1"), format!("sysctl -w {name}=0"))
    };
    let clause = format!(
        "{} for {} reached {} by {at}, which has no IPv6: {why}",
        questions(search.address, count),
        search.address,
        search.evidence.whom(side)
    );
    let meaning = format!(
        "Without IPv6 a device has no IPv6 address and answers for none; once {at} has it again, its addresses have to \
                           be given back."
    );
    let commands = [mend, "ip -6 -br addr".to_owned()].map(|command| search.command(side, command)).into();
    Some(Told::new(Found::AddressElsewhere, clause, meaning, commands))
}

/// Reports whether a setting makes its host a router for IPv6.
fn forwards(finding: &Finding) -> bool {
    matches!(finding, Finding::Setting { path, value } if path == "net/ipv6/conf/all/forwarding" && value.trim() != "0")
}

/// Recognizes that the network of one of the asker's devices covers an address that another route would lead to, and which is not on
/// that link: nobody watched heard the questions, and who has it is behind that route.
fn covered(search: &Search<'_>, owner: Option<&KnownHolder<'_>>) -> Option<Told> {
    let owner = owner?;
    let route =
        search.route(search.asker).filter(|route| route.next == route.to && route.interface == search.interface)?;
    let own = search.own()?;
    let mine = own.address.filter(|mine| shares(*mine, search.address, own.prefix))?;
    let other = route.instead.as_ref().filter(|other| other.interface != search.interface)?;
    let heard = search.others().any(|side| !search.heard(side).is_empty());
    (!heard && search.asked() > 0).then_some(())?;
    let (name, interface, address) = (search.asker_name(), &route.interface, search.address);
    let clause = format!(
        "{name}'s route {} says that {address} is on the link of {interface} ({}), where {} went out and nobody answered; {} has it, \
         and {name}'s route {} would lead by {} on {}",
        route.route,
        net_of(mine, own.prefix),
        questions(address, search.asked()),
        owner.name(search),
        other.route,
        other.gateway,
        other.interface
    );
    let meaning = format!(
        "If {address} is behind {}, two networks have the same addresses: that one, and the one of {interface}. One of the two needs \
         other addresses; until then a route to {address} alone, through {}, helps.",
        other.gateway, other.interface
    );
    let ip = ip(address);
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let commands = [
        format!("{ip} route add {address}/{bits} via {} dev {}", other.gateway, other.interface),
        format!("{ip} addr show dev {interface}"),
        format!("{ip} route get {address}"),
    ];
    let commands = commands.map(|command| search.command(search.asker, command)).into();
    Some(Told::new(Found::NetElsewhere, clause, meaning, commands))
}

/// Recognizes an address that is known to be where the questions did not arrive, or on another device.
fn elsewhere(search: &Search<'_>, owner: Option<&KnownHolder<'_>>) -> Option<Told> {
    let owner = owner?;
    let (name, asked) = (owner.name(search), questions(search.address, search.asked()));
    let holder = owner.holder;
    let state = holder.states.first().map(|state| format!(" ({state})")).unwrap_or_default();
    let mut clause = if search.asked() == 0 {
        format!(
            "{} is not found on {}, and no {} for it was seen to leave; {name} has it on {}{state}",
            search.address,
            search.interface,
            question(search.address),
            holder.interface
        )
    } else {
        format!(
            "{asked} for {} left {} by {}, and none reached {name}, which has it on {}{state}",
            search.address,
            search.asker_name(),
            search.interface,
            holder.interface
        )
    };
    let mut commands = Vec::new();
    let mut held = None;
    if let Some(bridge) = Bridged::of(search) {
        let left = bridge.left.join(", ");
        let left = if left.is_empty() { "by no port".to_owned() } else { format!("by {left} only") };
        if bridge.side != search.asker {
            let at = search.evidence.whom(bridge.side);
            clause.push_str(&format!("; they came to {at} by {} and left it {left}", bridge.came));
        }
        held = bridge.held(search, holder, &name);
        match &held {
            Some(held) => {
                clause.push_str(&format!(": {}", held.clause));
                commands.extend(held.commands.iter().map(|command| search.command(bridge.side, command)));
            }
            None => {
                commands.push(search.command(bridge.side, "bridge -d link show"));
                commands.push(search.command(bridge.side, "bridge vlan show"));
            }
        }
    }
    let program = owner.side.and_then(|side| {
        search.evidence.findings(side).find_map(|finding| match finding {
            Finding::Program { at: ProgramSite::Xdp, who, probe_filter: false, .. } => Some(who),
            _ => None,
        })
    });
    if let Some(program) = program {
        clause.push_str(&format!("; what comes in there meets the {program} first, which may drop them"));
    }
    if let Some(told) = only_from_others(search, owner, &clause) {
        return Some(told);
    }
    if let Some(held) = held {
        return Some(Told::new(Found::BridgeHoldsThem, clause, held.meaning, commands));
    }
    if let Some(tunnel) = tunnelled::told(search, owner.side, &name) {
        let commands = tunnel.commands.into_iter().map(|command| search.command(search.asker, command)).collect();
        return Some(Told::new(Found::LostInTunnel, format!("{clause}: {}", tunnel.clause), tunnel.meaning, commands));
    }
    let meaning = "Either the two are not on one link, or something on it loses them: a cable, a port or filter of a \
                   switch or bridge, a VLAN.";
    let shown = format!("ip addr show dev {}", holder.interface);
    let there = match owner.side {
        Some(side) => search.command(side, shown),
        None => Search::command_in(holder, &shown),
    };
    let here = format!("{} route get {}", ip(search.address), search.address);
    commands.extend([search.command(search.asker, here), there]);
    Some(Told::new(Found::AddressElsewhere, clause, meaning, commands))
}

/// Recognizes that the far end, or whoever heard the questions, does not have the address.
fn peer_lacks_it(search: &Search<'_>) -> Option<Told> {
    let peer = Side::Peer;
    let lacks = search.evidence.two_sided()
        && search.asker != peer
        && search
            .evidence
            .findings(peer)
            .any(|finding| matches!(finding, Finding::Address { address, own: false } if *address == search.address));
    if !lacks {
        return None;
    }
    let heard: usize = search.heard(peer).values().copied().max().unwrap_or(0);
    let name = search.evidence.whom(peer);
    let reached = if heard > 0 {
        format!("{} for {} reached {name}, which", questions(search.address, heard), search.address)
    } else {
        format!("{name} heard none of the {} for {}, and", questions(search.address, search.asked()), search.address)
    };
    let off = search.evidence.findings(peer).find_map(|finding| match finding {
        Finding::Setting { path, value } if path.ends_with("/disable_ipv6") && value.trim() == "1" => {
            Some(path.clone())
        }
        _ => None,
    });
    let clause = match &off {
        Some(path) if !search.address.is_ipv4() => format!("{reached} does not have it: {}=1", path.replace('/', ".")),
        _ => format!("{reached} does not have that address"),
    };
    let off = off.filter(|_| !search.address.is_ipv4());
    let (meaning, mend) = match &off {
        Some(path) => {
            let dotted = sysctl::name(path);
            (
                "Without IPv6 a device has no IPv6 address; switched on again, it may have to be given back.",
                Some(format!("sysctl -w {dotted}=0")),
            )
        }
        None => ("It is another host's, or was removed.", None),
    };
    let look = format!("{} -br addr", ip(search.address));
    let commands = mend.into_iter().chain([look]).map(|command| search.command(peer, command)).collect();
    Some(Told::new(Found::AddressElsewhere, clause, meaning, commands))
}

/// Reports that nobody answers, and that nobody known here has the address.
fn nobody(search: &Search<'_>) -> Told {
    let asked = search.asked();
    let name = search.asker_name();
    if asked == 0
        && search.asker == Side::Local
        && search.evidence.local.host.address.is_none_or(|own| own.is_unspecified())
    {
        let (version, interface) = (if search.address.is_ipv4() { "IPv4" } else { "IPv6" }, &search.interface);
        let clause =
            format!("{} on {interface} is not found, and {name} has no {version} address to ask from", search.address);
        let meaning = "Without an address of its own a host asks in a way that others do not answer.";
        let commands = vec![search.command(search.asker, format!("{} addr show", ip(search.address)))];
        return Told::new(Found::Nobody, clause, meaning, commands);
    }
    let mut clause = if asked == 0 {
        format!(
            "{} on {} is not found, and no {} for it was seen to leave",
            search.address,
            search.interface,
            super::words::question(search.address)
        )
    } else {
        format!(
            "{} for {} left {name} by {}, and no answer came",
            questions(search.address, asked),
            search.address,
            search.interface
        )
    };
    let others = hearers(search);
    if !others.is_empty() {
        let verb = if others.len() == 1 { "does" } else { "do" };
        clause.push_str(&format!("; {} heard them and {verb} not have that address", others.join(", ")));
    }
    let off = without_ipv6(search);
    if let Some((side, sysctl)) = &off {
        clause.push_str(&format!("; IPv6 is switched off on {}: {sysctl}=1", search.evidence.whom(*side)));
    }
    if let Some(device) = search.device(search.asker, &search.interface).filter(|device| device.noarp) {
        clause.push_str(&format!("; {} does no ARP (NOARP)", device.interface));
    }
    let unlinked = unlinked::port(search);
    if let Some((port, _)) = &unlinked {
        clause.push_str(&format!("; {port}"));
    }
    if let Some(tunnel) = tunnelled::told(search, None, "") {
        let commands = tunnel.commands.into_iter().map(|command| search.command(search.asker, command)).collect();
        return Told::new(Found::LostInTunnel, format!("{clause}; {}", tunnel.clause), tunnel.meaning, commands);
    }
    let route = search.route(search.asker).filter(|route| route.next == route.to);
    let wide = route.filter(|route| route.prefix < if search.address.is_ipv4() { 24 } else { 64 });
    let mut meaning = format!("No host on the link of {} has that address, or it is down.", search.interface);
    let ip = ip(search.address);
    let mut commands = vec![
        search.command(search.asker, format!("{ip} neigh show {} dev {}", search.address, search.interface)),
        search.command(search.asker, format!("{ip} route get {}", search.address)),
    ];
    if let Some((side, sysctl)) = off {
        commands.insert(0, search.command(side, format!("sysctl -w {sysctl}=0")));
    }
    commands.extend(unlinked.map(|(_, show)| show));
    let set = (!search.address.is_ipv4()).then(|| set_hop_limit(search.evidence, search.asker)).flatten();
    if let Some((from, to)) = set {
        clause.push_str(&format!(
            "; {name} changes the hop limit of what it sends after routing ({from} became {to}), and a solicitation is ignored \
             unless that is 255"
        ));
        HOP_LIMIT.clone_into(&mut meaning);
        commands.splice(0..0, HOP_LIMIT_RULES.map(|command| search.command(search.asker, command)));
    }
    if let Some((asker, lladdr)) = answered_without_source(search) {
        clause.push_str(&format!(
            "; {name} asks from {asker}, which is not an address of {}, and asked once more without a source address {lladdr} \
             answers",
            search.interface
        ));
        meaning = format!(
            "Who has the address does not answer those outside its network (arp_ignore=2), or not {asker}. With arp_announce=2 \
             {name} asks from an address of the link."
        );
        commands.insert(0, search.command(search.asker, "sysctl -w net.ipv4.conf.all.arp_announce=2"));
    }
    if let Some((route, other)) = wide.and_then(|route| Some((route, route.instead.as_ref()?))) {
        meaning.push_str(&format!(
            " If it is behind a router, the prefix of {} is too wide: otherwise {} would be asked.",
            route.route, other.gateway
        ));
        commands.push(search.command(search.asker, format!("{ip} route add {} via {}", search.address, other.gateway)));
    }
    Told::new(Found::Nobody, clause, meaning, commands)
}

/// Returns the address from which the asker asks if it is not one of the link's device, and who answered once more without it.
fn answered_without_source<'a>(search: &Search<'a>) -> Option<(IpAddr, &'a str)> {
    // A neighbour solicitation has a source even then.
    let again = search.asked_again().filter(|again| again.interface == search.interface && again.address.is_ipv4())?;
    let asks = search.packets(search.asker, NeighbourKind::Asks, NeighbourHop::Out);
    let asker = asks.map(|packet| packet.asker).next()?;
    let on_device = search.evidence.findings(search.asker).any(|finding| {
        matches!(finding, Finding::Holder(holder) if holder.has_here(asker) && holder.interface == search.interface)
    });
    (!on_device && !asker.is_unspecified()).then_some((asker, again.lladdrs.first()?))
}

/// Returns who heard the questions at a device without IPv6, and the setting that decides it.
fn without_ipv6(search: &Search<'_>) -> Option<(Side, String)> {
    (!search.address.is_ipv4()).then_some(())?;
    search.others().find_map(|side| {
        search.heard(side).into_keys().find_map(|device| {
            let (path, _) = search.setting(side, device, "disable_ipv6").filter(|(_, value)| *value == 1)?;
            let own = search.device(side, device).is_none_or(|facts| facts.master.is_none());
            own.then(|| (side, sysctl::name(&path)))
        })
    })
}

/// Reports whether `side` has a device with that link-layer address.
pub(super) fn has_lladdr(search: &Search<'_>, side: Side, lladdr: &str) -> bool {
    search.evidence.devices(side).any(|device| device.lladdr.as_deref() == Some(lladdr))
}
