//! Netfilter's base chains: which of them could have dropped a packet at a hook.

mod listing;
pub(super) mod tracking;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use probe_ebpf::Family;
use serde_json::Value;

use self::listing::Listing;
use super::{command, iptables, or_log, trace_rules};
use crate::model::{
    netfilter::{NetfilterHook, TableFamily},
    trace::{Finding, TrackingRule},
};

/// What passes a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainTraffic {
    /// Echo packets.
    Echo,
    /// Packets of a tunnel with echo packets inside: UDP, GRE, IP in IP.
    Carrier,
}

/// Lists the base chains that packets of `family` at `interface` pass, of nftables (which iptables-nft writes to as well)
/// and of the older iptables.
pub fn look_up(family: Family, interface: Option<&str>, traffic: ChainTraffic) -> Vec<Finding> {
    let rules = or_log("nft", nftables());
    let mut findings = rules.as_ref().map(|rules| parse(rules, family, interface)).unwrap_or_default();
    if !findings.is_empty() {
        add_rules(&mut findings, family, traffic);
    }
    // A translation for which no rule is found may come from them.
    findings.extend(rules.is_none().then(|| tracking::unread("the rules of nftables")));
    findings.extend(tracking::balances().then(|| tracking::unread("IPVS")));
    findings.extend(iptables::look_up(family));
    findings
}

/// Adds to each chain its rules as nft writes them: its JSON shows them in a form that nobody types.
fn add_rules(findings: &mut Vec<Finding>, of: Family, traffic: ChainTraffic) {
    let Some(text) = or_log("nft", command::output("nft", &["-a", "list", "ruleset"])) else { return };
    let listing = Listing::parse(&text, traffic);
    let mut tracking = Vec::new();
    for finding in findings.iter_mut() {
        let Finding::Chain { family, table, chain, hook, ending, limits, .. } = finding else { continue };
        (*ending, *limits) = listing.of_chain((family.name(), table, chain), of);
        for (act, rule, elements) in listing.tracking((family.name(), table, chain), of) {
            tracking.push(Finding::TrackingRule(TrackingRule {
                act,
                family: Some(*family),
                table: table.clone(),
                hook: Some(*hook),
                chain: rule.chain,
                rule: rule.rule,
                handle: rule.handle,
                elements,
                legacy: false,
            }));
        }
    }
    findings.extend(tracking);
}

/// Returns the whole ruleset of this network namespace, in nft's JSON (`libnftables-json(5)`).
fn nftables() -> io::Result<Value> {
    let text = command::output("nft", &["-j", "list", "ruleset"])?;
    serde_json::from_str(&text).map_err(io::Error::other)
}

/// A chain: family, table, name.
type Place<'a> = (&'a str, &'a str, &'a str);

/// The parts of a ruleset that a verdict needs.
#[derive(Default)]
struct Ruleset<'a> {
    chains: Vec<&'a Value>,
    rules: BTreeMap<Place<'a>, Vec<&'a Value>>,
    /// The elements of named maps: rules may take their verdict from them.
    maps: BTreeMap<Place<'a>, &'a Value>,
}

fn parse(document: &Value, family: Family, interface: Option<&str>) -> Vec<Finding> {
    let ruleset = Ruleset::of(document);
    let passed = |chain: &&&Value| is_passed(chain, family, interface);
    ruleset.chains.iter().filter(passed).filter_map(|chain| ruleset.finding(chain)).collect()
}

/// Reports whether packets of `family` at `interface` pass this chain; a chain without a hook is not a base chain.
fn is_passed(chain: &Value, family: Family, interface: Option<&str>) -> bool {
    let families: &[&str] = match family {
        Family::V4 => &["ip", "inet", "netdev", "bridge", "arp"],
        Family::V6 => &["ip6", "inet", "netdev", "bridge"],
    };
    let of_family = text(chain, "family").is_some_and(|family| families.contains(&family));
    // nft before 1.0.7 does not say which device a chain belongs to: then it may be this one.
    let of_device = match (&chain["dev"], interface) {
        (Value::String(device), Some(interface)) => device == interface,
        (Value::Array(devices), Some(interface)) => devices.iter().any(|device| device == interface),
        _ => true,
    };
    let ours = text(chain, "table").is_some_and(|table| table.starts_with(trace_rules::TABLE));
    of_family && of_device && !ours && chain["hook"].is_string()
}

impl<'a> Ruleset<'a> {
    fn of(document: &'a Value) -> Self {
        let mut ruleset = Self::default();
        for object in document["nftables"].as_array().into_iter().flatten() {
            if let Some(chain) = object.get("chain") {
                ruleset.chains.push(chain);
            } else if let Some(rule) = object.get("rule")
                && let Some(place) = place(rule, "chain")
            {
                ruleset.rules.entry(place).or_default().push(&rule["expr"]);
            } else if let Some(map) = object.get("map")
                && let Some(place) = place(map, "name")
            {
                ruleset.maps.insert(place, &map["elem"]);
            }
        }
        ruleset
    }

    fn finding(&self, chain: &'a Value) -> Option<Finding> {
        let (family, table, name) = place(chain, "name")?;
        let policy = text(chain, "policy").unwrap_or("accept");
        Some(Finding::Chain {
            family: TableFamily::named(family)?,
            hook: NetfilterHook::named(text(chain, "hook")?)?,
            table: table.to_owned(),
            chain: name.to_owned(),
            policy: policy.to_owned(),
            can_drop: policy == "drop" || self.can_drop((family, table, name)),
            legacy: false,
            ending: Vec::new(),
            limits: Vec::new(),
        })
    }

