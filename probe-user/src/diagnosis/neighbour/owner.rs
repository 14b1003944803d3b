//! Who has an address for which nobody answers, and who only leads to it.

use super::{bridged::Bridged, search::Search};
use crate::{
    diagnosis::{bridge_port, path::Side},
    model::trace::{AddressHolder, NextHopFacts, place::in_words},
};

/// Who has the address, if nobody who was asked has it.
pub(super) struct KnownHolder<'a> {
    pub(super) holder: &'a AddressHolder,
    /// The watched side that it is; none: a namespace that was only looked into.
    pub(super) side: Option<Side>,
}

/// Returns who is known to have the address: the far end, a place, or the only other namespace that does.
pub(super) fn owner<'a>(search: &Search<'a>) -> Option<KnownHolder<'a>> {
    let watched =
        search.others().find_map(|side| Some(KnownHolder { holder: search.holders(side).next()?, side: Some(side) }));
    let elsewhere = search.elsewhere();
    watched.or_else(|| match elsewhere.as_slice() {
        [holder] => Some(KnownHolder { holder, side: None }),
        // Of several, the one behind the bridge that heard the questions.
        holders => {
            let side = Bridged::of(search)?.side;
            let mut led =
                holders.iter().filter(|holder| bridge_port::leads_to(search.evidence, side, holder).is_some());
            let holder = led.next()?;
            led.next().is_none().then_some(KnownHolder { holder, side: None })
        }
    })
}

impl KnownHolder<'_> {
    /// Returns how it is called.
    pub(super) fn name(&self, search: &Search<'_>) -> String {
        match self.side {
            Some(side) => search.evidence.whom(side),
            None => in_words(self.holder.netns.as_deref().unwrap_or_default()),
        }
    }
}

/// Returns a router that heard the questions and has the address behind another device.
pub(super) fn router<'a>(search: &Search<'a>) -> Option<(Side, &'a NextHopFacts)> {
    search.others().find_map(|side| {
        let heard = search.heard(side);
        let route = search.route(side).filter(|_| !heard.is_empty())?;
        (!heard.contains_key(route.interface.as_str())).then_some((side, route))
    })
}
