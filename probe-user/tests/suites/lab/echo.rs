//! Echo packets by raw socket, and a count of them at a NIC by packet socket: the test's own, so that the lab is judged
//! by other code than probe's.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

use nix::{
    libc,
    sys::socket::{LinkAddr, recvfrom},
};
use probe_ebpf::{Direction, Echo, Family, Kind};
use probe_user::lab::{LabHost, Nic, Topology};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Sends one echo packet from `from` to `to`.
pub(crate) fn send(lab: &Topology, from: LabHost, to: IpAddr, echo: Echo, id: u16, seq: u16) -> io::Result<()> {
    let (family, domain, protocol) = match to {
        IpAddr::V4(_) => (Family::V4, Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Family::V6, Domain::IPV6, Protocol::ICMPV6),
    };
    let mut packet = vec![Kind { family, echo }.icmp_type(), 0, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(seq.to_be_bytes());
    packet.extend([0x5a; 16]);
    if family == Family::V4 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    let inside = || Socket::new(domain, Type::RAW, Some(protocol))?.send_to(&packet, &SocketAddr::new(to, 0).into());
    lab.netns(from).run(inside).expect("inside").map(drop)
}

/// RFC 1071, over an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice")
}

/// Counts the echo packets of one NIC, both ways.
pub(crate) struct Tap {
    socket: Socket,
    counts: BTreeMap<(Direction, Kind, u16), u64>,
}

impl Tap {
    pub(crate) fn new(lab: &Topology, nic: Nic) -> Self {
        let index = i32::try_from(lab.ifindex(nic)).expect("a small index");
        let open = || -> io::Result<Socket> {
            // Protocol 0: nothing is received before the socket is bound to its interface.
            let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
            socket.set_nonblocking(true)?;
            socket.bind(&link_address(index))?;
            Ok(socket)
        };
        let socket = lab.netns(nic.host()).run(open).expect("inside").expect("a packet socket");
        Self { socket, counts: BTreeMap::new() }
    }

    pub(crate) fn count(&mut self, direction: Direction, kind: Kind, id: u16) -> u64 {
        let mut frame = [0_u8; 2048];
        while let Ok((length, from)) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut frame) {
            let outgoing = from.is_some_and(|from| from.pkttype() == libc::PACKET_OUTGOING);
            let way = if outgoing { Direction::Out } else { Direction::In };
            if let Some((kind, id)) = echo_in(&frame[..length]) {
                *self.counts.entry((way, kind, id)).or_default() += 1;
            }
        }
        self.counts.get(&(direction, kind, id)).copied().unwrap_or(0)
    }
}

/// Every protocol on the interface with this index.
fn link_address(index: i32) -> SockAddr {
    // SAFETY: a sockaddr_ll of zeros is valid, it fits into the storage, and its true length is given back.
    let initialised = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = storage.cast::<libc::sockaddr_ll>();
            (*address).sll_family = u16::try_from(libc::AF_PACKET).expect("fits");
            (*address).sll_protocol = u16::try_from(libc::ETH_P_ALL).expect("fits").to_be();
            (*address).sll_ifindex = index;
            *length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).expect("fits");
            Ok(())
        })
    };
    initialised.expect("the closure does not fail").1
}

/// The echo packet in an Ethernet frame.
fn echo_in(frame: &[u8]) -> Option<(Kind, u16)> {
    let (family, icmp) = match frame.get(12..14)? {
        [0x08, 0x00] if *frame.get(23)? == 1 => (Family::V4, 14 + usize::from(frame[14] & 15) * 4),
        [0x86, 0xdd] if *frame.get(20)? == 58 => (Family::V6, 54),
        _ => return None,
    };
    let kind = Kind::from_icmp_type(family, *frame.get(icmp)?)?;
    let id = frame.get(icmp + 4..icmp + 6)?;
    Some((kind, u16::from_be_bytes([id[0], id[1]])))
}
