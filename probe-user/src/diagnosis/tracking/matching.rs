//! Whether a rule that translates addresses applies to a packet, and to which address it translates, as far as its text
//! shows.

use std::net::IpAddr;

use crate::model::{
    netfilter::TableFamily,
    trace::{TrackedEcho, TrackingAct, TrackingRule},
};

/// The interfaces that packets crossed.
#[derive(Clone, Debug, Default)]
pub(super) struct Crossed {
    pub(super) inwards: Vec<String>,
    pub(super) outwards: Vec<String>,
}

/// Reports whether the rule replaces the destination by the host's own address.
pub(super) fn redirects(rule: &TrackingRule) -> bool {
    rule.act == TrackingAct::Destination && words(rule).any(|word| matches!(word, "redirect" | "REDIRECT"))
}

/// Reports whether the rule replaces the source by the address of the device.
pub(super) fn masquerades(rule: &TrackingRule) -> bool {
    rule.act == TrackingAct::Source && words(rule).any(|word| matches!(word, "masquerade" | "MASQUERADE"))
}

/// Reports whether `address` is among those that the rule translates to, itself or in a range, prefix, set or map.
pub(super) fn names(rule: &TrackingRule, address: IpAddr) -> bool {
    let of_rule = target(rule).split(|c: char| c.is_whitespace() || matches!(c, ',' | '{' | '}' | '='));
    let of_sets = rule.elements.split(|c: char| c.is_whitespace() || matches!(c, ',' | '{' | '}' | '='));
    of_rule.chain(of_sets).any(|word| covers(word, address))
}

/// Returns the one address that the rule translates to, if it names one.
pub(super) fn translates_to(rule: &TrackingRule) -> Option<IpAddr> {
    let word = target(rule).split_whitespace().find(|word| !matches!(*word, "dnat" | "snat" | "to" | "ip" | "ip6"))?;
    alone(word)
}

/// Reports whether the rule applies to packets that look like the first of `entry`; false if its text leaves that open.
pub(super) fn matches(rule: &TrackingRule, entry: &TrackedEcho, crossed: &Crossed) -> bool {
    // Tables of one family see only its packets.
    let fits = match rule.family {
        Some(TableFamily::Ip) => entry.original.source.is_ipv4(),
        Some(TableFamily::Ip6) => entry.original.source.is_ipv6(),
        Some(TableFamily::Inet) => true,
        _ => false,
    };
    let before = rule.rule.len() - target(rule).len();
    let words: Vec<&str> = rule.rule[..before].split_whitespace().collect();
    let asks = if rule.legacy { iptables(&words, entry, crossed) } else { nft(&words, entry, crossed) };
    fits && asks == Some(true)
}

/// Reads the matches of an nft rule; `None` if one of them is not known.
fn nft(words: &[&str], entry: &TrackedEcho, crossed: &Crossed) -> Option<bool> {
    let mut rest = words;
    while !rest.is_empty() {
        let (holds, more) = match rest {
            ["ip" | "ip6", "daddr", "!=", of, more @ ..] => (!literal(of, entry.original.destination)?, more),
            ["ip" | "ip6", "daddr", of, more @ ..] => (literal(of, entry.original.destination)?, more),
            ["ip" | "ip6", "saddr", "!=", of, more @ ..] => (!literal(of, entry.original.source)?, more),
            ["ip" | "ip6", "saddr", of, more @ ..] => (literal(of, entry.original.source)?, more),
            ["iifname" | "iif", name, more @ ..] => (named(name, &crossed.inwards)?, more),
            ["oifname" | "oif", name, more @ ..] => (named(name, &crossed.outwards)?, more),
            ["ip", "protocol", "icmp", more @ ..]
            | ["meta", "l4proto", "icmp" | "icmpv6" | "ipv6-icmp", more @ ..]
            | ["icmp" | "icmpv6", "type", "echo-request", more @ ..]
            | ["counter", "packets", _, "bytes", _, more @ ..]
            | ["counter", more @ ..] => (true, more),
            _ => return None,
        };
        if !holds {
            return Some(false);
        }
        rest = more;
    }
    Some(true)
}

