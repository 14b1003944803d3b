//! A timeline played at two ends: through the lab's firewall, with the real agent and the real kernel half. Needs root.

use std::{
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use probe_ebpf::Family;
use probe_user::{
    lab::{LabHost, Topology},
    middlebox::timeline::{EchoId, Endpoint, ErrorQuote, Goal, TimedPacket, Timeline, TimelinePacket},
};

use crate::common::played::play;

#[test]
fn an_error_arrives_where_the_firewall_knows_what_it_quotes() {
    if !crate::common::is_root("an_error_arrives_where_the_firewall_knows_what_it_quotes") {
        return;
    }
    let lab = Topology::build().expect("a lab");
    let at = Duration::from_millis;
    let request = TimedPacket::new(at(0), Endpoint::Near, TimelinePacket::Request, EchoId::Fixed(0x5001));
    let related = TimedPacket {
        code: 1,
        destination: Goal::SourceOfArrived(0),
        ..TimedPacket::new(at(150), Endpoint::Far, TimelinePacket::Error(ErrorQuote::Packet(0)), EchoId::OfArrived(0))
    };
    let alien = TimedPacket {
        code: 1,
        ..TimedPacket::new(at(160), Endpoint::Far, TimelinePacket::Error(ErrorQuote::Never), EchoId::Fixed(0x5002))
    };
    let timeline = Timeline { packets: vec![request, related, alien], linger: at(300) };
    for family in [Family::V4, Family::V6] {
        let run = play(&lab, &timeline, family).run;
        let arrived: Vec<usize> = run.deliveries.iter().map(|delivery| delivery.arrived.len()).collect();
        assert_eq!(arrived, [1, 1, 0], "{family:?}: {run:#?}");
        assert_eq!(run.deliveries[1].arrived[0].id, 0x5001);
    }
}

/// `probe experiment WORDS` on A, with the agent on B.
fn experiment(lab: &Topology, words: &[&str]) -> (Option<i32>, String, String) {
    let b = lab.netns(LabHost::B).as_fd().as_raw_fd();
    let program = env!("CARGO_BIN_EXE_probe");
    let agent = format!("nsenter --net=/proc/{}/fd/{b} {program} agent", std::process::id());
    let mut command = lab.netns(LabHost::A).command(program);
    let output = command.arg("experiment").args(words).args(["--peer", &agent]).output().expect("probe starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_verb_answers_the_seeds_question_and_says_where_the_case_stopped() {
    if !crate::common::is_root("the_verb_answers_the_seeds_question_and_says_where_the_case_stopped") {
        return;
    }
    let lab = Topology::build().expect("a lab");
    let b = LabHost::B.address(Family::V4).to_string();
    let (code, text, stderr) = experiment(&lab, &["id-mismatch", &b]);
    println!("{text}{stderr}");
    assert_eq!(code, Some(0), "{text}{stderr}");
    assert!(text.contains("keys its state on"), "{text}");
    let (code, json, stderr) = experiment(&lab, &["normal", &b, "--repeat", "1", "--format", "json"]);
    assert_eq!(code, Some(0), "{json}{stderr}");
    let json: serde_json::Value = serde_json::from_str(&json).expect("one document");
    assert_eq!((&json["schema"], &json["as_expected"]), (&"probe.experiment/1".into(), &true.into()));
    assert_eq!(json["stops"][0]["host"], "network", "{json}");
}
