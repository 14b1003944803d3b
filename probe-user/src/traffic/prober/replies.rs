//! Reads the replies that the program's own socket was given, and nothing that it was not.

use std::{
    io::IoSliceMut,
    net::IpAddr,
    ops::Range,
    os::fd::{AsFd, AsRawFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    libc,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg},
};
use probe_ebpf::{Echo, Family, Kind, packet::ICMP_HEADER};

use super::reader::address;
use crate::{
    clock::monotonic_ns,
    traffic::{Sender, SocketType, checksum},
};

/// Room for the longest IP packet.
const ROOM: usize = 1 << 16;

/// The most messages that are not replies, and errors of the socket, that one call skips.
const PATIENCE: usize = 256;

/// A reply that the socket was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) time_ns: u64,
    pub(super) from: IpAddr,
    pub(super) ttl: u8,
    pub(super) id: u16,
    pub(super) seq: u16,
    /// Whether its checksum is right; true if the kernel has already checked it.
    pub(super) sound: bool,
    payload: Range<usize>,
}

/// The bytes of the last reply.
#[derive(Debug)]
pub(super) struct ReplyReader {
    bytes: Vec<u8>,
}

impl ReplyReader {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; ROOM] }
    }

    /// Returns the payload of the last reply.
    pub(super) fn payload(&self, reply: &Reply) -> &[u8] {
        self.bytes.get(reply.payload.clone()).unwrap_or_default()
    }

    /// Returns the next reply at the socket of `sender`; `None` if none has arrived.
    pub(super) fn next(&mut self, sender: &mut Sender) -> Option<Reply> {
        for _ in 0..PATIENCE {
            match self.receive(sender) {
                Ok(Some(reply)) => return Some(reply),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return None,
                // An ICMP error left it pending; the errors themselves are read elsewhere.
                Err(_) => {
                    sender.returned();
                }
            }
        }
        None
    }

    fn receive(&mut self, sender: &Sender) -> Result<Option<Reply>, Errno> {
        let kind = sender.kind();
        let mut control = cmsg_space!(libc::c_int, libc::c_int);
        let mut slices = [IoSliceMut::new(&mut self.bytes)];
        let socket = sender.as_fd().as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(socket, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
        let (length, from) = (message.bytes, message.address.as_ref().and_then(address));
        let told = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => u8::try_from(ttl).ok(),
            _ => None,
        });
        let with_header = kind.family == Family::V4 && sender.way() == SocketType::Raw;
        let bytes = &self.bytes[..length];
        let reply = parse(bytes, kind.family, with_header).zip(from).map(|(read, from)| Reply {
            time_ns: monotonic_ns(),
            from,
            ttl: read.ttl.or(told).unwrap_or(0),
            id: read.id,
            seq: read.seq,
            sound: read.sound,
            payload: read.payload,
        });
        Ok(reply)
    }
}

/// What the bytes of a reply say.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    ttl: Option<u8>,
    id: u16,
    seq: u16,
    sound: bool,
    payload: Range<usize>,
}

/// Parses a reply as the socket gives it; `None` if it is something else.
fn parse(bytes: &[u8], family: Family, with_header: bool) -> Option<Read> {
    let start = if with_header { usize::from(bytes.first()? & 0xf) * 4 } else { 0 };
    let message = bytes.get(start..)?;
    if *message.first()? != (Kind { family, echo: Echo::Reply }).icmp_type() {
        return None;
    }
    let word = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    Some(Read {
        ttl: if with_header { bytes.get(8).copied() } else { None },
        id: word(4)?,
        seq: word(6)?,
        // Only raw IPv4 sockets are given what the kernel has not verified.
        sound: !with_header || checksum(message) == 0,
        payload: start + ICMP_HEADER..bytes.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{EchoMessage, Frame};

    #[test]
    fn a_reply_is_read_with_and_without_its_ip_header_and_a_bad_checksum_is_told() {
        let kind = Kind { family: Family::V4, echo: Echo::Reply };
        let message = EchoMessage::new(kind, 0x1234, 3, b"abc");
        let mut packet = Frame::v4([10, 0, 0, 2].into(), [10, 0, 0, 1].into(), &message).ttl(61).ip_bytes();
        let read = parse(&packet, Family::V4, true).expect("a reply");
        assert_eq!((read.ttl, read.id, read.seq, read.sound), (Some(61), 0x1234, 3, true));
        assert_eq!(&packet[read.payload], b"abc");
        packet[30] ^= 1;
        assert!(!parse(&packet, Family::V4, true).expect("still one").sound);
        let bare = parse(&packet[20..], Family::V4, false).expect("a reply");
        assert_eq!((bare.ttl, bare.id, bare.payload), (None, 0x1234, 8..11));
        assert_eq!(parse(&packet, Family::V4, false), None);
        assert_eq!(parse(&packet[..24], Family::V4, true), None);
    }
}
