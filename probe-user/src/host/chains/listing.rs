//! The rules of nftables as nft writes them: which of a chain can end an echo packet, and which let only so many pass.

use std::collections::BTreeMap;

use probe_ebpf::Family;

use crate::model::trace::ChainRule;

/// How many rules of a chain are told at most.
const MOST: usize = 8;

/// Words that end a packet, as the last statement of a rule or before its options.
const ENDS: [&str; 6] = ["drop", "reject", "queue", "synproxy", "REJECT", "DROP"];

/// Words of a protocol that an echo packet is not.
const OTHERS: [&str; 8] = ["tcp", "udp", "sctp", "dccp", "udplite", "arp", "esp", "gre"];

/// The rules of every chain, by family, table and chain.
#[derive(Debug, Default)]
pub(super) struct Listing {
    chains: BTreeMap<(String, String, String), Vec<ChainRule>>,
}

impl Listing {
    /// Parses the output of `nft -a list ruleset`.
    pub(super) fn parse(text: &str) -> Self {
        let mut listing = Self::default();
        let (mut table, mut chain, mut depth) = (None, None, 0_usize);
        for line in text.lines() {
            let (line, handle) = split_handle(line.trim());
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["table", family, name, "{"] if depth == 0 => table = Some(((*family).to_owned(), (*name).to_owned())),
                ["chain", name, "{"] if depth == 1 => chain = Some((*name).to_owned()),
                _ => {}
            }
            if depth == 2
                && let (Some((family, table)), Some(chain)) = (&table, &chain)
                && let Some(handle) = handle
            {
                let place = (family.clone(), table.clone(), chain.clone());
                let rule = ChainRule { chain: chain.clone(), rule: line.to_owned(), handle: Some(handle) };
                listing.chains.entry(place).or_default().push(rule);
            }
            depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
            if depth <= 1 && !line.starts_with("chain") {
                chain = None;
            }
        }
        listing
    }

    /// Returns the rules of a base chain, and of those that it leads to, which can end an echo packet of `family`, and those
    /// which let only so many pass.
    pub(super) fn of_chain(
        &self,
        (in_family, table, chain): (&str, &str, &str),
        family: Family,
    ) -> (Vec<ChainRule>, Vec<ChainRule>) {
        let (mut ending, mut limits) = (Vec::new(), Vec::new());
        let (mut seen, mut open) = (Vec::new(), vec![chain.to_owned()]);
        while let Some(name) = open.pop() {
            if seen.contains(&name) {
                continue;
            }
            let rules = self.chains.get(&(in_family.to_owned(), table.to_owned(), name.clone()));
            seen.push(name);
            for rule in rules.into_iter().flatten().filter(|rule| concerns_echo(&rule.rule, family)) {
                let words: Vec<&str> = unquoted(&rule.rule);
                let targets = words.windows(2).filter(|pair| matches!(pair[0], "jump" | "goto"));
                open.extend(targets.map(|pair| pair[1].trim_end_matches(['}', ',']).to_owned()));
                if words.iter().any(|word| ENDS.contains(&word.trim_matches(['"', ',']))) {
                    ending.push(rule.clone());
                }
                if words.windows(2).any(|pair| pair[0] == "limit" && pair[1] == "rate") {
                    limits.push(rule.clone());
                }
            }
        }
        ending.truncate(MOST);
        limits.truncate(MOST);
        (ending, limits)
    }
}

/// Splits the handle from a line of a listing.
fn split_handle(line: &str) -> (&str, Option<u64>) {
    match line.rsplit_once(" # handle ") {
        Some((rule, handle)) => (rule, handle.trim().parse().ok()),
        None => (line, None),
    }
}

/// Returns the words of a rule outside of its comment.
fn unquoted(rule: &str) -> Vec<&str> {
    rule.split(" comment \"").next().unwrap_or(rule).split_whitespace().collect()
}

/// Reports whether a rule may match an echo packet of `family`; true where its words leave that open.
fn concerns_echo(rule: &str, family: Family) -> bool {
    let words = unquoted(rule);
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(word));
    let (own, other) = match family {
        Family::V4 => (["icmp", "ip"], ["icmpv6", "ip6"]),
        Family::V6 => (["icmpv6", "ip6"], ["icmp", "ip"]),
    };
    let in_set = words.iter().any(|word| matches!(*word, "icmp" | "icmpv6" | "ipv6-icmp" | "1" | "58"));
    if has(&OTHERS) && !in_set {
        return false;
    }
    // A rule of the other IP version, unless it speaks of both.
    if has(&other) && !has(&own) {
        return false;
    }
    let kind = words.windows(3).find(|three| matches!(three[0], "icmp" | "icmpv6") && three[1] == "type");
    kind.is_none_or(|_| rule.contains("echo-") || rule.contains("!=") || rule.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = r#"table inet fw { # handle 1
	set bad { # handle 3
		type ipv4_addr
		elements = { 10.0.0.1 }
	}

	chain other { # handle 1
		icmp type echo-request limit rate 1/second burst 2 packets accept # handle 4
		icmp type echo-request counter packets 0 bytes 0 drop comment "not reject" # handle 5
	}

	chain input { # handle 2
		type filter hook input priority filter; policy drop;
		ct state established accept # handle 6
		tcp dport 22 drop # handle 9
		icmp type timestamp-request drop # handle 10
		icmpv6 type echo-request drop # handle 11
		ip protocol { icmp, udp } counter packets 1 bytes 84 xt target "REJECT" # handle 12
		ip saddr @bad reject with icmp host-unreachable # handle 7
		jump other # handle 8
	}
}
"#;

    fn handles(rules: &[ChainRule]) -> Vec<u64> {
        rules.iter().filter_map(|rule| rule.handle).collect()
    }

    #[test]
    fn only_rules_that_can_end_an_echo_packet_are_told_also_those_of_chains_behind() {
        let listing = Listing::parse(LISTED);
        let (ending, limits) = listing.of_chain(("inet", "fw", "input"), Family::V4);
        assert_eq!(handles(&ending), [12, 7, 5]);
        assert_eq!((ending[2].chain.as_str(), handles(&limits)), ("other", vec![4]));
        let (ending, limits) = listing.of_chain(("inet", "fw", "input"), Family::V6);
        assert_eq!((handles(&ending), limits.len()), (vec![11], 0));
    }

    #[test]
    fn what_is_no_listing_has_no_rules() {
        for text in ["", "}}}", "table", "table inet a {\nchain b {\n"] {
            assert_eq!(Listing::parse(text).of_chain(("inet", "a", "b"), Family::V4), (vec![], vec![]));
        }
    }
}
