//! The hops: the checkpoints at which a packet is counted, in the order in which it passes them.

use super::{
    kind::Direction::{self, In, Out},
    names,
};

/// A checkpoint that a packet passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Hop {
    /// First in netfilter's output hook: the kernel built the packet and found a route.
    NfOutputFirst = 0,
    /// Last in netfilter's output hook: no output rule stopped it.
    NfOutputLast = 1,
    /// First in netfilter's postrouting hook.
    NfPostroutingFirst = 2,
    /// Last in netfilter's postrouting hook.
    NfPostroutingLast = 3,
    /// cgroup egress: about to leave the IP layer.
    CgroupOut = 4,
    /// tc at egress: neighbour resolved, handed to the device, before its queue.
    TcOut = 5,
    /// The packet is about to enter the device's queue (qdisc).
    DevQueue = 6,
    /// The packet left the queue and was handed to the driver.
    Xmit = 7,
    /// XDP: the packet reached this NIC.
    XdpIn = 8,
    /// It became an skb and enters the stack.
    NetifIn = 9,
    /// tc at ingress: the packet passed XDP.
    TcIn = 10,
    /// First in netfilter's prerouting hook: it passed the netdev ingress chains and the IP header checks.
    NfPreroutingFirst = 11,
    /// Last in netfilter's prerouting hook.
    NfPreroutingLast = 12,
    /// First in netfilter's input hook: routing found it to be for this host.
    NfInputFirst = 13,
    /// Last in netfilter's input hook.
    NfInputLast = 14,
    /// First in netfilter's forward hook: routing found it to be for another host.
    NfForwardFirst = 15,
    /// Last in netfilter's forward hook.
    NfForwardLast = 16,
    /// The kernel's ICMP has finished with it.
    IcmpIn = 17,
    /// cgroup ingress: about to be queued to a socket.
    SocketIn = 18,
}

/// The fixed facts of a hop.
#[derive(Clone, Copy, Debug)]
pub struct HopRow {
    /// The hop.
    pub hop: Hop,
    /// Its name in reports and documents.
    pub name: &'static str,
    /// The direction of the packets that it sees.
    pub direction: Direction,
    /// The kernel program that counts there.
    pub program: &'static str,
    /// The map of its counters by id; only hops of one NIC have one.
    pub tally: Option<&'static str>,
}

const fn row(hop: Hop, name: &'static str, direction: Direction, program: &'static str) -> HopRow {
    HopRow { hop, name, direction, program, tally: None }
}

const fn counted(row: HopRow, tally: &'static str) -> HopRow {
    HopRow { tally: Some(tally), ..row }
}

/// Every hop, in path order: out of the sender, then into the receiver. Under generic XDP `netif_in` comes before `xdp_in`.
pub const HOPS: [HopRow; 19] = [
    row(Hop::NfOutputFirst, "nf_output_first", Out, names::NF_FIRST),
    row(Hop::NfOutputLast, "nf_output_last", Out, names::NF_LAST),
    row(Hop::NfPostroutingFirst, "nf_postrouting_first", Out, names::NF_FIRST),
    row(Hop::NfPostroutingLast, "nf_postrouting_last", Out, names::NF_LAST),
    row(Hop::CgroupOut, "cgroup_out", Out, names::CGROUP_OUT),
    counted(row(Hop::TcOut, "tc_out", Out, names::TC_OUT), names::TALLY_OUT),
    row(Hop::DevQueue, "dev_queue", Out, names::DEV_QUEUE),
    row(Hop::Xmit, "xmit", Out, names::XMIT),
    counted(row(Hop::XdpIn, "xdp_in", In, names::XDP), names::TALLY_XDP),
    row(Hop::NetifIn, "netif_in", In, names::NETIF_IN),
    counted(row(Hop::TcIn, "tc_in", In, names::TC_IN), names::TALLY_IN),
    row(Hop::NfPreroutingFirst, "nf_prerouting_first", In, names::NF_FIRST),
    row(Hop::NfPreroutingLast, "nf_prerouting_last", In, names::NF_LAST),
    row(Hop::NfInputFirst, "nf_input_first", In, names::NF_FIRST),
    row(Hop::NfInputLast, "nf_input_last", In, names::NF_LAST),
    row(Hop::NfForwardFirst, "nf_forward_first", In, names::NF_FIRST),
    row(Hop::NfForwardLast, "nf_forward_last", In, names::NF_LAST),
    row(Hop::IcmpIn, "icmp_in", In, names::CONSUME),
    row(Hop::SocketIn, "socket_in", In, names::CGROUP_IN),
];

/// The hops of one NIC, at which `observe` and `lab` count.
pub const NIC_HOPS: [Hop; 3] = [Hop::TcOut, Hop::XdpIn, Hop::TcIn];

impl Hop {
    /// Returns the row of this hop in [`HOPS`].
    pub const fn row(self) -> &'static HopRow {
        &HOPS[self as usize]
    }

    /// Returns its name in reports and documents.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns the direction of the packets that it sees.
    pub const fn direction(self) -> Direction {
        self.row().direction
    }

    /// Returns the hop with this name.
    pub fn named(name: &str) -> Option<Self> {
        HOPS.iter().find(|row| row.name == name).map(|row| row.hop)
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
    fn every_hop_has_a_name_of_its_own_and_a_known_program() {
        for (index, row) in HOPS.iter().enumerate() {
            assert_eq!(row.hop.name(), row.name);
            assert!(names::ALL.contains(&row.program), "{}", row.program);
            assert!(HOPS[..index].iter().all(|other| other.name != row.name));
        }
    }

    #[test]
    fn the_hops_of_a_nic_and_no_others_have_a_tally_of_their_own() {
        for row in HOPS {
            assert_eq!(row.tally.is_some(), NIC_HOPS.contains(&row.hop), "{}", row.name);
        }
        let tallies = NIC_HOPS.map(|hop| hop.row().tally.expect("it has one"));
        assert!(tallies.iter().all(|tally| names::ALL.contains(tally)));
        assert!(tallies[0] != tallies[1] && tallies[1] != tallies[2] && tallies[0] != tallies[2]);
    }
}
