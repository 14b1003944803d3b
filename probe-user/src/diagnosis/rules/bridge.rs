//! The rule about packets that a bridge gave to all but the host that they are for.

use super::{Ruling, Weight};
use crate::diagnosis::{
    Evidence,
    document::{Cause, Witness},
    flooded,
    ledger::Gap,
    places::{DropLocation, DropPoint, host_of},
};

/// Judges a gap after a bridge if the port of the host that packets are for is known and did not get them.
pub(super) fn past_the_receiver(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let side = gap.last_seen.host;
    let (clause, ..) = flooded::past_the_receiver(evidence, side, gap.leg)?;
    let spot = DropLocation { leg: gap.leg, host: host_of(side), place: DropPoint::Bridge };
    let cause = Cause { detail: Some(clause), ..Cause::default() };
    Ruling::at(vec![spot], cause, Witness::Counters, Weight::Direct)
}
