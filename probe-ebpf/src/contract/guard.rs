//! The guard: replies pass only if a request went the other way before, and this is how requests are remembered.
//!
//! States lie in sets of [`WAYS`] places; the hash of a state's key says in which set. Nothing sweeps the table: a place
//! whose time is over is taken again. Whoever asks from one address holds at most [`SHARE`] places of a set, and makes
//! room there by giving up the oldest of its own states that nobody has answered. No state of anybody else, and no
//! answered one, ever makes room: where a set is full, the new state is refused, and counted.

mod config;
mod count;
mod hash;
mod word;

use bytemuck::{Pod, Zeroable};

pub use config::{
    GuardConfig, GuardRecord, KEY_ANSWERER, KEY_ASKER, KEY_CODE, KEY_ID, KEY_SEQ, PROTECT_IN, PROTECT_OUT,
    REFRESH_REPLY, REFRESH_REQUEST,
};
pub use count::GuardCount;
pub use hash::{Home, home, share_tag};
pub use word::{BUSY, FREE, Word, tick, tick_after};

/// Places of a set.
pub const WAYS: usize = 16;

/// How many places of a set may hold live states of one asker: of one IPv4 address, or of one IPv6 network of 64 bits,
/// from which a single host may take any address.
pub const SHARE: u32 = 8;

/// What tells one state from another. Fields that the guard does not look at are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C, align(8))]
pub struct GuardKey {
    /// The end that sends requests, as [`crate::packet::address_words`] has it.
    pub asker: [u64; 2],
    /// The end that sends replies, the same way.
    pub answerer: [u64; 2],
    /// Echo id.
    pub id: u16,
    /// Echo sequence number.
    pub seq: u16,
    /// ICMP code.
    pub code: u8,
    /// 4 or 6: ICMP never answers `ICMPv6`.
    pub family: u8,
    /// 1 where the requests leave through this NIC, 0 where they enter.
    pub outbound: u8,
    /// Zero.
    pub reserved: u8,
}

/// Which states lie in a set, until when: 128 bytes, two cache lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct GuardSet {
    /// One [`Word`] for each place.
    pub words: [u64; WAYS],
}

/// The rest of a state; its place in the array is [`WAYS`] times its set plus its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GuardState {
    /// What it is known by.
    pub key: GuardKey,
    /// How many replies may still pass, where the guard limits them; a number with a sign.
    pub left: i64,
}

const _: () = assert!(size_of::<GuardKey>() == 40 && size_of::<GuardSet>() == 8 * WAYS);
