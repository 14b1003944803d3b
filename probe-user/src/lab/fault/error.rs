//! Errors while a fault is made, and how to fix them.

use crate::ebpf;
use std::io;

use crate::{error::Mend, lab};

/// Why the lab could not be broken as a case says.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The lab itself.
    #[error(transparent)]
    Lab(#[from] lab::LabError),
    /// One of probe's own programs.
    #[error(transparent)]
    Kernel(#[from] ebpf::KernelError),
    /// A program that the fault needs is not there.
    #[error("{program} is not installed, and this fault needs it")]
    NoTool {
        /// Its name.
        program: String,
    },
    /// A program refused.
    #[error("{command}: {message}")]
    Tool {
        /// What was run.
        command: String,
        /// What it printed, in one line.
        message: String,
    },
    /// A system call failed.
    #[error("cannot {attempt}: {source}")]
    System {
        /// What was tried.
        attempt: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// This machine has no cgroup2 file system to make a cgroup in.
    #[error("no cgroup2 file system is mounted here, and this fault needs one")]
    NoCgroup2,
    /// The lab did not deliver before anything was broken.
    #[error("the lab did not answer a ping before it was broken ({what})")]
    NotHealthy {
        /// What was seen.
        what: String,
    },
    /// What was broken does not show.
    #[error("the fault is not in force: {what}")]
    NotInForce {
        /// What was seen.
        what: String,
    },
}

impl FaultError {
    /// Converts the error of a failed system call.
    pub(super) fn system(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let attempt = attempt.into();
        move |source| Self::System { attempt, source }
    }
}

impl Mend for FaultError {
    fn fix(&self) -> String {
        match self {
            Self::Lab(error) => error.fix(),
            Self::Kernel(error) => error.fix(),
            Self::NoTool { program } if program == "ip" || program == "tc" => "apt-get install iproute2".into(),
            Self::NoTool { program } if program == "nft" => "apt-get install nftables".into(),
            Self::NoTool { .. } => "apt-get install iptables".into(),
            Self::NoCgroup2 => "mount -t cgroup2 none /sys/fs/cgroup/unified".into(),
            Self::System { .. } => "run it with sudo; probe doctor says what this kernel allows".into(),
            Self::Tool { .. } | Self::NotHealthy { .. } | Self::NotInForce { .. } => {
                "this kernel may lack what the fault needs: probe doctor".into()
            }
        }
    }
}
