//! Devices and the addresses on them as neighbours find them: link-layer addresses, states, what a device is a port of.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{
        BridgePortState, InfoBridge, InfoBridgePort, InfoData, InfoMacVlan, InfoPortData, LinkAttribute,
        LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
    },
};

use super::{device::netlink, namespace, settings};
use crate::model::{
    prefix::shares,
    trace::{AddressHolder, BridgePortFacts, FloodKind, LinkFacts, frame::hardware_address},
};

/// How many devices beside a port are listed at most.
const MOST_BRIDGED: usize = 64;

/// A device, and which others it is on top of or belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Linked {
    facts: LinkFacts,
    master: Option<u32>,
    /// By which id this namespace knows that of the device on which it was made, if that is another one.
    lower_nsid: Option<i32>,
    isolated: bool,
}

/// Every device of the calling thread's network namespace.
#[derive(Clone, Debug, Default)]
pub struct Links(BTreeMap<u32, Linked>);

impl Links {
    /// Reads them.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn read() -> io::Result<Self> {
        let mut request = LinkMessage::default();
        request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let messages = netlink::dump(&RouteNetlinkMessage::GetLink(request))?;
        let mut links = Self::of(messages);
        links.find_far_away();
        Ok(links)
    }

    /// Finds out in which namespaces the devices are on which others of this one were made: an index says nothing without that.
    fn find_far_away(&mut self) {
        let made = |link: &&mut Linked| made_on_another(&link.facts) && link.lower_nsid.is_some();
        let far: Vec<&mut Linked> = self.0.values_mut().filter(made).collect();
        if far.is_empty() {
            return;
        }
        let known = namespace::by_id();
        for link in far {
            link.facts.lower_netns = link.lower_nsid.map(|id| known.get(&id).copied().unwrap_or(0));
        }
    }

    fn of(messages: Vec<RouteNetlinkMessage>) -> Self {
        let mut links: BTreeMap<u32, Linked> = messages.into_iter().filter_map(linked).collect();
        let names: BTreeMap<u32, String> = links
            .iter()
            .map(|(index, link)| (*index, format!("{} {}", kind_of(&link.facts), link.facts.interface)))
            .collect();
        let isolated: Vec<(Option<u32>, String)> = links
            .values()
            .filter(|link| link.isolated)
            .map(|link| (link.master, link.facts.interface.clone()))
            .collect();
        for link in links.values_mut() {
            link.facts.master = link.master.and_then(|master| names.get(&master).cloned());
            let others =
                isolated.iter().filter(|(master, name)| *master == link.master && *name != link.facts.interface);
            let others: Vec<String> = others.filter(|_| link.isolated).map(|(_, name)| name.clone()).collect();
            if !others.is_empty() {
                link.facts.port.get_or_insert_default().isolated_from = others;
            }
        }
        Self(links)
    }

    /// Returns the device of that name.
    pub fn named(&self, interface: &str) -> Option<LinkFacts> {
        self.0.values().map(|link| &link.facts).find(|facts| facts.interface == interface).cloned()
    }

    /// Returns the device on which another one is made, of the same namespace: that of a macvlan, an ipvlan or a VLAN.
    pub fn below(&self, facts: &LinkFacts) -> Option<LinkFacts> {
        let here = made_on_another(facts) && facts.lower_netns.is_none();
        self.0.get(&facts.lower.filter(|_| here)?).map(|link| link.facts.clone())
    }

    /// Returns the bridges of which `interfaces` are ports, with the other ports of those, and then the ends of veth pairs that are
    /// ports of nothing or of another bridge: what leads from a bridge to others, or should.
    pub fn bridged_with(&self, interfaces: &[&str]) -> Vec<LinkFacts> {
        let named = |link: &&Linked| interfaces.contains(&link.facts.interface.as_str());
        let bridge = |link: &Linked| link.master.filter(|master| self.is_bridge(*master));
        let bridges: BTreeSet<u32> = self.0.values().filter(named).filter_map(bridge).collect();
        if bridges.is_empty() {
            return Vec::new();
        }
        let near = |link: &&Linked| match link.master {
            Some(master) => bridges.contains(&master),
            None => bridges.contains(&link.facts.ifindex) || link.facts.kind.as_deref() == Some("veth"),
        };
        let astray =
            |link: &&Linked| link.facts.kind.as_deref() == Some("veth") && bridge(link).is_some() && !near(link);
        let found = self.0.values().filter(near).chain(self.0.values().filter(astray)).filter(|link| !named(link));
        found.take(MOST_BRIDGED).map(|link| link.facts.clone()).collect()
    }

    fn is_bridge(&self, index: u32) -> bool {
        self.0.get(&index).is_some_and(|link| link.facts.kind.as_deref() == Some("bridge"))
    }

    /// Returns which devices have one of `addresses`, in the order of those.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn holders(&self, addresses: &[IpAddr]) -> io::Result<Vec<AddressHolder>> {
        let messages = netlink::dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        let mut holders: Vec<AddressHolder> =
            messages.iter().filter_map(|message| self.holder(message, addresses)).collect();
        holders.sort_by_key(|holder| addresses.iter().position(|address| Some(*address) == holder.address));
        Ok(holders)
    }

    /// Returns the addresses of a device.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn addresses_of(&self, interface: &str) -> io::Result<Vec<AddressHolder>> {
        let messages = netlink::dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        let all = messages.iter().filter_map(|message| self.any_holder(message));
        Ok(all.filter(|holder| holder.interface == interface).collect())
    }

    /// Returns the devices whose MTU is too small for IPv6.
    pub fn too_narrow_for_ipv6(&self) -> Vec<LinkFacts> {
        let narrow = self.0.values().map(|link| &link.facts).filter(|facts| facts.too_narrow_for_ipv6());
        narrow.take(MOST_BRIDGED).cloned().collect()
    }

    /// Returns the devices on which IPv6 is switched off, without `lo`.
    pub fn without_ipv6(&self) -> Vec<LinkFacts> {
        let is_off = |name: &str| settings::is_on(&format!("net/ipv6/conf/{name}/disable_ipv6"));
        let all = self.0.values().map(|link| &link.facts).take(MOST_BRIDGED);
        let off = all.filter(|facts| facts.interface != "lo" && is_off(&facts.interface));
        off.map(|facts| LinkFacts { ipv6_off: true, ..facts.clone() }).collect()
    }

    /// Returns the devices that are set down, without `lo`.
    pub fn down(&self) -> Vec<LinkFacts> {
        let down = self.0.values().map(|link| &link.facts).filter(|facts| facts.down && facts.interface != "lo");
        down.take(MOST_BRIDGED).cloned().collect()
    }

    /// Returns the addresses whose prefix covers `to`, though it may have no route, also those of devices that are down.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn covering(&self, to: IpAddr) -> io::Result<Vec<AddressHolder>> {
        let messages = netlink::dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        let all = messages.iter().filter_map(|message| self.any_holder(message));
        let covers = |holder: &AddressHolder| {
            holder
                .address
                .is_some_and(|own| own.is_ipv4() == to.is_ipv4() && own != to && shares(own, to, holder.prefix))
        };
        Ok(all.filter(|holder| holder.prefix > 0 && covers(holder)).collect())
    }

    /// Returns the addresses of `interface` that the kernel does not use because of their state.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn unusable(&self, interface: &str) -> io::Result<Vec<AddressHolder>> {
        let messages = netlink::dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        let all = messages.iter().filter_map(|message| self.any_holder(message));
        Ok(all.filter(|holder| holder.interface == interface && !holder.states.is_empty()).collect())
    }

    fn holder(&self, message: &RouteNetlinkMessage, addresses: &[IpAddr]) -> Option<AddressHolder> {
        self.any_holder(message).filter(|holder| holder.address.is_some_and(|address| addresses.contains(&address)))
    }

    fn any_holder(&self, message: &RouteNetlinkMessage) -> Option<AddressHolder> {
        let RouteNetlinkMessage::NewAddress(message) = message else { return None };
        let (mut local, mut address) = (None, None);
        let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(found) => local = Some(*found),
                AddressAttribute::Address(found) => address = Some(*found),
                AddressAttribute::Flags(found) => flags = *found,
                _ => {}
            }
        }
        let address = local.or(address)?;
        let link = self.0.get(&message.header.index)?;
        Some(AddressHolder {
            address: Some(address),
            prefix: message.header.prefix_len,
            interface: link.facts.interface.clone(),
            ifindex: link.facts.ifindex,
            states: states(flags),
            lladdr: link.facts.lladdr.clone(),
            kind: link.facts.kind.clone(),
            lower: link.facts.lower,
            lower_netns: link.facts.lower_netns,
            only_from: link.facts.only_from.clone(),
            master: link.facts.master.clone(),
            netns: None,
            inode: 0,
            enter: None,
        })
    }
}

