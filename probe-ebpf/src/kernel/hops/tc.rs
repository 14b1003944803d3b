//! tc: the packet became an skb and enters the stack, or leaves the stack for the device's queue.

use aya_ebpf::programs::TcContext;
use aya_log_ebpf::debug;
use probe_ebpf::{Hop, Skip};

use crate::kernel::{
    disposition::Disposition,
    maps::{TALLY_IN, TALLY_OUT},
    reader::TcPacket,
};

/// Handles a packet at tc ingress.
#[inline(always)]
pub(crate) fn see_in<const RULES: bool>(context: &TcContext) -> Result<Disposition, Skip> {
    let (echo, disposition) = super::see::<_, RULES>(&TcPacket(context.skb.skb), Hop::TcIn, &TALLY_IN)?;
    debug!(context, "tc_in: type {} id {} seq {}", echo.kind.icmp_type(), echo.id, echo.seq);
    Ok(disposition)
}

/// Handles a packet at tc egress.
#[inline(always)]
pub(crate) fn see_out<const RULES: bool>(context: &TcContext) -> Result<Disposition, Skip> {
    let (echo, disposition) = super::see::<_, RULES>(&TcPacket(context.skb.skb), Hop::TcOut, &TALLY_OUT)?;
    debug!(context, "tc_out: type {} id {} seq {}", echo.kind.icmp_type(), echo.id, echo.seq);
    Ok(disposition)
}
