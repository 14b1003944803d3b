//! Entries of connection tracking, asked of the kernel by ctnetlink (`include/uapi/linux/netfilter/nfnetlink_conntrack.h`).

use std::{fs, io};

use netlink_packet_core::{DefaultNla, Emitable, Nla};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily, NetfilterSubsystem,
    conntrack::{
        ConntrackAttribute, ConntrackMessage, ConntrackMessageType, IPTuple, ProtoTuple, Protocol, Status, Tuple,
    },
};
use probe_ebpf::{Echo, Family};

use super::{
    counter::{CounterKey, Counters},
    device::netlink,
    or_log,
};
use crate::model::trace::{EchoTuple, TrackedEcho};

/// Attributes that the library has no names for.
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_ZONE: u16 = 3;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const NESTED: u16 = 0x8000;

/// `CTA_FILTER_F_CTA_PROTO_NUM`, and `CTA_FILTER_F_CTA_PROTO_ICMP_ID` and `…_ICMPV6_ID`.
const BY_PROTOCOL: u32 = 1 << 3;
const BY_ID: [u32; 2] = [1 << 8, 1 << 11];

/// Type, code and id of a tuple of ICMP or `ICMPv6` (`CTA_PROTO_ICMP_…`, `CTA_PROTO_ICMPV6_…`).
const ID: [u16; 2] = [4, 7];
const TYPE: [u16; 2] = [5, 8];
const CODE: [u16; 2] = [6, 9];

/// The setting that exists only if connection tracking does.
const MOST: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// Returns whether this kernel tracks connections: asking one that does not would load it.
pub fn is_there() -> bool {
    fs::exists(MOST).unwrap_or(false)
}

/// Returns every entry of ICMP echo of this network namespace, in all zones; with an id, those that a packet with that id
/// made. The kernel chooses them, so that other entries cost little.
///
/// # Errors
/// The error of the socket or the kernel.
pub fn echoes(of: Family, id: Option<u16>) -> io::Result<Vec<TrackedEcho>> {
    let at = usize::from(of == Family::V6);
    let protocol = [Protocol::Icmp, Protocol::Ipv6Icmp][at];
    let flags = BY_PROTOCOL | if id.is_some() { BY_ID[at] } else { 0 };
    let filter = DefaultNla::new(CTA_FILTER_ORIG_FLAGS, flags.to_ne_bytes().to_vec());
    let id = id.map(|id| ProtoTuple::Other(DefaultNla::new(ID[at], id.to_be_bytes().to_vec())));
    let words = [ProtoTuple::Protocol(protocol)].into_iter().chain(id).collect();
    // The library has a filter only as an attribute without the flag for nested ones, which the kernel wants.
    let asked = NetfilterMessageInner::Other {
        subsys: NetfilterSubsystem::Conntrack,
        message_type: ConntrackMessageType::Get.into(),
        attributes: vec![
            DefaultNla::new(CTA_TUPLE_ORIG | NESTED, encoded(&Tuple::Proto(words))),
            DefaultNla::new(CTA_FILTER | NESTED, encoded(&filter)),
        ],
    };
    let family = if of == Family::V4 { NetfilterProtoFamily::IPv4 } else { NetfilterProtoFamily::IPv6 };
    let all = netlink::dump(&message(family, asked))?;
    Ok(all.into_iter().filter_map(entry).collect())
}

/// Returns how many entries this network namespace has, and how many are allowed.
pub fn fill() -> (Option<u64>, Option<u64>) {
    let read = |path: &str| or_log(path, fs::read_to_string(path))?.trim().parse().ok();
    (read("/proc/sys/net/netfilter/nf_conntrack_count"), read(MOST))
}

/// Reads what connection tracking of this network namespace dropped and could not follow
/// (`/proc/thread-self/net/stat/nf_conntrack`): a row for each processor, in hexadecimal.
pub fn counters() -> Counters {
    let path = "/proc/thread-self/net/stat/nf_conntrack";
    if !fs::exists(path).unwrap_or(false) {
        return Counters::new();
    }
    or_log(path, fs::read_to_string(path)).map(|text| summed(&text)).unwrap_or_default()
}

fn summed(text: &str) -> Counters {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let mut counters = Counters::new();
    for line in lines {
        for (name, value) in names.iter().zip(line.split_whitespace()) {
            if let (true, Ok(value)) = (LOSSES.contains(name), u64::from_str_radix(value, 16)) {
                *counters.entry(CounterKey::new(format!("conntrack.{name}"))).or_default() += value;
            }
        }
    }
    counters
}

/// The columns that count packets that were dropped or have no connection.
const LOSSES: [&str; 4] = ["invalid", "insert_failed", "drop", "early_drop"];

fn message(family: NetfilterProtoFamily, inner: impl Into<NetfilterMessageInner>) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), inner)
}

/// Encodes an attribute that lies in another.
fn encoded(attribute: &impl Nla) -> Vec<u8> {
    let mut bytes = vec![0; attribute.buffer_len()];
    attribute.emit(&mut bytes);
    bytes
}

