//! What a reader and a script see of an experiment.

use probe_ebpf::Hop;

use super::*;
use crate::{
    ledger::Ledger,
    path::{Path, Place},
    report::{self, Format},
};

fn line(kind: Leg, id_name: &str, id: u16, counts: [Option<u64>; 4]) -> (Line, Vec<IdStop>) {
    let place =
        |(host, interface): (&str, &str)| Place { host: host.into(), interface: interface.into(), ingress: Hop::XdpIn };
    let places = [("a", "eth0"), ("fw", "a"), ("fw", "b"), ("b", "eth0")].map(place);
    let sight = |count: Option<u64>| count.map_or_else(|| Sight::Blind("not attached".into()), Sight::counted);
    let ledger = Ledger::new(Path::over(kind, &places), counts.map(sight));
    let stops = ledger.stops().into_iter().map(|stop| IdStop { stop, id_name: id_name.into(), id }).collect();
    (Line { kind, id_name: id_name.into(), id, rows: ledger.rows }, stops)
}

fn run(family: Family, lines: Vec<(Line, Vec<IdStop>)>) -> Experiment {
    let step = |host: &str, action, kind, id_name: &str, count| Step {
        host: host.into(),
        action,
        kind,
        id_name: id_name.into(),
        id: 0x1a,
        count,
    };
    let (lines, stops): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
    Experiment {
        name: "id-mismatch".into(),
        title: "two ids".into(),
        family,
        steps: vec![
            step("b", Action::Absorb, Leg::Request, "X", None),
            step("a", Action::Send, Leg::Request, "X", Some(1)),
            step("b", Action::Send, Leg::Reply, "Y", Some(5)),
        ],
        lines,
        stops: stops.into_iter().flatten().collect(),
        finding: "The id is part of what the firewall remembers.".into(),
        as_expected: true,
    }
}

fn request() -> (Line, Vec<IdStop>) {
    line(Leg::Request, "X", 0x1a, [Some(1); 4])
}

fn text(experiments: Vec<Experiment>, style: Style) -> String {
    let as_expected = experiments.iter().all(|run| run.as_expected);
    let document = Experiments { experiments, as_expected, notes: Vec::new() };
    let mut out = Vec::new();
    report::write(&mut out, &document, Format::Text, &style).expect("memory");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn a_reader_sees_what_was_sent_how_far_it_came_and_what_that_teaches() {
    let runs = [Family::V4, Family::V6]
        .map(|family| run(family, vec![request(), line(Leg::Reply, "Y", 0x1b, [Some(5), Some(5), Some(0), Some(0)])]));
    let expected = "\
[ok] id-mismatch: two ids
  a sends 1 request X, then b sends 5 replies Y; b's kernel is kept from answering.

                          a:eth0             fw:a              fw:b             b:eth0
  IPv4  request X 0x001a     1 --------------> 1 --------------> 1 --------------> 1
        reply   Y 0x001b     0                 0        x------- 5 <-------------- 5
  IPv6  request X 0x001a     1 --------------> 1 --------------> 1 --------------> 1
        reply   Y 0x001b     0                 0        x------- 5 <-------------- 5

  5 replies Y stopped inside fw: fw:b (xdp_in) counted them, fw:a (tc_out) did not.
  The id is part of what the firewall remembers.

2 of 2 runs came out as designed.
";
    let shown = text(runs.into(), Style::plain());
    assert_eq!(shown, expected, "\n{shown}");
}

#[test]
fn with_unicode_the_lines_are_lines() {
    let shown = text(
        vec![run(Family::V4, vec![request(), line(Leg::Reply, "Y", 0x1b, [Some(5), Some(3), None, Some(0)])])],
        Style { unicode: true, ..Style::plain() },
    );
    assert!(shown.starts_with("✓ id-mismatch"), "{shown}");
    assert!(shown.contains("1 ──────────────▸ 1 ──────────────▸ 1 ──────────────▸ 1"), "{shown}");
    assert!(shown.contains("0 ◂╌╌╌╌╌╌╌╌╌╌╌╌╌╌ ? ◂╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 3 ◂──────✗2────── 5"), "{shown}");
}

#[test]
fn what_only_one_ip_version_shows_is_told_of_that_one() {
    let mut broken = run(Family::V6, vec![line(Leg::Request, "X", 0x1a, [Some(1), Some(0), Some(0), Some(0)])]);
    broken.as_expected = false;
    broken.finding = "Not as designed.".into();
    let shown = text(vec![run(Family::V4, vec![request()]), broken], Style::plain());
    assert!(shown.starts_with("[!!] id-mismatch"), "{shown}");
    for sentence in [
        "IPv4: Nothing stopped.",
        "IPv6: 1 request X stopped between a and fw: a:eth0 (tc_out) counted it, fw:a (xdp_in) did not.",
        "IPv4: The id is part of what the firewall remembers.",
        "IPv6: Not as designed.",
        "1 of 2 runs came out as designed.",
    ] {
        assert!(shown.contains(sentence), "{sentence}\n{shown}");
    }
}

#[test]
fn a_stop_across_something_blind_says_so() {
    let shown = text(
        vec![run(Family::V4, vec![line(Leg::Request, "X", 0x1a, [Some(1), None, None, Some(0)])])],
        Style { width: 200, ..Style::plain() },
    );
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("; blind in between: fw:a (not attached), fw:b (not attached)."), "{shown}");
}

