//! Socket options that `nix` and `socket2` do not have.
#![allow(missing_docs, reason = "the macro makes the types; each has the comment of its option")]

use nix::{getsockopt_impl, libc, setsockopt_impl, sockopt_impl};

/// `ICMP_FILTER` of `linux/icmp.h`: level `SOL_RAW`, one bit for each type from 0 to 31 that the socket must not receive.
const ICMP_FILTER: libc::c_int = 1;

/// `ICMPV6_FILTER` of `linux/icmpv6.h` (RFC 3542 §3.2): one bit for each type that the socket must not receive.
const ICMPV6_FILTER: libc::c_int = 1;

/// Of `linux/in6.h`.
const IPV6_FLOWLABEL_MGR: libc::c_int = 32;
const IPV6_FLOWINFO_SEND: libc::c_int = 33;

sockopt_impl!(
    /// How IPv4 treats the path MTU: one of `libc::IP_PMTUDISC_*` (`ip(7)`).
    Ipv4MtuDiscover,
    SetOnly,
    libc::IPPROTO_IP,
    libc::IP_MTU_DISCOVER,
    libc::c_int
);
sockopt_impl!(
    /// How IPv6 treats the path MTU: one of `libc::IPV6_PMTUDISC_*` (`ipv6(7)`).
    Ipv6MtuDiscover,
    SetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_MTU_DISCOVER,
    libc::c_int
);
sockopt_impl!(
    /// Which ICMP types a raw socket must not receive (`raw(7)`).
    IcmpFilter,
    SetOnly,
    libc::SOL_RAW,
    ICMP_FILTER,
    u32
);
sockopt_impl!(
    /// Which `ICMPv6` types a raw socket must not receive.
    Icmpv6Filter,
    SetOnly,
    libc::SOL_ICMPV6,
    ICMPV6_FILTER,
    [u32; 8]
);
sockopt_impl!(
    /// Whether the kernel records more of what the socket does (`SO_DEBUG`).
    Debug,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_DEBUG,
    bool
);
sockopt_impl!(
    /// The options of the IPv4 header (`ip(7)`, `IP_OPTIONS`), padded with ends of the list.
    Ipv4Options,
    SetOnly,
    libc::IPPROTO_IP,
    libc::IP_OPTIONS,
    [u8; 40]
);
sockopt_impl!(
    /// A request for a flow label: a `struct in6_flowlabel_req` of `linux/in6.h`.
    FlowLabel,
    SetOnly,
    libc::IPPROTO_IPV6,
    IPV6_FLOWLABEL_MGR,
    [u8; 32]
);
sockopt_impl!(
    /// Whether the flow label of the address is sent.
    FlowInfoSend,
    SetOnly,
    libc::IPPROTO_IPV6,
    IPV6_FLOWINFO_SEND,
    bool
);
sockopt_impl!(
    /// The memory that a socket uses: `SK_MEMINFO_*` of `linux/sock_diag.h`, in bytes.
    MemoryInfo,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_MEMINFO,
    [u32; 9]
);

/// In [`MemoryInfo`]: bytes of packets that were sent and that the device has not freed yet.
pub(super) const WRITE_ALLOCATED: usize = 2;

/// In [`MemoryInfo`]: the limit of those bytes.
pub(super) const SEND_BUFFER: usize = 3;
