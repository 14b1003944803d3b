//! Which ICMP messages reach the reading socket: socket filters in classic BPF, so that a busy host does not fill it.

use std::net::IpAddr;

use nix::sys::socket::setsockopt;
use probe_ebpf::{Family, journey::MAGIC};
use socket2::{SockFilter, Socket};

use super::incoming::{ERRORS_V4, ERRORS_V6};
use crate::traffic::{
    options::{IcmpFilter, Icmpv6Filter},
    target::family_of,
};

/// Who reads replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::traffic) enum ReplyChoice {
    /// This reader, as far as they have the run's mark.
    Read,
    /// Somebody else.
    Left,
}

/// The captured bytes of a packet: enough for IP headers with options, an error, and a quoted mark.
pub(super) const SNAP_BYTES: u32 = 256;

/// Opcodes of `linux/bpf_common.h`: load the word or byte at X + k or at k, load the IPv4 header's length into X.
const LOAD_WORD_X: u16 = 0x40;
const LOAD_BYTE_X: u16 = 0x50;
const LOAD_X_HEADER: u16 = 0xb1;
const SET_X: u16 = 0x01;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Where the mark's magic and its nonce are in an echo message.
const MAGIC_AT: u32 = 8;
const NONCE_AT: u32 = 16;

/// Keeps everything but ICMP errors, and replies if they are read here, from a raw socket.
///
/// # Errors
/// The kernel's answer.
pub(in crate::traffic) fn refuse_types(socket: &Socket, family: Family, replies: ReplyChoice) -> nix::Result<()> {
    match family {
        Family::V4 => setsockopt(socket, IcmpFilter, &refused_types_v4(replies)),
        Family::V6 => setsockopt(socket, Icmpv6Filter, &refused_types_v6(replies)),
    }
}

/// Returns the bits of the types that a raw socket must not receive (`ICMP_FILTER`); 1: refused.
fn refused_types_v4(replies: ReplyChoice) -> u32 {
    let open = ERRORS_V4.into_iter().chain((replies == ReplyChoice::Read).then_some(0));
    open.fold(u32::MAX, |bits, icmp_type| bits & !(1 << icmp_type))
}

/// Returns the bits for `ICMPV6_FILTER`, in which echo replies have type 129.
fn refused_types_v6(replies: ReplyChoice) -> [u32; 8] {
    let mut bits = [u32::MAX; 8];
    for icmp_type in ERRORS_V6.into_iter().chain((replies == ReplyChoice::Read).then_some(129)) {
        bits[usize::from(icmp_type / 32)] &= !(1 << (icmp_type % 32));
    }
    bits
}

/// Keeps replies with a mark of this run, and ICMP errors about packets to `target`; drops all else.
pub(super) fn program(target: IpAddr, nonce: u64) -> Vec<SockFilter> {
    let reply_type = if family_of(target) == Family::V4 { 0 } else { 129 };
    let start = match family_of(target) {
        Family::V4 => SockFilter::new(LOAD_X_HEADER, 0, 0, 0),
        Family::V6 => SockFilter::new(SET_X, 0, 0, 0),
    };
    let [high, low] = [(nonce >> 32) as u32, nonce as u32];
    let reply = [(MAGIC_AT, u32::from_be_bytes(MAGIC)), (NONCE_AT, high), (NONCE_AT + 4, low)];
    let quoted = quoted_destination(target);
    let mut program = vec![start, SockFilter::new(LOAD_BYTE_X, 0, 0, 0)];
    // Jump to the checks of errors: over those of replies and over their return.
    program.push(SockFilter::new(JUMP_EQUAL, 0, length(&reply) + 2, reply_type));
    push_checks(&mut program, &reply);
    push_checks(&mut program, &quoted);
    program
}

/// Counts the instructions of these checks.
fn length(checks: &[(u32, u32)]) -> u8 {
    u8::try_from(checks.len() * 2).expect("a handful")
}

/// Adds instructions that keep the packet if every word matches, and drop it otherwise.
fn push_checks(program: &mut Vec<SockFilter>, checks: &[(u32, u32)]) {
    for (number, (at, value)) in checks.iter().enumerate() {
        let to_drop = length(&checks[number + 1..]) + 1;
        program.push(SockFilter::new(LOAD_WORD_X, 0, 0, *at));
        program.push(SockFilter::new(JUMP_EQUAL, 0, to_drop, *value));
    }
    program.push(SockFilter::new(RETURN, 0, 0, SNAP_BYTES));
    program.push(SockFilter::new(RETURN, 0, 0, 0));
}

/// Returns where the destination of the quoted packet is in an ICMP error, and its words.
fn quoted_destination(target: IpAddr) -> Vec<(u32, u32)> {
    match target {
        IpAddr::V4(address) => vec![(8 + 16, address.to_bits())],
        IpAddr::V6(address) => {
            let words = address.octets().as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word)).collect();
            let words: Vec<u32> = words;
            (0..).zip(words).map(|(number, word)| (8 + 24 + 4 * number, word)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_replies_and_errors_are_let_through() {
        let open: Vec<u32> = (0..32).filter(|bit| refused_types_v4(ReplyChoice::Read) & (1 << bit) == 0).collect();
        assert_eq!(open, [0, 3, 4, 5, 11, 12]);
        let open: Vec<usize> =
            (0..256).filter(|bit| refused_types_v6(ReplyChoice::Read)[bit / 32] & (1 << (bit % 32)) == 0).collect();
        assert_eq!(open, [1, 2, 3, 4, 129]);
        assert_eq!(refused_types_v4(ReplyChoice::Left), refused_types_v4(ReplyChoice::Read) | 1);
        assert_ne!(refused_types_v6(ReplyChoice::Left)[4] & 2, 0);
    }

    #[test]
    fn every_jump_stays_in_the_program() {
        for target in ["10.0.0.2", "fd00::2"] {
            let program = program(target.parse().expect("an address"), 7);
            assert!(program.len() < 32, "{}", program.len());
        }
    }
}
