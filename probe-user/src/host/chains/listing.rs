//! The rules of nftables as nft writes them: which of a chain's can end a packet, and which limit how many pass.

use std::collections::BTreeMap;

use probe_ebpf::Family;

use super::{ChainTraffic, tracking};
use crate::model::trace::{ChainRule, TrackingAct};

/// How many rules of a chain are listed at most.
const MOST: usize = 8;

/// How many rules of a chain that decide what connection tracking does are listed at most.
const MOST_TRACKING: usize = 64;

/// Words that end a packet, as the last statement of a rule or before its options.
const ENDS: [&str; 6] = ["drop", "reject", "queue", "synproxy", "REJECT", "DROP"];

/// Words of a protocol that an echo packet is not.
const OTHERS: [&str; 8] = ["tcp", "udp", "sctp", "dccp", "udplite", "arp", "esp", "gre"];

/// Words of a protocol that no tunnel's packets have.
const OTHERS_THAN_CARRIERS: [&str; 8] = ["tcp", "sctp", "dccp", "udplite", "arp", "icmp", "icmpv6", "ipv6-icmp"];

/// The rules of every chain, by family, table and chain.
#[derive(Debug)]
pub(super) struct Listing {
    traffic: ChainTraffic,
    chains: BTreeMap<(String, String, String), Vec<ChainRule>>,
    /// What named sets and maps hold, by family, table and name.
    elements: BTreeMap<(String, String, String), String>,
}

impl Listing {
    /// Parses the output of `nft -a list ruleset`, whose rules are wanted for this `traffic`.
    pub(super) fn parse(text: &str, traffic: ChainTraffic) -> Self {
        let mut listing = Self { traffic, chains: BTreeMap::new(), elements: BTreeMap::new() };
        let (mut table, mut chain, mut set, mut depth) = (None, None, None, 0_usize);
        for line in text.lines() {
            let (line, handle) = split_handle(line.trim());
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["table", family, name, "{"] if depth == 0 => table = Some(((*family).to_owned(), (*name).to_owned())),
                ["chain", name, "{"] if depth == 1 => chain = Some((*name).to_owned()),
                ["set" | "map", name, "{"] if depth == 1 => set = Some((*name).to_owned()),
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
            if depth >= 2
                && let (Some((family, table)), Some(set)) = (&table, &set)
            {
                let held = listing.elements.entry((family.clone(), table.clone(), set.clone())).or_default();
                held.push_str(line);
                held.push(' ');
            }
            depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
            if depth <= 1 && !line.starts_with("chain") {
                chain = None;
                set = set.filter(|_| line.starts_with("set") || line.starts_with("map"));
            }
        }
        listing
    }

    /// Returns the rules of a base chain, and of those that it leads to, which can end an echo packet of `family`, and
    /// those which limit how many pass.
    pub(super) fn of_chain(
        &self,
        (in_family, table, chain): (&str, &str, &str),
        family: Family,
    ) -> (Vec<ChainRule>, Vec<ChainRule>) {
        let (mut ending, mut limits) = (Vec::new(), Vec::new());
        for rule in self.concerning((in_family, table, chain), family) {
            let words: Vec<&str> = self.with_verdicts(&rule.rule, (in_family, table));
            if words.iter().any(|word| ENDS.contains(&word.trim_matches(['"', ',']))) {
                ending.push(rule.clone());
            }
            if words.windows(2).any(|pair| pair[0] == "limit" && pair[1] == "rate") {
                limits.push(rule.clone());
            }
        }
        ending.truncate(MOST);
        limits.truncate(MOST);
        (ending, limits)
    }

