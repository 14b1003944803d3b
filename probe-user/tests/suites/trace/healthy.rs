//! A ping that comes back: every hop of both hosts saw every probe once, and nothing counts as a loss.

use std::{collections::BTreeSet, mem::MaybeUninit, net::SocketAddr, time::Duration};

use probe_ebpf::{Echo, Family, Hop, Kind, Skip};
use probe_user::{
    lab::{LabHost, Nic, Topology},
    model::trace::benign::Benign,
    traffic::EchoMessage,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    ping::{listener, payload, request, send, settle, wait},
    watched::{Consumer, Watched, Wish},
};
use crate::common;

const NONCE: u64 = 0x1122_3344_5566_7788;
const PROBES: u16 = 5;
const OUT: [Hop; 3] = [Hop::TcOut, Hop::DevQueue, Hop::Xmit];
const IN: [Hop; 4] = [Hop::XdpIn, Hop::NetifIn, Hop::TcIn, Hop::IcmpIn];

fn all_hops_see_each_probe(family: Family, consumer: Consumer) {
    let lab = Topology::build().expect("a lab");
    let wish = Wish { consumer, ..Wish::new(NONCE) };
    let mut a = Watched::new(&lab, Nic::A, wish);
    let mut b = Watched::new(&lab, Nic::B, wish);
    let ears = listener(&lab, LabHost::A, family);
    let payloads: Vec<_> = (0..PROBES).map(|probe| payload(NONCE, probe, 56)).collect();
    let sent = send(&lab, LabHost::A, &request(LabHost::B.address(family)), 0x1234, &payloads);
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    let last = PROBES - 1;
    let back = wait(|| a.times(Echo::Reply, last).contains_key(&Hop::IcmpIn));
    assert!(back, "a: {:?}, b: {:?}", a.times(Echo::Reply, last), b.times(Echo::Request, last));
    settle();
    for probe in 0..PROBES {
        assert_eq!(a.once(Echo::Request, probe), BTreeSet::from(OUT), "request {probe} at a");
        assert_eq!(b.once(Echo::Request, probe), BTreeSet::from(IN), "request {probe} at b");
        assert_eq!(b.once(Echo::Reply, probe), BTreeSet::from(OUT), "reply {probe} at b");
        assert_eq!(a.once(Echo::Reply, probe), BTreeSet::from(IN), "reply {probe} at a");
    }
    in_order(&a, &b, &lab);
    assert_eq!(a.drops(&lab, LabHost::A), []);
    assert_eq!(b.drops(&lab, LabHost::B), []);
    // The raw socket has its copies by now; the kernel found no ping socket for the packets themselves.
    assert_eq!(a.benign().get(&Benign::NoPingSocket), Some(&u64::from(PROBES)));
    // Before Linux 6.3 ICMPv6 frees the requests that it answers like all others.
    let expected = |benign: &Benign| *benign == Benign::DoneByIcmpv6 && !common::is_linux((6, 3));
    assert!(b.benign().keys().all(expected), "{:?}", b.benign());
    drop(ears);
    // The kernel frees the socket when no processor looks at it any more.
    let closed = wait(|| {
        assert_eq!(a.drops(&lab, LabHost::A), []);
        a.benign().get(&Benign::SocketClosed) == Some(&u64::from(PROBES))
    });
    assert!(closed, "{:?}", a.benign());
    for watched in [&a, &b] {
        assert!(Skip::ALL.iter().all(|skip| watched.skipped(*skip) == 0));
    }
}

/// What the hops noted besides: rising times, the interface, the id, and a TTL that the router took one from.
fn in_order(a: &Watched, b: &Watched, lab: &Topology) {
    let step = |watched: &Watched, hop, echo| watched.journeys().step(hop, echo, 0).expect("seen");
    let mut before = 0;
    let way = [Hop::TcOut, Hop::DevQueue, Hop::Xmit].map(|hop| step(a, hop, Echo::Request));
    let there = [Hop::XdpIn, Hop::NetifIn, Hop::TcIn, Hop::IcmpIn].map(|hop| step(b, hop, Echo::Request));
    for step in way.iter().chain(&there) {
        assert!(step.first_ns > before);
        before = step.first_ns;
        assert_eq!(step.id, 0x1234);
        assert_eq!(step.detail, 0);
    }
    assert!(way.iter().all(|step| step.ifindex == lab.ifindex(Nic::A) && step.ttl == way[0].ttl));
    assert!(there.iter().all(|step| step.ifindex == lab.ifindex(Nic::B) && step.ttl == way[0].ttl - 1));
}

