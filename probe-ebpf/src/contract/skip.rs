//! Every reason why a packet is not counted, or not counted in full.

/// Why a packet was passed without being counted, or why something about it was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Skip {
    /// Neither IPv4 nor IPv6, no ICMP, or no echo: irrelevant, and not counted as a skip either.
    NotEcho = 0,
    /// The packet ends before the headers that its lengths promise.
    Truncated = 1,
    /// An IPv4 header with an impossible version or length.
    BadHeader = 2,
    /// Not the first fragment of a packet: the ICMP header is in another one.
    LaterFragment = 3,
    /// More VLAN tags than two.
    TooManyTags = 4,
    /// More IPv6 extension headers than eight.
    TooManyHeaders = 5,
    /// The table of waiting requests was full: loss and RTT of this request are not known.
    PendingFull = 6,
    /// The table of flows took no entry: addresses and RTT of this packet are not known.
    FlowsFull = 7,
    /// The ring was full: this packet was counted, but not printed.
    RingFull = 8,
    /// The ring of drop events was full: this drop is not in the report.
    DropsFull = 9,
    /// The ring of absorbed requests was full: this one was kept from the kernel, and is not reported.
    AbsorbedFull = 10,
}

impl Skip {
    /// How many reasons there are.
    pub const COUNT: usize = 11;

    /// Every reason, in the order of its number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::NotEcho,
        Self::Truncated,
        Self::BadHeader,
        Self::LaterFragment,
        Self::TooManyTags,
        Self::TooManyHeaders,
        Self::PendingFull,
        Self::FlowsFull,
        Self::RingFull,
        Self::DropsFull,
        Self::AbsorbedFull,
    ];

    /// Returns its index in the map of skips.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// Returns its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotEcho => "not_echo",
            Self::Truncated => "truncated",
            Self::BadHeader => "bad_header",
            Self::LaterFragment => "later_fragment",
            Self::TooManyTags => "too_many_tags",
            Self::TooManyHeaders => "too_many_headers",
            Self::PendingFull => "pending_full",
            Self::FlowsFull => "flows_full",
            Self::RingFull => "ring_full",
            Self::DropsFull => "drops_full",
            Self::AbsorbedFull => "absorbed_full",
        }
    }
}

const _: () = {
    let mut index = 0;
    while index < Skip::COUNT {
        assert!(Skip::ALL[index] as usize == index);
        index += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_causes_have_the_same_name() {
        for (index, skip) in Skip::ALL.iter().enumerate() {
            assert!(Skip::ALL[..index].iter().all(|other| other.name() != skip.name()), "{}", skip.name());
        }
    }
}
