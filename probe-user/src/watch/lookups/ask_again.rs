//! Asks for an address once more, by a question that changes nobody's entries for it, and listens to who answers.
//!
//! It asks to be answered at a link-layer address of its own, so that this host's kernel does not learn from the answer. An ARP
//! request has no sender's IP address, as one that looks for duplicates (RFC 5227 §2.1.1), so that nobody learns from it. A
//! neighbour solicitation must have one to be answered to it alone: a link-local one that nobody has, of which those who
//! answer keep an entry until their kernel forgets it.

mod question;

use std::{
    collections::BTreeSet,
    io::{self, Read},
    mem,
    net::IpAddr,
    time::{Duration, Instant},
};

use nix::libc;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use self::question::Question;
use crate::{host::link_facts::Links, model::trace::AskedAgain};

/// How long answers are waited for: hosts of one link answer within a few milliseconds.
const WAIT: Duration = Duration::from_millis(150);

/// How long to wait for a second answer once one came.
const SECOND: Duration = Duration::from_millis(60);

/// Asks for `address` by `interface`.
///
/// # Errors
/// Those of socket(2) and its kin: this needs `CAP_NET_RAW`.
pub(in crate::watch) fn ask(address: IpAddr, interface: &str) -> io::Result<Option<AskedAgain>> {
    let Some(link) = Links::read()?.named(interface) else { return Ok(None) };
    let Some(own) = link.lladdr.as_deref().and_then(bytes_of).filter(|_| !link.noarp) else { return Ok(None) };
    let question = Question { address, own, answer_to: own_address() };
    let mut socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    join(&socket, link.ifindex)?;
    socket.bind(&at(link.ifindex, question.protocol()))?;
    socket.send(&question.frame())?;
    let mut lladdrs = BTreeSet::new();
    let mut until = Instant::now() + WAIT;
    let mut frame = [0; 128];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut frame) {
            Ok(length) => {
                if let Some(lladdr) = question.answered_by(&frame[..length])
                    && lladdrs.insert(lladdr)
                {
                    until = until.min(Instant::now() + SECOND);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    Ok(Some(AskedAgain { address, interface: interface.to_owned(), lladdrs: lladdrs.into_iter().collect() }))
}

/// Draws a link-layer address: locally administered, and unicast.
fn own_address() -> [u8; 6] {
    use std::hash::{BuildHasher as _, RandomState};
    let [a, b, c, d, e, ..] = RandomState::new().hash_one(0).to_ne_bytes();
    [0x02, a, b, c, d, e]
}

fn bytes_of(lladdr: &str) -> Option<[u8; 6]> {
    let bytes: Result<Vec<u8>, _> = lladdr.split(':').map(|part| u8::from_str_radix(part, 16)).collect();
    bytes.ok()?.try_into().ok()
}

/// Returns the address of a packet socket for one protocol at one interface.
fn at(ifindex: u32, protocol: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is larger and better aligned than any socket address, and all zeros are a valid one.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = protocol.to_be();
    link.sll_ifindex = ifindex.cast_signed();
    let length = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage holds an initialised address of this length.
    unsafe { SockAddr::new(storage, length) }
}

/// Makes the socket see frames for other stations too, until it is closed.
fn join(socket: &Socket, ifindex: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let wanted = libc::packet_mreq {
        mr_ifindex: ifindex.cast_signed(),
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    // SAFETY: the descriptor is open, and the pointer is to an initialised structure of the given size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const wanted).cast(),
            mem::size_of_val(&wanted) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_layer_addresses_are_read_as_they_are_written() {
        assert_eq!(bytes_of("02:00:00:00:00:0b"), Some([2, 0, 0, 0, 0, 11]));
        assert_eq!(bytes_of("02:00"), None);
    }
}
