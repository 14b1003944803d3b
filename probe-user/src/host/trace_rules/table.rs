//! The tables that mark probes for tracing, before any usual chain sees them.

use std::{io, mem::offset_of, net::IpAddr};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::libc;
use probe_ebpf::{
    Echo, Family, Kind,
    journey::{MAGIC, Mark},
    packet::{ICMP_HEADER, IPV4, IPV6},
};

use super::{
    TABLE,
    message::{BRIDGE, Batch, INET, NETDEV, attribute, messages, nested, number, string, word},
};
use crate::{
    host::{device::Device, or_log},
    model::request::EchoFlow,
};

/// Message types: `NFT_MSG_NEWTABLE`, `NFT_MSG_DELTABLE`, `NFT_MSG_NEWCHAIN`, `NFT_MSG_NEWRULE`.
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;

/// `NFT_TABLE_F_OWNER`: only the socket that made it may change it, and it is removed with that socket.
const OWNED: u32 = 2;

/// `NF_INET_PRE_ROUTING` and `NF_INET_LOCAL_OUT`, in the family of bridges as well: every packet enters by one of them.
const PREROUTING: u32 = 0;
const OUTPUT: u32 = 3;

/// `NF_NETDEV_INGRESS`.
const INGRESS: u32 = 0;

/// Before conntrack and everything that filters; after defragmentation.
const PRIORITY: i32 = -350;

/// Before everything, where nothing must have come before it.
const FIRST: i32 = i32::MIN;

/// `NFT_NETDEVICE_MAX`: at so many devices one chain can be.
const MOST_DEVICES: usize = 256;

/// Names of the chains, which nobody but nft sees.
const CHAIN: [&str; 2] = ["in", "out"];

/// The tables, and the socket that owns them. Dropping it removes them; so does the kernel when the process ends.
pub(super) struct TraceTable {
    owner: Socket,
    name: String,
    families: Vec<u8>,
}

/// Where a chain stands: its hook, its priority, and at which devices, if it is one of devices.
struct TraceHook {
    hook: u32,
    priority: i32,
    devices: Vec<String>,
}

impl TraceTable {
    /// Makes the tables in the calling thread's network namespace: for what it takes in or sends, for what its bridges pass on,
    /// and for what comes in by any of its devices. Without the last two, where the kernel has no such hooks.
    pub(super) fn make(flow: &EchoFlow, nonce: u64) -> io::Result<Self> {
        let mut owner = Socket::new(NETLINK_NETFILTER)?;
        let address = owner.bind_auto()?;
        owner.set_non_blocking(true)?;
        // No other socket of this network namespace has that port number.
        let mut table =
            Self { owner, name: format!("{TABLE}{}", address.port_number()), families: Vec::with_capacity(3) };
        let wanted = wanted(flow, nonce);
        let at = |hook, priority| TraceHook { hook, priority, devices: Vec::new() };
        table.add(INET, &[at(PREROUTING, PRIORITY), at(OUTPUT, PRIORITY)], &wanted)?;
        let devices = or_log("interfaces", Device::all()).unwrap_or_default();
        if devices.iter().any(|device| device.kind.as_deref() == Some("bridge")) {
            let hooks = [at(PREROUTING, FIRST), at(OUTPUT, FIRST)];
            or_log("rules of bridges are not traced", table.add(BRIDGE, &hooks, &wanted));
        }
        let devices: Vec<String> = devices.into_iter().map(|device| device.name).take(MOST_DEVICES).collect();
        let ingress = TraceHook { hook: INGRESS, priority: FIRST, devices };
        or_log("rules at ingress are not traced", table.add(NETDEV, &[ingress], &wanted));
        Ok(table)
    }

    fn add(&mut self, family: u8, hooks: &[TraceHook], wanted: &[Wanted]) -> io::Result<()> {
        run(&self.owner, creation(&self.name, family, hooks, wanted))?;
        self.families.push(family);
        Ok(())
    }
}

