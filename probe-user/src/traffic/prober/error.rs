//! Why no probes can be sent.

use std::io;

use probe_ebpf::journey::{MARK_BYTES, MAX_PROBES};
use thiserror::Error;

use crate::{error::Mend, traffic::SenderError};

/// Why no probes can be sent.
#[derive(Debug, Error)]
pub enum ProberError {
    /// Only raw sockets send marked probes with a chosen id and read every ICMP error.
    #[error("not privileged: sending marked probes needs CAP_NET_RAW")]
    NotPrivileged,
    /// The payload has no room for the mark.
    #[error("a payload of {size} bytes has no room for a probe's mark of {MARK_BYTES} bytes")]
    TooSmall {
        /// The payload bytes that were requested.
        size: u16,
    },
    /// More probes than a run can have.
    #[error("a run has 1 to {MAX_PROBES} probes, not {count}")]
    Count {
        /// The number that was requested.
        count: u16,
    },
    /// The sending socket.
    #[error(transparent)]
    Sender(#[from] SenderError),
    /// The reading socket.
    #[error("cannot {what}")]
    Reader {
        /// The step that failed.
        what: &'static str,
        /// The kernel's answer.
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
