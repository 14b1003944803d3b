//! Why nothing can be sent, and how to fix it.

use std::{io, net::IpAddr};

use thiserror::Error;

use crate::error::Mend;

/// Why nothing can be sent.
#[derive(Debug, Error)]
pub enum SenderError {
    /// Only a raw socket can send this, and the caller may not open one.
    #[error("not privileged: {what} needs CAP_NET_RAW")]
    NotPrivileged {
        /// The kind of packet that was to be sent.
        what: &'static str,
    },
    /// Neither a raw socket nor a ping socket is permitted.
    #[error("not privileged: this user has no CAP_NET_RAW, and net.ipv4.ping_group_range excludes its groups")]
    PingRefused,
    /// Whom the run is sent as may have neither.
    #[error(
        "{name} may open no ICMP socket: {}, and it has no CAP_NET_RAW",
        if *by_groups { "net.ipv4.ping_group_range excludes its groups" } else { "a cgroup program or a security module refuses it" }
    )]
    IdentityRefused {
        /// Whom.
        name: String,
        /// Whether it is its groups by which it is refused a ping socket.
        by_groups: bool,
    },
    /// A ping socket with this id already exists.
    #[error("id {id} is in use by another ping on this host, and only with CAP_NET_RAW can two share it")]
    IdTaken {
        /// The id.
        id: u16,
    },
    /// The kernel can't make such a socket.
    #[error("this kernel has no {family}")]
    NoFamily {
        /// The IP version.
        family: &'static str,
    },
    /// The interface does not exist in this network namespace.
    #[error("no interface '{name}' in this network namespace")]
    NoInterface {
        /// Its name as typed.
        name: String,
    },
    /// The target is IPv6, and the interface has only IPv4.
    #[error("interface {name} has no IPv6 address, and {target} can only be reached from one")]
    NoIpv6 {
        /// The interface.
        name: String,
        /// The target.
        target: IpAddr,
    },
    /// The source address is of another IP version than the target.
    #[error("source {from} and target {target} are not of the same IP version")]
    MixedFamilies {
        /// The source.
        from: IpAddr,
        /// The target.
        target: IpAddr,
    },
    /// The source address is not one of this host's.
    #[error("{from} is not an address of this host (or not yet: IPv6 checks new ones for duplicates)")]
    ForeignSource {
        /// The source.
        from: IpAddr,
    },
    /// The source is link-local, and no interface was named.
    #[error("{from} is a link-local address: it belongs to one interface")]
    SourceNeedsInterface {
        /// The source.
        from: IpAddr,
    },
    /// Any other refusal of the kernel while the socket is set up.
    #[error("cannot {what}")]
    Setup {
        /// The step that failed.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl Mend for SenderError {
    fn fix(&self) -> String {
        const PRIVILEGE: &str = "run it with sudo, or once: sudo setcap cap_net_raw+ep \"$(command -v probe)\"";
        match self {
            Self::NotPrivileged { .. } => PRIVILEGE.to_owned(),
            Self::PingRefused => {
                format!("{PRIVILEGE}, or let every group ping: sudo sysctl net.ipv4.ping_group_range='0 2147483647'")
            }
            Self::IdentityRefused { by_groups: true, .. } => {
                "sudo sysctl net.ipv4.ping_group_range='0 2147483647', or give its program that capability".to_owned()
            }
            Self::IdentityRefused { .. } => "`bpftool cgroup tree` lists those programs".to_owned(),
            Self::IdTaken { .. } => "choose another with -e, leave -e out, or run it with sudo".to_owned(),
            Self::NoFamily { .. } => "use -4 or an address of the other IP version".to_owned(),
            Self::NoInterface { .. } => "`ip -br link` lists them".to_owned(),
            Self::NoIpv6 { .. } => "use -4, another interface, or give it an IPv6 address".to_owned(),
            Self::MixedFamilies { .. } => "choose -S of the target's, or -4 or -6 for the target".to_owned(),
            Self::ForeignSource { .. } => "`ip -br addr` lists them; give one of those to -S".to_owned(),
            Self::SourceNeedsInterface { .. } => "name it: -I IFACE".to_owned(),
            Self::Setup { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => PRIVILEGE.to_owned(),
                _ => "`probe doctor` says what this kernel can do".to_owned(),
            },
        }
    }
}
