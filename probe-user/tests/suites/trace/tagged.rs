//! Frames whose VLAN tags are still in the packet when it enters the stack.

use std::net::Ipv4Addr;

use nix::libc;
use probe_ebpf::{Echo, Family, Hop, Kind};
use probe_user::{
    lab::{Nic, Topology},
    traffic::{EchoMessage, Frame},
};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    ping::{payload, wait},
    watched::{Watched, Wish},
};
use crate::common;

const NONCE: u64 = 0x7a65;

/// Puts `frame` on the wire at A's interface.
fn put(lab: &Topology, frame: &[u8]) {
    let index = i32::try_from(lab.ifindex(Nic::A)).expect("small");
    // SAFETY: a sockaddr_ll of zeros is valid, it fits into the storage, and its true length is given back.
    let to = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = storage.cast::<libc::sockaddr_ll>();
            (*address).sll_family = u16::try_from(libc::AF_PACKET).expect("fits");
            (*address).sll_ifindex = index;
            *length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).expect("fits");
            Ok(())
        })
    };
    let to = to.expect("the closure does not fail").1;
    let open = || Socket::new(Domain::PACKET, Type::RAW, None);
    let socket = lab.netns(Nic::A.host()).run(open).expect("inside").expect("a packet socket");
    assert_eq!(socket.send_to(frame, &to).expect("sent"), frame.len());
}

#[test]
fn tagged_frames_are_read_where_they_enter() {
    if !common::is_root("tagged_frames_are_read_where_they_enter") {
        return;
    }
    let lab = Topology::build().expect("a lab");
    let fw = Watched::new(&lab, Nic::FwA, Wish::new(NONCE));
    let (from, to) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    let request = Kind { family: Family::V4, echo: Echo::Request };
    for (probe, tags) in [(0, 0), (1, 1), (2, 2)] {
        let payload = payload(NONCE, probe, 56);
        let mut frame =
            Frame::v4(from, to, &EchoMessage::new(request, 1, 1, &payload)).macs([0xff; 6], [2, 0, 0, 0, 0, 1]);
        for tag in 0..tags {
            frame = frame.vlan(if tag + 1 < tags { 0x88a8 } else { 0x8100 }, 7);
        }
        put(&lab, &frame.bytes());
        let seen = || {
            let times = fw.times(Echo::Request, probe);
            [Hop::XdpIn, Hop::NetifIn].iter().all(|hop| times.get(hop) == Some(&1))
        };
        assert!(wait(seen), "{tags} tags: {:?}", fw.times(Echo::Request, probe));
    }
}
