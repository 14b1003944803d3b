//! Tunnels of the calling thread's network namespace: what their packets are sent in, where to, and by which table.

use std::{collections::BTreeMap, io, net::IpAddr};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{
        InfoData, InfoGeneve, InfoGre, InfoIpTunnel, InfoVxlan, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo,
        LinkMessage,
    },
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage},
};

use probe_ebpf::Tunnels;

use super::{device::netlink, link_facts, or_log, tun, wireguard};
use crate::model::trace::{
    FdbEntry, TunnelFacts,
    frame::hardware_address,
    tunnel::{self as model, MAX_ENTRIES},
};

/// Kinds whose packets can be opened.
const KINDS: [&str; 9] = ["vxlan", "geneve", "gre", "gretap", "ip6gre", "ip6gretap", "erspan", "ipip", "sit"];

/// Returns the tunnels, without their forwarding tables.
///
/// # Errors
/// The kernel's answer.
pub fn devices() -> io::Result<Vec<TunnelFacts>> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let messages = netlink::dump(&RouteNetlinkMessage::GetLink(request))?;
    let links = messages.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    });
    let mut tunnels = of_links(&links.collect::<Vec<_>>());
    if tunnels.iter().any(TunnelFacts::is_sealed) {
        let counts = tun::counts();
        for device in tunnels.iter_mut().filter(|device| device.is_sealed()) {
            device.programs = tun::holders(&device.interface);
            device.counts = counts.get(&device.interface).copied();
        }
    }
    Ok(tunnels)
}

/// Returns how to recognize packets of every kind of tunnel that can be opened, at the usual ports and those of this namespace's own
/// devices; the usual ones alone if those cannot be read.
pub fn openable() -> Tunnels {
    let devices = devices().unwrap_or_else(|error| {
        tracing::info!("tunnel devices: {error}; the usual ports of tunnels are looked at");
        Vec::new()
    });
    model::openable(&devices)
}

/// Returns the tunnels with their forwarding tables.
///
/// # Errors
/// The kernel's answer.
pub fn look_up() -> io::Result<Vec<TunnelFacts>> {
    let mut tunnels = devices()?;
    for tunnel in tunnels.iter_mut().filter(|tunnel| tunnel.is_sealed()) {
        if tunnel.programs.iter().any(|program| tun::answers_wg(program.pid, &tunnel.interface)) {
            tunnel.peers = or_log("WireGuard", wireguard::peers(&tunnel.interface));
        }
    }
    if !tunnels.is_empty() {
        tunnels.iter_mut().for_each(|tunnel| tunnel.fdb = Some(Vec::new()));
        let mut request = NeighbourMessage::default();
        request.header.family = AddressFamily::Bridge;
        for message in netlink::dump(&RouteNetlinkMessage::GetNeighbour(request))? {
            let RouteNetlinkMessage::NewNeighbour(message) = message else { continue };
            let Some(tunnel) = tunnels.iter_mut().find(|tunnel| tunnel.ifindex == message.header.ifindex) else {
                continue;
            };
            let fdb = tunnel.fdb.get_or_insert_default();
            fdb.extend(entry(&message).filter(|_| fdb.len() < MAX_ENTRIES));
        }
    }
    Ok(tunnels)
}

/// Returns an entry that sends packets to another host.
fn entry(message: &NeighbourMessage) -> Option<FdbEntry> {
    let (mut lladdr, mut to, mut vni, mut port) = (None, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            // Zeros are an address here: that of the entry for whatever no other entry matches.
            NeighbourAttribute::LinkLayerAddress(bytes) if bytes.len() == 6 => lladdr = Some(hardware_address(bytes)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => to = Some(IpAddr::V4(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => to = Some(IpAddr::V6(*v6)),
            NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => to = address(bytes),
            NeighbourAttribute::Vni(number) => vni = Some(*number),
            NeighbourAttribute::Port(number) => port = Some(*number),
            _ => {}
        }
    }
    Some(FdbEntry { lladdr: lladdr?, to: to?, vni, port })
}

/// Returns an address whose IP version follows only from its length, as in tables of bridges.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

fn of_links(links: &[LinkMessage]) -> Vec<TunnelFacts> {
    let names: BTreeMap<u32, (&str, u32)> = links.iter().map(|link| (link.header.index, name_and_mtu(link))).collect();
    links.iter().filter_map(|link| tunnel(link, &names)).collect()
}

fn name_and_mtu(link: &LinkMessage) -> (&str, u32) {
    let (mut name, mut mtu) = ("", 0);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(told) => name = told,
            LinkAttribute::Mtu(told) => mtu = *told,
            _ => {}
        }
    }
    (name, mtu)
}

