//! Who answers at the far end: what is asked of it, and which probes can be answered at a NIC.

use std::net::Ipv4Addr;

use probe_ebpf::{
    Family,
    journey::MARK_BYTES,
    packet::{ICMP_HEADER, IPV4_HEADER, IPV6_HEADER},
};

use super::place::Egress;
use crate::{
    cli::diagnose::DiagnoseArgs,
    diagnosis::Responder,
    error::Failure,
    host::device::Device,
    model::request::RequestHandling,
    traffic::{ResolvedTarget, target::family_of},
};

/// Returns what the far end does with the run's requests.
pub(super) fn requests(responder: Responder) -> RequestHandling {
    match responder {
        Responder::Kernel => RequestHandling::Pass,
        Responder::Agent => RequestHandling::AnsweredByAgent,
        Responder::Xdp => RequestHandling::AnsweredByXdp,
        Responder::Nobody => RequestHandling::AllAbsorbed,
    }
}

/// Checks that the probes can be answered at the far NIC: each must be a single packet, since a NIC sees fragments, and
/// must be for one host, whose address the reply can come from.
///
/// # Errors
/// They leave this host in fragments, or are for a group.
pub(super) fn check(args: &DiagnoseArgs, target: &ResolvedTarget, place: &Egress) -> Result<(), Failure> {
    if args.responder == Responder::Kernel {
        return Ok(());
    }
    let address = target.address.ip();
    if address.is_multicast() || address == Ipv4Addr::BROADCAST {
        let what = format!("{address} is the address of several hosts, and a NIC answers only for one");
        return Err(Failure::new(what, "give the address of one host, or use --responder kernel"));
    }
    if usize::from(args.size) < MARK_BYTES {
        let what = format!(
            "probes of {} bytes carry no mark, and without one they cannot be answered at the far NIC",
            args.size
        );
        return Err(Failure::new(what, format!("use -s {MARK_BYTES} or more, or --responder kernel")));
    }
    if args.df {
        return Ok(());
    }
    let device = place.interface.as_deref().and_then(|name| Device::find(name).ok());
    let Some(most) = device.and_then(|device| most(device.mtu, family_of(target.address.ip()))) else { return Ok(()) };
    if args.size <= most {
        return Ok(());
    }
    Err(Failure::new(
        format!("probes of {} bytes leave in fragments, which cannot be answered at the far NIC", args.size),
        format!("use -s {most} or less, or --responder kernel"),
    ))
}

/// Returns the most payload bytes of an echo packet that is not fragmented; `None` where every payload fits.
fn most(mtu: u32, family: Family) -> Option<u16> {
    let ip_header = match family {
        Family::V4 => IPV4_HEADER,
        Family::V6 => IPV6_HEADER,
    };
    u16::try_from((mtu as usize).saturating_sub(ip_header + ICMP_HEADER)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_that_fits_is_less_by_both_headers() {
        assert_eq!(most(1500, Family::V4), Some(1472));
        assert_eq!(most(1500, Family::V6), Some(1452));
        assert_eq!(most(20, Family::V4), Some(0));
        assert_eq!(most(65_536 + 1000, Family::V4), None);
    }
}
