//! What `diagnose` sends besides its probes to find a change with which they pass, and that each change is proven.

use serde_json::Value;

use crate::common::{
    self,
    net::{B4, B6, Pair, sh},
    run::{Ran, command},
};

fn pair(name: &str) -> Option<Pair> {
    common::is_root(name).then(Pair::new)
}

fn diagnosed(pair: &Pair, words: &str) -> Value {
    Ran::of(command(&pair.a, &format!("diagnose {words} -c 4 --format json")).output().expect("probe starts")).json()
}

/// The controls of one field each, with the field.
fn fields(document: &Value) -> Vec<(String, Value)> {
    let controls = document["controls"].as_array().expect("controls").iter();
    let of_field = controls.filter(|control| control["control"] == "field");
    of_field.map(|control| (control["field"].as_str().expect("a field").to_owned(), control.clone())).collect()
}

fn at_b(pair: &Pair, rule: &str) {
    sh(
        &pair.b,
        &format!(
            "nft 'add table inet t; add chain inet t pre {{ type filter hook prerouting priority -400; }}; flush chain inet t pre'
             nft 'add rule inet t pre {rule}'"
        ),
    );
}

#[test]
fn what_decides_on_the_way_is_found_without_being_asked_for_and_proven() {
    let Some(pair) = pair("controls by themselves") else { return };
    let target = B4.to_string();
    for (rule, field) in [
        ("icmp type echo-request icmp id 77 drop", "id"),
        ("icmp type echo-request meta length > 60 drop", "size"),
        ("icmp type echo-request ip dscp 0 drop", "dscp"),
    ] {
        at_b(&pair, rule);
        let document = diagnosed(&pair, &format!("{target} -e 77"));
        let found = fields(&document);
        assert_eq!(found.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), [field], "{rule}: {document:#}");
        let control = &found[0].1;
        assert_eq!(control["sent"], control["answered"], "{control:#}");
        let unchanged = &control["unchanged"];
        assert_eq!(
            (&unchanged["before_answered"], &unchanged["after_answered"]),
            (&0.into(), &0.into()),
            "{control:#}"
        );
        assert!(unchanged["after"].as_u64().is_some_and(|after| after > 0), "{control:#}");
        let sentence = document["verdict"]["sentence"].as_str().expect("a sentence");
        assert!(sentence.contains(control["change"].as_str().expect("a clause")), "{sentence}");
        let cost = &document["accounting"]["controls"];
        assert!(cost["packets"].as_u64().is_some_and(|packets| (1..=24).contains(&packets)), "{cost:#}");
    }
}

#[test]
fn a_control_that_changes_nothing_is_not_shown_and_a_healthy_run_sends_none() {
    let Some(pair) = pair("controls that change nothing") else { return };
    let document = diagnosed(&pair, &format!("{B6} --vary"));
    assert_eq!(document["verdict"]["outcome"], "delivered", "{document:#}");
    assert!(document["accounting"].get("controls").is_none(), "{document:#}");
    at_b(&pair, "icmpv6 type echo-request drop");
    let document = diagnosed(&pair, &B6.to_string());
    assert!(fields(&document).is_empty() && document["notes"] == serde_json::json!([]), "{document:#}");
    assert!(document["accounting"]["controls"]["packets"].as_u64().is_some_and(|sent| sent > 0), "{document:#}");
    let without = diagnosed(&pair, &format!("{B6} --no-controls"));
    assert!(without["accounting"].get("controls").is_none(), "{without:#}");
}

#[test]
fn fields_that_are_asked_for_are_varied_and_the_way_past_the_own_netfilter() {
    let Some(pair) = pair("fields that are asked for") else { return };
    at_b(&pair, "icmp type echo-request icmp code 0 drop");
    let code = diagnosed(&pair, &format!("{B4} --vary=code,ttl"));
    assert_eq!(fields(&code).iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), ["code"], "{code:#}");
    let tried = code["accounting"]["controls"]["tried"].as_array().expect("what was tried").clone();
    assert!(tried.iter().any(|one| one == "ttl 255") && !tried.iter().any(|one| one == "dscp 10"), "{tried:?}");
    sh(&pair.b, "nft delete table inet t");
    sh(
        &pair.a,
        "nft 'add table ip t; add chain ip t out { type filter hook output priority 0; }'
         nft 'add rule ip t out icmp type echo-request drop'",
    );
    let past = diagnosed(&pair, &format!("{B4} --vary=socket"));
    let found = fields(&past);
    assert_eq!(found.len(), 1, "{past:#}");
    assert_eq!((&found[0].1["field"], &found[0].1["to"]), (&"socket".into(), &"packet".into()), "{past:#}");
    assert_eq!(past["stops"][0]["layer"], "netfilter", "{past:#}");
}

#[test]
fn what_looks_at_every_second_sequence_number_or_at_the_pace_is_found() {
    let Some(pair) = pair("sequence numbers and pace") else { return };
    // The last bit of the sequence number.
    at_b(&pair, "icmp type echo-request @th,63,1 1 drop");
    let document = diagnosed(&pair, &format!("{B4} --vary=seq"));
    let [(field, control)] = &fields(&document)[..] else { panic!("{document:#}") };
    assert_eq!((field.as_str(), &control["to"]), ("seq", &"even".into()), "{control:#}");
    assert_eq!((&control["sent"], &control["answered"]), (&16.into(), &16.into()), "{control:#}");
    assert_eq!((&control["unchanged"]["after"], &control["unchanged"]["after_answered"]), (&8.into(), &4.into()));
    at_b(&pair, "icmp type echo-request limit rate over 1/second burst 1 packets drop");
    let document = diagnosed(&pair, &format!("{B4} --vary=pace"));
    let [(field, control)] = &fields(&document)[..] else { panic!("{document:#}") };
    assert_eq!((field.as_str(), &control["to"]), ("pace", &"1050 ms".into()), "{control:#}");
    assert_eq!((&control["sent"], &control["answered"]), (&6.into(), &6.into()), "{control:#}");
    let tried = document["accounting"]["controls"]["tried"].as_array().expect("what was tried");
    assert_eq!(tried.iter().filter(|one| one.as_str().is_some_and(|one| one.starts_with("pace"))).count(), 1);
}

#[test]
fn a_field_that_there_is_not_is_refused_with_those_that_there_are() {
    let ran = Ran::of(
        std::process::Command::new(env!("CARGO_BIN_EXE_probe"))
            .args(["diagnose", "10.0.0.2", "--vary=colour"])
            .output()
            .expect("probe starts"),
    );
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("colour") && ran.stderr.contains("dscp"), "{ran:?}");
}
