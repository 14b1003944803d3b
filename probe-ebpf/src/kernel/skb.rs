//! Reads echo packets from a `struct sk_buff *`, for hops that get one instead of packet memory.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use probe_ebpf::{
    Echo, Family, Kind, Skip,
    contract::{
        follow::{CAME, SENT, SENT_BY_PACKET_SOCKET},
        journey::{FirstLook, first_look, probe_of},
        neighbour::{self, NeighbourMessage},
        tunnel::{LAYERS, MAX_LAYERS},
    },
    packet::{
        self, Bytes, EchoPacket, ICMP, LinkLayer, VLAN_TAG, View, address_words, addresses, parse_where,
        tunnel::{SealedPacket, open, outer_header, sealed as sealed_in},
    },
};

use super::{
    config::{config, id, reads},
    follow::{self, RequestSender},
    maps::TUNNELS,
    numbered::{Ends, numbered_between},
    offsets::field,
    sealed,
};

/// `EtherType`s as `sk_buff.protocol` has them, in network byte order.
const IPV4: u16 = packet::IPV4.to_be();
const IPV6: u16 = packet::IPV6.to_be();
const VLAN: u16 = packet::VLAN.to_be();
const QINQ: u16 = packet::QINQ.to_be();
const ARP: u16 = neighbour::ARP.to_be();

/// `VLAN_VID_MASK` of `include/linux/if_vlan.h`.
const VLAN_ID: u16 = 0x0fff;

/// Bytes of an Ethernet header.
const ETHERNET: u16 = 14;

/// Address families of `include/linux/socket.h`.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const AF_PACKET: u16 = 17;

/// `include/linux/net.h`, on all processors but MIPS.
const SOCK_DGRAM: u16 = 2;

/// IP protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A pointer to a `struct sk_buff` that the kernel passed to a program.
#[derive(Clone, Copy)]
pub(crate) struct Skb(*const u8);

/// Where the IP header of an skb is.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// At `network_header`: everywhere in the stack, except where a packet has only just become an skb.
    NetworkHeader,
    /// At `data`, after VLAN tags: on entry, before the network header is set.
    Data,
}

/// Where an skb is.
#[derive(Clone, Copy)]
pub(crate) struct SkbSite {
    /// Inode of its network namespace: its device's, else its socket's; 0: it has neither.
    pub(crate) netns: u32,
    /// The index of the interface that it is at; 0: none.
    pub(crate) ifindex: u32,
}

/// What was read from an skb.
pub(crate) enum SkbPacket {
    /// An echo packet.
    Echo(SkbEcho),
    /// A packet of neighbour discovery, from its IP header on.
    Discovery(KernelBytes),
    /// What may be a packet of ARP or neighbour discovery with this many layers of tunnels around it, from its own
    /// header on.
    Carried(KernelBytes, u8),
}

/// An echo packet that was read from an skb.
pub(crate) struct SkbEcho {
    /// Its headers.
    pub(crate) packet: EchoPacket,
    /// Which probe of this run it is, if it is one.
    pub(crate) probe: Option<u32>,
    /// Whether it has no mark of the run.
    pub(crate) unmarked: bool,
    /// Its bytes, from the IP header on.
    pub(crate) bytes: KernelBytes,
    /// How many layers of tunnels it has around it.
    pub(crate) layers: u8,
    /// Whether the outermost layer is that of a program, so that nothing of the probe itself can be read.
    pub(crate) is_sealed: bool,
    /// Where the outermost IP header starts: that of the echo packet itself without a tunnel.
    outermost: KernelBytes,
}

impl SkbEcho {
    /// Returns source and destination address of the outermost IP header.
    #[inline(always)]
    pub(crate) fn ends(&self) -> Option<Ends> {
        if self.layers == 0 {
            return addresses(&self.bytes, &self.packet);
        }
        let header = outer_header(&self.outermost)?;
        Some((bytemuck::cast(header.source), bytemuck::cast(header.destination)))
    }
}

impl Skb {
    /// Wraps the skb at `pointer`.
    ///
    /// # Safety
    ///
    /// `pointer` must be what the kernel passed as a `struct sk_buff *`, unchanged.
    #[inline(always)]
    pub(crate) unsafe fn of(pointer: *const c_void) -> Self {
        Self(pointer.cast())
    }

    /// Returns its address, as an identifier.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }

    /// Returns where it is. Its device is loaded once: for each load of a pointer from a trusted structure, the verifier
    /// searches all of the kernel's types.
    #[inline(always)]
    pub(crate) fn site(self) -> SkbSite {
        let device = field!(self.0, skb_dev, *const u8);
        if !device.is_null() {
            let netns = inode(field!(device, device_net, *const u8));
            return SkbSite { netns, ifindex: field!(device, device_ifindex, u32) };
        }
        let socket = field!(self.0, skb_sk, *const u8);
        let netns = if socket.is_null() { 0 } else { inode(field!(socket, sock_net, *const u8)) };
        SkbSite { netns, ifindex: 0 }
    }

    /// Reports whether it belongs to a datagram socket of IPv4 or IPv6: a ping socket, if it is an echo packet.
    #[inline(always)]
    pub(crate) fn is_datagram_sockets(self) -> bool {
        let socket = field!(self.0, skb_sk, *const u8);
        !socket.is_null()
            && matches!(field!(socket, sock_family, u16), AF_INET | AF_INET6)
            && field!(socket, sock_type, u16) == SOCK_DGRAM
    }

    /// Returns its firewall mark.
    #[inline(always)]
    pub(crate) fn mark(self) -> u32 {
        field!(self.0, skb_mark, u32)
    }

    /// Returns the VLAN id of its tag when it enters the stack, already taken off or not; 0 if it has none, or one that
    /// only has a priority.
    #[inline(always)]
    pub(crate) fn entry_tag(self) -> u16 {
        if matches!(field!(self.0, skb_vlan_proto, u16), VLAN | QINQ) {
            return field!(self.0, skb_vlan_tci, u16) & VLAN_ID;
        }
        if !matches!(field!(self.0, skb_protocol, u16), VLAN | QINQ) {
            return 0;
        }
        let data = field!(self.0, skb_data, u64);
        let tag = KernelBytes { first: data, length: VLAN_TAG as u32 }.view::<2>(0);
        tag.map_or(0, |tag| u16::from_be_bytes(tag) & VLAN_ID)
    }

    /// Returns the destination address of its Ethernet header; zeros if it has none before the IP header.
    #[inline(always)]
    pub(crate) fn destination_mac(self) -> [u8; 6] {
        let (mac, network) = (field!(self.0, skb_mac_header, u16), field!(self.0, skb_network_header, u16));
        let length = network.wrapping_sub(mac);
        if !(ETHERNET..=ETHERNET + 2 * VLAN_TAG as u16).contains(&length) {
            return [0; 6];
        }
        let first = field!(self.0, skb_head, u64).wrapping_add(u64::from(mac));
        KernelBytes { first, length: u32::from(length) }.view::<6>(0).unwrap_or_default()
    }

    /// Reports whether it can be an IP packet: one load, which spares all others their work.
    #[inline(always)]
    pub(crate) fn can_be_ip(self) -> bool {
        matches!(field!(self.0, skb_protocol, u16), IPV4 | IPV6 | VLAN | QINQ)
    }

    /// Reports whether it is an ARP packet, and the run watches those.
    #[inline(always)]
    pub(crate) fn is_arp(self) -> bool {
        reads(Family::V4) && field!(self.0, skb_protocol, u16) == ARP
    }

    /// Returns what it says, which [`Skb::is_arp`].
    #[inline(always)]
    pub(crate) fn arp(self, start: Start) -> Option<NeighbourMessage> {
        let bytes = match start {
            Start::NetworkHeader => self.network_header(),
            Start::Data => self.at_data(),
        };
        neighbour::arp(&bytes)
    }

    /// Returns where its IP header is, for a hop that may meet it anywhere on its path.
    #[inline(always)]
    pub(crate) fn start(self) -> Start {
        if field!(self.0, skb_network_header, u16) == 0 { Start::Data } else { Start::NetworkHeader }
    }

    /// Reads the probe in it; [`Skip::NotEcho`] if it is none of this run, for hops that note only those.
    #[inline(always)]
    pub(crate) fn probe(self, start: Start) -> Result<SkbEcho, Skip> {
        match self.packet(start)? {
            SkbPacket::Echo(seen) => Ok(seen),
            SkbPacket::Discovery(_) | SkbPacket::Carried(..) => Err(Skip::NotEcho),
        }
    }