/// Returns the states that keep the kernel from using an address, in the words of `ip address`.
fn states(flags: AddressFlags) -> Vec<String> {
    let words = [
        (AddressFlags::Dadfailed, "dadfailed"),
        (AddressFlags::Tentative, "tentative"),
        (AddressFlags::Optimistic, "optimistic"),
    ];
    words.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, word)| word.to_owned()).collect()
}

/// Reports whether the interface that a device names is the one on which it was made, and not its peer.
fn made_on_another(facts: &LinkFacts) -> bool {
    matches!(facts.kind.as_deref(), Some("macvlan" | "macvtap" | "ipvlan" | "ipvtap" | "vlan"))
}

fn kind_of(facts: &LinkFacts) -> &str {
    facts.kind.as_deref().unwrap_or("device")
}

fn linked(message: RouteNetlinkMessage) -> Option<(u32, Linked)> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let mut link = Linked::default();
    link.facts.ifindex = message.header.index;
    link.facts.noarp = message.header.flags.contains(LinkFlags::Noarp);
    link.facts.down = !message.header.flags.contains(LinkFlags::Up);
    link.facts.no_carrier = !link.facts.down && !message.header.flags.contains(LinkFlags::LowerUp);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.facts.interface = name,
            LinkAttribute::Address(bytes) => link.facts.lladdr = lladdr(&bytes),
            LinkAttribute::Mtu(mtu) => link.facts.mtu = mtu,
            LinkAttribute::Link(index) => link.facts.lower = (index != 0).then_some(index),
            LinkAttribute::LinkNetNsId(id) => link.lower_nsid = Some(id),
            LinkAttribute::Controller(index) => link.master = (index != 0).then_some(index),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.facts.kind = Some(kind.to_string()),
                        LinkInfo::Data(InfoData::Bridge(bridge)) => {
                            link.facts.snoops_multicast = bridge.contains(&InfoBridge::MulticastSnooping(true));
                        }
                        LinkInfo::Data(InfoData::MacVlan(macvlan)) => link.facts.only_from = senders(&macvlan),
                        LinkInfo::PortData(InfoPortData::BridgePort(port)) => take_port(&mut link, &port),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (!link.facts.interface.is_empty()).then_some((link.facts.ifindex, link))
}

