//! The raw socket that reads what comes back.

use crate::clock::monotonic_ns;
use std::{
    io::{self, IoSliceMut},
    net::IpAddr,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use nix::{
    cmsg_space,
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt},
};
use probe_ebpf::{Echo, Family};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    error::ProberError,
    filter,
    incoming::{IncomingMessage, read_v4, read_v6},
};
use crate::traffic::{
    options::{IcmpFilter, Icmpv6Filter},
    sender::Settings,
};

/// Room for the replies of a whole run, of any size that usual links allow.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Reads replies and ICMP errors of one run.
#[derive(Debug)]
pub(super) struct Reader {
    socket: Socket,
    family: Family,
    nonce: u64,
    replies: bool,
}

/// A message, its time and its sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub(super) time_ns: u64,
    pub(super) from: IpAddr,
    pub(super) ttl: u8,
    pub(super) what: IncomingMessage,
}

impl Reader {
    /// Opens the socket; what arrives from here on is read.
    pub(super) fn open(settings: &Settings, nonce: u64) -> Result<Self, ProberError> {
        let family = settings.kind().family;
        let socket = match family {
            Family::V4 => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)),
            Family::V6 => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)),
        };
        let socket = socket.map_err(|source| match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM | Errno::EACCES) => ProberError::NotPrivileged,
            _ => ProberError::Reader { what: "open a raw socket that reads ICMP", source },
        })?;
        set_up(&socket, settings, nonce)
            .map_err(|source| ProberError::Reader { what: "set up the socket that reads ICMP", source })?;
        // An unsolicited reply gets no reply; on the loopback it would come back to this socket.
        Ok(Self { socket, family, nonce, replies: settings.echo == Echo::Request })
    }

    /// Waits until something arrives, at most `time`.
    pub(super) fn wait(&self, time: Duration) {
        // Rounded up: otherwise the last part of a millisecond would be a busy loop.
        let milliseconds = u16::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        // A signal ends the wait early; the caller checks for messages anyway.
        let _ = poll(&mut fds, PollTimeout::from(milliseconds));
    }

    /// Returns the next message about this run; `None` if none has arrived.
    pub(super) fn next(&mut self) -> Option<Arrived> {
        loop {
            match self.receive() {
                Ok(Some(arrived)) => return Some(arrived),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// Receives one message; `None` if it is not about this run.
    fn receive(&mut self) -> Result<Option<Arrived>, Errno> {
        let mut bytes = [0; filter::SNAP_BYTES as usize];
        let mut control = cmsg_space!(libc::c_int);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let socket = self.socket.as_fd().as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(socket, &mut slices, Some(&mut control), flags)?;
        let (length, from) = (message.bytes, message.address.as_ref().and_then(address));
        let hops = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv6HopLimit(hops) => u8::try_from(hops).ok(),
            _ => None,
        });
        let bytes = &bytes[..length];
        let read = match self.family {
            Family::V4 => read_v4(bytes, self.nonce),
            Family::V6 => from.zip(read_v6(bytes, self.nonce)).map(|(from, what)| (from, hops.unwrap_or(0), what)),
        };
        let wanted = |what: &IncomingMessage| self.replies || matches!(what, IncomingMessage::Error { .. });
        Ok(read.filter(|(_, _, what)| wanted(what)).map(|(from, ttl, what)| Arrived {
            time_ns: monotonic_ns(),
            from,
            ttl,
            what,
        }))
    }
}

fn set_up(socket: &Socket, settings: &Settings, nonce: u64) -> io::Result<()> {
    socket.attach_filter(&filter::program(settings.target.ip(), nonce))?;
    match settings.kind().family {
        Family::V4 => setsockopt(socket, IcmpFilter, &filter::refused_types_v4())?,
        Family::V6 => {
            setsockopt(socket, Icmpv6Filter, &filter::refused_types_v6())?;
            setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true)?;
        }
    }
    // Only root of the machine's own user namespace can exceed the host's limit.
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    }
    drain(socket);
    Ok(())
}

/// Discards what arrived before the filters were in place.
fn drain(socket: &Socket) {
    let mut byte = [0; 1];
    let raw = socket.as_fd().as_raw_fd();
    while nix::sys::socket::recv(raw, &mut byte, MsgFlags::MSG_DONTWAIT).is_ok() {}
}

fn address(storage: &SockaddrStorage) -> Option<IpAddr> {
    storage
        .as_sockaddr_in()
        .map(|v4| IpAddr::from(v4.ip()))
        .or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
}
