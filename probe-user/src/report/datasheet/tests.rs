//! A datasheet as people and machines read it.

use super::*;
use crate::{
    middlebox::datasheet::{Fact, FactValue, compare::compare, fingerprint},
    report::{self, Format},
};

fn count(what: &str, passed: u32, of: u32, void: u32) -> TrialCount {
    TrialCount { what: what.to_owned(), at: None, passed, of, void }
}

fn sheet(timeout: f64) -> Datasheet {
    let certain = Confidence::Certain;
    let counts =
        vec![count("the reply to a request", 3, 3, 0), count("an unsolicited reply before any request", 0, 5, 1)];
    let between = FactValue::Between { low: timeout - 0.1, high: timeout + 0.1 };
    let facts = vec![
        FactFinding::new(Fact::State, FactValue::Yes, certain, counts, None),
        FactFinding::new(Fact::Timeout, between, Confidence::Likely, Vec::new(), None),
        FactFinding::not_tested(Fact::Source, "the far end's interface has no second address"),
    ];
    Datasheet {
        family: 4,
        near: Some([10, 1, 0, 10].into()),
        far: Some([10, 2, 0, 20].into()),
        fingerprint: fingerprint::likenesses(&facts),
        facts,
        control_packets: 80,
        control_packets_lost: 2,
        clock_error_s: 0.001,
        notes: vec!["This looks like two boxes in series.".to_owned()],
    }
}

fn written<D: Document>(document: &D, format: Format) -> String {
    let mut out = Vec::new();
    report::write(&mut out, document, format, &Style::plain()).expect("memory takes all");
    String::from_utf8(out).expect("text")
}

#[test]
fn a_fact_has_its_answer_its_confidence_and_its_counts() {
    let text = written(&sheet(30.0), Format::Text);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "State kept for a ping between 10.1.0.10 (near) and 10.2.0.20 (far), IPv4");
    let state = "+ state                yes, unsolicited replies are stopped";
    assert!(lines[2].starts_with(state) && lines[2].ends_with(" certain") && lines[2].len() == 100, "{text}");
    assert_eq!(
        lines[3],
        "                       3 of 3: the reply to a request; 0 of 5 (1 void): an unsolicited reply before"
    );
    assert!(lines[5].starts_with("~ timeout              30.0 s (\u{b1} 0.10 s)"), "{text}");
    assert!(text.contains("- source               not tested\n"), "{text}");
    assert!(text.contains("the far end's interface has no second address"), "{text}");
    assert!(text.contains("most like            Linux conntrack (2 of 2 facts)"), "{text}");
    assert!(text.contains("loss                 2 of 80 control packets (2.5 %)"), "{text}");
    assert!(text.contains("not certain          2 of 3 facts"), "{text}");
}

#[test]
fn a_datasheet_can_be_read_back() {
    let json = written(&sheet(30.0), Format::Json);
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&value["schema"], &value["facts"][0]["fact"]), (&"probe.datasheet/1".into(), &"state".into()));
    for field in ["fact", "answer", "confidence", "evidence"] {
        assert!(value["facts"][1].get(field).is_some(), "{field}");
    }
    assert_eq!(serde_json::from_str::<Datasheet>(&json).expect("a datasheet"), sheet(30.0));
}

#[test]
fn two_datasheets_stand_beside_each_other() {
    let comparison = compare(("lab.json", &sheet(30.0)), ("cloud.json", &sheet(20.0)));
    let text = written(&comparison, Format::Text);
    assert!(text.contains("= state                yes, unsolicited replies"), "{text}");
    assert!(text.contains("# timeout              first   30.0 s"), "{text}");
    assert!(text.contains("\n                       second  20.0 s"), "{text}");
    assert!(text.ends_with("1 of 3 facts are the same, 1 differ, 1 not known for both.\n"), "{text}");
}
