//! The raw socket that reads what comes back.

use std::{
    io::{self, IoSliceMut},
    net::IpAddr,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt},
};
use probe_ebpf::{Echo, Family};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    error::ProberError,
    filter::{self, ReplyChoice},
    incoming::{IncomingMessage, read_v4, read_v6},
};
use crate::traffic::sender::{Sender, Settings};

/// Room for the replies of a whole run, of any size that usual links allow.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Reads replies and ICMP errors of one run.
#[derive(Debug)]
pub(super) struct Reader {
    socket: Socket,
    family: Family,
    nonce: u64,
}

/// A message and its sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub(super) from: IpAddr,
    pub(super) what: IncomingMessage,
}

impl Reader {
    /// Opens the socket; what arrives from here on is read.
    pub(super) fn open(settings: &Settings, nonce: u64, replies: ReplyChoice) -> Result<Self, ProberError> {
        let family = settings.kind().family;
        let socket = match family {
            Family::V4 => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)),
            Family::V6 => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)),
        };
        let socket = socket.map_err(|source| match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM | Errno::EACCES) => ProberError::NotPrivileged,
            _ => ProberError::Reader { what: "open a raw socket that reads ICMP", source },
        })?;
        // An unsolicited reply gets no reply; over loopback it would come back to this socket.
        let replies = if settings.echo == Echo::Request { replies } else { ReplyChoice::Left };
        set_up(&socket, settings, nonce, replies)
            .map_err(|source| ProberError::Reader { what: "set up the socket that reads ICMP", source })?;
        Ok(Self { socket, family, nonce })
    }

    /// Waits until something arrives here or at the socket of `sender`, at most `time`.
    pub(super) fn wait(&self, sender: Option<&Sender>, time: Duration) {
        // Rounded up: otherwise the last part of a millisecond would be a busy loop.
        let milliseconds = u16::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        let sockets = [Some(self.socket.as_fd()), sender.map(AsFd::as_fd)];
        let mut fds: Vec<PollFd<'_>> =
            sockets.into_iter().flatten().map(|socket| PollFd::new(socket, PollFlags::POLLIN)).collect();
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
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let socket = self.socket.as_fd().as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(socket, &mut slices, None, flags)?;
        let (length, from) = (message.bytes, message.address.as_ref().and_then(address));
        let bytes = &bytes[..length];
        let read = match self.family {
            Family::V4 => read_v4(bytes, self.nonce).map(|(from, _, what)| (from, what)),
            Family::V6 => from.zip(read_v6(bytes, self.nonce)),
        };
        Ok(read.map(|(from, what)| Arrived { from, what }))
    }
}

fn set_up(socket: &Socket, settings: &Settings, nonce: u64, replies: ReplyChoice) -> io::Result<()> {
    socket.attach_filter(&filter::program(settings.target.ip(), nonce))?;
    filter::refuse_types(socket, settings.kind().family, replies)?;
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

pub(super) fn address(storage: &SockaddrStorage) -> Option<IpAddr> {
    storage
        .as_sockaddr_in()
        .map(|v4| IpAddr::from(v4.ip()))
        .or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
}
