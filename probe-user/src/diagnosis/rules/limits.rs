//! A host that answers only so often: settings that count echo replies among the messages that its kernel limits.

use super::{Ruling, Weight};
use crate::{
    diagnosis::{
        Evidence,
        document::{Cause, SettingSaid, Witness},
        ledger::Gap,
        path::Side,
        places::DropPoint,
    },
    model::trace::Finding,
};

/// The type of an `ICMPv6` echo reply (RFC 4443 §4.2).
const REPLY_V6: u32 = 129;

/// Judges a gap in which some requests were answered and others were not, where echo replies are limited
/// (`icmpv4_xrlim_allow`, `icmpv6_xrlim_allow`).
pub(super) fn of_replies(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    if gap.probes.len() >= evidence.sent() {
        return None;
    }
    evidence.sides().find_map(|side| {
        let spot = gap.spot(side, DropPoint::RateLimit)?;
        let (mask, limit) = if evidence.is_v6() {
            ("net/ipv6/icmp/ratemask", "net/ipv6/icmp/ratelimit")
        } else {
            ("net/ipv4/icmp_ratemask", "net/ipv4/icmp_ratelimit")
        };
        let value = setting(evidence, side, mask)?;
        let has_replies = if evidence.is_v6() { lists(value, REPLY_V6) } else { value.parse::<u32>().ok()? & 1 != 0 };
        let pause = setting(evidence, side, limit).filter(|pause| has_replies && *pause != "0")?;
        let cause = Cause {
            reason: mask.rsplit('/').next().map(str::to_owned),
            setting: Some(SettingSaid { path: mask.to_owned(), value: value.to_owned() }),
            detail: Some(format!("its kernel sends a host one echo reply in {pause} ms, once a few are spent")),
            ..Cause::default()
        };
        Ruling::at(vec![spot], cause, Witness::Sysctl, Weight::Explains)
    })
}

fn setting<'a>(evidence: &'a Evidence, side: Side, wanted: &str) -> Option<&'a str> {
    evidence.findings(side).find_map(|finding| match finding {
        Finding::Setting { path, value } if path == wanted => Some(value.trim()),
        _ => None,
    })
}

/// Reports whether `number` is in a list such as `0-1,3-127`.
fn lists(list: &str, number: u32) -> bool {
    list.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bounds = first.trim().parse::<u32>().ok().zip(last.trim().parse::<u32>().ok());
        bounds.is_some_and(|(first, last)| (first..=last).contains(&number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_its_numbers_and_what_lies_in_its_ranges() {
        assert!(lists("0-1,3-127,129", REPLY_V6) && lists("0-255", REPLY_V6));
        assert!(!lists("0-1,3-127", REPLY_V6) && !lists("", REPLY_V6));
    }
}
