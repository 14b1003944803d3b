//! The chains of the older iptables (`x_tables`), which nft does not show.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
};

use probe_ebpf::Family;

use super::{chains::tracking, command, or_log};
use crate::model::{
    netfilter::{NetfilterHook, TableFamily},
    trace::{Finding, TrackingRule},
};

/// Lists the built-in chains of the tables that exist. Runs no program if there are none: asking would load them.
pub fn look_up(family: Family) -> Vec<Finding> {
    let (file, program, name) = match family {
        Family::V4 => ("ip_tables_names", "iptables-legacy-save", TableFamily::Ip),
        Family::V6 => ("ip6_tables_names", "ip6tables-legacy-save", TableFamily::Ip6),
    };
    let tables = legacy_tables(file);
    if tables.is_empty() {
        return Vec::new();
    }
    match or_log(program, command::output(program, &[])) {
        Some(text) => [parse(&text, name), deciding(&text, name)].concat(),
        None => unread(&tables, name),
    }
}

/// Lists the usual chains of tables that can't be read: what drops is most likely in `filter`.
fn unread(tables: &[String], family: TableFamily) -> Vec<Finding> {
    let chains: &[&str] =
        if tables.iter().any(|table| table == "filter") { &["INPUT", "FORWARD", "OUTPUT"] } else { &[] };
    let of_filter = chains.iter().filter_map(|chain| finding(family, "filter", chain, "unknown", true));
    let translates = tables.iter().any(|table| table == "nat");
    of_filter.chain(translates.then(|| tracking::unread("the rules of iptables"))).collect()
}

/// One table of `iptables-save`.
#[derive(Default)]
struct Table<'a> {
    name: &'a str,
    /// The built-in chains with their policies; user-defined chains have none.
    policies: Vec<(&'a str, &'a str)>,
    /// The targets of each chain's rules.
    targets: BTreeMap<&'a str, Vec<&'a str>>,
}

/// Parses the output of `iptables-save`: `*table`, `:CHAIN POLICY [packets:bytes]`, `-A CHAIN … -j TARGET …`, `COMMIT`.
fn parse(text: &str, family: TableFamily) -> Vec<Finding> {
    let mut tables: Vec<Table<'_>> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            tables.push(Table { name, ..Table::default() });
        } else if let Some(table) = tables.last_mut() {
            table.take(line);
        }
    }
    let chains = |table: &Table<'_>| -> Vec<Finding> {
        let chain = |(chain, policy): &(&str, &str)| {
            let can_drop = *policy == "DROP" || table.can_drop(chain);
            finding(family, table.name, chain, &policy.to_lowercase(), can_drop)
        };
        table.policies.iter().filter_map(chain).collect()
    };
    tables.iter().flat_map(chains).collect()
}

impl<'a> Table<'a> {
    fn take(&mut self, line: &'a str) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("-A") => {
                let Some(chain) = words.next() else { return };
                let target = words.skip_while(|word| !matches!(*word, "-j" | "-g")).nth(1);
                self.targets.entry(chain).or_default().extend(target);
            }
            Some(chain) if chain.starts_with(':') => {
                if let Some(policy) = words.next().filter(|policy| *policy != "-") {
                    self.policies.push((&chain[1..], policy));
                }
            }
            _ => {}
        }
    }

    fn can_drop(&self, start: &'a str) -> bool {
        let (mut seen, mut found) = (BTreeSet::new(), vec![start]);
        while let Some(chain) = found.pop() {
            if !seen.insert(chain) {
                continue;
            }
            for target in self.targets.get(chain).into_iter().flatten() {
                if ends(target) {
                    return true;
                }
                found.push(target);
            }
        }
        false
    }
}

