//! What lies between two hops of a place in between, or between such a place and another: pure tables of the kernel's order.

use probe_ebpf::Hop;

use super::{
    hooks::{FORWARD, INPUT, LEAVES, OUTPUT},
    places::DropPoint::{
        self, Answer, Bridge, CgroupOut, DriverOut, FragmentOut, Icmp, IpHeader, Neighbour, NfEgress, NfForward,
        NfIngress, NfInput, NfOutput, NfPostrouting, NfPrerouting, Qdisc, RateLimit, Reassembly, RouteBack, RouteIn,
        TcIn, TcOut, Xdp,
    },
};

/// From one interface of a place to another, through its bridge or its IP layer.
const THROUGH: [DropPoint; 14] = [
    Xdp,
    TcIn,
    NfIngress,
    Bridge,
    IpHeader,
    NfPrerouting,
    RouteIn,
    NfForward,
    Reassembly,
    FragmentOut,
    NfPostrouting,
    Neighbour,
    NfEgress,
    TcOut,
];

/// The same for what entered none of netfilter's hooks: a bridge passed it on, or it never came to the IP layer.
const BESIDE_HOOKS: [DropPoint; 7] = [Xdp, TcIn, NfIngress, Bridge, IpHeader, NfEgress, TcOut];

/// From a device on top of another, such as a bridge, to the one below.
const DOWN: [DropPoint; 6] = [DriverOut, Bridge, NfPostrouting, Neighbour, NfEgress, TcOut];

/// Returns what lies right before a hop, after the one that the kernel runs before it.
fn before(hop: Hop) -> &'static [DropPoint] {
    match hop {
        Hop::NfPreroutingFirst => &[Xdp, TcIn, NfIngress, Bridge, IpHeader],
        Hop::NfPreroutingLast => &[NfPrerouting],
        // The TTL and the MTU are checked before the forward hook (`ip_forward`).
        Hop::NfForwardFirst => &[Bridge, RouteIn, Reassembly, FragmentOut],
        Hop::NfForwardLast => &[NfForward],
        Hop::NfInputFirst => &[Bridge, RouteIn, Reassembly],
        Hop::NfInputLast => &[NfInput],
        Hop::NfOutputLast => &[NfOutput],
        Hop::NfPostroutingFirst => &[Bridge, FragmentOut],
        Hop::NfPostroutingLast => &[NfPostrouting],
        Hop::DevQueue => &[CgroupOut, FragmentOut, Bridge, Neighbour, NfEgress, TcOut],
        Hop::Xmit => &[Qdisc],
        _ => &[],
    }
}

/// Returns every hop of a packet that is forwarded, is for the place, or is made by it.
fn chains() -> [Vec<Hop>; 3] {
    let of = |start: &[Hop], hooks: &[Hop], end: &[Hop]| [start, hooks, end].concat();
    [of(&[Hop::NetifIn], &FORWARD, &LEAVES), of(&[Hop::NetifIn], &INPUT, &[]), of(&[], &OUTPUT, &LEAVES)]
}

/// Returns what lies between two hops of one of these ways; `None` where no way has them in this order.
fn along(from: Hop, to: Hop) -> Option<Vec<DropPoint>> {
    chains().into_iter().find_map(|chain| {
        let at = |wanted: Hop| chain.iter().position(|hop| *hop == wanted);
        let (first, last) = (at(from)?, at(to)?);
        let hops = chain.get(first + 1..=last).filter(|hops| !hops.is_empty())?;
        Some(hops.iter().flat_map(|hop| before(*hop)).copied().collect())
    })
}

/// Returns what lies between two hops of a place on one leg; `beside`: what is asked about entered no hook of
/// netfilter.
pub(super) fn inside(from: Hop, to: Hop, beside: bool) -> Vec<DropPoint> {
    match (from, to) {
        (Hop::DevQueue, Hop::Xmit) => vec![TcOut, Qdisc],
        (Hop::Xmit, Hop::NetifIn | Hop::DevQueue | Hop::Xmit) => DOWN.to_vec(),
        (Hop::NetifIn, Hop::NetifIn | Hop::DevQueue | Hop::Xmit) if beside => BESIDE_HOOKS.to_vec(),
        (Hop::NetifIn, Hop::NetifIn | Hop::DevQueue | Hop::Xmit) => THROUGH.to_vec(),
        // A bridge: its packets pass prerouting at a port, and then enter by the bridge.
        (Hop::NfPreroutingLast, Hop::NetifIn) => vec![Bridge],
        _ => along(from, to).unwrap_or_else(|| THROUGH.to_vec()),
    }
}

/// Returns what lies between a hop of a place and its way out.
pub(super) fn out_of(from: Hop) -> Vec<DropPoint> {
    match from {
        Hop::DevQueue | Hop::Xmit => Vec::new(),
        from => inside(from, Hop::DevQueue, false),
    }
}

/// Returns what lies between a hop of the target on the way in and the answer.
pub(super) fn taken_in(from: Hop) -> Vec<DropPoint> {
    let mut points = along(from, Hop::NfInputLast).unwrap_or_default();
    // IPv6 reassembles fragments after the input hook.
    points.extend([Reassembly, Icmp, Answer]);
    points
}

/// Returns what lies between the answer and a hop of the target on the way out.
pub(super) fn sent_back(to: Hop) -> Vec<DropPoint> {
    let mut points = vec![RouteBack, RateLimit];
    points.extend(along(Hop::NfOutputFirst, to).unwrap_or_default());
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ends_of_a_hook_leave_one_place() {
        assert_eq!(inside(Hop::NfForwardFirst, Hop::NfForwardLast, false), [NfForward]);
        assert_eq!(inside(Hop::NfPostroutingFirst, Hop::NfPostroutingLast, false), [NfPostrouting]);
        assert_eq!(inside(Hop::NfInputFirst, Hop::NfInputLast, false), [NfInput]);
    }

    #[test]
    fn the_way_between_hooks_is_told_by_the_order_of_the_kernel() {
        let routed = inside(Hop::NfPreroutingLast, Hop::NfForwardFirst, false);
        assert!(routed.contains(&RouteIn) && !routed.contains(&NfForward) && !routed.contains(&NfPrerouting));
        let out = inside(Hop::NfPostroutingLast, Hop::DevQueue, false);
        assert!(out.contains(&Neighbour) && !out.contains(&NfPostrouting));
        let beside = inside(Hop::NetifIn, Hop::DevQueue, true);
        assert!(beside.contains(&Bridge) && !beside.contains(&NfForward));
        let whole = inside(Hop::NetifIn, Hop::DevQueue, false);
        assert!(whole.contains(&NfForward) && whole.contains(&NfPrerouting));
    }

    #[test]
    fn a_target_takes_in_and_sends_back() {
        assert!(taken_in(Hop::NetifIn).starts_with(&[Xdp, TcIn]) && taken_in(Hop::NetifIn).ends_with(&[Icmp, Answer]));
        assert!(!taken_in(Hop::NfInputLast).contains(&NfInput));
        assert_eq!(sent_back(Hop::NfOutputFirst), [RouteBack, RateLimit]);
        assert!(sent_back(Hop::DevQueue).contains(&NfOutput) && sent_back(Hop::DevQueue).contains(&Neighbour));
    }
}
