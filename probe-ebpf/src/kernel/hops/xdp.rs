//! XDP: the packet reached this NIC.

use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::debug;
use probe_ebpf::{Hop, Skip};

use crate::kernel::{disposition::Disposition, maps::TALLY_XDP, reader::XdpPacket, respond};

/// Handles a packet at XDP.
#[inline(always)]
pub(crate) fn see<const RULES: bool>(context: &XdpContext) -> Result<Disposition, Skip> {
    // Kernels that can't run rules do not have the helpers either.
    let packet = XdpPacket::<RULES>(context.ctx);
    let (echo, disposition) = super::see::<_, RULES>(&packet, Hop::XdpIn, &TALLY_XDP)?;
    debug!(context, "xdp_in: type {} id {} seq {}", echo.kind.icmp_type(), echo.id, echo.seq);
    let answered = matches!(disposition, Disposition::Answer) && respond::reply(&packet, &echo);
    // What can't be answered here is left to the kernel.
    Ok(if matches!(disposition, Disposition::Answer) && !answered { Disposition::Pass } else { disposition })
}