#[test]
fn a_healthy_ping_is_seen_at_every_hop_of_both_ends() {
    if common::is_root("a_healthy_ping_is_seen_at_every_hop_of_both_ends") {
        all_hops_see_each_probe(Family::V4, Consumer::Best);
    }
}

#[test]
fn a_healthy_ipv6_ping_is_seen_at_every_hop_of_both_ends() {
    if common::is_root("a_healthy_ipv6_ping_is_seen_at_every_hop_of_both_ends") {
        all_hops_see_each_probe(Family::V6, Consumer::Best);
    }
}

#[test]
fn where_the_tracepoint_does_not_tell_who_consumed_a_packet_the_stack_does() {
    if common::is_root("where_the_tracepoint_does_not_tell_who_consumed_a_packet_the_stack_does") {
        for family in [Family::V4, Family::V6] {
            all_hops_see_each_probe(family, Consumer::ByStack);
        }
    }
}

/// Lets root of A open ping sockets.
fn allow_ping_sockets(lab: &Topology) {
    let mut command = lab.netns(LabHost::A).command("sh");
    assert!(command.args(["-ec", "echo 0 0 >/proc/sys/net/ipv4/ping_group_range"]).status().expect("sh").success());
}

#[test]
fn a_reply_at_a_ping_socket_is_seen_once_when_it_is_read() {
    if !common::is_root("a_reply_at_a_ping_socket_is_seen_once_when_it_is_read") {
        return;
    }
    let lab = Topology::build().expect("a lab");
    allow_ping_sockets(&lab);
    let mut a = Watched::new(&lab, Nic::A, Wish::new(NONCE));
    let open = || Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4));
    let socket = lab.netns(LabHost::A).run(open).expect("inside").expect("a ping socket");
    socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a limit");
    let request =
        EchoMessage::new(Kind { family: Family::V4, echo: Echo::Request }, 0, 1, &payload(NONCE, 0, 56)).bytes_v4();
    socket.send_to(&request, &SocketAddr::new(LabHost::B.address(Family::V4), 0).into()).expect("sent");
    assert!(wait(|| a.times(Echo::Reply, 0).contains_key(&Hop::TcIn)));
    settle();
    assert!(!a.times(Echo::Reply, 0).contains_key(&Hop::IcmpIn), "nobody has read it");
    let mut reply = [MaybeUninit::uninit(); 128];
    assert_eq!(socket.recv(&mut reply).expect("a reply"), 64);
    assert!(wait(|| a.times(Echo::Reply, 0).contains_key(&Hop::IcmpIn)));
    assert_eq!(a.once(Echo::Request, 0), BTreeSet::from(OUT));
    assert_eq!(a.once(Echo::Reply, 0), BTreeSet::from(IN));
    assert_eq!(a.drops(&lab, LabHost::A), []);
    assert!(a.benign().is_empty(), "{:?}", a.benign());
}

#[test]
fn a_target_on_this_host_is_seen_on_loopback_at_every_hop() {
    if !common::is_root("a_target_on_this_host_is_seen_on_loopback_at_every_hop") {
        return;
    }
    let lab = Topology::build().expect("a lab");
    for family in [Family::V4, Family::V6] {
        let mut a = Watched::on_loopback(&lab, LabHost::A, Wish::new(NONCE));
        let _ears = listener(&lab, LabHost::A, family);
        send(&lab, LabHost::A, &request(LabHost::A.address(family)), 7, &[payload(NONCE, 0, 56)])[0].expect("sent");
        assert!(wait(|| a.times(Echo::Reply, 0).contains_key(&Hop::IcmpIn)), "{:?}", a.times(Echo::Reply, 0));
        settle();
        for echo in [Echo::Request, Echo::Reply] {
            assert_eq!(a.once(echo, 0), OUT.into_iter().chain(IN).collect(), "{family:?} {echo:?}");
        }
        let step = |hop| a.journeys().step(hop, Echo::Request, 0).expect("seen").first_ns;
        assert!(step(Hop::NetifIn) < step(Hop::XdpIn), "generic XDP comes after the entry into the stack");
        assert_eq!(a.drops(&lab, LabHost::A), []);
    }
}
