//! Echo inside the packets of tunnels: counted one layer in if that is asked for, and dropped by the rules for it and by no others.

use probe_ebpf::{
    Rule, Tunnels,
    filter::{ASKS_INNER, ASKS_SOURCE},
    tunnel::{GRE, VXLAN},
};
use probe_user::{
    clock::monotonic_ns,
    ebpf::load::Job,
    filter::rules::{RulePosition, RuleSet},
};

use super::{
    loaded::{ALL_HOPS, Action, Counted, Loaded},
    ready::ready,
    samples::{REPLY6, REQUEST, v4, v6},
};

/// An Ethernet frame with UDP to that port, from 192.0.2.1.
fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let bytes = |length: usize| u16::try_from(length).expect("a short packet").to_be_bytes();
    let udp = [&[0xc0, 1][..], &port.to_be_bytes(), &bytes(8 + payload.len()), &[0, 0], payload].concat();
    let ends = [192, 0, 2, 1, 192, 0, 2, 2];
    let ip = [&[0x45, 0][..], &bytes(20 + udp.len()), &[0, 0, 0, 0, 64, 17, 0, 0], &ends, &udp].concat();
    [&[2; 12][..], &[0x08, 0x00], &ip].concat()
}

/// That frame in VXLAN.
fn vxlan(port: u16, frame: &[u8]) -> Vec<u8> {
    udp(port, &[&[8, 0, 0, 0, 0, 0, 1, 0][..], frame].concat())
}

fn tunnels() -> Tunnels {
    let mut tunnels = Tunnels { protocols: GRE, ..Tunnels::default() };
    assert!(tunnels.add_port(8472, VXLAN));
    tunnels
}

#[test]
fn echo_inside_counts_only_if_that_is_asked_for() {
    if !ready("echo_inside_counts_only_if_that_is_asked_for") {
        return;
    }
    let carried = [(v4(REQUEST, 7, 1, &[0; 56]), 84), (v4(REQUEST, 7, 2, b""), 28)];
    let six = v6(REPLY6, 9, 1, b"payload").bytes();
    for hop in ALL_HOPS {
        let mut blind = Loaded::new(&Job::count(&[hop]));
        let mut sees = Loaded::new(&Job { inner: Some(tunnels()), ..Job::count(&[hop]) });
        for (frame, bytes) in &carried {
            let frame = vxlan(8472, &frame.bytes());
            blind.expect(hop, &frame, Err(probe_ebpf::Skip::NotEcho), "in VXLAN");
            sees.expect(hop, &frame, Ok(Counted { kind: REQUEST, id: 7, bytes: *bytes }), "in VXLAN");
        }
        sees.expect(hop, &vxlan(8472, &six), Ok(Counted { kind: REPLY6, id: 9, bytes: 55 }), "IPv6 in VXLAN");
        sees.expect(hop, &vxlan(4789, &six), Err(probe_ebpf::Skip::NotEcho), "a port that is no tunnel's");
        sees.expect(hop, &udp(8472, &[8, 0, 0]), Err(probe_ebpf::Skip::NotEcho), "a short one");
        let plain = v4(REQUEST, 7, 3, b"").bytes();
        sees.expect(hop, &plain, Ok(Counted { kind: REQUEST, id: 7, bytes: 28 }), "what no tunnel carries");
        sees.check();
    }
}

#[test]
fn a_rule_for_echo_inside_drops_no_other_and_other_rules_do_not_drop_that() {
    if !ready("a_rule_for_echo_inside_drops_no_other_and_other_rules_do_not_drop_that") {
        return;
    }
    let rule = |ids: (u16, u16), asks| Rule { id_first: ids.0, id_last: ids.1, kinds: 0b1111, asks, ..Rule::default() };
    let mut set = RuleSet::default();
    let from_a = Rule {
        source: "10.0.0.1".parse::<probe_user::model::prefix::Prefix>().expect("a prefix").mask(),
        ..rule((8, 8), ASKS_INNER | ASKS_SOURCE)
    };
    for rule in [rule((1, 7), 0), rule((7, 7), ASKS_INNER), from_a] {
        set.insert(rule, RulePosition::Last, monotonic_ns()).expect("there is room");
    }
    for hop in ALL_HOPS {
        let (loaded, _) = Loaded::filtering_in(hop, &set, Some(tunnels()));
        let dropped = |id: u16, inside: bool| {
            let frame = v4(REQUEST, id, 1, b"").bytes();
            loaded.run(hop, &if inside { vxlan(8472, &frame) } else { frame }) == Action::Drop
        };
        let inside = [3, 7, 8, 9].map(|id| dropped(id, true));
        let plain = [3, 7, 8, 9].map(|id| dropped(id, false));
        assert_eq!(inside, [false, true, true, false], "inside, at {}", hop.name());
        assert_eq!(plain, [true, true, false, false], "plain, at {}", hop.name());
    }
}
