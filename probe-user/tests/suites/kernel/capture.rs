//! The ring of copied packets: which packets, which bytes, and what the head of each says.

use probe_ebpf::{Event, Hop, Kind, Rule, Skip, event::EVENT_SIZES};
use probe_user::clock::monotonic_ns;
use probe_user::ebpf::{
    load::{Capture, Job, Switch},
    ring::Ring,
};

use super::{
    loaded::{ALL_HOPS, Action, Loaded},
    ready::ready,
    samples::{REPLY, REQUEST, REQUEST6, echoes, others, plain, skipped, v4},
};

const IFINDEX: u32 = 42;

fn job(capture: Capture, filter: Switch) -> Job {
    Job { capture, filter, ifindex: IFINDEX, ..Job::count(&ALL_HOPS) }
}

/// What the ring holds: the bytes, the whole packet's length, and whether it was dropped.
fn drain(ring: &mut Ring) -> Vec<(Vec<u8>, u32, bool)> {
    let mut events = Vec::new();
    while let Some(event) =
        ring.next(|copied| (copied.bytes.to_vec(), copied.head.packet_bytes, copied.head.dropped == 1))
    {
        events.push(event);
    }
    events
}

fn whole(frame: Vec<u8>) -> (Vec<u8>, u32, bool) {
    let length = frame.len() as u32;
    (frame, length, false)
}

#[test]
fn every_echo_packet_that_enters_is_copied_byte_by_byte() {
    if !ready("every_echo_packet_that_enters_is_copied_byte_by_byte") {
        return;
    }
    let mut loaded = Loaded::new(&job(Capture::Everything, Switch::Off));
    let mut ring = loaded.ring();
    for hop in [Hop::XdpIn, Hop::TcIn] {
        for sample in echoes() {
            loaded.run(hop, &sample.frame);
            assert_eq!(drain(&mut ring), [whole(sample.frame)], "{} at {}", sample.name, hop.name());
        }
    }
}

#[test]
fn the_head_says_when_and_where() {
    if !ready("the_head_says_when_and_where") {
        return;
    }
    let mut loaded = Loaded::new(&job(Capture::Everything, Switch::Off));
    let mut ring = loaded.ring();
    let before = monotonic_ns();
    loaded.run(Hop::XdpIn, &plain(REQUEST, 7));
    let head = ring.next(|copied| copied.head).expect("an event");
    assert!((before..=monotonic_ns()).contains(&head.time_ns), "{head:?}");
    assert_eq!((head.ifindex, head.packet_bytes, head.copied_bytes), (IFINDEX, 49, 49));
}

#[test]
fn frames_on_both_sides_of_every_size_class_are_whole_up_to_the_largest() {
    if !ready("frames_on_both_sides_of_every_size_class_are_whole_up_to_the_largest") {
        return;
    }
    let mut loaded = Loaded::new(&job(Capture::Everything, Switch::Off));
    let mut ring = loaded.ring();
    let largest = EVENT_SIZES[EVENT_SIZES.len() - 1];
    for size in EVENT_SIZES.into_iter().flat_map(|size| size - 1..=size + 1).chain([3520, 3521, 9014, 60_000]) {
        let payload: Vec<u8> = (0..=250).cycle().take(size - 42).collect();
        let frame = v4(REQUEST, 7, 1, &payload).bytes();
        assert_eq!(frame.len(), size);
        loaded.run(Hop::XdpIn, &frame);
        let copied = frame[..size.min(largest)].to_vec();
        assert_eq!(drain(&mut ring), [(copied, size as u32, false)], "{size} bytes");
    }
    assert_eq!(loaded.skips(), [].into());
}

#[test]
fn what_leaves_and_what_is_no_echo_is_not_copied() {
    if !ready("what_leaves_and_what_is_no_echo_is_not_copied") {
        return;
    }
    let mut loaded = Loaded::new(&job(Capture::Everything, Switch::Off));
    let mut ring = loaded.ring();
    loaded.run(Hop::TcOut, &plain(REQUEST, 7));
    for hop in ALL_HOPS {
        for (_, frame, _) in skipped() {
            loaded.run(hop, &frame);
        }
        for (_, frame) in others() {
            loaded.run(hop, &frame);
        }
    }
    assert!(drain(&mut ring).is_empty());
}

/// A rule for replies with id 7.
fn rule() -> Rule {
    Rule { number: 1, id_first: 7, id_last: 7, kinds: 1 << REPLY.index(), ..Rule::default() }
}

#[test]
fn packets_with_a_rule_are_copied_alone_and_pass_where_there_is_no_filter() {
    if !ready("packets_with_a_rule_are_copied_alone_and_pass_where_there_is_no_filter") {
        return;
    }
    let mut loaded = Loaded::new(&job(Capture::Matched, Switch::Off));
    let mut ring = loaded.ring();
    loaded.rules().add(&rule()).expect("there is room");
    for (kind, id) in [(REQUEST, 7), (REPLY, 8), (REQUEST6, 7), (REPLY, 7)] {
        assert_eq!(loaded.run(Hop::XdpIn, &plain(kind, id)), Action::Pass);
    }
    assert_eq!(drain(&mut ring), [whole(plain(REPLY, 7))]);
}

#[test]
fn a_dropped_packet_is_copied_first_and_its_head_says_so() {
    if !ready("a_dropped_packet_is_copied_first_and_its_head_says_so") {
        return;
    }
    for capture in [Capture::Everything, Capture::Matched] {
        for hop in [Hop::XdpIn, Hop::TcIn] {
            let mut loaded = Loaded::new(&job(capture, Switch::On));
            let mut ring = loaded.ring();
            loaded.rules().add(&rule()).expect("there is room");
            assert_eq!(loaded.run(hop, &plain(REPLY, 7)), Action::Drop);
            let (frame, length, _) = whole(plain(REPLY, 7));
            assert_eq!(drain(&mut ring), [(frame, length, true)]);
            assert_eq!(loaded.run(hop, &plain(REQUEST, 7)), Action::Pass);
            let passed = if capture == Capture::Everything { vec![whole(plain(REQUEST, 7))] } else { Vec::new() };
            assert_eq!(drain(&mut ring), passed);
        }
    }
}

#[test]
fn what_finds_no_room_is_counted_passed_and_told() {
    if !ready("what_finds_no_room_is_counted_passed_and_told") {
        return;
    }
    const PACKETS: u64 = 10_000;
    const KIND: Kind = REQUEST;
    let mut loaded = Loaded::new(&job(Capture::Everything, Switch::Off));
    let mut ring = loaded.ring();
    assert_eq!(loaded.repeat(Hop::XdpIn, &plain(KIND, 7), PACKETS as u32), Action::Pass);
    assert_eq!(loaded.packets(Hop::XdpIn, KIND, 7), PACKETS);
    let missed = loaded.skips()[&Skip::RingFull];
    let events = drain(&mut ring);
    assert_eq!(events.len() as u64 + missed, PACKETS);
    // The kernel puts 8 bytes before each.
    assert_eq!(events.len(), (1 << 20) / (8 + size_of::<Event<256>>()));
    loaded.run(Hop::XdpIn, &plain(KIND, 7));
    assert_eq!(drain(&mut ring).len(), 1, "there is room again");
}
