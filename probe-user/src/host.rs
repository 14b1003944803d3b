//! What a host reports about itself without any program of probe's: devices, routes, neighbours, counters, settings,
//! chains, symbols, types, privilege.
//!
//! All of it is about the network namespace of the calling thread: `/proc/thread-self/net`, `/proc/sys/net` and
//! netlink follow it. A source that fails is left out, with a line in the log; the others still count.

pub mod btf;
pub mod cgroup;
pub mod chains;
pub mod child;
pub mod command;
pub mod conntrack;
pub mod container;
pub mod counter;
pub mod counters;
pub mod device;
pub mod entrance;
pub mod identity;
pub mod ipsec;
pub mod iptables;
pub mod link_facts;
pub mod name_service;
pub mod namespace;
pub mod neighbour;
pub mod next_hop;
pub mod offsets;
pub mod policy;
pub mod privilege;
pub mod process;
pub mod reasons;
pub mod route;
pub mod settings;
pub mod symbols;
pub mod trace_rules;
pub mod tun;
pub mod tunnel;
pub mod wireguard;

use std::fmt::Display;

/// Returns the value of `answer`; on an error logs it and returns `None`.
pub(crate) fn or_log<T, E: Display>(source: &str, answer: Result<T, E>) -> Option<T> {
    answer.inspect_err(|error| tracing::debug!("{source}: {error}")).ok()
}
