//! Which rule, table and route decide about a packet, as the kernel goes through them. Pure: rules and routes in, a choice out.
//!
//! After `fib_rules_lookup` and `fib_rule_match` (`net/core/fib_rules.c`), and `fib4_rule_match` and `fib6_rule_match`
//! for what each IP version compares in addition.

use std::net::IpAddr;

use netlink_packet_core::Nla;
use netlink_packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType, RouteVia},
    rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
};

use crate::{host::route::ROUTING_TOS, model::prefix::shares};

/// What the kernel chooses a route by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteKey {
    /// Source address; none: not chosen yet.
    pub from: Option<IpAddr>,
    /// Destination address.
    pub to: IpAddr,
    /// Firewall mark.
    pub mark: u32,
    /// The DSCP and ECN byte.
    pub tos: u8,
    /// The interface that the packet came in by; `lo` for what this host sends.
    pub incoming: String,
    /// The interface that the socket is bound to.
    pub outgoing: Option<String>,
    /// The user that sends it.
    pub uid: u32,
}

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice<'a> {
    /// The rule that matched.
    pub rule: &'a RuleMessage,
    /// The route in its table; none: the rule itself ends the packet.
    pub route: Option<&'a RouteMessage>,
}

/// Goes through `rules` with `key`, and looks into the tables that they name; none if nothing matches.
/// `names` gives an interface's name by its index.
pub(super) fn walk<'a>(
    key: &RouteKey,
    rules: &'a [RuleMessage],
    routes: &'a [RouteMessage],
    names: &dyn Fn(u32) -> Option<String>,
) -> Option<Choice<'a>> {
    let family = family_of(key);
    let mut rules: Vec<&RuleMessage> = rules.iter().filter(|rule| rule.header.family == family).collect();
    rules.sort_by_key(|rule| priority(rule));
    let mut skipped_to = 0;
    for rule in rules {
        if priority(rule) < skipped_to || !matches(rule, key) {
            continue;
        }
        match rule.header.action {
            RuleAction::ToTable => {
                let found = best(key, routes, table_of(rule), names).filter(|route| !suppressed(rule, route));
                match found {
                    Some(route) if route.header.kind == RouteType::Throw => {}
                    Some(route) => return Some(Choice { rule, route: Some(route) }),
                    None => {}
                }
            }
            RuleAction::Goto => skipped_to = goto(rule).unwrap_or(0),
            RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => {
                return Some(Choice { rule, route: None });
            }
            _ => {}
        }
    }
    None
}

/// Returns the first rule with a route for `key` that is not taken: the rule skips prefixes that short, or the device
/// of the route has no carrier. Meant for keys for which nothing else was found.
pub(super) fn passed_over<'a>(
    key: &RouteKey,
    rules: &'a [RuleMessage],
    routes: &'a [RouteMessage],
    names: &dyn Fn(u32) -> Option<String>,
) -> Option<Choice<'a>> {
    let family = family_of(key);
    let leads = |rule: &&RuleMessage| {
        rule.header.family == family && rule.header.action == RuleAction::ToTable && matches(rule, key)
    };
    let mut rules: Vec<&RuleMessage> = rules.iter().filter(leads).collect();
    rules.sort_by_key(|rule| priority(rule));
    rules.into_iter().find_map(|rule| {
        let table = table_of(rule);
        let fits = |route: &&RouteMessage| covers(key, route, table, names);
        let route =
            routes.iter().filter(fits).filter(|route| is_dead(route) || suppressed(rule, route)).max_by_key(rank)?;
        Some(Choice { rule, route: Some(route) })
    })
}

/// Returns, in the same way, the first rule with a route that fits `key` except for its source.
pub(super) fn of_other_source<'a>(
    key: &RouteKey,
    rules: &'a [RuleMessage],
    routes: &'a [RouteMessage],
    names: &dyn Fn(u32) -> Option<String>,
) -> Option<&'a RouteMessage> {
    let family = family_of(key);
    let leads = |rule: &&RuleMessage| {
        rule.header.family == family && rule.header.action == RuleAction::ToTable && matches(rule, key)
    };
    rules.iter().filter(leads).find_map(|rule| {
        let only = routes.iter().filter(|route| source(route).is_some());
        let mut fitting =
            only.filter(|route| covers(&RouteKey { from: source(route), ..key.clone() }, route, table_of(rule), names));
        fitting.find(|route| !from_source(key, route))
    })
}

