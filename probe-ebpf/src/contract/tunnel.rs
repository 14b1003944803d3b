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

/// In [`crate::Config::opens`]: how many layers are opened.
pub const LAYERS: u32 = 0xff;

/// In [`crate::Config::opens`]: packets of these protocols ([`GRE`], [`IPIP`], [`SIT`]) are opened.
pub const PROTOCOL_SHIFT: u32 = 8;

/// In [`crate::Config::opens`]: UDP ports that carry this ([`VXLAN`] and kin) are opened.
pub const FORMAT_SHIFT: u32 = 16;

/// Every kind of tunnel, as encoded in [`crate::Config::opens`].
pub const ALL_KINDS: u32 = 0xffff_ff00;

/// [`Tunnels::protocols`]: GRE (RFC 2784), with Ethernet or IP inside.
pub const GRE: u32 = 1;
/// [`Tunnels::protocols`]: IPv4 inside IP (RFC 2003).
pub const IPIP: u32 = 2;
/// [`Tunnels::protocols`]: IPv6 inside IP (RFC 4213).
pub const SIT: u32 = 4;

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
    }
}
