//! The hops: the checkpoints at which a packet is counted, in the order in which it passes them.

use super::{kind::Direction, names};

/// A checkpoint that a packet passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Hop {
    /// tc at egress: the packet reached the device's queue.
    TcOut = 0,
    /// XDP: the packet reached this NIC.
    XdpIn = 1,
    /// tc at ingress: the packet passed XDP and became an skb.
    TcIn = 2,
}

/// What is fixed about a hop.
#[derive(Clone, Copy, Debug)]
pub struct HopRow {
    /// The hop.
    pub hop: Hop,
    /// Its name in reports and documents.
    pub name: &'static str,
    /// The way of the packets that it sees.
    pub direction: Direction,
    /// The kernel program that counts there.
    pub program: &'static str,
    /// The map that holds its counters.
    pub tally: &'static str,
}

/// Every hop, in path order: out of the sender, then into the receiver.
pub const HOPS: [HopRow; 3] = [
    HopRow {
        hop: Hop::TcOut,
        name: "tc_out",
        direction: Direction::Out,
        program: names::TC_OUT,
        tally: names::TALLY_OUT,
    },
    HopRow { hop: Hop::XdpIn, name: "xdp_in", direction: Direction::In, program: names::XDP, tally: names::TALLY_XDP },
    HopRow { hop: Hop::TcIn, name: "tc_in", direction: Direction::In, program: names::TC_IN, tally: names::TALLY_IN },
];

impl Hop {
    /// The row of this hop in [`HOPS`].
    pub const fn row(self) -> &'static HopRow {
        &HOPS[self as usize]
    }

    /// Its name in reports and documents.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The way of the packets that it sees.
    pub const fn direction(self) -> Direction {
        self.row().direction
    }
}

const _: () = {
    let mut index = 0;
    while index < HOPS.len() {
        assert!(HOPS[index].hop as usize == index);
        index += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hop_has_a_program_and_a_tally_of_its_own() {
        for (index, row) in HOPS.iter().enumerate() {
            assert_eq!(row.hop.name(), row.name);
            assert!(names::ALL.contains(&row.program) && names::ALL.contains(&row.tally));
            for other in &HOPS[..index] {
                assert!(other.name != row.name && other.program != row.program && other.tally != row.tally);
            }
        }
    }
}
