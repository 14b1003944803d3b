//! XDP: the packet reached this NIC.

use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::debug;
use probe_ebpf::{Hop, Skip};

use crate::kernel::{disposition::Disposition, maps::TALLY_XDP, reader::XdpPacket, respond};

/// Handles a packet at XDP.
#[inline(always)]
pub(crate) fn see(context: &XdpContext) -> Result<Disposition, Skip> {
    let (echo, disposition) = super::see(&XdpPacket(context.ctx), Hop::XdpIn, &TALLY_XDP)?;
    debug!(context, "xdp_in: type {} id {} seq {}", echo.kind.icmp_type(), echo.id, echo.seq);
    let answered = matches!(disposition, Disposition::Answer) && respond::reply(&XdpPacket(context.ctx), &echo);
    // What can't be answered here is left to the kernel.
    Ok(if matches!(disposition, Disposition::Answer) && !answered { Disposition::Pass } else { disposition })
}