#[test]
fn no_line_is_longer_than_the_readers_and_colour_takes_no_room() {
    for width in [60, 72, 80, 100, 160] {
        let runs = || {
            vec![run(
                Family::V4,
                vec![request(), line(Leg::Reply, "Y", 0x1b, [Some(12345), Some(5), Some(0), Some(0)])],
            )]
        };
        let plain = text(runs(), Style { width, ..Style::plain() });
        assert!(plain.lines().all(|line| line.chars().count() <= width.max(64)), "{width}\n{plain}");
        let coloured = text(runs(), Style { width, colour: true, ..Style::plain() });
        let mut bare = coloured.clone();
        while let Some(start) = bare.find('\x1b') {
            let end = start + bare[start..].find('m').expect("a colour ends");
            bare.replace_range(start..=end, "");
        }
        assert!(coloured.contains("\x1b[31m"), "the stop is marked");
        assert_eq!(bare, plain);
    }
}

#[test]
fn a_script_reads_every_checkpoint_with_its_state() {
    let (with_blind, stops) = line(Leg::Reply, "Y", 0x1b, [Some(5), Some(5), Some(0), None]);
    let document =
        Experiments { experiments: vec![run(Family::V6, vec![(with_blind, stops)])], as_expected: true, notes: vec![] };
    let mut out = Vec::new();
    report::write(&mut out, &document, Format::Json, &Style::plain()).expect("memory");
    let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(json["schema"], "probe.experiment/1");
    assert_eq!(json["as_expected"], true);
    let run = &json["experiments"][0];
    assert_eq!(run["family"], 6);
    assert_eq!(
        run["steps"][1],
        serde_json::json!({"host": "a", "action": "send", "kind": "request", "id_name": "X", "id": 26, "count": 1})
    );
    let checkpoint = |host, hop, interface, state, packets: Option<u64>| {
        serde_json::json!({
            "host": host, "hop": hop, "interface": interface, "kind": "reply", "id": 27,
            "state": state, "packets": packets,
        })
    };
    let mut last = checkpoint("a", "xdp_in", "eth0", "blind", None);
    last["why"] = "not attached".into();
    assert_eq!(
        run["checkpoints"],
        serde_json::json!([
            checkpoint("b", "tc_out", "eth0", "seen", Some(5)),
            checkpoint("fw", "xdp_in", "b", "seen", Some(5)),
            checkpoint("fw", "tc_out", "a", "missing", Some(0)),
            last,
        ])
    );
    assert_eq!(run["stops"][0]["host"], "fw");
    assert_eq!((&run["stops"][0]["id"], &run["stops"][0]["leg"]), (&27.into(), &"reply".into()));
}
