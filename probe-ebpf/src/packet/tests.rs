//! Tests of the packet parser: every branch by hand-written bytes, and properties of all packets by generated ones.

mod build;
mod ethernet;
mod ipv4;
mod ipv6;
mod properties;
mod tunnel;

use super::{EchoPacket, LinkLayer, parse};
use crate::contract::Skip;

/// Parses a frame.
fn read(frame: &[u8]) -> Result<EchoPacket, Skip> {
    parse(frame, LinkLayer::Ethernet)
}

/// Checks that `frame` is read as `expected`, and that no truncated frame without all of its headers is.
fn assert_echo(frame: &[u8], expected: &EchoPacket) {
    assert_eq!(read(frame), Ok(*expected));
    let headers = expected.icmp_offset + 8;
    for length in 0..frame.len() {
        let cut = if length < headers { Err(Skip::Truncated) } else { Ok(*expected) };
        assert_eq!(read(&frame[..length]), cut, "cut to {length} bytes");
    }
}

/// Checks that `frame` is skipped for that reason, and that no part of it is taken for an echo packet.
fn assert_skip(frame: &[u8], skip: Skip) {
    assert_eq!(read(frame), Err(skip));
    for length in 0..frame.len() {
        let cut = read(&frame[..length]);
        assert!(cut == Err(skip) || cut == Err(Skip::Truncated), "cut to {length} bytes: {cut:?}");
    }
}
