//! The default: a security group on one interface.

use probe_ebpf::Family;

use super::talk::{Talk, said};
use crate::common::{is_root, net::answers, run::probe};
use crate::filter::host::expect_bare;

#[test]
fn a_reply_comes_in_only_for_a_request_that_went_out() {
    if !is_root("a_reply_comes_in_only_for_a_request_that_went_out") {
        return;
    }
    for xdp in ["off", "native", "generic"] {
        let talk = Talk::new(&format!("--xdp {xdp}"));
        for (family, id) in [(Family::V4, 7), (Family::V6, 8)] {
            assert!(!talk.reply(said(family, id, 1)), "{family:?} {xdp}: nobody asked");
            talk.ask(said(family, id, 1));
            assert!(talk.reply(said(family, id, 1)), "{family:?} {xdp}");
            assert!(talk.reply(said(family, id, 99)), "{family:?} {xdp}: the sequence number is not asked for");
            assert!(talk.reply(said(family, id, 1)), "{family:?} {xdp}: a second reply to one request");
            assert!(!talk.reply(said(family, id + 10, 1)), "{family:?} {xdp}: another id");
        }
        assert!(!talk.reply(said(Family::V4, 8, 1)), "{xdp}: only IPv6 asked with this id");
        assert!(talk.ask_b(said(Family::V4, 9, 1)), "{xdp}: requests are left alone");
        let guard = talk.guard();
        assert_eq!(guard["states"]["made"], 2, "{guard}");
        assert_eq!((&guard["states"]["now"], &guard["states"]["refused"]), (&2.into(), &0.into()), "{guard}");
        assert_eq!((&guard["replies"]["passed"], &guard["replies"]["no_state"]), (&6.into(), &5.into()), "{guard}");
        let place = if xdp == "off" { "tc".to_owned() } else { format!("xdp {xdp}") };
        assert_eq!(guard["ingress"], place.as_str());
        probe(&talk.pair.b, "filter clear").done();
        expect_bare(&talk.pair.b, "vb");
    }
}

#[test]
fn a_ping_through_it_is_answered_both_ways() {
    if !is_root("a_ping_through_it_is_answered_both_ways") {
        return;
    }
    let talk = Talk::with_answers("");
    for (netns, targets) in [(&talk.pair.b, ["10.9.0.1", "fd09::1"]), (&talk.pair.a, ["10.9.0.2", "fd09::2"])] {
        for target in targets {
            assert!(answers(netns, target), "{target}");
        }
    }
    assert_eq!(talk.guard()["replies"]["dropped"], 0);
}

#[test]
fn with_requests_denied_b_is_deaf_to_pings_and_can_ping() {
    if !is_root("with_requests_denied_b_is_deaf_to_pings_and_can_ping") {
        return;
    }
    let talk = Talk::with_answers("--deny-requests");
    assert!(answers(&talk.pair.b, "10.9.0.1"));
    assert!(!talk.ask_b(said(Family::V4, 9, 1)) && !talk.ask_b(said(Family::V6, 9, 1)));
    assert_eq!(talk.guard()["requests_dropped"], 2);
    assert_eq!(talk.guard()["requests"], "deny");
}

#[test]
fn a_filter_and_a_guard_stand_side_by_side() {
    if !is_root("a_filter_and_a_guard_stand_side_by_side") {
        return;
    }
    let talk = Talk::new("");
    probe(&talk.pair.b, "filter add -I vb -e 7").done();
    talk.ask(said(Family::V4, 8, 1));
    assert!(talk.reply(said(Family::V4, 8, 1)));
    let text = probe(&talk.pair.b, "filter list").done().stdout;
    assert!(text.contains("guard on vb (tc): replies that come in pass if") && text.contains("7 (0x7)"), "{text}");
    // A guard that wants XDP meets the filter there.
    probe(&talk.pair.b, "filter remove guard").done();
    let ran = probe(&talk.pair.b, "filter guard -I vb --xdp native");
    assert!(ran.code == 2 && ran.stderr.contains("another XDP program is on vb"), "{ran:?}");
    let auto = probe(&talk.pair.b, "filter guard -I vb --xdp auto --format json").done();
    assert_eq!(super::talk::guard(&auto)["ingress"], "tc");
    probe(&talk.pair.b, "filter clear").done();
    expect_bare(&talk.pair.b, "vb");
}
