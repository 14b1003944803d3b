//! What every hop does with a packet; one hook family per file.

pub(crate) mod device;
pub(crate) mod drops;
pub(crate) mod tc;
pub(crate) mod xdp;

pub(crate) mod cgroup;
pub(crate) mod netfilter;

use aya_ebpf::maps::Array;
use probe_ebpf::{
    Direction, Echo, Hop, Skip, Tally,
    absorb::{ABSORB_REPLIES, ANSWER},
    config::CAPTURE_ALL,
    packet::{EchoPacket, addresses},
};

use super::{
    absorb, capture,
    config::config,
    disposition::Disposition,
    filter, flows, journey,
    reader::{Packet, WholePacket, read},
    tally,
};

/// Counts the echo packet in `packet`, if it is one, and decides what happens to it: first count, then enforce. `RULES`: by the
/// rules of a filter too.
#[inline(always)]
fn see<P: Packet, const RULES: bool>(
    packet: &P,
    hop: Hop,
    counters: &Array<Tally>,
) -> Result<(EchoPacket, Disposition), Skip> {
    let echo = read(packet)?;
    tally::count(counters, &echo);
    if config!(track) != 0 {
        flows::track(&echo, ends(packet, &echo)?, hop.direction());
    }
    let probe = if config!(journey) == 0 { None } else { journey::note_packet(hop, packet, &echo) };
    let disposition = match (hop.direction(), probe) {
        (Direction::In, Some(probe)) if is_kept(&echo) => keep(packet, &echo, probe)?,
        (Direction::In, _) => enter::<P, RULES>(packet, &echo),
        (Direction::Out, _) => leave::<P, RULES>(packet, &echo),
    };
    Ok((echo, disposition))
}

#[inline(always)]
fn ends<P: Packet>(packet: &P, echo: &EchoPacket) -> Result<flows::Endpoints, Skip> {
    let ends = addresses(&packet.linear(), echo).or_else(|| addresses(&WholePacket(packet), echo));
    ends.ok_or(Skip::Truncated)
}

/// Reports whether packets of the run like this one are kept from the kernel.
#[inline(always)]
fn is_kept(echo: &EchoPacket) -> bool {
    config!(requests) != 0 && (config!(requests) == ABSORB_REPLIES || echo.kind.echo == Echo::Request)
}

/// Handles a packet of the run that is kept from the kernel.
#[inline(always)]
fn keep<P: Packet>(packet: &P, echo: &EchoPacket, probe: u32) -> Result<Disposition, Skip> {
    if config!(requests) == ANSWER {
        return Ok(Disposition::Answer);
    }
    absorb::report(echo, probe, ends(packet, echo)?);
    Ok(Disposition::Absorb)
}

/// Processes a packet as only ingress hops do: match the rules, copy for `probe receive`, drop.
#[inline(always)]
fn enter<P: Packet, const RULES: bool>(packet: &P, echo: &EchoPacket) -> Disposition {
    let drops = RULES && filter::is_for_ingress() && filter::drops(packet, echo);
    if config!(capture) == CAPTURE_ALL || (config!(capture) != 0 && filter::first_for(echo).is_some()) {
        capture::capture(packet, drops);
    }
    if drops { Disposition::Drop } else { Disposition::Pass }
}

/// Processes a packet as only egress hops do: match the rules for packets that leave.
#[inline(always)]
fn leave<P: Packet, const RULES: bool>(packet: &P, echo: &EchoPacket) -> Disposition {
    if RULES && filter::is_for_egress() && filter::drops(packet, echo) { Disposition::Drop } else { Disposition::Pass }
}