/// Returns from which link-layer addresses a macvlan device takes frames, if its mode is source.
fn senders(macvlan: &[InfoMacVlan]) -> Option<Vec<String>> {
    macvlan.contains(&InfoMacVlan::Mode(MacVlanMode::Source)).then(|| {
        let lists = macvlan.iter().filter_map(|attribute| match attribute {
            InfoMacVlan::MacAddrData(list) => Some(list),
            _ => None,
        });
        let addresses = lists.flatten().filter_map(|attribute| match attribute {
            InfoMacVlan::MacAddr(address) => lladdr(address),
            _ => None,
        });
        addresses.collect()
    })
}

/// Notes what keeps the port of a bridge from passing on everything.
fn take_port(link: &mut Linked, port: &[InfoBridgePort]) {
    let mut held = BridgePortFacts::default();
    for attribute in port {
        match attribute {
            InfoBridgePort::State(BridgePortState::Forwarding) => {}
            InfoBridgePort::State(state) => held.state = Some(state.to_string()),
            InfoBridgePort::UnicastFlood(false) => held.not_flooded.push(FloodKind::Unicast),
            InfoBridgePort::MulticastFlood(false) => held.not_flooded.push(FloodKind::Multicast),
            InfoBridgePort::BroadcastFlood(false) => held.not_flooded.push(FloodKind::Broadcast),
            InfoBridgePort::Isolated(isolated) => link.isolated = *isolated,
            InfoBridgePort::Locked(locked) => held.locked = *locked,
            InfoBridgePort::HairpinMode(hairpin) => held.hairpin = *hairpin,
            _ => {}
        }
    }
    link.facts.port = (held != BridgePortFacts::default()).then_some(held);
}

