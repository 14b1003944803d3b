//! Echoes of other programs that a run follows: which ones are asked for, and what each was when its request was first
//! seen.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Which echoes of other programs to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowRequest {
    /// Only those to this address; none: to any.
    pub target: Option<IpAddr>,
    /// Only those with this id; none: with any.
    pub id: Option<u16>,
    /// Only those of this process and of its children, by its number in this process's pid namespace; none: of any.
    pub process: Option<u32>,
    /// How many at most; not more than [`probe_ebpf::journey::MAX_PROBES`].
    pub most: u16,
    /// Whether those that come in from other hosts are followed too: for this host, or to be forwarded.
    pub incoming: bool,
}

/// One echo that is followed, as its request was when it was first seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedEcho {
    /// Its number in the run.
    pub number: u16,
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub first_ns: u64,
    /// The address of the end that sends the request.
    pub near: IpAddr,
    /// The address of the end that the request is for.
    pub far: IpAddr,
    /// Echo id.
    pub id: u16,
    /// Echo sequence number.
    pub seq: u16,
    /// Whether a program of this network namespace sent it; otherwise it came in.
    pub sent_here: bool,
    /// The process that sent it.
    pub sender: Option<SendingProcess>,
    /// Whether a ping socket sent it: its reply goes only to that socket.
    pub by_ping_socket: bool,
}

/// The process that sent an echo request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SendingProcess {
    /// Its name.
    pub program: String,
    /// Its number; 0: it has none in this process's pid namespace.
    pub pid: u32,
}
