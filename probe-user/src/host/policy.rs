//! How routing decides about a packet: the kernel's own answer for exactly its key, and the rule, table and route
//! behind it.

mod walk;

use std::{fs, io, net::IpAddr};

use netlink_packet_route::{
    AddressFamily, IpProtocol, RouteNetlinkMessage,
    route::{RouteHeader, RouteMessage, RouteType},
    rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
};
use nix::unistd::Uid;

use super::{or_log, route};
use crate::{
    host::device::{Device, netlink},
    model::trace::{Finding, RouteChoice, RoutePurpose, routing::NO_LOCAL_ROUTE},
};
pub use walk::RouteKey;

impl RouteKey {
    /// Returns the key of a packet that this host sends from `from` to `to`, with that firewall mark.
    pub fn sent(from: Option<IpAddr>, to: IpAddr, mark: u32) -> Self {
        let from = from.filter(|from| !from.is_unspecified());
        Self { from, to, mark, tos: 0, incoming: "lo".to_owned(), outgoing: None, uid: Uid::current().as_raw() }
    }

    /// Returns the key of a packet that came in by `incoming`.
    pub fn forwarded(from: IpAddr, to: IpAddr, mark: u32, incoming: &str) -> Self {
        Self { incoming: incoming.to_owned(), uid: 0, ..Self::sent(Some(from), to, mark) }
    }
}

/// The number of the table `local`.
const LOCAL: u32 = 255;

/// Rules and routes of the calling thread's network namespace, read once.
pub struct Policy {
    rules: Vec<RuleMessage>,
    routes: Vec<RouteMessage>,
    devices: Vec<Device>,
}

impl Policy {
    /// Reads the rules and routes of the IP version of `of`.
    ///
    /// # Errors
    /// The error of the socket or the kernel.
    pub fn read(of: IpAddr) -> io::Result<Self> {
        let family = if of.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let mut ask = RuleMessage::default();
        ask.header.family = family;
        let rules = netlink::dump(&RouteNetlinkMessage::GetRule(ask))?.into_iter();
        let rules = rules.filter_map(|message| match message {
            RouteNetlinkMessage::NewRule(rule) => Some(rule),
            _ => None,
        });
        let mut ask = RouteMessage::default();
        ask.header = RouteHeader { address_family: family, ..RouteHeader::default() };
        let routes = netlink::dump(&RouteNetlinkMessage::GetRoute(ask))?.into_iter();
        let routes = routes.filter_map(|message| match message {
            RouteNetlinkMessage::NewRoute(route) => Some(route),
            _ => None,
        });
        let devices = Device::all().map_err(io::Error::other)?;
        Ok(Self { rules: rules.collect(), routes: routes.collect(), devices })
    }

    /// Returns what decides about packets with `key`.
    pub fn choice(&self, key: &RouteKey, purpose: RoutePurpose) -> Finding {
        let name = |index: u32| self.devices.iter().find(|device| device.ifindex == index).map(|it| it.name.clone());
        let chosen = walk::walk(key, &self.rules, &self.routes, &name);
        let route = chosen.and_then(|chosen| chosen.route);
        let ends = match chosen {
            None => Some("no route".to_owned()),
            Some(chosen) => kind(chosen.route, chosen.rule).map(str::to_owned),
        };
        let hop = route.and_then(|route| taken(key, &walk::hops(route)));
        Finding::Routing(RouteChoice {
            purpose,
            from: key.from,
            to: key.to,
            mark: key.mark,
            rule: chosen.map(|chosen| rule_text(chosen.rule)).unwrap_or_default(),
            // A rule that drops packets itself leads to no table.
            table: chosen
                .filter(|chosen| chosen.route.is_some())
                .map(|chosen| table_name(walk::table_of(chosen.rule)))
                .unwrap_or_default(),
            route: route.map(|route| route_text(route, &name)).unwrap_or_default(),
            ends,
            interface: hop.and_then(|(_, index)| name(index)),
            gateway: hop.and_then(|(gateway, _)| gateway),
            key: self.words(key),
            passed_over: match (chosen, purpose) {
                (None, _) => self.passed_over(key, &name),
                (Some(chosen), RoutePurpose::Own) => self.not_local(chosen.rule),
                (Some(_), _) => None,
            },
        })
    }

    /// Says that the table `local` is asked before `rule` and has no route, if it is.
    fn not_local(&self, rule: &RuleMessage) -> Option<String> {
        let asked = self.rules.iter().any(|first| {
            walk::is_plain(first) && walk::table_of(first) == LOCAL && walk::priority(first) < walk::priority(rule)
        });
        (asked && walk::table_of(rule) != LOCAL).then(|| NO_LOCAL_ROUTE.to_owned())
    }

