//! Which chain, and which of its rules, dropped a packet in netfilter.

mod addresses;
mod devices;
mod traced;

use probe_ebpf::Echo;

use self::{addresses::Addresses, devices::Devices, traced::Traced};
use super::{
    Evidence,
    document::{Layer, Netfilter, Stop},
    path::Side,
    places::{DropLocation, DropPoint},
};
use crate::model::{
    netfilter::{NetfilterHook, TableFamily},
    trace::{ChainRule, Finding},
};

/// How a list of rules begins of which one ended packets, and what it ends in where the policy can have, too.
const ONE_OF: &str = "one of ";
const BY_RULES: &str = "one of \"";
const OR_POLICY: &str = " or its policy, drop";

/// How many rules of such a list are named.
const MOST_NAMED: usize = 3;

/// Names the hook, and the table and chain if only one chain of that host can have dropped the packets.
pub(super) fn name(stop: &mut Stop, spot: DropLocation, evidence: &Evidence) {
    let (Layer::Netfilter, Some(side)) = (stop.layer, spot.side()) else { return };
    if spot.place == DropPoint::Bridge {
        return name_the_bridges_chain(stop, side, evidence);
    }
    let Some(hook) = spot.place.hook() else { return };
    let mut netfilter = Netfilter { hook: Some(hook), ..Netfilter::default() };
    let chains = evidence.findings(side).filter_map(|finding| match finding {
        Finding::Chain { family, hook: at, can_drop: true, .. } if *at == hook => Some((*family, finding)),
        _ => None,
    });
    let fits = |family: TableFamily| match family {
        TableFamily::Ip => !evidence.is_v6(),
        TableFamily::Ip6 => evidence.is_v6(),
        TableFamily::Arp => false,
        TableFamily::Inet | TableFamily::Bridge | TableFamily::Netdev => true,
    };
    let chains: Vec<_> = chains.filter(|(family, ..)| fits(*family)).collect();
    let findings: Vec<&Finding> = evidence.findings(side).collect();
    let traced = traced::find(&chains, stop.leg, &findings);
    let only = only(traced.as_ref(), &chains);
    if let Some(Finding::Chain { family, table, chain, policy, legacy, ending, limits, .. }) = only {
        netfilter.legacy = *legacy;
        netfilter.family = Some(*family);
        netfilter.table = Some(table.clone());
        netfilter.chain = Some(chain.clone());
        let said = match &traced {
            Some((_, rules)) => what_ended(chain, rules),
            // Rules of the older iptables are not read.
            None if *legacy => (None, None),
            None => what_ends(stop, chain, policy, &matching(ending, (evidence, side, hook), stop)),
        };
        let within = said.0.as_ref().and_then(|rule| ending.iter().find(|one| uncounted(&one.rule) == *rule));
        netfilter.rule_chain = within.map(|one| one.chain.clone()).filter(|within| within != chain);
        netfilter.rule = said.0;
        let used_up = if stop.packets < evidence.sent() { "" } else { ", which other packets may have used up" };
        let limit = limits.first().map(|limit| match uncounted(&limit.rule) {
            rule if netfilter.rule.as_ref() == Some(&rule) => format!("it lets only so many pass{used_up}"),
            rule => format!("it lets only so many pass: \"{rule}\"{used_up}"),
        });
        let details: Vec<String> = said.1.into_iter().chain(limit).collect();
        stop.cause.detail = (!details.is_empty()).then(|| details.join("; "));
    } else if !chains.is_empty() {
        stop.cause.detail = Some(one_of(&chains));
    }
    stop.cause.netfilter = Some(netfilter);
}

