//! Look-ups for stops that no hop and no drop event explains: settings, routes, counters, netfilter's chains, programs.

pub(super) mod ask_again;
pub(super) mod neighbours;
pub mod no_route;
pub mod own_filter;
pub mod programs;

use std::{net::IpAddr, thread};

use crate::{
    host::{
        chains::{self, ChainTraffic},
        counter::Counters,
        counters,
        device::Device,
        ipsec,
        link_facts::Links,
        neighbour, or_log,
        policy::{self, RouteKey},
        route, settings, tun,
    },
    model::{
        prefix::is_link_local,
        request::EchoFlow,
        trace::{Drop, Finding, RoutePurpose, plain_function},
    },
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
    /// Records the counters as they are now. Cheap: reads a few files and asks netlink, and starts no program.
    pub fn begin(flow: &EchoFlow) -> Self {
        let interface = interface(flow);
        Self {
            before: counters::read(interface.as_deref()),
            filters: OwnFilters::read(interface.as_deref(), &flow.ids),
            interface,
            flow: flow.clone(),
        }
    }

    /// Returns which counters rose since the beginning.
    pub fn risen(&self) -> Vec<Finding> {
        counters::risen(&self.before, &counters::read(self.interface.as_deref()))
    }

    /// Sets the echoes that look-ups are about, if they were not known beforehand.
    pub(super) fn about(&mut self, flow: &EchoFlow) {
        self.flow = flow.clone();
    }

    /// Looks everything up. Call it while the sockets of the run are still open: what they lost goes with them.
    /// `drops` are the packets of the run that were freed here: routing is asked with their keys.
    pub fn end(&self, drops: &[Drop]) -> Vec<Finding> {
        let Self { flow, before, filters, .. } = self;
        let (family, interface) = (flow.family(), self.interface.as_deref());
        thread::scope(|scope| {
            // Other programs are asked for the chains: they start while the rest is read.
            let chains = scope.spawn(|| chains::look_up(family, interface, ChainTraffic::Echo));
            let after = counters::read(interface);
            let own = filters.findings(interface, &flow.ids);
            let freed_at = drops.iter().filter_map(|drop| drop.interface.as_deref());
            // Without a route there is no interface: any of them may be the one that is switched off.
            let all =
                if interface.is_none() { or_log("interfaces", Device::all()).unwrap_or_default() } else { Vec::new() };
            let mut findings = settings::look_up(
                family,
                interface
                    .into_iter()
                    .chain(freed_at)
                    .chain(flow.remote.is_loopback().then_some("lo"))
                    .chain(all.iter().take(MAX_KEYS).map(|device| device.name.as_str())),
            );
            findings.extend(route::own_address(flow.local));
            findings.extend(route::look_up(flow.local, flow.remote, flow.key()));
            findings.extend(route::path_mtu(flow.local, flow.remote, flow.key()));
            findings.extend(policy::choices(&keys(flow, interface, drops)));
            findings.extend(neighbour::look_up(flow.local, flow.remote, flow.key()));
            findings.extend(interface.into_iter().flat_map(device));
            let loopback = flow.remote.is_loopback() && interface != Some("lo");
            findings.extend(loopback.then_some("lo").into_iter().flat_map(device));
            findings.extend(interface.into_iter().flat_map(|interface| unusable(flow, interface)));
            findings.extend(no_route::look_up(&findings, flow.choosers.bound.as_deref()));
            findings.extend(counters::risen(before, &after));
            findings.extend(ipsec_policies(&findings, flow.local, flow.remote));
            let programs =
                programs::look_up(interface, flow.sent_as.as_ref().and_then(|sender| sender.cgroup.as_deref()));
            findings.extend(chains.join().unwrap_or_default());
            findings.extend(own);
            findings.extend(programs);
            findings
        })
    }
}

/// Returns the `IPsec` policies between two addresses in the calling thread's namespace, if one of the counters among `findings` shows
/// that `IPsec` lost packets: asking a kernel without policies could load what it does not need.
pub(super) fn ipsec_policies(findings: &[Finding], local: IpAddr, remote: IpAddr) -> Vec<Finding> {
    let lost = |finding: &Finding| matches!(finding, Finding::Counter { name, .. } if name.starts_with("Xfrm."));
    if !findings.iter().any(lost) {
        return Vec::new();
    }
    let policies = or_log("IPsec policies", ipsec::look_up(local, remote)).unwrap_or_default();
    policies.into_iter().map(Finding::IpsecPolicy).collect()
}

/// Returns the addresses that the kernel may not use, if it sends from one that no router forwards.
fn unusable(flow: &EchoFlow, interface: &str) -> Vec<Finding> {
    if !is_link_local(flow.local) || is_link_local(flow.remote) {
        return Vec::new();
    }
    let held = or_log("addresses", Links::read().and_then(|links| links.unusable(interface)));
    held.unwrap_or_default().into_iter().map(Finding::Holder).collect()
}

/// How many keys are looked up in routing at most.
const MAX_KEYS: usize = 8;

