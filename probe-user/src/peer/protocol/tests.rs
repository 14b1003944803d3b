//! Tests that messages survive the trip, and that nothing that comes instead of them does harm.

use std::net::IpAddr;

use probe_ebpf::{Echo, Hop};
use proptest::prelude::*;

use super::{
    frame::{FrameError, Lines, decode, encode},
    *,
};
use crate::{
    model::{
        attach::Attach,
        request::{HostRole, RequestHandling},
        trace::{HopTrace, ProbePassage},
    },
    traffic::{
        batch::{EchoFields, Quoted, What},
        sender::Fragmentation,
    },
};

fn watch() -> WatchRequest {
    WatchRequest {
        nonce: u64::MAX,
        id: 43,
        probes: 10,
        local: [10, 0, 0, 2].into(),
        remote: "fd00::1".parse().expect("an address"),
        interface: Some("eth0".into()),
        role: HostRole::Receiver,
        attach: Attach::default(),
        trace_rules: false,
        everywhere: false,
        requests: RequestHandling::Pass,
        source_given: false,
        further: Vec::new(),
        tunnels: Vec::new(),
        numbered_from: None,
        sent_as: None,
        choosers: Default::default(),
    }
}

/// Builds a batch of the greatest length.
fn packets(count: u16) -> Vec<PacketSpec> {
    let address = || Some(IpAddr::from([u8::MAX; 16]));
    let fields = EchoFields { id: u16::MAX, seq: u16::MAX, code: u8::MAX, size: u16::MAX, nonce: u64::MAX };
    let [source, destination] = [address(), address()].map(|address| address.expect("one"));
    let quoted = Quoted { source, destination, echo: Echo::Request, fields };
    let packet = |number| PacketSpec {
        number,
        after_ms: u32::MAX,
        what: What::Unreachable { code: u8::MAX, quoted },
        source: address(),
        destination,
        ttl: Some(u8::MAX),
        fragmentation: Fragmentation::Forbidden,
    };
    (0..count).map(packet).collect()
}

fn hello() -> Hello {
    Hello::new("b".into(), "6.18.0".into(), None)
}

#[test]
fn requests_and_answers_come_out_as_they_went_in() {
    let order = SendOrder {
        echo: Echo::Reply,
        id: 7,
        first_seq: 1,
        count: 3,
        interval_ms: 50,
        size: 56,
        nonce: 9,
        wait_ms: 100,
    };
    let batch = Request::Batch(packets(1024));
    let between = Request::Watch(WatchRequest { role: HostRole::Router, ..watch() });
    assert_eq!(between.needs(), Offer::LookOn, "an older agent would take it for an end");
    let others = [Request::Absorbed, Request::BatchProgress, batch, Request::Clock, between];
    for message in
        [Request::Watch(watch()), Request::Look, Request::Finish, Request::Send(order)].into_iter().chain(others)
    {
        let numbered = Numbered { number: 3, message };
        let line = encode(&numbered, MAX_REQUEST_BYTES).expect("short");
        assert_eq!(decode(&line), Ok(numbered));
    }
    let step = ProbePassage { first_ns: u64::MAX, detail: -1, ..ProbePassage::default() };
    let watched = HopTrace::Watched { requests: [(9, step)].into(), replies: [].into() };
    let sight = HostTrace { hops: [(Hop::TcIn, watched)].into(), ..HostTrace::default() };
    let numbered = Numbered { number: 4, message: AgentReply::Sight(Box::new(sight)) };
    assert_eq!(decode(&encode(&numbered, MAX_ANSWER_BYTES).expect("short")), Ok(numbered));
}

#[test]
fn a_hop_that_nobody_knows_is_refused_and_shown_harmless() {
    let trace =
        HostTrace { hops: [(Hop::TcIn, HopTrace::Blind { why: String::new() })].into(), ..HostTrace::default() };
    let message = AgentReply::Sight(Box::new(trace));
    let line = encode(&Numbered { number: 4, message }, MAX_ANSWER_BYTES).expect("short");
    let line = String::from_utf8(line).expect("JSON").replace("\"tc_in\"", "\"\\u001b[31m\"");
    let error = decode::<AgentReply>(line.as_bytes()).expect_err("there is no such hop").to_string();
    assert!(!error.contains('\u{1b}') && error.contains("expected the name of a hop"), "{error}");
}

#[test]
fn batches_keep_their_names_on_the_wire() {
    let json = |message: AgentReply| serde_json::to_value(message).expect("plain data");
    let progress = BatchProgress { waiting: 2, ..BatchProgress::default() };
    let expected = serde_json::json!({ "fired": { "shots": [], "waiting": 2, "now_ns": 0 } });
    assert_eq!(json(AgentReply::BatchProgress(progress)), expected);
    let requests = serde_json::to_value([Request::Batch(Vec::new()), Request::BatchProgress]).expect("plain data");
    assert_eq!(requests, serde_json::json!([{ "volley": [] }, "fired"]));
}

