//! Bounds-checked access to packet memory: the only file with pointer arithmetic on packets.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
};
use probe_ebpf::packet::{Bytes, View};

/// A packet as a program is handed it.
pub(crate) trait Packet {
    /// The part of it that can be read directly.
    fn linear(&self) -> Linear;

    /// Bytes of the whole packet, also those that can't be read directly.
    fn len(&self) -> u32;

    /// The index of the interface that it is at.
    fn ifindex(&self) -> u32;

    /// Whether it starts with the IP header although the device's packets start with another: behind generic XDP the
    /// kernel may have copied the packet and forgotten how long that other header is (`mac_len`; seen on Linux 6.18).
    fn lost_link_header(&self, linear: &Linear) -> bool;

    /// Copies `length` bytes from `offset` on to `to`; says whether all of them were there.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writes of `length` bytes.
    unsafe fn copy(&self, offset: u32, to: *mut c_void, length: u32) -> bool;
}

/// The directly readable part of a packet: from its first byte to before `end`.
#[derive(Clone, Copy)]
pub(crate) struct Linear {
    start: usize,
    end: usize,
}

impl Linear {
    /// How many bytes can be read directly.
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

/// `N` bytes of packet memory, of which [`Linear`] has checked that they are there.
#[derive(Clone, Copy)]
pub(crate) struct Header<const N: usize> {
    first: usize,
}

impl<const N: usize> View for Header<N> {
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        // SAFETY: a constant place below N, inside what was checked; the verifier checks it once more.
        unsafe { *((self.first + at) as *const u8) }
    }

    #[inline(always)]
    fn be16(&self, at: usize) -> u16 {
        // SAFETY: as above; packets start at an even address and headers at even offsets, and where that were not so
        // the verifier would refuse the program on a processor that minds.
        u16::from_be(unsafe { *((self.first + at) as *const u16) })
    }
}

/// The same packet through the kernel's copying helpers, which reach the parts that `Linear` does not.
pub(crate) struct Whole<'a, P>(pub(crate) &'a P);

impl<P: Packet> Bytes for Whole<'_, P> {
    type View<const N: usize> = [u8; N];

    #[inline(always)]
    fn view<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        // SAFETY: `bytes` has room for N bytes.
        let copied = unsafe { self.0.copy(offset as u32, bytes.as_mut_ptr().cast(), N as u32) };
        copied.then_some(bytes)
    }
}

/// A packet at XDP.
pub(crate) struct XdpPacket(pub(crate) *mut xdp_md);

impl Packet for XdpPacket {
    #[inline(always)]
    fn linear(&self) -> Linear {
        // SAFETY: the kernel hands a program a valid context, and checks each access to it.
        unsafe { Linear { start: (*self.0).data as usize, end: (*self.0).data_end as usize } }
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the context is the one that the kernel handed over.
        unsafe { bpf_xdp_get_buff_len(self.0) as u32 }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).ingress_ifindex }
    }

    #[inline(always)]
    fn lost_link_header(&self, _linear: &Linear) -> bool {
        false
    }

    #[inline(always)]
    unsafe fn copy(&self, offset: u32, to: *mut c_void, length: u32) -> bool {
        // SAFETY: the caller vouches for `to`; the helper checks offset and length against the packet.
        unsafe { bpf_xdp_load_bytes(self.0, offset, to, length) == 0 }
    }
}

/// A packet at tc.
pub(crate) struct TcPacket(pub(crate) *mut __sk_buff);

impl Packet for TcPacket {
    #[inline(always)]
    fn linear(&self) -> Linear {
        // SAFETY: the kernel hands a program a valid context, and checks each access to it.
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
    fn lost_link_header(&self, linear: &Linear) -> bool {
        // SAFETY: as above.
        let protocol = u16::from_be(unsafe { (*self.0).protocol } as u16);
        let version = match protocol {
            0x0800 => 4,
            0x86dd => 6,
            _ => return false,
        };
        let header = linear.view::<14>(0);
        // With its link header, an IP packet has that protocol's number there: tags are taken out by now.
        header.is_some_and(|header| header.be16(12) != protocol && header.byte(0) >> 4 == version)
    }

    #[inline(always)]
    unsafe fn copy(&self, offset: u32, to: *mut c_void, length: u32) -> bool {
        // SAFETY: the caller vouches for `to`; the helper checks offset and length against the packet.
        unsafe { bpf_skb_load_bytes(self.0.cast(), offset, to, length) == 0 }
    }
}
