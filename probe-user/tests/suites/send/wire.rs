//! What really leaves: echo packets as a packet socket sees them.

use std::{
    io::Read,
    net::IpAddr,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use nix::{
    ifaddrs::getifaddrs,
    libc,
    sys::socket::{AddressFamily, SockaddrLike, bind},
};
use probe_user::traffic::{checksum, checksum_v6};
use socket2::{Domain, Protocol, Socket, Type};

/// Longest wait for a packet that should come.
const PATIENCE: Duration = Duration::from_secs(2);

/// A packet socket on one interface.
pub(crate) struct Capture(Socket);

/// An echo packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
    pub(crate) df: bool,
    pub(crate) more_fragments: bool,
    pub(crate) icmp_type: u8,
    pub(crate) code: u8,
    pub(crate) id: u16,
    pub(crate) seq: u16,
    pub(crate) payload: Vec<u8>,
    pub(crate) good: bool,
}

impl Capture {
    /// Listens on `interface`, from now on.
    pub(crate) fn on(interface: &str) -> Self {
        let every = u16::try_from(libc::ETH_P_ALL).expect("16 bits").to_be();
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(every)))).expect("root can");
        let address = getifaddrs()
            .expect("a list of interfaces")
            .filter(|entry| entry.interface_name == interface)
            .filter_map(|entry| entry.address)
            .find(|address| address.family() == Some(AddressFamily::Packet))
            .expect("the interface has a link address");
        bind(socket.as_raw_fd(), &address).expect("the interface exists");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        Self(socket)
    }

    /// The next `count` echo packets with this type and id; fewer where they do not come.
    pub(crate) fn take(&mut self, count: usize, icmp_type: u8, id: u16) -> Vec<Seen> {
        let (mut seen, end) = (Vec::new(), Instant::now() + PATIENCE);
        let mut frame = vec![0; 65_600];
        while seen.len() < count && Instant::now() < end {
            let Ok(length) = self.0.read(&mut frame) else { continue };
            seen.extend(parse(&frame[..length]).filter(|packet| (packet.icmp_type, packet.id) == (icmp_type, id)));
        }
        seen
    }

    /// The next echo packet with this type and id.
    pub(crate) fn one(&mut self, icmp_type: u8, id: u16) -> Seen {
        self.take(1, icmp_type, id).pop().expect("a packet")
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Reads what this crate's sender can make: no tags, no options, no extension headers but a fragment header.
fn parse(frame: &[u8]) -> Option<Seen> {
    let ip = &frame[14..];
    match word(frame, 12) {
        0x0800 if ip[9] == 1 && word(ip, 6) & 0x1fff == 0 => parse_v4(ip),
        0x86dd if ip[6] == 58 => parse_v6(ip),
        _ => None,
    }
}

fn parse_v4(ip: &[u8]) -> Option<Seen> {
    let message = ip.get(20..usize::from(word(ip, 2)))?;
    let address = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&ip[at..at + 4]).expect("4 bytes"));
    let good = checksum(message) == 0;
    seen(message, |seen| {
        (seen.source, seen.destination) = (address(12), address(16));
        (seen.tos, seen.ttl, seen.good) = (ip[1], ip[8], good);
        (seen.df, seen.more_fragments) = (ip[6] & 0x40 != 0, ip[6] & 0x20 != 0);
    })
}

fn parse_v6(ip: &[u8]) -> Option<Seen> {
    let message = ip.get(40..40 + usize::from(word(ip, 4)))?;
    let address = |at: usize| <[u8; 16]>::try_from(&ip[at..at + 16]).expect("16 bytes");
    let good = checksum_v6(address(8).into(), address(24).into(), message) == 0;
    seen(message, |seen| {
        (seen.source, seen.destination) = (address(8).into(), address(24).into());
        (seen.tos, seen.ttl, seen.good) = ((ip[0] << 4) | (ip[1] >> 4), ip[7], good);
    })
}

fn seen(message: &[u8], network: impl FnOnce(&mut Seen)) -> Option<Seen> {
    let payload = message.get(8..)?.to_vec();
    let nowhere = IpAddr::from([0; 4]);
    let mut seen = Seen {
        source: nowhere,
        destination: nowhere,
        tos: 0,
        ttl: 0,
        df: false,
        more_fragments: false,
        icmp_type: message[0],
        code: message[1],
        id: word(message, 4),
        seq: word(message, 6),
        payload,
        good: false,
    };
    network(&mut seen);
    Some(seen)
}