/// Reads those of an iptables rule.
fn iptables(words: &[&str], entry: &TrackedEcho, crossed: &Crossed) -> Option<bool> {
    let mut rest = words;
    while !rest.is_empty() {
        let (holds, more) = match rest {
            ["!", "-d", of, more @ ..] => (!literal(of, entry.original.destination)?, more),
            ["-d", of, more @ ..] => (literal(of, entry.original.destination)?, more),
            ["!", "-s", of, more @ ..] => (!literal(of, entry.original.source)?, more),
            ["-s", of, more @ ..] => (literal(of, entry.original.source)?, more),
            ["-i", name, more @ ..] => (named(name, &crossed.inwards)?, more),
            ["-o", name, more @ ..] => (named(name, &crossed.outwards)?, more),
            ["-A", _, more @ ..]
            | ["-p", "icmp" | "ipv6-icmp", more @ ..]
            | ["-m", "icmp" | "icmp6" | "comment", more @ ..]
            | ["--icmp-type" | "--icmpv6-type", "8" | "128" | "any", more @ ..]
            | ["-j", more @ ..] => (true, more),
            _ => return None,
        };
        if !holds {
            return Some(false);
        }
        rest = more;
    }
    Some(true)
}

/// Returns the words of a rule from the one that makes it translate.
fn target(rule: &TrackingRule) -> &str {
    let text = rule.rule.split(" comment \"").next().unwrap_or(&rule.rule);
    let acts = ["dnat", "snat", "masquerade", "redirect", "DNAT", "SNAT", "MASQUERADE", "REDIRECT"];
    let word = text.split_whitespace().find(|word| acts.contains(word));
    // Both slices are of one string, so that the word's place in it is known.
    word.map_or("", |word| &rule.rule[word.as_ptr() as usize - rule.rule.as_ptr() as usize..])
}

fn words(rule: &TrackingRule) -> impl Iterator<Item = &str> {
    target(rule).split_whitespace()
}

/// Returns whether an address or prefix is that of `address`; `None` if it is neither.
fn literal(word: &str, address: IpAddr) -> Option<bool> {
    (alone(word).is_some() || prefix(word).is_some()).then(|| covers(word, address))
}

fn named(word: &str, interfaces: &[String]) -> Option<bool> {
    let name = word.trim_matches('"');
    if interfaces.is_empty() || name.starts_with(['{', '@', '!']) {
        return None;
    }
    let begin = name.strip_suffix(['*', '+']);
    Some(interfaces.iter().any(|own| begin.map_or(own == name, |begin| own.starts_with(begin))))
}

fn alone(word: &str) -> Option<IpAddr> {
    let word = word.trim_matches(['[', ']']);
    let port = || word.split_once(':').filter(|_| word.matches(':').count() == 1)?.0.parse().ok();
    word.parse().ok().or_else(port)
}

fn prefix(word: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = word.split_once('/')?;
    Some((address.parse().ok()?, length.parse().ok()?))
}

/// Returns whether a word is `address`, or a range or prefix with it.
fn covers(word: &str, address: IpAddr) -> bool {
    if let Some(one) = alone(word) {
        return one == address;
    }
    if let Some((net, length)) = prefix(word) {
        let shift = |bits: u32, of: IpAddr| number(of).checked_shr(bits - u32::from(length).min(bits)).unwrap_or(0);
        let bits = if address.is_ipv4() { 32 } else { 128 };
        return net.is_ipv4() == address.is_ipv4() && shift(bits, net) == shift(bits, address);
    }
    let Some((first, last)) = word.split_once('-') else { return false };
    let (Some(first), Some(last)) = (alone(first), alone(last)) else { return false };
    first.is_ipv4() == address.is_ipv4() && (number(first)..=number(last)).contains(&number(address))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}
