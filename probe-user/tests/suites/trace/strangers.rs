//! What is not this run's: other namespaces' drops, other pings between the same ends, other runs, and a ring that is full.

use probe_ebpf::{Echo, Family, Hop, Skip};
use probe_user::lab::{LabHost, Nic, Topology};

use super::{
    ping::{payload, request, send, settle, wait},
    watched::{Watched, Wish},
};
use crate::common;

const NONCE: u64 = 0x0a0b_0c0d_0e0f_1011;

/// Makes B drop every request.
fn close(lab: &Topology) {
    let rules = "nft add table inet t; nft add chain inet t c '{ type filter hook input priority 0; }'; \
                 nft add rule inet t c icmp type echo-request drop";
    let mut command = lab.netns(LabHost::B).command("sh");
    command.args(["-ec", rules]).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    assert!(command.status().expect("sh").success());
}

#[test]
fn a_second_pair_of_namespaces_is_not_mixed_in() {
    if !common::is_root("a_second_pair_of_namespaces_is_not_mixed_in") {
        return;
    }
    let (ours, theirs) = (Topology::build().expect("a lab"), Topology::build().expect("a second lab"));
    close(&theirs);
    let mut a = Watched::new(&ours, Nic::A, Wish::new(NONCE));
    let mut b = Watched::new(&ours, Nic::B, Wish::new(NONCE));
    // The same addresses, the same id, and even the same nonce: only the namespace tells them apart.
    let to = request(LabHost::B.address(Family::V4));
    let strangers: Vec<_> = (0..50).map(|probe| payload(NONCE, probe, 56)).collect();
    assert!(send(&theirs, LabHost::A, &to, 7, &strangers).iter().all(Result::is_ok));
    send(&ours, LabHost::A, &to, 7, &[payload(NONCE, 60, 56)])[0].expect("sent");
    assert!(wait(|| a.times(Echo::Reply, 60).contains_key(&Hop::IcmpIn)));
    settle();
    for (watched, host) in [(&mut a, LabHost::A), (&mut b, LabHost::B)] {
        assert!((0..50).all(|probe| watched.times(Echo::Request, probe).is_empty()));
        assert_eq!(watched.drops(&ours, host), []);
    }
}

#[test]
fn other_pings_between_the_ends_are_never_told() {
    if !common::is_root("other_pings_between_the_ends_are_never_told") {
        return;
    }
    let lab = Topology::build().expect("a lab");
    close(&lab);
    let mut b = Watched::new(&lab, Nic::B, Wish::new(NONCE));
    let to = request(LabHost::B.address(Family::V4));
    // Another run, no mark at all, a mark that is cut off, and a request from somebody else.
    let payloads = [payload(NONCE + 1, 0, 56), vec![0; 56], payload(NONCE, 0, 16)[..15].to_vec()];
    assert!(send(&lab, LabHost::A, &to, 9, &payloads).iter().all(Result::is_ok));
    send(&lab, LabHost::Fw, &to, 9, &[vec![0; 56]])[0].expect("sent");
    // A probe after them is reported: by then they were dropped too.
    send(&lab, LabHost::A, &to, 9, &[payload(NONCE, 5, 56)])[0].expect("sent");
    assert!(wait(|| !b.drops(&lab, LabHost::B).is_empty()));
    settle();
    let drops = b.drops(&lab, LabHost::B);
    assert!(drops.len() == 1 && drops[0].probe == Some(5), "{drops:#?}");
    assert!(b.times(Echo::Request, 0).is_empty());
}

#[test]
fn drops_that_the_ring_has_no_room_for_are_counted() {
    if !common::is_root("drops_that_the_ring_has_no_room_for_are_counted") {
        return;
    }
    const PROBES: u16 = 200;
    let lab = Topology::build().expect("a lab");
    close(&lab);
    let small = Wish { ring_bytes: 1 << 12, ..Wish::new(NONCE) };
    let mut b = Watched::new(&lab, Nic::B, small);
    let payloads: Vec<_> = (0..PROBES).map(|probe| payload(NONCE, probe, 56)).collect();
    let to = request(LabHost::B.address(Family::V4));
    assert!(send(&lab, LabHost::A, &to, 9, &payloads).iter().all(Result::is_ok));
    assert!(wait(|| b.times(Echo::Request, PROBES - 1).contains_key(&Hop::TcIn)));
    settle();
    let told = b.drops(&lab, LabHost::B).len() as u64;
    assert!(told > 0 && told < u64::from(PROBES), "{told}");
    assert_eq!(told + b.skipped(Skip::DropsFull), u64::from(PROBES));
    // The journeys have them all: counters are not lost.
    assert!((0..PROBES).all(|probe| b.times(Echo::Request, probe).contains_key(&Hop::TcIn)));
}
