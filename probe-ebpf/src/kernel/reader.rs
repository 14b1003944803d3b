//! Bounds-checked access to packet memory: the only file with pointer arithmetic on packets.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
};
use probe_ebpf::{
    Skip,
    packet::{Bytes, ETHERNET_HEADER, EchoPacket, IPV4, IPV6, LinkLayer, View, parse_where, tunnel::parse_inside},
};

use super::{
    config::{config, reads},
    maps::TUNNELS,
};

const ETHER_TYPE_AT: usize = 12;

/// Returns the link layer of the device's packets.
#[inline(always)]
fn device_link_layer() -> LinkLayer {
    if config!(raw_ip) == 0 { LinkLayer::Ethernet } else { LinkLayer::RawIp }
}

/// A packet in the form that a program gets.
pub(crate) trait Packet {
    /// Returns the part of it that can be read directly.
    fn linear(&self) -> Linear;

    /// Returns the header that the packet starts with here.
    fn link_layer(&self) -> LinkLayer;

    /// Returns the bytes of the whole packet, including those that can't be read directly.
    fn len(&self) -> u32;

    /// Returns the index of the interface that it is at.
    fn ifindex(&self) -> u32;

    /// Copies `length` bytes from `offset` on to `to`; returns whether all of them were there.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writes of `length` bytes.
    unsafe fn copy(&self, offset: u32, to: *mut c_void, length: u32) -> bool;
}

/// The directly readable part of a packet: from its first byte up to but excluding `end`.
#[derive(Clone, Copy)]
pub(crate) struct Linear {
    start: usize,
    end: usize,
}

impl Linear {
    /// Returns how many bytes can be read directly.
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        self.end - self.start
    }
}

impl Bytes for Linear {
    type View<const N: usize> = Header<N>;

    #[inline(always)]
    fn view<const N: usize>(&self, offset: usize) -> Option<Header<N>> {
        let first = self.start + offset;
        (first + N <= self.end).then_some(Header { first })
    }
}

/// `N` bytes of packet memory that [`Linear`] has checked.
#[derive(Clone, Copy)]
pub(crate) struct Header<const N: usize> {
    first: usize,
}

impl<const N: usize> View for Header<N> {
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        // SAFETY: a constant offset below N, inside what was checked; the verifier checks it again.
        unsafe { *((self.first + at) as *const u8) }
    }

    #[inline(always)]
    fn be16(&self, at: usize) -> u16 {
        // SAFETY: as above; packets start at an even address and headers at even offsets; on a processor that needs that,
        // the verifier refuses the program otherwise.
        u16::from_be(unsafe { *((self.first + at) as *const u16) })
    }
}

/// Writable packet memory: only XDP has it, before anything else sees the packet.
#[derive(Clone, Copy)]
pub(crate) struct WritableBytes(Linear);

impl WritableBytes {
    /// Returns the `N` bytes from `offset` on, if all of them are there.
    #[inline(always)]
    pub(crate) fn header<const N: usize>(&self, offset: usize) -> Option<Writable<N>> {
        self.0.view::<N>(offset).map(Writable)
    }
}

/// `N` bytes of packet memory that are there and are writable.
#[derive(Clone, Copy)]
pub(crate) struct Writable<const N: usize>(Header<N>);

impl<const N: usize> Writable<N> {
    /// Writes the byte at `at`.
    #[inline(always)]
    pub(crate) fn set_byte(&self, at: usize, value: u8) {
        // SAFETY: a constant offset below N, inside what was checked; the verifier checks it again.
        unsafe { *((self.0.first + at) as *mut u8) = value }
    }

    /// Writes a number at the even offset `at`, in network byte order.
    #[inline(always)]
    pub(crate) fn set_be16(&self, at: usize, value: u16) {
        // SAFETY: as above.
        unsafe { *((self.0.first + at) as *mut u16) = value.to_be() }
    }
}

impl<const N: usize> View for Writable<N> {
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.0.byte(at)
    }

    #[inline(always)]
    fn be16(&self, at: usize) -> u16 {
        self.0.be16(at)
    }
}

/// Returns `offset`, which must be below 64, so that any verifier sees that it is: that of Linux 6.12 forgets what it knew of an
/// offset on the way through the stack. The compiler would remove a comparison that it knows to be true.
#[inline(always)]
pub(crate) fn below_64(offset: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut offset = offset;
        // SAFETY: one instruction on a register.
        unsafe { core::arch::asm!("{offset} &= 63", offset = inout(reg) offset, options(nomem, nostack)) };
        offset
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        offset & 63
    }
}

/// The same packet through the kernel's copying helpers, which reach the parts that `Linear` does not.
pub(crate) struct WholePacket<'a, P>(pub(crate) &'a P);