    /// Returns which rule skips a route that would take packets with `key`, as a clause.
    fn passed_over(&self, key: &RouteKey, name: &dyn Fn(u32) -> Option<String>) -> Option<String> {
        if let Some(route) = walk::of_other_source(key, &self.rules, &self.routes, name) {
            return Some(format!("the route \"{}\" is for other sources", route_text(route, name)));
        }
        let choice = walk::passed_over(key, &self.rules, &self.routes, name)?;
        let taken = choice.route?;
        let route = route_text(taken, name);
        if !walk::is_dead(taken) {
            return Some(format!("rule \"{}\" skips the route \"{route}\"", rule_text(choice.rule)));
        }
        let down = |index: &u32| self.devices.iter().find(|device| device.ifindex == *index && !device.carrier);
        let device = walk::devices(taken).iter().find_map(down)?;
        Some(format!("the route \"{route}\" is not taken, as {} has no carrier", device.name))
    }

    /// Returns what `ip route get` must be given of `key` besides addresses; users and protocols only if rules match
    /// them.
    fn words(&self, key: &RouteKey) -> String {
        let asks = |fits: fn(&RuleAttribute) -> bool| self.rules.iter().flat_map(|rule| &rule.attributes).any(fits);
        let icmp = if key.to.is_ipv4() { "icmp" } else { "ipv6-icmp" };
        let sent = key.incoming == "lo";
        [
            (!sent).then(|| format!("iif {}", key.incoming)),
            key.outgoing.as_ref().map(|device| format!("oif {device}")),
            (key.mark != 0).then(|| format!("mark {:#x}", key.mark)),
            (key.tos != 0).then(|| format!("tos {:#x}", key.tos)),
            asks(|attribute| matches!(attribute, RuleAttribute::IpProtocol(_))).then(|| format!("ipproto {icmp}")),
            (sent && asks(|attribute| matches!(attribute, RuleAttribute::UidRange(_))))
                .then(|| format!("uid {}", key.uid)),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
    }
}

/// Returns which of a route's ways packets with `key` take. Of several, the kernel itself says which one it chooses for them.
fn taken(key: &RouteKey, hops: &[(Option<IpAddr>, u32)]) -> Option<(Option<IpAddr>, u32)> {
    let first = hops.first().copied();
    if hops.len() < 2 {
        return first;
    }
    let asked = route::chosen(key.from, key.to, (key.mark, key.tos), &key.incoming).and_then(|chosen| {
        hops.iter().find(|(gateway, index)| *index == chosen.ifindex && gateway.is_none_or(|it| it == chosen.address))
    });
    asked.copied().or(first)
}

/// Returns what decides about packets with each of `keys`; nothing for keys whose tables cannot be read.
pub fn choices(keys: &[(RouteKey, RoutePurpose)]) -> Vec<Finding> {
    let Some((first, _)) = keys.first() else { return Vec::new() };
    let Some(policy) = or_log("routing rules", Policy::read(first.to)) else { return Vec::new() };
    keys.iter().map(|(key, purpose)| policy.choice(key, *purpose)).collect()
}

/// Returns the marks that rules of the IP version of `of` match, except 0.
///
/// # Errors
/// The error of the socket or the kernel.
pub fn marks(of: IpAddr) -> io::Result<Vec<u32>> {
    let rules = Policy::read(of)?.rules;
    let marks = rules.iter().flat_map(|rule| &rule.attributes).filter_map(|attribute| match attribute {
        RuleAttribute::FwMark(mark) if *mark != 0 => Some(*mark),
        _ => None,
    });
    let mut marks: Vec<u32> = marks.collect();
    marks.sort_unstable();
    marks.dedup();
    Ok(marks)
}

/// Returns the word of `ip route` for a route or rule that drops packets.
fn kind(route: Option<&RouteMessage>, rule: &RuleMessage) -> Option<&'static str> {
    match (route.map(|route| route.header.kind), rule.header.action) {
        (Some(RouteType::BlackHole), _) | (None, RuleAction::Blackhole) => Some("blackhole"),
        (Some(RouteType::Unreachable), _) | (None, RuleAction::Unreachable) => Some("unreachable"),
        (Some(RouteType::Prohibit), _) | (None, RuleAction::Prohibit) => Some("prohibit"),
        _ => None,
    }
}

