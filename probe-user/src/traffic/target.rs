//! Resolves what the user typed to the one address that packets are sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};

use nix::net::if_::if_nametoindex;
use probe_ebpf::Family;
use thiserror::Error;

use crate::error::Mend;

/// Where packets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedTarget {
    /// What was typed.
    pub name: String,
    /// Its address; the port is 0, and IPv6 link-local addresses have their zone as scope id.
    pub address: SocketAddr,
    /// The other addresses that a name has, in the order of the system's resolver.
    pub others: Vec<IpAddr>,
}

impl ResolvedTarget {
    /// Reports whether it was typed as an IPv6 address that stands for one of IPv4 (RFC 4291 §2.5.5.2).
    pub fn is_mapped(&self) -> bool {
        self.address.is_ipv4() && self.name.parse::<Ipv6Addr>().is_ok()
    }
}

/// Why a name has no usable address.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The resolver has no address for the name.
    #[error("'{name}' does not resolve: {why}")]
    Unresolved {
        /// What was typed.
        name: String,
        /// The resolver's message.
        why: String,
    },
    /// The name or the address has only the other IP version.
    #[error("'{name}' has no {} address, only {has}", version(*.wanted))]
    OtherFamily {
        /// What was typed.
        name: String,
        /// The IP version that was requested.
        wanted: Family,
        /// An address that it has.
        has: IpAddr,
    },
    /// A link-local address exists on every link, and none was named.
    #[error("{address} is a link-local address: it may be a different host on each interface")]
    NoZone {
        /// The address.
        address: Ipv6Addr,
    },
    /// The zone after `%` is no interface.
    #[error("no interface '{zone}' in this network namespace")]
    UnknownZone {
        /// The zone as typed.
        zone: String,
    },
    /// A zone after `%` stands behind an address that is the same host on every link.
    #[error("{address} is the same host on every interface, and takes no %{zone}")]
    NeedlessZone {
        /// The address.
        address: Ipv6Addr,
        /// The zone as typed.
        zone: String,
    },
    /// The zone after `%` and `-I` name two interfaces.
    #[error("'{name}' names interface {zone}, and -I names {interface}")]
    TwoInterfaces {
        /// What was typed.
        name: String,
        /// Its zone.
        zone: String,
        /// The interface of `-I`.
        interface: String,
    },
}

impl Mend for TargetError {
    fn fix(&self) -> String {
        match self {
            Self::Unresolved { name, .. } if name.is_empty() => "give a name or an address".to_owned(),
            Self::Unresolved { .. } => {
                "check its spelling and this host's name service, or give an IP address".to_owned()
            }
            Self::OtherFamily { wanted, has, .. } => match (wanted, has) {
                (Family::V4, _) => "use -6 or an IPv4 address (and an IPv4 source)".to_owned(),
                (Family::V6, _) => "use -4 or an IPv6 address (and an IPv6 source)".to_owned(),
            },
            Self::NoZone { address } => format!("name one: -I IFACE, or {address}%IFACE"),
            Self::UnknownZone { .. } => "`ip -br link` lists them".to_owned(),
            Self::NeedlessZone { zone, .. } => format!("leave it out, or send from that interface: -I {zone}"),
            Self::TwoInterfaces { .. } => "leave one of them out".to_owned(),
        }
    }
}

/// Resolves `name`, a name or an address (IPv6 with `%zone` too), with the system's resolver: the first address of `family`,
/// or the first of any. Waits for the name service, in the calling thread and in its network namespace. `interface` is the
/// zone of a link-local address without one.
pub fn resolve(name: &str, family: Option<Family>, interface: Option<&str>) -> Result<ResolvedTarget, TargetError> {
    let candidates = match literal(name)? {
        Some(address) => vec![address],
        None => look_up(name)?,
    };
    let chosen = choose(name, &candidates, family)?;
    let mut others: Vec<IpAddr> = Vec::new();
    for other in candidates.iter().map(SocketAddr::ip).filter(|other| *other != chosen.ip()) {
        if !others.contains(&other) {
            others.push(other);
        }
    }
    Ok(ResolvedTarget { name: name.to_owned(), address: zoned(name, here(chosen), interface)?, others })
}

