//! The Internet checksum (RFC 1071), as used by ICMP and `ICMPv6`.

use std::net::Ipv6Addr;

use probe_ebpf::packet::ICMPV6;

/// Computes the checksum of `bytes` (RFC 1071), in host byte order, for an ICMP message whose checksum field is zero. Over a
/// message with the field filled in it returns 0 if the checksum is correct.
pub fn checksum(bytes: &[u8]) -> u16 {
    finish(sum(bytes))
}

/// Computes the checksum of an `ICMPv6` message with its pseudo-header (RFC 8200 §8.1, RFC 4443 §2.3), in host byte order.
/// `destination` is the final one, even if a routing header names another first. Over a message with the field filled in it
/// returns 0 if the checksum is correct.
pub fn checksum_v6(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let numbers = sum(&length.to_be_bytes()) + sum(&u32::from(ICMPV6).to_be_bytes());
    finish(sum(&source.octets()) + sum(&destination.octets()) + numbers + sum(message))
}

/// Sums the big-endian 16-bit words of `bytes`; an odd last byte is the high half of a word.
fn sum(bytes: &[u8]) -> u64 {
    let (words, odd) = bytes.as_chunks::<2>();
    let even: u64 = words.iter().map(|&word| u64::from(u16::from_be_bytes(word))).sum();
    even + odd.first().map_or(0, |&byte| u64::from(byte) << 8)
}

/// Adds the carries back in and takes the one's complement.
fn finish(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("the carries were added back in")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&bytes), !0xddf2);
    }

    #[test]
    fn nothing_and_an_odd_byte_have_a_checksum_too() {
        assert_eq!(checksum(&[]), 0xffff);
        assert_eq!(checksum(&[0x12]), !0x1200);
        assert_eq!(checksum(&[0x12]), checksum(&[0x12, 0x00]));
    }

    #[test]
    fn a_message_as_long_as_ip_allows_does_not_overflow() {
        assert_eq!(checksum(&[0xff; 65_535]), checksum(&[0xff, 0x00]));
    }

    proptest! {
        #[test]
        fn the_order_of_words_does_not_matter(mut words in prop::collection::vec(any::<[u8; 2]>(), 0..64)) {
            let before = checksum(words.as_flattened());
            words.reverse();
            prop_assert_eq!(checksum(words.as_flattened()), before);
        }

        #[test]
        fn the_pseudo_header_is_the_same_as_those_bytes_in_front(
            source: u128, destination: u128, message in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut whole = [source.to_be_bytes(), destination.to_be_bytes()].concat();
            whole.extend(u32::try_from(message.len()).expect("short").to_be_bytes());
            whole.extend([0, 0, 0, 58]);
            whole.extend(&message);
            prop_assert_eq!(checksum_v6(source.into(), destination.into(), &message), checksum(&whole));
        }
    }
}
