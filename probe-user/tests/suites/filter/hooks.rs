//! Beside other programs: XDP that is taken, tc that is shared, and two directions on one interface.

use probe_ebpf::Direction;
use probe_user::{
    ebpf::bpf_sys::{ProgramType, XdpMode, always, link_tcx, link_xdp, load_program},
    host::device::Device,
};

use super::host::{Packet, expect_bare, folders, list, replies, send};
use crate::common::{
    is_root,
    net::{Pair, own_bpffs, programs, sh},
    run::probe,
};

/// A foreign program that lets everything go on: at XDP, and at both sides of tc.
const XDP_PASS: i32 = 2;
const TCX_NEXT: i32 = -1;

#[test]
fn where_xdp_is_taken_tc_is_offered_and_works() {
    if !is_root("where_xdp_is_taken_tc_is_offered_and_works") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let foreign = pair.b.run(|| {
        let ifindex = Device::find("vb").expect("vb").ifindex;
        let xdp = load_program(ProgramType::Xdp, "somebody", &always(XDP_PASS)).expect("a program");
        let tc = load_program(ProgramType::Tc, "somebody_tc", &always(TCX_NEXT)).expect("a program");
        let links = [Direction::In, Direction::Out].map(|side| link_tcx(&tc, ifindex, side).expect("there is room"));
        (link_xdp(xdp, ifindex, XdpMode::Generic).expect("the place is free"), links)
    });
    let taken = probe(&pair.b, "filter add -I vb -e 7");
    assert!(taken.code == 2 && taken.stderr.contains("'somebody', generic)"), "{taken:?}");
    assert!(taken.stderr.contains("filter after it, at tc: --hook tc"), "{taken:?}");
    assert_eq!(folders(), [""; 0]);
    probe(&pair.b, "filter add -I vb -e 7 --hook tc").done();
    assert_eq!(list(&pair.b)[0]["xdp_mode"], "off");
    send(&pair, &[replies(7, 10), replies(8, 10)].concat(), 10);
    let other = probe(&pair.b, "filter add -I vb -e 8 --hook xdp");
    assert!(other.code == 2 && other.stderr.contains("its hook is tcx, not xdp"), "{other:?}");
    probe(&pair.b, "filter clear").done();
    assert_eq!(programs(&pair.b, "vb").len(), 3, "the others are as they were");
    assert_eq!(folders(), [""; 0]);
    drop(foreign);
}

#[test]
fn both_directions_of_an_interface_have_rules_of_their_own() {
    if !is_root("both_directions_of_an_interface_have_rules_of_their_own") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    probe(&pair.b, "filter add -I vb -e 7 --direction out").done();
    send(&pair, &replies(7, 5), 0);
    probe(&pair.b, "filter add -I vb -e 7 --type reply").done();
    send(&pair, &replies(7, 5), 5);
    let rules: Vec<_> = list(&pair.b).iter().map(|rule| (rule["direction"].clone(), rule["number"].clone())).collect();
    assert_eq!(rules, [("in".into(), 2.into()), ("out".into(), 1.into())]);
    // B's own answers to requests with that id leave through the other rule.
    let request = Packet { echo: probe_ebpf::Echo::Request, ..replies(7, 1)[0] };
    let wire = crate::common::net::Wire::of(&pair.a, "va");
    (0..5).for_each(|_| wire.put(&request.bytes()));
    crate::common::net::eventually("B's answers are dropped", || list(&pair.b)[1]["dropped"] == 5);
    let away = probe(&pair.b, "filter add -I vb -e 7 --direction out --hook xdp");
    assert!(away.code == 2 && away.stderr.contains("XDP sees only incoming packets"), "{away:?}");
    probe(&pair.b, "filter remove 1").done();
    assert_eq!(list(&pair.b).len(), 1);
    probe(&pair.b, "filter clear -I vb").done();
    expect_bare(&pair.b, "vb");
}

#[test]
fn on_clsact_rules_change_and_go_as_they_do_on_links() {
    if !is_root("on_clsact_rules_change_and_go_as_they_do_on_links") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let qdiscs = || sh(&pair.b, "tc qdisc show dev vb");
    let before = qdiscs();
    probe(&pair.b, "filter add -I vb -e 7 --hook tc --tc clsact").done();
    probe(&pair.b, "filter add -I vb -e 8").done();
    assert_eq!(list(&pair.b)[1]["hook"], "clsact");
    send(&pair, &[replies(7, 5), replies(8, 5), replies(9, 5)].concat(), 10);
    probe(&pair.b, "filter remove 1").done();
    send(&pair, &[replies(7, 5), replies(8, 5)].concat(), 5);
    // Whoever watches meanwhile on the same qdisc takes nothing along.
    probe(&pair.b, "observe -I vb --once -i 0.05 --xdp off --tc clsact").done();
    send(&pair, &replies(8, 5), 5);
    probe(&pair.b, "filter clear").done();
    assert_eq!(qdiscs(), before);
    expect_bare(&pair.b, "vb");
    // A qdisc that was there stays.
    sh(&pair.b, "tc qdisc add dev vb clsact");
    probe(&pair.b, "filter add -I vb -e 7 --direction out --tc clsact").done();
    probe(&pair.b, "filter clear").done();
    assert!(qdiscs().contains("clsact"));
}
