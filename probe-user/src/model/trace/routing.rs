//! How routing decides about packets of a run.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The packets for which routing was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoutePurpose {
    /// Packets of this run on their way.
    Way,
    /// The other way round, as the reverse path filter asks for what came in.
    ReversePath,
    /// Packets of the run, with a firewall mark that a rule chooses by, whether or not packets of this run have it.
    Marked,
    /// Packets that come in for an address of this host: they are its own only if the table `local` decides.
    Own,
}

/// What is said where the table `local` is asked first, and has no route to an address of the host.
pub const NO_LOCAL_ROUTE: &str = "the table local has no route to it";

/// What decides about packets with one key: rule, table and route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteChoice {
    /// For which packets.
    pub purpose: RoutePurpose,
    /// Their source address; none: not chosen yet.
    #[serde(default)]
    pub from: Option<IpAddr>,
    /// Their destination address.
    pub to: IpAddr,
    /// Their firewall mark.
    #[serde(default)]
    pub mark: u32,
    /// The rule, as `ip rule` writes it; empty: none matched.
    pub rule: String,
    /// The table that it leads to.
    pub table: String,
    /// The route in it, as `ip route` writes it; empty: the rule itself ends packets, or there is no route.
    pub route: String,
    /// Why they go nowhere: `blackhole`, `unreachable`, `prohibit`, `no route`; none: they go on.
    #[serde(default)]
    pub ends: Option<String>,
    /// The interface of the route.
    #[serde(default)]
    pub interface: Option<String>,
    /// The gateway of the route; none: what it leads to is on the link.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// What `ip route get` needs besides both addresses to choose in the same way, e.g. `iif eth0 ipproto icmp`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// The rule and the route that would take them if the rule did not skip it (`suppress_prefixlength`), as a clause; for an
    /// own address, that the table `local` lacks it. None: there is none, or they are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_over: Option<String>,
}

impl RouteChoice {
    /// Returns whether they are for this host itself.
    pub fn is_local(&self) -> bool {
        self.route.starts_with("local ")
    }

    /// Returns the command that asks the kernel with the same key.
    pub fn command(&self) -> String {
        let version = if self.to.is_ipv4() { "-4" } else { "-6" };
        let from = self.from.map(|from| format!(" from {from}")).unwrap_or_default();
        let key = if self.key.is_empty() { String::new() } else { format!(" {}", self.key) };
        format!("ip {version} route get {}{from}{key}", self.to)
    }

    /// Returns rule and route in one clause.
    pub fn text(&self) -> String {
        match (self.rule.is_empty(), self.route.is_empty()) {
            (true, _) => "no rule of `ip rule` leads to a route".to_owned(),
            (false, true) => format!("rule \"{}\"", self.rule),
            (false, false) => format!("rule \"{}\" leads to the route \"{}\"", self.rule, self.route),
        }
    }
}
