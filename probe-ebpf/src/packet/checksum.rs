//! Updates a checksum after one word of what it covers has changed.

/// Returns the Internet checksum `sum` after a word that it covers changed from `old` to `new` (RFC 1624, equation 3); all
/// numbers as read in network byte order.
#[inline(always)]
pub const fn updated(sum: u16, old: u16, new: u16) -> u16 {
    let total = !sum as u32 + !old as u32 + new as u32;
    let folded = (total & 0xffff) + (total >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Computes the checksum of words (RFC 1071), from scratch.
    fn checksum(words: &[u16]) -> u16 {
        let mut sum: u64 = words.iter().map(|word| u64::from(*word)).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_rfc_1624_comes_out() {
        assert_eq!(updated(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    proptest! {
        /// Checks that an update equals a new sum, where 0 and 0xffff mean the same to a receiver, and only words of zeros
        /// give 0xffff.
        #[test]
        fn an_update_is_as_good_as_a_sum_from_scratch(
            mut words in proptest::collection::vec(any::<u16>(), 1..40), at: proptest::sample::Index, new: u16,
        ) {
            let before = checksum(&words);
            let at = at.index(words.len());
            let after = updated(before, words[at], new);
            words[at] = new;
            words.push(after);
            let zero = words.iter().all(|word| *word == 0);
            prop_assert!(checksum(&words) == 0 || zero, "{after:#x}");
        }
    }
}
