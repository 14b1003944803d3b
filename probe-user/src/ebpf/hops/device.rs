//! The device's tracepoints from the user side.

use aya::Btf;
use probe_ebpf::{Hop, names};

use super::{
    ProgramLookup,
    tracepoint::{TraceLink, Tracepoint},
};
use crate::{
    ebpf::{KernelError, running::RunningKernel},
    host::device::Device,
};

const QUEUE: Tracepoint =
    Tracepoint { program: names::DEV_QUEUE, name: "net_dev_queue", arguments: &["struct sk_buff *"] };
const XMIT: Tracepoint = Tracepoint {
    program: names::XMIT,
    name: "net_dev_start_xmit",
    arguments: &["struct sk_buff *", "struct net_device *"],
};
/// Only adds the driver's answer: without it the hop is not blind.
const XMITTED: Tracepoint =
    Tracepoint { program: names::XMITTED, name: "net_dev_xmit", arguments: &["struct sk_buff *", "int"] };
const RECEIVE: Tracepoint =
    Tracepoint { program: names::NETIF_IN, name: "netif_receive_skb", arguments: &["struct sk_buff *"] };

/// The hops of this family.
pub const HOPS: [Hop; 3] = [Hop::DevQueue, Hop::Xmit, Hop::NetifIn];

/// Checks that `hop` can be watched on this kernel.
///
/// # Errors
/// Why not, as a clause for the user.
pub fn available(kernel: &RunningKernel, hop: Hop) -> Result<(), String> {
    tracepoint(hop).ok_or_else(|| format!("{} has no tracepoint", hop.name()))?.available(kernel)
}

/// Kinds of device whose packets another device received: the kernel hands them up inside its receive path, after the
/// tracepoint (`another_round` in `__netif_receive_skb_core`; for vrf the IP layer does).
const HANDED_UP: [&str; 7] = ["bond", "ipvlan", "macvlan", "macvtap", "team", "vlan", "vrf"];

/// Explains why packets that enter by `device` do not pass [`Hop::NetifIn`] there; `None` if they do.
pub fn passes_by(device: &Device) -> Option<String> {
    let kind = device.kind.as_deref().filter(|kind| HANDED_UP.contains(kind))?;
    Some(format!("packets of a {kind} are received by the device below it and reach it after this tracepoint"))
}

/// Attaches the programs of `hop`; dropping the links detaches them.
///
/// # Errors
/// [`KernelError::LoadProgram`] if the verifier or the kernel's policy refuses, [`KernelError::NoProgram`] for a hop of another family.
pub fn attach(
    programs: &mut impl ProgramLookup,
    types: &Btf,
    kernel: &RunningKernel,
    hop: Hop,
) -> Result<Vec<TraceLink>, KernelError> {
    let tracepoint = tracepoint(hop).ok_or(KernelError::NoProgram { name: hop.row().program })?;
    let mut links = vec![tracepoint.attach(programs, types)?];
    if hop == Hop::Xmit && XMITTED.available(kernel).is_ok() {
        links.push(XMITTED.attach(programs, types)?);
    }
    Ok(links)
}

/// Returns the names of the programs of `hop`.
pub fn programs(hop: Hop) -> &'static [&'static str] {
    match hop {
        Hop::DevQueue => &[QUEUE.program],
        Hop::Xmit => &[XMIT.program, XMITTED.program],
        Hop::NetifIn => &[RECEIVE.program],
        _ => &[],
    }
}

const fn tracepoint(hop: Hop) -> Option<Tracepoint> {
    match hop {
        Hop::DevQueue => Some(QUEUE),
        Hop::Xmit => Some(XMIT),
        Hop::NetifIn => Some(RECEIVE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_on_top_of_others_pass_by_the_entry_and_bridges_do_not() {
        let of = |kind: &str| passes_by(&Device { kind: Some(kind.to_owned()), ..Device::default() });
        assert!(HANDED_UP.iter().all(|kind| of(kind).is_some_and(|why| why.contains(kind))));
        assert_eq!(["bridge", "veth", "vxlan", "tun"].map(of), [const { None }; 4]);
        assert_eq!(passes_by(&Device::default()), None);
    }
}
