//! What becomes of a run's requests where they enter: replies made of them by XDP, byte for byte, and requests that are
//! absorbed and told; and everything else, which stays as it is.

use aya::{
    Ebpf, TestRun,
    programs::{Program, TestRunOptions},
};
use bytemuck::Zeroable;
use probe_ebpf::{
    Hop, Kind, Offsets, Skip,
    contract::{drops::DropConfig, hop::NIC_HOPS, journey::MAX_PROBES},
    packet::LinkLayer,
};
use probe_user::{
    ebpf::{
        absorbed::AbsorbedRing,
        hops,
        load::{self, Job, Journey, Switch},
        tallies::SkipMap,
    },
    host::device::AttachMode,
    model::{request::RequestHandling, trace::Absorbed},
    traffic::{
        EchoMessage, Frame,
        frame::{CUSTOMER_TAG, Rest, SERVICE_TAG},
        prober::payload,
    },
};

use super::{
    ready::ready,
    samples::{A, A6, B, B6, REPLY, REPLY6, REQUEST, REQUEST6, others, skipped},
};

const NONCE: u64 = 0x0102_0304_0506_0708;

/// `enum xdp_action`, and `TCX_NEXT` and `TC_ACT_SHOT`.
const XDP: Actions = Actions { pass: 2, drop: 1, tx: 3 };
const TC: Actions = Actions { pass: u32::MAX, drop: 2, tx: u32::MAX };

#[derive(Clone, Copy)]
struct Actions {
    pass: u32,
    drop: u32,
    tx: u32,
}

const ENTRIES: [(Hop, AttachMode); 3] =
    [(Hop::XdpIn, AttachMode::Native), (Hop::XdpIn, AttachMode::Generic), (Hop::TcIn, AttachMode::Native)];
const AT_XDP: [(Hop, AttachMode); 2] = [ENTRIES[0], ENTRIES[1]];

fn job(requests: RequestHandling, mode: AttachMode) -> Job {
    let journey = Journey {
        nonce: NONCE,
        numbered: None,
        netns: 0,
        offsets: Offsets::NONE,
        drops: DropConfig::zeroed(),
        crossings: 0,
        everywhere: false,
        opens: 0,
        drop_ring_bytes: 1 << 16,
    };
    Job { count: Switch::Off, journey: Some(journey), requests, mode, ..Job::count(&NIC_HOPS) }
}

/// Runs the program of a hop on a frame: its answer, and the frame as it is afterwards.
fn run(programs: &Ebpf, (hop, mode): (Hop, AttachMode), frame: &[u8]) -> (u32, Vec<u8>) {
    let mut out = vec![0; frame.len() + 64];
    let options = TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::default() };
    let result = match programs.program(hops::program(hop, mode)).expect("a program") {
        Program::Xdp(xdp) => xdp.test_run(options),
        Program::SchedClassifier(tc) => tc.test_run(options),
        other => panic!("{other:?} is no hop of a NIC"),
    };
    let result = result.expect("it runs");
    out.truncate(result.data_size_out as usize);
    (result.return_value, out)
}

fn actions(hop: Hop) -> Actions {
    if hop == Hop::XdpIn { XDP } else { TC }
}

fn v4(kind: Kind, payload: &[u8]) -> Frame<probe_user::traffic::frame::V4> {
    Frame::v4(A, B, &EchoMessage::new(kind, 0xbeef, 3, payload)).ttl(9)
}

fn v6(kind: Kind, payload: &[u8]) -> Frame<probe_user::traffic::frame::V6> {
    Frame::v6(A6, B6, &EchoMessage::new(kind, 0xbeef, 3, payload)).ttl(9)
}

const BACK: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

/// The reply that B would send to that request, whole.
fn reply_v4(payload: &[u8]) -> Frame<probe_user::traffic::frame::V4> {
    Frame::v4(B, A, &EchoMessage::new(REPLY, 0xbeef, 3, payload)).macs(BACK[0], BACK[1])
}

fn reply_v6(payload: &[u8]) -> Frame<probe_user::traffic::frame::V6> {
    Frame::v6(B6, A6, &EchoMessage::new(REPLY6, 0xbeef, 3, payload)).macs(BACK[0], BACK[1])
}

