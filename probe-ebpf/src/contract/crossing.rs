//! Crossings: which of this run's own probes passed which device of another network namespace of the same kernel.

use super::{
    hop::Hop,
    journey::{MAX_PROBES, Passage},
    kind::Echo,
};

/// How many devices of other namespaces have room; a probe that crosses more of them is noted at the first ones.
pub const MAX_SITES: u32 = 64;

/// The hops that see every network namespace of the kernel, in the order of their numbers in [`crossing_index`].
pub const CROSSING_HOPS: [Hop; 3] = [Hop::NetifIn, Hop::DevQueue, Hop::Xmit];

/// Entries of the map of crossings for each probe.
pub const CROSSINGS_OF_PROBE: u32 = MAX_SITES * CROSSING_HOPS.len() as u32 * 2;

/// Interface indices are below this: the bits above hold the layers around the probe.
const LAYER_SHIFT: u32 = 28;

/// Encodes a device as one word: the inode of its network namespace, how many layers of tunnels probes have around them
/// there, and its interface index; never 0.
#[inline(always)]
pub const fn site_word(netns: u32, ifindex: u32, layers: u8) -> u64 {
    ((netns as u64) << 32) | ((layers as u64) << LAYER_SHIFT) | (ifindex as u64 & ((1 << LAYER_SHIFT) - 1))
}

/// Returns what [`site_word`] was made of.
pub const fn site_of(word: u64) -> (u32, u32, u8) {
    let low = word as u32;
    ((word >> 32) as u32, low & ((1 << LAYER_SHIFT) - 1), (low >> LAYER_SHIFT) as u8)
}

/// Returns where in the map of crossings a [`Passage`] is: by probe, so that a short run has a small map, then site, hop, and
/// request or reply. `hop` counts in [`CROSSING_HOPS`].
#[inline(always)]
pub const fn crossing_index(site: u32, hop: u32, echo: Echo, probe: u32) -> u32 {
    let leg = match echo {
        Echo::Request => 0,
        Echo::Reply => 1,
    };
    (probe & (MAX_PROBES - 1)) * CROSSINGS_OF_PROBE + ((site & (MAX_SITES - 1)) * 3 + hop) * 2 + leg
}

const _: () = assert!(CROSSING_HOPS.len() == 3 && size_of::<Passage>().is_multiple_of(8));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossings_do_not_overlap_and_fill_the_map() {
        let last = crossing_index(MAX_SITES - 1, 2, Echo::Reply, 0);
        assert_eq!(last + 1, CROSSINGS_OF_PROBE);
        assert_eq!(crossing_index(0, 0, Echo::Request, 1), CROSSINGS_OF_PROBE);
        assert_eq!(crossing_index(0, 0, Echo::Reply, 0) + 1, crossing_index(0, 1, Echo::Request, 0));
        assert_eq!(crossing_index(0, 2, Echo::Reply, 0) + 1, crossing_index(1, 0, Echo::Request, 0));
    }

    #[test]
    fn a_site_is_its_namespace_its_interface_and_the_layers_around_probes_there() {
        assert_eq!(site_word(0xf000_0001, 7, 0), 0xf000_0001_0000_0007);
        assert_eq!(site_of(site_word(0xf000_0001, 7, 2)), (0xf000_0001, 7, 2));
    }
}
