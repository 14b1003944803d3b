//! Reads ICMP errors that quote packets of a run as they enter an interface: before netfilter, and unseen by the echo hops.

use std::{
    io::{self, Read},
    mem,
    net::IpAddr,
    os::fd::AsRawFd,
};

use nix::libc;
use probe_ebpf::{Echo, Family, Kind, packet::IPV6_HEADER, tunnel::Tunnels};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use super::prober::incoming::{
    ERRORS_V4, ERRORS_V6, IncomingMessage, QuotedMessage, next_mtu, read_around, read_v4, read_v6,
};
use crate::clock::monotonic_ns;

/// The captured bytes of a packet: enough for IP headers with options, an error, and a quoted mark.
const SNAP_BYTES: u32 = 256;

/// `PACKET_IGNORE_OUTGOING` of `linux/if_packet.h`: what the host sends is not even copied.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// Opcodes of `linux/bpf_common.h`: load a byte or two at k, a byte at X + k, load the IPv4 header's length into X.
pub(super) const LOAD_BYTE: u16 = 0x30;
pub(super) const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE_X: u16 = 0x50;
const LOAD_X_HEADER: u16 = 0xb1;
const SET_X: u16 = 0x01;
pub(super) const JUMP_EQUAL: u16 = 0x15;
pub(super) const RETURN: u16 = 0x06;

/// How the packets of a run are known where an error quotes them.
#[derive(Clone, Copy, Debug)]
pub struct QuotedRun {
    /// The number in their payload.
    pub nonce: u64,
    /// The echo id, the first probe's sequence number and how many probes there are, where a quote too short for a mark is
    /// known by these (RFC 792 asks for eight bytes of the quoted packet and no more).
    pub numbered: Option<(u16, u16, u16)>,
}

impl QuotedRun {
    /// Returns the number of the probe that is quoted.
    fn probe(&self, quote: &QuotedMessage) -> Option<u16> {
        if quote.whole {
            return quote.mark.filter(|(_, nonce)| *nonce == self.nonce).map(|(probe, _)| probe);
        }
        let (id, first, probes) = self.numbered?;
        let probe = quote.seq.wrapping_sub(first);
        (quote.id == id && probe < probes).then_some(probe)
    }
}

/// An ICMP error about a packet of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TappedError {
    /// The probe that it quotes.
    pub probe: u16,
    /// The leg of the quoted packet.
    pub leg: Echo,
    /// `CLOCK_MONOTONIC` in nanoseconds when it was read.
    pub time_ns: u64,
    /// Who sent it.
    pub source: IpAddr,
    /// Whom it was for.
    pub destination: IpAddr,
    /// The echo id of the quoted packet.
    pub id: u16,
    /// Its sequence number.
    pub seq: u16,
    /// The error's type on the wire.
    pub icmp_type: u8,
    /// Its code.
    pub code: u8,
    /// The MTU of the next link, if it tells one.
    pub next_mtu: Option<u32>,
    /// The TTL or hop limit with which it came.
    pub ttl: u8,
}

/// Reads ICMP errors about packets of the run until it is dropped.
#[derive(Debug)]
pub struct ErrorTap {
    socket: Socket,
    family: Family,
    run: QuotedRun,
    /// Those whose packets are looked into; none: the probes themselves are what is quoted.
    around: Option<Tunnels>,
}

impl ErrorTap {
    /// Opens a tap on the interface with this index (0: on every one), in the calling thread's network namespace, for
    /// errors about packets of `run`.
    ///
    /// # Errors
    /// Those of socket(2) and bind(2): this needs `CAP_NET_RAW`.
    pub fn open(ifindex: u32, family: Family, run: QuotedRun) -> io::Result<Self> {
        // Protocol 0: nothing arrives before it is bound to its interface and filtered.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
        socket.attach_filter(&filter(family))?;
        socket.set_nonblocking(true)?;
        bind(&socket, ifindex)?;
        Ok(Self { socket, family, run, around: None })
    }