/// Reads an entry; `None` if it is not of ICMP echo.
fn entry(message: NetfilterMessage) -> Option<TrackedEcho> {
    let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = message.inner else { return None };
    let (mut original, mut reply, mut replied, mut timeout_s, mut mark, mut zone) = (None, None, false, None, 0, 0);
    for attribute in attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(tuples) => original = direction(&tuples),
            ConntrackAttribute::CtaTupleReply(tuples) => reply = direction(&tuples),
            ConntrackAttribute::CtaStatus(status) => replied = status.contains(Status::SeenReply),
            ConntrackAttribute::CtaTimeout(seconds) => timeout_s = Some(seconds),
            ConntrackAttribute::CtaMark(value) => mark = value,
            ConntrackAttribute::Other(other) if other.kind() == CTA_ZONE => zone = number(&other)?,
            _ => {}
        }
    }
    let ((original, zone_there), (reply, zone_back)) = (original?, reply?);
    let zone_of = zone_there.map(|_| Echo::Request).or(zone_back.map(|_| Echo::Reply));
    Some(TrackedEcho {
        original,
        reply,
        replied,
        timeout_s,
        mark,
        zone: zone_there.or(zone_back).unwrap_or(zone),
        zone_of,
        before: false,
        own_source: None,
    })
}

/// Reads one direction of an entry, and the zone if it applies to that direction alone.
fn direction(tuples: &[Tuple]) -> Option<(EchoTuple, Option<u16>)> {
    let (mut source, mut destination, mut id, mut kind, mut code, mut zone) = (None, None, None, None, None, None);
    for part in tuples {
        match part {
            Tuple::Ip(addresses) => {
                for address in addresses {
                    match address {
                        IPTuple::SourceAddress(address) => source = Some(*address),
                        IPTuple::DestinationAddress(address) => destination = Some(*address),
                        _ => {}
                    }
                }
            }
            Tuple::Proto(words) => {
                for word in words {
                    let ProtoTuple::Other(word) = word else { continue };
                    match word.kind() {
                        it if ID.contains(&it) => id = number(word),
                        it if TYPE.contains(&it) => kind = value(word).first().copied(),
                        it if CODE.contains(&it) => code = value(word).first().copied(),
                        _ => {}
                    }
                }
            }
            Tuple::Other(other) if other.kind() == CTA_TUPLE_ZONE => zone = number(other),
            _ => {}
        }
    }
    let tuple = EchoTuple { source: source?, destination: destination?, id: id?, kind: kind?, code: code? };
    matches!(tuple.kind, 0 | 8 | 128 | 129).then_some((tuple, zone))
}

fn value(attribute: &DefaultNla) -> Vec<u8> {
    let mut bytes = vec![0; attribute.value_len()];
    attribute.emit_value(&mut bytes);
    bytes
}

fn number(attribute: &DefaultNla) -> Option<u16> {
    Some(u16::from_be_bytes(value(attribute).get(..2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    /// Encodes one direction.
    fn tuple(of: &EchoTuple) -> Vec<Tuple> {
        let at = usize::from(of.source.is_ipv6());
        let protocol = if of.source.is_ipv4() { Protocol::Icmp } else { Protocol::Ipv6Icmp };
        let other = |kind: u16, value: Vec<u8>| ProtoTuple::Other(DefaultNla::new(kind, value));
        vec![
            Tuple::Ip(vec![IPTuple::SourceAddress(of.source), IPTuple::DestinationAddress(of.destination)]),
            Tuple::Proto(vec![
                ProtoTuple::Protocol(protocol),
                other(ID[at], of.id.to_be_bytes().to_vec()),
                other(TYPE[at], vec![of.kind]),
                other(CODE[at], vec![of.code]),
            ]),
        ]
    }

    #[test]
    fn what_is_written_of_a_direction_is_read_again() {
        let v4 = Ipv4Addr::new(10, 0, 0, 1).into();
        let v6: IpAddr = "fd00::1".parse().expect("an address");
        for (address, kind) in [(v4, 8), (v6, 128)] {
            let asked = EchoTuple { source: address, destination: address, id: 0x1234, kind, code: 3 };
            assert_eq!(direction(&tuple(&asked)), Some((asked, None)));
        }
        assert_eq!(direction(&[]), None);
    }

    #[test]
    fn the_counters_of_all_processors_are_one() {
        let text = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop\n\
                    00000001  00000000 00000000 00000000 0000000a 00000000 0 0 0 00000001 00000002 00000000\n\
                    00000001  00000000 00000000 00000000 00000001 00000000 0 0 0 00000000 00000003 00000000\n";
        let of = |name: &str| summed(text).get(&CounterKey::new(name)).copied();
        assert_eq!(of("conntrack.invalid"), Some(11));
        assert_eq!((of("conntrack.drop"), of("conntrack.insert_failed")), (Some(5), Some(1)));
        assert_eq!(of("conntrack.entries"), None);
    }
}
