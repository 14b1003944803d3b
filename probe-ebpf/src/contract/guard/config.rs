//! The configuration of a guard: the frozen global of its programs, and the record that `probe filter list` reads.

use bytemuck::{Pod, Zeroable};

/// [`GuardConfig::key`]: the address of the end that sends requests.
pub const KEY_ASKER: u32 = 1;
/// [`GuardConfig::key`]: the address of the end that sends replies.
pub const KEY_ANSWERER: u32 = 1 << 1;
/// [`GuardConfig::key`]: the echo id.
pub const KEY_ID: u32 = 1 << 2;
/// [`GuardConfig::key`]: the sequence number.
pub const KEY_SEQ: u32 = 1 << 3;
/// [`GuardConfig::key`]: the ICMP code.
pub const KEY_CODE: u32 = 1 << 4;

/// [`GuardConfig::protect`]: replies that enter are judged by requests that left.
pub const PROTECT_IN: u32 = 1;
/// [`GuardConfig::protect`]: replies that leave are judged by requests that entered.
pub const PROTECT_OUT: u32 = 1 << 1;

/// [`GuardConfig::refresh`]: a further request restarts a state's timeout.
pub const REFRESH_REQUEST: u32 = 1;
/// [`GuardConfig::refresh`]: a reply that passes restarts it.
pub const REFRESH_REPLY: u32 = 1 << 1;

/// The frozen global [`crate::names::GUARD_CONFIG`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GuardConfig {
    /// How long an unanswered state lives, in nanoseconds.
    pub timeout_ns: u64,
    /// How long an answered state lives, in nanoseconds.
    pub answered_timeout_ns: u64,
    /// `CLOCK_MONOTONIC` in nanoseconds from which on everything passes; 0: never.
    pub deadline_ns: u64,
    /// The secret of the hash: nobody outside can tell which keys share a set.
    pub secret: [u64; 5],
    /// Sets minus one; their number is a power of two.
    pub set_mask: u32,
    /// The fields that distinguish states: bits `KEY_…`.
    pub key: u32,
    /// Whose replies are judged: bits `PROTECT_…`.
    pub protect: u32,
    /// What restarts a state's timeout: bits `REFRESH_…`.
    pub refresh: u32,
    /// 1: the first reply restarts a state's timeout, whatever `refresh` says.
    pub first_reply_counts: u32,
    /// How many replies pass for each request; 0: any number.
    pub replies: u32,
    /// 1: requests with another code than 0 make no state, and such replies are dropped.
    pub code_zero: u32,
    /// 1: requests in the direction of the judged replies are dropped.
    pub deny_requests: u32,
    /// 1: judge and count, but drop nothing.
    pub dry_run: u32,
    /// 1: the time is [`GuardRecord::clock_ns`], which tests set.
    pub test_clock: u32,
}

/// The one entry of [`crate::names::GUARD`]. The kernel half reads only the clock of tests from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GuardRecord {
    /// The time if [`GuardConfig::test_clock`] is set.
    pub clock_ns: u64,
    /// When the guard was made: seconds since 1970.
    pub added_unix_s: u64,
    /// The user who made it.
    pub added_by_uid: u32,
    /// Which of its programs judges or notes what enters: 0 tc, 1 XDP in the driver, 2 XDP in the receive path.
    pub ingress: u32,
    /// Its configuration.
    pub config: GuardConfig,
}