    /// Opens a tap on every interface for errors of this IP version about packets of `tunnels` that carry packets of `run`.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_around(family: Family, run: QuotedRun, tunnels: Tunnels) -> io::Result<Self> {
        Ok(Self { around: Some(tunnels), ..Self::open(0, family, run)? })
    }

    /// Returns the errors that came since the last call, named by the echo that they quote. The host's kernel receives them
    /// too, and sends no reply to them.
    pub fn take(&mut self) -> Vec<TappedError> {
        let mut seen = Vec::new();
        let mut packet = [0; SNAP_BYTES as usize];
        loop {
            match self.socket.read(&mut packet) {
                Ok(length) => seen.extend(self.read(&packet[..length])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return seen,
            }
        }
    }

    fn read(&self, packet: &[u8]) -> Option<TappedError> {
        match &self.around {
            None => read(packet, self.family, self.run),
            Some(tunnels) => read_carrier(packet, self.family, self.run, tunnels),
        }
    }
}

/// Parses the error in an IP packet, if it quotes a packet of the run.
fn read(packet: &[u8], family: Family, run: QuotedRun) -> Option<TappedError> {
    let message = match family {
        Family::V4 => read_v4(packet, run.nonce)?.2,
        Family::V6 => read_v6(packet.get(IPV6_HEADER..)?, run.nonce)?,
    };
    let IncomingMessage::Error { icmp_type, code, quote, .. } = message else { return None };
    told(packet, family, run, (icmp_type, code), &quote, family)
}

/// Parses the error in an IP packet, if it quotes a packet of one of `tunnels` that carries one of the run.
fn read_carrier(packet: &[u8], family: Family, run: QuotedRun, tunnels: &Tunnels) -> Option<TappedError> {
    let (icmp_type, code, quote, inside) = read_around(packet.get(header(packet, family)?..)?, family, tunnels)?;
    told(packet, family, run, (icmp_type, code), &quote, inside)
}

/// Returns the length of the IP header of a packet without extension headers.
fn header(packet: &[u8], family: Family) -> Option<usize> {
    Some(match family {
        Family::V4 => usize::from(packet.first()? & 0xf) * 4,
        Family::V6 => IPV6_HEADER,
    })
}

/// Returns the error in an IP packet, with what it quotes, which is of the IP version `quoted`.
fn told(
    packet: &[u8],
    family: Family,
    run: QuotedRun,
    (icmp_type, code): (u8, u8),
    quote: &QuotedMessage,
    quoted: Family,
) -> Option<TappedError> {
    let probe = run.probe(quote)?;
    let of = |echo: Echo| (Kind { family: quoted, echo }).icmp_type() == quote.icmp_type;
    let leg = [Echo::Request, Echo::Reply].into_iter().find(|leg| of(*leg))?;
    let v4 = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    let v6 = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
    let (source, destination, ttl) = match family {
        Family::V4 => (v4(12)?, v4(16)?, *packet.get(8)?),
        Family::V6 => (v6(8)?, v6(24)?, *packet.get(7)?),
    };
    let next_mtu = next_mtu(packet.get(header(packet, family)?..)?, family);
    let (id, seq, time_ns) = (quote.id, quote.seq, monotonic_ns());
    Some(TappedError { probe, leg, time_ns, source, destination, id, seq, icmp_type, code, next_mtu, ttl })
}

/// Keeps incoming ICMP errors and drops all else, so that a busy interface does not fill the socket.
fn filter(family: Family) -> Vec<SockFilter> {
    let (protocol_at, protocol, errors): (u32, u32, &[u8]) = match family {
        Family::V4 => (9, 1, &ERRORS_V4),
        Family::V6 => (6, 58, &ERRORS_V6),
    };
    let place = match family {
        Family::V4 => SockFilter::new(LOAD_X_HEADER, 0, 0, 0),
        Family::V6 => SockFilter::new(SET_X, 0, 0, IPV6_HEADER as u32),
    };
    let count = u8::try_from(errors.len()).expect("a handful");
    let mut program = vec![
        SockFilter::new(LOAD_BYTE, 0, 0, protocol_at),
        SockFilter::new(JUMP_EQUAL, 0, count + 2, protocol),
        place,
        SockFilter::new(LOAD_BYTE_X, 0, 0, 0),
    ];
    for (number, error) in (0..).zip(errors) {
        program.push(SockFilter::new(JUMP_EQUAL, count - number, 0, u32::from(*error)));
    }
    program.push(SockFilter::new(RETURN, 0, 0, 0));
    program.push(SockFilter::new(RETURN, 0, 0, SNAP_BYTES));
    incoming_only(family, program)
}