/// Reports whether the kernel skips a route because its device is down or has no carrier
/// (`ignore_routes_with_linkdown`).
pub(super) fn is_dead(route: &RouteMessage) -> bool {
    route.header.flags.contains(RouteFlags::Dead)
}

fn family_of(key: &RouteKey) -> AddressFamily {
    if key.to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// Reports whether a rule is for all packets.
pub(super) fn is_plain(rule: &RuleMessage) -> bool {
    let key = |attribute: &RuleAttribute| {
        matches!(
            attribute,
            RuleAttribute::Priority(_)
                | RuleAttribute::Table(_)
                | RuleAttribute::Protocol(_)
                | RuleAttribute::SuppressPrefixLen(u32::MAX)
                | RuleAttribute::SuppressIfGroup(u32::MAX)
        )
    };
    rule.header.tos == 0 && rule.header.action == RuleAction::ToTable && rule.attributes.iter().all(key)
}

/// Returns the number by which rules are ordered.
pub(super) fn priority(rule: &RuleMessage) -> u32 {
    let given = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Priority(priority) => Some(*priority),
        _ => None,
    });
    given.unwrap_or(0)
}

/// Returns the number of the table that a rule leads to.
pub(super) fn table_of(rule: &RuleMessage) -> u32 {
    let given = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Table(table) => Some(*table),
        _ => None,
    });
    given.unwrap_or_else(|| rule.header.table.into())
}

fn goto(rule: &RuleMessage) -> Option<u32> {
    rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Goto(priority) => Some(*priority),
        _ => None,
    })
}

fn suppressed(rule: &RuleMessage, route: &RouteMessage) -> bool {
    rule.attributes.iter().any(|attribute| match attribute {
        RuleAttribute::SuppressPrefixLen(length) => {
            *length != u32::MAX && u32::from(route.header.destination_prefix_length) <= *length
        }
        _ => false,
    })
}

/// Attributes of a rule that chooses by DSCP (`include/uapi/linux/fib_rules.h`, since 6.13), which are a byte each.
const FRA_DSCP: u16 = 25;
const FRA_DSCP_MASK: u16 = 30;

/// The bits of a DSCP.
const DSCP: u8 = 0x3f;

/// Returns the bits of the TOS or traffic class byte by which rules and routes choose.
fn routing_tos(key: &RouteKey) -> u8 {
    if key.to.is_ipv4() { key.tos & ROUTING_TOS } else { key.tos & !3 }
}

fn matches(rule: &RuleMessage, key: &RouteKey) -> bool {
    let (mut mark, mut mask) = (0, None);
    let mut fits = rule.header.tos == 0 || rule.header.tos == routing_tos(key);
    let mut dscp = (None, DSCP);
    for attribute in &rule.attributes {
        fits &= match attribute {
            RuleAttribute::FwMark(wanted) => {
                mark = *wanted;
                true
            }
            RuleAttribute::FwMask(wanted) => {
                mask = Some(*wanted);
                true
            }
            RuleAttribute::Iifname(name) => *name == key.incoming,
            RuleAttribute::Oifname(name) => key.outgoing.as_ref() == Some(name),
            RuleAttribute::Source(prefix) => key.from.is_some_and(|from| shares(*prefix, from, rule.header.src_len)),
            RuleAttribute::Destination(prefix) => shares(*prefix, key.to, rule.header.dst_len),
            RuleAttribute::UidRange(range) => (range.start..=range.end).contains(&key.uid),
            RuleAttribute::IpProtocol(protocol) => u8::from(*protocol) == if key.to.is_ipv4() { 1 } else { 58 },
            // An echo packet has no ports, is in no tunnel's metadata, and leaves by no VRF unless it is bound to one.
            RuleAttribute::SourcePortRange(_) | RuleAttribute::DestinationPortRange(_) => false,
            RuleAttribute::TunId(id) => *id == 0,
            RuleAttribute::L3MDev(on) => !on,
            RuleAttribute::Other(other) if matches!(other.kind(), FRA_DSCP | FRA_DSCP_MASK) => {
                let mut value = [0];
                other.emit_value(&mut value);
                match other.kind() {
                    FRA_DSCP => dscp.0 = Some(value[0]),
                    _ => dscp.1 = value[0],
                }
                true
            }
            _ => true,
        };
    }
    fits &= dscp.0.is_none_or(|wanted| (wanted ^ (key.tos >> 2)) & dscp.1 == 0);
    let mask = mask.unwrap_or(if mark == 0 { 0 } else { u32::MAX });
    fits &= (mark ^ key.mark) & mask == 0;
    fits != rule.header.flags.contains(RuleFlags::Invert)
}

