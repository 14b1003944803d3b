//! A new ICMP socket, and what an error of its set-up means.

use std::io;

use nix::errno::Errno;
use probe_ebpf::Family;
use socket2::{Domain, Protocol, Socket, Type};

use super::{SenderError, Settings};

/// Turns the `error` of a step into a [`SenderError::Setup`].
pub(super) fn setup<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> SenderError {
    move |error| SenderError::Setup { what, source: error.into() }
}

pub(super) fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

pub(super) fn new_socket(settings: &Settings, kind: Type) -> io::Result<Socket> {
    match settings.kind().family {
        Family::V4 => Socket::new(Domain::IPV4, kind, Some(Protocol::ICMPV4)),
        Family::V6 => Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6)),
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
