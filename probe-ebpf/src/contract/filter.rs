//! The filter: an array by id holds the first rule, so that a packet costs one look-up however many rules there are.

use bytemuck::{Pod, Zeroable};

use super::{kind::Kind, tally::Count};

/// The first rule for one id: by [`Kind::index`] the rule's slot plus one, or 0 for none.
///
/// 8 bytes: the kernel aligns array elements to that, and the user half writes each in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(8))]
pub struct RuleIndex {
    /// By [`Kind::index`].
    pub slots: [u16; Kind::COUNT],
}

/// The most rules that an interface can have in one direction.
pub const MAX_RULES: usize = 256;

/// [`super::Config::filter`]: packets are looked up in the index of rules, and dropped if a rule says so.
pub const ON: u32 = 1;
/// [`super::Config::filter`]: some rule has a deadline.
pub const DEADLINES: u32 = 1 << 1;
/// [`super::Config::filter`]: some rule does not drop everything that it matches.
pub const CHOICES: u32 = 1 << 2;
/// [`super::Config::filter`]: some rule matches sequence numbers or payloads.
pub const CONDITIONS: u32 = 1 << 3;
/// [`super::Config::filter`]: some rule matches addresses.
pub const ADDRESSES: u32 = 1 << 4;
/// [`super::Config::filter`]: some rule only counts.
pub const DRY_RUNS: u32 = 1 << 5;
/// [`super::Config::filter`]: the rules hold for packets that leave, not for those that enter.
pub const EGRESS: u32 = 1 << 6;
/// [`super::Config::filter`]: some rule is for echo inside the packets of tunnels.
pub const INNER: u32 = 1 << 7;

/// [`Rule::asks`]: the sequence number must be from [`Rule::seq_first`] to [`Rule::seq_last`].
pub const ASKS_SEQ: u32 = 1;
/// [`Rule::asks`]: the payload must have from [`Rule::payload_first`] to [`Rule::payload_last`] bytes.
pub const ASKS_PAYLOAD: u32 = 1 << 1;
/// [`Rule::asks`]: the source address must be in [`Rule::source`].
pub const ASKS_SOURCE: u32 = 1 << 2;
/// [`Rule::asks`]: the destination address must be in [`Rule::destination`].
pub const ASKS_DESTINATION: u32 = 1 << 3;
/// [`Rule::asks`], though no condition: the rule counts what it would drop, and the packet meets the rules after it.
pub const DRY_RUN: u32 = 1 << 4;
/// [`Rule::asks`], though no condition: a command keeps the rule alive by moving its deadline.
pub const HELD: u32 = 1 << 5;
/// [`Rule::asks`]: the echo must be inside the packet of a tunnel; without it, it must not.
pub const ASKS_INNER: u32 = 1 << 6;

/// [`Rule::action`]: drop all that matches.
pub const DROP: u32 = 0;
/// [`Rule::action`]: let all that matches pass.
pub const PASS: u32 = 1;
/// [`Rule::action`]: drop each [`Rule::amount`]th, counted over all processors, and let the others pass.
pub const EVERY: u32 = 2;
/// [`Rule::action`]: drop with a probability of [`Rule::amount`] in 2³², and let the others pass.
pub const CHANCE: u32 = 3;
/// [`Rule::action`]: drop the first [`Rule::amount`], and let the others pass.
pub const FIRST: u32 = 4;
/// [`Rule::action`]: let the first [`Rule::amount`] pass, and drop the others.
pub const AFTER: u32 = 5;
/// [`Rule::action`]: a token bucket. [`Rule::amount`] tokens arrive each second; a packet that gets one passes, the others
/// are dropped. An empty bucket takes [`Rule::burst_ns`] nanoseconds to fill.
pub const RATE: u32 = 6;

/// Returns the nanoseconds between two tokens at this rate; 0 at rate 0.
#[inline(always)]
pub const fn token_ns(per_second: u64) -> u64 {
    match 1_000_000_000_u64.checked_div(per_second) {
        Some(nanoseconds) => nanoseconds,
        None => 0,
    }
}

