//! Scene files that work, and what is said of those that do not.

use super::*;

const GOOD: &str = r#"title = "two hosts"
from = "a"
target = "b"
links = ["a:eth0 b:eth0"]
[host.a]
addresses = { eth0 = ["10.1.0.1/24"] }
[host.b]
addresses = { eth0 = ["10.1.0.2/24"] }
[watch.near]
[[case]]
name = "healthy"
title = "nothing is wrong"
families = [4]
[[case]]
name = "drop"
title = "b drops"
families = [4]
break.b = "nft -f rules"
expect = { place = "b", layer = "netfilter" }
"#;

fn error(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    Scene::parse("mine", &GOOD.replace(from, to)).expect_err(to).to_string()
}

#[test]
fn a_good_file_is_read() {
    let scene = Scene::parse("mine", GOOD).expect("good");
    assert_eq!((scene.hosts.len(), scene.links.len(), scene.faults.len()), (2, 1, 2));
    assert_eq!(scene.address, "{b}");
    assert!(scene.hosts["a"].addresses == [("eth0".to_owned(), "10.1.0.1".parse().expect("an address"), 24)]);
}

#[test]
fn each_error_names_the_line_and_what_is_right() {
    assert_eq!(error("from = \"a\"", "from = \"c\""), "mine.toml:2: there is no host c: its hosts are a, b");
    assert_eq!(
        error("[\"a:eth0 b:eth0\"]", "[\"a:eth0\"]"),
        "mine.toml:4: a link is two ends, each a host of the scene with a device: \"a:eth0 r1:eth0\""
    );
    assert_eq!(
        error("10.1.0.1/24", "10.1.0.1/33"),
        "mine.toml:6: write an address with the length of its prefix: 10.0.0.1/24"
    );
    assert_eq!(error("break.b", "break.c"), "mine.toml:18: there is no host c to break");
    assert_eq!(
        error("nft -f rules", "nft {ehco} drop"),
        "mine.toml:18: {ehco} stands for nothing; braces that do not hold a word need a blank inside"
    );
    assert_eq!(error("name = \"drop\"", "name = \"healthy\""), "mine.toml:15: there are two cases healthy");
    assert_eq!(
        error("expect = { place = \"b\", layer = \"netfilter\" }", "expect = { place = \"b\" }"),
        "mine.toml:15: a fault has a place and a layer, a healthy case has neither"
    );
    assert_eq!(error("break.b = \"nft -f rules\"\n", ""), "mine.toml:15: it expects a stop and breaks nothing");
    assert_eq!(error("families = [4]", "families = [5]"), "mine.toml:13: families are 4 and 6");
    assert!(error("layer = \"netfilter\"", "layer = \"netfilters\"").starts_with("mine.toml:19: "));
    assert!(error("title = \"b drops\"", "titel = \"b drops\"").starts_with("mine.toml:"));
    assert_eq!(
        error("title = \"b drops\"", "title = \"b drops.\""),
        "mine.toml:16: a title is a few words without a full stop"
    );
    assert_eq!(
        error("title = \"b drops\"", "title = \"b drops\"\nwatches = [\"far\"]"),
        "mine.toml:17: there is no watch far"
    );
    assert_eq!(
        error("title = \"b drops\"", "title = \"b drops\"\ndrops = [\"b:eth0 ingress\"]"),
        "mine.toml:17: a program that drops is a device of a host and xdp, tc-in or tc-out: \"r1:eth0 xdp\""
    );
}

#[test]
fn a_scene_without_watch_or_healthy_case_is_none() {
    assert_eq!(error("[watch.near]\n", ""), "mine.toml: nobody is watched: give it a [watch.NAME], which may be empty");
    let ill = "expect = { place = \"b\", layer = \"path\" }\nbreak.b = \"true\"\n[[case]]\nname = \"drop\"";
    assert_eq!(
        error("[[case]]\nname = \"drop\"", ill),
        "mine.toml: no case is healthy: give it a [[case]] that breaks nothing"
    );
}
