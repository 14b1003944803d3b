//! Which `IPsec` policy applies to packets, asked of the kernel (`XFRM_MSG_GETPOLICY` of `include/uapi/linux/xfrm.h`).

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use netlink_sys::protocols::NETLINK_XFRM;

use super::device::netlink::{self, Messages};
use crate::model::{prefix::shares, trace::IpsecPolicy};

/// `XFRM_MSG_GETPOLICY`, and the length of its `xfrm_userpolicy_id`.
const GET_POLICY: u16 = 21;
const POLICY_ID: usize = 64;

/// `XFRM_POLICY_IN` and `XFRM_POLICY_OUT`.
const IN: u8 = 0;
const OUT: u8 = 1;

/// Where `xfrm_userpolicy_info` has what is read; its selector comes first.
const SELECTOR_FAMILY: usize = 40;
const PRIORITY: usize = 152;
const DIRECTION: usize = 160;
const ACTION: usize = 161;
const INFO: usize = 168;

/// The attribute with templates, `XFRMA_TMPL`, and the length of an `xfrm_user_tmpl`.
const TEMPLATES: u16 = 5;
const TEMPLATE: usize = 64;

/// What a policy selects, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Policy {
    source: (IpAddr, u8),
    destination: (IpAddr, u8),
    protocol: u8,
    priority: u32,
    direction: u8,
    wants: String,
}

/// A message of the kernel about policies, or to it.
#[derive(Clone, Debug)]
struct PolicyMessage(Vec<u8>);

/// A message that is too short.
#[derive(Debug)]
struct TooShort;

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message about an IPsec policy is too short")
    }
}

impl std::error::Error for TooShort {}

impl NetlinkSerializable for PolicyMessage {
    fn message_type(&self) -> u16 {
        GET_POLICY
    }

    fn buffer_len(&self) -> usize {
        self.0.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0);
    }
}

impl NetlinkDeserializable for PolicyMessage {
    type Error = TooShort;

    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, TooShort> {
        if payload.len() < INFO { Err(TooShort) } else { Ok(Self(payload.to_vec())) }
    }
}

impl Messages for PolicyMessage {
    const PROTOCOL: isize = NETLINK_XFRM;
}

/// Returns the policies of the calling thread's network namespace that decide about ICMP packets between `local` and `remote`: the
/// one for what is sent, and the one for what comes in.
///
/// # Errors
/// The error of the socket or the kernel.
pub fn look_up(local: IpAddr, remote: IpAddr) -> io::Result<Vec<IpsecPolicy>> {
    let all = netlink::dump(&PolicyMessage(vec![0; POLICY_ID]))?;
    let policies: Vec<Policy> = all.iter().filter_map(|message| policy(&message.0)).collect();
    let of = |direction, from, to| {
        chosen(&policies, direction, from, to).map(|policy| IpsecPolicy {
            outwards: direction == OUT,
            from,
            to,
            selector: policy.selector(),
            wants: policy.wants.clone(),
        })
    };
    Ok([of(OUT, local, remote), of(IN, remote, local)].into_iter().flatten().collect())
}

/// Returns the policy that the kernel takes: of those that fit the one with the smallest number as its priority.
fn chosen(policies: &[Policy], direction: u8, from: IpAddr, to: IpAddr) -> Option<&Policy> {
    let icmp = if from.is_ipv4() { 1 } else { 58 };
    let covers = |(net, bits): (IpAddr, u8), address: IpAddr| {
        net.is_ipv4() == address.is_ipv4() && (bits == 0 || shares(net, address, bits))
    };
    let fits = |policy: &&Policy| {
        policy.direction == direction
            && [0, icmp].contains(&policy.protocol)
            && covers(policy.source, from)
            && covers(policy.destination, to)
    };
    policies.iter().filter(fits).min_by_key(|policy| policy.priority)
}

impl Policy {
    fn selector(&self) -> String {
        let ((source, from), (destination, to)) = (self.source, self.destination);
        let protocol = match self.protocol {
            0 => String::new(),
            1 => " proto icmp".to_owned(),
            58 => " proto ipv6-icmp".to_owned(),
            other => format!(" proto {other}"),
        };
        let direction = if self.direction == OUT { "out" } else { "in" };
        format!("src {source}/{from} dst {destination}/{to}{protocol} dir {direction}")
    }
}