/// A range of addresses: those that equal `address` where `mask` has ones. In wire order, IPv4 as `::ffff:a.b.c.d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct AddressMask {
    /// The bits that all addresses of the range share.
    pub address: [u64; 2],
    /// Which bits those are.
    pub mask: [u64; 2],
}

impl AddressMask {
    /// Reports whether `address`, 16 bytes in wire order, is in the range.
    #[inline(always)]
    pub const fn contains(&self, address: [u64; 2]) -> bool {
        (address[0] & self.mask[0]) == self.address[0] && (address[1] & self.mask[1]) == self.address[1]
    }
}

/// One rule, as the kernel and `probe filter list` read it. An unused slot is all zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Rule {
    /// `CLOCK_MONOTONIC` in nanoseconds at which the rule expires; 0: it holds until it is removed. The kernel compares it
    /// with the coarse clock, which is exact to two ticks (of 1 to 10 ms).
    pub deadline_ns: u64,
    /// When it was added: seconds since 1970.
    pub added_unix_s: u64,
    /// The parameter of the action.
    pub amount: u64,
    /// The parameter of [`RATE`].
    pub burst_ns: u64,
    /// For [`ASKS_SOURCE`].
    pub source: AddressMask,
    /// For [`ASKS_DESTINATION`].
    pub destination: AddressMask,
    /// The user who added it.
    pub added_by_uid: u32,
    /// Its number in `probe filter list`, from 1 up, never reused while the filter lives; 0: unused slot.
    pub number: u32,
    /// Rules are tried in the order of their places; rules with the same place in the order of their numbers.
    pub place: u32,
    /// The slot plus one of the next rule; 0: none.
    pub next: u32,
    /// Bit [`Kind::index`]: the rule matches that kind.
    pub kinds: u32,
    /// Its further conditions: `ASKS_…`, [`DRY_RUN`], [`HELD`].
    pub asks: u32,
    /// What it does with what it matches: [`DROP`] to [`RATE`].
    pub action: u32,
    /// The first id.
    pub id_first: u16,
    /// The last id, inclusive.
    pub id_last: u16,
    /// The first sequence number, for [`ASKS_SEQ`].
    pub seq_first: u16,
    /// The last sequence number, inclusive.
    pub seq_last: u16,
    /// The fewest bytes after the ICMP header, for [`ASKS_PAYLOAD`].
    pub payload_first: u16,
    /// The most bytes after the ICMP header.
    pub payload_last: u16,
}

/// What a rule matched and did, on one processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RuleStats {
    /// What its action chose to drop: dropped, or only counted under [`DRY_RUN`].
    pub chosen: Count,
    /// Packets that it matched and its action let pass.
    pub passed: u64,
    /// `CLOCK_MONOTONIC` in nanoseconds of the last packet that it matched, exact to two ticks; 0: never.
    pub last_ns: u64,
    /// The number of the kernel's tick at that time: within one tick the clock need not be read again.
    pub last_tick: u64,
}

/// What a rule's action remembers, shared by all processors: one cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct RuleState {
    /// Packets that reached [`EVERY`], [`FIRST`] or [`AFTER`]; the latter two stop counting once nothing depends on it.
    pub seen: u64,
    /// For [`RATE`]: `CLOCK_MONOTONIC` in nanoseconds at which the bucket will be full again.
    pub full_at_ns: u64,
    /// Keeps the states of two rules on cache lines of their own.
    pub reserved: [u64; 6],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_addresses_holds_what_shares_its_bits() {
        let range = AddressMask { address: [1, 8], mask: [u64::MAX, 12] };
        assert!(range.contains([1, 8]) && range.contains([1, 11]) && range.contains([1, 8 + 16]));
        assert!(!range.contains([1, 4]) && !range.contains([0, 8]));
        assert!(AddressMask::default().contains([7, 7]));
    }

    #[test]
    fn the_states_of_two_rules_share_no_cache_line() {
        assert_eq!((size_of::<RuleState>(), align_of::<RuleState>()), (64, 64));
    }
}
