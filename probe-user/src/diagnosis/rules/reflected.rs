//! The rule about answers that get the firewall mark of their request, by which routing refuses them.

use super::{Ruling, Weight};
use crate::{
    diagnosis::{
        Evidence,
        document::{Cause, SettingSaid, Witness},
        ledger::Gap,
        places::DropPoint,
    },
    model::trace::{Finding, RoutePurpose},
};

/// Judges requests to which no answer was made, where `fwmark_reflect` gives answers the mark of requests (`IP4_REPLY_MARK`) and a
/// rule about a mark ends them: no packet is made, so that nothing is freed.
pub(super) fn refused(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let spot = gap.spots_at(&[DropPoint::RouteBack]).into_iter().chain(gap.spots_at(&[DropPoint::RateLimit])).next()?;
    let side = spot.side()?;
    let family = if evidence.is_v6() { "ipv6" } else { "ipv4" };
    let path = format!("net/{family}/fwmark_reflect");
    let value = evidence.findings(side).find_map(|finding| match finding {
        Finding::Setting { path: other, value } if *other == path && value.trim() != "0" => Some(value.clone()),
        _ => None,
    })?;
    let (own, sender) = (evidence.target.address, evidence.local.host.address?);
    let choice = evidence.findings(side).find_map(|finding| match finding {
        Finding::Routing(choice)
            if choice.purpose == RoutePurpose::Marked
                && choice.to == sender
                && choice.from == Some(own)
                && choice.ends.is_some() =>
        {
            Some(choice)
        }
        _ => None,
    })?;
    let detail = format!(
        "with net.{family}.fwmark_reflect={} an answer has the mark of its request; for mark {:#x} {}",
        value.trim(),
        choice.mark,
        choice.text()
    );
    let cause = Cause {
        reason: Some("fwmark_reflect".to_owned()),
        setting: Some(SettingSaid { path, value }),
        detail: Some(detail),
        ..Cause::default()
    };
    let spots = vec![crate::diagnosis::places::DropLocation { place: DropPoint::RouteBack, ..spot }];
    Ruling::at(spots, cause, Witness::Sysctl, Weight::Explains)
}
