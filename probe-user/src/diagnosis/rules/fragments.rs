//! The rule about packets of which only the first fragment came.

use super::{Ruling, Weight};
use crate::{
    diagnosis::{
        Evidence,
        document::{Cause, Witness},
        ledger::Gap,
        path::Side,
        places::DropPoint,
    },
    model::trace::Finding,
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
    let mut detail = format!(
        "their first fragments came, and not all of the others: packets of up to {passes} bytes, which need none, are answered"
    );
    if let Some((side, chain, rule)) = by_rule(evidence) {
        detail
            .push_str(&format!("; chain {chain} of {} has a rule against fragments, \"{rule}\"", evidence.whom(side)));
    }
    let cause = Cause { reason: Some("FRAGMENTS".to_owned()), detail: Some(detail), ..Cause::default() };
    Ruling::at(spots, cause, Witness::Control, Weight::Explains)
}

/// Returns a rule of a watched host that ends fragments by being such, with its chain. Later fragments have no header of ICMP, so
/// that no hop knows them for the run's.
fn by_rule(evidence: &Evidence) -> Option<(Side, &str, &str)> {
    evidence.sides().find_map(|side| {
        evidence.findings(side).find_map(|finding| match finding {
            Finding::Chain { chain, ending, .. } => {
                let rule = ending.iter().find(|rule| names_fragments(&rule.rule))?;
                Some((side, chain.as_str(), rule.rule.as_str()))
            }
            _ => None,
        })
    })
}

fn names_fragments(rule: &str) -> bool {
    ["frag-off", "exthdr frag", "frag exists", "frag more-fragments"].iter().any(|word| rule.contains(word))
        || rule.split_whitespace().any(|word| word == "-f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_about_fragments_are_known_by_their_words() {
        assert!(names_fragments("ip frag-off & 0x1fff != 0x0 drop") && names_fragments("-A INPUT -f -j DROP"));
        assert!(!names_fragments("ip saddr 10.0.0.1 drop") && !names_fragments("-A INPUT --foo -j DROP"));
    }
}
