//! The bytes of a shot's ICMP message: pure.

use std::net::IpAddr;

use probe_ebpf::{Echo, Family, Kind};

use super::{EchoFields, PacketSpec, Quoted, What};
use crate::traffic::{EchoMessage, Frame, checksum, prober::payload, target::family_of};

/// Bytes of a packet that an ICMP error quotes at most, so that the error fits in 576 bytes (RFC 1812 §4.3.2.3).
const MOST_QUOTED_V4: usize = 576 - 20 - 8;

/// The same for `ICMPv6` and the least MTU of IPv6 (RFC 4443 §3.1).
const MOST_QUOTED_V6: usize = 1280 - 40 - 8;

/// Destination unreachable (RFC 792, RFC 4443 §3.1).
const UNREACHABLE_V4: u8 = 3;
const UNREACHABLE_V6: u8 = 1;

/// The TTL that a quoted packet has left: it says nothing, and must not be 0.
const QUOTED_TTL: u8 = 63;

/// The ICMP message of `shot`, with its checksum for IPv4; for IPv6 without, which the kernel fills in as it knows the
/// source address. Nothing where a quoted packet is not of one IP version with the shot.
pub fn bytes(shot: &PacketSpec) -> Option<Vec<u8>> {
    let family = family_of(shot.destination);
    match &shot.what {
        What::Request(fields) => Some(echo(Kind { family, echo: Echo::Request }, shot.number, fields)),
        What::Reply(fields) => Some(echo(Kind { family, echo: Echo::Reply }, shot.number, fields)),
        What::Unreachable { code, quoted } => unreachable(family, *code, &quote(quoted, family, shot.number)?),
    }
}

fn echo(kind: Kind, number: u16, fields: &EchoFields) -> Vec<u8> {
    let payload = payload(number, fields.nonce, fields.size.into());
    let message = EchoMessage::new(kind, fields.id, fields.seq, &payload).code(fields.code);
    let mut out = Vec::new();
    match kind.family {
        Family::V4 => message.write_v4(&mut out),
        Family::V6 => message.write_unsealed(&mut out),
    }
    out
}

fn unreachable(family: Family, code: u8, quote: &[u8]) -> Option<Vec<u8>> {
    let icmp_type = if family == Family::V4 { UNREACHABLE_V4 } else { UNREACHABLE_V6 };
    let mut out = vec![icmp_type, code, 0, 0, 0, 0, 0, 0];
    out.extend(quote);
    if family == Family::V4 {
        let sum = checksum(&out);
        out[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    Some(out)
}

/// The quoted packet from its IP header on, as far as an error quotes it; its own checksums are good.
fn quote(quoted: &Quoted, family: Family, number: u16) -> Option<Vec<u8>> {
    let payload = payload(number, quoted.fields.nonce, quoted.fields.size.into());
    let kind = Kind { family, echo: quoted.echo };
    let EchoFields { id, seq, code, .. } = quoted.fields;
    let message = EchoMessage::new(kind, id, seq, &payload).code(code);
    let (mut packet, most) = match (family, quoted.source, quoted.destination) {
        (Family::V4, IpAddr::V4(source), IpAddr::V4(destination)) => {
            (Frame::v4(source, destination, &message).ttl(QUOTED_TTL).ip_bytes(), MOST_QUOTED_V4)
        }
        (Family::V6, IpAddr::V6(source), IpAddr::V6(destination)) => {
            (Frame::v6(source, destination, &message).ttl(QUOTED_TTL).ip_bytes(), MOST_QUOTED_V6)
        }
        _ => return None,
    };
    packet.truncate(most);
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::sender::Fragmentation;
    use probe_ebpf::Echo;

    const FIELDS: EchoFields = EchoFields { id: 0x1234, seq: 7, code: 0, size: 56, nonce: 9 };

    fn shot(what: What, destination: &str) -> PacketSpec {
        let destination = destination.parse().expect("an address");
        PacketSpec {
            number: 3,
            after_ms: 0,
            what,
            source: None,
            destination,
            ttl: None,
            fragmentation: Fragmentation::Allowed,
        }
    }

    fn quoting(source: &str, destination: &str, size: u16) -> What {
        let [source, destination] = [source, destination].map(|text| text.parse().expect("an address"));
        let fields = EchoFields { size, ..FIELDS };
        What::Unreachable { code: 1, quoted: Quoted { source, destination, echo: Echo::Request, fields } }
    }

    #[test]
    fn an_echo_message_carries_the_mark_of_its_number() {
        let message = bytes(&shot(What::Reply(EchoFields { code: 1, ..FIELDS }), "10.0.0.2")).expect("bytes");
        assert_eq!((message[0], message[1], message.len()), (0, 1, 8 + 56));
        assert_eq!(checksum(&message), 0);
        assert_eq!(message[8..], payload(3, 9, 56));
        let v6 = bytes(&shot(What::Request(FIELDS), "fd00::2")).expect("bytes");
        assert_eq!((v6[0], &v6[2..4]), (128, &[0, 0][..]));
    }

    #[test]
    fn an_error_quotes_the_packet_with_its_mark_and_both_checksums_are_good() {
        let message = bytes(&shot(quoting("10.0.0.2", "10.0.0.1", 56), "10.0.0.2")).expect("bytes");
        assert_eq!((message[0], message[1], checksum(&message)), (3, 1, 0));
        let quoted = &message[8..];
        assert_eq!((quoted.len(), checksum(&quoted[..20])), (20 + 8 + 56, 0));
        assert_eq!((&quoted[12..16], &quoted[16..20]), (&[10, 0, 0, 2][..], &[10, 0, 0, 1][..]));
        assert_eq!((quoted[20], checksum(&quoted[20..])), (8, 0));
        assert_eq!(quoted[28..], payload(3, 9, 56));
    }

    #[test]
    fn a_long_packet_is_quoted_in_part_and_a_mixed_one_not_at_all() {
        let v4 = bytes(&shot(quoting("10.0.0.2", "10.0.0.1", 1400), "10.0.0.2")).expect("bytes");
        let v6 = bytes(&shot(quoting("fd00::2", "fd00::1", 1400), "fd00::2")).expect("bytes");
        assert_eq!((v4.len(), v6.len(), v6[0]), (8 + MOST_QUOTED_V4, 8 + MOST_QUOTED_V6, 1));
        assert_eq!(bytes(&shot(quoting("fd00::2", "fd00::1", 56), "10.0.0.2")), None);
    }
}
