//! What a guard is told: the frozen global of its programs, and the record that `probe filter list` reads.

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

/// [`GuardConfig::refresh`]: a further request begins a state's time anew.
pub const REFRESH_REQUEST: u32 = 1;
/// [`GuardConfig::refresh`]: a reply that passes does.
pub const REFRESH_REPLY: u32 = 1 << 1;

/// The frozen global [`crate::names::GUARD_CONFIG`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GuardConfig {
    /// How long a state lives that nobody has answered, in nanoseconds.
    pub timeout_ns: u64,
    /// How long one lives that was answered, in nanoseconds.
    pub answered_timeout_ns: u64,
    /// `CLOCK_MONOTONIC` in nanoseconds from which on everything passes; 0: never.
    pub deadline_ns: u64,
    /// What keys are hashed with: nobody outside can tell which of them share a set.
    pub secret: [u64; 5],
    /// Sets less one; their number is a power of two.
    pub set_mask: u32,
    /// Which fields tell states apart: bits `KEY_…`.
    pub key: u32,
    /// Whose replies are judged: bits `PROTECT_…`.
    pub protect: u32,
    /// What begins a state's time anew: bits `REFRESH_…`.
    pub refresh: u32,
    /// 1: the first reply begins a state's time anew, whatever `refresh` says.
    pub first_reply_counts: u32,
    /// How many replies pass for each request; 0: any number.
    pub replies: u32,
    /// 1: requests with another code than 0 make no state, and such replies are dropped.
    pub code_zero: u32,
    /// 1: requests that travel the way of the judged replies are dropped.
    pub deny_requests: u32,
    /// 1: judge and count, but drop nothing.
    pub dry_run: u32,
    /// 1: the time is [`GuardRecord::clock_ns`], as tests set it.
    pub test_clock: u32,
}

/// The one entry of [`crate::names::GUARD`]. The kernel half reads no more of it than the clock of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GuardRecord {
    /// The time where [`GuardConfig::test_clock`] is set.
    pub clock_ns: u64,
    /// When the guard was made: seconds since 1970.
    pub added_unix_s: u64,
    /// The user who made it.
    pub added_by_uid: u32,
    /// Which of its programs judges or notes what enters: 0 tc, 1 XDP in the driver, 2 XDP in the receive path.
    pub ingress: u32,
    /// What it was told.
    pub config: GuardConfig,
}
