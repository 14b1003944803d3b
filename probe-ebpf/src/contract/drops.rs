//! Drop events: which packet the kernel freed, where in its code, and why.

use bytemuck::{Pod, Zeroable};

use super::site::EventSite;

/// One probe that the kernel freed: `skb:kfree_skb`, or `skb:consume_skb` inside the kernel's ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DropEvent {
    /// Where it was freed.
    pub site: EventSite,
    /// Source address in wire order, IPv4 as `::ffff:a.b.c.d`.
    pub source: [u8; 16],
    /// Destination address, in the same form.
    pub destination: [u8; 16],
    /// The firewall mark of the packet.
    pub mark: u32,
    /// Echo id on the wire.
    pub id: u16,
    /// Echo sequence number.
    pub seq: u16,
    /// Which probe of this run.
    pub probe: u16,
    /// [`super::kind::Kind::index`].
    pub kind: u8,
    /// TTL or hop limit when it was freed.
    pub ttl: u8,
    /// The destination MAC address of its frame; zeros: it has no frame yet, or none of Ethernet.
    pub mac: [u8; 6],
    /// How many layers of tunnels it had around it; the addresses are then those of the outermost.
    pub layers: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

/// The most address ranges in [`DropConfig::icmp_code`].
pub const ICMP_RANGES: usize = 4;

/// What the programs of drop events must know of the running kernel and of the run: the frozen global
/// [`crate::names::DROP_CONFIG`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DropConfig {
    /// The code of the kernel's ICMP: from the first address of each range up to but excluding the second.
    pub icmp_code: [[u64; 2]; ICMP_RANGES],
    /// 1: `kfree_skb` passes its reason (Linux 5.17).
    pub reason_given: u32,
    /// 1: `consume_skb` passes its location (Linux 6.3); otherwise the stack is searched.
    pub location_given: u32,
    /// The number of `SKB_DROP_REASON_NETFILTER_DROP` on the running kernel; [`NO_REASON`]: it has none.
    pub netfilter_drop: u32,
    /// The number of `SKB_DROP_REASON_NOT_SPECIFIED`.
    pub not_specified: u32,
    /// The number of `SKB_DROP_REASON_NO_SOCKET`.
    pub no_socket: u32,
    /// Zero.
    pub reserved: u32,
}

/// A reason that the running kernel does not have.
pub const NO_REASON: u32 = u32::MAX;
