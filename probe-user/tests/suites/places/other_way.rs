//! A control that the far end sends the other way: told only where it makes a difference.

use serde_json::Value;

use super::{B, DROP, Routed, entered, routed};
use crate::common::{
    net::sh,
    run::{Ran, command},
};

/// A diagnosis with an agent on B, from which nobody sees the router in between.
fn diagnosed(lab: &Routed, words: &str) -> Value {
    let mut command = command(&lab.a, &format!("diagnose {words} -c 3 --own-namespace --format json"));
    command.arg("--peer").arg(format!("{} {} agent", entered(&lab.b), env!("CARGO_BIN_EXE_probe")));
    Ran::of(command.output().expect("probe starts")).json()
}

fn directions(document: &Value) -> Vec<Value> {
    let controls = document["controls"].as_array().expect("controls").iter();
    controls.filter(|control| control["field"] == "direction").cloned().collect()
}

/// How often the other direction was tried.
fn tried(document: &Value) -> usize {
    let tried = document["accounting"]["controls"]["tried"].as_array().into_iter().flatten();
    tried.filter_map(Value::as_str).filter(|one| one.starts_with("direction")).count()
}

#[test]
fn requests_of_the_far_end_are_a_control_and_told_where_they_alone_pass() {
    let Some(lab) = routed("requests_of_the_far_end_are_a_control") else { return };
    let one_way = "iifname eth0 icmp type echo-request drop\n iifname eth0 icmpv6 type echo-request drop";
    sh(&lab.router, &DROP.replace("RULE", one_way));
    for target in B {
        let document = diagnosed(&lab, target);
        let [control] = &directions(&document)[..] else { panic!("{target}: {document:#}") };
        assert_eq!((&control["sent"], &control["answered"]), (&4.into(), &4.into()), "{target}: {control:#}");
        assert_eq!(control["unchanged"]["after_answered"], 0, "{target}: {control:#}");
        let sentence = document["verdict"]["sentence"].as_str().expect("a sentence");
        assert!(sentence.contains(&format!("sent the other way by {target} they are answered")), "{sentence}");
        assert_eq!(document["stops"][0]["host"], "network", "{target}: {document:#}");
    }
    sh(&lab.router, &format!("nft flush ruleset\n{}", DROP.replace("RULE", "meta l4proto { icmp, icmpv6 } drop")));
    let document = diagnosed(&lab, B[0]);
    assert_eq!((directions(&document), tried(&document)), (Vec::new(), 1), "{document:#}");
    let cost = &document["accounting"]["controls"];
    let all = cost["tried"].as_array().expect("what was tried").len();
    // Two unchanged ones, and two of each change, the far end's among them.
    assert_eq!(cost["packets"].as_u64(), Some(2 + 2 * all as u64), "{document:#}");
}