/// Frames that no run may touch that has this nonce: no requests of it, or none that can be answered at a NIC.
fn foreign() -> Vec<(String, Vec<u8>)> {
    let mut frames = vec![
        ("another run's".to_owned(), v4(REQUEST, &payload(0, NONCE ^ 1, 56)).bytes()),
        ("another run's, IPv6".to_owned(), v6(REQUEST6, &payload(0, NONCE ^ 1 << 63, 56)).bytes()),
        ("a reply".to_owned(), v4(REPLY, &payload(0, NONCE, 56)).bytes()),
        ("an IPv6 reply".to_owned(), v6(REPLY6, &payload(0, NONCE, 56)).bytes()),
        ("a number too high".to_owned(), v4(REQUEST, &payload(MAX_PROBES as u16, NONCE, 56)).bytes()),
        ("somebody's ping".to_owned(), v4(REQUEST, &[7; 56]).bytes()),
        ("an empty ping".to_owned(), v4(REQUEST, &[]).bytes()),
    ];
    frames.extend(others().into_iter().map(|(name, frame)| (name.to_owned(), frame)));
    frames.extend(skipped().into_iter().map(|(name, frame, _)| (name.to_owned(), frame)));
    frames
}

#[test]
fn xdp_makes_of_a_request_of_the_run_the_reply_that_a_kernel_would_send() {
    if !ready("xdp_makes_of_a_request_of_the_run_the_reply_that_a_kernel_would_send") {
        return;
    }
    for entry in AT_XDP {
        let programs = load::load(&job(RequestHandling::AnsweredByXdp, entry.1)).expect("the verifier takes it");
        // Many payloads, so that every carry of a checksum comes up.
        for probe in 0..MAX_PROBES as u16 {
            let payload = payload(probe, NONCE, 16 + usize::from(probe % 41));
            let pairs = [
                (v4(REQUEST, &payload).bytes(), reply_v4(&payload).bytes()),
                (v6(REQUEST6, &payload).bytes(), reply_v6(&payload).bytes()),
            ];
            for (request, reply) in pairs {
                assert_eq!(run(&programs, entry, &request), (XDP.tx, reply), "{entry:?} {probe}");
            }
        }
        let mark = payload(1, NONCE, 1400);
        let tagged = v4(REQUEST, &mark).vlan(SERVICE_TAG, 5).vlan(CUSTOMER_TAG, 7).df().dscp(46).bytes();
        let answer = reply_v4(&mark).vlan(SERVICE_TAG, 5).vlan(CUSTOMER_TAG, 7).df().dscp(46).bytes();
        assert_eq!(run(&programs, entry, &tagged), (XDP.tx, answer), "{entry:?}");
        let tagged = v6(REQUEST6, &mark).vlan(CUSTOMER_TAG, 7).bytes();
        assert_eq!(run(&programs, entry, &tagged), (XDP.tx, reply_v6(&mark).vlan(CUSTOMER_TAG, 7).bytes()));
    }
}

#[test]
fn the_code_of_a_request_stays_and_the_checksum_is_good() {
    if !ready("the_code_of_a_request_stays_and_the_checksum_is_good") {
        return;
    }
    let programs = load::load(&job(RequestHandling::AnsweredByXdp, AttachMode::Native)).expect("the verifier takes it");
    let payload = payload(0, NONCE, 56);
    for code in [0, 1, 255] {
        let request = Frame::v4(A, B, &EchoMessage::new(REQUEST, 1, 2, &payload).code(code)).bytes();
        let reply = Frame::v4(B, A, &EchoMessage::new(REPLY, 1, 2, &payload).code(code)).macs(BACK[0], BACK[1]).bytes();
        assert_eq!(run(&programs, AT_XDP[0], &request), (XDP.tx, reply), "{code}");
    }
}

#[test]
fn what_is_not_the_runs_and_what_cannot_be_answered_whole_goes_on_untouched() {
    if !ready("what_is_not_the_runs_and_what_cannot_be_answered_whole_goes_on_untouched") {
        return;
    }
    let mark = payload(0, NONCE, 56);
    let mut frames = foreign();
    frames.extend([
        ("a first fragment".to_owned(), v4(REQUEST, &mark).fragment(0, Rest::Follows).bytes()),
        ("a first IPv6 fragment".to_owned(), v6(REQUEST6, &mark).fragment(0, Rest::Follows, 7).bytes()),
        ("with IP options".to_owned(), v4(REQUEST, &mark).options(&[1; 4]).bytes()),
        ("to a group".to_owned(), v4(REQUEST, &mark).macs([1, 0, 0x5e, 0, 0, 1], BACK[0]).bytes()),
        ("to all".to_owned(), v4(REQUEST, &mark).macs([0xff; 6], BACK[0]).bytes()),
        ("with an extension header".to_owned(), v6(REQUEST6, &mark).destination(&[]).bytes()),
    ]);
    for entry in ENTRIES {
        let programs = load::load(&job(RequestHandling::AnsweredByXdp, entry.1)).expect("the verifier takes it");
        for (name, frame) in &frames {
            // At tc the kernel wants all of an IP header there.
            let expected = (actions(entry.0).pass, frame.clone());
            assert_eq!(run(&programs, entry, frame), expected, "{name} at {entry:?}");
        }
    }
}

