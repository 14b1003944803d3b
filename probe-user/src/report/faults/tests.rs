//! The report against its text and its JSON.

use super::*;
use crate::report::{self, Format};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn wanted(layer: &[&str]) -> ExpectedVerdict {
    let stopped = !layer.is_empty();
    ExpectedVerdict {
        outcome: words(&[if stopped { "stopped" } else { "delivered" }]),
        leg: words(if stopped { &["request"] } else { &[] }),
        host: words(if stopped { &["peer"] } else { &[] }),
        place: Vec::new(),
        layer: words(layer),
        reason: Vec::new(),
        hook: Vec::new(),
        chain: Vec::new(),
        confidence: "likely".into(),
    }
}

fn diagnosed(outcome: &str, layer: Option<&str>) -> DiagnosisSummary {
    DiagnosisSummary {
        outcome: outcome.into(),
        leg: layer.map(|_| "request".into()),
        host: layer.map(|_| "peer".into()),
        place: None,
        layer: layer.map(Into::into),
        reason: layer.map(|_| "NETFILTER_DROP".into()),
        function: None,
        hook: None,
        chain: None,
        confidence: "certain".into(),
    }
}

fn case(name: &str, expected: ExpectedVerdict, got: DiagnosisSummary, wrong: &[&str]) -> FaultCase {
    FaultCase {
        name: name.into(),
        family: 4,
        place: if expected.layer.is_empty() { "nothing" } else { "receiver" },
        leg: (!expected.layer.is_empty()).then_some("request"),
        title: "what it is".into(),
        false_stop: expected.layer.is_empty() && got.layer.is_some(),
        expected,
        got: Some(got),
        located: wrong.is_empty(),
        first_try: Vec::new(),
        diagnosis: (!wrong.is_empty()).then(|| serde_json::json!({"verdict": {"sentence": "They stop there."}})),
        wrong: words(wrong),
        ping: None,
        seconds: 0.5,
    }
}

fn run() -> FaultsReport {
    let cases = vec![
        case("healthy", wanted(&[]), diagnosed("delivered", None), &[]),
        case("peer-nft-input", wanted(&["netfilter"]), diagnosed("stopped", Some("netfilter")), &[]),
        case("peer-tc", wanted(&["tc"]), diagnosed("stopped", Some("xdp")), &["layer is xdp, not tc"]),
    ];
    let left_out = vec![LeftOut { name: "iptables".into(), family: 6, why: "it is not installed".into() }];
    let summary = summary(&cases);
    FaultsReport {
        cases,
        summary,
        located: 2,
        total: 3,
        false_stops: 0,
        left_out,
        unreached: 4,
        seconds: 1.6,
        ..FaultsReport::default()
    }
}

fn written(format: Format) -> String {
    let mut out = Vec::new();
    report::write(&mut out, &run(), format, &Style::plain()).expect("memory");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn people_get_a_line_a_case_and_the_score() {
    let expected = "\
+ healthy         IPv4   0.50 s  delivered
+ peer-nft-input  IPv4   0.50 s  stopped: request peer netfilter (NETFILTER_DROP)
x peer-tc         IPv4   0.50 s  stopped: request peer xdp (NETFILTER_DROP)
    what it is
    expected  stopped: request peer tc
    wrong     layer is xdp, not tc
    said      They stop there.
- iptables        IPv6  not tried: it is not installed

where                           IPv4  IPv6
the peer, requests coming in  1 of 2
healthy paths                 1 of 1

Located 1 of 2 faults; 1 of 1 healthy paths judged right, 0 false stops; 1 case was not tried; 2 s.
Interrupted: 4 cases were not tried.
";
    assert_eq!(written(Format::Text), expected);
}

#[test]
fn the_summary_has_what_is_wrong_and_the_table() {
    let text = {
        let mut out = Vec::new();
        let run = FaultsReport { detail: FaultsDetail::Summary, ..run() };
        report::write(&mut out, &run, Format::Text, &Style::plain()).expect("memory");
        String::from_utf8(out).expect("UTF-8")
    };
    assert!(text.starts_with("x peer-tc") && text.contains("the peer, requests coming in  1 of 2"), "{text}");
    assert!(!text.contains("peer-nft-input"), "{text}");
}

#[test]
fn machines_get_what_the_contract_says() {
    let json: serde_json::Value = serde_json::from_str(&written(Format::Json)).expect("JSON");
    assert_eq!((&json["schema"], &json["located"]), (&"probe.faults/1".into(), &2.into()));
    assert_eq!((&json["total"], &json["false_stops"]), (&3.into(), &0.into()));
    let case = &json["cases"][2];
    assert_eq!((&case["name"], &case["family"], &case["located"]), (&"peer-tc".into(), &4.into(), &false.into()));
    assert_eq!((&case["expected"]["layer"][0], &case["got"]["layer"]), (&"tc".into(), &"xdp".into()));
    assert!(case["seconds"].is_f64());
}

#[test]
fn a_second_try_is_told() {
    let mut run = run();
    run.cases[1].first_try = words(&["layer is icmp, not netfilter"]);
    assert!(run.score().starts_with("Located 1 of 2 faults (1 on a second attempt);"), "{}", run.score());
}

#[test]
fn one_false_stop_is_enough_to_fail() {
    let mut run = run();
    run.cases.pop();
    run.total = 2;
    assert!(run.is_clean());
    run.false_stops = 1;
    assert!(!run.is_clean() && run.score().contains("1 false stop;"));
}
