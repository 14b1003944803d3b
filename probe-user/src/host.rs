//! What a host tells of itself, without any program of probe's: devices, routes, neighbours, counters, settings, chains,
//! symbols, types, privilege.
//!
//! All of it is about the network namespace of the calling thread: `/proc/thread-self/net`, `/proc/sys/net` and
//! netlink follow it. What one source does not tell is left out, with a line in the log; the others still count.

pub mod btf;
pub mod chains;
pub mod command;
pub mod counter;
pub mod counters;
pub mod device;
pub mod iptables;
pub mod namespace;
pub mod neighbour;
pub mod offsets;
pub mod privilege;
pub mod process;
pub mod reasons;
pub mod route;
pub mod settings;
pub mod symbols;
pub mod trace_rules;

use std::fmt::Display;

/// Returns what a source told; nothing, and a line in the log, where it told nothing.
pub(crate) fn told<T, E: Display>(source: &str, answer: Result<T, E>) -> Option<T> {
    answer.inspect_err(|error| tracing::debug!("{source}: {error}")).ok()
}