#[test]
fn a_hello_is_found_behind_a_banner_without_a_line_end() {
    let line = String::from_utf8(hello().line()).expect("text");
    assert_eq!(Hello::in_line(&format!("Welcome! \u{1b}[0m{line}")), Some(Ok(hello())));
    assert_eq!(Hello::in_line(&format!("{}\r\n", line.trim_end())), Some(Ok(hello())));
    assert_eq!(Hello::in_line("Welcome!"), None);
    assert!(Hello::in_line("{\"probe_hello\":{}}").expect("a hello").is_err());
}

#[test]
fn a_hello_of_another_version_is_told_with_both_numbers() {
    assert_eq!(hello().check(), Ok(()));
    let later = "{\"probe_hello\":{\"protocol\":9,\"abi\":4,\"offers\":[\"fly\"],\"new\":[]}}";
    let mismatch = Hello::in_line(later).expect("a hello").expect("readable").check().expect_err("another version");
    assert_eq!(mismatch.to_string(), format!("the far end uses peer protocol 9, this one {PROTOCOL}"));
    let mismatch = Hello { abi: 0, ..hello() }.check().expect_err("another version");
    assert!(mismatch.to_string().contains(&format!("ABI 0, this one's {ABI_VERSION}")), "{mismatch}");
}

#[test]
fn who_is_in_trouble_offers_nothing() {
    let trouble = Complaint { error: "not root".into(), fix: "sudo".into() };
    let hello = Hello::new("b".into(), "6".into(), Some(trouble));
    assert!(Offer::ALL.iter().all(|offer| !hello.has(*offer)));
}

#[test]
fn a_line_that_never_ends_is_refused_when_it_is_too_long() {
    let mut lines = Lines::new(8);
    lines.push(b"1234567");
    assert_eq!(lines.next_line(), Ok(None));
    lines.push(b"8");
    assert_eq!(lines.next_line(), Err(FrameError::TooLong { limit: 8 }));
    let mut whole = Lines::new(8);
    whole.push(b"1234567\n12345678\n");
    assert_eq!(whole.next_line(), Ok(Some(b"1234567".to_vec())));
    assert!(whole.next_line().is_err());
}

#[test]
fn a_cut_off_message_is_told() {
    let mut lines = Lines::new(100);
    lines.push(b"whole\npart");
    assert_eq!(lines.next_line(), Ok(Some(b"whole".to_vec())));
    assert_eq!((lines.next_line(), lines.finish()), (Ok(None), Err(FrameError::Truncated { bytes: 4 })));
}

#[test]
fn a_message_that_is_too_long_is_not_sent() {
    let numbered = Numbered { number: 1, message: Request::Watch(watch()) };
    assert_eq!(encode(&numbered, 20), Err(FrameError::TooLong { limit: 20 }));
}

#[test]
fn a_complaint_about_garbage_shows_it_without_its_control_characters() {
    let error = decode::<Request>(b"\x1b[2Jrm -rf\x07").expect_err("garbage").to_string();
    assert!(error.contains("[2Jrm -rf") && !error.contains('\u{1b}') && !error.contains("u{1b}"), "{error}");
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000), limit in 1..300_usize) {
        let mut lines = Lines::new(limit);
        for piece in bytes.chunks(7) {
            lines.push(piece);
            while let Ok(Some(line)) = lines.next_line() {
                prop_assert!(line.len() < limit);
                let _ = (decode::<Request>(&line), decode::<AgentReply>(&line));
                let _ = Hello::in_line(&String::from_utf8_lossy(&line));
            }
        }
        let _ = lines.finish();
    }

    #[test]
    fn lines_do_not_depend_on_how_the_bytes_were_cut(
        texts in prop::collection::vec("[a-z{}\":]{0,40}", 0..20), cut in 1..50_usize,
    ) {
        let bytes: Vec<u8> = texts.iter().flat_map(|text| format!("{text}\n").into_bytes()).collect();
        let mut lines = Lines::new(1000);
        let mut found = Vec::new();
        for piece in bytes.chunks(cut) {
            lines.push(piece);
            while let Some(line) = lines.next_line().expect("short lines") {
                found.push(String::from_utf8(line).expect("text"));
            }
        }
        prop_assert_eq!(found, texts);
        prop_assert_eq!(lines.finish(), Ok(()));
    }

    #[test]
    fn every_cut_of_a_message_is_garbage_and_nothing_worse(cut in 0..200_usize) {
        let line = encode(&Numbered { number: 1, message: Request::Watch(watch()) }, MAX_REQUEST_BYTES).expect("short");
        let cut = cut.min(line.len() - 2);
        prop_assert!(decode::<Request>(&line[..cut]).is_err());
    }
}