/// Writes a rule as `ip rule` does.
fn rule_text(rule: &RuleMessage) -> String {
    let mut text = format!("{}:", walk::priority(rule));
    if rule.header.flags.contains(RuleFlags::Invert) {
        text.push_str(" not");
    }
    let (mut from, mut more, mut after, mut mask) = ("all".to_owned(), String::new(), String::new(), None);
    let with_length = |address: &IpAddr, length: u8| {
        let whole = if address.is_ipv4() { 32 } else { 128 };
        if length == whole { address.to_string() } else { format!("{address}/{length}") }
    };
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::Source(address) => from = with_length(address, rule.header.src_len),
            RuleAttribute::Destination(address) => {
                more.push_str(&format!(" to {}", with_length(address, rule.header.dst_len)));
            }
            RuleAttribute::FwMark(mark) => more.push_str(&format!(" fwmark {mark:#x}")),
            RuleAttribute::FwMask(value) if *value != u32::MAX => mask = Some(*value),
            RuleAttribute::Iifname(name) => more.push_str(&format!(" iif {name}")),
            RuleAttribute::Oifname(name) => more.push_str(&format!(" oif {name}")),
            RuleAttribute::UidRange(range) => more.push_str(&format!(" uidrange {}-{}", range.start, range.end)),
            RuleAttribute::IpProtocol(protocol) => more.push_str(&format!(" ipproto {}", protocol_name(*protocol))),
            RuleAttribute::SuppressPrefixLen(length) if *length != u32::MAX => {
                after = format!(" suppress_prefixlength {length}");
            }
            _ => {}
        }
    }
    if let Some(mask) = mask {
        let at = more.find(" fwmark 0x").map(|at| at + " fwmark ".len());
        let end = at.map(|at| more[at..].find(' ').map_or(more.len(), |length| at + length));
        if let Some(end) = end {
            more.insert_str(end, &format!("/{mask:#x}"));
        }
    }
    if rule.header.tos != 0 {
        more.push_str(&format!(" tos {:#x}", rule.header.tos));
    }
    let action = match rule.header.action {
        RuleAction::Blackhole => " blackhole".to_owned(),
        RuleAction::Unreachable => " unreachable".to_owned(),
        RuleAction::Prohibit => " prohibit".to_owned(),
        _ => format!(" lookup {}", table_name(walk::table_of(rule))),
    };
    format!("{text} from {from}{more}{action}{after}")
}

/// Returns a protocol as `ip rule` writes it.
fn protocol_name(protocol: IpProtocol) -> String {
    match u8::from(protocol) {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "ipv6-icmp".to_owned(),
        other => other.to_string(),
    }
}

/// Writes a route as `ip route` does, without what does not distinguish it from others.
fn route_text(route: &RouteMessage, name: &dyn Fn(u32) -> Option<String>) -> String {
    let mut words: Vec<String> = Vec::new();
    words.extend(match route.header.kind {
        RouteType::BlackHole => Some("blackhole".to_owned()),
        RouteType::Unreachable => Some("unreachable".to_owned()),
        RouteType::Prohibit => Some("prohibit".to_owned()),
        RouteType::Local => Some("local".to_owned()),
        RouteType::Broadcast => Some("broadcast".to_owned()),
        _ => None,
    });
    let (address, length) = (walk::destination(route), route.header.destination_prefix_length);
    words.push(match length {
        0 => "default".to_owned(),
        32 if address.is_ipv4() => address.to_string(),
        128 => address.to_string(),
        _ => format!("{address}/{length}"),
    });
    words.extend((route.header.tos != 0).then(|| format!("tos {:#x}", route.header.tos)));
    if let Some(source) = walk::source(route) {
        words.push(format!("from {source}/{}", route.header.source_prefix_length));
    }
    let ends = kind(Some(route), &RuleMessage::default()).is_some();
    let hops = walk::hops(route);
    for (gateway, index) in &hops {
        words.extend((hops.len() > 1).then(|| "nexthop".to_owned()));
        words.extend(gateway.map(|gateway| format!("via {gateway}")));
        words.extend(name(*index).filter(|_| !ends).map(|device| format!("dev {device}")));
    }
    words.join(" ")
}

/// Returns a table's name in `rt_tables`, or its number.
fn table_name(table: u32) -> String {
    match table {
        253 => return "default".to_owned(),
        254 => return "main".to_owned(),
        255 => return "local".to_owned(),
        _ => {}
    }
    let files = ["/etc/iproute2/rt_tables", "/usr/share/iproute2/rt_tables"];
    let named = files.iter().filter_map(|path| fs::read_to_string(path).ok()).find_map(|text| {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let number: u32 = words.next()?.parse().ok()?;
            (number == table).then(|| words.next().map(str::to_owned)).flatten()
        })
    });
    named.unwrap_or_else(|| table.to_string())
}

#[cfg(test)]
mod tests;
