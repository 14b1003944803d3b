//! A copied packet as the document that `probe receive` prints.

use std::net::{IpAddr, Ipv6Addr};

use probe_ebpf::{
    Family,
    packet::{EchoPacket, LinkLayer, addresses, parse},
};

use crate::{
    ebpf::ring::Copied,
    report::echo::{Checksum, EchoSeen, kind_name},
    traffic::{checksum, checksum_v6},
};

/// How packets of one interface are read.
pub(super) struct Reading<'a> {
    /// Its name.
    pub(super) interface: &'a str,
    /// What to add to the kernel half's clock.
    pub(super) to_unix: u64,
}

impl Reading<'_> {
    /// Parses the echo packet in `copied`; the kernel half copies nothing else.
    pub(super) fn echo(&self, copied: &Copied<'_>) -> Option<EchoSeen> {
        let link_layer = if copied.head.raw_ip == 1 { LinkLayer::RawIp } else { LinkLayer::Ethernet };
        let packet = parse(copied.bytes, link_layer).ok()?;
        let (source, destination) = addresses(copied.bytes, &packet)?;
        Some(EchoSeen {
            time_ns: copied.head.time_ns + self.to_unix,
            interface: self.interface.to_owned(),
            kind: kind_name(packet.kind.echo),
            icmp_type: packet.kind.icmp_type(),
            code: packet.code,
            id: packet.id,
            seq: packet.seq,
            source: address(source),
            destination: address(destination),
            ttl: packet.ttl,
            payload_bytes: packet.payload_bytes(),
            checksum: checksum_of(copied.bytes, &packet, source, destination),
            absorbed: copied.head.dropped == 1,
        })
    }
}

fn address(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

/// Verifies the checksum. It covers the whole packet, so a truncated copy proves nothing.
fn checksum_of(bytes: &[u8], packet: &EchoPacket, source: [u8; 16], destination: [u8; 16]) -> Checksum {
    let end = packet.icmp_offset + packet.icmp_bytes as usize;
    let Some(message) = bytes.get(packet.icmp_offset..end).filter(|_| !packet.first_fragment) else {
        return Checksum::Unknown;
    };
    let sum = match packet.kind.family {
        Family::V4 => checksum(message),
        Family::V6 => checksum_v6(source.into(), destination.into(), message),
    };
    if sum == 0 { Checksum::Good } else { Checksum::Bad }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use probe_ebpf::{Echo, EventHead, Kind};

    use super::*;
    use crate::traffic::{EchoMessage, Frame};

    const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    const DESTINATION: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

    fn read(bytes: &[u8]) -> Option<EchoSeen> {
        let reading = Reading { interface: "eth0", to_unix: 1_000 };
        let length = u32::try_from(bytes.len()).expect("a packet");
        let head = EventHead {
            time_ns: 5,
            ifindex: 2,
            packet_bytes: length,
            copied_bytes: length,
            dropped: 1,
            raw_ip: 0,
            reserved: 0,
        };
        reading.echo(&Copied { head, bytes })
    }

    fn v4() -> Vec<u8> {
        let kind = Kind { family: Family::V4, echo: Echo::Reply };
        let message = EchoMessage::new(kind, 43, 7, b"0123456").code(2);
        Frame::v4(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2), &message).bytes()
    }

    #[test]
    fn every_field_is_the_packets() {
        let seen = read(&v4()).expect("an echo");
        assert_eq!((seen.kind, seen.icmp_type, seen.code, seen.id, seen.seq), ("reply", 0, 2, 43, 7));
        assert_eq!((seen.payload_bytes, seen.time_ns, seen.absorbed), (7, 1_005, true));
        assert_eq!(seen.source, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(seen.checksum, Checksum::Good);
    }

    #[test]
    fn one_flipped_bit_makes_the_checksum_bad() {
        let mut bytes = v4();
        *bytes.last_mut().expect("bytes") ^= 1;
        assert_eq!(read(&bytes).map(|seen| seen.checksum), Some(Checksum::Bad));
    }

    #[test]
    fn ipv6_sums_its_addresses_too() {
        let kind = Kind { family: Family::V6, echo: Echo::Request };
        let bytes = Frame::v6(SOURCE, DESTINATION, &EchoMessage::new(kind, 1, 1, b"odd")).bytes();
        assert_eq!(read(&bytes).map(|seen| seen.checksum), Some(Checksum::Good));
    }

    #[test]
    fn of_a_part_of_a_packet_the_checksum_is_unknown() {
        let bytes = v4();
        assert_eq!(read(&bytes[..bytes.len() - 1]).map(|seen| seen.checksum), Some(Checksum::Unknown));
    }
}
