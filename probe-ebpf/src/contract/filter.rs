//! The filter: an array by id says which rule holds, so that a packet costs one look-up however many rules there are.

use bytemuck::{Pod, Zeroable};

use super::{kind::Kind, tally::Count};

/// Which rule holds for one id: by [`Kind::index`] the rule's slot plus one, or 0 for none.
///
/// 8 bytes: the kernel keeps elements of an array that far apart, and the user half writes each in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(8))]
pub struct Cell {
    /// By [`Kind::index`].
    pub slots: [u16; Kind::COUNT],
}

/// How many rules an interface can have.
pub const MAX_RULES: usize = 256;

/// One rule, as the kernel and `probe filter list` read it. A slot that is not in use is all zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Rule {
    /// `CLOCK_MONOTONIC` in nanoseconds from which on the rule no longer holds; 0: it holds until it is removed.
    /// The kernel compares it with the coarse clock, which is exact to two ticks (of 1 to 10 ms).
    pub deadline_ns: u64,
    /// When it was added: seconds since 1970.
    pub added_unix_s: u64,
    /// The user who added it.
    pub added_by_uid: u32,
    /// Its number in `probe filter list`, from 1 on, never used twice while the filter lives; 0: slot not in use.
    pub number: u32,
    /// The first id.
    pub id_first: u16,
    /// The last id, which belongs to it.
    pub id_last: u16,
    /// Bit [`Kind::index`]: the rule drops that kind.
    pub kinds: u32,
}

/// What a rule did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Deed {
    /// What it dropped.
    pub dropped: Count,
    /// `CLOCK_MONOTONIC` in nanoseconds of the last drop, exact to two ticks; 0: never.
    pub last_ns: u64,
    /// The number of the kernel's tick at the last drop: within the same tick the clock need not be asked again.
    pub last_tick: u64,
}
