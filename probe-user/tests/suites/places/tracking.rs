//! Connection tracking of a router of this kernel: entries older than the rules, replies that belong to no connection.

use serde_json::Value;

use super::{Routed, entered::Resident, routed, stopped_in};
use crate::common::net::sh;

/// An address of nobody, behind the router.
const SERVICE: [&str; 2] = ["10.82.0.99", "fd82::99"];

fn tracked(document: &Value, place: &str) -> Value {
    let all = document["conntrack"].as_array().expect("what connection tracking knows");
    let of_place = all.iter().find(|one| one["place"] == place).expect("the place is among them");
    of_place["entries"].clone()
}

/// Has one packet with this id go to `target`, whatever becomes of it.
fn ping_once(lab: &Routed, target: &str, id: u16) {
    let _ = lab.a.command("ping").args(["-n", "-q", "-c1", "-W1", "-e", &id.to_string(), target]).output();
}

#[test]
fn an_entry_from_before_a_change_of_the_rules_is_told_with_the_command_that_deletes_it() {
    let Some(lab) = routed("an entry from before a change of the rules") else { return };
    for (v6, target) in SERVICE.into_iter().enumerate() {
        let (family, old, gone) = [("ip", "10.82.0.20", "10.82.0.77"), ("ip6", "fd82::20", "fd82::77")][v6];
        sh(
            &lab.router,
            &format!(
                "nft 'add table {family} t; add chain {family} t pre {{ type nat hook prerouting priority -100; }}'
                 nft 'add rule {family} t pre {family} daddr {target} dnat to {gone}'"
            ),
        );
        ping_once(&lab, target, 4321);
        sh(
            &lab.router,
            &format!("nft 'flush chain {family} t pre; add rule {family} t pre {family} daddr {target} dnat to {old}'"),
        );
        let document = lab.diagnosed(&format!("{target} -e 4321"), false);
        let stop = stopped_in(&document, &lab.router, "request", "neighbour", target);
        let place = stop["place"].as_str().expect("a place");
        let entries = tracked(&document, place);
        assert_eq!(entries.as_array().map(Vec::len), Some(1), "{entries:#}");
        assert_eq!(entries[0]["original"]["id"], 4321, "{entries:#}");
        assert_eq!(entries[0]["reply"]["source"], gone, "{entries:#}");
        let why = stop["cause"]["tracking"].as_str().unwrap_or_default();
        assert!(why.contains(&format!("still sends id 4321 to {gone}, where the rules say {old}")), "{stop:#}");
        let advice = stop["advice"].as_str().expect("advice");
        let deletes = ["-p icmp -s 10.81.0.10", "-f ipv6 -p icmpv6 -s fd81::10"][v6];
        assert!(advice.contains(&format!("conntrack -D {deletes} -d {target}")), "{advice}");
        // Another id has an entry of its own, made by the rule of now, and is told by it.
        let other = lab.diagnosed(target, false);
        assert_eq!(other["verdict"]["outcome"], "delivered", "{other:#}");
        assert!(other.get("conntrack").is_none(), "a run that was answered is not looked into: {other:#}");
    }
}

#[test]
fn a_translation_is_told_with_its_rule() {
    let Some(lab) = routed("a translation with its rule") else { return };
    sh(
        &lab.router,
        "nft 'add table ip t; add chain ip t pre { type nat hook prerouting priority -100; }'
         nft 'add rule ip t pre ip daddr 10.82.0.99 dnat to 10.82.0.77'",
    );
    let document = lab.diagnosed(SERVICE[0], false);
    let stop = stopped_in(&document, &lab.router, "request", "neighbour", "dnat to nobody");
    assert!(stop["cause"].get("tracking").is_none(), "a rule of now is no old entry: {stop:#}");
    let changed = document["alterations"].as_array().expect("alterations");
    let to = changed.iter().find(|change| change["field"] == "destination").expect("the destination");
    assert_eq!(to["by"], "ip daddr 10.82.0.99 dnat to 10.82.0.77", "{to:#}");
}

