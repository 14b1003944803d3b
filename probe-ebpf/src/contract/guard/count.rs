//! What a guard counts.

/// One of a guard's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum GuardCount {
    /// Requests for which replies may pass: each made a state, found one, or was refused one.
    Asked = 0,
    /// States made.
    Made = 1,
    /// States refused: the set or the asker's share of it was full, and no state of the asker's own could make room.
    Refused = 2,
    /// States evicted before they expired, for another of the same asker.
    Evicted = 3,
    /// Replies that passed.
    Passed = 4,
    /// Replies without a state.
    NoState = 5,
    /// Replies whose state had expired; only while its place is not reused.
    Expired = 6,
    /// Replies beyond the number that a request allows.
    TooMany = 7,
    /// Replies with another code than 0, if only 0 is accepted.
    BadCode = 8,
    /// Requests that were dropped, if the guard drops requests.
    Denied = 9,
}

impl GuardCount {
    /// How many there are.
    pub const COUNT: usize = 10;

    /// Every counter, in the order of its number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Asked,
        Self::Made,
        Self::Refused,
        Self::Evicted,
        Self::Passed,
        Self::NoState,
        Self::Expired,
        Self::TooMany,
        Self::BadCode,
        Self::Denied,
    ];

    /// Returns its index in the map of counters.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// Reports whether it counts packets that were dropped, or would have been.
    pub const fn is_drop(self) -> bool {
        matches!(self, Self::NoState | Self::Expired | Self::TooMany | Self::BadCode | Self::Denied)
    }
}

const _: () = {
    let mut index = 0;
    while index < GuardCount::COUNT {
        assert!(GuardCount::ALL[index] as usize == index);
        index += 1;
    }
};
