//! The comparison: what is held, what is not, and how a document is read.

use serde_json::json;

use super::*;

fn got(outcome: Outcome, place: Option<(Echo, Side, Layer)>) -> Got {
    Got {
        outcome,
        leg: place.map(|place| place.0),
        host: place.map(|place| place.1),
        place: None,
        layer: place.map(|place| place.2),
        reason: None,
        function: None,
        hook: None,
        chain: None,
        confidence: Confidence::Certain,
        seconds: 0.5,
        document: serde_json::Value::Null,
        ping: None,
    }
}

const INPUT: ExpectedDiagnosis = ExpectedDiagnosis::in_chain("input", "input").reason(&["NETFILTER_DROP"]);

fn input(change: impl FnOnce(&mut Got)) -> Vec<String> {
    let mut got = got(Outcome::Stopped, Some((Echo::Request, Side::Peer, Layer::Netfilter)));
    got.reason = Some("NETFILTER_DROP".into());
    got.hook = Some("input".into());
    got.chain = Some("input".into());
    change(&mut got);
    INPUT.differences(Echo::Request, Some(Side::Peer), &got)
}

#[test]
fn a_right_diagnosis_has_no_difference() {
    assert_eq!(input(|_| ()), [""; 0]);
}

#[test]
fn each_field_is_held() {
    assert_eq!(input(|got| got.outcome = Outcome::Lossy), ["outcome is lossy, not stopped"]);
    assert_eq!(input(|got| got.leg = Some(Echo::Reply)), ["leg is reply, not request"]);
    assert_eq!(input(|got| got.host = Some(Side::Network)), ["host is network, not peer"]);
    assert_eq!(input(|got| got.layer = None), ["layer is missing, not netfilter"]);
    assert_eq!(input(|got| got.reason = None), ["reason is missing, not NETFILTER_DROP"]);
    assert_eq!(input(|got| got.hook = Some("output".into())), ["hook is output, not input"]);
    assert_eq!(input(|got| got.chain = Some("x".into())), ["chain is x, not input"]);
    assert_eq!(input(|got| got.confidence = Confidence::Likely), ["confidence is likely, not certain"]);
}

#[test]
fn what_kernels_name_differently_is_not_held() {
    assert_eq!(input(|got| got.function = Some("anything".into())), [""; 0]);
}

#[test]
fn any_of_several_right_answers_is_right() {
    let expected = ExpectedDiagnosis {
        sides: &[Side::Network, Side::Peer],
        ..ExpectedDiagnosis::stopped(&[Layer::Path, Layer::Driver])
    };
    let differences = |side, layer| {
        let got = got(Outcome::Stopped, Some((Echo::Request, side, layer)));
        expected.differences(Echo::Request, Some(Side::Network), &got)
    };
    assert_eq!(differences(Side::Peer, Layer::Driver), [""; 0]);
    assert_eq!(differences(Side::Local, Layer::Driver), ["host is local, not network or peer"]);
}

#[test]
fn a_stop_on_a_healthy_path_is_wrong_whatever_the_outcome() {
    let healthy = |got: &Got| ExpectedDiagnosis::DELIVERED.differences(Echo::Request, None, got);
    assert_eq!(healthy(&got(Outcome::Delivered, None)), [""; 0]);
    let accused = got(Outcome::Delivered, Some((Echo::Reply, Side::Peer, Layer::Socket)));
    assert_eq!(healthy(&accused), ["a stop is reported where there is none (reply peer socket)"]);
}

#[test]
fn a_document_of_the_contract_is_read() {
    let document = json!({
        "schema": "probe.diagnosis/1",
        "verdict": {"outcome": "stopped", "confidence": "certain", "sentence": "…"},
        "stops": [{"leg": "request", "host": "peer", "layer": "netfilter", "packets": 10,
                   "cause": {"reason": "NETFILTER_DROP", "function": "nft_do_chain",
                             "netfilter": {"family": "inet", "hook": "input", "table": "filter", "chain": "input"}}}],
    });
    let got = Got::from_document(&document, 0.4).expect("a diagnosis");
    assert_eq!(INPUT.differences(Echo::Request, Some(Side::Peer), &got), [""; 0]);
    assert_eq!((got.function.as_deref(), got.seconds), (Some("nft_do_chain"), 0.4));
}

#[test]
fn a_healthy_document_has_no_stop_and_an_error_is_told() {
    let verdict = json!({"outcome": "delivered", "confidence": "certain"});
    let document = json!({"schema": "probe.diagnosis/1", "verdict": verdict, "stops": []});
    assert!(Got::from_document(&document, 0.0).is_ok_and(|got| !got.has_stop()));
    let error = json!({"schema": "probe.error/1", "error": "no such peer", "fix": "x"});
    assert_eq!(Got::from_document(&error, 0.0), Err("no such peer".into()));
    let unknown = json!({"schema": "probe.diagnosis/1", "verdict": {"outcome": "lost"}});
    assert!(Got::from_document(&unknown, 0.0).is_err_and(|why| why.contains("wrong outcome")));
}
