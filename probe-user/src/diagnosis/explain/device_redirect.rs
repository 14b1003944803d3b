//! What a program or rule at a device redirects to another device: which one, and where to look it up.

use super::{StopCase, StopExplanation};
use crate::diagnosis::{
    places::DropPoint,
    rules::device_redirect::{REDIRECTED, said, to_device},
};

/// Explains a stop behind a redirection.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    (case.stop.cause.reason.as_deref() == Some(REDIRECTED)).then_some(())?;
    let side = case.spot.side()?;
    let device = case.evidence.interface(side);
    let detail = to_device(case.gap, case.evidence).map(|other| said(case.evidence, side, other));
    let (what, way) = match case.stop.place {
        DropPoint::TcOut => ("A tc filter or program", "egress"),
        DropPoint::TcIn => ("A tc filter or program", "ingress"),
        DropPoint::NfEgress => ("An nftables chain of the device (fwd or dup)", "egress"),
        _ => ("An nftables chain of the device (fwd or dup)", "ingress"),
    };
    let meaning =
        format!("{what} at {device}'s {way} redirects them, past routing, to a device from which they reached nobody.");
    let commands = match case.stop.place {
        DropPoint::TcOut | DropPoint::TcIn => {
            vec![format!("tc -s filter show dev {device} {way}"), format!("bpftool net show dev {device}")]
        }
        _ => Vec::new(),
    };
    Some(StopExplanation { detail, meaning, commands, ..StopExplanation::default() })
}
