//! Packets to a loopback address that left the host, as it does not have that address.

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::path::Side,
    model::trace::{Finding, RoutePurpose},
};

/// Explains a stop of packets to a loopback address of which the sender says that it is not its own.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let evidence = case.evidence;
    let target = evidence.target.address;
    (target.is_loopback() && case.gap.leg == evidence.first_leg()).then_some(())?;
    let way = evidence.findings(Side::Local).find_map(|finding| match finding {
        Finding::Routing(choice)
            if choice.purpose == RoutePurpose::Way && choice.to == target && !choice.is_local() =>
        {
            Some(choice)
        }
        _ => None,
    })?;
    let who = evidence.whom(Side::Local);
    let leaves = match (&way.interface, way.ends.is_none()) {
        (Some(interface), true) if interface != "lo" => {
            format!(", and the route \"{}\" takes them out by {interface}", way.route)
        }
        _ => String::new(),
    };
    let off = evidence.findings(Side::Local).find_map(|finding| match finding {
        Finding::Setting { path, value } if path == "net/ipv6/conf/lo/disable_ipv6" && value.trim() == "1" => {
            Some(path)
        }
        _ => None,
    });
    let (why, meaning, mend) = match off {
        Some(path) => {
            let dotted = path.replace('/', ".");
            (
                format!(": {dotted}=1"),
                format!("With {dotted}=1 lo has no IPv6 address."),
                format!("sysctl -w {dotted}=0"),
            )
        }
        None => {
            let whole = if target.is_ipv4() { "127.0.0.1/8" } else { "::1/128" };
            (
                String::new(),
                format!("Without {whole} on lo no address of that kind is this host's own."),
                format!("ip addr add {whole} dev lo"),
            )
        }
    };
    Some(StopExplanation {
        detail: Some(format!("{who} does not have {target}{why}{leaves}")),
        meaning,
        commands: vec![mend, "ip addr show dev lo".to_owned(), format!("ip {} route get {target}", case.ip_version())],
        on: Some(Side::Local),
        tracking: None,
    })
}
