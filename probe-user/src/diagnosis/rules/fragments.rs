//! The rule about packets of which only the first fragment came.

use super::{Ruling, Weight};
use crate::diagnosis::{
    Evidence,
    document::{Cause, Witness},
    ledger::Gap,
    places::DropPoint,
};

/// The smallest MTU that an IPv6 link may have, in bytes (RFC 8200 section 5); an IPv4 packet of that size needs no
/// fragments on any usual link either.
const WHOLE: u32 = 1_280;

/// Judges a gap in which fragments go into reassembly and do not come out, while packets that need none are answered.
pub(super) fn incomplete(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let (passes, fails) = evidence.controls.iter().find_map(|control| control.packet_sizes(evidence.is_v6()))?;
    // Packets are cut at the MTU of the way out: one byte more, and there are two fragments.
    let cut = fails == passes + 1 && passes >= WHOLE;
    let spots = gap.spots_at(&[DropPoint::Reassembly]);
    cut.then_some(())?;
    let detail = Some(format!(
        "their first fragments came, and not all of the others: packets of up to {passes} bytes, which need none, are answered"
    ));
    let cause = Cause { reason: Some("FRAGMENTS".to_owned()), detail, ..Cause::default() };
    Ruling::at(spots, cause, Witness::Control, Weight::Explains)
}