impl Drop for TraceTable {
    // Closing the socket is not enough: a child that another thread is just starting has a copy of it until its exec.
    fn drop(&mut self) {
        let mut batch = Batch::new();
        for family in &self.families {
            batch.delete(*family, DELETE_TABLE, &[string(1, &self.name)]);
        }
        or_log("the tables that traced rules", run(&self.owner, batch.finish()));
    }
}

/// Makes the kernel apply a batch.
fn run(owner: &Socket, (bytes, orders): (Vec<u8>, u32)) -> io::Result<()> {
    owner.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    // The kernel has processed the batch by now, so its replies are there.
    let mut answers = 0;
    while answers < orders {
        let (datagram, _) = owner.recv_from_full()?;
        for message in messages(&datagram) {
            acknowledged(message.kind, message.payload)?;
            answers += 1;
        }
    }
    Ok(())
}

/// Parses `NLMSG_ERROR`: a negative errno, or 0.
fn acknowledged(kind: u16, payload: &[u8]) -> io::Result<()> {
    match word(payload, 0).map(u32::cast_signed) {
        Some(errno) if i32::from(kind) == libc::NLMSG_ERROR && errno != 0 => Err(io::Error::from_raw_os_error(-errno)),
        _ => Ok(()),
    }
}

/// Returns the batch that makes a table of this family with a chain at each of `hooks`.
fn creation(table: &str, family: u8, hooks: &[TraceHook], wanted: &[Wanted]) -> (Vec<u8>, u32) {
    let mut batch = Batch::new();
    batch.make(family, NEW_TABLE, &[string(1, table), number(2, OWNED)]);
    for (chain, at) in CHAIN.into_iter().zip(hooks) {
        let mut place = vec![number(1, at.hook), number(2, at.priority.cast_unsigned())];
        if !at.devices.is_empty() {
            let names: Vec<Vec<u8>> = at.devices.iter().map(|name| string(1, name)).collect();
            place.push(nested(4, &names));
        }
        batch.make(family, NEW_CHAIN, &[string(1, table), string(3, chain), nested(4, &place), string(7, "filter")]);
        for wanted in wanted {
            let expressions = nested(4, &wanted.expressions());
            batch.make(family, NEW_RULE, &[string(1, table), string(2, chain), expressions]);
        }
    }
    batch.finish()
}

/// The packets that one rule marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Those between two addresses, with an id if one is given.
    Between { from: IpAddr, to: IpAddr, kind: Kind, id: Option<u16> },
    /// Those with the mark of the run with this nonce: what rewrites addresses and ids leaves it alone.
    Marked { kind: Kind, nonce: u64 },
}

/// Returns requests and replies in both directions: a reply may be unsolicited.
fn wanted(flow: &EchoFlow, nonce: u64) -> Vec<Wanted> {
    let ids: Vec<Option<u16>> =
        if flow.ids.is_empty() { vec![None] } else { flow.ids.iter().copied().map(Some).collect() };
    let kinds = [Echo::Request, Echo::Reply].map(|echo| Kind { family: flow.family(), echo });
    let mut wanted = Vec::from(kinds.map(|kind| Wanted::Marked { kind, nonce }));
    for (from, to) in [(flow.local, flow.remote), (flow.remote, flow.local)] {
        for kind in kinds {
            wanted.extend(ids.iter().map(|id| Wanted::Between { from, to, kind, id: *id }));
        }
    }
    wanted
}

/// Headers that a rule reads from: `NFT_PAYLOAD_NETWORK_HEADER`, `NFT_PAYLOAD_TRANSPORT_HEADER`.
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

/// `NFT_META_NFTRACE`, `NFT_META_PROTOCOL`, `NFT_META_L4PROTO`.
const META_TRACE: u32 = 12;
const META_PROTOCOL: u32 = 1;
const META_TRANSPORT: u32 = 16;

/// `NFT_REG_1`: one expression writes it, the next one reads it.
const REGISTER: u32 = 1;

