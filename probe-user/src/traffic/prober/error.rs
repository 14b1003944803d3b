//! Why no probes can be sent.

use std::io;

use probe_ebpf::journey::{MARK_BYTES, MAX_PROBES};
use thiserror::Error;

use crate::{error::Mend, traffic::SenderError};

/// Why no probes can be sent.
#[derive(Debug, Error)]
pub enum ProberError {
    /// Only raw sockets send marked probes with an id of one's own and read every ICMP error.
    #[error("not privileged: sending marked probes needs CAP_NET_RAW")]
    NotPrivileged,
    /// The payload has no room for the mark.
    #[error("{size} bytes of payload have no room for the mark of a probe, which has {MARK_BYTES}")]
    TooSmall {
        /// Payload bytes that were asked for.
        size: u16,
    },
    /// More probes than a run can have.
    #[error("{count} probes are more than a run can have ({MAX_PROBES}), or none")]
    Count {
        /// How many were asked for.
        count: u16,
    },
    /// The sending socket.
    #[error(transparent)]
    Sender(#[from] SenderError),
    /// The reading socket.
    #[error("cannot {what}")]
    Reader {
        /// What was tried.
        what: &'static str,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
}

impl Mend for ProberError {
    fn fix(&self) -> String {
        match self {
            Self::NotPrivileged => "run it with sudo".to_owned(),
            Self::TooSmall { .. } => format!("-s {MARK_BYTES} or more"),
            Self::Count { .. } => format!("-c 1 to {MAX_PROBES}"),
            Self::Sender(error) => error.fix(),
            Self::Reader { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => "run it with sudo".to_owned(),
                _ => "`probe doctor` says what this kernel can do".to_owned(),
            },
        }
    }
}