fn tunnel(link: &LinkMessage, names: &BTreeMap<u32, (&str, u32)>) -> Option<TunnelFacts> {
    let (name, mtu) = name_and_mtu(link);
    let mut facts = TunnelFacts {
        interface: name.to_owned(),
        ifindex: link.header.index,
        up: link.header.flags.contains(LinkFlags::Up),
        mtu,
        ..TunnelFacts::default()
    };
    let mut data = None;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Address(bytes) if bytes.len() == 6 => facts.lladdr = link_facts::lladdr(bytes),
            LinkAttribute::Controller(index) => facts.master = names.get(index).map(|(name, _)| (*name).to_owned()),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => facts.kind = kind.to_string(),
                        LinkInfo::Data(told) => data = Some(told),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if !KINDS.contains(&facts.kind.as_str()) && facts.kind != "ip6tnl" && !facts.is_sealed() {
        return None;
    }
    let lower = match data {
        Some(InfoData::Vxlan(told)) => vxlan(&mut facts, told),
        Some(InfoData::Geneve(told)) => geneve(&mut facts, told),
        Some(InfoData::GreTap(told) | InfoData::GreTun(told) | InfoData::ErSpan(told)) => gre(&mut facts, told),
        Some(InfoData::IpTunnel(told)) => ip_tunnel(&mut facts, told),
        _ => None,
    };
    if let Some((name, mtu)) = lower.and_then(|lower| names.get(&lower)) {
        (facts.lower, facts.lower_mtu) = (Some((*name).to_owned()), Some(*mtu));
    }
    let unset = |address: &IpAddr| !address.is_unspecified();
    (facts.local, facts.remote) = (facts.local.filter(unset), facts.remote.filter(unset));
    Some(facts)
}

fn vxlan(facts: &mut TunnelFacts, told: &[InfoVxlan]) -> Option<u32> {
    let mut lower = None;
    for info in told {
        match info {
            InfoVxlan::Id(vni) => facts.vni = Some(*vni),
            InfoVxlan::Group(v4) => facts.remote = Some((*v4).into()),
            InfoVxlan::Group6(v6) => facts.remote = Some((*v6).into()),
            InfoVxlan::Local(v4) => facts.local = Some((*v4).into()),
            InfoVxlan::Local6(v6) => facts.local = Some((*v6).into()),
            InfoVxlan::Link(index) => lower = Some(*index),
            InfoVxlan::Port(port) => facts.port = Some(*port),
            InfoVxlan::Learning(on) => facts.learning = *on,
            InfoVxlan::Ttl(ttl) => facts.ttl = *ttl,
            InfoVxlan::UDPZeroCsumTX(on) => facts.sends_unchecked = *on,
            InfoVxlan::UDPZeroCsumRX(on) => facts.takes_unchecked = *on,
            InfoVxlan::Gpe => facts.generic = true,
            InfoVxlan::CollectMetadata(on) => facts.external = *on,
            _ => {}
        }
    }
    lower
}

fn geneve(facts: &mut TunnelFacts, told: &[InfoGeneve]) -> Option<u32> {
    for info in told {
        match info {
            InfoGeneve::Id(vni) => facts.vni = Some(*vni),
            InfoGeneve::Remote(v4) => facts.remote = Some((*v4).into()),
            InfoGeneve::Remote6(v6) => facts.remote = Some((*v6).into()),
            InfoGeneve::Local(v4) => facts.local = Some((*v4).into()),
            InfoGeneve::Local6(v6) => facts.local = Some((*v6).into()),
            InfoGeneve::Port(port) => facts.port = Some(*port),
            InfoGeneve::Ttl(ttl) => facts.ttl = *ttl,
            InfoGeneve::CollectMetadata => facts.external = true,
            _ => {}
        }
    }
    None
}

fn gre(facts: &mut TunnelFacts, told: &[InfoGre]) -> Option<u32> {
    let mut lower = None;
    for info in told {
        match info {
            InfoGre::OKey(key) if *key != 0 => facts.vni = Some(*key),
            InfoGre::Remote(v4) => facts.remote = Some((*v4).into()),
            InfoGre::Local(v4) => facts.local = Some((*v4).into()),
            InfoGre::Link(index) => lower = Some(*index),
            InfoGre::Ttl(ttl) => facts.ttl = *ttl,
            InfoGre::CollectMetadata => facts.external = true,
            _ => {}
        }
    }
    lower
}

fn ip_tunnel(facts: &mut TunnelFacts, told: &[InfoIpTunnel]) -> Option<u32> {
    let mut lower = None;
    for info in told {
        match info {
            InfoIpTunnel::Remote(address) => facts.remote = Some(*address),
            InfoIpTunnel::Local(address) => facts.local = Some(*address),
            InfoIpTunnel::Link(index) => lower = Some(*index),
            InfoIpTunnel::Ttl(ttl) => facts.ttl = *ttl,
            InfoIpTunnel::CollectMetadata => facts.external = true,
            _ => {}
        }
    }
    lower
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::model::trace::tunnel::ANY_ADDRESS;

    #[test]
    fn the_entry_for_whatever_no_other_is_for_is_read_and_one_without_a_host_is_none() {
        let to = Ipv4Addr::new(10, 82, 0, 20);
        let mut message = NeighbourMessage::default();
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(vec![0; 6]));
        assert_eq!(entry(&message), None);
        message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(to)));
        let read = entry(&message).expect("it has a host");
        assert_eq!((read.lladdr.as_str(), read.to), (ANY_ADDRESS, to.into()));
    }
}
