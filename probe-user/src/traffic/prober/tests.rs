//! Tests of how a run accounts for its probes, on plain data.

use super::*;

fn sent(probe: u16, errno: Option<&str>) -> SentProbe {
    SentProbe { probe, id: 1, seq: probe, sent_ns: 1, errno: errno.map(str::to_owned) }
}

fn error(probe: u16, icmp_type: u8) -> IcmpError {
    IcmpError { probe, from: [10, 0, 0, 1].into(), icmp_type, code: 0, next_mtu: None }
}

#[test]
fn a_probe_is_known_once_refused_answered_or_turned_back() {
    let mut sending = SenderTrace::default();
    assert!(fate_known(&sending, &sent(0, Some("EPERM"))));
    assert!(!fate_known(&sending, &sent(1, None)));
    sending.errors = vec![error(1, 11), error(2, 5)];
    assert!(fate_known(&sending, &sent(1, None)));
    assert!(!fate_known(&sending, &sent(2, None)), "a redirect is no end");
    let reply = Received {
        time_ns: 2,
        from: [10, 0, 0, 2].into(),
        id: 1,
        ttl: 64,
        times: 1,
        altered: None,
        bad_checksum: false,
    };
    sending.received.insert(2, reply);
    assert!(fate_known(&sending, &sent(2, None)));
}

#[test]
fn with_a_deadline_errors_count_and_the_first_ends_the_run() {
    let plan = ProbePlan { enough: Some(3), ..ProbePlan::new("10.0.0.2:0".parse().expect("an address"), 1, 2) };
    let with = |errors: Vec<IcmpError>| SenderTrace { errors, ..SenderTrace::default() };
    assert!(plan.goes_on(&with(vec![error(0, 3), error(1, 3)])));
    assert!(!plan.goes_on(&with(vec![error(0, 3), error(1, 3), error(2, 3)])));
    let deadline = ProbePlan { until_error: true, ..plan };
    assert!(deadline.goes_on(&with(vec![error(0, 5)])), "a redirect is no error");
    assert!(!deadline.goes_on(&with(vec![error(0, 3)])));
    let refused = |errno| SenderTrace { probes: vec![sent(0, Some(errno))], ..SenderTrace::default() };
    assert!(deadline.goes_on(&refused("EPERM")), "ping tries again");
    assert!(!deadline.goes_on(&refused("EMSGSIZE")));
}

#[test]
fn type_4_is_an_end_in_ipv6_only() {
    let from_v6 = IcmpError { from: [0xfd77, 0, 0, 0, 0, 0, 0, 1_u16].into(), ..error(0, 4) };
    let known = |error| fate_known(&SenderTrace { errors: vec![error], ..SenderTrace::default() }, &sent(0, None));
    assert!(known(from_v6));
    assert!(!known(error(0, 4)));
}

#[test]
fn the_payload_starts_with_the_mark_and_counts_on() {
    let bytes = payload(0x0102, 0x1112_1314_1516_1718, 20);
    assert_eq!(bytes[..8], *b"prob\x01\x02\0\0");
    assert_eq!(bytes[8..], [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 16, 17, 18, 19]);
    assert_eq!(payload(1, 2, 0).len(), 16);
}

#[test]
fn a_run_without_room_for_marks_or_without_probes_is_refused() {
    let plan = || ProbePlan::new("10.0.0.2:0".parse().expect("an address"), 1, 2);
    assert!(mark::check(&plan()).is_ok());
    assert!(mark::check(&ProbePlan { size: 15, ..plan() }).is_err());
    assert!(mark::check(&ProbePlan { count: 0, ..plan() }).is_err());
    assert!(mark::check(&ProbePlan { count: 1025, ..plan() }).is_err());
}

#[test]
fn a_payload_without_room_for_a_mark_has_its_size_and_a_pattern_fills_what_is_left() {
    let counting: Vec<u8> = (0..15).collect();
    assert_eq!(mark::bytes(1, 2, 15, None), counting);
    assert!(mark::bytes(1, 2, 0, None).is_empty());
    assert_eq!(mark::bytes(1, 2, 56, None), payload(1, 2, 56));
    let pattern = Pattern::new(vec![0xff, 0x00, 0xaa]).expect("three bytes");
    let filled = mark::bytes(1, 2, 20, Some(&pattern));
    assert_eq!((&filled[..16], &filled[16..]), (&payload(1, 2, 16)[..], &[0x00, 0xaa, 0xff, 0x00][..]));
    assert_eq!(mark::bytes(1, 2, 4, Some(&pattern)), [0xff, 0x00, 0xaa, 0xff]);
    assert_eq!((Pattern::new(Vec::new()), Pattern::new(vec![0; 17])), (None, None));
}

#[test]
fn the_first_difference_of_a_payload_is_told() {
    use crate::model::trace::PayloadChange::{Byte, Length};
    assert_eq!(mark::difference(b"abc", b"abc"), None);
    assert_eq!(mark::difference(b"abc", b"aXX"), Some(Byte { at: 1, sent: b'b', seen: b'X' }));
    assert_eq!(mark::difference(b"abc", b"ab"), Some(Length { sent: 3, seen: 2 }));
}
