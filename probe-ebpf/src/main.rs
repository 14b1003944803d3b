//! The kernel programs of probe: their entry points, and the one table from a hop's result to the kernel's return codes.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
// rustc has no stable inline assembly for BPF yet, and no atomic addition without it.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![expect(clippy::needless_pass_by_value, reason = "aya's macros hand the context over by value")]

mod kernel;

use aya_ebpf::{
    bindings::{
        TC_ACT_SHOT,
        xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    },
    macros::{btf_tracepoint, cgroup_skb, classifier, socket_filter, xdp},
    programs::{BtfTracePointContext, SkBuffContext, TcContext, XdpContext},
};
use kernel::{
    disposition::Disposition,
    guard,
    hops::{cgroup, device, drops, netfilter, tc, xdp},
    skip,
};
use probe_ebpf::Skip;

/// tc goes on with the next program (`TCX_NEXT`), never decides for those after it.
const TC_NEXT: i32 = -1;

/// Counts at XDP, and drops what the filter says. Accepts packets in several fragments, without which drivers refuse a large
/// MTU.
#[xdp(frags)]
fn probe_xdp(context: XdpContext) -> u32 {
    xdp_action(enforce(xdp::see::<true>(&context)))
}

/// Counts like [`probe_xdp`] in the kernel's receive path. It must not accept packets in fragments: since Linux 6.9 the
/// kernel then copies each packet and forgets how long its link header is (`skb_pp_cow_data` in `net/core/skbuff.c`), and
/// every tc program after it, anybody's, misses the Ethernet header.
#[xdp]
fn probe_xdp_gen(context: XdpContext) -> u32 {
    xdp_action(enforce(xdp::see::<true>(&context)))
}

/// Counts at tc ingress, and drops what the filter says.
#[classifier]
fn probe_tc_in(context: TcContext) -> i32 {
    tc_action(enforce(tc::see_in::<true>(&context)))
}

/// Counts at tc egress, and drops what the filter says.
#[classifier]
fn probe_tc_out(context: TcContext) -> i32 {
    tc_action(enforce(tc::see_out::<true>(&context)))
}

/// Counts at XDP on kernels before 5.18, in either mode: they refuse a program that holds a helper, a loop or an atomic operation
/// of rules, used or not.
#[xdp]
fn probe_xdp_old(context: XdpContext) -> u32 {
    xdp_action(enforce(xdp::see::<false>(&context)))
}

/// Counts at tc ingress like [`probe_xdp_old`].
#[classifier]
fn probe_in_old(context: TcContext) -> i32 {
    tc_action(enforce(tc::see_in::<false>(&context)))
}

/// Counts at tc egress like [`probe_xdp_old`].
#[classifier]
fn probe_out_old(context: TcContext) -> i32 {
    tc_action(enforce(tc::see_out::<false>(&context)))
}

/// Guards what enters at XDP; see [`probe_xdp`] for why there are two.
#[xdp(frags)]
fn probe_guard_xdp(context: XdpContext) -> u32 {
    xdp_action(enforce(guard::enter_xdp(&context)))
}

/// Guards like [`probe_guard_xdp`], in the kernel's receive path.
#[xdp]
fn probe_g_xdp_gen(context: XdpContext) -> u32 {
    xdp_action(enforce(guard::enter_xdp(&context)))
}

/// Guards what enters at tc.
#[classifier]
fn probe_guard_in(context: TcContext) -> i32 {
    tc_action(enforce(guard::enter_tc(&context)))
}

/// Guards what leaves.
#[classifier]
fn probe_guard_out(context: TcContext) -> i32 {
    tc_action(enforce(guard::leave_tc(&context)))
}

/// `NF_ACCEPT` of `include/uapi/linux/netfilter.h`: on to the next in this hook.
const NF_ACCEPT: i64 = 1;

/// The return code of a `cgroup_skb` program for a packet that may go on.
const CGROUP_PASS: i32 = 1;

/// Sees what enters a netfilter hook. Only its section makes it a socket filter: the user half loads it as a netfilter
/// program.
#[socket_filter]
fn probe_nf_first(context: SkBuffContext) -> i64 {
    trace(netfilter::see_first(&context));
    NF_ACCEPT
}

/// Sees what all other rules in a netfilter hook let pass.
#[socket_filter]
fn probe_nf_last(context: SkBuffContext) -> i64 {
    trace(netfilter::see_last(&context));
    NF_ACCEPT
}

/// Sees what leaves the IP layer for a device.
#[cgroup_skb]
fn probe_cg_out(context: SkBuffContext) -> i32 {
    trace(cgroup::see_out(&context));
    CGROUP_PASS
}

/// Sees what is about to be queued to a socket.
#[cgroup_skb]
fn probe_cg_in(context: SkBuffContext) -> i32 {
    trace(cgroup::see_in(&context));
    CGROUP_PASS
}

/// Notes what enters the device's queue.
#[btf_tracepoint(function = "net_dev_queue")]
fn probe_dev_queue(context: BtfTracePointContext) {
    trace(device::queued(&context));
}

/// Notes what leaves the device's queue for the driver.
#[btf_tracepoint(function = "net_dev_start_xmit")]
fn probe_xmit(context: BtfTracePointContext) {
    trace(device::sending(&context));
}

/// Notes the driver's return code.
#[btf_tracepoint(function = "net_dev_xmit")]
fn probe_xmitted(context: BtfTracePointContext) {
    device::sent(&context);
}

/// Notes what enters the stack.
#[btf_tracepoint(function = "netif_receive_skb")]
fn probe_netif_in(context: BtfTracePointContext) {
    trace(device::received(&context));
}

/// Reports what was dropped.
#[btf_tracepoint(function = "kfree_skb")]
fn probe_kfree(context: BtfTracePointContext) {
    trace(drops::dropped(&context));
}

/// Notes what ended normally inside the kernel's ICMP.
#[btf_tracepoint(function = "consume_skb")]
fn probe_consume(context: BtfTracePointContext) {
    trace(drops::consumed(&context));
}

/// Counts, by its cause, what a hop without a tally can't read.
#[inline(always)]
fn trace(noted: Result<(), Skip>) {
    if let Err(skip) = noted {
        skip::count(skip);
    }
}

/// Counts, by its cause, what can't be read, and lets it pass: the host's own traffic must not break.
#[inline(always)]
fn enforce(seen: Result<Disposition, Skip>) -> Disposition {
    match seen {
        Ok(disposition) => disposition,
        Err(skip) => {
            skip::count(skip);
            Disposition::Pass
        }
    }
}

#[inline(always)]
fn xdp_action(disposition: Disposition) -> u32 {
    match disposition {
        Disposition::Pass => XDP_PASS,
        Disposition::Drop | Disposition::Absorb => XDP_DROP,
        Disposition::Answer => XDP_TX,
    }
}

#[inline(always)]
fn tc_action(disposition: Disposition) -> i32 {
    match disposition {
        // tc makes no replies: if XDP is to make them and cannot be attached, nothing is attached at all.
        Disposition::Pass | Disposition::Answer => TC_NEXT,
        Disposition::Drop | Disposition::Absorb => TC_ACT_SHOT,
    }
}

/// The programs call kernel helpers that require a licence compatible with the GPL.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Loops for ever, and is never reached: a program with a reachable panic does not pass the verifier.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
