//! Which rules of a rule set decide what connection tracking does: translation, `notrack`, zones, states.

use std::fs;

use crate::model::trace::{Finding, TrackingAct, TrackingRule};

/// Returns a finding in place of rules that could not be read.
pub(in crate::host) fn unread(what: &str) -> Finding {
    Finding::TrackingRule(TrackingRule {
        act: TrackingAct::Unread,
        family: None,
        table: String::new(),
        hook: None,
        chain: String::new(),
        rule: what.to_owned(),
        handle: None,
        elements: String::new(),
        legacy: false,
    })
}

/// Reports whether IPVS has services here: it translates addresses without a rule. Its table begins with three lines of
/// headings.
pub(super) fn balances() -> bool {
    fs::read_to_string("/proc/thread-self/net/ip_vs").is_ok_and(|table| table.lines().count() > 3)
}

/// Returns what a rule, as nft writes it, makes connection tracking do; `None`: nothing.
pub(super) fn act(rule: &str) -> Option<TrackingAct> {
    let rule = rule.split(" comment \"").next().unwrap_or(rule);
    let words: Vec<&str> = rule.split_whitespace().collect();
    let has = |word: &str| words.contains(&word);
    let pair = |first: &str, second: &str| words.windows(2).any(|pair| pair == [first, second]);
    if let Some(target) = words.windows(3).find(|three| three[..2] == ["xt", "target"]).map(|three| three[2]) {
        return of_target(target.trim_matches('"')).map(|_| TrackingAct::Unread);
    }
    if has("dnat") || has("redirect") {
        return Some(TrackingAct::Destination);
    }
    if has("snat") || has("masquerade") {
        return Some(TrackingAct::Source);
    }
    if has("notrack") {
        return Some(TrackingAct::Untracked);
    }
    if pair("zone", "set") {
        return Some(TrackingAct::Zone);
    }
    pair("ct", "state").then_some(TrackingAct::State)
}

/// Returns what a target of iptables makes connection tracking do (`iptables-extensions(8)`).
fn of_target(target: &str) -> Option<TrackingAct> {
    Some(match target {
        "DNAT" | "REDIRECT" => TrackingAct::Destination,
        "SNAT" | "MASQUERADE" => TrackingAct::Source,
        "NETMAP" => TrackingAct::Unread,
        "NOTRACK" => TrackingAct::Untracked,
        _ => return None,
    })
}

/// Returns the same for a rule of `iptables-save`.
pub(in crate::host) fn act_of_iptables(rule: &str) -> Option<TrackingAct> {
    let words: Vec<&str> = rule.split_whitespace().collect();
    let target = words.windows(2).find(|pair| matches!(pair[0], "-j" | "-g")).map(|pair| pair[1])?;
    let has = |word: &str| words.contains(&word);
    if target == "CT" {
        return [("--notrack", TrackingAct::Untracked), ("--zone", TrackingAct::Zone)]
            .into_iter()
            .find_map(|(word, act)| has(word).then_some(act));
    }
    of_target(target).or_else(|| (has("--ctstate") || has("--state")).then_some(TrackingAct::State))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tracking_does_is_told() {
        let rows = [
            ("ip daddr 10.99.0.1 counter packets 1 bytes 84 dnat to 10.82.0.20", Some(TrackingAct::Destination)),
            ("oifname \"eth0\" masquerade", Some(TrackingAct::Source)),
            ("ip protocol icmp notrack", Some(TrackingAct::Untracked)),
            ("iifname \"ea\" ct zone set 1", Some(TrackingAct::Zone)),
            ("ct state invalid drop", Some(TrackingAct::State)),
            ("meta l4proto icmp counter packets 0 bytes 0 xt target \"DNAT\"", Some(TrackingAct::Unread)),
            ("xt target \"LOG\"", None),
            ("tcp dport 22 accept comment \"no dnat here\"", None),
            ("ct mark 0x1 accept", None),
        ];
        for (rule, expected) in rows {
            assert_eq!(act(rule), expected, "{rule}");
        }
    }

    #[test]
    fn the_same_of_the_older_iptables() {
        let rows = [
            ("-A PREROUTING -d 10.99.0.1/32 -j DNAT --to-destination 10.82.0.20", Some(TrackingAct::Destination)),
            ("-A PREROUTING -p icmp -j CT --notrack", Some(TrackingAct::Untracked)),
            ("-A PREROUTING -i eth0 -j CT --zone 3", Some(TrackingAct::Zone)),
            ("-A FORWARD -m conntrack --ctstate INVALID -j DROP", Some(TrackingAct::State)),
            ("-A INPUT -j DROP", None),
        ];
        for (rule, expected) in rows {
            assert_eq!(act_of_iptables(rule), expected, "{rule}");
        }
    }
}
