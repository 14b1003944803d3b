//! The bytes of a packet's ICMP message: pure.

use std::net::IpAddr;

use probe_ebpf::{Echo, Family, Kind};

use super::{EchoFields, PacketSpec, Quoted, What};
use crate::traffic::{EchoMessage, Frame, checksum, prober::payload, target::family_of};

/// The most bytes of a packet that an ICMP error quotes, so that the error fits in 576 bytes (RFC 1812 §4.3.2.3).
const MOST_QUOTED_V4: usize = 576 - 20 - 8;

/// The same for `ICMPv6` and the least MTU of IPv6 (RFC 4443 §3.1).
const MOST_QUOTED_V6: usize = 1280 - 40 - 8;

/// Destination unreachable (RFC 792, RFC 4443 §3.1).
const UNREACHABLE_V4: u8 = 3;
const UNREACHABLE_V6: u8 = 1;

/// The remaining TTL of a quoted packet: it means nothing, and must not be 0.
const QUOTED_TTL: u8 = 63;

/// Returns the ICMP message of `packet`, with its checksum for IPv4; without for IPv6, where the kernel fills it in, as it
/// knows the source address. `None` if a quoted packet has another IP version than the error.
pub fn bytes(packet: &PacketSpec) -> Option<Vec<u8>> {
    let family = family_of(packet.destination);
    match &packet.what {
        What::Request(fields) => Some(echo(Kind { family, echo: Echo::Request }, packet.number, fields)),
        What::Reply(fields) => Some(echo(Kind { family, echo: Echo::Reply }, packet.number, fields)),
        What::Unreachable { code, quoted } => unreachable(family, *code, &quote(quoted, family, packet.number)?),
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

/// Builds the quoted packet from its IP header on, as far as an error quotes it; its own checksums are correct.
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

    fn packet(what: What, destination: &str) -> PacketSpec {
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
        let message = bytes(&packet(What::Reply(EchoFields { code: 1, ..FIELDS }), "10.0.0.2")).expect("bytes");
        assert_eq!((message[0], message[1], message.len()), (0, 1, 8 + 56));
        assert_eq!(checksum(&message), 0);
        assert_eq!(message[8..], payload(3, 9, 56));
        let v6 = bytes(&packet(What::Request(FIELDS), "fd00::2")).expect("bytes");
        assert_eq!((v6[0], &v6[2..4]), (128, &[0, 0][..]));
    }

    #[test]
    fn an_error_quotes_the_packet_with_its_mark_and_both_checksums_are_good() {
        let message = bytes(&packet(quoting("10.0.0.2", "10.0.0.1", 56), "10.0.0.2")).expect("bytes");
        assert_eq!((message[0], message[1], checksum(&message)), (3, 1, 0));
        let quoted = &message[8..];
        assert_eq!((quoted.len(), checksum(&quoted[..20])), (20 + 8 + 56, 0));
        assert_eq!((&quoted[12..16], &quoted[16..20]), (&[10, 0, 0, 2][..], &[10, 0, 0, 1][..]));
        assert_eq!((quoted[20], checksum(&quoted[20..])), (8, 0));
        assert_eq!(quoted[28..], payload(3, 9, 56));
    }

    #[test]
    fn a_long_packet_is_quoted_in_part_and_a_mixed_one_not_at_all() {
        let v4 = bytes(&packet(quoting("10.0.0.2", "10.0.0.1", 1400), "10.0.0.2")).expect("bytes");
        let v6 = bytes(&packet(quoting("fd00::2", "fd00::1", 1400), "fd00::2")).expect("bytes");
        assert_eq!((v4.len(), v6.len(), v6[0]), (8 + MOST_QUOTED_V4, 8 + MOST_QUOTED_V6, 1));
        assert_eq!(bytes(&packet(quoting("fd00::2", "fd00::1", 56), "10.0.0.2")), None);
    }
}