/// Where a mark's nonce is in it.
const NONCE_AT: usize = offset_of!(Mark, nonce);

impl Wanted {
    /// Builds the rule: compare, compare, …, mark.
    fn expressions(self) -> Vec<Vec<u8>> {
        let (Self::Between { kind, .. } | Self::Marked { kind, .. }) = self;
        let (protocol, icmp, [source, destination]) = match kind.family {
            Family::V4 => (IPV4, libc::IPPROTO_ICMP, [12, 16]),
            Family::V6 => (IPV6, libc::IPPROTO_ICMPV6, [8, 24]),
        };
        let mut list = meta_is(META_PROTOCOL, &protocol.to_be_bytes());
        list.extend(meta_is(META_TRANSPORT, &icmp.to_be_bytes()[3..]));
        list.extend(header_is(TRANSPORT, 0, &[kind.icmp_type()]));
        match self {
            Self::Between { from, to, id, .. } => {
                list.extend(header_is(NETWORK, source, &octets(from)));
                list.extend(header_is(NETWORK, destination, &octets(to)));
                list.extend(id.map(|id| header_is(TRANSPORT, 4, &id.to_be_bytes())).into_iter().flatten());
            }
            Self::Marked { nonce, .. } => {
                list.extend(header_is(TRANSPORT, ICMP_HEADER, &MAGIC));
                list.extend(header_is(TRANSPORT, ICMP_HEADER + NONCE_AT, &nonce.to_be_bytes()));
            }
        }
        list.push(expression("immediate", &[number(1, REGISTER), nested(2, &[attribute(1, &[1])])]));
        list.push(expression("meta", &[number(2, META_TRACE), number(3, REGISTER)]));
        list
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn meta_is(key: u32, value: &[u8]) -> Vec<Vec<u8>> {
    vec![expression("meta", &[number(1, REGISTER), number(2, key)]), is(value)]
}

fn header_is(base: u32, offset: usize, value: &[u8]) -> Vec<Vec<u8>> {
    let [offset, length] = [offset, value.len()].map(|bytes| u32::try_from(bytes).unwrap_or(0));
    let load = [number(1, REGISTER), number(2, base), number(3, offset), number(4, length)];
    vec![expression("payload", &load), is(value)]
}

/// Compares the register with `value`, and ends the rule if they differ (`NFT_CMP_EQ`).
fn is(value: &[u8]) -> Vec<u8> {
    expression("cmp", &[number(1, REGISTER), number(2, 0), nested(3, &[attribute(1, value)])])
}

/// Encodes `NFTA_LIST_ELEM` with `NFTA_EXPR_NAME` and `NFTA_EXPR_DATA`.
fn expression(name: &str, data: &[Vec<u8>]) -> Vec<u8> {
    nested(1, &[string(1, name), nested(2, data)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(ids: &[u16]) -> EchoFlow {
        EchoFlow {
            local: IpAddr::from([10, 0, 0, 1]),
            remote: IpAddr::from([10, 0, 0, 2]),
            interface: None,
            ids: ids.to_vec(),
            source_given: false,
            sent_as: None,
            choosers: Default::default(),
        }
    }

    #[test]
    fn both_kinds_are_wanted_both_ways_for_every_id_and_those_with_a_mark_whatever_it_is() {
        let of_any = |wanted: &&Wanted| matches!(wanted, Wanted::Between { id: None, .. });
        assert_eq!(wanted(&flow(&[1, 2]), 7).len(), 2 + 8);
        assert_eq!(wanted(&flow(&[]), 7).iter().filter(of_any).count(), 4);
    }

    #[test]
    fn a_refusal_is_an_error_and_an_acknowledgement_is_none() {
        let error = u16::try_from(libc::NLMSG_ERROR).expect("small");
        assert!(acknowledged(error, &0_i32.to_ne_bytes()).is_ok());
        let refused = acknowledged(error, &(-libc::EPERM).to_ne_bytes()).expect_err("refused");
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    }
}
