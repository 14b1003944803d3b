//! Chooses an echo id that no other ping on this host uses.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsFd, AsRawFd},
};

use nix::sys::socket::{MsgFlags, recv, setsockopt};
use probe_ebpf::Family;
use socket2::{Domain, Protocol, Socket, Type};

use super::mark::random;
use crate::traffic::options::{IcmpFilter, Icmpv6Filter};

/// Every ICMP type except the echo reply, as a mask for `ICMP_FILTER`.
const REFUSE_ALL_BUT_REPLIES: u32 = !1;

/// Notes the ids of echo replies that arrive here: those of pings by raw socket, which no table of the kernel shows.
#[derive(Debug)]
pub struct Scout {
    socket: Socket,
    family: Family,
    seen: BTreeSet<u16>,
}

impl Scout {
    /// Starts noting ids, in the network namespace of this thread.
    ///
    /// # Errors
    /// The kernel's answer; without `CAP_NET_RAW` nothing can be noted.
    pub fn open(family: Family) -> io::Result<Self> {
        let socket = match family {
            Family::V4 => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?,
            Family::V6 => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?,
        };
        match family {
            Family::V4 => setsockopt(&socket, IcmpFilter, &REFUSE_ALL_BUT_REPLIES)?,
            Family::V6 => setsockopt(&socket, Icmpv6Filter, &replies_only_v6())?,
        }
        Ok(Self { socket, family, seen: BTreeSet::new() })
    }

    /// Returns the ids that are in use, judging by the replies so far and the kernel's ping sockets.
    pub fn used(&mut self) -> BTreeSet<u16> {
        let mut bytes = [0; 128];
        let socket = self.socket.as_fd().as_raw_fd();
        while let Ok(length) = recv(socket, &mut bytes, MsgFlags::MSG_DONTWAIT) {
            self.seen.extend(reply_id(&bytes[..length], self.family));
        }
        self.seen.union(&ping_sockets()).copied().collect()
    }

    /// Chooses a random id that is not in use, and not 0, which some middleboxes take for "none".
    pub fn choose(&mut self) -> u16 {
        let used = self.used();
        choose(&used, random)
    }
}

fn replies_only_v6() -> [u32; 8] {
    let mut bits = [u32::MAX; 8];
    bits[129 / 32] &= !(1 << (129 % 32));
    bits
}

/// Parses the id of a reply as a raw socket delivers it.
fn reply_id(bytes: &[u8], family: Family) -> Option<u16> {
    let start = match family {
        Family::V4 => usize::from(bytes.first()? & 0xf) * 4,
        Family::V6 => 0,
    };
    Some(u16::from_be_bytes(bytes.get(start + 4..start + 6)?.try_into().ok()?))
}

/// Returns the ids of the ping sockets of this network namespace.
fn ping_sockets() -> BTreeSet<u16> {
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    ["icmp", "icmp6"].iter().flat_map(|name| ports(&read(name))).collect()
}

/// Parses the local ports in a table of `/proc/net`, in hex after the colon of the second column: a ping socket's is its id.
fn ports(table: &str) -> BTreeSet<u16> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1)?.rsplit_once(':'))
        .filter_map(|(_, port)| u16::from_str_radix(port, 16).ok())
        .collect()
}

fn choose(used: &BTreeSet<u16>, mut random: impl FnMut() -> u64) -> u16 {
    let candidate = |number: u64| u16::try_from(number % 65_535 + 1).expect("1 to 65535");
    let start = candidate(random());
    // Counting upwards from a random id ends, however many are in use.
    let mut rest = (start..=u16::MAX).chain(1..start);
    rest.find(|id| !used.contains(id)).unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
    0: 00000000:1234 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 63221 2 0000000000000000 0
    1: 0100007F:FFFE 0200007F:0000 01 00000000:00000000 00:00000000 00000000     0        0 63222 2 0000000000000000 0
";

    #[test]
    fn the_ids_of_ping_sockets_are_their_ports() {
        assert_eq!(ports(TABLE), BTreeSet::from([0x1234, 0xfffe]));
        assert!(ports("").is_empty() && ports("nonsense\n1\n").is_empty());
    }

    #[test]
    fn a_used_id_and_zero_are_not_chosen() {
        assert_eq!(choose(&BTreeSet::new(), || 42), 43);
        assert_eq!(choose(&BTreeSet::from([43, 44]), || 42), 45);
        assert_eq!(choose(&BTreeSet::from([65_535]), || 65_534), 1);
        assert_eq!(choose(&(0..=u16::MAX).collect(), || 6), 7);
    }

    #[test]
    fn the_id_of_a_reply_is_behind_the_ipv4_options() {
        let mut packet = vec![0; 60];
        packet[0] = 0x46;
        packet[28..30].copy_from_slice(&[0x12, 0x34]);
        assert_eq!(reply_id(&packet, Family::V4), Some(0x1234));
        assert_eq!(reply_id(&[129, 0, 0, 0, 7, 8], Family::V6), Some(0x0708));
        assert_eq!(reply_id(&[0x45], Family::V4), None);
    }
}
