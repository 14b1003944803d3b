//! What a guard counts.

/// One of a guard's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum GuardCount {
    /// Requests for which replies may pass: each made a state, found one, or was refused one.
    Asked = 0,
    /// States made.
    Made = 1,
    /// States refused: the set was full, or the asker's share of it was, and no state of the asker's own could make room.
    Refused = 2,
    /// States that made room for another of the same asker before their time.
    Evicted = 3,
    /// Replies that passed.
    Passed = 4,
    /// Replies without a state.
    NoState = 5,
    /// Replies whose state's time was over; only as long as nothing else has taken its place.
    Expired = 6,
    /// Replies beyond the number that a request allows.
    TooMany = 7,
    /// Replies with another code than 0, where that is asked for.
    BadCode = 8,
    /// Requests that were dropped, where that is asked for.
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

    /// Its place in the map of counters.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// Whether it counts packets that were dropped, or would have been.
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
