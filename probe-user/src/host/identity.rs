//! Whom sockets are opened as, where it is another process, unit, container or user: found, and taken on for one socket.

mod child;
mod error;
mod found;
mod wanted;

use std::{io, os::fd::OwnedFd, path::PathBuf};

use nix::libc;

pub use self::{error::IdentityError, found::find, wanted::WantedIdentity};
use super::entrance::Entrance;
use crate::model::sent_as::SentAs;

/// `CAP_NET_RAW` as a bit.
const NET_RAW: u64 = 1 << 13;

/// Everything by which the kernel tells its sockets from those of probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it is, for people.
    pub sent_as: SentAs,
    /// Its capabilities as bits, those of the file that lets it have raw sockets included.
    capabilities: u64,
    /// The folder of its cgroup; none: it is that of probe.
    cgroup: Option<PathBuf>,
}

/// An identity, and the network namespace that comes with it; none: it is that of the calling thread.
#[derive(Debug)]
pub struct FoundIdentity {
    /// Whom to send as.
    pub identity: Identity,
    /// Where it lives.
    pub entrance: Option<Entrance>,
}

/// With which rights a socket is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketRights {
    /// Those of the identity.
    Own,
    /// The same with `CAP_NET_RAW`, for packets that are not to differ but by their sender and by being raw.
    Raw,
}

impl Identity {
    /// Returns what it is for people, where packets left by a `raw` socket or by none.
    pub fn sent_by(&self, raw: bool) -> SentAs {
        SentAs { raw_by: self.sent_as.raw_by.clone().filter(|_| raw), ..self.sent_as.clone() }
    }

    /// Opens a socket of this `domain`, `kind` and `protocol` in the calling thread's network namespace, as this identity:
    /// by a child that takes all of it on, opens the socket in the table of files that it shares with this process, and
    /// ends. What the kernel asks of a socket later is what its opener was: its user, its cgroup, its label.
    ///
    /// # Errors
    /// The errno of socket(2); an error without one, as a clause, where the identity cannot be taken on.
    pub fn socket(&self, domain: i32, kind: i32, protocol: i32, rights: SocketRights) -> io::Result<OwnedFd> {
        let raw = if rights == SocketRights::Raw { NET_RAW } else { 0 };
        child::open(self, self.capabilities | raw, [domain, kind | libc::SOCK_CLOEXEC, protocol])
    }
}
