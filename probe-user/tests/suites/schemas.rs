//! Every document that probe prints fits the schema that `probe schema` prints for it.

use probe_ebpf::Echo;
use std::{collections::BTreeMap, fs, path::Path, process::Command};

use probe_ebpf::Hop;
use probe_user::{
    diagnosis::{
        document as diagnosis,
        document::{Confidence, HopStatus, Stop},
        path::{Checkpoint, Side, Station},
        places::{DropPoint, Whose},
    },
    middlebox::experiment::{
        Expect, StepRole,
        outcome::StepResult,
        way::{BlindPoint, WayPoint, WayStop},
    },
    model::attach::XdpAttachment,
    report::{
        self, Document, Format, Style,
        echo::{Checksum, EchoSeen},
        experiment::{Between, Counted, End, Experiment, StepRow, StepStop},
        filters::{FilterRow, Filters, MatchReport, Range, SelectionReport},
        lab::{HostReport, LabInterface, LabProcess, LabResult, LabState},
        observation::{IdRow, Observation, Rtt, SideCounts},
        schema::{KNOWN, named},
        sent::{Back, Failed, IdChoice, Sent, SentKind, SentTarget, SeqSpan, SocketKind},
    },
};
use serde_json::{Value, json};

use crate::common::validator;

fn printed<D: Document>(document: &D) -> Value {
    let mut out = Vec::new();
    report::write(&mut out, document, Format::Json, &Style::plain()).expect("memory takes all");
    serde_json::from_slice(&out).expect("JSON")
}

#[track_caller]
fn assert_fits(value: &Value) {
    let name = value["schema"].as_str().expect("every document names its schema");
    let known = named(name).unwrap_or_else(|| panic!("no schema for {name}"));
    let faults = validator::faults(&(known.schema)(), value);
    assert!(faults.is_empty(), "{name}: {}", faults.join("\n"));
}

fn run(args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_probe")).args(args).output().expect("probe runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_else(|| panic!("{args:?} printed nothing"));
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{args:?}: {error}: {line}"))
}

#[test]
fn what_the_binary_prints_fits() {
    for args in [
        &["doctor", "--format", "json"][..],
        &["schema", "--list", "--format", "json"],
        &["schema", "nonsense", "--format", "json"],
        &["observe", "--nonsense", "--format", "json"],
        &["send", "request", "192.0.2.1", "-c", "1", "-I", "no-such-device", "--format", "json"],
    ] {
        assert_fits(&run(args));
    }
}

#[test]
fn probe_schema_prints_what_the_library_has() {
    for known in KNOWN {
        let schema = run(&["schema", known.name, "--format", "json"]);
        assert_eq!(schema, (known.schema)());
        assert_eq!(schema["properties"]["schema"]["const"], known.name);
    }
}

#[test]
fn every_document_of_the_sources_has_a_schema() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut found = std::collections::BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("a file");
            for name in text.split("const SCHEMA: &'static str = \"").skip(1).filter_map(|rest| rest.split('"').next())
            {
                assert!(named(name).is_some(), "{}: {name} is not in report/schema.rs", path.display());
                found.insert(name.to_owned());
            }
        }
    }
    assert_eq!(found.len(), KNOWN.len());
}

#[test]
fn a_document_that_does_not_fit_is_noticed() {
    let schema = (named("error").expect("it is known").schema)();
    let faults = |value: &Value| validator::faults(&schema, value).len();
    assert_eq!(faults(&json!({ "schema": "probe.error/1", "error": "a", "fix": "b" })), 0);
    assert_eq!(faults(&json!({ "schema": "probe.error/2", "error": "a", "fix": "b" })), 1);
    assert_eq!(faults(&json!({ "schema": "probe.error/1", "error": 1, "fix": "b" })), 1);
    assert_eq!(faults(&json!({ "schema": "probe.error/1", "error": "a", "more": "b" })), 2);
}

#[test]
fn an_echo_packet_fits() {
    assert_fits(&printed(&EchoSeen {
        time_ns: 1,
        interface: "eth0".into(),
        kind: "reply",
        icmp_type: 0,
        code: 0,
        id: 1,
        seq: 2,
        source: "10.0.0.1".parse().expect("an address"),
        destination: "fd00::1".parse().expect("an address"),
        ttl: 64,
        payload_bytes: 56,
        checksum: Checksum::Unknown,
        absorbed: true,
    }));
}

#[test]
fn what_was_sent_fits() {
    assert_fits(&printed(&Sent {
        kind: SentKind::Request,
        target: SentTarget { name: "b".into(), address: None },
        id: 43,
        id_chosen_by: IdChoice::Kernel,
        seq: Some(SeqSpan { first: 1, last: 5, step: 1 }),
        payload_bytes: 56,
        asked: 5,
        sent: 4,
        failed: vec![Failed { errno: "EPERM".into(), cause: "a rule".into(), look: "nft".into(), count: 1 }],
        returned: vec![Back { from: "10.0.0.1".into(), icmp_type: 3, code: 1, meaning: "no".into(), count: 1 }],
        socket: SocketKind::Ping,
        interrupted: false,
    }));
}

