//! Tunnels of a run: which packets may carry another one inside, so that programs look there for the run's probes.

use bytemuck::{Pod, Zeroable};

/// How many layers of tunnels are opened at most.
pub const MAX_LAYERS: u8 = 3;

/// How many UDP ports there is room for.
pub const MAX_PORTS: usize = 8;

/// What a UDP port carries: a virtual Ethernet (VXLAN, RFC 7348).
pub const VXLAN: u16 = 1;
/// What a UDP port carries: VXLAN that names the protocol inside (VXLAN-GPE, draft-ietf-nvo3-vxlan-gpe).
pub const VXLAN_GPE: u16 = 2;
/// What a UDP port carries: Geneve (RFC 8926).
pub const GENEVE: u16 = 3;
/// What a UDP port carries: an IP packet right after the UDP header (foo over UDP).
pub const FOU: u16 = 4;
/// What a UDP port carries: what a program makes of the packets that it reads from a tun device. It cannot be opened,
/// and is recognized by its first bytes.
pub const SEALED: u16 = 5;

/// In [`crate::Config::opens`]: how many layers are opened.
pub const LAYERS: u32 = 0xff;

/// In [`crate::Config::opens`]: packets of these protocols ([`GRE`], [`IPIP`], [`SIT`]) are opened.
pub const PROTOCOL_SHIFT: u32 = 8;

/// In [`crate::Config::opens`]: UDP ports that carry this ([`VXLAN`] and kin) are opened.
pub const FORMAT_SHIFT: u32 = 16;

/// In [`crate::Config::opens`]: packets of programs that hold tun devices are recognized.
pub const SEALED_BIT: u32 = 1 << (FORMAT_SHIFT + SEALED as u32);

/// How many packets of programs are recognized at once, at most: later ones take the places of the oldest.
pub const MAX_SEALED: u32 = 16_384;

/// In how many network namespaces programs that hold tun devices are followed, at most.
pub const MAX_SEALING: u32 = 64;

/// How many probes are remembered as handed to the programs of a network namespace.
pub const HANDED_SLOTS: usize = 4;

/// For how long, in nanoseconds, what a program sends may be a probe that was handed to it.
pub const SEALING_NS: u64 = 1_000_000_000;

/// The probes that were last handed to the programs that hold tun devices in a network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HandedProbes {
    /// How many were handed so far: the next one takes the place of the oldest.
    pub count: u64,
    /// When each of them was handed (`CLOCK_MONOTONIC` in nanoseconds); 0: none, or sent on since.
    pub times: [u64; HANDED_SLOTS],
    /// Each of them: the bytes of its packet from the IP header on, and a [`sealed_probe`].
    pub probes: [u64; HANDED_SLOTS],
}

impl HandedProbes {
    /// Adds a probe whose packet has this many bytes, in place of the same one with fewer layers around it or of the oldest.
    #[inline(always)]
    pub fn add(&mut self, now: u64, bytes: u32, probe: u32) {
        let mut at = self.count as usize % HANDED_SLOTS;
        let mut found = false;
        for slot in 0..HANDED_SLOTS {
            if self.times[slot] != 0 && (self.probes[slot] as u32 ^ probe) & !SEALED_LAYERS == 0 {
                (at, found) = (slot, true);
            }
        }
        if !found {
            self.count = self.count.wrapping_add(1);
        }
        if let (Some(time), Some(slot)) = (self.times.get_mut(at), self.probes.get_mut(at)) {
            *time = now;
            *slot = u64::from(bytes) << 32 | u64::from(probe);
        }
    }

    /// Takes out the one that was handed last, of those that fit into a payload of this many bytes and were handed a short
    /// while ago.
    #[inline(always)]
    pub fn take(&mut self, now: u64, room: u32) -> Option<u32> {
        let (mut last, mut found) = (0, None);
        for at in 0..HANDED_SLOTS {
            let (time, word) = (self.times[at], self.probes[at]);
            if time > last && now.wrapping_sub(time) < SEALING_NS && (word >> 32) as u32 <= room {
                (last, found) = (time, Some(word as u32));
            }
        }
        found?;
        for at in 0..HANDED_SLOTS {
            if self.times[at] == last {
                self.times[at] = 0;
            }
        }
        found
    }
}

/// In a [`sealed_probe`]: the layers around it.
const SEALED_LAYERS: u32 = 3 << SEALED_LAYER_SHIFT;
const SEALED_LAYER_SHIFT: u32 = 29;

/// Encodes a probe, whether it is the reply to it, and how many layers of tunnels it had around it when it was handed to a
/// program, below [`MAX_LAYERS`].
#[inline(always)]
pub const fn sealed_probe(probe: u32, reply: bool, layers: u8) -> u32 {
    (reply as u32) << 31 | ((layers as u32) << SEALED_LAYER_SHIFT) & SEALED_LAYERS | probe & !(SEALED_LAYERS | 1 << 31)
}

/// Returns what [`sealed_probe`] was made of.
#[inline(always)]
pub const fn of_sealed(word: u32) -> (u32, bool, u8) {
    (word & !(SEALED_LAYERS | 1 << 31), word >> 31 != 0, ((word & SEALED_LAYERS) >> SEALED_LAYER_SHIFT) as u8)
}

/// Every kind of tunnel, as encoded in [`crate::Config::opens`].
pub const ALL_KINDS: u32 = 0xffff_ff00;