    /// Reads the probe, or the packet of neighbour discovery in it; [`Skip::NotEcho`] if it is neither.
    #[inline(always)]
    pub(crate) fn packet(self, start: Start) -> Result<SkbPacket, Skip> {
        let outermost = self.bytes(start)?;
        let (mut bytes, mut layers) = (outermost, 0);
        let look = loop {
            let look = first_look(&bytes, config!(nonce), id());
            if u32::from(layers) >= config!(opens) & LAYERS
                || layers == MAX_LAYERS
                || !matches!(look, FirstLook::Carrier | FirstLook::MayBeProbe)
            {
                break look;
            }
            let Some((inside, ether_type)) = opened(&bytes) else {
                if sealed::is_on()
                    && let Some(packet) = sealed_packet(&bytes)
                {
                    let (probe, leg, inner) = sealed::find(&packet).ok_or(Skip::NotEcho)?;
                    let layers = layers + 1 + inner;
                    if layers > MAX_LAYERS {
                        return Err(Skip::NotEcho);
                    }
                    return Ok(SkbPacket::Echo(as_echo((bytes, outermost), (probe, leg), layers)?));
                }
                break look;
            };
            bytes = bytes.behind(inside);
            layers += 1;
            if ether_type == neighbour::ARP {
                return Ok(SkbPacket::Carried(bytes, layers));
            }
        };
        match look {
            FirstLook::MayBeProbe => {}
            FirstLook::Discovery if reads(Family::V6) && layers == 0 => return Ok(SkbPacket::Discovery(bytes)),
            FirstLook::Discovery if reads(Family::V6) => return Ok(SkbPacket::Carried(bytes, layers)),
            // Any echo of other programs is looked at.
            FirstLook::Discovery | FirstLook::Other if follow::is_on() => {}
            FirstLook::Discovery | FirstLook::Carrier | FirstLook::Other => return Err(Skip::NotEcho),
        }
        if !bytes.can_be_icmp()? {
            return Err(Skip::NotEcho);
        }
        let mut packet = parse_where(&bytes, LinkLayer::RawIp, reads)?;
        let marked = probe_of(&bytes, &packet, config!(nonce));
        let probe = marked.or_else(|| numbered_between(&packet, address_words(&bytes, &packet)?));
        if layers > 0 {
            packet.ttl = outer_header(&outermost).ok_or(Skip::Truncated)?.ttl;
        }
        let unmarked = marked.is_none() && !follow::is_on();
        Ok(SkbPacket::Echo(SkbEcho { packet, probe, unmarked, bytes, layers, is_sealed: false, outermost }))
    }

    /// Recognizes it from now on as the probe that was handed last to the programs that hold tun devices in its namespace,
    /// which has the inode `netns`, if a socket of such a program sends it.
    #[inline(always)]
    pub(crate) fn learn_sealed(self, netns: u32) {
        if !sealed::is_on() || field!(self.0, skb_sk, *const u8).is_null() {
            return;
        }
        if let Some(packet) = sealed_packet(&self.network_header()) {
            sealed::sent(netns, &packet);
        }
    }

    /// Gives the echo in it, which does not belong to the run yet, a number if requests get one at this sight; at a
    /// sight of what sockets send, only to an echo that a socket sent.
    #[inline(always)]
    pub(crate) fn learn(self, sight: u32, seen: &mut SkbEcho, anew: bool) {
        if !follow::is_on() || seen.probe.is_some() && !anew || seen.packet.kind.echo != Echo::Request {
            return;
        }
        let sender = if sight == CAME {
            RequestSender::FOREIGN
        } else {
            let socket = field!(self.0, skb_sk, *const u8);
            let packets = sight == SENT_BY_PACKET_SOCKET;
            if socket.is_null() || packets && field!(socket, sock_family, u16) != AF_PACKET {
                return;
            }
            // After the neighbour look-up, a packet may be sent in whatever process was interrupted.
            let in_process = packets || sight == SENT;
            RequestSender { socket: u32::from(field!(socket, sock_type, u16)), in_process, anew }
        };
        let Some(ends) = address_words(&seen.bytes, &seen.packet) else { return };
        seen.probe = follow::learn(sight, &seen.packet, ends, sender);
    }

    #[inline(always)]
    fn bytes(self, start: Start) -> Result<KernelBytes, Skip> {
        match start {
            Start::NetworkHeader => Ok(self.network_header()),
            Start::Data => self.behind_tags(),
        }
    }

    #[inline(always)]
    fn network_header(self) -> KernelBytes {
        let offset = u32::from(field!(self.0, skb_network_header, u16));
        let head = field!(self.0, skb_head, u64);
        let length = field!(self.0, skb_tail, u32).saturating_sub(offset);
        KernelBytes { first: head.wrapping_add(u64::from(offset)), length }
    }

