//! Parses interfaces and addresses from netlink messages.

use std::{collections::BTreeMap, io, net::IpAddr};

use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, LinkXdp, Prop, XdpAttached},
};
use nix::libc;

use super::{Device, DeviceType, XdpPlace, XdpProgram, ethtool::Ethtool, netlink};

/// Lists every interface of the calling thread's network namespace, by index.
pub(super) fn read() -> io::Result<Vec<Device>> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let links = netlink::dump(&RouteNetlinkMessage::GetLink(request))?;
    let addresses = netlink::dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let mut found: BTreeMap<u32, Link> =
        links.into_iter().filter_map(link).map(|link| (link.device.ifindex, link)).collect();
    for message in addresses {
        add_address(&mut found, message);
    }
    let ethtool = Ethtool::open()?;
    for link in found.values_mut() {
        link.ask(&ethtool);
    }
    let lower: BTreeMap<u32, bool> = found.keys().map(|index| (*index, lro_beneath(&found, *index, 0))).collect();
    Ok(found
        .into_iter()
        .map(|(index, link)| Device {
            lro: lower.get(&index).copied().unwrap_or(link.device.lro),
            lower: link.lower,
            master: link.master,
            ..link.device
        })
        .collect())
}

/// An interface, and which others it is stacked on or belongs to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Link {
    device: Device,
    /// The interface on which this one was made: a VLAN's card, but not a veth's peer.
    lower: Option<u32>,
    /// The bond, bridge or VRF that this one belongs to.
    master: Option<u32>,
}

impl Link {
    fn ask(&mut self, ethtool: &Ethtool) {
        let device = &mut self.device;
        device.driver = ethtool.driver(&device.name);
        let offloads = ethtool.offloads(&device.name);
        device.lro = offloads.lro;
        device.hardware_gro = offloads.hardware_gro;
    }
}

/// How deep interfaces may be stacked (`MAX_NEST_DEV` in `include/linux/netdevice.h`).
const MAX_NEST: usize = 8;

/// Reports whether large receive offload is on at `index` or beneath it: `dev_disable_lro` walks down the same way.
fn lro_beneath(links: &BTreeMap<u32, Link>, index: u32, depth: usize) -> bool {
    let Some(link) = links.get(&index) else { return false };
    let beneath = |lower: &u32| depth < MAX_NEST && lro_beneath(links, *lower, depth + 1);
    link.device.lro
        || link.lower.as_ref().is_some_and(beneath)
        || links.iter().any(|(lower, port)| port.master == Some(index) && beneath(lower))
}

fn link(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let flags = message.header.flags;
    let mut link = Link {
        device: Device {
            ifindex: message.header.index,
            up: flags.contains(LinkFlags::Up),
            carrier: flags.contains(LinkFlags::LowerUp),
            loopback: flags.contains(LinkFlags::Loopback),
            link_layer: link_layer(message.header.link_layer_type.into(), flags.contains(LinkFlags::Pointopoint)),
            ..Device::default()
        },
        ..Link::default()
    };
    // The index of what is beneath belongs to that other namespace.
    let far_away = message.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_)));
    for attribute in message.attributes {
        link.take(attribute);
    }
    if far_away || link.device.kind.as_deref().is_some_and(is_pair) {
        link.lower = None;
    }
    (!link.device.name.is_empty()).then_some(link)
}

/// Reports whether the interface that a link of this kind names is its peer and not one beneath it.
fn is_pair(kind: &str) -> bool {
    matches!(kind, "veth" | "netkit" | "vxcan")
}

impl Link {
    fn take(&mut self, attribute: LinkAttribute) {
        let device = &mut self.device;
        match attribute {
            LinkAttribute::IfName(name) => device.name = name,
            LinkAttribute::Mtu(mtu) => device.mtu = mtu,
            LinkAttribute::Link(index) => self.lower = (index != 0).then_some(index),
            LinkAttribute::Controller(index) => self.master = (index != 0).then_some(index),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        device.kind = Some(kind.to_string());
                    }
                }
            }
            LinkAttribute::PropList(properties) => {
                for property in properties {
                    if let Prop::AltIfName(name) = property {
                        device.other_names.push(name);
                    }
                }
            }
            LinkAttribute::Xdp(facts) => device.xdp = xdp_programs(&facts),
            _ => {}
        }
    }
}