/// Binds a tap to the interface with this index (0: to every one), for what comes in.
///
/// To all protocols, which [`incoming_only`] narrows: what is bound to one of them is handed a packet behind the IP layer, and
/// the packet is then freed by the tap: the reason of what the IP layer refuses at once (`OTHERHOST`) would be told to nobody
/// (`__netif_receive_skb_core` in `net/core/dev.c`, seen on Linux 6.18).
///
/// # Errors
/// Those of bind(2).
pub(super) fn bind(socket: &Socket, ifindex: u32) -> io::Result<()> {
    let ignore: libc::c_int = 1;
    // SAFETY: the option is an int, and the kernel reads as many bytes as it has.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_IGNORE_OUTGOING,
            (&raw const ignore).cast(),
            mem::size_of_val(&ignore) as libc::socklen_t,
        )
    };
    if set != 0 {
        // Before Linux 4.20; the filter drops them too.
        tracing::debug!("PACKET_IGNORE_OUTGOING: {}", io::Error::last_os_error());
    }
    socket.bind(&address(ifindex, libc::ETH_P_ALL, None))
}

/// Limits `program` to incoming packets of an IP version; what this host itself sends is dropped.
pub(super) fn incoming_only(family: Family, program: Vec<SockFilter>) -> Vec<SockFilter> {
    // `SKF_AD_OFF + SKF_AD_PROTOCOL` and `SKF_AD_OFF + SKF_AD_PKTTYPE` of linux/filter.h.
    let [protocol, packet_type] = [0, 4].map(|at| (-0x1000_i32 + at).cast_unsigned());
    let before = [
        SockFilter::new(LOAD_HALF, 0, 0, protocol),
        SockFilter::new(JUMP_EQUAL, 1, 0, protocol_of(family).cast_unsigned()),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(LOAD_BYTE, 0, 0, packet_type),
        SockFilter::new(JUMP_EQUAL, 0, 1, u32::from(libc::PACKET_OUTGOING)),
        SockFilter::new(RETURN, 0, 0, 0),
    ];
    before.into_iter().chain(program).collect()
}

/// Builds the address of one station on the link of that interface.
pub(super) fn link_address_of(ifindex: u32, family: Family, station: Option<[u8; 6]>) -> SockAddr {
    address(ifindex, protocol_of(family), station)
}

fn protocol_of(family: Family) -> libc::c_int {
    match family {
        Family::V4 => libc::ETH_P_IP,
        Family::V6 => libc::ETH_P_IPV6,
    }
}

