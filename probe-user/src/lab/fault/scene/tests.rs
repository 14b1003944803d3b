//! The built-in scenes hold together; words and expectations mean what they say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    super::{Got, everything},
    *,
};

const SMALL: &str = r#"
title = "a router"
from = "a"
target = "b"
address = "{vip}"
links = ["a:eth0 r:in0", "r:out0 b:eth0"]

[words]
vip = ["192.0.2.9", "2001:db8::9"]

[host.a]
addresses = { eth0 = ["10.1.0.10/24", "fd01::10/64"] }

[host.r]
forwards = true
way = ["in0", "out0"]
addresses = { in0 = ["10.1.0.1/24", "fd01::1/64"], out0 = ["10.2.0.1/24", "fd02::1/64"] }

[host.b]
addresses = { eth0 = ["10.2.0.20/24", "fd02::20/64"] }

[watch.near]

[watch.ends]
peer = "b"
own_namespace = true

[[case]]
name = "healthy"
title = "nothing is wrong"

[[case]]
name = "drop"
title = "the router drops"
legs = ["request", "reply"]
break.r = "nft '{echo} drop'"
flags = "-S {a}"
[case.expect]
place = "r"
layer = "netfilter"
hook = "forward"
says = ["towards {receiver}"]
never = ["{vip}"]
alterations = ["request destination {vip} > {b}"]
"#;

fn small() -> Arc<Scene> {
    Arc::new(Scene::parse("small", SMALL).expect("a scene"))
}

fn case(name: &str, family: Family) -> SceneCase {
    let found = cases_of(&small()).into_iter().find(|case| case.name == name && case.family == family);
    found.unwrap_or_else(|| panic!("no case {name}"))
}

#[test]
fn no_two_cases_of_the_whole_catalogue_have_one_name() {
    let cases = everything();
    let names: BTreeSet<_> = cases.iter().map(|case| (case.name(), case.family())).collect();
    assert_eq!(names.len(), cases.len());
}

#[test]
fn every_built_in_scene_has_a_healthy_case_for_each_watch() {
    for scene in builtin::scenes() {
        for watch in &scene.watches {
            let cases = cases_of(scene);
            let healthy = cases.iter().any(|case| case.watch() == watch && case.place() == "nothing");
            assert!(healthy, "{} {}", scene.name, watch.name);
        }
    }
}

#[test]
fn a_case_is_a_fault_a_watch_a_leg_and_an_ip_version() {
    let names: Vec<_> = cases_of(&small()).into_iter().map(|case| (case.name, case.family)).collect();
    let each = ["small-ends-healthy", "small-ends-drop-requests", "small-ends-drop-replies"];
    let near = ["small-near-healthy", "small-near-drop-requests", "small-near-drop-replies"];
    let both = |name: &str| [(name.to_owned(), Family::V4), (name.to_owned(), Family::V6)];
    assert_eq!(names, each.into_iter().chain(near).flat_map(both).collect::<Vec<_>>());
}

#[test]
fn words_follow_the_leg_and_the_family_and_shell_and_nft_keep_their_braces() {
    let text = "{r.in}>{r.out} {a} {r} {r.out0} {sender} {receiver} {vip} {back} {ip} { {type} } ${x} {-4} {leg}";
    assert_eq!(
        case("small-near-drop-requests", Family::V4).fill(text),
        "in0>out0 10.1.0.10 10.1.0.1 10.2.0.1 10.1.0.10 10.2.0.20 192.0.2.9 icmp type echo-reply ip { echo-request } \
         ${x} -4 request"
    );
    assert_eq!(
        case("small-near-drop-replies", Family::V6).fill(text),
        "out0>in0 fd01::10 fd01::1 fd02::1 fd02::20 fd01::10 2001:db8::9 icmpv6 type echo-request ip6 { echo-reply } \
         ${x} -6 reply"
    );
}

#[test]
fn the_address_that_is_pinged_may_be_another_than_the_targets() {
    assert_eq!(case("small-near-healthy", Family::V6).address().to_string(), "2001:db8::9");
}

