//! The plan of the lab as plain data: its hosts, their interfaces, addresses, routes and kernel settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use probe_ebpf::Family;

/// A host of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LabHost {
    /// The host behind the firewall.
    A,
    /// The firewall, a router.
    Fw,
    /// The host outside the firewall.
    B,
}

impl LabHost {
    /// Every host, in path order.
    pub const ALL: [Self; 3] = [Self::A, Self::Fw, Self::B];

    /// Returns the host's name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::Fw => "fw",
            Self::B => "b",
        }
    }

    /// Iterates over the host's interfaces.
    pub fn nics(self) -> impl Iterator<Item = Nic> {
        Nic::ALL.into_iter().filter(move |nic| nic.host() == self)
    }

    /// Returns the address at which this host is pinged: that of its first interface.
    pub fn address(self, family: Family) -> IpAddr {
        let nic = match self {
            Self::A => Nic::A,
            Self::Fw => Nic::FwA,
            Self::B => Nic::B,
        };
        nic.address(family)
    }

    /// Returns the default gateway: the firewall's interface on the host's link.
    pub fn gateway(self) -> Option<Nic> {
        match self {
            Self::A => Some(Nic::FwA),
            Self::Fw => None,
            Self::B => Some(Nic::FwB),
        }
    }

    /// Returns the kernel settings below `/proc/sys`, in the order in which they are written, before the links are
    /// made.
    pub fn settings(self) -> Vec<Setting> {
        settings(self == Self::Fw)
    }
}

/// Returns the settings of a host, which forwards or does not, as [`LabHost::settings`] does.
pub fn settings(forwards: bool) -> Vec<Setting> {
    let mut settings = COMMON_SETTINGS.to_vec();
    if forwards {
        settings.extend(ROUTER_SETTINGS);
    }
    settings
}

/// A network interface of the lab: one of the four at which packets are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nic {
    /// `eth0` of A.
    A,
    /// `a` of the firewall, towards A.
    FwA,
    /// `b` of the firewall, towards B.
    FwB,
    /// `eth0` of B.
    B,
}

impl Nic {
    /// Every interface, in the order in which a request from A to B passes them.
    pub const ALL: [Self; 4] = [Self::A, Self::FwA, Self::FwB, Self::B];

    /// Returns the host that has this interface.
    pub const fn host(self) -> LabHost {
        match self {
            Self::A => LabHost::A,
            Self::FwA | Self::FwB => LabHost::Fw,
            Self::B => LabHost::B,
        }
    }

    /// Returns the interface's name on that host.
    pub const fn interface(self) -> &'static str {
        match self {
            Self::A | Self::B => "eth0",
            Self::FwA => "a",
            Self::FwB => "b",
        }
    }

    /// Returns the other end of the veth pair.
    pub const fn peer(self) -> Self {
        match self {
            Self::A => Self::FwA,
            Self::FwA => Self::A,
            Self::FwB => Self::B,
            Self::B => Self::FwB,
        }
    }

    /// Returns the IPv4 address.
    pub const fn v4(self) -> Ipv4Addr {
        match self {
            Self::A => Ipv4Addr::new(10, 77, 0, 10),
            Self::FwA => Ipv4Addr::new(10, 77, 0, 1),
            Self::FwB => Ipv4Addr::new(10, 78, 0, 1),
            Self::B => Ipv4Addr::new(10, 78, 0, 20),
        }
    }

    /// Returns the IPv6 address.
    pub const fn v6(self) -> Ipv6Addr {
        match self {
            Self::A => Ipv6Addr::new(0xfd77, 0, 0, 0xa, 0, 0, 0, 0x10),
            Self::FwA => Ipv6Addr::new(0xfd77, 0, 0, 0xa, 0, 0, 0, 1),
            Self::FwB => Ipv6Addr::new(0xfd77, 0, 0, 0xb, 0, 0, 0, 1),
            Self::B => Ipv6Addr::new(0xfd77, 0, 0, 0xb, 0, 0, 0, 0x20),
        }
    }

    /// Returns the address after its own on the same link, for a host that has two.
    pub const fn second_address(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(self.v4().to_bits() + 1)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(self.v6().to_bits() + 1)),
        }
    }

    /// Returns the address of this IP version.
    pub const fn address(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => IpAddr::V4(self.v4()),
            Family::V6 => IpAddr::V6(self.v6()),
        }
    }
}

/// Returns the prefix length of a link, in bits.
pub const fn prefix_length(family: Family) -> u8 {
    match family {
        Family::V4 => 24,
        Family::V6 => 64,
    }
}

/// A kernel setting: its path below `/proc/sys`, and its value.
pub type Setting = (&'static str, &'static str);

/// What every host has beyond [`super::baseline`]. No duplicate address detection: an address that is
/// alone on its cable can be used at once. No router is asked for: the routes are given.
const COMMON_SETTINGS: [Setting; 5] = [
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
];

/// What makes the firewall a router.
const ROUTER_SETTINGS: [Setting; 2] = [("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_ends_of_a_cable_share_a_network_and_nothing_else_does() {
        for nic in Nic::ALL {
            assert_eq!(nic.peer().peer(), nic);
            assert_eq!(nic.v4().octets()[..3], nic.peer().v4().octets()[..3]);
            assert_eq!(nic.v6().segments()[..4], nic.peer().v6().segments()[..4]);
        }
        assert_ne!(Nic::A.v4().octets()[..3], Nic::B.v4().octets()[..3]);
        assert_ne!(Nic::A.v6().segments()[..4], Nic::B.v6().segments()[..4]);
    }

    #[test]
    fn no_address_and_no_place_is_given_twice() {
        let addresses: BTreeSet<_> =
            Nic::ALL.iter().flat_map(|nic| [nic.address(Family::V4), nic.address(Family::V6)]).collect();
        let places: BTreeSet<_> = Nic::ALL.iter().map(|nic| (nic.host(), nic.interface())).collect();
        assert_eq!((addresses.len(), places.len()), (8, 4));
    }

    #[test]
    fn each_gateway_is_the_far_end_of_the_hosts_own_cable() {
        for host in LabHost::ALL {
            let far_ends: Vec<_> = host.nics().map(Nic::peer).collect();
            assert!(host.gateway().is_none_or(|gateway| far_ends == [gateway]), "{host:?}");
        }
    }

    #[test]
    fn only_the_firewall_forwards() {
        let forwards = |host: LabHost| host.settings().contains(&("net/ipv4/ip_forward", "1"));
        assert_eq!(LabHost::ALL.map(forwards), [false, true, false]);
    }
}