/// Parses an `xfrm_userpolicy_info` and the attributes behind it.
fn policy(bytes: &[u8]) -> Option<Policy> {
    let family = u16::from_ne_bytes(bytes.get(SELECTOR_FAMILY..SELECTOR_FAMILY + 2)?.try_into().ok()?);
    let v6 = i32::from(family) == nix::libc::AF_INET6;
    let wants =
        if *bytes.get(ACTION)? == 1 { "block".to_owned() } else { template(bytes.get(INFO..)?).unwrap_or_default() };
    Some(Policy {
        destination: (address(bytes, v6)?, *bytes.get(SELECTOR_FAMILY + 2)?),
        source: (address(bytes.get(16..)?, v6)?, *bytes.get(SELECTOR_FAMILY + 3)?),
        protocol: *bytes.get(SELECTOR_FAMILY + 4)?,
        priority: u32::from_ne_bytes(bytes.get(PRIORITY..PRIORITY + 4)?.try_into().ok()?),
        direction: *bytes.get(DIRECTION)?,
        wants,
    })
}

/// Returns what the first template among attributes wants, as a clause.
fn template(mut attributes: &[u8]) -> Option<String> {
    loop {
        let half = |at: usize| Some(u16::from_ne_bytes(attributes.get(at..at + 2)?.try_into().ok()?));
        let (length, kind) = (usize::from(half(0)?), half(2)?);
        if kind == TEMPLATES && length >= 4 + TEMPLATE {
            return told(attributes.get(4..4 + TEMPLATE)?);
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// Describes an `xfrm_user_tmpl`: protocol, mode, and the ends of a tunnel.
fn told(template: &[u8]) -> Option<String> {
    let protocol = match *template.get(20)? {
        50 => "esp".to_owned(),
        51 => "ah".to_owned(),
        108 => "comp".to_owned(),
        other => format!("protocol {other}"),
    };
    let family = u16::from_ne_bytes(template.get(24..26)?.try_into().ok()?);
    let v6 = i32::from(family) == nix::libc::AF_INET6;
    let (to, from) = (address(template, v6)?, address(template.get(28..)?, v6)?);
    Some(match *template.get(48)? {
        1 => format!("{protocol} in a tunnel from {from} to {to}"),
        _ => format!("{protocol} in transport mode"),
    })
}

/// Reads the `xfrm_address_t` at the start of `bytes`.
fn address(bytes: &[u8], v6: bool) -> Option<IpAddr> {
    Some(if v6 {
        Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(..16)?).ok()?).into()
    } else {
        Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(net: [u8; 4], bits: u8, priority: u32, protocol: u8) -> Policy {
        Policy {
            source: (Ipv4Addr::UNSPECIFIED.into(), 0),
            destination: (net.into(), bits),
            protocol,
            priority,
            direction: OUT,
            wants: String::new(),
        }
    }

    #[test]
    fn the_policy_with_the_smallest_priority_decides_of_those_that_fit() {
        let policies = [plain([10, 0, 0, 0], 8, 5, 0), plain([10, 1, 0, 0], 16, 2, 1), plain([10, 1, 0, 0], 16, 1, 6)];
        let (from, to) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([10, 1, 2, 3]));
        assert_eq!(chosen(&policies, OUT, from, to), Some(&policies[1]));
        assert_eq!(chosen(&policies, OUT, from, [10, 2, 0, 1].into()), Some(&policies[0]));
        assert_eq!(chosen(&policies, IN, from, to), None);
        assert_eq!(chosen(&policies, OUT, from, [11, 0, 0, 1].into()), None);
        assert_eq!(policies[1].selector(), "src 0.0.0.0/0 dst 10.1.0.0/16 proto icmp dir out");
    }

    #[test]
    fn a_policy_is_read_with_its_first_template() {
        let mut bytes = vec![0; INFO];
        bytes[..4].copy_from_slice(&[10, 12, 0, 2]);
        bytes[16..20].copy_from_slice(&[10, 12, 0, 1]);
        bytes[SELECTOR_FAMILY..SELECTOR_FAMILY + 2].copy_from_slice(&2_u16.to_ne_bytes());
        bytes[SELECTOR_FAMILY + 2..SELECTOR_FAMILY + 5].copy_from_slice(&[32, 32, 1]);
        bytes[DIRECTION] = OUT;
        // An attribute that is not read, then a template.
        bytes.extend([5, 0, 27, 0, 1, 0, 0, 0]);
        bytes.extend([68, 0, 5, 0]);
        let mut template = [0; TEMPLATE];
        template[..4].copy_from_slice(&[192, 0, 2, 2]);
        template[20] = 50;
        template[24..26].copy_from_slice(&2_u16.to_ne_bytes());
        template[28..32].copy_from_slice(&[192, 0, 2, 1]);
        template[48] = 1;
        bytes.extend(template);
        let read = policy(&bytes).expect("it is whole");
        assert_eq!(read.selector(), "src 10.12.0.1/32 dst 10.12.0.2/32 proto icmp dir out");
        assert_eq!(read.wants, "esp in a tunnel from 192.0.2.1 to 192.0.2.2");
        bytes[ACTION] = 1;
        assert_eq!(policy(&bytes).map(|policy| policy.wants), Some("block".to_owned()));
        assert_eq!(policy(&bytes[..100]), None);
    }
}
