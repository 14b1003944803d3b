//! Errors of the lab, and how to fix them.

use std::io;

use nix::libc;

use crate::error::Mend;

/// A capability that the lab needs (`capabilities(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// To make, enter and name network namespaces.
    SysAdmin,
    /// To set up links, addresses, routes and the firewall inside them.
    NetAdmin,
}

impl Capability {
    /// Returns the capability's name as the kernel's documentation writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::NetAdmin => "CAP_NET_ADMIN",
        }
    }
}

/// Why the lab cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The kernel refused for lack of a capability.
    #[error("not allowed to {attempt}: {} is needed", capability.name())]
    NotPrivileged {
        /// What was tried.
        attempt: String,
        /// What it needs.
        capability: Capability,
    },
    /// A system call failed.
    #[error("cannot {attempt}: {source}")]
    System {
        /// What was tried.
        attempt: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no `nft` to load the firewall's rules with.
    #[error("nft is not installed, and the lab's firewall needs it")]
    NoNft,
    /// `nft` would not load or list the rules.
    #[error("nft cannot {attempt}: {message}")]
    Nft {
        /// What was tried.
        attempt: &'static str,
        /// What it printed, in one line.
        message: String,
    },
    /// A namespace that someone else created has the lab's name.
    #[error("a network namespace named {name} exists already, and the lab did not create it")]
    Foreign {
        /// The name.
        name: String,
    },
    /// There is no lab to work on.
    #[error("the lab is not running")]
    NotUp,
    /// Part of the lab is missing: setting up or removing it was interrupted, or someone removed a part.
    #[error("the lab is incomplete")]
    Broken,
    /// The lab is running, but it was changed.
    #[error("the lab is running, but it was changed: {}", changes.join("; "))]
    Changed {
        /// What differs, one clause each.
        changes: Vec<String>,
    },
    /// The record of the running lab is not valid.
    #[error("{path} cannot be read: {why}")]
    Record {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl LabError {
    /// Converts the `source` of a failed attempt: a refusal for lack of `capability`, or another error.
    pub fn system(attempt: impl Into<String>, capability: Capability, source: io::Error) -> Self {
        let attempt = attempt.into();
        if source.kind() == io::ErrorKind::PermissionDenied {
            Self::NotPrivileged { attempt, capability }
        } else {
            Self::System { attempt, source }
        }
    }
}

impl Mend for LabError {
    fn fix(&self) -> String {
        match self {
            Self::NotPrivileged { .. } => "run it with sudo".into(),
            Self::System { source, .. } => system_fix(source).into(),
            Self::NoNft => "apt-get install nftables (or run cargo xtask setup)".into(),
            Self::Nft { .. } => {
                "check that the kernel has nf_tables and nf_conntrack: modprobe -a nf_tables nf_conntrack".into()
            }
            Self::Foreign { name } => format!("if nothing needs it: ip netns delete {name}"),
            Self::NotUp | Self::Broken => "probe lab up".into(),
            Self::Changed { .. } => "to start from scratch: probe lab down, then probe lab up".into(),
            Self::Record { path, .. } => {
                format!("remove {path}, and with ip netns delete any of probe-a, probe-fw and probe-b that is left")
            }
        }
    }
}

/// Returns the fix for refusals that are known to happen.
fn system_fix(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EOPNOTSUPP) => "the kernel lacks the veth driver: modprobe veth",
        Some(libc::EINVAL) => "check that the kernel was built with network namespaces (CONFIG_NET_NS)",
        Some(libc::EROFS) => "check that /proc/sys and /run are writable here; containers often mount them read-only",
        Some(libc::ENOSPC) => "there are too many network namespaces: see /proc/sys/user/max_net_namespaces",
        Some(libc::EMFILE | libc::ENFILE) => "there are too many open files: raise ulimit -n",
        _ => "",
    }
}