/// Returns the XDP programs that `IFLA_XDP` names. Kernels since 4.20 name each by its hook; `Attached` with one id is the
/// short form.
fn xdp_programs(facts: &[LinkXdp]) -> Vec<XdpProgram> {
    let mut programs = Vec::new();
    let mut short = (None, None);
    for fact in facts {
        match fact {
            LinkXdp::DrvProgId(id) => programs.push(XdpProgram { place: XdpPlace::Native, id: *id }),
            LinkXdp::SkbProgId(id) => programs.push(XdpProgram { place: XdpPlace::Generic, id: *id }),
            LinkXdp::HwProgId(id) => programs.push(XdpProgram { place: XdpPlace::Offloaded, id: *id }),
            LinkXdp::ProgId(id) => short.1 = Some(*id),
            LinkXdp::Attached(XdpAttached::Driver) => short.0 = Some(XdpPlace::Native),
            LinkXdp::Attached(XdpAttached::SocketBuffer) => short.0 = Some(XdpPlace::Generic),
            LinkXdp::Attached(XdpAttached::Hardware) => short.0 = Some(XdpPlace::Offloaded),
            _ => {}
        }
    }
    if let (true, (Some(place), Some(id))) = (programs.is_empty(), short) {
        programs.push(XdpProgram { place, id });
    }
    programs.retain(|program| program.id != 0);
    programs.sort();
    programs
}

/// Of `include/uapi/linux/if_arp.h`; the libc crate lacks them.
const ARPHRD_RAWIP: u16 = 519;
const ARPHRD_IP6GRE: u16 = 823;

/// Returns the header that packets start with. Devices without `header_ops` hand the IP header to tc and XDP
/// (`dev->hard_header_len` is 0, or is pushed later, as by PPP). GRE is such a device only with a fixed far end: else it
/// puts its outer header first (`ipgre_tunnel_init` in `net/ipv4/ip_gre.c`).
fn link_layer(arphrd: u16, point_to_point: bool) -> DeviceType {
    match arphrd {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => DeviceType::Ethernet,
        libc::ARPHRD_NONE
        | ARPHRD_RAWIP
        | libc::ARPHRD_PPP
        | libc::ARPHRD_TUNNEL
        | libc::ARPHRD_TUNNEL6
        | libc::ARPHRD_SIT => DeviceType::RawIp,
        libc::ARPHRD_IPGRE | ARPHRD_IP6GRE if point_to_point => DeviceType::RawIp,
        other => DeviceType::Other(other),
    }
}

/// Adds an address to its interface: the local one, which on a point-to-point link is not the `Address`.
fn add_address(links: &mut BTreeMap<u32, Link>, message: RouteNetlinkMessage) {
    let RouteNetlinkMessage::NewAddress(message) = message else { return };
    let Some(link) = links.get_mut(&message.header.index) else { return };
    let (mut local, mut address) = (None, None);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(found) => local = Some(found),
            AddressAttribute::Address(found) => address = Some(found),
            _ => {}
        }
    }
    match local.or(address) {
        Some(IpAddr::V4(found)) => link.device.v4.push(found),
        Some(IpAddr::V6(found)) => link.device.v6.push(found),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_tunnels_start_with_the_ip_header() {
        for arphrd in [libc::ARPHRD_NONE, ARPHRD_RAWIP, libc::ARPHRD_PPP, libc::ARPHRD_TUNNEL, libc::ARPHRD_SIT] {
            assert_eq!(link_layer(arphrd, false), DeviceType::RawIp, "{arphrd}");
        }
        assert_eq!(link_layer(libc::ARPHRD_LOOPBACK, false), DeviceType::Ethernet);
        assert_eq!(link_layer(libc::ARPHRD_IPGRE, true), DeviceType::RawIp);
        assert_eq!(link_layer(libc::ARPHRD_IPGRE, false), DeviceType::Other(libc::ARPHRD_IPGRE));
        assert_eq!(link_layer(libc::ARPHRD_INFINIBAND, false), DeviceType::Other(32));
    }

    #[test]
    fn each_xdp_program_is_named_with_its_place() {
        let short = [LinkXdp::Attached(XdpAttached::SocketBuffer), LinkXdp::ProgId(7)];
        assert_eq!(xdp_programs(&short), [XdpProgram { place: XdpPlace::Generic, id: 7 }]);
        let long = [LinkXdp::Attached(XdpAttached::Driver), LinkXdp::ProgId(7), LinkXdp::DrvProgId(7)];
        assert_eq!(xdp_programs(&long), [XdpProgram { place: XdpPlace::Native, id: 7 }]);
        let both = [LinkXdp::Attached(XdpAttached::Multiple), LinkXdp::SkbProgId(9), LinkXdp::HwProgId(8)];
        assert_eq!(xdp_programs(&both).len(), 2);
        assert_eq!(xdp_programs(&[LinkXdp::Attached(XdpAttached::None)]), []);
    }

    #[test]
    fn offload_beneath_a_vlan_on_a_bond_counts() {
        let made = |lower, master, lro| Link { device: Device { lro, ..Device::default() }, lower, master };
        let links = BTreeMap::from([
            (1, made(None, Some(3), true)),
            (2, made(None, Some(3), false)),
            (3, made(None, None, false)),
            (4, made(Some(3), None, false)),
            (5, made(None, None, false)),
            (6, made(Some(6), None, false)),
        ]);
        let on: Vec<u32> = links.keys().copied().filter(|index| lro_beneath(&links, *index, 0)).collect();
        assert_eq!(on, [1, 3, 4]);
    }
}
