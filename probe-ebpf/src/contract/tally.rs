//! Counters by id: what a hop counted, in rows so that processors do not share cache lines.

use bytemuck::{Pod, Zeroable};

use super::kind::Kind;

/// Packets and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes of those packets from the IP header on, according to the IP header: the same at each hop.
    pub bytes: u64,
}

/// The counts of one id at one hop: one cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Tally {
    /// By [`Kind::index`].
    pub kinds: [Count; Kind::COUNT],
}

/// The number of ids: the length of a row.
pub const IDS: u32 = 1 << 16;

/// The most rows of a tally. A machine with more processors shares rows, and then counts with atomic additions: 64 bytes ×
/// 65,536 ids × 16 rows are 64 MiB per hop, and a tool that looks for a lost ping should not take more.
pub const MAX_ROWS: u32 = 16;

/// Returns the number of rows of the tallies on a machine with this many possible processors: a power of two.
pub const fn rows(processors: u32) -> u32 {
    let mut rows = 1;
    while rows < processors && rows < MAX_ROWS {
        rows *= 2;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_a_power_of_two_with_one_for_each_processor_up_to_the_most() {
        for processors in 1..=4096 {
            let rows = rows(processors);
            assert!(rows.is_power_of_two());
            assert!(rows >= processors || rows == MAX_ROWS);
            assert!(rows == 1 || rows / 2 < processors, "{rows} rows for {processors} processors");
        }
        assert_eq!(rows(u32::MAX), MAX_ROWS);
    }

    #[test]
    fn a_tally_fills_one_cache_line() {
        assert_eq!((size_of::<Tally>(), align_of::<Tally>()), (64, 64));
    }
}