    /// Returns the words of a rule, with those of the named map that its verdict comes from (`vmap @name`).
    fn with_verdicts<'a>(&'a self, rule: &'a str, (family, table): (&str, &str)) -> Vec<&'a str> {
        let mut words = unquoted(rule);
        let name = words.windows(2).find(|pair| pair[0] == "vmap").and_then(|pair| pair[1].strip_prefix('@'));
        let held = name.and_then(|name| self.elements.get(&(family.to_owned(), table.to_owned(), name.to_owned())));
        // Before the elements stand a map's type and flags.
        let elements = held.and_then(|held| held.split_once("elements =")).map(|(_, elements)| elements);
        words.extend(elements.into_iter().flat_map(str::split_whitespace));
        words
    }

    /// Returns the rules of a base chain, and of those that it leads to, which decide what connection tracking does with an echo
    /// packet of `family`, each with what its named sets hold.
    pub(super) fn tracking(
        &self,
        (in_family, table, chain): (&str, &str, &str),
        family: Family,
    ) -> Vec<(TrackingAct, ChainRule, String)> {
        let rules = self.concerning((in_family, table, chain), family);
        let deciding = rules.into_iter().filter_map(|rule| Some((tracking::act(&rule.rule)?, rule.clone())));
        let held = |rule: &ChainRule| {
            let names = rule.rule.split_whitespace().filter_map(|word| word.trim_matches([',', '}']).strip_prefix('@'));
            let held =
                names.filter_map(|name| self.elements.get(&(in_family.to_owned(), table.to_owned(), name.to_owned())));
            held.cloned().collect::<String>()
        };
        deciding.map(|(act, rule)| (act, rule.clone(), held(&rule))).take(MOST_TRACKING).collect()
    }