/// Returns what to ask routing with: the way to the other end, what comes in from there, and the packets that were freed.
fn keys(flow: &EchoFlow, interface: Option<&str>, drops: &[Drop]) -> Vec<(RouteKey, RoutePurpose)> {
    let choosers = &flow.choosers;
    let sent = RouteKey {
        // IPv6 takes no route but of the device that the socket is bound to; IPv4 then does without one.
        outgoing: choosers.bound.clone().filter(|_| flow.remote.is_ipv6()),
        ..RouteKey::sent(flow.source_given.then_some(flow.local), flow.remote, choosers.mark)
    };
    let mut keys = vec![(sent, RoutePurpose::Way)];
    let own = |interface| (RouteKey::forwarded(flow.remote, flow.local, 0, interface), RoutePurpose::Own);
    keys.extend(interface.filter(|_| !flow.local.is_unspecified()).map(own));
    keys.extend(keys_of(drops));
    if let Some(uid) = flow.key().uid {
        let own =
            |(key, purpose): &&mut (RouteKey, RoutePurpose)| *purpose == RoutePurpose::Way && key.incoming == "lo";
        keys.iter_mut().filter(own).for_each(|(key, _)| key.uid = uid);
    }
    // What waits for a neighbour was not freed, so that nothing told its mark yet: any that a rule chooses by may be it.
    let marks = or_log("marks", policy::marks(flow.remote)).unwrap_or_default();
    keys.extend(marks.into_iter().map(|mark| marked(flow, mark)));
    keys.iter_mut().for_each(|(key, _)| key.tos = flow.choosers.tos);
    keys.dedup();
    keys.truncate(MAX_KEYS);
    keys
}

/// Returns what to ask routing with about packets of the run with a firewall mark.
fn marked(flow: &EchoFlow, mark: u32) -> (RouteKey, RoutePurpose) {
    let from = Some(flow.local).filter(|from| !from.is_unspecified());
    (RouteKey::sent(from, flow.remote, mark), RoutePurpose::Marked)
}

/// Returns what to ask routing with about packets that were freed in the calling thread's namespace.
pub(super) fn keys_of(drops: &[Drop]) -> Vec<(RouteKey, RoutePurpose)> {
    let mut keys: Vec<(RouteKey, RoutePurpose)> = Vec::new();
    for drop in drops {
        let (from, to, mark) = (drop.source, drop.destination, drop.frame.mark);
        let key = match (drop.reason.as_str(), &drop.interface) {
            // The look-up of the reverse path filter has the mark only if `src_valid_mark` says so.
            ("IP_RPFILTER", _) if mark != 0 && !marks_count(drop.interface.as_deref()) => {
                (RouteKey::sent(Some(to), from, 0), RoutePurpose::ReversePath)
            }
            ("IP_RPFILTER", _) => (RouteKey::sent(Some(to), from, mark), RoutePurpose::ReversePath),
            _ if sent_here(drop) => (RouteKey::sent(Some(from), to, mark), RoutePurpose::Way),
            (_, Some(interface)) => (RouteKey::forwarded(from, to, mark, interface), RoutePurpose::Way),
            (_, None) => (RouteKey::sent(Some(from), to, mark), RoutePurpose::Way),
        };
        if !keys.contains(&key) && keys.len() < MAX_KEYS {
            keys.push(key);
        }
    }
    keys
}

/// Returns the gateways to which marks lead that packets of the run may have.
pub(super) fn gateways(findings: &[Finding]) -> impl Iterator<Item = IpAddr> {
    findings.iter().filter_map(|finding| match finding {
        Finding::Routing(choice) if choice.purpose == RoutePurpose::Marked => choice.gateway,
        _ => None,
    })
}

/// Returns whether the packet was this host's own, by the functions that freed it.
fn sent_here(drop: &Drop) -> bool {
    let frames = std::iter::once(&drop.function).chain(&drop.stack);
    frames.map(|frame| plain_function(frame)).any(|name| {
        matches!(
            name,
            "__ip_local_out"
                | "__ip6_local_out"
                | "ip_send_skb"
                | "ip_push_pending_frames"
                | "raw_sendmsg"
                | "rawv6_sendmsg"
                | "ip6_send_skb"
                | "ip6_push_pending_frames"
                | "icmp_push_reply"
        )
    })
}

/// Returns whether the reverse path filter asks with the mark of what came in.
fn marks_count(interface: Option<&str>) -> bool {
    ["all"].into_iter().chain(interface).any(|at| settings::is_on(&format!("net/ipv4/conf/{at}/src_valid_mark")))
}

/// Looks up whether a device can carry anything, and who reads what leaves by it if it is of the kind tun.
pub(super) fn device(interface: &str) -> Vec<Finding> {
    let Some(device) = or_log("link", Device::find(interface)) else { return Vec::new() };
    let held = (device.kind.as_deref() == Some("tun")).then(|| tun::look_up(&device.name)).flatten();
    let carrier = device.up && device.carrier;
    let below = if carrier { Vec::new() } else { below(&device.name) };
    let link = Finding::Link { interface: device.name, up: device.up, carrier };
    std::iter::once(link).chain(held).chain(below).collect()
}

/// Returns a device that is made on another one, and that one.
fn below(interface: &str) -> Vec<Finding> {
    let Some(links) = or_log("links", Links::read()) else { return Vec::new() };
    let made = links.named(interface).and_then(|facts| Some([links.below(&facts)?, facts]));
    made.into_iter().flatten().map(Finding::Device).collect()
}

/// Returns the interface that is asked for, or that the route to the other end names.
fn interface(flow: &EchoFlow) -> Option<String> {
    let routed = || match route::look_up(flow.local, flow.remote, flow.key()) {
        Some(Finding::Route { interface, .. }) => interface,
        _ => None,
    };
    flow.interface.clone().or_else(routed)
}