impl<P: Packet> Bytes for WholePacket<'_, P> {
    type View<const N: usize> = [u8; N];

    #[inline(always)]
    fn view<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        // SAFETY: `bytes` has room for N bytes.
        let copied = unsafe { self.0.copy(offset as u32, bytes.as_mut_ptr().cast(), N as u32) };
        copied.then_some(bytes)
    }
}

/// Reads the echo packet in `packet`: directly, or, if the readable part ends too early, by copying.
#[inline(always)]
pub(crate) fn read<P: Packet>(packet: &P) -> Result<EchoPacket, Skip> {
    let link_layer = packet.link_layer();
    let linear = packet.linear();
    let read = match parse_where(&linear, link_layer, reads) {
        Err(Skip::Truncated) if packet.len() as usize > linear.len() => {
            parse_where(&WholePacket(packet), link_layer, reads)
        }
        read => read,
    };
    match read {
        Err(Skip::NotEcho) if config!(inner) != 0 => inside(packet, link_layer),
        read => read,
    }
}

/// Reads the echo packet inside `packet`, if that is one of a tunnel.
#[inline(always)]
fn inside<P: Packet>(packet: &P, link_layer: LinkLayer) -> Result<EchoPacket, Skip> {
    let tunnels = TUNNELS.get(0).ok_or(Skip::NotEcho)?;
    let known = (tunnels, config!(inner));
    let linear = packet.linear();
    match parse_inside(&linear, link_layer, known, reads) {
        // A packet whose headers end in the readable part is told as no echo, and one that goes on behind it, too.
        Err(Skip::NotEcho | Skip::Truncated) if packet.len() as usize > linear.len() => {
            parse_inside(&WholePacket(packet), link_layer, known, reads)
        }
        read => read,
    }
}

/// A packet at XDP. `WHOLE`: its parts that can't be read directly, in a packet of several fragments, are read by copying, with
/// helpers that Linux has since 5.18; before that there are no such packets at XDP.
pub(crate) struct XdpPacket<const WHOLE: bool>(pub(crate) *mut xdp_md);

impl<const WHOLE: bool> XdpPacket<WHOLE> {
    /// Returns its directly readable part for writing.
    #[inline(always)]
    pub(crate) fn writable(&self) -> WritableBytes {
        WritableBytes(self.linear())
    }
}

impl<const WHOLE: bool> Packet for XdpPacket<WHOLE> {
    #[inline(always)]
    fn link_layer(&self) -> LinkLayer {
        device_link_layer()
    }

    #[inline(always)]
    fn linear(&self) -> Linear {
        // SAFETY: the kernel passes a valid context to a program, and checks each access to it.
        unsafe { Linear { start: (*self.0).data as usize, end: (*self.0).data_end as usize } }
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        if !WHOLE {
            return self.linear().len() as u32;
        }
        // SAFETY: the context is the one that the kernel passed.
        unsafe { bpf_xdp_get_buff_len(self.0) as u32 }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).ingress_ifindex }
    }

    #[inline(always)]
    unsafe fn copy(&self, offset: u32, to: *mut c_void, length: u32) -> bool {
        // SAFETY: the caller vouches for `to`; the helper checks offset and length against the packet.
        WHOLE && unsafe { bpf_xdp_load_bytes(self.0, offset, to, length) == 0 }
    }
}

/// A packet at tc.
pub(crate) struct TcPacket(pub(crate) *mut __sk_buff);

impl Packet for TcPacket {
    /// Returns the link layer. If generic XDP had to copy a packet for lack of headroom, the kernel forgets that an Ethernet
    /// header precedes it (`skb_pp_cow_data` leaves `mac_len` 0), and tc at ingress starts with the IP header. The protocol
    /// that the kernel read from the Ethernet header is then not where it should be.
    #[inline(always)]
    fn link_layer(&self) -> LinkLayer {
        let Some(header) = self.linear().view::<ETHERNET_HEADER>(0) else { return device_link_layer() };
        // SAFETY: as in `linear`. The protocol is in network byte order.
        let protocol = unsafe { (*self.0).protocol };
        let protocol = u16::from_be(protocol as u16);
        let is_ip = matches!(protocol, IPV4 | IPV6);
        if is_ip && header.be16(ETHER_TYPE_AT) != protocol { LinkLayer::RawIp } else { device_link_layer() }
    }

    #[inline(always)]
    fn linear(&self) -> Linear {
        // SAFETY: the kernel passes a valid context to a program, and checks each access to it.
        unsafe { Linear { start: (*self.0).data as usize, end: (*self.0).data_end as usize } }
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).len }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).ifindex }
    }

    #[inline(always)]
    unsafe fn copy(&self, offset: u32, to: *mut c_void, length: u32) -> bool {
        // SAFETY: the caller vouches for `to`; the helper checks offset and length against the packet.
        unsafe { bpf_skb_load_bytes(self.0.cast(), offset, to, length) == 0 }
    }
}