#[test]
fn filters_and_labs_fit() {
    let row = FilterRow {
        number: 1,
        interface: "eth0".into(),
        direction: probe_ebpf::Direction::In,
        position: 1,
        hook: probe_user::model::attach::FilterSite::Xdp,
        xdp_mode: "native",
        matches: MatchReport {
            types: "both",
            id_first: 1,
            id_last: 2,
            family: None,
            seq: Some(Range { first: 1, last: 9 }),
            payload_bytes: None,
            source: Some("10.0.0.0/8".into()),
            destination: None,
            inner: true,
        },
        action: probe_user::model::attach::FilterEffect::Drop,
        which: SelectionReport::of(probe_user::filter::rules::RuleAction::Every(3)),
        hits: 15,
        would_drop: 5,
        dropped: 5,
        dropped_bytes: 420,
        last_hit_s_ago: None,
        expires_in_s: Some(1),
        until_exit: false,
        added_by_uid: 0,
        added_unix_s: 1,
    };
    assert_fits(&printed(&Filters { filters: vec![row], ..Filters::default() }));
    let interface = LabInterface { interface: "eth0", addresses: vec!["10.0.0.1".parse().expect("an address")] };
    assert_fits(&printed(&LabState {
        result: LabResult::AlreadyUp,
        hosts: vec![HostReport { host: "a", namespace: "probe-a", interfaces: vec![interface] }],
        still_running: vec![LabProcess { host: "b", pid: 7, name: "sleep".into() }],
    }));
}

#[test]
fn an_observation_fits() {
    let side = SideCounts { requests: 1, replies: 2, bytes: 3 };
    let id = IdRow {
        id: 1,
        family: 6,
        peer: None,
        pairs: Some(1),
        entered: side,
        left: side,
        dropped: 0,
        lost: None,
        rtt_ns: Some(Rtt { p50: 1, p99: 2 }),
    };
    assert_fits(&printed(&Observation {
        interface: "eth0".into(),
        xdp_mode: XdpAttachment::Native,
        counted_at: "xdp_in",
        seconds: 1.5,
        ids: vec![id],
        skipped: BTreeMap::from([("not_ip", 4)]),
        room: None,
    }));
}

/// Returns a stop on the network.
fn network_stop() -> Stop {
    let checkpoint = |host, hop| Checkpoint { host, station: Station::Hop(hop) };
    Stop {
        leg: Echo::Request,
        host: diagnosis::StopHost::Network,
        whose: Whose::Network,
        place_name: None,
        layer: diagnosis::Layer::Path,
        place: DropPoint::Network,
        seen_leg: Echo::Request,
        missing_leg: Echo::Request,
        packets: 5,
        last_seen: checkpoint(Side::Local, Hop::Xmit),
        first_missing: checkpoint(Side::Peer, Hop::XdpIn),
        cause: diagnosis::Cause::default(),
        witnesses: vec![diagnosis::Witness::Counters],
        confidence: Confidence::Certain,
        candidates: Vec::new(),
        blind: Vec::new(),
        drop_events: 0,
        told: None,
        meaning: "m".into(),
        advice: "a".into(),
        commands: Vec::new(),
        carried: None,
    }
}

#[test]
fn an_experiment_fits() {
    let end = |name: &str| End {
        name: name.into(),
        interface: "eth0".into(),
        address: "10.0.0.1".into(),
        xdp_mode: XdpAttachment::Native,
    };
    let step = StepRow {
        number: 1,
        from: "a".into(),
        to: "b".into(),
        packet: "request",
        id_name: "X".into(),
        id: 7,
        ids: vec![7],
        count: 5,
        role: StepRole::Case,
        expect: Expect::Arrives,
        sent: 5,
        arrived: 0,
        votes: vec![StepResult::Stopped],
        disposition: StepResult::Stopped,
        as_expected: false,
    };
    let counted = |hop, state, packets, why: Option<&str>| Counted {
        step: None,
        host: "fw".into(),
        hop,
        interface: Some("a".into()),
        kind: Echo::Request,
        id_name: "X".into(),
        id: 7,
        state,
        packets,
        why: why.map(str::to_owned),
    };
    let point =
        |host: &str, hop| WayPoint { host: host.into(), station: Station::Hop(hop), interface: Some("eth0".into()) };
    let way_stop = WayStop {
        host: "network".into(),
        packets: 5,
        last_seen: point("a", Hop::TcOut),
        first_missing: point("b", Hop::XdpIn),
        confidence: Confidence::Likely,
        blind: vec![BlindPoint { point: point("fw", Hop::XdpIn), why: "no XDP".into() }],
    };
    let own = Experiment {
        name: "normal".into(),
        title: "a ping".into(),
        question: Some("why?".into()),
        between: Some(Between { family: 4, repetitions: 1, near: end("a"), far: end("b") }),
        steps: vec![step],
        checkpoints: vec![
            counted("xdp_in", HopStatus::Seen, Some(5), None),
            Counted { step: Some(1), interface: None, ..counted("tc_in", HopStatus::Missing, Some(0), None) },
            counted("tc_out", HopStatus::Blind, None, Some("taken")),
        ],
        stops: vec![StepStop {
            step: 1,
            sender: "a".into(),
            stop: network_stop(),
            on_the_way: vec![way_stop],
            sentence: "they stop".into(),
        }],
        finding: "it stops".into(),
        as_expected: false,
        interrupted: false,
        experiments: None,
        notes: Vec::new(),
        lines: Vec::new(),
    };
    assert_fits(&printed(&own));
    let of_lab = printed(&Experiment::of_lab(vec![own], true, vec!["a note".into()]));
    assert_eq!(of_lab["experiments"][0]["stops"][0]["on_the_way"][0]["packets"], 5);
    assert_fits(&of_lab);
    let schema = (named("experiment").expect("it is known").schema)();
    assert!(schema.get("anyOf").is_none() && schema.get("oneOf").is_none(), "one shape: {schema}");
}
