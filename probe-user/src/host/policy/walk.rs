//! Which rule, table and route decide about a packet, as the kernel goes through them. Pure: rules and routes in, a choice out.
//!
//! After `fib_rules_lookup` and `fib_rule_match` (`net/core/fib_rules.c`), and `fib4_rule_match` and `fib6_rule_match` for what
//! each IP version compares besides.

use std::net::IpAddr;

use netlink_packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType, RouteVia},
    rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
};

use crate::model::prefix::shares;

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
    let family = if key.to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
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

fn matches(rule: &RuleMessage, key: &RouteKey) -> bool {
    let (mut mark, mut mask) = (0, None);
    let mut fits = rule.header.tos == 0 || rule.header.tos == key.tos & !3;
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
            _ => true,
        };
    }
    let mask = mask.unwrap_or(if mark == 0 { 0 } else { u32::MAX });
    fits &= (mark ^ key.mark) & mask == 0;
    fits != rule.header.flags.contains(RuleFlags::Invert)
}

/// Returns the route of `table` that is chosen: the longest prefix, and of those the smallest metric.
fn best<'a>(
    key: &RouteKey,
    routes: &'a [RouteMessage],
    table: u32,
    names: &dyn Fn(u32) -> Option<String>,
) -> Option<&'a RouteMessage> {
    let family = if key.to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fits = |route: &&RouteMessage| {
        route.header.address_family == family
            && route_table(route) == table
            && !route.header.flags.intersects(RouteFlags::Cloned | RouteFlags::Dead)
            && (route.header.tos == 0 || route.header.tos == key.tos & !3)
            && shares(destination(route), key.to, route.header.destination_prefix_length)
            && key.outgoing.as_ref().is_none_or(|wanted| {
                devices(route).is_empty()
                    || devices(route).into_iter().any(|index| names(index).as_ref() == Some(wanted))
            })
    };
    let rank = |route: &&RouteMessage| (route.header.destination_prefix_length, std::cmp::Reverse(metric(route)));
    routes.iter().filter(fits).max_by_key(rank)
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

/// Returns where a route leads: to which gateway, if it has one, by the interface of which index. Several are ways of equal
/// cost, of which the kernel chooses one for each pair of addresses.
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
