//! The only writer of sealed packets: which packet of a program that holds a tun device is likely which probe, by when the program
//! was handed the probe and sent the packet.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use bytemuck::Zeroable;
use probe_ebpf::{
    Echo, HandedProbes,
    contract::tunnel::{SEALED_BIT, of_sealed, sealed_probe},
    packet::{EchoPacket, tunnel::SealedPacket},
};

use super::{
    config::config,
    maps::{SEALED, SEALING},
};

/// `include/uapi/linux/bpf.h`.
const BPF_ANY: u64 = 0;
const BPF_NOEXIST: u64 = 1;

/// Reports whether such packets are recognized in this run.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    config!(opens) & SEALED_BIT != 0
}

/// Notes that the `probe`, which `packet` is, was handed with `layers` of tunnels around it to a device in the namespace with the
/// inode `netns`: a program may read it there.
#[inline(always)]
pub(crate) fn handed(netns: u32, packet: &EchoPacket, probe: u32, layers: u8) -> Option<()> {
    let word = sealed_probe(probe, packet.kind.echo == Echo::Reply, layers);
    if SEALING.get_ptr_mut(netns).is_none() {
        let _ = SEALING.insert(netns, HandedProbes::zeroed(), BPF_NOEXIST);
    }
    let handed = SEALING.get_ptr_mut(netns)?;
    // SAFETY: the map gave a valid pointer. Two processors that write at once lose one of two probes, for which no packet is then
    // found.
    unsafe { (*handed).add(bpf_ktime_get_ns(), packet.ip_bytes, word) };
    Some(())
}

/// Notes that a socket of the namespace with the inode `netns` sends the packet, which is likely the probe that the program was
/// handed last.
#[inline(always)]
pub(crate) fn sent(netns: u32, packet: &SealedPacket) -> Option<()> {
    if !packet.sent || SEALED.get_ptr(packet.key).is_some() {
        return None;
    }
    let handed = SEALING.get_ptr_mut(netns)?;
    // SAFETY: as above.
    let word = unsafe { (*handed).take(bpf_ktime_get_ns(), packet.bytes) }?;
    SEALED.insert(packet.key, word, BPF_ANY).ok()
}

/// Returns which probe the packet is, which leg of it, and how many layers of tunnels it has around it below that of the program.
#[inline(always)]
pub(crate) fn find(packet: &SealedPacket) -> Option<(u32, Echo, u8)> {
    let word = SEALED.get_ptr(packet.key)?;
    // SAFETY: the map gave a valid pointer, and an entry is never changed.
    let (probe, reply, layers) = of_sealed(unsafe { *word });
    Some((probe, if reply { Echo::Reply } else { Echo::Request }, layers))
}