    #[inline(always)]
    fn at_data(self) -> KernelBytes {
        let data = field!(self.0, skb_data, u64);
        let end = field!(self.0, skb_head, u64).wrapping_add(u64::from(field!(self.0, skb_tail, u32)));
        KernelBytes { first: data, length: end.saturating_sub(data) as u32 }
    }

    #[inline(always)]
    fn behind_tags(self) -> Result<KernelBytes, Skip> {
        let mut bytes = self.at_data();
        let mut protocol = field!(self.0, skb_protocol, u16);
        for _ in 0..2 {
            if !matches!(protocol, VLAN | QINQ) {
                break;
            }
            let tag = bytes.view::<VLAN_TAG>(0).ok_or(Skip::Truncated)?;
            protocol = tag.be16(2).to_be();
            bytes.first = bytes.first.wrapping_add(VLAN_TAG as u64);
            bytes.length -= VLAN_TAG as u32;
        }
        if matches!(protocol, IPV4 | IPV6) { Ok(bytes) } else { Err(Skip::NotEcho) }
    }
}

/// Returns where the packet inside `bytes` starts, and its `EtherType`, if they are a packet of a tunnel of this run.
#[inline(always)]
fn opened(bytes: &KernelBytes) -> Option<(usize, u16)> {
    let tunnels = TUNNELS.get(0)?;
    if tunnels.protocols == 0 && tunnels.ports[0] == 0 { None } else { open(bytes, tunnels, config!(opens)) }
}

/// Returns the packet of a program that holds a tun device whose IP header is at the start of `bytes`.
#[inline(always)]
fn sealed_packet(bytes: &KernelBytes) -> Option<SealedPacket> {
    sealed_in(bytes, TUNNELS.get(0)?)
}

/// Returns a packet that nobody can open as the probe that it is likely to be.
#[inline(always)]
fn as_echo(
    (bytes, outermost): (KernelBytes, KernelBytes),
    (probe, echo): (u32, Echo),
    layers: u8,
) -> Result<SkbEcho, Skip> {
    let family = match outermost.view::<1>(0).ok_or(Skip::Truncated)?.byte(0) >> 4 {
        4 => Family::V4,
        _ => Family::V6,
    };
    let packet = EchoPacket {
        kind: Kind { family, echo },
        code: 0,
        ttl: outer_header(&outermost).ok_or(Skip::Truncated)?.ttl,
        id: config!(id) as u16,
        seq: probe as u16,
        ip_offset: 0,
        ip_bytes: 0,
        icmp_offset: 0,
        icmp_bytes: 0,
        first_fragment: false,
        is_inner: true,
    };
    Ok(SkbEcho { packet, probe: Some(probe), unmarked: false, bytes, layers, is_sealed: true, outermost })
}

/// Returns the index of the `net_device` at `device`; 0 for null.
#[inline(always)]
pub(crate) fn device_ifindex(device: *const u8) -> u32 {
    if device.is_null() { 0 } else { field!(device, device_ifindex, u32) }
}

/// Returns the inode of the `struct net` at `net`; 0 for null.
#[inline(always)]
pub(crate) fn inode(net: *const u8) -> u32 {
    if net.is_null() { 0 } else { field!(net, net_inum, u32) }
}

/// Bytes in the kernel's memory, read by copying a few at a time.
#[derive(Clone, Copy)]
pub(crate) struct KernelBytes {
    first: u64,
    length: u32,
}

impl KernelBytes {
    /// Returns those from `offset` on.
    #[inline(always)]
    fn behind(self, offset: usize) -> Self {
        let length = self.length.saturating_sub(offset as u32);
        Self { first: self.first.wrapping_add(offset as u64), length }
    }

    /// Reports whether the IP header allows for ICMP: one check, because most packets of a host are something else.
    #[inline(always)]
    fn can_be_icmp(self) -> Result<bool, Skip> {
        let header = self.view::<10>(0).ok_or(Skip::Truncated)?;
        Ok(match header.byte(0) >> 4 {
            4 => header.byte(9) == ICMP,
            6 => !matches!(header.byte(6), TCP | UDP),
            _ => false,
        })
    }
}

impl Bytes for KernelBytes {
    type View<const N: usize> = [u8; N];

    #[inline(always)]
    fn view<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset + N > self.length as usize {
            return None;
        }
        let mut bytes = [0; N];
        let from = self.first.wrapping_add(offset as u64) as *const c_void;
        // SAFETY: `bytes` has room for N bytes; the helper returns an error if `from` can't be read.
        let answer = unsafe { bpf_probe_read_kernel(bytes.as_mut_ptr().cast(), N as u32, from) };
        (answer == 0).then_some(bytes)
    }
}
