//! Routing rules that lead packets for a host's own address past the table that says that it is its own, or that table
//! without the address.

use std::net::IpAddr;

use super::{Evidence, path::Side};
use crate::model::trace::{Finding, RouteChoice, RoutePurpose, routing::NO_LOCAL_ROUTE};

/// What it means that a host's rules lead packets for its own address elsewhere.
const LOCAL_FIRST: &str = "A host accepts as its own only what is in the table local, and the rule that looks there must \
                           come first: 0: from all lookup local.";

/// What it means that the address is missing there.
const LOCAL_HAS_IT: &str = "A host accepts as its own only what is in the table local. The kernel puts every address there; \
                            somebody removed it.";

/// Why packets for a host's own address are not its own.
pub(super) struct NotOwn {
    /// As a clause.
    pub(super) clause: String,
    /// What it means.
    pub(super) meaning: &'static str,
    /// What to type there.
    pub(super) commands: Vec<String>,
}

impl Evidence {
    /// Returns how rules of `side` lead packets for its own `address` past the table `local`, or that this table lacks it;
    /// `None` if neither is so.
    pub(super) fn misled(&self, side: Side, address: IpAddr) -> Option<NotOwn> {
        let choice = self.findings(side).find_map(|finding| match finding {
            Finding::Routing(choice) if choice.purpose == RoutePurpose::Own && choice.to == address => {
                (!choice.is_local() && !choice.rule.is_empty()).then_some(choice)
            }
            _ => None,
        })?;
        let version = if address.is_ipv4() { "-4" } else { "-6" };
        Some(match choice.passed_over.as_deref() {
            Some(NO_LOCAL_ROUTE) => self.without_local_route(side, choice, version),
            _ => NotOwn {
                clause: format!("{} before the table local is asked", choice.text()),
                meaning: LOCAL_FIRST,
                commands: vec![format!("ip {version} rule add pref 0 lookup local"), format!("ip {version} rule show")],
            },
        })
    }

    fn without_local_route(&self, side: Side, choice: &RouteChoice, version: &str) -> NotOwn {
        let to = choice.to;
        let device = self.holders(side, to).next().map(|holder| holder.interface.clone());
        let add = device.as_ref().map(|device| format!("ip {version} route add local {to} dev {device} table local"));
        let on = device.map(|device| format!(", though {device} has that address")).unwrap_or_default();
        NotOwn {
            clause: format!("the table local has no route to {to}{on}; {}", choice.text()),
            meaning: LOCAL_HAS_IT,
            commands: add.into_iter().chain([format!("ip {version} route show table local")]).collect(),
        }
    }
}
