//! Targets that are addresses of this host: both ends are the same kernel, and everything goes through `lo`.

use crate::common::{
    self,
    net::{A4, A6, Pair, sh},
    run::probe,
};
use crate::honesty::diagnosed::acquitted;

#[test]
fn every_address_of_this_host_answers_through_lo() {
    if !common::is_root("every_address_of_this_host_answers_through_lo") {
        return;
    }
    let pair = Pair::new();
    for target in ["127.0.0.1".to_owned(), "::1".to_owned(), A4.to_string(), A6.to_string()] {
        let ran = probe(&pair.a, &format!("diagnose {target} -W 10 --format json"));
        let document = acquitted(&target, &ran, 10);
        assert_eq!(document["sides"]["local"]["interface"], "lo", "{target}");
        let hops = document["hops"].as_array().expect("hops");
        let seen = |leg: &str, hop: &str| {
            hops.iter().any(|row| row["leg"] == leg && row["hop"] == hop && row["packets"] == 10)
        };
        for leg in ["request", "reply"] {
            for hop in ["nf_output_first", "tc_out", "xmit", "netif_in", "tc_in", "nf_input_last"] {
                assert!(seen(leg, hop), "{target}: {leg} {hop}: {document:#}");
            }
        }
    }
}

#[test]
fn a_drop_on_lo_is_this_hosts() {
    if !common::is_root("a_drop_on_lo_is_this_hosts") {
        return;
    }
    let pair = Pair::new();
    sh(
        &pair.a,
        "nft 'add table inet t; add chain inet t c { type filter hook input priority 0; }'
         nft 'add rule inet t c icmp type echo-reply drop'",
    );
    let ran = probe(&pair.a, "diagnose 127.0.0.1 --format json");
    let document = ran.json();
    let stop = &document["stops"][0];
    for (field, value) in [("host", "local"), ("layer", "netfilter"), ("leg", "reply"), ("confidence", "certain")] {
        assert_eq!(stop[field], value, "{document:#}");
    }
    assert_eq!((ran.code, &stop["cause"]["netfilter"]["hook"]), (1, &"input".into()));
    // 16 for the host, 3 for netfilter; whatever reached its end is 0.
    assert_eq!(probe(&pair.a, "diagnose 127.0.0.1 -q --exit-code stage").code, 19);
    sh(&pair.a, "nft flush ruleset");
    assert_eq!(probe(&pair.a, "diagnose 127.0.0.1 -q --exit-code stage").code, 0);
}
