//! The device's tracepoints: into its queue, out of its queue to the driver, and in from the driver.

use aya_ebpf::programs::BtfTracePointContext;
use probe_ebpf::{
    Hop, NeighbourMessage, Skip,
    contract::{
        follow::{CAME, LEAVES as LEAVES_LATE, SENT_BY_PACKET_SOCKET},
        neighbour::{self as contract, ENTERS, LEAVES},
        tunnel::MAX_LAYERS,
    },
};

use crate::kernel::{
    config::config,
    crossing, journey,
    maps::HANDED,
    neighbour, sealed,
    skb::{Skb, SkbPacket, SkbSite, Start},
};

/// `NETDEV_TX_BUSY` of `include/linux/netdevice.h`: the driver did not take the packet, and will get it again.
const BUSY: i32 = 0x10;

/// Handles `net_dev_queue(skb)`: the packet is about to enter the device's queue.
#[inline(always)]
pub(crate) fn queued(context: &BtfTracePointContext) -> Result<(), Skip> {
    note(context, Hop::DevQueue, Start::NetworkHeader).map(drop)
}

/// Handles `netif_receive_skb(skb)`: the packet enters the stack. The network header is not set yet.
#[inline(always)]
pub(crate) fn received(context: &BtfTracePointContext) -> Result<(), Skip> {
    note(context, Hop::NetifIn, Start::Data).map(drop)
}

/// Handles `net_dev_start_xmit(skb, dev)`: the packet left the queue. Its bytes are read here, because the driver may have
/// freed it by the time [`sent`] gets the outcome.
#[inline(always)]
pub(crate) fn sending(context: &BtfTracePointContext) -> Result<(), Skip> {
    let Some(passage) = note(context, Hop::Xmit, Start::NetworkHeader)? else { return Ok(()) };
    // SAFETY: this tracepoint's first argument is a struct sk_buff *.
    let skb = unsafe { Skb::of(context.arg(0)) };
    if let Some(handed) = HANDED.get_ptr_mut(0) {
        // SAFETY: the map gave a valid pointer to this processor's own entry.
        unsafe { *handed = [skb.address(), u64::from(passage)] };
    }
    Ok(())
}

/// Handles `net_dev_xmit(skb, rc, dev, len)`: the driver's return code. The skb only identifies the packet: it may be freed.
#[inline(always)]
pub(crate) fn sent(context: &BtfTracePointContext) {
    let Some(handed) = HANDED.get_ptr_mut(0) else { return };
    // SAFETY: the map gave a valid pointer to this processor's own entry. Drivers send with soft interrupts off, so what
    // it holds is the packet that this processor handed over last.
    let [address, passage] = unsafe { *handed };
    if address == 0 || address != context.arg::<u64>(0) {
        return;
    }
    // SAFETY: as above. A device on top of another is reported after it: the lower one's return code stays.
    unsafe { *handed = [0; 2] };
    let answer: i32 = context.arg(1);
    if answer == 0 {
        return;
    }
    journey::note_detail(passage as u32, answer);
    if answer == BUSY {
        journey::take_back(passage as u32);
    }
}

/// Returns the number of a hop among [`probe_ebpf::contract::crossing::CROSSING_HOPS`].
#[inline(always)]
const fn number(hop: Hop) -> u32 {
    match hop {
        Hop::NetifIn => 0,
        Hop::DevQueue => 1,
        _ => 2,
    }
}

/// Reports a packet of ARP or neighbour discovery at a device.
#[inline(always)]
fn tell(hop: Hop, site: SkbSite, message: Option<NeighbourMessage>) {
    let at = if hop == Hop::NetifIn { ENTERS } else { LEAVES };
    if let Some(message) = message {
        neighbour::passed(at, site, message);
    }
}

/// Notes the packet of a tracepoint whose first argument it is, if it is a probe: at the watched device, and returns
/// the index of that passage; or at any other device, also of another network namespace if that is asked for.
#[inline(always)]
fn note(context: &BtfTracePointContext, hop: Hop, start: Start) -> Result<Option<u32>, Skip> {
    // SAFETY: the first argument of these tracepoints is a struct sk_buff *.
    let skb = unsafe { Skb::of(context.arg(0)) };
    if !skb.can_be_ip() {
        if hop != Hop::Xmit && skb.is_arp() {
            tell(hop, skb.site(), skb.arp(start));
        }
        return Ok(None);
    }
    let site = skb.site();
    let here = site.netns == config!(netns);
    let other = here && config!(ifindex) != 0 && site.ifindex != config!(ifindex);
    if !here && (config!(everywhere) == 0 || site.netns == 0) {
        return Ok(None);
    }
    if hop == Hop::DevQueue {
        skb.learn_sealed(site.netns);
    }
    let mut seen = match skb.packet(start)? {
        SkbPacket::Echo(seen) => seen,
        SkbPacket::Discovery(bytes) => {
            if hop != Hop::Xmit {
                tell(hop, site, contract::discovery(&bytes));
            }
            return Ok(None);
        }
        SkbPacket::Carried(..) => return Ok(None),
    };
    if here && seen.layers == 0 {
        match hop {
            Hop::NetifIn => skb.learn(CAME, &mut seen, false),
            Hop::DevQueue => {
                skb.learn(SENT_BY_PACKET_SOCKET, &mut seen, false);
                if config!(learns_late) != 0 {
                    skb.learn(LEAVES_LATE, &mut seen, false);
                }
            }
            _ => {}
        }
    }
    if hop == Hop::Xmit
        && !seen.is_sealed
        && seen.layers < MAX_LAYERS
        && sealed::is_on()
        && let Some(probe) = seen.probe
    {
        sealed::handed(site.netns, &seen.packet, probe, seen.layers);
    }
    // The stack takes the tag off before it frees what has no device for it.
    let tag = if matches!(start, Start::Data) { i32::from(skb.entry_tag()) } else { 0 };
    if !here || other || seen.layers > 0 {
        crossing::note(number(hop), &seen, site, tag);
        return Ok(None);
    }
    let passage = journey::note(hop, &seen, site.ifindex);
    if tag != 0
        && let Some(index) = passage
    {
        journey::note_detail(index, tag);
    }
    Ok(passage)
}