/// Returns the route of `table` that is chosen: the longest prefix, of those one for its TOS, and then the smallest metric.
fn best<'a>(
    key: &RouteKey,
    routes: &'a [RouteMessage],
    table: u32,
    names: &dyn Fn(u32) -> Option<String>,
) -> Option<&'a RouteMessage> {
    let fits = |route: &&RouteMessage| !is_dead(route) && covers(key, route, table, names);
    routes.iter().filter(fits).max_by_key(rank)
}

/// Returns the rank of a route: the highest is chosen.
fn rank(route: &&RouteMessage) -> (u8, u8, std::cmp::Reverse<u32>) {
    (route.header.destination_prefix_length, route.header.tos, std::cmp::Reverse(metric(route)))
}

/// Reports whether a route of `table` is one for packets with `key`.
fn covers(key: &RouteKey, route: &RouteMessage, table: u32, names: &dyn Fn(u32) -> Option<String>) -> bool {
    route.header.address_family == family_of(key)
        && route_table(route) == table
        && !route.header.flags.contains(RouteFlags::Cloned)
        && (route.header.tos == 0 || route.header.tos == routing_tos(key))
        && shares(destination(route), key.to, route.header.destination_prefix_length)
        && (route.header.source_prefix_length == 0 || from_source(key, route))
        && key.outgoing.as_ref().is_none_or(|wanted| {
            devices(route).is_empty() || devices(route).into_iter().any(|index| names(index).as_ref() == Some(wanted))
        })
}

/// Reports whether an IPv6 route that is limited to sources of one prefix takes those of `key`.
fn from_source(key: &RouteKey, route: &RouteMessage) -> bool {
    let of = source(route);
    key.from.zip(of).is_some_and(|(from, of)| shares(of, from, route.header.source_prefix_length))
}

/// Returns the prefix of sources that a route is for, without its length; `None` if it is for all.
pub(super) fn source(route: &RouteMessage) -> Option<IpAddr> {
    let given = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Source(address) => ip(address),
        _ => None,
    });
    given.filter(|_| route.header.source_prefix_length > 0)
}

/// Returns the prefix of a route, without its length.
pub(super) fn destination(route: &RouteMessage) -> IpAddr {
    let given = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    });
    let any = || match route.header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        _ => IpAddr::from([0; 16]),
    };
    given.unwrap_or_else(any)
}

/// Returns where a route leads: to which gateway, if it has one, and through the interface of which index. Several are
/// ways of equal cost, of which the kernel chooses one for each pair of addresses.
pub(super) fn hops(route: &RouteMessage) -> Vec<(Option<IpAddr>, u32)> {
    let mut found = Vec::new();
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => found.push((gateway(&route.attributes), *index)),
            RouteAttribute::MultiPath(hops) => {
                found.extend(hops.iter().map(|hop| (gateway(&hop.attributes), hop.interface_index)));
            }
            _ => {}
        }
    }
    found
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(v4)) => Some((*v4).into()),
        RouteAttribute::Via(RouteVia::Inet6(v6)) => Some((*v6).into()),
        _ => None,
    })
}

/// Returns the indexes of the interfaces that a route leads to.
pub(super) fn devices(route: &RouteMessage) -> Vec<u32> {
    hops(route).into_iter().map(|(_, index)| index).collect()
}

/// Returns the metric of a route; smaller is better.
pub(super) fn metric(route: &RouteMessage) -> u32 {
    let given = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    given.unwrap_or(0)
}

fn route_table(route: &RouteMessage) -> u32 {
    let given = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    given.unwrap_or_else(|| route.header.table.into())
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}
