//! Addresses as the kernel half compares them.

use std::net::IpAddr;

/// Returns the two words of an address, IPv4 as mapped into IPv6 (RFC 4291 §2.5.5.2); in network byte order.
pub fn words(address: IpAddr) -> [u64; 2] {
    let octets = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    bytemuck::cast(octets)
}