fn address(ifindex: u32, protocol: libc::c_int, station: Option<[u8; 6]>) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is larger and better aligned than any socket address, and all zeros are a valid one.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = (protocol as u16).to_be();
    link.sll_ifindex = ifindex.cast_signed();
    if let Some(station) = station {
        link.sll_halen = 6;
        link.sll_addr[..6].copy_from_slice(&station);
    }
    let length = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage holds an initialised address of this length.
    unsafe { SockAddr::new(storage, length) }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use probe_ebpf::tunnel::VXLAN;

    use super::*;
    use crate::traffic::{
        Fragmentation,
        batch::{EchoFields, PacketSpec, Quoted, What, bytes},
    };

    const NONCE: u64 = 0x0102_0304_0506_0708;

    /// Builds an IP packet with an error that quotes a reply of the run.
    fn error(family: Family) -> Vec<u8> {
        let (source, destination): (IpAddr, IpAddr) = match family {
            Family::V4 => ([10, 0, 0, 1].into(), [10, 0, 0, 2].into()),
            Family::V6 => (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()),
        };
        let fields = EchoFields { id: 43, seq: 6, code: 0, size: 56, nonce: NONCE };
        let quoted = Quoted { source: destination, destination: source, echo: Echo::Reply, fields };
        let packet = PacketSpec {
            number: 9,
            after_ms: 0,
            what: What::Unreachable { code: 1, quoted },
            source: Some(source),
            destination,
            ttl: None,
            fragmentation: Fragmentation::Allowed,
        };
        let message = bytes(&packet).expect("one IP version");
        let mut header = match family {
            Family::V4 => vec![0x45, 0, 0, 0, 0, 0, 0, 0, 61, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2],
            Family::V6 => [&[0x60, 0, 0, 0, 0, 0, 58, 61][..], &[0; 15], &[1], &[0; 15], &[1]].concat(),
        };
        header.extend(message);
        header
    }

    const RUN: QuotedRun = QuotedRun { nonce: NONCE, numbered: None };

    #[test]
    fn an_error_tells_the_number_and_the_id_that_it_quotes() {
        for family in [Family::V4, Family::V6] {
            let seen = read(&error(family), family, RUN).expect("an error of the run");
            assert_eq!((seen.probe, seen.id, seen.seq, seen.code, seen.ttl), (9, 43, 6, 1, 61));
            let kind = if family == Family::V4 { 3 } else { 1 };
            assert_eq!((seen.leg, seen.icmp_type), (Echo::Reply, kind));
            assert_eq!(read(&error(family), family, QuotedRun { nonce: NONCE + 1, ..RUN }), None);
            assert_eq!(read(&error(family)[..60], family, RUN), None);
        }
    }

    #[test]
    fn an_error_about_a_packet_of_a_tunnel_is_about_the_probe_inside_of_it() {
        let mut tunnels = Tunnels::default();
        assert!(tunnels.add_port(8472, VXLAN));
        for family in [Family::V4, Family::V6] {
            // What a plain error quotes is put into VXLAN over IPv4, and quoted so.
            let plain = error(family);
            let (header, ether) = if family == Family::V4 { (20, [8, 0]) } else { (40, [0x86, 0xdd]) };
            let quoted = &plain[header + 8..];
            let mut packet =
                vec![0x45, 0, 0, 0, 0, 0, 0, 0, 60, 1, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2, 11, 0, 0, 0, 0, 0, 0, 0];
            packet.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 1, 17, 0, 0, 10, 9, 0, 2, 10, 9, 0, 3]);
            packet.extend([0x80, 1, 0x21, 0x18, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0]);
            packet.extend([2; 12]);
            packet.extend(ether);
            packet.extend(quoted);
            let seen = read_carrier(&packet, Family::V4, RUN, &tunnels).expect("an error of the run");
            assert_eq!((seen.probe, seen.leg, seen.icmp_type, seen.ttl), (9, Echo::Reply, 11, 60), "{family:?}");
            assert_eq!((seen.source, seen.destination), ([10, 9, 0, 1].into(), [10, 9, 0, 2].into()));
            assert_eq!(read(&packet, Family::V4, RUN), None, "it is about no probe itself");
            assert_eq!(read_carrier(&packet, Family::V4, RUN, &Tunnels::default()), None);
            assert_eq!(read_carrier(&packet, Family::V4, QuotedRun { nonce: NONCE + 1, ..RUN }, &tunnels), None);
            for end in 0..packet.len() {
                let _ = read_carrier(&packet[..end], Family::V4, RUN, &tunnels);
            }
        }
    }

    #[test]
    fn a_quote_too_short_for_a_mark_is_known_by_its_id_and_sequence_number() {
        let numbered = |id, first, probes| QuotedRun { nonce: NONCE, numbered: Some((id, first, probes)) };
        let whole = error(Family::V4);
        // An IP header, an error, and the quoted packet's IP header with eight bytes.
        let short = &whole[..20 + 8 + 20 + 8];
        assert_eq!(
            read(short, Family::V4, numbered(43, 4, 5)).map(|seen| (seen.probe, seen.leg)),
            Some((2, Echo::Reply))
        );
        for other in [numbered(44, 4, 5), numbered(43, 7, 5), numbered(43, 4, 2), RUN] {
            assert_eq!(read(short, Family::V4, other), None, "{other:?}");
        }
        // One that is long enough has the mark of somebody else.
        assert_eq!(read(&whole, Family::V4, QuotedRun { nonce: NONCE + 1, ..numbered(43, 4, 5) }), None);
    }
}