/// Returns the IP version in which `name` is sent to, if it is an address, with a zone or without.
pub fn literal_family(name: &str) -> Option<Family> {
    let address = name.split_once('%').map_or(name, |(address, _)| address);
    address.parse::<IpAddr>().ok().map(|address| family_of(address.to_canonical()))
}

/// Returns the IP version of an address.
pub fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

fn version(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// Parses `name` as an address, if it is one. An IPv4-mapped one is IPv4: that is what would go over the wire.
fn literal(name: &str) -> Result<Option<SocketAddr>, TargetError> {
    if let Some((address, zone)) = name.split_once('%') {
        let Ok(address) = address.parse::<Ipv6Addr>() else { return Ok(None) };
        return Ok(Some(SocketAddrV6::new(address, 0, 0, zone_index(zone)?).into()));
    }
    Ok(name.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address.to_canonical(), 0)))
}

/// Returns the index of the interface with this name or number.
fn zone_index(zone: &str) -> Result<u32, TargetError> {
    if_nametoindex(zone)
        .ok()
        .or_else(|| zone.parse().ok().filter(|&index| index != 0))
        .ok_or_else(|| TargetError::UnknownZone { zone: zone.to_owned() })
}

fn look_up(name: &str) -> Result<Vec<SocketAddr>, TargetError> {
    let unresolved = |why: String| TargetError::Unresolved { name: name.to_owned(), why };
    let found: Vec<SocketAddr> = (name, 0).to_socket_addrs().map_err(|error| unresolved(reason(&error)))?.collect();
    if found.is_empty() {
        return Err(unresolved("the name has no address".to_owned()));
    }
    Ok(found)
}

/// Returns the resolver's message without the prefix that all its messages have.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

/// Returns the first of `candidates` that is of `family`; they are in the order that the resolver prefers (RFC 6724).
fn choose(name: &str, candidates: &[SocketAddr], family: Option<Family>) -> Result<SocketAddr, TargetError> {
    let fits = |address: &&SocketAddr| family.is_none_or(|family| family_of(address.ip()) == family);
    if let Some(address) = candidates.iter().find(fits) {
        return Ok(*address);
    }
    match (family, candidates.first()) {
        (Some(wanted), Some(other)) => Err(TargetError::OtherFamily { name: name.to_owned(), wanted, has: other.ip() }),
        _ => Err(TargetError::Unresolved { name: name.to_owned(), why: "the name has no address".to_owned() }),
    }
}

/// Returns where the kernel sends what is for 0.0.0.0: to this host (`ip_route_output_key_hash_rcu` in `net/ipv4/route.c`). In
/// IPv6 that depends on the socket, which decides itself then.
fn here(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
        _ => address,
    }
}

/// Gives a link-local address its zone.
fn zoned(name: &str, address: SocketAddr, interface: Option<&str>) -> Result<SocketAddr, TargetError> {
    let SocketAddr::V6(mut v6) = address else { return Ok(address) };
    let zone = || name.rsplit('%').next().unwrap_or(name).to_owned();
    if v6.scope_id() != 0 && name.contains('%') && !is_link_scoped(v6.ip()) {
        return Err(TargetError::NeedlessZone { address: *v6.ip(), zone: zone() });
    }
    let Some(interface) = interface else {
        return match v6.scope_id() {
            0 if is_link_scoped(v6.ip()) => Err(TargetError::NoZone { address: *v6.ip() }),
            _ => Ok(address),
        };
    };
    let index = zone_index(interface)?;
    if v6.scope_id() != 0 && v6.scope_id() != index {
        return Err(TargetError::TwoInterfaces {
            name: name.to_owned(),
            zone: zone(),
            interface: interface.to_owned(),
        });
    }
    if is_link_scoped(v6.ip()) {
        v6.set_scope_id(index);
    }
    Ok(v6.into())
}

