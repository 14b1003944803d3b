//! Interfaces and network namespaces that come, go, and look alike.

use super::host::{expect_bare, folders, list, numbers, replies, send};
use crate::common::{
    is_root,
    net::{Pair, own_bpffs, programs, sh},
    run::probe,
};

#[test]
fn two_namespaces_with_the_same_interface_do_not_mix() {
    if !is_root("two_namespaces_with_the_same_interface_do_not_mix") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    // Both have a `lo` with index 1.
    probe(&pair.a, "filter add -I lo -e 7").done();
    assert_eq!(list(&pair.b), [""; 0]);
    for id in [8, 9] {
        probe(&pair.b, &format!("filter add -I lo -e {id}")).done();
    }
    assert_eq!((numbers(&list(&pair.a)), numbers(&list(&pair.b))), (vec![1], vec![1, 2]));
    assert_eq!(list(&pair.a)[0]["match"]["id_first"], 7);
    let wrong = probe(&pair.a, "filter remove 2");
    assert_eq!(wrong.code, 2, "{wrong:?}");
    probe(&pair.a, "filter clear").done();
    assert!(programs(&pair.a, "lo").is_empty());
    assert_eq!((numbers(&list(&pair.b)), programs(&pair.b, "lo").len()), (vec![1, 2], 1));
    probe(&pair.b, "filter clear -I lo").done();
    expect_bare(&pair.b, "lo");
}

#[test]
fn rules_go_with_their_interface_and_do_not_come_back() {
    if !is_root("rules_go_with_their_interface_and_do_not_come_back") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let index = sh(&pair.b, "cat /proc/thread-self/net/igmp | awk '$2 == \"vb\" {print $1}'").trim().to_owned();
    probe(&pair.b, "filter add -I vb -e 7").done();
    sh(&pair.b, "ip link del vb");
    assert_eq!(list(&pair.b), [""; 0], "it is gone, though its pins are there");
    assert_eq!(folders().len(), 1);
    sh(&pair.b, &format!("ip link add vb index {index} type veth peer name vp; ip link set vb up"));
    assert_eq!(list(&pair.b), [""; 0], "the same name and index are not the same interface");
    assert!(programs(&pair.b, "vb").is_empty());
    let ran = probe(&pair.b, "filter add -I vb -e 8").done();
    let told = "probe: removed 1 filter whose interface is gone or that a killed probe left incomplete\n";
    assert_eq!(ran.stderr, told);
    assert_eq!(list(&pair.b)[0]["match"]["id_first"], 8);
    probe(&pair.b, "filter clear").done();
    expect_bare(&pair.b, "vb");
}

#[test]
fn what_a_namespace_that_is_gone_left_is_removed_by_the_next_command() {
    if !is_root("what_a_namespace_that_is_gone_left_is_removed_by_the_next_command") {
        return;
    }
    own_bpffs();
    let gone = Pair::new();
    probe(&gone.b, "filter add -I vb -e 7").done();
    drop(gone);
    let pair = Pair::new();
    crate::common::net::eventually("the kernel has taken the namespace away", || {
        probe(&pair.b, "filter clear").done();
        folders().is_empty()
    });
    expect_bare(&pair.b, "vb");
}

#[test]
fn rules_hold_when_the_interface_goes_down_and_when_it_is_renamed() {
    if !is_root("rules_hold_when_the_interface_goes_down_and_when_it_is_renamed") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    probe(&pair.b, "filter add -I vb -e 7").done();
    sh(&pair.b, "ip link set vb down; ip link set vb name other; ip link set other up");
    let rules = list(&pair.b);
    assert_eq!((rules.len(), &rules[0]["interface"]), (1, &"other".into()));
    sh(&pair.b, "ip link set other down; ip link set other name vb; ip link set vb up");
    sh(&pair.b, "ip neigh replace 10.9.0.1 lladdr 02:00:00:00:00:01 dev vb nud permanent");
    crate::common::net::eventually("the link is up", || crate::common::net::answers(&pair.b, "10.9.0.1"));
    send(&pair, &replies(7, 10), 10);
    probe(&pair.b, "filter clear -I vb").done();
    expect_bare(&pair.b, "vb");
}
