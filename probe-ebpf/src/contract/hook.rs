//! Hooks: which of this run's own probes passed which netfilter hook of another network namespace of the same kernel.

use super::{
    hop::Hop,
    journey::{MAX_PROBES, Passage},
    kind::Echo,
};

/// How many other namespaces have room for what their hooks see. The user half gives out these slots.
pub const MAX_HOOKED: u32 = 16;

/// The hops of netfilter: the first and the last of each hook, in the order of `enum nf_inet_hooks`
/// (`include/uapi/linux/netfilter.h`).
pub const HOOK_HOPS: [Hop; 10] = [
    Hop::NfPreroutingFirst,
    Hop::NfPreroutingLast,
    Hop::NfInputFirst,
    Hop::NfInputLast,
    Hop::NfForwardFirst,
    Hop::NfForwardLast,
    Hop::NfOutputFirst,
    Hop::NfOutputLast,
    Hop::NfPostroutingFirst,
    Hop::NfPostroutingLast,
];

/// Entries of the map of hooks for each probe.
pub const HOOKS_OF_PROBE: u32 = MAX_HOOKED * HOOK_HOPS.len() as u32 * 2;

/// Returns the key of a namespace's slot, for probes with this many layers of tunnels around them.
#[inline(always)]
pub const fn hook_key(netns: u32, layers: u8) -> u64 {
    ((layers as u64) << 32) | netns as u64
}

/// Returns where in the map of hooks a [`Passage`] is: by probe, then namespace, hop, and request or reply. `hop` counts in
/// [`HOOK_HOPS`].
#[inline(always)]
pub const fn hook_index(slot: u32, hop: u32, echo: Echo, probe: u32) -> u32 {
    let leg = match echo {
        Echo::Request => 0,
        Echo::Reply => 1,
    };
    (probe & (MAX_PROBES - 1)) * HOOKS_OF_PROBE + ((slot & (MAX_HOOKED - 1)) * HOOK_HOPS.len() as u32 + hop) * 2 + leg
}

const _: () = assert!(size_of::<Passage>().is_multiple_of(8));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passages_of_hooks_do_not_overlap_and_fill_the_map() {
        assert_eq!(hook_index(MAX_HOOKED - 1, 9, Echo::Reply, 0) + 1, HOOKS_OF_PROBE);
        assert_eq!(hook_index(0, 0, Echo::Request, 1), HOOKS_OF_PROBE);
        assert_eq!(hook_index(0, 0, Echo::Reply, 0) + 1, hook_index(0, 1, Echo::Request, 0));
        assert_eq!(hook_index(0, 9, Echo::Reply, 0) + 1, hook_index(1, 0, Echo::Request, 0));
    }

    #[test]
    fn a_hook_is_its_number_and_which_end_of_it() {
        let name = |number: usize| HOOK_HOPS[number].name();
        assert_eq!(
            (name(0), name(3), name(4), name(9)),
            ("nf_prerouting_first", "nf_input_last", "nf_forward_first", "nf_postrouting_last")
        );
    }
}
