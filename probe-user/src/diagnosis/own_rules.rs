//! Routing rules that lead packets for a host's own address past the table that says that it is its own.

use std::net::IpAddr;

use super::{Evidence, path::Side};
use crate::model::trace::{Finding, RouteChoice, RoutePurpose};

/// What it means that a host's rules lead packets for its own address elsewhere.
pub(super) const LOCAL_FIRST: &str = "A host accepts as its own only what is in the table local, and the rule that \
                                      looks there must come first: 0: from all lookup local.";

impl Evidence {
    /// Returns how rules of `side` lead packets for its own `address` past the table `local`; `None` if they do not.
    pub(super) fn misled(&self, side: Side, address: IpAddr) -> Option<&RouteChoice> {
        self.findings(side).find_map(|finding| match finding {
            Finding::Routing(choice) if choice.purpose == RoutePurpose::Own && choice.to == address => {
                (!choice.is_local() && !choice.rule.is_empty()).then_some(choice)
            }
            _ => None,
        })
    }
}
