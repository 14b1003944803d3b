//! What a guard can be told, live: each flag does what it says.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use probe_ebpf::Family;

use super::talk::{Said, Talk, said};
use crate::common::{is_root, net::PATIENCE, skip};

/// Replies until one is dropped, and says how long after `since` that was.
fn passes_for(talk: &Talk, since: Instant, packet: Said) -> Duration {
    while talk.reply(packet) {
        assert!(since.elapsed() < PATIENCE, "it passes for ever");
        sleep(Duration::from_millis(20));
    }
    since.elapsed()
}

#[test]
fn a_request_is_forgotten_after_its_time_whatever_is_replied_where_nothing_refreshes_it() {
    if !is_root("a_request_is_forgotten_after_its_time_whatever_is_replied_where_nothing_refreshes_it") {
        return;
    }
    let talk = Talk::new("--timeout 1.5 --refresh none");
    for (family, id) in [(Family::V4, 7), (Family::V6, 8)] {
        let since = Instant::now();
        talk.ask(said(family, id, 1));
        let lasted = passes_for(&talk, since, said(family, id, 1));
        assert!(lasted >= Duration::from_millis(1_500), "{lasted:?}");
        talk.ask(said(family, id, 2));
        assert!(talk.reply(said(family, id, 2)), "asked anew, it is known anew");
    }
    assert_eq!(talk.dropped_for("expired"), 2);
    assert_eq!(talk.guard()["states"]["made"], 4);
    assert_eq!(talk.guard()["timeout_s"], 1.5);
}

#[test]
fn after_a_reply_the_shorter_time_holds() {
    if !is_root("after_a_reply_the_shorter_time_holds") {
        return;
    }
    let talk = Talk::new("--timeout 3600 --timeout-after-reply 1 --refresh none");
    talk.ask(said(Family::V4, 7, 1));
    let since = Instant::now();
    assert!(talk.reply(said(Family::V4, 7, 1)));
    let lasted = passes_for(&talk, since, said(Family::V4, 7, 1));
    assert!(lasted >= Duration::from_secs(1), "{lasted:?}");
    assert_eq!(talk.dropped_for("expired"), 1);
}

#[test]
fn each_packet_begins_the_time_anew_by_default() {
    if !is_root("each_packet_begins_the_time_anew_by_default") {
        return;
    }
    if !(0..3).any(|_| passes_beyond_its_time()) {
        skip("each_packet_begins_the_time_anew_by_default", "a machine that does not stand still for seconds");
    }
}

/// Whether replies pass for longer than a request is remembered; no answer where the machine stood still for so long
/// that it may be forgotten in between.
fn passes_beyond_its_time() -> bool {
    let talk = Talk::new("--timeout 4");
    let since = Instant::now();
    talk.ask(said(Family::V4, 7, 1));
    while since.elapsed() < Duration::from_millis(4_500) {
        let one = Instant::now();
        let passed = talk.reply(said(Family::V4, 7, 1));
        if one.elapsed() > Duration::from_secs(3) {
            return false;
        }
        assert!(passed, "after {:?}", since.elapsed());
        sleep(Duration::from_millis(100));
    }
    true
}

#[test]
fn one_reply_passes_for_each_request() {
    if !is_root("one_reply_passes_for_each_request") {
        return;
    }
    let talk = Talk::new("--replies 1");
    for (family, id) in [(Family::V4, 7), (Family::V6, 8)] {
        let packet = said(family, id, 1);
        talk.ask(packet);
        assert_eq!([talk.reply(packet), talk.reply(packet)], [true, false]);
        talk.ask(packet);
        talk.ask(packet);
        assert_eq!([talk.reply(packet), talk.reply(packet), talk.reply(packet)], [true, true, false]);
    }
    assert_eq!(talk.dropped_for("too_many"), 4);
}

#[test]
fn the_key_says_what_must_be_the_same() {
    if !is_root("the_key_says_what_must_be_the_same") {
        return;
    }
    for (key, other_id, other_seq, other_code) in [
        ("addresses,id,seq", false, false, true),
        ("addresses", true, true, true),
        ("addresses,id,code", false, true, false),
        ("id", false, true, true),
        ("seq", true, false, true),
    ] {
        let talk = Talk::new(&format!("--key {key}"));
        for family in [Family::V4, Family::V6] {
            let asked = said(family, 7, 1);
            talk.ask(asked);
            assert!(talk.reply(asked), "{key}");
            assert_eq!(talk.reply(Said { id: 8, ..asked }), other_id, "{key}: another id");
            assert_eq!(talk.reply(Said { seq: 2, ..asked }), other_seq, "{key}: another sequence number");
            assert_eq!(talk.reply(Said { code: 1, ..asked }), other_code, "{key}: another code");
        }
        assert_eq!(talk.guard()["key"].as_array().map(Vec::len), Some(key.split(',').count()), "{key}");
    }
}

#[test]
fn where_the_code_must_be_0_no_other_request_counts_and_no_other_reply_passes() {
    if !is_root("where_the_code_must_be_0_no_other_request_counts_and_no_other_reply_passes") {
        return;
    }
    let talk = Talk::new("--code-zero");
    let asked = said(Family::V4, 7, 1);
    talk.ask(asked);
    assert!(talk.reply(asked));
    assert!(!talk.reply(Said { code: 1, ..asked }));
    assert_eq!(talk.dropped_for("bad_code"), 1);
}

#[test]
fn a_dry_run_lets_all_pass_and_counts_what_it_would_drop() {
    if !is_root("a_dry_run_lets_all_pass_and_counts_what_it_would_drop") {
        return;
    }
    let talk = Talk::new("--dry-run --deny-requests");
    let before = crate::filter::host::arrived(&talk.pair.b);
    let wire = crate::common::net::Wire::of(&talk.pair.a, "va");
    for seq in 0..20 {
        wire.put(&crate::common::net::from_a(probe_ebpf::Echo::Reply, 7, seq));
        wire.put(&crate::common::net::from_a(probe_ebpf::Echo::Request, 7, seq));
    }
    crate::common::net::eventually("all have arrived", || crate::filter::host::arrived(&talk.pair.b) == before + 40);
    let guard = talk.guard();
    assert_eq!((&guard["replies"]["no_state"], &guard["requests_dropped"]), (&20.into(), &20.into()), "{guard}");
    assert_eq!(guard["action"], "count");
}

#[test]
fn protecting_the_way_out_b_s_replies_need_a_request_that_came_in() {
    if !is_root("protecting_the_way_out_b_s_replies_need_a_request_that_came_in") {
        return;
    }
    let talk = Talk::new("--protect out");
    // B's kernel answers A, and may; what B says unasked stays in B.
    assert!(
        crate::common::net::answers(&talk.pair.a, "10.9.0.2") && crate::common::net::answers(&talk.pair.a, "fd09::2")
    );
    let before = crate::filter::host::arrived(&talk.pair.a);
    crate::common::net::Wire::of(&talk.pair.b, "vb")
        .try_put(&crate::common::net::from_b(probe_ebpf::Echo::Reply, 77, 1))
        .ok();
    crate::common::net::eventually("it is dropped", || talk.dropped_for("no_state") == 1);
    assert_eq!(crate::filter::host::arrived(&talk.pair.a), before);
    let guard = talk.guard();
    assert_eq!((&guard["protect"], &guard["replies"]["passed"]), (&"out".into(), &2.into()), "{guard}");
}
