//! Whether a rule of a firewall can match packets by the addresses that it names.

use std::net::IpAddr;

use crate::{
    diagnosis::{Evidence, document::Stop, path::Side},
    model::{prefix::shares, trace::Drop},
};

/// Between which addresses packets went that were freed in netfilter; `None`: not known, so that every rule may match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses(Option<(IpAddr, IpAddr)>);

impl Addresses {
    /// Returns those of the packets of `stop` as they were freed on `side`: what a NAT did before is done.
    pub(super) fn of(evidence: &Evidence, side: Side, stop: &Stop) -> Self {
        let ours = |drop: &&Drop| drop.leg == stop.leg && drop.reason == "NETFILTER_DROP";
        let mut pairs = evidence.drops(side).iter().filter(ours).map(|drop| (drop.source, drop.destination));
        let first =
            pairs.next().filter(|(source, destination)| !source.is_unspecified() && !destination.is_unspecified());
        Self(first.filter(|first| pairs.all(|other| other == *first)))
    }

    /// Reports whether a rule, as nft or iptables writes it, may match them.
    pub(super) fn may_match(&self, rule: &str) -> bool {
        let Some((source, destination)) = self.0 else { return true };
        let words: Vec<&str> = rule.split(" comment \"").next().unwrap_or(rule).split_whitespace().collect();
        (0..words.len()).all(|at| match words[at] {
            "saddr" if of_ip(&words, at) => nft_fits(&words[at + 1..], source),
            "daddr" if of_ip(&words, at) => nft_fits(&words[at + 1..], destination),
            "-s" => iptables_fits(&words, at, source),
            "-d" => iptables_fits(&words, at, destination),
            _ => true,
        })
    }
}

/// Reports whether the word at `at` is a field of the IP header alone, and no part of a concatenation.
fn of_ip(words: &[&str], at: usize) -> bool {
    let alone = words.get(at + 1) != Some(&".") && (at < 2 || words[at - 2] != ".");
    alone && at > 0 && matches!(words[at - 1], "ip" | "ip6")
}

/// Reports whether what follows `ip saddr` fits an address: one, a prefix, a range or a list of them; a named set is left open.
fn nft_fits(rest: &[&str], address: IpAddr) -> bool {
    let (negated, rest) = match rest {
        ["!=", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let listed: Vec<&str> = match rest {
        ["{", list @ ..] => {
            list.iter().take_while(|word| **word != "}").map(|word| word.trim_end_matches(',')).collect()
        }
        [one, ..] => vec![*one],
        [] => return true,
    };
    let fits: Option<Vec<bool>> = listed.into_iter().map(|one| covers(one, address)).collect();
    fits.is_none_or(|fits| fits.contains(&true) != negated)
}

/// Reports whether the address behind `-s` or `-d` fits this one; a list of iptables is separated by commas.
fn iptables_fits(words: &[&str], at: usize, address: IpAddr) -> bool {
    let negated = at > 0 && words[at - 1] == "!";
    let fits =
        words.get(at + 1).map(|list| list.split(',').map(|one| covers(one, address)).collect::<Option<Vec<_>>>());
    fits.flatten().is_none_or(|fits| fits.contains(&true) != negated)
}

/// Reports whether an address, a prefix or a range has `address`; `None` if it is something else, or of the other IP version.
fn covers(text: &str, address: IpAddr) -> Option<bool> {
    if let Some((first, last)) = text.split_once('-') {
        let (first, last): (IpAddr, IpAddr) = (first.parse().ok()?, last.parse().ok()?);
        return (first.is_ipv4() == address.is_ipv4()).then(|| (first..=last).contains(&address));
    }
    let (prefix, bits) = match text.split_once('/') {
        Some((prefix, bits)) => (prefix, Some(bits.parse().ok()?)),
        None => (text, None),
    };
    let prefix: IpAddr = prefix.parse().ok()?;
    let whole = if prefix.is_ipv4() { 32 } else { 128 };
    (prefix.is_ipv4() == address.is_ipv4()).then(|| shares(prefix, address, bits.unwrap_or(whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Addresses = Addresses(Some((
        IpAddr::V4(std::net::Ipv4Addr::new(10, 81, 0, 10)),
        IpAddr::V4(std::net::Ipv4Addr::new(10, 82, 0, 20)),
    )));

    #[test]
    fn a_rule_for_other_addresses_cannot_match() {
        for rule in [
            "ip saddr 1.2.3.4 drop",
            "ip saddr != 10.81.0.0/16 drop",
            "ip daddr { 10.82.0.21, 10.82.0.30-10.82.0.40 } drop",
            "ip saddr 10.82.0.20 ip daddr 10.81.0.10 drop",
            "-A FORWARD -s 192.168.0.0/16 -j DROP",
            "-A FORWARD ! -d 10.82.0.20/32 -j DROP",
        ] {
            assert!(!PAIR.may_match(rule), "{rule}");
        }
    }

    #[test]
    fn a_rule_that_may_be_for_them_is_left_open() {
        for rule in [
            "ip saddr 10.81.0.0/24 drop",
            "ip saddr { 1.2.3.4, 10.81.0.1-10.81.0.99 } ip daddr != 10.82.0.21 drop",
            "ip saddr @banned drop",
            "ip saddr . ip daddr { 1.2.3.4 . 1.2.3.5 } drop",
            "ip saddr . ip protocol . ip daddr @three drop",
            "ether saddr 02:00:00:00:00:01 drop",
            "icmp type echo-request drop comment \"ip saddr 1.2.3.4\"",
            "-A FORWARD -s 10.81.0.10/32 -d 10.82.0.0/24 -j DROP",
        ] {
            assert!(PAIR.may_match(rule), "{rule}");
        }
        assert!(Addresses(None).may_match("ip saddr 1.2.3.4 drop"));
    }
}
