//! The guard: replies pass only if a request went the other way before. This is how requests are remembered.
//!
//! States are kept in sets of [`WAYS`] places; the hash of a state's key selects the set. Nothing sweeps the table: an
//! expired place is reused. One address that sends requests holds at most [`SHARE`] places of a set, and makes room there by
//! giving up the oldest of its own unanswered states. No state of anybody else, and no answered one, is ever evicted: if a
//! set
//! is full, the new state is refused, and counted.

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

/// The most places of a set with live states of one asker: of one IPv4 address, or of one IPv6 network of 64 bits, from
/// which a single host may use any address.
pub const SHARE: u32 = 8;

/// The key of a state. Fields that the guard ignores are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C, align(8))]
pub struct GuardKey {
    /// The end that sends requests, as [`crate::packet::address_words`] has it.
    pub asker: [u64; 2],
    /// The end that sends replies, in the same form.
    pub answerer: [u64; 2],
    /// Echo id.
    pub id: u16,
    /// Echo sequence number.
    pub seq: u16,
    /// ICMP code.
    pub code: u8,
    /// 4 or 6: ICMP never replies to `ICMPv6`.
    pub family: u8,
    /// 1 if the requests leave through this NIC, 0 if they enter.
    pub outbound: u8,
    /// Zero.
    pub reserved: u8,
}

/// The states of a set and when they expire: 128 bytes, two cache lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct GuardSet {
    /// One [`Word`] for each place.
    pub words: [u64; WAYS],
}

/// The rest of a state; its index in the array is [`WAYS`] times its set plus its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GuardState {
    /// Its key.
    pub key: GuardKey,
    /// How many replies may still pass, if the guard limits them; signed.
    pub left: i64,
}

const _: () = assert!(size_of::<GuardKey>() == 40 && size_of::<GuardSet>() == 8 * WAYS);