/// [`Tunnels::protocols`]: GRE (RFC 2784), with Ethernet or IP inside.
pub const GRE: u32 = 1;
/// [`Tunnels::protocols`]: IPv4 inside IP (RFC 2003).
pub const IPIP: u32 = 2;
/// [`Tunnels::protocols`]: IPv6 inside IP (RFC 4213).
pub const SIT: u32 = 4;

/// [`Tunnels::protocols`]: one of them is made on another one, so that there may be one layer more than kinds.
pub const NESTED: u32 = 8;

/// The tunnels that are opened: the one entry of the map [`crate::names::TUNNELS`], which the user half writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Tunnels {
    /// [`GRE`], [`IPIP`] and [`SIT`].
    pub protocols: u32,
    /// UDP ports, each with what it carries ([`port_word`]); 0: none.
    pub ports: [u32; MAX_PORTS],
}

/// Returns a UDP port, in host byte order, and what it carries as one word.
#[inline(always)]
pub const fn port_word(port: u16, format: u16) -> u32 {
    ((format as u32) << 16) | port as u32
}

impl Tunnels {
    /// Returns what packets to this UDP port carry; 0: nothing.
    #[inline(always)]
    pub fn carried_by(&self, port: u16) -> u16 {
        let mut format = 0;
        for word in self.ports {
            if word as u16 == port {
                format = (word >> 16) as u16;
            }
        }
        format
    }

    /// Returns the kinds among them and how many layers of them there may be, as encoded in [`crate::Config::opens`].
    pub fn opens(&self) -> u32 {
        let mut kinds = (self.protocols << PROTOCOL_SHIFT) & ALL_KINDS;
        for word in self.ports {
            if word != 0 {
                kinds |= 1 << (FORMAT_SHIFT + (word >> 16));
            }
        }
        let layers = kinds.count_ones().min(u32::from(MAX_LAYERS));
        kinds | layers
    }

    /// Adds a UDP port and what it carries, unless it is there or there is no room; reports whether it is there now.
    pub fn add_port(&mut self, port: u16, format: u16) -> bool {
        let word = port_word(port, format);
        if port == 0 || self.ports.contains(&word) {
            return port != 0;
        }
        let free = self.ports.iter_mut().find(|word| **word == 0);
        free.is_some_and(|free| {
            *free = word;
            true
        })
    }

    /// Adds all tunnels of `other` that there is room for.
    pub fn add(&mut self, other: &Self) {
        self.protocols |= other.protocols;
        for word in other.ports.into_iter().filter(|word| *word != 0) {
            self.add_port(word as u16, (word >> 16) as u16);
        }
    }

    /// Reports whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_carries_what_was_added_for_it_until_there_is_no_room() {
        let mut tunnels = Tunnels::default();
        assert!(tunnels.is_empty() && tunnels.carried_by(4789) == 0 && !tunnels.add_port(0, VXLAN));
        for port in 1..=8 {
            assert!(tunnels.add_port(port, VXLAN) && tunnels.add_port(port, VXLAN));
        }
        assert!(!tunnels.add_port(9, GENEVE));
        assert_eq!((tunnels.carried_by(8), tunnels.carried_by(9), tunnels.carried_by(0)), (VXLAN, 0, 0));
        assert_eq!((tunnels.opens() & LAYERS, tunnels.opens() & ALL_KINDS), (1, 1 << (FORMAT_SHIFT + 1)));
        assert_eq!(Tunnels::default().opens(), 0);
        let mut all = Tunnels { protocols: GRE, ..Tunnels::default() };
        all.add(&tunnels);
        assert_eq!((all.protocols, all.carried_by(3), all.opens() & LAYERS), (GRE, VXLAN, 2));
        assert!(all.opens() & SEALED_BIT == 0);
    }

    #[test]
    fn what_a_program_sends_is_the_probe_that_it_was_handed_last_and_fits() {
        let mut handed = HandedProbes::default();
        assert_eq!(handed.take(5, 1500), None);
        for probe in 1..=5 {
            handed.add(10 + u64::from(probe), 84, sealed_probe(probe, probe == 4, 0));
        }
        assert_eq!(handed.take(20, 83), None);
        assert_eq!(handed.take(20, 84).map(of_sealed), Some((5, false, 0)));
        assert_eq!(handed.take(20, 84).map(of_sealed), Some((4, true, 0)));
        assert_eq!(handed.take(12 + SEALING_NS, 84).map(of_sealed), Some((3, false, 0)));
        assert_eq!((handed.take(12 + SEALING_NS, 84), handed.take(20, 84)), (None, Some(2)));
        assert_eq!(handed.take(20, 84), None);
    }

    #[test]
    fn a_probe_that_is_handed_on_in_another_packet_is_one_probe() {
        let mut handed = HandedProbes::default();
        handed.add(10, 84, sealed_probe(6, false, 0));
        handed.add(11, 84, sealed_probe(7, false, 0));
        handed.add(12, 134, sealed_probe(6, false, 1));
        assert_eq!(handed.count, 2);
        assert_eq!(handed.take(20, 1400).map(of_sealed), Some((6, false, 1)));
        assert_eq!(handed.take(20, 1400).map(of_sealed), Some((7, false, 0)));
        assert_eq!(handed.take(20, 1400), None);
    }
}