/// Says of packets that a named rule ended only what that rule does.
pub(super) fn say_what_the_rule_does(stop: &mut Stop) {
    let (Some(netfilter), Some(hook)) = (&stop.cause.netfilter, stop.place.hook()) else { return };
    let one_of_rules = || {
        let said = stop.cause.detail.as_deref().filter(|said| said.starts_with(BY_RULES) && !said.contains(OR_POLICY));
        said.map(|_| "")
    };
    let Some(rule) = netfilter.rule.as_deref().or_else(one_of_rules) else { return };
    if stop.cause.reason.as_deref() != Some("NETFILTER_DROP") {
        return;
    }
    stop.meaning = if rule.starts_with("policy ") {
        format!("The policy of a chain in hook {hook} drops what none of its rules accepts.")
    } else if rule.to_ascii_lowercase().contains("reject") {
        format!("A firewall rule in hook {hook} rejects them.")
    } else {
        format!("A firewall rule in hook {hook} drops them.")
    };
}

/// Names the chain of a bridge, whose drop event does not show the hook.
fn name_the_bridges_chain(stop: &mut Stop, side: Side, evidence: &Evidence) {
    if stop.cause.reason.as_deref() != Some("NETFILTER_DROP") {
        return;
    }
    let findings: Vec<&Finding> = evidence.findings(side).collect();
    let chains = findings.iter().copied().filter_map(|finding| match finding {
        Finding::Chain { family: family @ TableFamily::Bridge, can_drop: true, .. } => Some((*family, finding)),
        _ => None,
    });
    let chains: Vec<_> = chains.collect();
    let traced = traced::find(&chains, stop.leg, &findings);
    let only = only(traced.as_ref(), &chains);
    let mut netfilter = Netfilter { family: Some(TableFamily::Bridge), ..Netfilter::default() };
    if let Some(Finding::Chain { hook, table, chain, policy, ending, .. }) = only {
        (netfilter.rule, stop.cause.detail) = match &traced {
            Some((_, rules)) => what_ended(chain, rules),
            // A port is what a chain of a bridge calls the device.
            None => what_ends(stop, chain, policy, &matching(ending, (evidence, side, *hook), stop)),
        };
        netfilter.hook = Some(*hook);
        [netfilter.table, netfilter.chain] = [table, chain].map(|name| Some((*name).clone()));
    } else if !chains.is_empty() {
        stop.cause.detail = Some(one_of(&chains));
    } else {
        return;
    }
    stop.cause.netfilter = Some(netfilter);
}

/// Returns the chain whose rules a trace shows, or the only one there is.
fn only<'a>(
    traced: Option<&(&'a Finding, Vec<Traced<'_>>)>,
    chains: &[(TableFamily, &'a Finding)],
) -> Option<&'a Finding> {
    match (traced, chains) {
        (Some((chain, _)), _) | (None, [(_, chain)]) => Some(*chain),
        (None, _) => None,
    }
}

fn one_of(chains: &[(TableFamily, &Finding)]) -> String {
    let names: Vec<_> = chains.iter().filter_map(|(_, finding)| full_name(finding)).collect();
    format!("one of the chains {}", names.join(", "))
}

/// Returns the rules that can have matched the packets of `stop` in a hook, by their devices and addresses.
fn matching(rules: &[ChainRule], at: (&Evidence, Side, NetfilterHook), stop: &Stop) -> Vec<ChainRule> {
    let (evidence, side, hook) = at;
    let (devices, addresses) = (Devices::of(evidence, side, stop.leg, hook), Addresses::of(evidence, side, stop));
    let may = |rule: &&ChainRule| devices.may_match(&rule.rule) && addresses.may_match(&rule.rule);
    rules.iter().filter(may).cloned().collect()
}

fn full_name(finding: &Finding) -> Option<String> {
    let Finding::Chain { family, table, chain, .. } = finding else { return None };
    Some(format!("{family} {table} {chain}"))
}

/// Returns the rule that a trace of the rules shows, if it is a single one, and what is said of it.
fn what_ended(chain: &str, rules: &[Traced<'_>]) -> (Option<String>, Option<String>) {
    let named = |rule: &Traced<'_>| match rule.handle {
        None => "its policy, drop".to_owned(),
        Some(handle) => in_full(rule.rule, rule.chain, chain, Some(handle)),
    };
    match rules {
        [one] if one.handle.is_none() => (
            Some(one.rule.to_owned()),
            Some("no rule let them pass, and its policy is drop, as their trace shows".to_owned()),
        ),
        [one] => (Some(one.rule.to_owned()), Some(format!("{}, as their trace shows", named(one)))),
        several => {
            let said = |rule: &Traced<'_>| format!("{} took {}", named(rule), rule.packets);
            (None, Some(several.iter().map(said).collect::<Vec<_>>().join(", ")))
        }
    }
}

