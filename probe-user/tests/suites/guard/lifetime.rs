//! How long a guard holds.

use nix::sys::signal::Signal;
use probe_ebpf::Family;

use super::talk::{Talk, guard, said};
use crate::common::{
    is_root,
    net::{Pair, eventually, own_bpffs, programs, sh},
    run::{Running, probe},
};
use crate::filter::host::{expect_bare, folders};

#[test]
fn it_ends_in_the_kernel_though_no_probe_runs() {
    if !is_root("it_ends_in_the_kernel_though_no_probe_runs") {
        return;
    }
    let talk = Talk::new("--for 3");
    let before = crate::filter::host::arrived(&talk.pair.b);
    let wire = crate::common::net::Wire::of(&talk.pair.a, "va");
    eventually("everything passes", || {
        wire.put(&crate::common::net::from_a(probe_ebpf::Echo::Reply, 7, 1));
        crate::filter::host::arrived(&talk.pair.b) > before
    });
    eventually("list knows", || talk.guard()["expires_in_s"] == 0);
    // One that has ended makes room for another.
    probe(&talk.pair.b, "filter guard -I vb").done();
    assert!(!talk.reply(said(Family::V4, 7, 1)));
    probe(&talk.pair.b, "filter remove guard").done();
    expect_bare(&talk.pair.b, "vb");
}

#[test]
fn until_exit_it_goes_with_its_command_however_that_ends() {
    if !is_root("until_exit_it_goes_with_its_command_however_that_ends") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let running = Running::start(&pair.b, "filter guard -I vb --until-exit --format json");
        assert_eq!(programs(&pair.b, "vb").len(), 2);
        assert!(crate::common::net::answers(&pair.b, "10.9.0.1"));
        let second = probe(&pair.b, "filter guard -I vb");
        assert!(second.code == 2 && second.stderr.contains("held by a running probe"), "{second:?}");
        let ran = running.end_with(signal);
        if signal == Signal::SIGKILL {
            assert_eq!(ran.code, 137);
        } else {
            assert_eq!(ran.code, 130, "{ran:?}");
            assert_eq!(guard(&ran)["replies"]["passed"], 1);
        }
        eventually("nothing is attached", || programs(&pair.b, "vb").is_empty());
        expect_bare(&pair.b, "vb");
    }
    let ended = Running::start(&pair.b, "filter guard -I vb --until-exit --for 0.5 --format json").wait().done();
    assert_eq!(guard(&ended)["expires_in_s"], 0);
    let running = Running::start(&pair.b, "filter guard -I vb --until-exit");
    sh(&pair.b, "ip link del vb");
    let ran = running.wait();
    assert!(ran.code == 2 && ran.stderr.contains("the interface vb is gone"), "{ran:?}");
}

#[test]
fn it_goes_with_its_interface_and_the_next_command_forgets_it() {
    if !is_root("it_goes_with_its_interface_and_the_next_command_forgets_it") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    probe(&pair.b, "filter guard -I vb").done();
    sh(&pair.b, "ip link del vb");
    assert_eq!(probe(&pair.b, "filter list --format json").done().json()["guards"], serde_json::json!([]));
    assert_eq!(folders().len(), 1);
    let ran = probe(&pair.b, "filter clear").done();
    assert!(ran.stderr.contains("whose interface is gone"), "{ran:?}");
    assert_eq!(folders().len(), 0);
}

#[test]
fn two_namespaces_with_the_same_interface_do_not_mix() {
    if !is_root("two_namespaces_with_the_same_interface_do_not_mix") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    probe(&pair.a, "filter guard -I lo").done();
    assert_eq!(probe(&pair.b, "filter list --format json").done().json()["guards"], serde_json::json!([]));
    probe(&pair.b, "filter guard -I lo --key id").done();
    assert_eq!(guard(&probe(&pair.a, "filter list --format json").done())["key"][0], "addresses");
    probe(&pair.a, "filter clear").done();
    assert_eq!(guard(&probe(&pair.b, "filter list --format json").done())["key"][0], "id");
    probe(&pair.b, "filter clear -I lo").done();
    expect_bare(&pair.b, "lo");
}
