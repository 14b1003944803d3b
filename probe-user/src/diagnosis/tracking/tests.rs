//! Tests of which entries do something else than the rules would now.

use super::*;
use crate::model::{
    netfilter::{NetfilterHook, TableFamily},
    trace::EchoTuple,
};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Builds an entry of a request from 10.81.0.10 to 10.99.0.1, answered as `from` to `to`.
fn entry(from: &str, to: &str, before: bool) -> TrackedEcho {
    let tuple = |source: &str, destination: &str, kind| EchoTuple {
        source: address(source),
        destination: address(destination),
        id: 77,
        kind,
        code: 0,
    };
    TrackedEcho {
        original: tuple("10.81.0.10", "10.99.0.1", 8),
        reply: tuple(from, to, 0),
        replied: false,
        timeout_s: Some(28),
        mark: 0,
        zone: 0,
        zone_of: None,
        before,
        own_source: None,
    }
}

fn rule(act: TrackingAct, text: &str, legacy: bool) -> TrackingRule {
    TrackingRule {
        act,
        family: Some(TableFamily::Ip),
        table: "nat".into(),
        hook: Some(NetfilterHook::Prerouting),
        chain: "pre".into(),
        rule: text.into(),
        handle: Some(5),
        elements: String::new(),
        legacy,
    }
}

fn judged(entry: &TrackedEcho, rules: &[TrackingRule]) -> Option<String> {
    let crossed = Crossed { inwards: vec!["ea".into()], outwards: vec!["eb".into()] };
    let rules: Vec<&TrackingRule> = rules.iter().collect();
    judge(entry, &rules, &crossed).map(|to| match to {
        KeptTo::Destination { old, now } => format!("to {old}, now {now:?}"),
        KeptTo::Source { old, own } => format!("as {old}, own {own}"),
        KeptTo::Untranslated(rule) => format!("not by {}", rule.rule),
    })
}

#[test]
fn a_destination_is_old_where_no_rule_translates_to_it_any_more() {
    let old = entry("10.82.0.20", "10.81.0.10", false);
    let to = |text: &str| rule(TrackingAct::Destination, text, false);
    assert_eq!(judged(&old, &[]).as_deref(), Some("to 10.82.0.20, now None"));
    let moved = to("ip daddr 10.99.0.1 counter packets 3 bytes 252 dnat to 10.83.0.30");
    assert_eq!(judged(&old, &[moved]).as_deref(), Some("to 10.82.0.20, now Some(10.83.0.30)"));
    for living in [
        "ip daddr 10.99.0.1 dnat to 10.82.0.20",
        "ip daddr 10.99.0.1 dnat to 10.82.0.10-10.82.0.29",
        "dnat ip prefix to 10.82.0.0/24",
        "dnat to numgen inc mod 2 map { 0 : 10.82.0.20, 1 : 10.83.0.30 }",
        "redirect",
    ] {
        assert_eq!(judged(&old, &[to(living)]), None, "{living}");
    }
    let mut map = to("dnat to ip daddr map @backends");
    assert!(judged(&old, std::slice::from_ref(&map)).is_some());
    map.elements = "elements = { 10.99.0.1 : 10.82.0.20 }".into();
    assert_eq!(judged(&old, &[map]), None);
}

#[test]
fn nothing_is_said_where_rules_could_not_be_read() {
    let old = entry("10.82.0.20", "10.81.0.10", true);
    assert_eq!(judged(&old, &[rule(TrackingAct::Unread, "xt target \"DNAT\"", false)]), None);
}

#[test]
fn a_source_is_old_where_no_rule_gives_it_or_the_host_lost_it() {
    let mut old = entry("10.99.0.1", "10.82.0.1", false);
    let gives = |text: &str| rule(TrackingAct::Source, text, false);
    assert_eq!(judged(&old, &[]).as_deref(), Some("as 10.82.0.1, own true"));
    assert_eq!(judged(&old, &[gives("oifname \"eb\" masquerade")]), None);
    assert_eq!(judged(&old, &[gives("oifname \"eb\" snat to 10.82.0.1")]), None);
    assert!(judged(&old, &[gives("oifname \"eb\" snat to 10.82.0.2")]).is_some());
    old.own_source = Some(false);
    assert_eq!(judged(&old, &[gives("oifname \"eb\" masquerade")]).as_deref(), Some("as 10.82.0.1, own false"));
}

#[test]
fn an_entry_from_before_a_rule_is_told_only_where_the_rule_surely_matches() {
    let rules = |text: &str| [rule(TrackingAct::Destination, text, false)];
    let (old, new) = (entry("10.99.0.1", "10.81.0.10", true), entry("10.99.0.1", "10.81.0.10", false));
    let sure = "iifname \"ea\" ip daddr 10.99.0.0/24 icmp type echo-request dnat to 10.83.0.30";
    assert_eq!(judged(&old, &rules(sure)), Some(format!("not by {sure}")));
    assert_eq!(judged(&new, &rules(sure)), None);
    for other in [
        "ip daddr 10.98.0.0/24 dnat to 10.83.0.30",
        "iifname \"eb\" ip daddr 10.99.0.1 dnat to 10.83.0.30",
        "ip daddr @vips dnat to 10.83.0.30",
        "ip daddr != 10.99.0.1 dnat to 10.83.0.30",
    ] {
        assert_eq!(judged(&old, &rules(other)), None, "{other}");
    }
    let saved = "-A PREROUTING -d 10.99.0.1/32 -p icmp -j DNAT --to-destination 10.83.0.30";
    assert!(judged(&old, &[rule(TrackingAct::Destination, saved, true)]).is_some());
    let masqueraded = "-A POSTROUTING -s 10.81.0.0/24 -o eb -j MASQUERADE";
    assert!(judged(&old, &[rule(TrackingAct::Source, masqueraded, true)]).is_some());
}
