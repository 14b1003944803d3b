//! What a host that has no route has instead: devices that are down, and addresses whose prefix covers the other end.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    host::{link_facts::Links, or_log},
    model::trace::Finding,
};

/// Looks up, for each missing route among `findings`, what could have led there: the addresses that cover it, the devices that are
/// down or too narrow for IPv6, and the one that the socket is bound to.
pub fn look_up(findings: &[Finding], bound: Option<&str>) -> Vec<Finding> {
    let missing: BTreeSet<IpAddr> = findings
        .iter()
        .filter_map(|finding| match finding {
            Finding::Routing(choice) if choice.ends.as_deref() == Some("no route") => Some(choice.to),
            _ => None,
        })
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let v6 = missing.iter().any(IpAddr::is_ipv6);
    let links = or_log("links", Links::read()).unwrap_or_default();
    let covering = missing.into_iter().flat_map(|to| or_log("addresses", links.covering(to)).unwrap_or_default());
    let mut found: Vec<Finding> = covering.map(Finding::Holder).collect();
    found.extend(links.too_narrow_for_ipv6().into_iter().map(Finding::Device));
    found.extend(links.down().into_iter().map(Finding::Device));
    if v6 {
        found.extend(links.without_ipv6().into_iter().map(Finding::Device));
    }
    let bound = bound.and_then(|name| links.named(name)).filter(|facts| !facts.down && !facts.too_narrow_for_ipv6());
    found.extend(bound.map(Finding::Device));
    found
}
