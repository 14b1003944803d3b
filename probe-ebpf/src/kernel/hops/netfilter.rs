//! Netfilter: the first and the last program in each of its hooks.

use core::ffi::c_void;

use aya_ebpf::{EbpfContext, programs::SkBuffContext};
use probe_ebpf::{Hop, Skip, contract::follow::SENT};

use crate::kernel::{
    config::config,
    hook, journey,
    offsets::field,
    skb::{Skb, Start, device_ifindex, inode},
};

/// The context of a netfilter program: `struct bpf_nf_ctx` of `include/net/netfilter/nf_bpf_link.h`.
#[repr(C)]
struct HookContext {
    /// `struct nf_hook_state *`: which hook, and the devices.
    state: *const u8,
    /// `struct sk_buff *`.
    skb: *const c_void,
}

/// `NF_INET_LOCAL_OUT` and `NF_INET_POST_ROUTING`: hooks of packets that leave, which have no incoming device.
const LOCAL_OUT: u8 = 3;
const POST_ROUTING: u8 = 4;

/// Hops by `enum nf_inet_hooks` of `include/uapi/linux/netfilter.h`. Eight, so that a masked index needs no check, which the
/// compiler might turn into one that the verifier cannot follow.
type Hops = [Option<Hop>; 8];

/// The hops at the start of each hook.
const FIRST: Hops = [
    Some(Hop::NfPreroutingFirst),
    Some(Hop::NfInputFirst),
    Some(Hop::NfForwardFirst),
    Some(Hop::NfOutputFirst),
    Some(Hop::NfPostroutingFirst),
    None,
    None,
    None,
];

/// The hops at the end of each hook.
const LAST: Hops = [
    Some(Hop::NfPreroutingLast),
    Some(Hop::NfInputLast),
    Some(Hop::NfForwardLast),
    Some(Hop::NfOutputLast),
    Some(Hop::NfPostroutingLast),
    None,
    None,
    None,
];

/// Handles a packet at the first program of a hook.
#[inline(always)]
pub(crate) fn see_first(context: &SkBuffContext) -> Result<(), Skip> {
    see(context, &FIRST, 0)
}

/// Handles a packet at the last program of a hook: all other rules let it pass.
#[inline(always)]
pub(crate) fn see_last(context: &SkBuffContext) -> Result<(), Skip> {
    see(context, &LAST, 1)
}

/// Notes a probe at its hop, which is at this end of the hook: 0 the first, 1 the last.
#[inline(always)]
fn see(context: &SkBuffContext, hops: &Hops, end: u32) -> Result<(), Skip> {
    let context: *const HookContext = context.as_ptr().cast_const().cast();
    // SAFETY: the user half loads this as a netfilter program, which gets such a context; the verifier checks it.
    let (state, skb) = unsafe { ((*context).state, Skb::of((*context).skb)) };
    let number = field!(state, nf_hook, u8);
    let Some(hop) = hops[usize::from(number & 7)] else { return Ok(()) };
    if number == LOCAL_OUT && end == 0 {
        skb.learn_sealed(inode(field!(state, nf_net, *const u8)));
    }
    let mut seen = skb.probe(Start::NetworkHeader)?;
    // Not from the hop's row in the table: the verifier does not know which hop it is.
    let device = match number {
        LOCAL_OUT | POST_ROUTING => field!(state, nf_out, *const u8),
        _ => field!(state, nf_in, *const u8),
    };
    let ifindex = device_ifindex(device);
    if config!(everywhere) != 0 || seen.layers > 0 {
        let netns = inode(field!(state, nf_net, *const u8));
        if netns != config!(netns) || seen.layers > 0 {
            hook::note(u32::from(number & 7) * 2 + end, &seen, netns, ifindex);
            return Ok(());
        }
    }
    if end == 0 && number == LOCAL_OUT {
        skb.learn(SENT, &mut seen, true);
    }
    journey::note(hop, &seen, ifindex);
    Ok(())
}