/// Returns a rule in `chain` with its handle, and with its chain if that is not `base`.
fn in_full(rule: &str, chain: &str, base: &str, handle: Option<u64>) -> String {
    let handle = handle.map(|handle| format!(" (handle {handle})")).unwrap_or_default();
    let elsewhere = if chain == base { String::new() } else { format!(" in chain {chain}") };
    format!("rule \"{rule}\"{elsewhere}{handle}")
}

/// Returns the rule that ended the packets, if only one can have, and what is said of it: rules that cannot match an
/// echo packet of this leg do not count.
fn what_ends(stop: &Stop, chain: &str, policy: &str, ending: &[ChainRule]) -> (Option<String>, Option<String>) {
    let other = if stop.leg == Echo::Request { "echo-reply" } else { "echo-request" };
    let own = if stop.leg == Echo::Request { "echo-request" } else { "echo-reply" };
    let fits = |rule: &&ChainRule| !rule.rule.contains(other) || rule.rule.contains(own) || rule.rule.contains("!=");
    let mut fit: Vec<&ChainRule> = ending.iter().filter(fits).collect();
    let mut by_policy = policy.eq_ignore_ascii_case("drop");
    // Packets that ended here and about which an ICMP error came were rejected: what only drops sends none.
    let rejects = |rule: &ChainRule| rule.rule.contains("reject") || rule.rule.contains("REJECT");
    if stop.cause.icmp.is_some() && fit.iter().any(|rule| rejects(rule)) {
        fit.retain(|rule| rejects(rule));
        by_policy = false;
    }
    match fit.as_slice() {
        [] if by_policy => {
            (Some("policy drop".to_owned()), Some("no rule lets them pass, and its policy is drop".to_owned()))
        }
        [one] if !by_policy => {
            let rule = uncounted(&one.rule);
            (Some(rule.clone()), Some(in_full(&rule, &one.chain, chain, one.handle)))
        }
        [] => (None, None),
        several => {
            let named = |rule: &&&ChainRule| {
                let within = if rule.chain == chain { String::new() } else { format!(" in chain {}", rule.chain) };
                format!("\"{}\"{within}", uncounted(&rule.rule))
            };
            // Where no ICMP error came, what rejects is the less likely.
            let (later, first): (Vec<&&ChainRule>, Vec<_>) =
                several.iter().partition(|rule| stop.cause.icmp.is_none() && rejects(rule));
            let mut texts: Vec<String> = first.iter().chain(&later).map(named).collect();
            texts.dedup();
            let more = texts.len().saturating_sub(MOST_NAMED);
            texts.truncate(MOST_NAMED);
            texts.extend((more > 0).then(|| format!("{more} more")));
            let rules = match texts.as_slice() {
                [one] => format!("rule {one}"),
                several => format!("{ONE_OF}{}", several.join(", ")),
            };
            (None, Some(format!("{rules}{}", if by_policy { OR_POLICY } else { "" })))
        }
    }
}

/// Returns a rule as nft writes it without what it has counted so far.
fn uncounted(rule: &str) -> String {
    let mut words: Vec<&str> = rule.split(' ').collect();
    while let Some(at) = words.windows(4).position(|part| matches!(part, ["packets", _, "bytes", _])) {
        words.drain(at..at + 4);
    }
    // What a quota has used up.
    while let Some(at) = words.windows(3).position(|part| matches!(part, ["used", _, "bytes" | "kbytes" | "mbytes"])) {
        words.drain(at..at + 3);
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rule_counted_is_no_part_of_it() {
        assert_eq!(uncounted("counter packets 14 bytes 1176 reject"), "counter reject");
        assert_eq!(uncounted("ip saddr 10.0.0.1 drop"), "ip saddr 10.0.0.1 drop");
    }
}
