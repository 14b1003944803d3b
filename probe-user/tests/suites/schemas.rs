//! Every document that probe prints fits the schema that `probe schema` prints for it.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use probe_ebpf::{Family, Hop};
use probe_user::{
    ledger::{Ledger, Sight},
    path::{Leg, Place},
    report::{
        self, Document, Format, Style,
        echo::{Checksum, EchoSeen},
        experiment::{Action, Experiment, Experiments, IdStop, Line, Step},
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
        direction: "in",
        position: 1,
        hook: "xdp",
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
        },
        action: "drop",
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
        xdp_mode: "native",
        counted_at: "xdp_in",
        seconds: 1.5,
        ids: vec![id],
        skipped: BTreeMap::from([("not_ip", 4)]),
        room: None,
    }));
}

#[test]
fn an_experiment_fits() {
    let place = |host: &str| Place { host: host.into(), interface: "eth0".into(), ingress: Hop::XdpIn };
    let path = probe_user::path::Path::over(Leg::Request, &[place("a"), place("b"), place("c"), place("d")]);
    let sights = [Sight::Seen(5), Sight::Blind("no XDP".into()), Sight::Missing, Sight::Missing];
    let ledger = Ledger::new(path.from_send(), sights);
    let stops = ledger.stops().into_iter().map(|stop| IdStop { stop, id_name: "X".into(), id: 7 }).collect();
    let step =
        Step { host: "a".into(), action: Action::Send, kind: Leg::Request, id_name: "X".into(), id: 7, count: Some(5) };
    let experiment = Experiment {
        name: "normal".into(),
        title: "a ping".into(),
        family: Family::V4,
        steps: vec![step],
        lines: vec![Line { kind: Leg::Request, id_name: "X".into(), id: 7, rows: ledger.rows.clone() }],
        stops,
        finding: "it stops".into(),
        as_expected: false,
    };
    let document = Experiments { experiments: vec![experiment], as_expected: false, notes: vec!["a note".into()] };
    assert!(!document.experiments[0].stops.is_empty());
    assert_fits(&printed(&document));
}
