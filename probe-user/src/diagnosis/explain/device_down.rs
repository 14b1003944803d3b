//! A missing route whose device is down or has no link-local address: its routes went with that.

use std::net::Ipv6Addr;

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::path::Side,
    model::{
        prefix::{is_link_local, shares},
        trace::{Finding, LinkFacts, RouteChoice},
    },
};

/// How many devices that are down are named where none of them need be the one that is meant.
const MOST_NAMED: usize = 3;

/// Explains a missing route if the device that would have it is known: the one that was asked for, or one with an address whose prefix
/// covers the destination.
pub(super) fn explain(case: &StopCase<'_>, side: Side, choice: &RouteChoice) -> Option<StopExplanation> {
    (choice.ends.as_deref() == Some("no route") && choice.passed_over.is_none()).then_some(())?;
    bound(case, side, choice).or_else(|| covering(case, side, choice))
}

/// Recognizes the device that was asked for as down, or as one without the address that its link-local route comes with.
fn bound(case: &StopCase<'_>, side: Side, choice: &RouteChoice) -> Option<StopExplanation> {
    let name = choice.key.split_whitespace().skip_while(|word| *word != "oif").nth(1)?;
    let device = case.evidence.devices(side).find(|device| device.interface == name)?;
    if device.down {
        return Some(down(choice, name, ""));
    }
    let has_one = case.evidence.findings(side).any(|finding| match finding {
        Finding::Holder(holder) => {
            holder.netns.is_none() && holder.interface == name && holder.address.is_some_and(is_link_local)
        }
        _ => false,
    });
    let own = device.lladdr.as_deref().and_then(eui_64).map(|own| format!("ip -6 addr add {own}/64 dev {name}"));
    let look = [format!("ip -6 addr show dev {name}"), choice.command()];
    (is_link_local(choice.to) && !has_one).then(|| StopExplanation {
        detail: Some(format!("no route to {}: {name} has no link-local address", choice.to)),
        meaning: format!(
            "The route fe80::/64 of {name} comes with its link-local address, and went with it. The kernel makes that \
             address when the device is set up, unless its addrgenmode is none."
        ),
        commands: own.into_iter().chain(look).collect(),
        ..StopExplanation::default()
    })
}

/// Returns the link-local address that a device with this link-layer address gets (RFC 4291 appendix A).
fn eui_64(lladdr: &str) -> Option<Ipv6Addr> {
    let bytes: Vec<u8> = lladdr.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect::<Option<_>>()?;
    let [a, b, c, d, e, f] = <[u8; 6]>::try_from(bytes).ok()?;
    let pair = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    Some(Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f)))
}

/// Recognizes a device that is down and has an address whose prefix covers the destination; IPv6 addresses go with the device.
fn covering(case: &StopCase<'_>, side: Side, choice: &RouteChoice) -> Option<StopExplanation> {
    let (own, bits, name) = case.evidence.findings(side).find_map(|finding| match finding {
        Finding::Holder(holder) if holder.netns.is_none() => {
            let own = holder.address.filter(|own| shares(*own, choice.to, holder.prefix))?;
            is_down(case, side, &holder.interface).then_some((own, holder.prefix, holder.interface.as_str()))
        }
        _ => None,
    })?;
    Some(down(choice, name, &format!(", whose {own}/{bits} covers it,")))
}

fn down(choice: &RouteChoice, name: &str, why: &str) -> StopExplanation {
    StopExplanation {
        detail: Some(format!("no route to {}: {name}{why} is down", choice.to)),
        meaning: format!("The kernel removes the routes through a device when that is set down, and {name} is."),
        commands: vec![format!("ip link set dev {name} up"), format!("ip -s link show dev {name}"), choice.command()],
        ..StopExplanation::default()
    }
}

/// Returns what is to be said of devices that are down, or without IPv6, where nothing shows that the route was by one of them, and
/// the commands to it.
pub(super) fn hint(case: &StopCase<'_>, side: Side) -> (String, Vec<String>) {
    let (mut said, mut commands) = (String::new(), Vec::new());
    let down = named(case, side, |device| device.down);
    let list = down.join(", ");
    match down.len() {
        0 => {}
        1 => said += &format!(" {list} is down: a route through it is only there while it is up."),
        _ => said += &format!(" {list} are down: a route through one of them is only there while that is up."),
    }
    if !down.is_empty() {
        commands.push("ip -br link".to_owned());
    }
    let off =
        if case.evidence.is_v6() { named(case, side, |device| device.ipv6_off && !device.down) } else { Vec::new() };
    let list = off.join(", ");
    if !off.is_empty() {
        said += &format!(
            " IPv6 is switched off on {list} (disable_ipv6): no route leads out there, and what addresses it had are gone."
        );
        commands.extend(
            off.iter().map(|device| format!("sysctl -w net.ipv6.conf.{}.disable_ipv6=0", device.replace('.', "/"))),
        );
    }
    (said, commands)
}

/// Returns the names of the devices other than `lo` that `fit`, if they are not too many to be named.
fn named<'a>(case: &'a StopCase<'_>, side: Side, fit: impl Fn(&LinkFacts) -> bool) -> Vec<&'a str> {
    let devices = case.evidence.devices(side).filter(|device| device.interface != "lo" && fit(device));
    let mut names: Vec<&str> = devices.map(|device| device.interface.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > MOST_NAMED { Vec::new() } else { names }
}

/// Returns the device that is down, if it is the only one that could have had IPv6: no other has an address that leaves its link. The
/// addresses of IPv6, and so what its prefix covered, went with it.
pub(super) fn only_one_down<'a>(case: &'a StopCase<'_>, side: Side) -> Option<&'a str> {
    let has_address = case.evidence.findings(side).any(|finding| match finding {
        Finding::Holder(holder) => {
            holder.netns.is_none()
                && holder.interface != "lo"
                && holder.address.is_some_and(|own| own.is_ipv6() && !is_link_local(own))
        }
        _ => false,
    });
    match named(case, side, |device| device.down).as_slice() {
        [one] if case.evidence.is_v6() && !has_address => Some(*one),
        _ => None,
    }
}

/// Reports whether the device was found to be down.
pub(super) fn is_down(case: &StopCase<'_>, side: Side, interface: &str) -> bool {
    case.evidence.devices(side).any(|device| device.down && device.interface == interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_is_made_of_the_link_layer_address() {
        assert_eq!(eui_64("02:00:00:00:00:0a").map(|own| own.to_string()).as_deref(), Some("fe80::ff:fe00:a"));
        assert_eq!(eui_64("02:00"), None);
    }
}