#[test]
fn replies_to_requests_that_are_not_tracked_or_in_another_zone_are_told_with_the_rule() {
    let Some(lab) = routed("replies that belong to no connection") else { return };
    sh(
        &lab.router,
        "nft 'add table inet f; add chain inet f forward { type filter hook forward priority 0; policy drop; }'
         nft 'add rule inet f forward ct state established accept; add rule inet f forward iifname \"eth0\" accept'
         nft 'add table inet raw; add chain inet raw pre { type filter hook prerouting priority -300; }'",
    );
    for (rule, why) in [
        ("iifname \"eth0\" notrack", "exempts the requests from tracking"),
        ("iifname \"eth1\" notrack", "exempts the replies from tracking"),
        (
            "iifname \"eth0\" ct zone set 5",
            "the requests are tracked in zone 5, and the replies are looked for in another",
        ),
    ] {
        sh(&lab.router, &format!("nft 'flush chain inet raw pre; add rule inet raw pre {rule}'"));
        let document = lab.diagnosed(super::B[0], false);
        let stop = stopped_in(&document, &lab.router, "reply", "netfilter", rule);
        let said = stop["cause"]["tracking"].as_str().unwrap_or_default();
        assert!(said.contains(why) && said.contains(rule), "{rule}: {stop:#}");
        let sentence = document["verdict"]["sentence"].as_str().expect("a sentence");
        assert!(sentence.contains(why), "{sentence}");
    }
}

#[test]
fn a_reply_that_is_not_translated_back_ends_where_it_should_have_been() {
    let Some(lab) = routed("a reply that is not translated back") else { return };
    sh(
        &lab.router,
        "nft 'add table ip t; add chain ip t post { type nat hook postrouting priority 100; }'
         nft 'add rule ip t post oifname \"eth1\" masquerade'
         nft 'add table ip raw; add chain ip raw pre { type filter hook prerouting priority -300; }'
         nft 'add rule ip raw pre iifname \"eth0\" ct zone set 5'",
    );
    let document = lab.diagnosed(super::B[0], false);
    let stop = stopped_in(&document, &lab.router, "reply", "netfilter", "zones");
    assert_eq!(stop["cause"]["reason"], "NAT_NOT_UNDONE", "{stop:#}");
    let detail = stop["cause"]["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("makes that 10.81.0.10 again is in zone 5") && detail.contains("ct zone set 5"),
        "{detail}"
    );
}

#[test]
fn what_was_tracked_before_a_run_is_told_of_a_namespace_without_a_name_or_why_that_is_not_known() {
    let Some(lab) = routed("what_was_tracked_before_a_run_is_told") else { return };
    // Entries are made only of what gets through.
    let tracks = "nft 'add table inet f; add chain inet f forward { type filter hook forward priority 0; }'
         nft 'add rule inet f forward ct state established,related,new accept'";
    sh(&lab.router, tracks);
    for target in super::B {
        ping_once(&lab, target, 4321);
    }
    sh(&lab.router, "nft 'flush chain inet f forward; add rule inet f forward meta l4proto { icmp, icmpv6 } drop'");
    for target in super::B {
        let place = |id: u16| {
            let document = lab.diagnosed(&format!("{target} -e {id}"), false);
            let stop = stopped_in(&document, &lab.router, "request", "netfilter", target);
            let all = document["conntrack"].as_array().expect("what connection tracking knows").clone();
            all.into_iter().find(|one| one["place"] == stop["place"]).expect("the place is among them")
        };
        if target == super::B[0] {
            // Nobody lives there: it is held open by this process alone.
            let unknown = place(4321);
            assert!(unknown["before"].is_null(), "{unknown:#}");
            let why = unknown["before_unknown"].as_str().expect("a reason");
            assert!(why.contains("was not asked before the run: it had no name and no process"), "{why}");
        }
        let _resident = Resident::of(&lab.router);
        let known = place(4321);
        assert!(known.get("before_unknown").is_none(), "{known:#}");
        let before = known["before"].as_array().expect("entries");
        assert_eq!(before.len(), 1, "{known:#}");
        assert_eq!((&before[0]["original"]["id"], &before[0]["before"]), (&4321.into(), &true.into()), "{known:#}");
        assert_eq!((&before[0]["original"]["destination"], &before[0]["replied"]), (&target.into(), &true.into()));
        assert!(before[0]["timeout_s"].as_u64().is_some_and(|left| left <= 30), "{known:#}");
        assert_eq!(known["entries"][0]["before"], true, "{known:#}");
        if target == super::B[0] {
            // Of another id there was none.
            assert_eq!(place(4322)["before"], serde_json::json!([]));
        }
    }
}
