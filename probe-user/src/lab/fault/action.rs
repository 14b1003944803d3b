//! The small steps that break a lab, each on one host of it, as data.

use probe_ebpf::Direction;

use super::site::On;
use crate::ebpf::bpf_sys::XdpMode;

/// One step. Texts may hold the words of [`super::FaultSite::fill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAction {
    /// Rules, as `nft -f` reads them.
    Nft(On, &'static str),
    /// The router's own firewall goes: it forwards everything that no rule of the fault stops.
    OpenRouter,
    /// `ip` with these words: routes, rules, links, addresses, neighbours.
    Ip(On, &'static str),
    /// `tc` with these words.
    Tc(On, &'static str),
    /// The legacy iptables of the case's IP version with these words.
    Iptables(On, &'static str),
    /// A kernel setting below `/proc/sys`, and its value.
    Setting(On, &'static str, &'static str),
    /// Somebody else's XDP program on the host's interface that gives every packet this answer.
    Xdp(On, XdpMode, ProgramVerdict),
    /// Somebody else's tc program on the host's interface, as a TCX link where the kernel has them, that gives every packet this answer.
    Tcx(On, Direction, ProgramVerdict),
    /// A program on a cgroup that this process, and what it starts, joins; A's sockets are made there.
    Cgroup(Direction, ProgramVerdict),
    /// probe's own filter (`probe filter add`) on the host's interface, for echo packets of this leg.
    ProbeFilter(On),
    /// This many echo exchanges, to use up what is limited.
    Spend(u32),
    /// Other traffic, until the lab is removed.
    Noise(Noise),
}

/// What a program answers to every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramVerdict {
    /// It must not pass.
    Drop,
    /// It may pass.
    Pass,
}

/// Other traffic beside the probes, all of it bounded in number and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// UDP datagrams from B to a port of its own that nobody listens at: a drop event each.
    UdpFlood,
    /// Another ping from A to B with this id and this many payload bytes.
    Ping {
        /// Its echo id.
        id: u16,
        /// Payload bytes.
        size: u16,
    },
    /// A second lab with the same addresses, in which B drops a ping with this id.
    OtherLab {
        /// Its echo id.
        id: u16,
    },
}
