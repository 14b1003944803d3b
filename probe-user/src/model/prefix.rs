//! A range of IP addresses, as the user types it (`10.0.0.0/8`, `fd00::1`) and as the kernel programs compare it.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use probe_ebpf::{Family, filter::AddressMask};

/// Reports whether every link has a network with that address (`fe80::/10`).
pub fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The addresses that start with the same bits as `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The first of the addresses.
    pub address: IpAddr,
    /// How many bits they share.
    pub length: u8,
}

/// The prefix length of IPv4-mapped IPv6 addresses (RFC 4291 §2.5.5.2).
const MAPPED_BITS: u8 = 96;

impl Prefix {
    /// Returns the IP version of its addresses.
    pub fn family(&self) -> Family {
        if self.address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// Returns the mask that the kernel programs compare with.
    pub fn mask(&self) -> AddressMask {
        let (address, length) = match self.address {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped(), MAPPED_BITS + self.length),
            IpAddr::V6(v6) => (v6, self.length),
        };
        AddressMask { address: words(address.octets()), mask: words(bits(length).to_be_bytes()) }
    }

    /// Converts a `mask` that [`Prefix::mask`] made.
    pub fn of(mask: &AddressMask) -> Self {
        let octets: [u8; 16] = bytemuck::cast(mask.address);
        let length = mask.mask.iter().map(|word| word.count_ones()).sum::<u32>();
        let length = u8::try_from(length).unwrap_or(u8::MAX);
        let v6 = Ipv6Addr::from(octets);
        match v6.to_ipv4_mapped() {
            Some(v4) if length >= MAPPED_BITS => Self { address: IpAddr::V4(v4), length: length - MAPPED_BITS },
            _ => Self { address: IpAddr::V6(v6), length },
        }
    }

    fn longest(address: IpAddr) -> u8 {
        if address.is_ipv4() { 32 } else { 128 }
    }

    /// Returns the prefix of that length around `address`.
    fn around(address: IpAddr, length: u8) -> Self {
        let first = match address {
            IpAddr::V4(v4) => {
                let mask = bits(MAPPED_BITS + length) as u32;
                IpAddr::V4((u32::from(v4) & mask).into())
            }
            IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & bits(length)).into()),
        };
        Self { address: first, length }
    }
}

/// Reports whether two addresses of one IP version have the same first `bits`; more bits than they have are all they have.
pub fn shares(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let bits = bits.min(Prefix::longest(one));
    one.is_ipv4() == other.is_ipv4() && Prefix::around(one, bits) == Prefix::around(other, bits)
}

/// Returns the first address of the net that has `bits` of `address`.
pub fn network(address: IpAddr, bits: u8) -> IpAddr {
    Prefix::around(address, bits.min(Prefix::longest(address))).address
}

/// Returns a number with its first `length` bits set.
fn bits(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

fn words(octets: [u8; 16]) -> [u64; 2] {
    bytemuck::cast(octets)
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (typed, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = typed
            .parse()
            .map_err(|_| format!("'{typed}' is not an IP address: write it as in 10.0.0.0/8, 192.0.2.7 or fd00::/8"))?;
        let longest = Self::longest(address);
        let length = match length {
            None => longest,
            Some(length) => length.parse().ok().filter(|length| *length <= longest).ok_or_else(|| {
                format!("'{length}' is not the length of a prefix: write a number from 0 to {longest}")
            })?,
        };
        let prefix = Self::around(address, length);
        if prefix.address == address {
            Ok(prefix)
        } else {
            Err(format!("'{text}' has bits set after its prefix: write {prefix}, or {address} for that address alone"))
        }
    }
}

/// Formats it like `10.0.0.0/8`; a single address without its length.
impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == Self::longest(self.address) {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.length)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contains(prefix: Prefix, address: IpAddr) -> bool {
        let octets = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        prefix.mask().contains(words(octets))
    }

    #[test]
    fn a_prefix_holds_its_addresses_and_no_others() {
        let rows = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "fd00::1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "fe80::1", true),
        ];
        for (prefix, address, expected) in rows {
            let (prefix, address): (Prefix, IpAddr) = (prefix.parse().expect("good"), address.parse().expect("good"));
            assert_eq!(contains(prefix, address), expected, "{address} in {prefix}");
        }
    }

    #[test]
    fn what_is_no_prefix_is_told_with_what_would_be() {
        let error = |text: &str| text.parse::<Prefix>().expect_err(text);
        assert!(error("10.0.0").contains("10.0.0.0/8"));
        assert!(error("10.0.0.0/33").contains("from 0 to 32"));
        assert!(error("fd00::/129").contains("from 0 to 128"));
        assert!(error("10.1.2.3/8").contains("write 10.0.0.0/8, or 10.1.2.3 for that address alone"));
        assert!(error("10.0.0.0/").contains("from 0 to 32"));
    }

    proptest! {
        #[test]
        fn a_prefix_comes_back_from_its_mask_and_its_text(v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>(), length in 0..=128_u8) {
            for prefix in [Prefix::around(IpAddr::from(v4), length % 33), Prefix::around(IpAddr::from(v6), length)] {
                prop_assert_eq!(prefix.to_string().parse::<Prefix>(), Ok(prefix));
                // IPv4 addresses in IPv6 are IPv4 to the kernel programs.
                if !matches!(prefix.address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
                    prop_assert_eq!(Prefix::of(&prefix.mask()), prefix);
                }
            }
        }
    }

    #[test]
    fn prefixes_of_both_versions_are_compared_from_their_first_bit() {
        let six = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(shares(six("2001:db8::1"), six("2001:db8::ffff"), 64));
        assert!(!shares(six("2001:db8::1"), six("2001:db8:0:1::1"), 64));
        assert!(!shares(six("::ffff"), [0, 0, 255, 255].into(), 0));
    }
}
