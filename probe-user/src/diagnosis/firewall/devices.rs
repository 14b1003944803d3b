//! Whether a rule of a firewall can match packets by the devices that it names, where these are known.

use probe_ebpf::{Echo, Hop};
use std::collections::BTreeSet;

use crate::{
    diagnosis::{Evidence, path::Side},
    model::{
        netfilter::NetfilterHook,
        trace::{Finding, RoutePurpose},
    },
};

/// By which devices packets came in and are to leave; empty: not known, so that every rule may match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Devices {
    incoming: BTreeSet<String>,
    outgoing: BTreeSet<String>,
}

impl Devices {
    /// Returns those of the packets of `leg` on `side`, as chains of `hook` know them.
    pub(super) fn of(evidence: &Evidence, side: Side, leg: Echo, hook: NetfilterHook) -> Self {
        use NetfilterHook::{Forward, Ingress, Input, Output, Postrouting, Prerouting};
        let comes = matches!(hook, Prerouting | Input | Forward | Ingress);
        let incoming = if comes { came_by(evidence, side, leg) } else { BTreeSet::new() };
        let outgoing = match hook {
            Forward | Postrouting if evidence.place(side).is_some() => leaves_by(evidence, side),
            Output | Postrouting if evidence.place(side).is_none() => {
                BTreeSet::from([evidence.crossed(side, leg, false).to_owned()])
            }
            _ => BTreeSet::new(),
        };
        Self { incoming: named(incoming), outgoing: named(outgoing) }
    }

    /// Reports whether a rule, as nft or iptables writes it, may match them.
    pub(super) fn may_match(&self, rule: &str) -> bool {
        let words: Vec<&str> = rule.split(" comment \"").next().unwrap_or(rule).split_whitespace().collect();
        (0..words.len()).all(|at| match words[at] {
            "iifname" | "iif" => nft_fits(&words[at + 1..], &self.incoming),
            "oifname" | "oif" => nft_fits(&words[at + 1..], &self.outgoing),
            // Of `fib … iif oif missing` they are no condition on a device's name, which the next word shows.
            "-i" => iptables_fits(&words, at, &self.incoming),
            "-o" => iptables_fits(&words, at, &self.outgoing),
            _ => true,
        })
    }
}

fn named(mut devices: BTreeSet<String>) -> BTreeSet<String> {
    devices.remove("");
    devices
}

/// Returns every device at which packets of a leg were seen to come in.
fn came_by(evidence: &Evidence, side: Side, leg: Echo) -> BTreeSet<String> {
    let host = evidence.host(side);
    let (ports, other) = match evidence.place(side) {
        Some(place) => (&place.ports, None),
        None => (&host.ports, Some(evidence.crossed(side, leg, true).to_owned())),
    };
    let seen = ports.iter().filter(|port| port.seen(Hop::NetifIn, leg).is_some_and(|seen| !seen.is_empty()));
    seen.map(|port| port.interface.clone()).chain(other).collect()
}

/// Returns the devices by which routing has packets that come into a place leave it.
fn leaves_by(evidence: &Evidence, side: Side) -> BTreeSet<String> {
    let devices = evidence.findings(side).filter_map(|finding| match finding {
        Finding::Routing(choice) if matches!(choice.purpose, RoutePurpose::Way | RoutePurpose::Marked) => {
            choice.interface.clone()
        }
        Finding::NextHop(hop) => Some(hop.interface.clone()),
        _ => None,
    });
    devices.collect()
}

/// Reports whether what follows `iifname` fits one of these devices: `"eth0"`, `!= "veth*"`, or a set, which is left open.
fn nft_fits(rest: &[&str], devices: &BTreeSet<String>) -> bool {
    let (negated, name) = match rest {
        ["!=", name, ..] => (true, *name),
        [name, ..] => (false, *name),
        [] => return true,
    };
    let Some(name) = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) else { return true };
    fits(name, '*', negated, devices)
}

/// Reports whether the device behind `-i` fits one of these: `eth0`, `! -i veth+`.
fn iptables_fits(words: &[&str], at: usize, devices: &BTreeSet<String>) -> bool {
    let Some(name) = words.get(at + 1) else { return true };
    fits(name, '+', at > 0 && words[at - 1] == "!", devices)
}

fn fits(name: &str, any: char, negated: bool, devices: &BTreeSet<String>) -> bool {
    let is_it = |device: &String| match name.strip_suffix(any) {
        Some(begin) => device.starts_with(begin),
        None => device == name,
    };
    devices.is_empty() || devices.iter().any(|device| is_it(device) != negated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(incoming: &[&str], outgoing: &[&str]) -> Devices {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Devices { incoming: owned(incoming), outgoing: owned(outgoing) }
    }

    #[test]
    fn a_rule_for_other_devices_cannot_match() {
        let lan_to_wan = devices(&["lan"], &["wan"]);
        for rule in [
            "iifname \"docker0\" drop",
            "oifname \"br-x\" counter drop",
            "iifname != \"lan\" drop",
            "iif \"wan\" drop",
            "oifname \"veth*\" drop",
            "-A FORWARD -i virbr0 -j REJECT",
            "-A FORWARD ! -o wan -j DROP",
            "-A FORWARD -o veth+ -j DROP",
        ] {
            assert!(!lan_to_wan.may_match(rule), "{rule}");
        }
        for rule in [
            "iifname \"lan\" oifname \"wa*\" drop",
            "iifname != \"docker0\" drop",
            "iifname { \"a\", \"b\" } drop",
            "fib saddr . mark . iif oif missing drop",
            "-A FORWARD -i lan ! -o lan -j DROP",
            "drop comment \"not iifname \"docker0\"\"",
        ] {
            assert!(lan_to_wan.may_match(rule), "{rule}");
        }
    }

    #[test]
    fn what_is_not_known_leaves_every_rule_open() {
        assert!(devices(&[], &[]).may_match("iifname \"docker0\" oifname \"x\" drop"));
        assert!(devices(&["a", "b"], &[]).may_match("iifname \"b\" drop"));
    }
}
