//! Netfilter's chains.

use probe_ebpf::Family;
use probe_user::{lab::LabHost, model::trace::Finding};

use super::bench::{found, lab, nft};

/// Hook, chain and whether it can drop.
fn chains(findings: Vec<Finding>) -> Vec<(String, String, bool)> {
    let chain = |finding| match finding {
        Finding::Chain { family, hook, table, chain, can_drop, .. } => {
            Some((hook.to_string(), format!("{family} {table} {chain}"), can_drop))
        }
        _ => None,
    };
    findings.into_iter().filter_map(chain).collect()
}

#[test]
fn chains_are_told_where_they_are_and_nowhere_else() {
    let Some(lab) = lab("chains_are_told_where_they_are_and_nowhere_else") else { return };
    let told = |host, family| chains(found(&lab, host, family, || ()));
    assert_eq!(told(LabHost::B, Family::V4), []);
    let group = ("forward".to_owned(), "inet probe_lab forward".to_owned(), true);
    assert_eq!(told(LabHost::Fw, Family::V4), [group]);
    let netns = lab.netns(LabHost::B);
    nft(netns, "table ip v4 { chain in { type filter hook input priority 0; icmp type echo-request drop; }; }");
    nft(netns, "table inet t { chain out { type filter hook output priority 0; counter accept; }; }");
    nft(netns, "table netdev n { chain at { type filter hook ingress device eth0 priority 0; ip ttl 1 drop; }; }");
    let row = |hook: &str, chain: &str, can_drop| (hook.to_owned(), chain.to_owned(), can_drop);
    let (v4, out, at) =
        (row("input", "ip v4 in", true), row("output", "inet t out", false), row("ingress", "netdev n at", true));
    assert_eq!(told(LabHost::B, Family::V4), [v4, out.clone(), at.clone()]);
    assert_eq!(told(LabHost::B, Family::V6), [out, at]);
    assert_eq!(told(LabHost::A, Family::V4), []);
}
