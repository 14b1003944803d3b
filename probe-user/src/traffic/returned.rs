//! Errors that reach a socket after the send call that caused them: Linux's error queue (`ip(7)`, `IP_RECVERR`).

use std::{
    fmt,
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    libc,
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg},
};
use probe_ebpf::Family;

/// An ICMP error that quotes one of our packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Returned {
    /// The sender: a router, the target, or this host itself if nobody answers ARP or neighbour discovery.
    pub from: IpAddr,
    /// Its type on the wire.
    pub icmp_type: u8,
    /// Its code.
    pub code: u8,
}

/// An entry of the error queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Where the error comes from, and what it is.
    pub origin: ErrorOrigin,
    /// Type and id of the echo message that it quotes, if the quote is long enough.
    pub quoted: Option<(u8, u16)>,
}

/// Where an error in the queue comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorOrigin {
    /// From this host's send path, about the send call that has just failed.
    Local {
        /// Its errno.
        errno: Errno,
        /// The value that belongs to the errno; for `EMSGSIZE` the MTU in bytes.
        info: u32,
    },
    /// From an ICMP error that arrived, about an earlier packet.
    Icmp(Returned),
}

/// The most errors that one call takes from the queue, so that a flood of them cannot hold a sender up.
const BATCH: usize = 256;

/// Takes what is in the error queue of `socket` and, with it, the pending error of the socket.
pub(super) fn take(socket: &impl AsFd) -> Vec<Queued> {
    let next = || loop {
        match take_one(socket) {
            Err(Errno::EINTR) => {}
            result => return result.ok(),
        }
    };
    std::iter::from_fn(next).take(BATCH).flatten().collect()
}

/// Takes one entry of the queue; `None` if it is no IP error, for instance a time stamp.
fn take_one(socket: &impl AsFd) -> Result<Option<Queued>, Errno> {
    let mut quote = [0; 8];
    let mut control = cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let mut slices = [IoSliceMut::new(&mut quote)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    let bytes = message.bytes;
    let origin = message.cmsgs()?.find_map(|control| origin(&control));
    let quoted = (bytes == quote.len()).then(|| (quote[0], u16::from_be_bytes([quote[4], quote[5]])));
    Ok(origin.map(|origin| Queued { origin, quoted }))
}

fn origin(control: &ControlMessageOwned) -> Option<ErrorOrigin> {
    let (error, from) = match control {
        ControlMessageOwned::Ipv4RecvErr(error, from) => (error, from.as_ref().map(v4)),
        ControlMessageOwned::Ipv6RecvErr(error, from) => (error, from.as_ref().map(v6)),
        _ => return None,
    };
    match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 => {
            Some(ErrorOrigin::Icmp(Returned { from: from?, icmp_type: error.ee_type, code: error.ee_code }))
        }
        libc::SO_EE_ORIGIN_LOCAL => {
            Some(ErrorOrigin::Local { errno: Errno::from_raw(error.ee_errno.cast_signed()), info: error.ee_info })
        }
        _ => None,
    }
}

fn v4(address: &libc::sockaddr_in) -> IpAddr {
    Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into()
}

fn v6(address: &libc::sockaddr_in6) -> IpAddr {
    Ipv6Addr::from(address.sin6_addr.s6_addr).into()
}

impl Returned {
    /// Describes the error (RFC 792, RFC 1812 §5.2.7, RFC 4443 §3); an unusual one by its numbers.
    pub fn meaning(&self) -> String {
        let words = match (super::target::family_of(self.from), self.icmp_type, self.code) {
            (Family::V4, 3, 0) | (Family::V6, 1, 0) => "no route to the network",
            (Family::V4, 3, 1) | (Family::V6, 1, 3) => "host unreachable",
            (Family::V4, 3, 2) => "protocol unreachable",
            (Family::V4, 3, 3) | (Family::V6, 1, 4) => "port unreachable",
            (Family::V4, 3, 4) | (Family::V6, 2, 0) => "the packet is too big for the next link",
            (Family::V4, 3, 9 | 10 | 13) | (Family::V6, 1, 1) => "prohibited by a firewall or a route",
            (Family::V6, 1, 5) => "the source address failed a policy",
            (Family::V6, 1, 6) => "the route says: reject",
            (Family::V4, 11, 0) | (Family::V6, 3, 0) => "TTL exceeded in transit",
            (Family::V4, 11, 1) | (Family::V6, 3, 1) => "fragments did not all arrive",
            (Family::V4, 12, _) | (Family::V6, 4, _) => "the IP header is wrong",
            (_, icmp_type, code) => return format!("ICMP error of type {icmp_type}, code {code}"),
        };
        words.to_owned()
    }
}

impl fmt::Display for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.from, self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn returned(from: &str, icmp_type: u8, code: u8) -> String {
        Returned { from: from.parse().expect("an address"), icmp_type, code }.to_string()
    }

    #[test]
    fn errors_read_alike_in_both_families() {
        assert_eq!(returned("10.0.0.1", 3, 1), "10.0.0.1: host unreachable");
        assert_eq!(returned("fd00::1", 1, 3), "fd00::1: host unreachable");
        assert_eq!(returned("10.0.0.1", 11, 0), "10.0.0.1: TTL exceeded in transit");
    }

    #[test]
    fn an_unusual_error_keeps_its_numbers() {
        assert_eq!(returned("10.0.0.1", 3, 77), "10.0.0.1: ICMP error of type 3, code 77");
    }
}