/// Returns what a diagnosis of the case over IPv4 says that is right.
fn document(host: &str) -> serde_json::Value {
    json!({
        "schema": "probe.diagnosis/1",
        "verdict": {"outcome": "stopped", "confidence": "certain", "sentence": "They stop towards 10.2.0.20."},
        "places": [{"name": "a", "netns": 1}, {"name": "4026", "netns": 2}, {"name": "b", "netns": 3}],
        "stops": [{"leg": "request", "host": host, "place": "4026", "layer": "netfilter",
                   "cause": {"netfilter": {"hook": "forward"}}}],
        "alterations": [{"leg": "request", "field": "destination", "sent": "192.0.2.9", "seen": "10.2.0.20"}],
    })
}

fn judged(name: &str, change: impl FnOnce(&mut serde_json::Value)) -> Vec<String> {
    let mut document = document("via");
    change(&mut document);
    let hosts: BTreeMap<u64, String> = [(1, "a"), (2, "r"), (3, "b")].map(|(inode, name)| (inode, name.into())).into();
    let got = Got::from_document(&document, 0.1).expect("a diagnosis").in_scene(&hosts);
    let case = case(name, Family::V4);
    SceneExpected { never: Vec::new(), ..case.expected() }.differences(case.leg, &got)
}

#[test]
fn a_place_is_known_by_the_inode_of_its_namespace_whatever_it_is_called() {
    assert_eq!(judged("small-near-drop-requests", |_| ()), [""; 0]);
    let elsewhere = judged("small-near-drop-requests", |document| document["stops"][0]["place"] = json!("b"));
    assert_eq!(elsewhere, ["place is b, not r"]);
}

#[test]
fn everything_that_a_scene_expects_is_held() {
    let wrong = |change: fn(&mut serde_json::Value)| judged("small-near-drop-requests", change);
    assert_eq!(wrong(|document| document["stops"][0]["leg"] = json!("reply")), ["leg is reply, not request"]);
    assert_eq!(
        wrong(|document| document["stops"] = json!([document["stops"][0], document["stops"][0]])),
        ["number of stops is 2, not 1"]
    );
    assert_eq!(
        wrong(|document| document["verdict"]["sentence"] = json!("They stop.")),
        ["the sentence lacks 'towards 10.2.0.20'"]
    );
    assert_eq!(
        wrong(|document| document["alterations"][0]["seen"] = json!("10.2.0.21")),
        [
            "alterations are [request destination 192.0.2.9 > 10.2.0.21], not [request destination 192.0.2.9 > 10.2.0.20]"
        ]
    );
}

#[test]
fn words_that_must_be_told_may_stand_in_any_text() {
    let case = case("small-near-drop-requests", Family::V4);
    let got = Got::from_document(&document("via"), 0.1).expect("a diagnosis");
    let telling = |words: &str| SceneExpected {
        place: ExpectedPlace::Any,
        never: Vec::new(),
        tells: vec![words.to_owned()],
        ..case.expected()
    };
    assert_eq!(telling("forward").differences(case.leg, &got), [""; 0]);
    assert_eq!(telling("backward").differences(case.leg, &got), ["'backward' is not told"]);
}

#[test]
fn words_that_may_not_be_said_are_found_in_every_text() {
    let case = case("small-near-drop-requests", Family::V4);
    let got = Got::from_document(&document("via"), 0.1).expect("a diagnosis");
    let never = SceneExpected { place: ExpectedPlace::Any, ..case.expected() };
    assert_eq!(never.differences(case.leg, &got), ["'192.0.2.9' is said, which is wrong here"]);
}

#[test]
fn of_a_host_that_nobody_watches_only_the_gap_is_held() {
    let case = case("small-ends-drop-requests", Family::V4);
    let expected = case.expected();
    assert_eq!((expected.place.clone(), &expected.hook), (ExpectedPlace::Unwatched(vec!["r".into()]), &None));
    let wrong = judged("small-ends-drop-requests", |_| ());
    assert_eq!(
        wrong,
        [
            "host is via, not network or beyond",
            "layer is netfilter, not path",
            "place is r, where only a host that nobody watches can be it",
        ]
    );
}
