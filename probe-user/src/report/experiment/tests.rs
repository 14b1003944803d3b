//! What a reader and a script see of an experiment.

use std::collections::BTreeSet;

use probe_ebpf::Hop;

use super::*;
use crate::{
    diagnosis::{
        ledger::{Ledger, LedgerRow},
        path::Station,
    },
    middlebox::{experiment::way::WayPoint, timeline::Endpoint},
    report::{self, Format},
};

const PLACES: [(&str, &str); 4] = [("a", "eth0"), ("fw", "a"), ("fw", "b"), ("b", "eth0")];

/// Returns a line with requests from a to b, or replies back; the counts are in the order of their path.
fn line(leg: Echo, id_name: &str, id: u16, counts: [Option<u16>; 4]) -> Line {
    let from = if leg == Echo::Request { Endpoint::Near } else { Endpoint::Far };
    let mut places = PLACES;
    if from == Endpoint::Far {
        places.reverse();
    }
    let sent = counts.iter().copied().flatten().max().unwrap_or(0);
    let row = |host: &str, station, interface: Option<&str>, count: Option<u16>| {
        let step = WayPoint { host: host.into(), station, interface: interface.map(str::to_owned) };
        let blind = count.is_none().then(|| "not attached".to_owned());
        LedgerRow { step, seen: (0..count.unwrap_or(0)).collect(), proven: BTreeSet::new(), blind }
    };
    let mut rows = vec![row(places[0].0, Station::Send, None, Some(sent))];
    for (place, ((host, interface), count)) in places.into_iter().zip(counts).enumerate() {
        let hop = if place.is_multiple_of(2) { Hop::TcOut } else { Hop::XdpIn };
        rows.push(row(host, Station::Hop(hop), Some(interface), count));
    }
    Line { id_name: id_name.into(), id, leg, from, ledger: Ledger::over(rows, 0..sent), planned: Vec::new() }
}

fn run(family: u8, lines: Vec<Line>) -> Experiment {
    let step = |(from, to): (&str, &str), packet, id_name: &str, count: u16| StepRow {
        number: 1,
        from: from.into(),
        to: to.into(),
        packet,
        id_name: id_name.into(),
        id: 0x1a,
        ids: vec![0x1a],
        count,
        role: StepRole::Control,
        expect: Expect::Arrives,
        sent: count.into(),
        arrived: count.into(),
        votes: vec![StepResult::Arrived],
        disposition: StepResult::Arrived,
        as_expected: true,
    };
    let end = |name: &str| End {
        name: name.into(),
        interface: "eth0".into(),
        address: "10.0.0.1".into(),
        xdp_mode: XdpAttachment::Native,
    };
    Experiment {
        name: "id-mismatch".into(),
        title: "two ids".into(),
        question: None,
        between: Some(Between { family, repetitions: 1, near: end("a"), far: end("b") }),
        steps: vec![step(("a", "b"), "request", "X", 1), step(("b", "a"), "reply", "Y", 5)],
        checkpoints: Vec::new(),
        stops: Vec::new(),
        finding: "The id is part of what the firewall remembers.".into(),
        as_expected: true,
        interrupted: false,
        experiments: None,
        notes: Vec::new(),
        lines,
    }
}

fn request() -> Line {
    line(Echo::Request, "X", 0x1a, [Some(1); 4])
}

fn text(experiments: Vec<Experiment>, style: Style) -> String {
    let mut out = Vec::new();
    let document = Experiment::of_lab(experiments, false, Vec::new());
    report::write(&mut out, &document, Format::Text, &style).expect("memory");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn a_reader_sees_what_was_sent_how_far_it_came_and_what_that_teaches() {
    let runs = [4, 6]
        .map(|family| run(family, vec![request(), line(Echo::Reply, "Y", 0x1b, [Some(5), Some(5), Some(0), Some(0)])]));
    let expected = "\
[ok] id-mismatch: two ids
  a sends 1 request X, then b sends 5 replies Y; b's kernel does not answer.

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
        vec![run(4, vec![request(), line(Echo::Reply, "Y", 0x1b, [Some(5), Some(3), None, Some(0)])])],
        Style { unicode: true, ..Style::plain() },
    );
    assert!(shown.starts_with("✓ id-mismatch"), "{shown}");
    assert!(shown.contains("1 ──────────────▸ 1 ──────────────▸ 1 ──────────────▸ 1"), "{shown}");
    assert!(shown.contains("0 ◂╌╌╌╌╌╌╌╌╌╌╌╌╌╌ ? ◂╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 3 ◂──────✗2────── 5"), "{shown}");
}

#[test]
fn what_only_one_ip_version_shows_is_told_of_that_one() {
    let mut broken = run(6, vec![line(Echo::Request, "X", 0x1a, [Some(1), Some(0), Some(0), Some(0)])]);
    broken.as_expected = false;
    broken.finding = "Not as designed.".into();
    let shown = text(vec![run(4, vec![request()]), broken], Style::plain());
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
        vec![run(4, vec![line(Echo::Request, "X", 0x1a, [Some(1), None, None, Some(0)])])],
        Style { width: 200, ..Style::plain() },
    );
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("; blind in between: fw:a (not attached), fw:b (not attached)."), "{shown}");
}

#[test]
fn no_line_is_longer_than_the_readers_and_colour_takes_no_room() {
    for width in [60, 72, 80, 100, 160] {
        let runs =
            || vec![run(4, vec![request(), line(Echo::Reply, "Y", 0x1b, [Some(12345), Some(5), Some(0), Some(0)])])];
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
fn a_script_reads_the_experiments_of_the_lab_in_the_shape_of_any() {
    let document = Experiment::of_lab(vec![run(6, vec![request()])], false, Vec::new());
    let mut out = Vec::new();
    report::write(&mut out, &document, Format::Json, &Style::plain()).expect("memory");
    let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(json["schema"], "probe.experiment/1");
    assert_eq!(json["as_expected"], true);
    let run = &json["experiments"][0];
    assert_eq!(run["family"], 6);
    assert_eq!((&run["steps"][1]["id_name"], &run["steps"][1]["count"]), (&"Y".into(), &5.into()));
    for field in ["name", "title", "steps", "checkpoints", "stops", "finding", "as_expected", "interrupted"] {
        assert!(json.get(field).is_some() && run.get(field).is_some(), "{field}: {json}");
    }
}

#[test]
fn a_run_that_was_broken_off_is_not_as_expected() {
    assert!(Experiment::of_lab(Vec::new(), false, Vec::new()).as_expected);
    assert!(!Experiment::of_lab(vec![run(4, Vec::new())], true, Vec::new()).as_expected);
}
