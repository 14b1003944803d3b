//! Which hops this kernel has, as each hook family reports it, without attaching anything.

use probe_ebpf::Hop;

use super::{cgroup, device, drops, netfilter};
use crate::ebpf::running::RunningKernel;

/// Returns by which means `hop` is watched on this kernel; `None` if it belongs to a NIC, and is tried on an interface
/// ([`crate::ebpf::trial`]).
///
/// # Errors
/// Why it can't be watched, as a clause for the user.
pub fn available(kernel: &RunningKernel, hop: Hop) -> Option<Result<String, String>> {
    Some(match hop {
        Hop::TcOut | Hop::XdpIn | Hop::TcIn => return None,
        Hop::DevQueue | Hop::Xmit | Hop::NetifIn => device::available(kernel, hop).map(|()| tracepoint(hop)),
        Hop::IcmpIn => drops::available(kernel, drops::FreeTracepoint::Consumed).map(|()| tracepoint(hop)),
        Hop::CgroupOut | Hop::SocketIn => {
            cgroup::available().map(|root| format!("cgroup program at {}", root.display()))
        }
        Hop::NfOutputFirst
        | Hop::NfOutputLast
        | Hop::NfPostroutingFirst
        | Hop::NfPostroutingLast
        | Hop::NfPreroutingFirst
        | Hop::NfPreroutingLast
        | Hop::NfInputFirst
        | Hop::NfInputLast
        | Hop::NfForwardFirst
        | Hop::NfForwardLast => {
            netfilter::available(kernel).map(|()| "netfilter link: a trial program was loaded".into())
        }
    })
}

fn tracepoint(hop: Hop) -> String {
    let name = match hop {
        Hop::DevQueue => "net_dev_queue",
        Hop::Xmit => "net_dev_start_xmit",
        Hop::NetifIn => "netif_receive_skb",
        _ => "consume_skb",
    };
    format!("tracepoint {name}: present, with the arguments that probe reads")
}

#[cfg(test)]
mod tests {
    use probe_ebpf::contract::hop::{HOPS, NIC_HOPS};

    use super::*;

    #[test]
    fn every_hop_but_those_of_a_nic_says_whether_it_is_there() {
        let kernel = RunningKernel::read();
        for row in &HOPS {
            let said = available(&kernel, row.hop);
            assert_eq!(said.is_none(), NIC_HOPS.contains(&row.hop), "{}", row.name);
            let words = said.map(|said| said.unwrap_or_else(|why| why));
            assert!(words.is_none_or(|words| !words.is_empty()), "{}", row.name);
        }
    }
}