    /// Returns the rules of a base chain, and of those that it leads to, which an echo packet of `family` may match.
    fn concerning(&self, (in_family, table, chain): (&str, &str, &str), family: Family) -> Vec<&ChainRule> {
        let mut concerning = Vec::new();
        let (mut seen, mut open) = (Vec::new(), vec![chain.to_owned()]);
        while let Some(name) = open.pop() {
            if seen.contains(&name) {
                continue;
            }
            let rules = self.chains.get(&(in_family.to_owned(), table.to_owned(), name.clone()));
            seen.push(name);
            for rule in rules.into_iter().flatten().filter(|rule| concerns(&rule.rule, family, self.traffic)) {
                let words: Vec<&str> = self.with_verdicts(&rule.rule, (in_family, table));
                let targets = words.windows(2).filter(|pair| matches!(pair[0], "jump" | "goto"));
                open.extend(targets.map(|pair| pair[1].trim_end_matches(['}', ',']).to_owned()));
                concerning.push(rule);
            }
        }
        concerning
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

/// Reports whether a rule may match such packets of `family`; true if its text leaves that open.
fn concerns(rule: &str, family: Family, traffic: ChainTraffic) -> bool {
    // Those of a set have commas behind them.
    let words: Vec<&str> = unquoted(rule).into_iter().map(|word| word.trim_end_matches(',')).collect();
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(word));
    let (own, other) = match family {
        Family::V4 => (["icmp", "ip"], ["icmpv6", "ip6"]),
        Family::V6 => (["icmpv6", "ip6"], ["icmp", "ip"]),
    };
    let (others, in_set): (&[&str], &[&str]) = match traffic {
        ChainTraffic::Echo => (&OTHERS, &["icmp", "icmpv6", "ipv6-icmp", "1", "58"]),
        ChainTraffic::Carrier => {
            (&OTHERS_THAN_CARRIERS, &["udp", "gre", "ipip", "ipencap", "ipv6", "4", "17", "41", "47"])
        }
    };
    if has(others) && !has(in_set) {
        return false;
    }
    // A rule of the other IP version, unless it covers both.
    if has(&other) && !has(&own) {
        return false;
    }
    if traffic == ChainTraffic::Carrier {
        return true;
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

	map backends { # handle 4
		type ipv4_addr : ipv4_addr
		elements = { 10.99.0.1 : 10.0.0.3,
			     10.99.0.2 : 10.0.0.4 }
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

	chain pre { # handle 5
		type nat hook prerouting priority dstnat; policy accept;
		dnat to ip daddr map @backends # handle 13
		tcp dport 80 dnat to 10.0.0.9 # handle 14
	}
}
"#;

    fn handles(rules: &[ChainRule]) -> Vec<u64> {
        rules.iter().filter_map(|rule| rule.handle).collect()
    }

    #[test]
    fn only_rules_that_can_end_an_echo_packet_are_told_also_those_of_chains_behind() {
        let listing = Listing::parse(LISTED, ChainTraffic::Echo);
        let (ending, limits) = listing.of_chain(("inet", "fw", "input"), Family::V4);
        assert_eq!(handles(&ending), [12, 7, 5]);
        assert_eq!((ending[2].chain.as_str(), handles(&limits)), ("other", vec![4]));
        let (ending, limits) = listing.of_chain(("inet", "fw", "input"), Family::V6);
        assert_eq!((handles(&ending), limits.len()), (vec![11], 0));
    }

    #[test]
    fn rules_that_decide_tracking_are_told_with_what_their_maps_hold() {
        let listing = Listing::parse(LISTED, ChainTraffic::Echo);
        let told = listing.tracking(("inet", "fw", "pre"), Family::V4);
        assert_eq!(told.len(), 1, "{told:?}");
        let (act, rule, held) = &told[0];
        assert_eq!((*act, rule.handle), (TrackingAct::Destination, Some(13)));
        assert!(held.contains("10.0.0.3") && held.contains("10.0.0.4"), "{held}");
        let states = listing.tracking(("inet", "fw", "input"), Family::V4);
        assert_eq!(states.iter().map(|(act, ..)| *act).collect::<Vec<_>>(), [TrackingAct::State]);
    }

    #[test]
    fn a_map_of_verdicts_ends_packets_or_leads_to_what_does() {
        let listing = Listing::parse(
            "table inet f { # handle 1
\tmap blk { # handle 2
\t\ttype ipv4_addr : verdict
\t\telements = { 10.0.0.1 : drop, 10.0.0.2 : accept,
\t\t\t     10.0.0.3 : jump other }
\t}

\tmap fine { # handle 3
\t\ttype ipv4_addr : verdict
\t\telements = { 10.0.0.1 : accept }
\t}

\tchain other { # handle 4
\t\tcounter packets 0 bytes 0 reject # handle 5
\t}

\tchain input { # handle 6
\t\ttype filter hook input priority filter; policy accept;
\t\tip saddr vmap @fine # handle 7
\t\tip saddr vmap @blk # handle 8
\t}
}
",
            ChainTraffic::Echo,
        );
        assert_eq!(handles(&listing.of_chain(("inet", "f", "input"), Family::V4).0), [8, 5]);
    }

    #[test]
    fn what_carries_echo_packets_meets_rules_for_udp_and_none_for_icmp() {
        let text = "table inet f { # handle 1
\tchain c { # handle 2
\t\ttype filter hook forward priority filter; policy accept;
\t\ticmp type echo-request drop # handle 3
\t\ttcp dport 22 drop # handle 4
\t\tudp dport 4789 drop # handle 5
\t\tmeta l4proto { icmp, udp } drop # handle 6
\t\tip protocol gre drop # handle 7
\t\tip saddr 10.0.0.1 drop # handle 8
\t\tip6 saddr fd00::1 drop # handle 9
\t}
}
";
        let of = |traffic| handles(&Listing::parse(text, traffic).of_chain(("inet", "f", "c"), Family::V4).0);
        assert_eq!(of(ChainTraffic::Carrier), [5, 6, 7, 8]);
        assert_eq!(of(ChainTraffic::Echo), [3, 6, 8]);
    }

    #[test]
    fn what_is_no_listing_has_no_rules() {
        for text in ["", "}}}", "table", "table inet a {\nchain b {\n"] {
            assert_eq!(
                Listing::parse(text, ChainTraffic::Echo).of_chain(("inet", "a", "b"), Family::V4),
                (vec![], vec![])
            );
        }
    }
}