/// Returns an Ethernet address as `ip` writes it; `None` if it is of another kind, or zero.
pub fn lladdr(bytes: &[u8]) -> Option<String> {
    let known = bytes.len() == 6 && bytes.iter().any(|byte| *byte != 0);
    known.then(|| hardware_address(bytes))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn link(index: u32, attributes: Vec<LinkAttribute>) -> RouteNetlinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = attributes;
        RouteNetlinkMessage::NewLink(message)
    }

    #[test]
    fn a_port_names_its_bridge_and_an_address_its_device() {
        let kind = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(netlink_packet_route::link::InfoKind::Bridge)]);
        let links = Links::of(vec![
            link(1, vec![LinkAttribute::IfName("br0".into()), kind]),
            link(
                2,
                vec![
                    LinkAttribute::IfName("eth0".into()),
                    LinkAttribute::Controller(1),
                    LinkAttribute::Address(vec![2, 0, 0, 0, 0, 7]),
                ],
            ),
        ]);
        let eth0 = links.named("eth0").expect("it is there");
        assert_eq!((eth0.master.as_deref(), eth0.lladdr.as_deref()), (Some("bridge br0"), Some("02:00:00:00:00:07")));
        let mut message = AddressMessage::default();
        message.header.index = 2;
        message.header.prefix_len = 24;
        message.attributes.push(AddressAttribute::Local(Ipv4Addr::new(10, 0, 0, 1).into()));
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Tentative | AddressFlags::Dadfailed));
        let message = RouteNetlinkMessage::NewAddress(message);
        let holder = links.holder(&message, &[[10, 0, 0, 1].into()]).expect("it has it");
        assert_eq!((holder.interface.as_str(), holder.prefix), ("eth0", 24));
        assert_eq!(holder.states, ["dadfailed", "tentative"]);
        assert_eq!(links.holder(&message, &[[10, 0, 0, 2].into()]), None);
    }

    #[test]
    fn a_port_that_is_isolated_or_blocked_says_so_and_a_plain_one_does_not() {
        let port = |index: u32, isolated: bool, state: BridgePortState| {
            let data = vec![InfoBridgePort::State(state), InfoBridgePort::Isolated(isolated)];
            let info = LinkInfo::PortData(InfoPortData::BridgePort(data));
            let name = LinkAttribute::IfName(format!("port{index}"));
            link(index, vec![name, LinkAttribute::Controller(9), LinkAttribute::LinkInfo(vec![info])])
        };
        let links = Links::of(vec![
            port(1, true, BridgePortState::Forwarding),
            port(2, true, BridgePortState::Forwarding),
            port(3, false, BridgePortState::Blocking),
            port(4, false, BridgePortState::Forwarding),
        ]);
        let facts = |name: &str| links.named(name).expect("it is there").port;
        assert_eq!(facts("port1").map(|port| port.isolated_from), Some(vec!["port2".to_owned()]));
        assert_eq!(facts("port3").and_then(|port| port.state).as_deref(), Some("blocking"));
        assert_eq!(facts("port4"), None);
    }

    #[test]
    fn only_addresses_of_ethernet_are_told() {
        assert_eq!(lladdr(&[0; 6]), None);
        assert_eq!(lladdr(&[10, 0, 0, 1]), None);
    }
}
