//! Look-ups for ends that no hop and no drop event explains: settings, routes, counters, netfilter's chains, programs.

pub(super) mod ask_again;
pub(super) mod neighbours;
pub mod own_filter;
pub mod programs;

use std::thread;

use crate::{
    host::{chains, counter::Counters, counters, device::Device, neighbour, or_log, route, settings},
    model::{request::EchoFlow, trace::Finding},
};
use own_filter::OwnFilters;

/// A run that is under way, and what was counted before it.
pub struct Lookups {
    flow: EchoFlow,
    interface: Option<String>,
    before: Counters,
    filters: OwnFilters,
}

impl Lookups {
    /// Takes note of what is counted now. Cheap: reads a few files and asks netlink, and starts no program.
    pub fn begin(flow: &EchoFlow) -> Self {
        let interface = interface(flow);
        Self {
            before: counters::read(interface.as_deref()),
            filters: OwnFilters::read(interface.as_deref(), &flow.ids),
            interface,
            flow: flow.clone(),
        }
    }

    /// Looks everything up. Call it while the sockets of the run are still open: what they lost goes with them.
    pub fn end(&self) -> Vec<Finding> {
        let Self { flow, before, filters, .. } = self;
        let (family, interface) = (flow.family(), self.interface.as_deref());
        thread::scope(|scope| {
            // Other programs are asked for the chains: they start while the rest is read.
            let chains = scope.spawn(|| chains::look_up(family, interface));
            let after = counters::read(interface);
            let own = filters.findings(interface, &flow.ids);
            let mut findings = settings::look_up(family, interface);
            findings.extend(route::own_address(flow.local));
            findings.extend(route::look_up(flow.local, flow.remote));
            findings.extend(neighbour::look_up(flow.local, flow.remote));
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
    let device = or_log("link", Device::find(interface))?;
    Some(Finding::Link { interface: device.name, up: device.up, carrier: device.up && device.carrier })
}

/// The interface that is asked for, or that the route to the other end names.
fn interface(flow: &EchoFlow) -> Option<String> {
    let routed = || match route::look_up(flow.local, flow.remote) {
        Some(Finding::Route { interface, .. }) => interface,
        _ => None,
    };
    flow.interface.clone().or_else(routed)
}
