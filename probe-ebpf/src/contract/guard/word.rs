//! A place of a set in 8 bytes, so that it changes in one step: when its state expires, and whose it may be.

/// The length of a guard's tick: 2^20 nanoseconds, about a millisecond.
const TICK_LOG2: u32 = 20;
const TICK_NS: u64 = 1 << TICK_LOG2;

/// The bits of [`super::Home::tag`].
pub(super) const TAG_MASK: u64 = (1 << 12) - 1;
/// The position of [`super::share_tag`].
pub(super) const SHARE_SHIFT: u32 = 12;
pub(super) const SHARE_MASK: u64 = ((1 << 11) - 1) << SHARE_SHIFT;
const ANSWERED_SHIFT: u32 = 23;
const DEADLINE_SHIFT: u32 = 24;

/// The word of a place that never held a state.
pub const FREE: u64 = 0;

/// The word of a place that is being filled: it never expires, so nobody else takes it.
pub const BUSY: u64 = u64::MAX;

/// The word of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(pub u64);

impl Word {
    /// Builds the word of an unanswered state that expires at the tick `deadline`.
    #[inline(always)]
    pub const fn new(tag: u64, share: u64, deadline: u64) -> Self {
        Self(tag | share | (deadline << DEADLINE_SHIFT))
    }

    /// Returns the tick at which it expires: 40 bits, enough for 36 years of uptime.
    #[inline(always)]
    pub const fn deadline(self) -> u64 {
        self.0 >> DEADLINE_SHIFT
    }

    /// Returns the word with another deadline.
    #[inline(always)]
    pub const fn until(self, deadline: u64) -> Self {
        Self(self.0 & ((1 << DEADLINE_SHIFT) - 1) | (deadline << DEADLINE_SHIFT))
    }

    /// Reports whether it holds a state that is alive at the tick `now`.
    #[inline(always)]
    pub const fn lives(self, now: u64) -> bool {
        now < self.deadline()
    }

    /// Reports whether a reply has passed.
    #[inline(always)]
    pub const fn is_answered(self) -> bool {
        self.answered_bit() != 0
    }

    /// Returns 1 if a reply has passed, else 0.
    #[inline(always)]
    pub const fn answered_bit(self) -> u64 {
        self.0 >> ANSWERED_SHIFT & 1
    }

    /// Returns the word, marked as answered.
    #[inline(always)]
    pub const fn answered(self) -> Self {
        Self(self.0 | 1 << ANSWERED_SHIFT)
    }

    /// Returns 0 if it may be the state with this tag.
    #[inline(always)]
    pub const fn tag_difference(self, tag: u64) -> u64 {
        (self.0 ^ tag) & TAG_MASK
    }

    /// Returns 0 if it counts for this share.
    #[inline(always)]
    pub const fn share_difference(self, share: u64) -> u64 {
        (self.0 ^ share) & SHARE_MASK
    }
}

/// Returns the tick at `now_ns` of `CLOCK_MONOTONIC`.
#[inline(always)]
pub const fn tick(now_ns: u64) -> u64 {
    now_ns >> TICK_LOG2
}

/// Returns the first tick that starts at least `lifetime_ns` after `now_ns`: nothing expires too early.
#[inline(always)]
pub const fn tick_after(now_ns: u64, lifetime_ns: u64) -> u64 {
    tick(now_ns.saturating_add(lifetime_ns).saturating_add(TICK_NS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_each_of_its_parts() {
        let word = Word::new(0xabd, 0x7ff << SHARE_SHIFT, 0xff_1234_5678);
        assert!(
            word.tag_difference(0xabd) == 0 && word.share_difference(0x7ff << SHARE_SHIFT) == 0 && !word.is_answered()
        );
        assert!(word.tag_difference(0xabf) != 0 && word.share_difference(0x7fe << SHARE_SHIFT) != 0);
        assert_eq!(word.deadline(), 0xff_1234_5678);
        let later = word.answered().until(7);
        assert!(
            later.tag_difference(0xabd) == 0
                && later.share_difference(0x7ff << SHARE_SHIFT) == 0
                && later.is_answered()
        );
        assert_eq!(later.deadline(), 7);
        assert!(later.lives(6) && !later.lives(7));
        assert!(!Word(FREE).lives(0) && Word(BUSY).lives(u64::MAX >> DEADLINE_SHIFT >> 1));
    }

    #[test]
    fn nothing_ends_too_early_nor_two_ticks_late() {
        for now in [0, 1, TICK_NS - 1, TICK_NS, 987_654_321_987] {
            for lifetime in [1, TICK_NS, 30_000_000_000] {
                let deadline = tick_after(now, lifetime);
                assert!(deadline > tick(now + lifetime - 1));
                assert!(deadline <= tick(now + lifetime) + 1);
            }
        }
    }
}