#[test]
fn requests_of_the_run_are_absorbed_at_xdp_and_at_tc_and_told_as_they_were() {
    if !ready("requests_of_the_run_are_absorbed_at_xdp_and_at_tc_and_told_as_they_were") {
        return;
    }
    for entry in ENTRIES {
        let mut programs = load::load(&job(RequestHandling::Absorbed, entry.1)).expect("the verifier takes it");
        let mut ring = AbsorbedRing::take(&mut programs).expect("a ring");
        let drop = actions(entry.0).drop;
        let [first, second] = [payload(5, NONCE, 56), payload(1023, NONCE, 16)];
        let message = EchoMessage::new(REQUEST, 0x1234, 7, &first).code(1);
        assert_eq!(run(&programs, entry, &Frame::v4(A, B, &message).ttl(9).bytes()).0, drop);
        assert_eq!(run(&programs, entry, &v6(REQUEST6, &second).hop_by_hop(&[]).bytes()).0, drop);
        let cut = v4(REQUEST, &first).options(&[1; 40]).fragment(0, Rest::Follows).bytes();
        assert_eq!(run(&programs, entry, &cut).0, drop);
        for (name, frame) in foreign() {
            assert_eq!(run(&programs, entry, &frame), (actions(entry.0).pass, frame.clone()), "{name} at {entry:?}");
        }
        let told = ring.drain(10);
        let whole = Absorbed {
            probe: 5,
            time_ns: told[0].time_ns,
            source: A.into(),
            destination: B.into(),
            id: 0x1234,
            seq: 7,
            code: 1,
            ttl: 9,
            size: 56,
            fragmented: false,
        };
        let v6 = Absorbed {
            probe: 1023,
            time_ns: told[1].time_ns,
            source: A6.into(),
            destination: B6.into(),
            id: 0xbeef,
            seq: 3,
            code: 0,
            size: 16,
            ..whole.clone()
        };
        let fragment =
            Absorbed { time_ns: told[2].time_ns, id: 0xbeef, seq: 3, code: 0, fragmented: true, ..whole.clone() };
        assert_eq!(told, [whole, v6, fragment], "{entry:?}");
        assert!(told[0].time_ns > 0 && told.is_sorted_by_key(|absorbed| absorbed.time_ns));
        assert_eq!(ring.drain(10), []);
    }
}

#[test]
fn what_is_absorbed_without_room_to_tell_of_it_is_counted_and_not_passed() {
    if !ready("what_is_absorbed_without_room_to_tell_of_it_is_counted_and_not_passed") {
        return;
    }
    let mut programs = load::load(&job(RequestHandling::Absorbed, AttachMode::Native)).expect("the verifier takes it");
    let skips = SkipMap::take(&mut programs).expect("the skips");
    let mut ring = AbsorbedRing::take(&mut programs).expect("a ring");
    let frame = v4(REQUEST, &payload(0, NONCE, 56)).bytes();
    let lost = || skips.read().expect("the skips").get(&Skip::AbsorbedFull).copied().unwrap_or(0);
    let mut absorbed = 0;
    while lost() < 3 {
        assert_eq!(run(&programs, AT_XDP[0], &frame).0, XDP.drop);
        absorbed += 1;
        assert!(absorbed < 100_000, "the ring is never full");
    }
    let told = ring.drain(usize::MAX).len();
    assert_eq!(told as u64 + lost(), absorbed);
    assert!(told > 4096, "a session's requests fit: {told}");
}

#[test]
fn the_verifier_takes_every_treatment_of_every_link_layer() {
    if !ready("the_verifier_takes_every_treatment_of_every_link_layer") {
        return;
    }
    let mark = payload(0, NONCE, 56);
    let treatments = [
        RequestHandling::Pass,
        RequestHandling::AnsweredByXdp,
        RequestHandling::AnsweredByAgent,
        RequestHandling::Absorbed,
    ];
    for requests in treatments {
        for mode in [AttachMode::Native, AttachMode::Generic] {
            for link_layer in [LinkLayer::Ethernet, LinkLayer::RawIp] {
                let programs = load::load(&Job { link_layer, ..job(requests, mode) });
                programs.unwrap_or_else(|error| panic!("{requests:?} {mode:?} {link_layer:?}: {error}"));
            }
        }
    }
    // Without a link header the addresses of the IP header are all that changes places.
    let raw = Job { link_layer: LinkLayer::RawIp, ..job(RequestHandling::AnsweredByXdp, AttachMode::Native) };
    let programs = load::load(&raw).expect("the verifier takes it");
    assert_eq!(run(&programs, AT_XDP[0], &v4(REQUEST, &mark).ip_bytes()), (XDP.tx, reply_v4(&mark).ip_bytes()));
}
