//! The IP and ICMP counters of a network namespace (`Documentation/networking/snmp_counter.rst`).

use std::fs;

use crate::{
    host::counter::{CounterKey, Counters},
    host::or_log,
};

/// Reads the loss counters in `/proc/thread-self/net/{snmp,netstat,snmp6,xfrm_stat}`. A kernel without IPv6 has no `snmp6`,
/// one without `IPsec` statistics no `xfrm_stat`.
pub fn read() -> Counters {
    let file = |name: &str| {
        let path = format!("/proc/thread-self/net/{name}");
        or_log(&path, fs::read_to_string(&path)).unwrap_or_default()
    };
    let mut counters = paired(&file("snmp"));
    counters.extend(paired(&file("netstat")));
    counters.extend(listed(&file("snmp6")));
    counters.extend(listed(&file("xfrm_stat")));
    counters.retain(|key, _| is_loss(&key.name));
    counters
}

/// Parses `snmp` and `netstat`: a line of names, then a line of numbers, each starting with the group.
fn paired(text: &str) -> Counters {
    let mut counters = Counters::new();
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let (Some((group, names)), Some((same, numbers))) = (names.split_once(": "), numbers.split_once(": ")) else {
            continue;
        };
        if group != same {
            tracing::debug!("the line of {group} is followed by one of {same}");
            continue;
        }
        for (name, number) in names.split_whitespace().zip(numbers.split_whitespace()) {
            // A few that are no counters are negative.
            if let Ok(number) = number.parse() {
                counters.insert(CounterKey::new(format!("{group}.{name}")), number);
            }
        }
    }
    counters
}

/// Parses `snmp6` and `xfrm_stat`: a name and a number per line; the name starts with the group.
fn listed(text: &str) -> Counters {
    let counter = |line: &str| {
        let (name, number) = line.split_once(char::is_whitespace)?;
        let group = ["Icmp6", "Ip6", "Xfrm"].into_iter().find(|group| name.starts_with(group))?;
        Some((CounterKey::new(format!("{group}.{}", &name[group.len()..])), number.trim().parse().ok()?))
    };
    text.lines().filter_map(counter).collect()
}

/// Reports whether a counter counts lost packets of IP or ICMP. The kernel builds its names from a few words, so counters
/// that later kernels add are found too.
fn is_loss(name: &str) -> bool {
    const GROUPS: [&str; 5] = ["Ip", "IpExt", "Icmp", "Ip6", "Icmp6"];
    const WORDS: [&str; 11] = [
        "Error",
        "Discard",
        "Fail",
        "NoRoute",
        "RateLimit",
        "Timeout",
        "Truncated",
        "UnknownProto",
        "Overlap",
        "Drop",
        "NoHandler",
    ];
    match name.split_once('.') {
        // The reverse path filter is listed among the TCP counters.
        Some(("TcpExt", name)) => name == "IPReversePathFilter",
        // All of them count failures (`Documentation/networking/xfrm_proc.rst`).
        Some(("Xfrm", _)) => true,
        Some((group, name)) => GROUPS.contains(&group) && WORDS.iter().any(|word| name.contains(word)),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a 6.18 kernel, cut to a few columns.
    const SNMP: &str = "\
Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors OutNoRoutes ReasmFails
Ip: 2 64 70024 3 0 4 0
Icmp: InMsgs InErrors InCsumErrors OutRateLimitGlobal OutRateLimitHost
Icmp: 1 0 0 2 5
Tcp: RtoAlgorithm MaxConn InErrs InCsumErrors
Tcp: 1 -1 7 8
";
    const NETSTAT: &str = "\
TcpExt: SyncookiesSent IPReversePathFilter TCPTimeouts
TcpExt: 0 12 2
IpExt: InNoRoutes InTruncatedPkts InOctets
IpExt: 1 2 99
";
    const SNMP6: &str = "\
Ip6InReceives                   \t1
Ip6InNoRoutes                   \t6
Icmp6OutRateLimitHost           \t9
Udp6InErrors                    \t4
";

    fn losses(counters: Counters) -> Vec<(String, u64)> {
        counters.into_iter().filter(|(key, _)| is_loss(&key.name)).map(|(key, value)| (key.name, value)).collect()
    }

    fn rows(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
        rows.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn names_and_numbers_stand_in_pairs_of_lines() {
        let expected = rows(&[
            ("Icmp.InCsumErrors", 0),
            ("Icmp.InErrors", 0),
            ("Icmp.OutRateLimitGlobal", 2),
            ("Icmp.OutRateLimitHost", 5),
            ("Ip.InAddrErrors", 0),
            ("Ip.InHdrErrors", 3),
            ("Ip.OutNoRoutes", 4),
            ("Ip.ReasmFails", 0),
        ]);
        assert_eq!(losses(paired(SNMP)), expected);
        let expected =
            rows(&[("IpExt.InNoRoutes", 1), ("IpExt.InTruncatedPkts", 2), ("TcpExt.IPReversePathFilter", 12)]);
        assert_eq!(losses(paired(NETSTAT)), expected);
    }

    #[test]
    fn ipv6_has_a_line_for_each() {
        assert_eq!(losses(listed(SNMP6)), rows(&[("Icmp6.OutRateLimitHost", 9), ("Ip6.InNoRoutes", 6)]));
    }

    #[test]
    fn what_is_cut_short_or_foreign_is_left_out() {
        assert_eq!(paired("Ip: A B\nIcmp: 1 2\nIp: A"), Counters::new());
        assert_eq!(paired("Ip: InErrors B\nIp: 1 x\n"), Counters::from([(CounterKey::new("Ip.InErrors"), 1)]));
        assert_eq!(listed("Ip6InErrors\nIp6InErrors x\n"), Counters::new());
    }

    #[test]
    fn this_kernel_tells_its_own() {
        assert!(read().contains_key(&CounterKey::new("Ip.InHdrErrors")));
    }
}