/// Reports whether the address is only meaningful together with a link: `fe80::/10`, and multicast of interface or link
/// scope (RFC 4291 §2.5.6, §2.7).
fn is_link_scoped(address: &Ipv6Addr) -> bool {
    address.is_unicast_link_local() || matches!(address.segments()[0] & 0xff0f, 0xff01 | 0xff02)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(name: &str, family: Option<Family>) -> Result<IpAddr, TargetError> {
        resolve(name, family, None).map(|target| target.address.ip())
    }

    #[test]
    fn an_address_tells_its_ip_version_whatever_it_is_written_with() {
        for (name, family) in [
            ("10.0.0.2", Some(Family::V4)),
            ("::ffff:10.0.0.2", Some(Family::V4)),
            ("fd00::2", Some(Family::V6)),
            ("fe80::2%eth0", Some(Family::V6)),
            ("b.example", None),
        ] {
            assert_eq!(literal_family(name), family, "{name}");
        }
    }

    #[test]
    fn addresses_need_no_resolver() {
        assert_eq!(resolved("10.0.0.2", None).expect("an address").to_string(), "10.0.0.2");
        assert_eq!(resolved("fd00::2", Some(Family::V6)).expect("an address").to_string(), "fd00::2");
        assert_eq!(resolved("::ffff:10.0.0.2", None).expect("an address").to_string(), "10.0.0.2");
        assert!(resolve("::ffff:10.0.0.2", None, None).is_ok_and(|target| target.is_mapped()));
        assert!(resolve("10.0.0.2", None, None).is_ok_and(|target| !target.is_mapped()));
        // Sent to nobody, packets stay here, and this host's loopback address answers.
        assert_eq!(resolved("0.0.0.0", None).expect("an address").to_string(), "127.0.0.1");
        assert_eq!(resolved("::", None).expect("an address").to_string(), "::");
    }

    #[test]
    fn an_address_of_the_other_family_is_refused() {
        let error = resolved("10.0.0.2", Some(Family::V6)).expect_err("IPv4");
        assert_eq!(error.to_string(), "'10.0.0.2' has no IPv6 address, only 10.0.0.2");
        assert!(error.fix().contains("-4"));
    }

    #[test]
    fn the_first_address_of_the_asked_family_is_chosen() {
        let both: Vec<SocketAddr> = ["[fd00::2]:0", "10.0.0.2:0", "10.0.0.3:0"].map(|a| a.parse().expect("ok")).into();
        let chosen = |family| choose("b", &both, family).expect("one fits").ip().to_string();
        assert_eq!(chosen(None), "fd00::2");
        assert_eq!(chosen(Some(Family::V4)), "10.0.0.2");
        assert!(matches!(choose("b", &both[1..], Some(Family::V6)), Err(TargetError::OtherFamily { .. })));
        assert!(matches!(choose("b", &[], None), Err(TargetError::Unresolved { .. })));
    }

    #[test]
    fn a_link_local_address_needs_a_zone() {
        let lo = if_nametoindex("lo").expect("every host has it");
        for address in ["fe80::1", "ff02::1", "ff12::1"] {
            let error = resolve(address, None, None).expect_err(address);
            assert!(error.fix().contains("-I IFACE, or "), "{}", error.fix());
            for (name, interface) in [(format!("{address}%lo"), None), (address.to_owned(), Some("lo"))] {
                let target = resolve(&name, None, interface).expect("a zone");
                assert!(matches!(target.address, SocketAddr::V6(v6) if v6.scope_id() == lo), "{name}");
            }
        }
        assert!(resolve("ff05::1", None, None).is_ok());
        assert!(resolve(&format!("fe80::1%{lo}"), None, Some("lo")).is_ok());
    }

    #[test]
    fn a_zone_that_is_no_interface_or_another_one_is_refused() {
        assert!(matches!(resolve("fe80::1%nope9", None, None), Err(TargetError::UnknownZone { .. })));
        assert!(matches!(resolve("fe80::1%4242", None, Some("lo")), Err(TargetError::TwoInterfaces { .. })));
    }

    #[test]
    fn a_name_that_cannot_resolve_says_so() {
        let error = resolved("no such name", None).expect_err("spaces");
        assert!(error.to_string().starts_with("'no such name' does not resolve: "), "{error}");
        assert!(matches!(resolved("", None), Err(TargetError::Unresolved { .. })));
    }
}