/// Returns the rules that decide what connection tracking does. From which hook a user-defined chain is reached is not
/// worked out: those of `nat` and `raw` have one each for what comes in and what is sent.
fn deciding(text: &str, family: TableFamily) -> Vec<Finding> {
    let (mut table, mut rules) = ("", Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        }
        let (Some(chain), Some(act)) =
            (line.strip_prefix("-A ").and_then(|rest| rest.split(' ').next()), tracking::act_of_iptables(line))
        else {
            continue;
        };
        rules.push(Finding::TrackingRule(TrackingRule {
            act,
            family: Some(family),
            table: table.to_owned(),
            hook: NetfilterHook::named(chain),
            chain: chain.to_owned(),
            rule: line.to_owned(),
            handle: None,
            elements: String::new(),
            legacy: true,
        }));
    }
    rules
}

/// Returns the tables that this network namespace has.
fn legacy_tables(file: &str) -> Vec<String> {
    let path = format!("/proc/thread-self/net/{file}");
    match fs::read_to_string(&path) {
        Ok(text) => text.lines().map(str::to_owned).collect(),
        // The module is not loaded, so there are no tables.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => or_log(&path, Err(error)).unwrap_or_default(),
    }
}

/// Reports whether this target can end a packet (`iptables-extensions(8)`).
pub(super) fn ends(target: &str) -> bool {
    matches!(target, "DROP" | "REJECT" | "NFQUEUE" | "QUEUE" | "SYNPROXY" | "TARPIT" | "STEAL" | "DELUDE" | "CHAOS")
}

fn finding(family: TableFamily, table: &str, chain: &str, policy: &str, can_drop: bool) -> Option<Finding> {
    Some(Finding::Chain {
        family,
        hook: NetfilterHook::named(chain)?,
        table: table.to_owned(),
        chain: chain.to_owned(),
        policy: policy.to_owned(),
        can_drop,
        legacy: true,
        ending: Vec::new(),
        limits: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of iptables-legacy-save 1.8.9.
    const SAVED: &str = "\
# Generated by iptables-save v1.8.9 on Sun Nov 22 12:00:00 2026
*raw
:PREROUTING ACCEPT [12:1008]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p icmp -m comment --comment \"-j DROP is not here\" -j NOTRACK
COMMIT
*filter
:INPUT ACCEPT [4:336]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [1:84]
:ours - [0:0]
:loop - [0:0]
-A INPUT -p icmp -m icmp --icmp-type 8 -j ours
-A OUTPUT -j loop
-A loop -j loop
-A ours -s 10.0.0.0/8 -j REJECT --reject-with icmp-port-unreachable
COMMIT
";

    #[test]
    fn built_in_chains_are_told_with_what_they_lead_to() {
        let row = |finding| match finding {
            Finding::Chain { hook, table, policy, can_drop, .. } => (table, hook.to_string(), policy, can_drop),
            other => panic!("{other:?}"),
        };
        let found: Vec<_> = parse(SAVED, TableFamily::Ip).into_iter().map(row).collect();
        let expected = [
            ("raw", "prerouting", "accept", false),
            ("raw", "output", "accept", false),
            ("filter", "input", "accept", true),
            ("filter", "forward", "drop", true),
            ("filter", "output", "accept", false),
        ];
        let expected = expected
            .map(|(table, hook, policy, can_drop)| (table.to_owned(), hook.to_owned(), policy.to_owned(), can_drop));
        assert_eq!(found, expected);
    }

    #[test]
    fn rules_that_decide_tracking_are_told_with_their_table() {
        let told = deciding(SAVED, TableFamily::Ip);
        let [Finding::TrackingRule(rule)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((rule.table.as_str(), rule.hook, rule.legacy), ("raw", Some(NetfilterHook::Prerouting), true));
    }

    #[test]
    fn tables_that_cannot_be_read_may_drop() {
        let chains = unread(&["nat".to_owned(), "filter".to_owned()], TableFamily::Ip6);
        assert_eq!(chains.len(), 4);
        assert!(chains[..3].iter().all(|chain| matches!(chain, Finding::Chain { can_drop: true, .. })));
        assert!(matches!(&chains[3], Finding::TrackingRule(_)));
        assert_eq!(unread(&["mangle".to_owned()], TableFamily::Ip), []);
    }
}
