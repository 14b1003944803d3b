//! The very rule.

use probe_ebpf::{Echo, Family};
use probe_user::{
    host::trace_rules::TraceRules,
    lab::{LabHost, Topology},
    model::{netfilter::TableFamily, trace::Finding},
};

use super::bench::{lab, nft, request, send, settle, warm_up};

/// That of no packet here: these are known by addresses and id.
const NONCE: u64 = 77;

/// What tracing on `host` finds of three pings.
fn traced(lab: &Topology, host: LabHost, family: Family) -> Vec<Finding> {
    let netns = lab.netns(host);
    let tracing =
        netns.run(|| TraceRules::begin(&request(host, family), NONCE)).expect("inside").expect("it works here");
    let _ = send(lab, LabHost::A, LabHost::B, family, Echo::Request, 3);
    settle();
    netns.run(|| tracing.end()).expect("inside")
}

fn tables(lab: &Topology, host: LabHost) -> String {
    let listed = lab.netns(host).command("nft").args(["list", "tables"]).output().expect("nft");
    String::from_utf8_lossy(&listed.stdout).into_owned()
}

#[test]
fn a_rule_that_drops_is_named_with_its_text() {
    let Some(lab) = lab("a_rule_that_drops_is_named_with_its_text") else { return };
    warm_up(&lab);
    for family in lab.families() {
        let (name, rule) = match family {
            Family::V4 => ("ip", "icmp type echo-request drop comment \"no pings\""),
            Family::V6 => ("ip6", "icmpv6 type echo-request drop comment \"no pings\""),
        };
        assert_eq!(traced(&lab, LabHost::B, *family), [], "{family:?}");
        let hook = "type filter hook input priority 0";
        nft(
            lab.netns(LabHost::B),
            &format!("table {name} t {{\nchain sub {{\n{rule}\n}}\nchain c {{\n{hook};\ncounter jump sub\n}}\n}}"),
        );
        let found = traced(&lab, LabHost::B, *family);
        let [Finding::Rule { family: in_family, table, chain, handle, rule: text, verdict, leg, packets }] = &found[..]
        else {
            panic!("{found:?}")
        };
        assert_eq!((in_family.name(), table.as_str(), chain.as_str()), (name, "t", "sub"));
        assert_eq!((text.as_str(), verdict.as_str(), *leg, *packets), (rule, "drop", Echo::Request, 3));
        assert!(handle.is_some());
        assert!(!tables(&lab, LabHost::B).contains("probe_trace"));
    }
}

#[test]
fn a_reply_that_an_output_chain_ends_is_one_and_a_policy_has_no_rule() {
    let Some(lab) = lab("a_reply_that_an_output_chain_ends_is_one_and_a_policy_has_no_rule") else { return };
    warm_up(&lab);
    nft(lab.netns(LabHost::B), "table inet t { chain out { type filter hook output priority 0; policy drop; }; }");
    let expected = Finding::Rule {
        family: TableFamily::Inet,
        table: "t".to_owned(),
        chain: "out".to_owned(),
        handle: None,
        rule: "policy drop".to_owned(),
        verdict: "drop".to_owned(),
        leg: Echo::Reply,
        packets: 3,
    };
    assert_eq!(traced(&lab, LabHost::B, Family::V4), [expected]);
}

#[test]
fn two_traces_in_one_namespace_do_not_meet_and_leave_nothing() {
    let Some(lab) = lab("two_traces_in_one_namespace_do_not_meet_and_leave_nothing") else { return };
    let begin = || TraceRules::begin(&request(LabHost::A, Family::V4), NONCE).expect("it works here");
    let both = lab.netns(LabHost::A).run(|| [begin(), begin()]).expect("inside");
    // One for what the host takes in or sends, one for what comes in by its devices.
    for family in ["inet", "netdev"] {
        assert_eq!(tables(&lab, LabHost::A).matches(&format!("table {family} probe_trace")).count(), 2, "{family}");
    }
    // Also without the end that was meant.
    drop(both);
    assert_eq!(tables(&lab, LabHost::A), "");
}
