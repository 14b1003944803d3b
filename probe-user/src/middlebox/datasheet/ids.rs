//! Echo ids that no packet of this characterization had before.

/// Ids that boxes treat specially; tried on purpose, never as ordinary ids.
pub const SPECIAL: [u16; 5] = [0, 1, 1023, 1024, 65535];

/// A source of fresh ids. The seed comes from outside, so that a run can be repeated.
#[derive(Clone, Debug)]
pub struct FreshIds {
    state: u64,
    used: Vec<bool>,
    left: usize,
}

impl FreshIds {
    /// Creates a source of ids in an order that `seed` decides.
    pub fn new(seed: u64) -> Self {
        let mut ids = Self { state: seed, used: Vec::new(), left: 0 };
        ids.refill();
        ids
    }

    /// Returns an id that was not given before and is none of [`SPECIAL`]. After 65,531 ids they repeat.
    pub fn fresh(&mut self) -> u16 {
        if self.left == 0 {
            self.refill();
        }
        loop {
            let id = (self.next() >> 48) as u16;
            if !self.used[usize::from(id)] {
                self.used[usize::from(id)] = true;
                self.left -= 1;
                return id;
            }
        }
    }

    fn refill(&mut self) {
        self.used = vec![false; 1 << 16];
        for id in SPECIAL {
            self.used[usize::from(id)] = true;
        }
        self.left = (1 << 16) - SPECIAL.len();
    }

    /// Returns the next number of `SplitMix64` (Steele, Lea and Flood 2014), which is well spread but can be guessed.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_comes_twice_or_is_special_until_all_were_given() {
        let mut ids = FreshIds::new(7);
        let mut seen: Vec<u16> = (0..65_531).map(|_| ids.fresh()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 65_531);
        assert!(SPECIAL.iter().all(|id| !seen.contains(id)));
        assert!(!SPECIAL.contains(&ids.fresh()), "they start again");
    }

    #[test]
    fn another_seed_gives_other_ids() {
        let first = |seed| (0..4).map(|_| FreshIds::new(seed).fresh()).next();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }
}
