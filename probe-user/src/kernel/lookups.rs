//! Look-ups for ends that no hop and no drop event explains: settings, routes, counters, netfilter's chains, programs.
//!
//! All of them are about the network namespace of the calling thread: `/proc/thread-self/net`, `/proc/sys/net` and
//! netlink follow it. What one source does not tell is left out, with a line in the log; the others still count.

pub mod chains;
pub mod command;
pub mod counter;
pub mod counters;
pub mod interfaces;
pub mod iptables;
pub mod neighbour;
pub mod own_filter;
pub mod programs;
pub mod route;
pub mod settings;
pub mod snmp;
pub mod sockets;
pub mod trace_rules;

use std::{fmt::Display, net::IpAddr, thread};

use probe_ebpf::Family;

use crate::{device::Device, sighting::Finding};
use counter::Counters;
use own_filter::OwnFilters;

/// What is to be explained: echo packets between two ends, of which this host is one.
#[derive(Clone, Debug)]
pub struct Request {
    /// The address that this host uses.
    pub local: IpAddr,
    /// The other end.
    pub remote: IpAddr,
    /// The interface towards it; none: that of the route to it.
    pub interface: Option<String>,
    /// The echo ids of the run.
    pub ids: Vec<u16>,
}

impl Request {
    /// The IP version of the run.
    pub fn family(&self) -> Family {
        if self.remote.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// A run that is under way, and what was counted before it.
pub struct Lookups {
    request: Request,
    interface: Option<String>,
    before: Counters,
    filters: OwnFilters,
}

impl Lookups {
    /// Takes note of what is counted now. Cheap: reads a few files and asks netlink, and starts no program.
    pub fn begin(request: &Request) -> Self {
        let interface = interface(request);
        Self {
            before: counters::read(interface.as_deref()),
            filters: OwnFilters::read(interface.as_deref(), &request.ids),
            interface,
            request: request.clone(),
        }
    }

    /// Looks everything up. Call it while the sockets of the run are still open: what they lost goes with them.
    pub fn end(&self) -> Vec<Finding> {
        let Self { request, before, filters, .. } = self;
        let (family, interface) = (request.family(), self.interface.as_deref());
        thread::scope(|scope| {
            // Other programs are asked for the chains: they start while the rest is read.
            let chains = scope.spawn(|| chains::look_up(family, interface));
            let after = counters::read(interface);
            let own = filters.findings(interface, &request.ids);
            let mut findings = settings::look_up(family, interface);
            findings.extend(route::own_address(request.local));
            findings.extend(route::look_up(request.local, request.remote));
            findings.extend(neighbour::look_up(request.local, request.remote));
            findings.extend(interface.and_then(link));
            findings.extend(counters::risen(before, &after));
            let programs = programs::look_up(interface);
            findings.extend(chains.join().unwrap_or_default());
            findings.extend(own);
            findings.extend(programs);
            findings
        })
    }
}

/// Whether a device can carry anything.
fn link(interface: &str) -> Option<Finding> {
    let device = told("link", Device::find(interface))?;
    Some(Finding::Link { interface: device.name, up: device.up, carrier: device.up && device.carrier })
}

/// The interface that is asked for, or that the route to the other end names.
fn interface(request: &Request) -> Option<String> {
    let routed = || match route::look_up(request.local, request.remote) {
        Some(Finding::Route { interface, .. }) => interface,
        _ => None,
    };
    request.interface.clone().or_else(routed)
}

/// What a source told; nothing, and a line in the log, where it told nothing.
fn told<T, E: Display>(source: &str, answer: Result<T, E>) -> Option<T> {
    answer.inspect_err(|error| tracing::debug!("{source}: {error}")).ok()
}