    /// Reports whether a rule of the chain at `start`, or of a chain that it leads to, can end a packet.
    fn can_drop(&self, start: Place<'a>) -> bool {
        let (family, table, _) = start;
        let (mut seen, mut found) = (BTreeSet::new(), vec![start.2]);
        while let Some(name) = found.pop() {
            if !seen.insert(name) {
                continue;
            }
            for rule in self.rules.get(&(family, table, name)).into_iter().flatten() {
                let mut verdicts = Verdicts::default();
                verdicts.collect(rule);
                for map in std::mem::take(&mut verdicts.maps) {
                    if let Some(elements) = self.maps.get(&(family, table, map)) {
                        verdicts.collect(elements);
                    }
                }
                if verdicts.ends {
                    return true;
                }
                found.append(&mut verdicts.targets);
            }
        }
        false
    }
}

/// What a rule can decide.
#[derive(Default)]
struct Verdicts<'a> {
    /// Whether it can end a packet.
    ends: bool,
    /// The chains that it jumps to.
    targets: Vec<&'a str>,
    /// The named maps that decide instead of the rule.
    maps: Vec<&'a str>,
}

impl<'a> Verdicts<'a> {
    /// Collects verdicts, which may be in the maps of a rule as well as at its end.
    fn collect(&mut self, value: &'a Value) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.collect(value)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    self.take(key, value);
                    self.collect(value);
                }
            }
            _ => {}
        }
    }

    fn take(&mut self, key: &str, value: &'a Value) {
        match key {
            "drop" | "reject" | "queue" | "fwd" | "synproxy" => self.ends = true,
            "jump" | "goto" => self.targets.extend(text(value, "target")),
            "vmap" => self.maps.extend(text(value, "data").and_then(|data| data.strip_prefix('@'))),
            "xt" => self.ends |= foreign_target_ends(value),
            _ => {}
        }
    }
}

/// Reports whether an iptables extension can end a packet. nft names the extension if it can, and says nothing of it before
/// 1.0.7.
fn foreign_target_ends(extension: &Value) -> bool {
    match (text(extension, "type"), text(extension, "name")) {
        (Some("match" | "watcher"), _) => false,
        (_, Some(name)) => iptables::ends(name),
        _ => true,
    }
}

fn place<'a>(object: &'a Value, name: &str) -> Option<Place<'a>> {
    Some((text(object, "family")?, text(object, "table")?, text(object, name)?))
}

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of nft 1.0.6 for a ruleset that uses every way to drop.
    const RULESET: &str = include_str!("../../tests/lookups/ruleset.json");

    fn found(family: Family, interface: Option<&str>) -> Vec<(String, String, bool)> {
        let document = serde_json::from_str(RULESET).expect("JSON");
        let row = |finding| match finding {
            Finding::Chain { family, hook, table, chain, can_drop, .. } => {
                (format!("{family} {table} {chain}"), hook.to_string(), can_drop)
            }
            other => panic!("{other:?}"),
        };
        parse(&document, family, interface).into_iter().map(row).collect()
    }

    fn row(chain: &str, hook: &str, can_drop: bool) -> (String, String, bool) {
        (chain.to_owned(), hook.to_owned(), can_drop)
    }

    #[test]
    fn every_way_to_drop_is_seen_and_nothing_else_is_one() {
        let expected = [
            row("inet t by_policy", "input", true),
            row("inet t by_rule", "output", true),
            row("inet t by_jump", "forward", true),
            row("inet t by_named_map", "prerouting", true),
            row("inet t by_map", "postrouting", true),
            row("inet t harmless", "input", false),
            row("inet t harmless_far", "output", false),
            row("netdev n at_lo", "ingress", true),
        ];
        let of_v4 = [row("ip v4 out", "output", true), row("arp a in", "input", true)];
        assert_eq!(found(Family::V4, Some("eth0")), [&expected[..], &of_v4].concat());
        assert_eq!(found(Family::V6, None), expected);
    }

    #[test]
    fn a_chain_of_another_device_is_not_passed() {
        let chain = |device: Value| serde_json::json!({"family": "netdev", "table": "n", "name": "i", "hook": "ingress", "dev": device});
        assert!(is_passed(&chain("eth0".into()), Family::V4, Some("eth0")));
        assert!(!is_passed(&chain("eth1".into()), Family::V4, Some("eth0")));
        assert!(is_passed(&chain(serde_json::json!(["eth1", "eth0"])), Family::V4, Some("eth0")));
        assert!(is_passed(&chain("eth1".into()), Family::V4, None));
    }

    #[test]
    fn what_nft_cannot_name_may_drop() {
        assert!(foreign_target_ends(&Value::Null));
        assert!(foreign_target_ends(&serde_json::json!({"type": "target", "name": "REJECT"})));
        assert!(!foreign_target_ends(&serde_json::json!({"type": "target", "name": "LOG"})));
        assert!(!foreign_target_ends(&serde_json::json!({"type": "match", "name": "conntrack"})));
    }

    #[test]
    fn what_is_no_ruleset_has_no_chains() {
        for text in ["null", "{}", r#"{"nftables": 1}"#, r#"{"nftables": [{"chain": {"hook": "input"}}]}"#] {
            assert_eq!(parse(&serde_json::from_str(text).expect("JSON"), Family::V4, None), []);
        }
    }
}
