//! A new ICMP socket, and what an error of its set-up means.

use std::io;

use nix::errno::Errno;
use probe_ebpf::Family;
use socket2::{Domain, Protocol, Socket, Type};

use super::{SenderError, Settings};
use crate::host::identity::SocketRights;

/// Turns the `error` of a step into a [`SenderError::Setup`].
pub(super) fn setup<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> SenderError {
    move |error| SenderError::Setup { what, source: error.into() }
}

pub(super) fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

/// Opens a socket as whom the settings say; `rights`: as [`SocketRights`], where that is somebody else.
pub(super) fn new_socket(settings: &Settings, kind: Type, rights: SocketRights) -> io::Result<Socket> {
    let (domain, protocol) = match settings.kind().family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    match &settings.identity {
        Some(identity) => identity.socket(domain.into(), kind.into(), protocol.into(), rights).map(Socket::from),
        None => Socket::new(domain, kind, Some(protocol)),
    }
}

/// Returns why neither kind of socket may be had; `ping`: what a ping socket was refused with.
pub(super) fn refused(settings: &Settings, ping: Errno) -> SenderError {
    match &settings.identity {
        Some(identity) => {
            SenderError::IdentityRefused { name: identity.sent_as.name.clone(), by_groups: ping == Errno::EACCES }
        }
        None => SenderError::PingRefused,
    }
}

pub(super) fn unopened(settings: &Settings, error: io::Error) -> SenderError {
    match errno(&error) {
        Some(Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT) => SenderError::NoFamily {
            family: match settings.kind().family {
                Family::V4 => "IPv4",
                Family::V6 => "IPv6",
            },
        },
        _ => setup("open an ICMP socket")(error),
    }
}
